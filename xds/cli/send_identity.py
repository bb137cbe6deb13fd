"""`xds send iti08` and `xds send iti09`: patients' identities, in HL7 v2 over MLLP."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from xds.cli import exchange, mllp_exchange
from xds.cli.exchange import AsEr7, AsJson, DryRun, MllpTo, Timeout
from xds.cli.outcome import Refused, Usage
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Demographics, FeedKind, IdentityFeed, PersonName
from xds.wire import hl7v2
from xds.wire.hl7v2_answers import new_control_id, read_acknowledgement
from xds.wire.hl7v2_feed import write_feed
from xds.wire.hl7v2_pix import PixQuery, read_rsp_k23, write_pix_query

#: Namespace that this software gives its affinity domain; another server may have another.
_AFFINITY = "XDS"


class Event(Enum):
    """What the feed tells."""

    ADD = "add"
    REVISE = "revise"
    MERGE = "merge"


_KINDS = {Event.ADD: FeedKind.ADD, Event.REVISE: FeedKind.REVISE, Event.MERGE: FeedKind.MERGE}


def iti08(
    given: Annotated[list[Path] | None, typer.Argument(metavar="FILE…", help="Messages in ER7, one a file.")] = None,
    patient: Annotated[
        list[str] | None, typer.Option(metavar="CX", help="Identifier of the patient (PID-3); several may be given.")
    ] = None,
    event: Annotated[Event, typer.Option(help="A01 (add), A08 (revise) or A40 (merge).")] = Event.ADD,
    subsumed: Annotated[str | None, typer.Option(metavar="CX", help="The identifier that a merge takes away (MRG-1).")] = None,
    name: Annotated[str, typer.Option(metavar="FAMILY^GIVEN", help="Name (PID-5).")] = "",
    birth_date: Annotated[str | None, typer.Option(metavar="YYYYMMDD", help="Date of birth (PID-7).")] = None,
    sex: Annotated[str | None, typer.Option(help="Administrative sex (PID-8): F, M, O, U.")] = None,
    source: Annotated[str, typer.Option(metavar="FACILITY|APPLICATION", help="Who sends it (MSH-4 and MSH-3).")] = "XDS|CLI",
    to: MllpTo = exchange.DEFAULT_MLLP,
    as_json: AsJson = False,
    as_er7: AsEr7 = False,
    dry_run: DryRun = False,
    timeout: Timeout = 30,
) -> None:
    """Tell of a patient: a patient identity feed in HL7 v2 (ITI-8).

    **Examples**

    `xds send iti08 --patient 'PAT1^^^HOSP_A&2.999.10&ISO' --name 'Weber^Lena' --birth-date 19900415 --sex F`

    `xds send iti08 --event merge --patient 'PAT1^^^HOSP_A&2.999.10&ISO' --subsumed 'PAT2^^^HOSP_A&2.999.10&ISO'`

    `xds send iti08 admission.hl7`
    """
    if bool(given) == bool(patient):
        raise Usage("give either files with messages, or a --patient")
    if given:
        messages = mllp_exchange.messages_of(given)
    else:
        if (event is Event.MERGE) != bool(subsumed):
            raise Usage("a merge, and only a merge, names the --subsumed identifier")
        family, _, first = name.partition("^")
        feed = IdentityFeed(
            kind=_KINDS[event],
            source=source,
            message_id=new_control_id(),
            identifiers=tuple(map(exchange.patient_identifier, patient or ())),
            demographics=Demographics(names=(PersonName(family, first, use="L"),), birth_date=birth_date, sex=sex),
            subsumed=(exchange.patient_identifier(subsumed),) if subsumed else (),
        )
        messages = [write_feed(feed, now=datetime.now(UTC))]
    mllp_exchange.deliver(messages, to, timeout, exchange.form(as_json, as_er7), dry_run=dry_run)


def iti09(
    patient: Annotated[str, typer.Option(metavar="CX", help="The identifier that is known.")],
    domain: Annotated[
        list[str] | None, typer.Option(metavar="OID|NAMESPACE", help="Domain whose identifier is wanted. Default: all of them.")
    ] = None,
    source: Annotated[str, typer.Option(metavar="FACILITY|APPLICATION", help="Who asks (MSH-4 and MSH-3).")] = "XDS|CLI",
    to: MllpTo = exchange.DEFAULT_MLLP,
    as_json: AsJson = False,
    as_er7: AsEr7 = False,
    dry_run: DryRun = False,
    timeout: Timeout = 30,
) -> None:
    """Ask for a patient's identifiers in other domains: PIX query in HL7 v2 (ITI-9).

    **Examples**

    `xds send iti09 --patient 'A0001^^^HOSP_A&2.999.10&ISO'`

    `xds send iti09 --patient 'A0001^^^HOSP_A&2.999.10&ISO' --domain XDS` for the one that documents go by
    """
    message = _query(exchange.patient_identifier(patient), [mllp_exchange.authority(item) for item in domain or ()], source)
    wanted = exchange.form(as_json, as_er7)
    if dry_run:
        print(mllp_exchange.lines(message))
        return
    answer = mllp_exchange.ask(message, to, timeout)
    identifiers = read_rsp_k23(answer)
    acknowledged = read_acknowledgement(answer)
    rows = [(item.authority.namespace or "", item.authority.oid or "", item.value, item.to_cx()) for item in identifiers]
    names = ("namespace", "oid", "value", "cx")
    facts = {
        **mllp_exchange.acknowledgement_facts(acknowledged),
        "status": answer.get("QAK-2"),
        "identifiers": [dict(zip(names, row, strict=True)) for row in rows],
    }
    table = exchange.Answer(("Namespace", "OID", "Identifier", "In metadata"), rows, facts, lambda: mllp_exchange.lines(answer))
    exchange.show(table, wanted)
    mllp_exchange.print_faults(acknowledged)
    if not acknowledged.is_accepted:
        raise Refused(f"the answer is {acknowledged.code}")
    if not identifiers:
        raise Refused("no identifier was found")


def affinity_identifier(local: str, pix: str, timeout: float) -> str:
    """The affinity domain's identifier (CX) of a patient with a local one. Errors: Refused, NoAnswer, Usage."""
    message = _query(exchange.patient_identifier(local), [AssigningAuthority(_AFFINITY)], "XDS|CLI")
    answer = mllp_exchange.ask(message, pix, timeout)
    identifiers = read_rsp_k23(answer)
    if not identifiers:
        mllp_exchange.print_faults(read_acknowledgement(answer))
        raise Refused(f"the PIX Manager knows no identifier of the affinity domain for {local}")
    return identifiers[0].to_cx()


def _query(identifier: PatientIdentifier, domains: list[AssigningAuthority], source: str) -> hl7v2.Message:
    control_id = new_control_id()
    query = PixQuery(control_id, identifier, tuple(domains))
    now = datetime.now(UTC)
    return write_pix_query(query, source=source, destination=mllp_exchange.DESTINATION, control_id=control_id, now=now)
