"""Imaging orders in HL7 v2: OMI^O23 and ORM^O01.

Tolerated: the Study Instance UID in ZDS-1 or IPC-3 (one ZDS at the end counts for all procedures); the accession number in IPC-1
or OBR-18; issuers as namespace alone.

Spec: RAD TF-2 4.4 and 4.13 (Procedure Scheduled, Procedure Updated); HL7 v2.5.1 chapter 4.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from xds.model.identifiers import is_oid
from xds.model.imaging import ImagingOrder, OrderNumber, OrderState
from xds.model.metadata import Code
from xds.wire.dicom_study import CODING_SCHEMES, is_uid
from xds.wire.hl7v2 import Condition, Fault, Location, Message, Segment
from xds.wire.hl7v2_identity import read_identifiers

_CANCELLING: Final = frozenset({"CA", "OC", "CR", "DC", "OD", "DR"})
#: ORC-5 and OBR-25. Spec: HL7 tables 0038 and 0123.
_STATES: Final = {
    "CM": OrderState.COMPLETED,
    "CA": OrderState.CANCELLED,
    "DC": OrderState.CANCELLED,
}
#: HL7 table 0396 in part: coding systems under the names that messages use.
_SCHEMES: Final = CODING_SCHEMES | {"LOINC": CODING_SCHEMES["LN"], "SNOMED-CT": CODING_SCHEMES["SCT"]}


def read_orders(message: Message) -> tuple[ImagingOrder, ...] | tuple[Fault, ...]:
    """Every requested procedure of the message, or what is wrong with it.

    Errors: 100 (no ORC), 101 (no patient, nothing that identifies an order), 102 (an invalid Study Instance UID).
    """
    faults: list[Fault] = []
    patients = read_identifiers(message, "PID-3")
    if not patients:
        faults.append(Fault(Condition.REQUIRED_MISSING, "PID-3 (patient identifier) is required", Location("PID", 1, 3)))
    groups = order_groups(message)
    if not groups:
        faults.append(Fault(Condition.SEGMENT_SEQUENCE, "the message has no ORC", Location("ORC")))
    orders: list[ImagingOrder] = []
    for number, group in enumerate(groups, 1):
        order = read_order(group)
        study = order.study_instance_uid
        if study and not is_uid(study):
            place = Location("ZDS", 1, 1) if message.segment("ZDS") else Location("IPC", number, 3)
            faults.append(Fault(Condition.DATA_TYPE, "the Study Instance UID is no UID", place))
        if not (order.placer or order.filler or order.accession or study):
            text = "ORC-2 (placer order number) or ORC-3 (filler order number) is required"
            faults.append(Fault(Condition.REQUIRED_MISSING, text, Location("ORC", number, 2)))
        if patients:
            orders.append(
                ImagingOrder(
                    order.accession,
                    order.placer,
                    order.filler,
                    study,
                    patients[0],
                    order.procedure,
                    order.description,
                    _state(group),
                )
            )
    return tuple(faults) or tuple(orders)


def order_groups(message: Message) -> tuple[Message, ...]:
    """The message in pieces, one for each order, or for each of several procedures (IPC) of one."""
    common = tuple(item for item in message.segments if item.name == "ZDS")
    starts = [number for number, item in enumerate(message.segments) if item.name == "ORC"]
    if not starts:
        starts = [number for number, item in enumerate(message.segments) if item.name == "OBR"]
    groups: list[Message] = []
    for start, end in pairwise([*starts, len(message.segments)]):
        own = message.segments[start:end]
        rest = tuple(item for item in own if item.name != "IPC")
        procedures: list[tuple[Segment, ...]] = [(item,) for item in own if item.name == "IPC"]
        for procedure in procedures or [()]:
            segments = (*rest, *procedure, *(item for item in common if item not in rest))
            groups.append(Message(segments, message.separators, message.codec))
    return tuple(groups)


def read_order(group: Message) -> ImagingOrder:
    """What ORC, OBR, IPC and ZDS of one order say; its patient and state are the message's."""
    procedure = read_code(group, "OBR-44") or read_code(group, "OBR-4")
    return ImagingOrder(
        accession=read_number(group, "IPC-1") or read_number(group, "OBR-18"),
        placer=read_number(group, "ORC-2") or read_number(group, "OBR-2"),
        filler=read_number(group, "ORC-3") or read_number(group, "OBR-3"),
        study_instance_uid=(group.get("IPC-3") or group.get("ZDS-1")).strip(),
        procedure=procedure,
        description=(group.get("OBR-4.2") or group.get("OBR-44.2")).strip(),
    )


def read_number(message: Message, path: str) -> OrderNumber:
    """An EI: number, namespace, universal id. Spec: HL7 v2.5 2.A.28."""
    value, namespace, oid = (message.get(f"{path}.{part}").strip() for part in (1, 2, 3))
    return OrderNumber(value, oid if is_oid(oid) else None, namespace or None)


def read_code(message: Message, path: str) -> Code | None:
    """A CE; its coding system as an OID where one is known, else as it is named."""
    code, display, system = (message.get(f"{path}.{part}").strip() for part in (1, 2, 3))
    return Code(code, _SCHEMES.get(system.upper(), system), display or code) if code else None


def _state(group: Message) -> OrderState:
    if group.get("ORC-1").strip() in _CANCELLING:
        return OrderState.CANCELLED
    return _STATES.get(group.get("ORC-5").strip(), OrderState.OPEN)
