"""What the commands that speak HL7 v2 over MLLP share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xds.cli import exchange, files
from xds.cli.outcome import Refused, Usage
from xds.cli.sending import Sending
from xds.model.identifiers import AssigningAuthority, PatientIdentifier, is_oid
from xds.transactions.mllp_client import address, send_mllp
from xds.wire import hl7v2
from xds.wire.hl7v2_answers import Acknowledged, read_acknowledgement

DESTINATION = "XDS|XDS"


def authority(text: str) -> AssigningAuthority:
    """A domain by its OID or its namespace."""
    return AssigningAuthority(oid=text) if is_oid(text) else AssigningAuthority(text)


def identifiers(texts: Sequence[str] | None) -> tuple[PatientIdentifier, ...]:
    """Patient identifiers as they are written on the command line. Errors: Usage."""
    return tuple(map(exchange.patient_identifier, texts or ()))


def deliver_given(
    paths: Sequence[Path] | None, patient: Sequence[str] | None, draft: Callable[[], hl7v2.Message], sending: Sending
) -> None:
    """Send the messages in files, or the one that options describe. Errors: as those of `deliver`."""
    if bool(paths) == bool(patient):
        raise Usage("give either files with messages, or a --patient")
    deliver([_message(path) for path in paths] if paths else [draft()], sending)


def _message(path: Path) -> hl7v2.Message:
    try:
        return hl7v2.read(files.content(path))
    except hl7v2.UnreadableError as error:
        raise Usage(f"{path}: {error}") from error


def deliver(messages: Sequence[hl7v2.Message], sending: Sending) -> None:
    """Send messages one after the other and show their acknowledgements, or print them. Errors: Refused, Usage, NoAnswer."""
    if sending.dry_run:
        for message in messages:
            print(lines(message))
        return
    accepted = [_deliver(message, sending).is_accepted for message in messages]
    if not all(accepted):
        raise Refused(f"{accepted.count(False)} of {len(accepted)} messages were not accepted")


def _deliver(message: hl7v2.Message, sending: Sending) -> Acknowledged:
    answer = ask(message, sending.to, sending.timeout)
    acknowledged = read_acknowledgement(answer)
    rows = [(acknowledged.message_id, acknowledged.code)]
    facts = acknowledgement_facts(acknowledged)
    sending.show(exchange.Answer(("Message", "Answer"), rows, facts, lambda: lines(answer)))
    print_faults(acknowledged)
    return acknowledged


def ask(message: hl7v2.Message, to: str, timeout: float) -> hl7v2.Message:
    """Send one message. Errors: Refused (unreadable answer), Usage (address), NoAnswer."""
    with _talking(to):
        return send_mllp(to, message, timeout=timeout)


@contextmanager
def _talking(to: str) -> Iterator[None]:
    try:
        address(to)
    except ValueError as error:
        raise Usage(f"--to must be HOST:PORT, not {to!r}") from error
    with exchange.talking(to):
        try:
            yield
        except hl7v2.UnreadableError as error:
            raise Refused(f"the answer cannot be read: {error}") from error


def acknowledgement_facts(answer: Acknowledged) -> dict[str, object]:
    """An acknowledgement for JSON."""
    faults = [
        {"condition": int(item.condition), "text": item.text, "location": str(item.location) if item.location else None}
        for item in answer.faults
    ]
    return {"message_id": answer.message_id, "code": answer.code, "faults": faults}


def refuse_unaccepted(answer: Acknowledged) -> None:
    """The faults of an acknowledgement, on standard error. Errors: Refused when it accepts nothing."""
    print_faults(answer)
    if not answer.is_accepted:
        raise Refused(f"the answer is {answer.code}")


def print_faults(answer: Acknowledged) -> None:
    """The faults of an acknowledgement, on standard error."""
    for fault in answer.faults:
        place = f" at {fault.location}" if fault.location else ""
        print(f"error: {int(fault.condition)} {fault.text}{place}", file=sys.stderr)


def lines(message: hl7v2.Message) -> str:
    """A message for reading: a segment a line."""
    return hl7v2.write(message).decode(message.codec).replace("\r", "\n").rstrip("\n")
