"""What orders say of studies. An order and its study find each other by Study Instance UID, or else by accession number.

Spec: RAD TF-2 4.4, 4.13 (procedure scheduled, updated); PS3.3 C.7.2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select, update

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.imaging import ImagingOrder, OrderNumber, OrderState
from xds.model.metadata import Code
from xds.store.dialects import put
from xds.store.schema.imaging import imaging_order, imaging_study


def keep(connection: Connection, order: ImagingOrder, when: datetime) -> bool:
    """Keep an order, or what is new of one that is known; False when it says nothing new."""
    values = _values(order)
    row = connection.execute(select(imaging_order).where(imaging_order.c.identity == values["identity"])).first()
    if row is not None:
        # An update need not repeat everything.
        changed = {name: value for name, value in values.items() if value not in (None, "") and getattr(row, name) != value}
        if not changed:
            return False
        values = {**{name: getattr(row, name) for name in values}, **changed}
    put(connection, imaging_order, ("identity",), values | {"updated": int(when.timestamp() * 1000)})
    return True


def set_state(connection: Connection, order: ImagingOrder) -> None:
    """Give every procedure of the same placer or filler order the state of this one."""
    columns = imaging_order.c
    same = [
        (getattr(columns, f"{name}_number") == number.value) & _is(getattr(columns, f"{name}_issuer_oid"), number.issuer_oid)
        for name, number in (("placer", order.placer), ("filler", order.filler))
        if number
    ]
    for condition in same:
        connection.execute(update(imaging_order).where(condition).values(state=order.state.value))


def of_study(
    connection: Connection, study_instance_uid: str, accession_number: str, accession_issuer_oid: str | None
) -> tuple[ImagingOrder, ...]:
    """The orders of a study, oldest first, without those that were cancelled."""
    columns = imaging_order.c
    own: ColumnElement[bool] = columns.study_instance_uid == study_instance_uid
    if accession_number:
        named = (columns.study_instance_uid == "") & (columns.accession_number == accession_number)
        if accession_issuer_oid:
            named &= columns.accession_issuer_oid.is_(None) | (columns.accession_issuer_oid == accession_issuer_oid)
        own |= named
    statement = select(imaging_order).where(own, columns.state != OrderState.CANCELLED.value)
    return tuple(_order(row) for row in connection.execute(statement.order_by(columns.order_key)))


def studies(connection: Connection, order: ImagingOrder) -> Sequence[str]:
    """Study Instance UIDs of the studies here that an order is about."""
    columns, orders = imaging_study.c, imaging_order.c
    if order.study_instance_uid:
        return (order.study_instance_uid,)
    found: list[str] = []
    if order.accession:
        condition = columns.accession_number == order.accession.value
        if order.accession.issuer_oid:
            condition &= columns.accession_issuer_oid.is_(None) | (columns.accession_issuer_oid == order.accession.issuer_oid)
        found += connection.execute(select(columns.study_instance_uid).where(condition)).scalars()
    for name, number in (("placer", order.placer), ("filler", order.filler)):
        if number:
            known = (getattr(orders, f"{name}_number") == number.value) & (orders.study_instance_uid != "")
            known &= _is(getattr(orders, f"{name}_issuer_oid"), number.issuer_oid)
            found += connection.execute(select(orders.study_instance_uid).where(known)).scalars()
    return tuple(dict.fromkeys(found))


def _is(column: Any, value: str | None) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = column.is_(None) if value is None else column == value
    return condition


def _values(order: ImagingOrder) -> dict[str, Any]:
    patient, procedure = order.patient, order.procedure
    main = order.placer or order.filler
    identity = f"{main.value}^{main.issuer_oid or ''}|{order.accession.value}|{order.study_instance_uid}"
    return {
        "identity": identity,
        "study_instance_uid": order.study_instance_uid,
        "accession_number": order.accession.value,
        "accession_issuer_oid": order.accession.issuer_oid,
        "placer_number": order.placer.value,
        "placer_issuer_oid": order.placer.issuer_oid,
        "placer_issuer_namespace": order.placer.issuer_namespace,
        "filler_number": order.filler.value,
        "filler_issuer_oid": order.filler.issuer_oid,
        "filler_issuer_namespace": order.filler.issuer_namespace,
        "patient_id": patient.value if patient else "",
        "patient_issuer_oid": patient.authority.oid if patient else None,
        "patient_issuer_namespace": patient.authority.namespace if patient else None,
        "procedure_code": procedure.code if procedure else None,
        "procedure_scheme": procedure.scheme if procedure else None,
        "procedure_display": procedure.display if procedure else None,
        "description": order.description,
        "state": order.state.value,
    }


def _order(row: Row[Any]) -> ImagingOrder:
    authority = AssigningAuthority(row.patient_issuer_namespace, row.patient_issuer_oid)
    procedure = Code(row.procedure_code, row.procedure_scheme or "", row.procedure_display or "") if row.procedure_code else None
    return ImagingOrder(
        accession=OrderNumber(row.accession_number, row.accession_issuer_oid),
        placer=OrderNumber(row.placer_number, row.placer_issuer_oid, row.placer_issuer_namespace),
        filler=OrderNumber(row.filler_number, row.filler_issuer_oid, row.filler_issuer_namespace),
        study_instance_uid=row.study_instance_uid,
        patient=PatientIdentifier(row.patient_id, authority) if row.patient_id else None,
        procedure=procedure,
        description=row.description,
        state=OrderState(row.state),
    )
