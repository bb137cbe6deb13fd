"""The Document Registry: keeps the metadata of documents and answers stored queries about them.

Spec: ITI TF-1 10.1.1.3; ITI TF-2 3.18, 3.42.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, overload

from xds.actors.association_effects import folders_that_gain, inherited_folders, memberships, replacements_of
from xds.actors.document_registry_audit import import_event, query_event
from xds.actors.document_registry_removal import MetadataRemoval
from xds.actors.metadata_update import MetadataUpdate
from xds.actors.patient_links import PatientLinks
from xds.actors.registry_answers import as_of_today, patients_of, several_patients, too_many
from xds.actors.unavailability import REGISTRY_IS_BUSY, or_refused, or_registry_refuses
from xds.model.audit import EventOutcome
from xds.model.caller import Action, Caller, Resource
from xds.model.domain_identity import DomainIdentity
from xds.model.errors import REGISTRY_IS_FULL, RegistryError, RegistryResponse, Severity, response_to
from xds.model.fragments import Fragment, Reference
from xds.model.identifiers import new_uuid_urns, to_dtm
from xds.model.metadata import Association, Code, RegistryObject, Submission
from xds.model.patient import IdentityProblem
from xds.model.patient_links import XAD_PID_LINK_CHANGE, LinkChange
from xds.model.stored_queries import RawQuery, ReturnType
from xds.ports import AccessRule, Clock
from xds.rules.queries import understand
from xds.rules.stored_query_table import MULTI_PATIENT_QUERIES, STORED_QUERIES
from xds.rules.submission import assign_identifiers, check, check_against_registry
from xds.rules.update import RESTRICTED, UNRESTRICTED
from xds.store import affinity_patients, audit
from xds.store.affinity_patients import AffinityPatient
from xds.store.database import Connection, Database
from xds.store.registry import finding, known, stored_queries, writing
from xds.store.registry.codes import CodeKey, CodeTable
from xds.store.registry.fragments import pack
from xds.store.registry.newest import with_newest_codes
from xds.store.registry.objects import StoredObject
from xds.store.registry.records import Record, record_of
from xds.store.registry.turns import take_turn
from xds.wire.ebrim import write_object

#: References weigh a fragment of what they refer to, and consumers page by them: so many may stand for one object.
REFERENCES_PER_OBJECT = 20

_SUCCESS: Final = response_to(())


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """Answer to a stored query: whole objects, or with `as_refs` references alone."""

    response: RegistryResponse
    objects: Sequence[Fragment] = ()
    references: Sequence[Reference] = ()
    as_refs: bool = False


@dataclass(frozen=True, slots=True)
class DocumentFacts:
    """What the registry says today about one document; codes have the form `code^^scheme`, the patient is a CX."""

    patient_id: str
    confidentiality: tuple[str, ...]
    class_code: str | None
    mime_type: str
    size: str | None
    hash: str | None


class _RefusedError(Exception):
    """A submission breaks rules beside what is registered: its transaction is undone."""

    def __init__(self, errors: Sequence[RegistryError]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = errors


class _Resources(Sequence[Resource]):
    """What an access rule is asked about. Each is made when the rule looks at it: one that permits everything looks at none."""

    def __init__(
        self, found: Sequence[StoredObject], patients: Mapping[int, AffinityPatient], code: Callable[[int], str]
    ) -> None:
        self._found = found
        self._code = code
        self._patient_ids = {key: patient.identifier.to_cx() for key, patient in patients.items()}

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> Resource: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Resource]: ...
    def __getitem__(self, index: int | slice) -> Resource | Sequence[Resource]:
        return [self._of(item) for item in self._found[index]] if isinstance(index, slice) else self._of(self._found[index])

    def _of(self, item: StoredObject) -> Resource:
        class_code = None if item.class_code is None else self._code(item.class_code)
        return Resource(self._patient_ids[item.patient_key], item.unique_id, item.confidentiality, class_code)


#: Rules that one affinity domain adds to the standard's; warnings are allowed.
LocalRules = Callable[[Submission], Sequence[RegistryError]]


def no_local_rules(_submission: Submission) -> Sequence[RegistryError]:
    """The rules of an affinity domain that adds none."""
    return ()


class DocumentRegistry:
    """The actor. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        identity: DomainIdentity,
        access: AccessRule,
        clock: Clock,
        *,
        require_known_patient: bool = True,
        max_results: int = 5000,
        local_rules: LocalRules = no_local_rules,
        type_codes: bool = False,
        link_change_content_type: Code = XAD_PID_LINK_CHANGE,
    ) -> None:
        """`max_results`: objects answered in full. Without `require_known_patient` submissions announce their patients.

        `local_rules` are those of the affinity domain beside the standard's, such as its codes. With `type_codes` the kind of an
        identifier may stand in CX.5 and XON.7. `link_change_content_type` is the contentTypeCode of the SubmissionSets of link
        changes.
        """
        self._database = database
        self._identity = identity
        self._access = access
        self._clock = clock
        self._require_known_patient = require_known_patient
        self._max_results = max_results
        self._local_rules = local_rules
        self._type_codes = type_codes
        self._codes = CodeTable()
        self._removal = MetadataRemoval(database, self._codes, self._permitted, identity, clock)
        self._links = PatientLinks(
            database,
            self._codes,
            identity,
            clock,
            require_known_patient=require_known_patient,
            content_type=link_change_content_type,
        )
        self._updates = MetadataUpdate(
            database,
            self._codes,
            self._permitted,
            identity,
            clock,
            require_known_patient=require_known_patient,
            local_rules=local_rules,
            type_codes=type_codes,
        )

    # --- ITI-42, ITI-61 ----------------------------------------------------------------------------------------------

    @or_registry_refuses
    def register(
        self,
        submission: Submission,
        caller: Caller,
        *,
        along: Callable[[Any], object] | None = None,
        found: Sequence[RegistryError] = (),
        on_demand: bool = False,
    ) -> RegistryResponse:
        """Store the metadata of a submission: all or nothing, durable when it succeeded.

        `along` runs last in the same transaction, with its connection; what it raises undoes everything. `found` is what was
        wrong with the form of the message already, to be reported together with all other errors. `on_demand`: it registers
        on-demand DocumentEntries, and may register no other ones.

        Spec: ITI TF-2 3.42.4.1.3, 3.61.4.1.3.
        Errors: those of `xds.rules.submission`; XDSRegistryOutOfResources.
        """
        findings = [
            *found,
            *check(submission, registering=True, on_demand=on_demand, type_codes=self._type_codes),
            *self._local_rules(submission),
        ]
        if _has_error(findings):
            with self._database.read() as connection:
                # What both see is said once.
                findings = list(dict.fromkeys((*findings, *self._meet(connection, submission)[1])))
            return self._refuse(submission, findings, caller, on_demand)
        event = import_event(submission, EventOutcome.SUCCESS, caller, self._identity, self._clock(), on_demand=on_demand)
        prepared = _Prepared.of(submission, audit.write(event))
        try:
            committed, more = self._database.write(lambda connection: self._store(connection, prepared, along))
        except _RefusedError as refusal:
            return self._refuse(submission, [*findings, *refusal.errors], caller, on_demand)
        self._database.when_durable(lambda: self._codes.remember(committed))
        return response_to([*findings, *more])

    def _meet(self, connection: Connection, submission: Submission) -> tuple[known.Meeting, list[RegistryError]]:
        meeting = known.meet(connection, submission, assume_patients=not self._require_known_patient)
        return meeting, check_against_registry(submission, meeting.known)

    def _refuse(
        self, submission: Submission, findings: Sequence[RegistryError], caller: Caller, on_demand: bool
    ) -> RegistryResponse:
        now = self._clock()
        event = import_event(submission, EventOutcome.SERIOUS_FAILURE, caller, self._identity, now, on_demand=on_demand)
        self._database.write_later(lambda connection: audit.append(connection, event))
        return response_to(findings)

    def _store(
        self, connection: Connection, prepared: _Prepared, along: Callable[[Any], object] | None
    ) -> tuple[Mapping[CodeKey, int], list[RegistryError]]:
        """What happens inside the one transaction of a submission. Gives back interned codes and warnings."""
        take_turn(connection, prepared.received)
        keys = writing.ask_for_keys(connection, len(prepared.records))
        meeting, findings = self._meet(connection, prepared.received)
        if _has_error(findings):
            raise _RefusedError(findings)
        replacements = replacements_of(prepared.assigned, meeting.located)
        replaced = [target for _source, target in replacements]
        deprecated = [*replaced, *writing.children_of(connection, replaced)]
        folders = inherited_folders(connection, prepared.assigned, replacements)
        complete = prepared.with_associations(memberships(prepared.assigned, folders))
        located = {**meeting.located, **{uuid: place for _entry, places in folders for uuid, place in places.items()}}
        patient_key = known.owner(connection, complete.assigned, meeting.known)
        located |= writing.allocate(connection, complete.assigned.objects(), patient_key, keys)
        last_update = int(to_dtm(self._clock()))
        beside = [audit.rows_of(prepared.event)]
        codes = writing.insert_objects(connection, self._codes, complete.records, located, last_update, beside)
        writing.deprecate_entries(connection, deprecated)
        writing.touch_folders(connection, folders_that_gain(complete.assigned, located), last_update)
        if along is not None:
            along(connection)
        return codes, findings

    # --- ITI-18, ITI-51 ----------------------------------------------------------------------------------------------

    @or_refused(QueryAnswer(REGISTRY_IS_BUSY), QueryAnswer(REGISTRY_IS_FULL))
    def query(self, raw: RawQuery, caller: Caller, *, across_patients: bool = False) -> QueryAnswer:
        """Answer a stored query. What the access rule does not permit is left out without a word.

        `across_patients`: it is one of the queries of ITI-51, whose objects may belong to several patients.

        Spec: ITI TF-2 3.18.4.1.3, 3.51.4.1.3.
        Errors: those of `xds.rules.queries.understand`, XDSTooManyResults, XDSResultNotSinglePatient.
        """
        query = understand(raw, MULTI_PATIENT_QUERIES if across_patients else STORED_QUERIES)
        if isinstance(query, list):
            return self._answered(raw, (), QueryAnswer(response_to(query)), caller, across_patients)
        as_refs = query.return_type is ReturnType.OBJECT_REF
        limit = self._max_results * REFERENCES_PER_OBJECT if as_refs else self._max_results
        with self._database.read() as connection:
            answer = stored_queries.find(connection, self._codes, query, limit)
            found, patients = answer.objects, answer.patients
            if len(found) <= limit:
                found = self._permitted(connection, found, patients, caller, Action.QUERY)
        asked_for = patients_of(query)
        problem = too_many(found, limit) or (None if across_patients else several_patients(query, found, patients))
        if problem:
            refused = QueryAnswer(response_to([problem]), as_refs=as_refs)
            return self._answered(raw, asked_for, refused, caller, across_patients)
        if as_refs:
            answered = QueryAnswer(_SUCCESS, references=found, as_refs=True)
        else:
            answered = QueryAnswer(_SUCCESS, [as_of_today(item, patients[item.patient_key]) for item in found])
        return self._answered(raw, asked_for, answered, caller, across_patients)

    def _permitted(
        self,
        connection: Connection,
        found: list[StoredObject],
        patients: Mapping[int, AffinityPatient],
        caller: Caller,
        action: Action,
    ) -> list[StoredObject]:
        # Whoever may not see a document as it is labelled now may not see what was said of it before either.
        decisive = with_newest_codes(connection, found)
        resources = _Resources(decisive, patients, lambda number: self._codes.text(connection, number))
        verdicts = self._access.permits(caller, action, resources)
        return [item for item, permitted in zip(found, verdicts, strict=True) if permitted]

    def _answered(
        self, raw: RawQuery, patient_ids: Sequence[str], answer: QueryAnswer, caller: Caller, across_patients: bool
    ) -> QueryAnswer:
        outcome = EventOutcome.SUCCESS if answer.response.succeeded else EventOutcome.SERIOUS_FAILURE
        now = self._clock()
        event = query_event(raw, patient_ids, outcome, caller, self._identity, now, across_patients=across_patients)
        self._database.write_later(lambda connection: audit.append(connection, event))
        return answer

    # --- ITI-62 ------------------------------------------------------------------------------------------------------

    @or_registry_refuses
    def remove(self, ids: Sequence[str], caller: Caller) -> RegistryResponse:
        """Remove the objects with these entryUUIDs, all or none. See `MetadataRemoval.remove`."""
        return self._removal.remove(ids, caller)

    # --- ITI-57, ITI-92 ----------------------------------------------------------------------------------------------

    @or_registry_refuses
    def update(self, submission: Submission, caller: Caller, *, found: Sequence[RegistryError] = ()) -> RegistryResponse:
        """Update metadata: new versions, statuses, associations; all or nothing. See `MetadataUpdate.update`."""
        return self._updates.update(submission, caller, UNRESTRICTED, found)

    @or_registry_refuses
    def restricted_update(
        self, submission: Submission, caller: Caller, *, found: Sequence[RegistryError] = ()
    ) -> RegistryResponse:
        """Update DocumentEntries in what may be changed without restriction. See `MetadataUpdate.update`."""
        return self._updates.update(submission, caller, RESTRICTED, found)

    # --- ITI-64 ------------------------------------------------------------------------------------------------------

    def change_link(self, change: LinkChange, caller: Caller) -> tuple[IdentityProblem, ...]:
        """Move the documents of a local patient identifier; empty when it was done. See `PatientLinks.change`."""
        return self._links.change(change, caller)

    # --- for a repository in the same process ------------------------------------------------------------------------

    def documents(self, unique_ids: Sequence[str], repository_unique_id: str) -> Mapping[str, DocumentFacts]:
        """What is registered about documents of that repository, by uniqueId; those that are not registered are absent."""
        with self._database.read() as connection:
            found = finding.documents(connection, unique_ids, repository_unique_id)
            patients = affinity_patients.surviving(connection, {item.patient_key for item in found.values()})
            return {
                unique_id: DocumentFacts(
                    patients[item.patient_key].identifier.to_cx(),
                    item.confidentiality,
                    None if item.class_code is None else self._codes.text(connection, item.class_code),
                    item.mime_type,
                    item.size,
                    item.hash,
                )
                for unique_id, item in found.items()
            }


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A submission as received, the same with UUIDs, what is stored of its objects, and the audit event of its success.

    What stands inside the objects with UUIDs has its own in what is stored alone: nothing else needs them.
    """

    received: Submission
    assigned: Submission
    records: Sequence[Record]
    event: audit.Written

    @classmethod
    def of(cls, submission: Submission, event: audit.Written) -> _Prepared:
        new_uuid = new_uuid_urns().__next__
        assigned = assign_identifiers(submission, new_uuid, parts=False)
        return cls(submission, assigned, _recorded(assigned.objects(), new_uuid), event)

    def with_associations(self, more: Sequence[Association]) -> _Prepared:
        if not more:
            return self
        assigned = replace(self.assigned, associations=(*self.assigned.associations, *more))
        return replace(self, assigned=assigned, records=[*self.records, *_recorded(more)])


def _recorded(objects: Iterable[RegistryObject], new_uuid: Callable[[], str] | None = None) -> list[Record]:
    return [record_of(obj, pack(write_object(obj, new_uuid))) for obj in objects]


def _has_error(findings: Iterable[RegistryError]) -> bool:
    return any(finding.severity is Severity.ERROR for finding in findings)
