"""What the Document Registry does to update metadata: new versions, changed statuses, associations submitted later.

Spec: ITI TF-2 3.57 (Update Document Set), 3.92 (Restricted Update Document Set).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from xds.actors.association_effects import folders_that_gain, inherited_folders, memberships, recreated, replacements_of
from xds.actors.document_registry_audit import update_event
from xds.actors.document_registry_removal import Permitted
from xds.model.audit import EventOutcome
from xds.model.caller import Action, Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.errors import RegistryError, RegistryResponse, Severity, response_to
from xds.model.fragments import Fragment, ObjectKind
from xds.model.identifiers import new_uuid_urn, to_dtm
from xds.model.known import UpdateSurroundings
from xds.model.metadata import Association, DocumentEntry, Submission
from xds.model.vocabulary import AvailabilityStatus
from xds.ports import Clock
from xds.rules import update as rules
from xds.rules.submission import assign_identifiers
from xds.rules.update import Dialect, Operations, operations_of
from xds.store import affinity_patients, audit
from xds.store.affinity_patients import AffinityPatient
from xds.store.database import Connection, Database
from xds.store.registry import known, updating, writing
from xds.store.registry.codes import CodeKey, CodeTable
from xds.store.registry.fragments import pack
from xds.store.registry.known import Located
from xds.store.registry.objects import StoredObject
from xds.store.registry.records import records_of
from xds.store.registry.turns import take_turn
from xds.store.registry.updating import UpdateMeeting
from xds.wire.ebrim import read_stored, write_object


class _RefusedError(Exception):
    """A request breaks rules beside what is registered: its transaction is undone."""

    def __init__(self, errors: Sequence[RegistryError]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = errors


class MetadataUpdate:
    """A part of the Document Registry. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        codes: CodeTable,
        permitted: Permitted,
        identity: DomainIdentity,
        clock: Clock,
        *,
        require_known_patient: bool = True,
        local_rules: Callable[[Submission], Sequence[RegistryError]] = lambda _submission: (),
        type_codes: bool = False,
    ) -> None:
        """`local_rules` and `type_codes` as `DocumentRegistry` has them."""
        self._database = database
        self._codes = codes
        self._permitted = permitted
        self._identity = identity
        self._clock = clock
        self._local_rules = local_rules
        self._type_codes = type_codes
        self._require_known_patient = require_known_patient

    def update(
        self, submission: Submission, caller: Caller, dialect: Dialect, found: Sequence[RegistryError] = ()
    ) -> RegistryResponse:
        """Carry out every operation of a request, or none. What the caller may not see is answered as if it did not exist.

        `dialect` is `xds.rules.update.UNRESTRICTED` for ITI-57 and `RESTRICTED` for ITI-92; `found` is what was wrong with the
        form of the message already, to be reported together with all other errors.

        Spec: ITI TF-2 3.57.4.1.3, 3.92.4.1.3.
        Errors: those of `xds.rules.update`, all of them; XDSRegistryOutOfResources.
        """
        findings = [*found, *rules.check(submission, dialect, type_codes=self._type_codes), *self._local_rules(submission)]
        if _has_error(findings):
            with self._database.read() as connection:
                findings += self._meet(connection, submission, caller, dialect)[1]
            return self._refuse(submission, findings, caller, dialect)
        prepared = _Prepared.of(submission, dialect)
        try:
            committed, more = self._database.write(lambda connection: self._carry_out(connection, prepared, caller))
        except _RefusedError as refusal:
            return self._refuse(submission, [*findings, *refusal.errors], caller, dialect)
        self._database.when_durable(lambda: self._codes.remember(committed))
        return response_to([*findings, *more])

    def _meet(
        self, connection: Connection, submission: Submission, caller: Caller, dialect: Dialect
    ) -> tuple[UpdateMeeting, list[RegistryError]]:
        patients: dict[int, AffinityPatient] = {}

        def visible(objects: list[StoredObject]) -> list[StoredObject]:
            patients.update(affinity_patients.surviving(connection, {item.patient_key for item in objects}))
            return self._permitted(connection, objects, patients, caller, Action.UPDATE)

        assume = not self._require_known_patient
        meeting = updating.meet(connection, self._codes, submission, visible, assume_patients=assume)
        if dialect.restricted:
            meeting = replace(meeting, surroundings=replace(meeting.surroundings, contents=_contents(meeting.fragments)))
        home = f"urn:oid:{self._identity.home_community_id}"
        return meeting, rules.check_against_registry(submission, meeting.surroundings, dialect, home)

    def _refuse(
        self, submission: Submission, findings: Sequence[RegistryError], caller: Caller, dialect: Dialect
    ) -> RegistryResponse:
        now, outcome = self._clock(), EventOutcome.SERIOUS_FAILURE
        event = update_event(submission, outcome, caller, self._identity, now, restricted=dialect.restricted)
        self._database.write_later(lambda connection: audit.append(connection, event))
        return response_to(findings)

    def _carry_out(
        self, connection: Connection, prepared: _Prepared, caller: Caller
    ) -> tuple[Mapping[CodeKey, int], list[RegistryError]]:
        """What happens inside the one transaction of a request. Gives back interned codes and warnings."""
        take_turn(connection, prepared.received)
        meeting, findings = self._meet(connection, prepared.received, caller, prepared.dialect)
        if _has_error(findings):
            raise _RefusedError(findings)
        now = self._clock()
        met = meeting.surroundings
        prepared = prepared.with_homes(met)
        operations = operations_of(prepared.assigned)
        following = [recreated(item, meeting.fragments) for item in rules.propagated(operations, met)]
        replacements = replacements_of(prepared.assigned, meeting.located)
        folders = inherited_folders(connection, prepared.assigned, replacements)
        complete = prepared.with_associations([*following, *memberships(prepared.assigned, folders)])
        located = {**meeting.located, **{uuid: place for _entry, places in folders for uuid, place in places.items()}}
        patient_key = known.owner(connection, complete.assigned, met.known)
        located |= writing.allocate(connection, complete.assigned.objects(), patient_key)
        last_update = int(to_dtm(now))
        records = records_of(complete.assigned, complete.fragments())
        codes = writing.insert_objects(connection, self._codes, records, located, last_update)
        replaced = [target for _source, target in replacements]
        writing.deprecate_entries(connection, [*replaced, *writing.children_of(connection, replaced)])
        _supersede(connection, operations, met, located)
        _change_statuses(connection, operations, met, located)
        writing.touch_folders(connection, folders_that_gain(complete.assigned, located), last_update)
        restricted = prepared.dialect.restricted
        event = update_event(prepared.received, EventOutcome.SUCCESS, caller, self._identity, now, restricted=restricted)
        audit.append(connection, event)
        return codes, findings


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request as received, and the same with UUIDs and with the version of each object."""

    received: Submission
    assigned: Submission
    dialect: Dialect

    @classmethod
    def of(cls, submission: Submission, dialect: Dialect) -> _Prepared:
        assigned = assign_identifiers(submission, new_uuid_urn)
        versions = {item.obj.id: (item.previous_version or 0) + 1 for item in operations_of(assigned).versions}
        numbered = replace(
            assigned,
            document_entries=tuple(replace(item, version=versions[item.id]) for item in assigned.document_entries),
            folders=tuple(replace(item, version=versions[item.id]) for item in assigned.folders),
        )
        return cls(submission, numbered, dialect)

    def with_homes(self, met: UpdateSurroundings) -> _Prepared:
        """A restricted update that names no homeCommunityId leaves it as it is."""
        if not met.contents:
            return self
        entries = tuple(
            item if item.home else replace(item, home=met.contents[met.newest[item.logical_id].id].home)
            for item in self.assigned.document_entries
        )
        return replace(self, assigned=replace(self.assigned, document_entries=entries))

    def with_associations(self, more: Sequence[Association]) -> _Prepared:
        return replace(self, assigned=replace(self.assigned, associations=(*self.assigned.associations, *more)))

    def fragments(self) -> dict[str, bytes]:
        return {obj.id: pack(write_object(obj)) for obj in self.assigned.objects()}


def _has_error(findings: Iterable[RegistryError]) -> bool:
    return any(finding.severity is Severity.ERROR for finding in findings)


def _contents(fragments: Mapping[str, Fragment]) -> dict[str, DocumentEntry]:
    entries = (read_stored(item) for item in fragments.values() if item.kind is ObjectKind.DOCUMENT_ENTRY)
    return {item.id: item for item in entries if isinstance(item, DocumentEntry)}


def _supersede(connection: Connection, operations: Operations, met: UpdateSurroundings, located: Mapping[str, Located]) -> None:
    """The versions before make way. What was Deprecated stays so in its new version, which a restricted update can give it."""
    for update in operations.versions:
        before = met.newest[update.obj.logical_id]
        if before.status is AvailabilityStatus.DEPRECATED:
            writing.set_status(connection, located[update.obj.id], AvailabilityStatus.DEPRECATED)
        writing.supersede(connection, (located[before.id],))


def _change_statuses(
    connection: Connection, operations: Operations, met: UpdateSurroundings, located: Mapping[str, Located]
) -> None:
    """The status of an object that this request updates, too, is that of its new version."""
    for change in operations.statuses:
        registered = met.known.objects.get(change.target)
        update = operations.update_of_logical(registered.logical_id if registered else None)
        if change.new is not None:
            writing.set_status(connection, located[update.obj.id if update else change.target], change.new)
