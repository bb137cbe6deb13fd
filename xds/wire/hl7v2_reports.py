"""Imaging reports in HL7 v2: ORU^R01, and MDM^T02, T10 and T11.

The document is in OBX-5 of type ED (PDF, CDA, text; base64), or is the text of the OBX of type TX, FT and ST.

Tolerated: an ED whose data stand in its first component alone; base64 that is not declared; line breaks in it; one document in
pieces, an OBX for each; text in the character set of the message; text with separators that are not escaped; a message without
PID around a CDA document, whose header then tells whose it is. Several documents in one message are refused: which of them is the
report, only its sender knows.

Spec: HL7 v2.5 chapters 7 (ORU) and 9 (MDM), 2.A.24 (ED); RAD TF-2 4.128.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from xds.model.imaging import ImagingOrder, OrderNumber
from xds.model.imaging_report import ImagingReport, ReportFacts, ReportFormat
from xds.wire.cda_report import CdaHeader, read_cda, read_time
from xds.wire.hl7v2 import Condition, Fault, Location, Message, unescape
from xds.wire.hl7v2_identity import read_identifiers
from xds.wire.hl7v2_orders import order_groups, read_code, read_number, read_order
from xds.wire.xml import XmlError

#: Results that are not final: OBR-25, OBX-11 (tables 0123, 0085), TXA-17 (table 0271).
_PRELIMINARY: Final = frozenset({"P", "I", "S", "A", "R", "O", "DI", "IN", "PA"})
_CANCELLED: Final = frozenset({"X", "D", "W", "CA"})
_TEXT: Final = frozenset({"TX", "FT", "ST"})
#: CA: the authenticated document is cancelled by T11 alone.
_CANCELLATION_EVENT: Final = "T11"


def read_report(message: Message) -> ImagingReport | tuple[Fault, ...]:
    """The report of a message, or what is wrong with it.

    Errors: 101 (no patient, no number, no document), 102 (a document that is not what it says).
    """
    faults: list[Fault] = []
    groups = order_groups(message)
    order = read_order(groups[0]) if groups else ImagingOrder()
    accession = read_number(message, "TXA-15") if not order.accession and message.segment("TXA") else order.accession
    status = (message.get("TXA-17") or message.get("OBR-25") or message.get("OBX-11")).strip()
    is_cancelled = message.event == _CANCELLATION_EVENT or (message.message_type == "ORU" and status in _CANCELLED)
    content, form, header = (b"", ReportFormat.PDF, None) if is_cancelled else _document(message, faults)
    facts = _merged(_facts(message, replace(order, accession=accession)), header, form)
    if not facts.patient_ids:
        faults.append(Fault(Condition.REQUIRED_MISSING, "PID-3 (patient identifier) is required", Location("PID", 1, 3)))
    if not facts.number:
        place = Location("TXA", 1, 12) if message.message_type == "MDM" else Location("OBR", 1, 3)
        faults.append(Fault(Condition.REQUIRED_MISSING, "the report has no number of its own", place))
    if faults:
        return tuple(faults)
    return ImagingReport(replace(facts, is_cancelled=is_cancelled), content, status in _PRELIMINARY)


def _facts(message: Message, order: ImagingOrder) -> ReportFacts:
    number = read_number(message, "TXA-12") if message.message_type == "MDM" else order.filler
    parent = read_number(message, "TXA-13") if message.event == "T10" else OrderNumber("")
    time = message.get("TXA-6") or message.get("OBR-22") or message.get("OBX-14") or message.get("MSH-7")
    person = message.field("TXA-9") or message.field("OBR-32")
    return ReportFacts(
        number=_numbered(number),
        patient_ids=read_identifiers(message, "PID-3"),
        patient_name="^".join(message.get(f"PID-5.{part}").strip() for part in range(1, 6)).rstrip("^"),
        birth_date=message.get("PID-7").strip()[:8],
        sex=message.get("PID-8").strip(),
        order=order,
        replaces=_numbered(parent),
        title=order.description,
        type_code=read_code(message, "OBR-44") or read_code(message, "OBR-4"),
        created=read_time(time.strip()),
        service_start=read_time(message.get("OBR-7").strip()),
        person=_person(message, person),
        language="",
    )


def _numbered(number: OrderNumber) -> str:
    return "^".join(part for part in (number.value, number.issuer_oid or number.issuer_namespace or "") if part)


def _person(message: Message, field: str) -> str:
    """XCN of the first interpreter: number, family and given name. OBR-32 has it in subcomponents (NDL)."""
    first = field.split(message.separators.repetition, 1)[0]
    if message.separators.subcomponent in first.split(message.separators.component, 1)[0]:
        parts = message.subcomponents(first.split(message.separators.component, 1)[0])
    else:
        parts = (message.components(first) or [[]])[0]
    return "^".join(parts[:3]) if any(parts[1:3]) else ""


def _merged(facts: ReportFacts, header: CdaHeader | None, form: ReportFormat) -> ReportFacts:
    """What the message says, and what only the CDA document in it tells; the document goes first where it speaks of itself."""
    if header is None:
        return replace(facts, format=form)
    order = facts.order
    return replace(
        facts,
        format=form,
        number=header.number or facts.number,
        patient_ids=facts.patient_ids or header.patient_ids,
        patient_name=facts.patient_name or header.patient_name,
        birth_date=facts.birth_date or header.birth_date,
        sex=facts.sex or header.sex,
        title=header.title or facts.title,
        type_code=header.code or facts.type_code,
        created=header.created or facts.created,
        service_start=header.service_start or facts.service_start,
        language=header.language,
        confidentiality=header.confidentiality,
        order=replace(
            order,
            accession=order.accession or header.accession,
            placer=order.placer or header.placer,
            study_instance_uid=order.study_instance_uid or header.study_instance_uid,
        ),
    )


def _document(message: Message, faults: list[Fault]) -> tuple[bytes, ReportFormat, CdaHeader | None]:
    """The one document of the message. Beside one of type ED, lines of text are its reading for screens that show no other."""
    encapsulated: list[int] = []
    lines: list[str] = []
    for number in range(1, message.count("OBX") + 1):
        kind = message.get("OBX-2", occurrence=number).strip()
        if kind == "ED":
            encapsulated.append(number)
        elif kind in _TEXT:
            lines += _lines(message, number)
    if encapsulated:
        return _encapsulated(message, encapsulated, faults)
    if not any(line.strip() for line in lines):
        text = "the message holds no document: OBX of type ED, or of type TX, FT or ST"
        faults.append(Fault(Condition.REQUIRED_MISSING, text, Location("OBX", 1, 5)))
    return "\n".join(lines).encode(), ReportFormat.TEXT, None


def _encapsulated(message: Message, numbers: list[int], faults: list[Fault]) -> tuple[bytes, ReportFormat, CdaHeader | None]:
    """The document of these OBX: whole in one of them, or continued from each to the next."""
    values = [_data(message, number) for number in numbers]
    # Each piece may end anywhere in its base64, so they are joined before they are decoded.
    joined = None if any(_begins_document(value) for value in values[1:]) else _decoded("".join(values), message, numbers[0])
    documents = (
        [joined]
        if joined
        else list(dict.fromkeys(_decoded(value, message, number) for value, number in zip(values, numbers, strict=True)))
    )
    if len(documents) == 1 and documents[0]:
        return _recognised(documents[0], numbers[0], message, faults)
    if None in documents:
        text = "OBX-5 (ED) holds no document in base64"
    else:
        text = "the message holds several documents: each is sent in a message of its own"
    faults.append(Fault(Condition.DATA_TYPE, text, Location("OBX", numbers[0 if len(documents) == 1 else 1], 5)))
    return b"", ReportFormat.PDF, None


def _data(message: Message, number: int) -> str:
    return message.get("OBX-5.5", occurrence=number) or message.get("OBX-5.1", occurrence=number)


def _begins_document(value: str) -> bool:
    """Whether another document begins here: base64 of `%PDF`, `<?xml`, `<Clin`, or the same as they are."""
    return value.lstrip().startswith(("JVBER", "PD94bW", "PENsaW", "%PDF", "<"))


def _decoded(value: str, message: Message, number: int) -> bytes | None:
    """The octets of the data of an ED; None when they are not written as they say. Spec: HL7 v2.5 2.A.24, table 0299."""
    encoding = message.get("OBX-5.4", occurrence=number).strip().upper()
    try:
        if encoding == "A":
            return value.encode() or None
        if encoding == "HEX":
            return bytes.fromhex(value) or None
        return base64.b64decode("".join(value.split()), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _recognised(data: bytes, number: int, message: Message, faults: list[Fault]) -> tuple[bytes, ReportFormat, CdaHeader | None]:
    place = Location("OBX", number, 5)
    if data.startswith(b"%PDF"):
        return data, ReportFormat.PDF, None
    if data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        try:
            header = read_cda(data)
        except (XmlError, ValueError) as problem:
            faults.append(Fault(Condition.DATA_TYPE, f"the document in OBX-5 is not readable: {type(problem).__name__}", place))
            return b"", ReportFormat.CDA, None
        return data, header.format, header
    for codec in ("utf-8", message.codec):
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text.encode(), ReportFormat.TEXT, None
    said = "the document in OBX-5 is neither PDF nor CDA nor text in UTF-8 or the character set of the message"
    faults.append(Fault(Condition.DATA_TYPE, said, place))
    return b"", ReportFormat.TEXT, None


def _lines(message: Message, number: int) -> Iterator[str]:
    """The lines of a text. It has no components: separators in it that its sender left without escapes are text."""
    for text in message.field("OBX-5", number).split(message.separators.repetition):
        yield from unescape(text, message.separators, message.codec).replace("\\.br\\", "\n").split("\n")
