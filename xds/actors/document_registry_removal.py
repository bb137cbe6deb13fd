"""What the Document Registry does to remove metadata.

Spec: ITI TF-2 3.62 (Remove Metadata and Documents).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from xds.actors.document_registry_audit import removal_event
from xds.model.audit import EventOutcome
from xds.model.caller import Action, Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.errors import RegistryError, RegistryResponse, response_to
from xds.ports import Clock
from xds.rules import removal as rules
from xds.store import affinity_patients, audit
from xds.store.affinity_patients import AffinityPatient
from xds.store.database import Connection, Database
from xds.store.registry import removing
from xds.store.registry.codes import CodeTable
from xds.store.registry.objects import StoredObject

#: Which of some objects a caller may act upon; the mapping holds today's patient of each of their patient keys.
Permitted = Callable[
    [Connection, list[StoredObject], Mapping[int, AffinityPatient], Caller, Action],
    list[StoredObject],
]


class _RefusedError(Exception):
    """The objects must not be removed: the transaction is undone."""

    def __init__(self, errors: Sequence[RegistryError]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = errors


class MetadataRemoval:
    """A part of the Document Registry. One object serves all threads."""

    def __init__(
        self, database: Database, codes: CodeTable, permitted: Permitted, identity: DomainIdentity, clock: Clock
    ) -> None:
        self._database = database
        self._codes = codes
        self._permitted = permitted
        self._identity = identity
        self._clock = clock

    def remove(self, ids: Sequence[str], caller: Caller) -> RegistryResponse:
        """Remove these objects, all or none. What the caller may not see is answered as if it did not exist.

        Spec: ITI TF-2 3.62.4.1.3.
        Errors: those of `xds.rules.removal`, all of them.
        """
        try:
            self._remove_as_of_now(ids, caller)
        except _RefusedError as refusal:
            event = removal_event(ids, None, EventOutcome.SERIOUS_FAILURE, caller, self._identity, self._clock())
            self._database.write_later(lambda connection: audit.append(connection, event))
            return response_to(refusal.errors)
        return response_to(())

    def _remove_as_of_now(self, ids: Sequence[str], caller: Caller) -> None:
        while True:
            try:
                self._database.write(lambda connection: self._remove(connection, ids, caller))
            except removing.OutdatedError:
                continue
            return

    def _remove(self, connection: Connection, ids: Sequence[str], caller: Caller) -> None:
        patients: dict[int, AffinityPatient] = {}

        def visible(objects: list[StoredObject]) -> list[StoredObject]:
            patients.update(affinity_patients.surviving(connection, {item.patient_key for item in objects}))
            return self._permitted(connection, objects, patients, caller, Action.REMOVE)

        met = removing.meet(connection, self._codes, ids, visible)
        errors = rules.check(ids, met.surroundings)
        if errors:
            raise _RefusedError(errors)
        removing.remove(connection, met.objects)
        by_patient: dict[str, list[str]] = {}
        for item in met.objects:
            by_patient.setdefault(patients[item.patient_key].identifier.to_cx(), []).append(item.fragment.id)
        now = self._clock()
        for patient_id, removed in by_patient.items():
            event = removal_event(removed, patient_id, EventOutcome.SUCCESS, caller, self._identity, now)
            audit.append(connection, event)
