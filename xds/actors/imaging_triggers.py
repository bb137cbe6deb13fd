"""What orders do to manifests: they tell what a study was made for, and when it is complete.

Spec: RAD TF-2 4.4, 4.13.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import structlog

from xds.actors import imaging_audit
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.imaging import ImagingOrder, OrderState, StudyPatient
from xds.ports import Clock
from xds.store import audit, imaging_changes, imaging_orders, jobs
from xds.store.database import Database

#: The kind of job that publishes a study; its key is the Study Instance UID.
PUBLISH_STUDY: Final = "publish-study"

_log = structlog.get_logger()


class OrderIntake:
    """A part of the Imaging Document Source. One object serves all threads."""

    def __init__(self, database: Database, identity: DomainIdentity, clock: Clock, settle: timedelta) -> None:
        self._database = database
        self._identity = identity
        self._clock = clock
        self._settle = settle

    def ordered(self, orders: Sequence[ImagingOrder], caller: Caller) -> None:
        """Keep what orders say; durable when this returns.

        A study that is announced already gets a new manifest when an order tells something new of it. Completed and cancelled
        orders have the study published at once.
        """
        now = self._clock()

        def work(connection: Any) -> None:
            for order in orders:
                is_new = imaging_orders.keep(connection, order, now)
                if order.state is not OrderState.OPEN:
                    imaging_orders.set_state(connection, order)
                due = now if order.state is not OrderState.OPEN else now + self._settle
                for uid in imaging_orders.studies(connection, order):
                    if is_new:
                        imaging_changes.touch(connection, uid)
                    jobs.add(connection, PUBLISH_STUDY, uid, {"reason": "order"}, due)
            patient = orders[0].patient
            patient_id = patient.to_cx() if patient else ""
            audit.append(connection, imaging_audit.order_received(self._identity, caller, now, patient_id))

        self._database.write(work)
        _log.info("imaging.ordered", orders=len(orders))


def is_of_patient(order: ImagingOrder, patient: StudyPatient) -> bool:
    """False when an order names another patient than the images do, in the same domain."""
    named = order.patient
    if named is None or not patient.patient_id or named.value == patient.patient_id:
        return True
    if named.authority.oid and patient.issuer_oid:
        return named.authority.oid != patient.issuer_oid
    return named.authority.namespace != patient.issuer_namespace
