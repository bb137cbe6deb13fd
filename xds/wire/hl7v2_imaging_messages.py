"""Imaging orders and reports as HL7 v2 messages, as order fillers and report creators send them.

Spec: RAD TF-2 4.4, 4.13 (OMI^O23), 4.128 (ORU^R01); HL7 v2.5.1 chapters 4 and 7, 2.A.24 (ED).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from xds.model.identifiers import PatientIdentifier
from xds.model.imaging import ImagingOrder, OrderNumber, OrderState
from xds.model.metadata import Code
from xds.model.patient import Demographics
from xds.wire.hl7v2 import Message, Segment, components, escape, segment
from xds.wire.hl7v2_answers import cx, header, stamp
from xds.wire.hl7v2_demographics import pid_fields
from xds.wire.hl7v2_identity import system

_VERSION: Final = "2.5.1"
#: ORC-1 and ORC-5. Spec: HL7 tables 0119 and 0038.
_ORDER_STATES: Final = {
    OrderState.OPEN: ("NW", "IP"),
    OrderState.COMPLETED: ("SC", "CM"),
    OrderState.CANCELLED: ("CA", "CA"),
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who tells whom about which patient. `source` and `destination` are `facility|application`."""

    patients: tuple[PatientIdentifier, ...]
    demographics: Demographics
    source: str
    destination: str
    control_id: str


def write_order(order: ImagingOrder, envelope: Envelope, *, now: datetime) -> Message:
    """One requested procedure as OMI^O23. Spec: RAD TF-2 4.4.4.1.2."""
    control, status = _ORDER_STATES[order.state]
    ipc = {1: _ei(order.accession), 2: _ei(order.filler or order.accession), 3: order.study_instance_uid, 4: _ei(order.filler)}
    return Message(
        (
            *_beginning(envelope, "OMI^O23^OMI_O23", now),
            segment("ORC", {1: control, 2: _ei(order.placer), 3: _ei(order.filler), 5: status}),
            segment("OBR", {1: "1", 2: _ei(order.placer), 3: _ei(order.filler), 4: _ce(order.procedure, order.description)}),
            segment("IPC", ipc),
        )
    )


def write_report(order: ImagingOrder, content: bytes, envelope: Envelope, *, now: datetime) -> Message:
    """A final report as ORU^R01: a PDF or CDA document in base64, or lines of text in UTF-8. Without content it is withdrawn.

    Its number is that of the order's filler. Spec: RAD TF-2 4.128.4.1.2. Errors: UnicodeDecodeError for text that is not UTF-8.
    """
    status = "F" if content else "X"
    obr = {
        1: "1",
        2: _ei(order.placer),
        3: _ei(order.filler),
        4: _ce(order.procedure, order.description),
        18: escape(order.accession.value),
        22: stamp(now),
        25: status,
    }
    study = [segment("ZDS", {1: components(order.study_instance_uid, "XDS", "Application", "DICOM")})]
    return Message(
        (
            *_beginning(envelope, "ORU^R01^ORU_R01", now),
            segment("ORC", {1: "RE", 2: _ei(order.placer), 3: _ei(order.filler)}),
            segment("OBR", obr),
            *_observations(content, status),
            *(study if order.study_instance_uid else ()),
        )
    )


def _beginning(envelope: Envelope, message_type: str, now: datetime) -> tuple[Segment, Segment]:
    head = header(
        message_type,
        sender=system(envelope.source),
        receiver=system(envelope.destination),
        control_id=envelope.control_id,
        now=now,
        version=_VERSION,
    )
    return head, segment("PID", pid_fields(envelope.demographics) | {3: "~".join(map(cx, envelope.patients))})


def _observations(content: bytes, status: str) -> list[Segment]:
    if content.startswith(b"%PDF"):
        return [_encapsulated("application", "pdf", content, status)]
    if content.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        return [_encapsulated("text", "xml", content, status)]
    lines = content.decode().splitlines()
    return [segment("OBX", {1: str(number), 2: "TX", 5: escape(line), 11: status}) for number, line in enumerate(lines, 1)]


def _encapsulated(kind: str, subtype: str, content: bytes, status: str) -> Segment:
    value = components("", kind, subtype, "Base64", base64.b64encode(content).decode())
    return segment("OBX", {1: "1", 2: "ED", 5: value, 11: status})


def _ei(number: OrderNumber) -> str:
    if not number:
        return ""
    parts = (number.value, number.issuer_namespace, number.issuer_oid, "ISO" if number.issuer_oid else "")
    return components(*(escape(part or "") for part in parts))


def _ce(code: Code | None, text: str) -> str:
    if code is None:
        return components("", escape(text)) if text else ""
    return components(*map(escape, (code.code, text or code.display, code.scheme)))
