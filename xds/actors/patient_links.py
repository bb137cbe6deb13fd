"""What the Document Registry does when a local patient identifier changes its place in the affinity domain.

Its documents get new versions under the new patient, in one SubmissionSet; what was there before stays as their history.

Spec: ITI TF-2 3.64.4.1.3.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from xds.actors import pix_audit
from xds.actors.association_effects import folders_that_gain, recreated
from xds.model import drafts
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.fragments import Fragment, ObjectKind
from xds.model.identifiers import PatientIdentifier, canonical_cx, new_oid, new_uuid_urn, to_dtm
from xds.model.known import KnownAssociation, KnownObject
from xds.model.metadata import Association, Code, DocumentEntry, Folder, Slot, Submission, SubmissionSet
from xds.model.patient import IdentityProblem, IdentityProblemKind
from xds.model.patient_links import XAD_PID_LINK_CHANGE, LinkChange
from xds.model.vocabulary import AssociationType, AvailabilityStatus, DocumentEntryScheme, FolderScheme, ObjectType, SlotName
from xds.ports import Clock
from xds.rules.link_change import Following, folders_at, following
from xds.rules.submission import assign_identifiers
from xds.rules.update import Propagated
from xds.store import affinity_patients, audit
from xds.store.affinity_patients import AffinityPatient
from xds.store.database import Connection, Database
from xds.store.registry import known, writing
from xds.store.registry.codes import CodeKey, CodeTable
from xds.store.registry.finding import Finder
from xds.store.registry.fragments import pack
from xds.store.registry.known import Located
from xds.store.registry.objects import StoredObject
from xds.store.registry.records import records_of
from xds.store.registry.turns import take_turn_of
from xds.wire.ebrim import read_stored, write_object

_Kind = TypeVar("_Kind", DocumentEntry, Folder)
_REFERENCE = "Reference"
_ORIGINAL = "Original"


class _RefusedError(Exception):
    """The change cannot take effect: its transaction is undone."""

    def __init__(self, problems: Sequence[IdentityProblem]) -> None:
        super().__init__("; ".join(problem.text for problem in problems))
        self.problems = tuple(problems)


class _OutdatedError(Exception):
    """The change leads to more than is held: its transaction is undone, to begin again with that."""

    def __init__(self, needed: Iterable[str]) -> None:
        super().__init__("more objects are concerned than were known before")
        self.needed = frozenset(needed)


class PatientLinks:
    """A part of the Document Registry. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        codes: CodeTable,
        identity: DomainIdentity,
        clock: Clock,
        *,
        require_known_patient: bool = True,
        content_type: Code = XAD_PID_LINK_CHANGE,
    ) -> None:
        """`content_type` is the contentTypeCode of the SubmissionSets in which changes are registered."""
        self._database = database
        self._codes = codes
        self._identity = identity
        self._clock = clock
        self._require_known_patient = require_known_patient
        self._content_type = content_type

    def change(self, change: LinkChange, caller: Caller) -> tuple[IdentityProblem, ...]:
        """Move the Approved documents of a local identifier, durably; empty when that was done, or nothing was to be moved.

        Spec: ITI TF-2 3.64.4.1.3.
        Errors: problems with `identifiers` (PID-3: new, local) or `subsumed` (MRG-1: previous, subsumed); nothing is stored then
        but the audit event.
        """
        problems = self._problems(change)
        if not problems:
            try:
                committed = self._in_turn(change, caller)
                self._database.when_durable(lambda: self._codes.remember(committed))
            except _RefusedError as refused:
                problems = refused.problems
        if problems:
            event = pix_audit.link_change_event(change, None, caller, self._identity, self._clock(), problems)
            self._database.write_later(lambda connection: audit.append(connection, event))
        return problems

    def _in_turn(self, change: LinkChange, caller: Caller) -> Mapping[CodeKey, int]:
        """Carry the change out while nobody else changes what it leads to, which is known for certain only then."""
        with self._database.read() as connection:
            new = affinity_patients.find(connection, change.new)
            met = self._meet(connection, change, new) if new else None
        held = frozenset(met.located if met else ())
        while True:
            try:
                return self._database.write(partial(self._carry_out, change=change, held=held, caller=caller))
            except _OutdatedError as outdated:
                held |= outdated.needed

    def _problems(self, change: LinkChange) -> tuple[IdentityProblem, ...]:
        """What is wrong with the message alone."""
        kinds = IdentityProblemKind
        found = []
        for field, item in (("identifiers", change.new), ("subsumed", change.previous)):
            if item.authority.oid != self._identity.assigning_authority:
                text = "the identifier is not one of the affinity domain"
                found.append(IdentityProblem(kinds.UNKNOWN_DOMAIN, field, text, 1, 4))
        if change.subsumed is None:
            if not change.moves:
                text = "without a subsumed local identifier the new and the previous identifier must differ"
                found.append(IdentityProblem(kinds.REQUIRED_MISSING, "subsumed", text, 2))
        elif change.subsumed.authority.oid != change.local.authority.oid:
            text = "the subsumed local identifier must be of the assigning authority of the local one"
            found.append(IdentityProblem(kinds.INVALID, "subsumed", text, 2, 4))
        elif change.subsumed.key == change.local.key:
            text = "the subsumed local identifier and the local one are the same"
            found.append(IdentityProblem(kinds.INVALID, "subsumed", text, 2))
        return tuple(found)

    def _meet(self, connection: Connection, change: LinkChange, new: AffinityPatient) -> _Surroundings | None:
        """The documents that get new versions, with what they are connected with; None when there are none."""
        previous = affinity_patients.find_active(connection, change.previous)
        if previous is None:
            return None
        finder = Finder(connection, self._codes, as_refs=False)
        moved = [change.local] if change.moves else []
        named = [*moved, *([change.subsumed] if change.subsumed else [])]
        entries = [item for each in named for item in finder.of_source_patient(previous[1], each.to_cx())]
        return _Surroundings(finder, entries, new, change) if entries else None

    def _patient(self, connection: Connection, identifier: PatientIdentifier) -> AffinityPatient | None:
        """The patient of an identifier that is in use; without `require_known_patient` an unknown one is made known."""
        found = affinity_patients.find(connection, identifier)
        if found is None and not self._require_known_patient:
            return affinity_patients.add(connection, identifier)
        return found if found and found.is_active else None

    def _carry_out(
        self, connection: Connection, change: LinkChange, held: Collection[str], caller: Caller
    ) -> Mapping[CodeKey, int]:
        """What happens inside the one transaction of a change. Gives back interned codes."""
        take_turn_of(connection, (change.new, change.previous), held)
        new, previous = (self._patient(connection, item) for item in (change.new, change.previous))
        if new is None or previous is None:
            unknown = [field for field, item in (("identifiers", new), ("subsumed", previous)) if item is None]
            text = "the identifier is no active one of the affinity domain"
            raise _RefusedError([IdentityProblem(IdentityProblemKind.UNKNOWN_IDENTIFIER, field, text) for field in unknown])
        met = self._meet(connection, change, new)
        if met and not met.located.keys() <= set(held):
            raise _OutdatedError(met.located.keys())
        now = self._clock()
        submission = met.submission(change, self._content_type, to_dtm(now)) if met else None
        codes = self._store(connection, submission, met, int(to_dtm(now))) if met and submission else {}
        unique_id = submission.submission_set.unique_id if submission else None
        audit.append(connection, pix_audit.link_change_event(change, unique_id, caller, self._identity, now))
        return codes

    def _store(
        self, connection: Connection, submission: Submission, met: _Surroundings, last_update: int
    ) -> Mapping[CodeKey, int]:
        located = met.located | writing.allocate(connection, submission.objects(), met.patient.patient_key)
        records = records_of(submission, {obj.id: pack(write_object(obj)) for obj in submission.objects()})
        codes = writing.insert_objects(connection, self._codes, records, located, last_update)
        writing.supersede(connection, (located[item.id] for item in met.superseded))
        for item in met.follows.references:
            writing.set_status(connection, located[item.id], AvailabilityStatus.DEPRECATED)
        writing.touch_folders(connection, folders_that_gain(submission, located), last_update)
        return codes


@dataclass(frozen=True, slots=True)
class _NewVersion:
    """A registered object and the id of its new version."""

    before: KnownObject
    id: str


class _Surroundings:
    """What the documents of one change are connected with, and what becomes of that."""

    def __init__(self, finder: Finder, entries: Sequence[StoredObject], patient: AffinityPatient, change: LinkChange) -> None:
        self._finder = finder
        self.patient = patient
        self.located: dict[str, Located] = {}
        self._fragments: dict[str, Fragment] = {item.fragment.id: item.fragment for item in entries}
        self._known: dict[int, KnownObject] = {}
        self._know(item.key for item in entries)
        moving = [self._known[item.key] for item in entries]
        links = self._approved(self._finder.associations_of([item.key for item in entries]))
        references = [item.id for item in links if self._is_reference(item)]
        keys = {item.key for item in entries}
        undivided = self._undivided(folders_at(links), keys, change) if change.moves else ()
        self.follows: Following = following([item.id for item in moving], links, undivided, references, patient.patient_key)
        folders = self._finder.by_uuid(ObjectKind.FOLDER, [item.id for item in self.follows.folders])
        self._fragments.update((item.fragment.id, item.fragment) for item in folders)
        self.superseded = (*moving, *self.follows.folders)
        self._versions = {item.id: _NewVersion(item, new_uuid_urn()) for item in self.superseded}

    def submission(self, change: LinkChange, content_type: Code, now: str) -> Submission:
        """The new versions and what follows them, in a SubmissionSet of their own."""
        package = drafts.submission_set(
            symbolic_id="SubmissionSet",
            unique_id=new_oid(),
            source_id=change.source_id,
            patient_id=self.patient.identifier.to_cx(),
            submission_time=now,
            content_type=content_type,
        )
        carried = [Propagated(item, self._after(item.source), self._after(item.target)) for item in self.follows.carried]
        led = [Propagated(item, item.source.id, self._after(item.target)) for item in self.follows.references]
        objects = (
            package,
            *(self._new_version(item, change) for item in self._versions.values()),
            *(_member(package, item) for item in self._versions.values()),
            *(recreated(item, self._fragments) for item in (*carried, *led)),
        )
        return assign_identifiers(Submission.of(*objects), new_uuid_urn)

    def _after(self, end: KnownObject) -> str:
        version = self._versions.get(end.id)
        return version.id if version else end.id

    def _new_version(self, version: _NewVersion, change: LinkChange) -> DocumentEntry | Folder:
        obj = read_stored(self._fragments[version.before.id])
        patient_id = self.patient.identifier.to_cx()
        if isinstance(obj, Folder):
            return _copy(obj, version, FolderScheme.PATIENT_ID, patient_id)
        if not isinstance(obj, DocumentEntry):
            raise TypeError(f"{version.before.id} is stored as something that has no versions")
        copy = _copy(obj, version, DocumentEntryScheme.PATIENT_ID, patient_id)
        if change.subsumed and _source_patient_id(obj) == change.subsumed.to_cx():
            return replace(copy, slots=tuple(_renamed(item, change.local) for item in copy.slots))
        return copy

    def _know(self, keys: Iterable[int]) -> None:
        for found, place in known.by_key(self._finder.connection, set(keys) - self._known.keys()):
            self._known[place.key] = found
            self.located[found.id] = place

    def _approved(self, stored: Iterable[StoredObject]) -> list[KnownAssociation]:
        """Those associations that are Approved, with their ends."""
        approved = [item for item in stored if item.fragment.status is AvailabilityStatus.APPROVED]
        self._fragments.update((item.fragment.id, item.fragment) for item in approved)
        self.located.update((item.fragment.id, Located(item.key, item.patient_key, item.kind)) for item in approved)
        self._know(key for item in approved for key in (item.source_key, item.target_key) if key is not None)
        return [
            KnownAssociation(
                item.fragment.id,
                item.association_type or "",
                item.fragment.status,
                self._known[item.source_key],
                self._known[item.target_key],
            )
            for item in approved
            if item.source_key in self._known and item.target_key in self._known
        ]

    def _is_reference(self, link: KnownAssociation) -> bool:
        """True when a SubmissionSet mentions by it what it did not submit."""
        if link.source.kind is not ObjectKind.SUBMISSION_SET:
            return False
        found = read_stored(self._fragments[link.id])
        return isinstance(found, Association) and found.submission_set_status == _REFERENCE

    def _undivided(self, folders: Sequence[KnownObject], moving: Collection[int], change: LinkChange) -> list[str]:
        """Those of these Folders all of whose documents have a sourcePatientId that moves."""
        # Documents that are Deprecated do not move, and do not divide a Folder either when they have that sourcePatientId.
        moved = {item.to_cx() for item in (change.local, change.subsumed) if item}
        keys = {self.located[item.id].key: item.id for item in folders}
        inside: dict[int, list[str]] = {}
        for item in self._finder.associations_from(keys, (AssociationType.HAS_MEMBER,)):
            approved = item.fragment.status is AvailabilityStatus.APPROVED
            if approved and item.source_key and item.target_key and item.target_key not in moving:
                inside.setdefault(item.target_key, []).append(keys[item.source_key])
        divided = {
            folder
            for item in self._finder.by_key(ObjectKind.DOCUMENT_ENTRY, inside)
            if not item.superseded and _source_patient_id(read_stored(item.fragment)) not in moved
            for folder in inside[item.key]
        }
        return [item.id for item in folders if item.id not in divided]


def _source_patient_id(obj: object) -> str:
    return canonical_cx(obj.source_patient_id or "") if isinstance(obj, DocumentEntry) else ""


def _renamed(slot: Slot, local: PatientIdentifier) -> Slot:
    return Slot(slot.name, (local.to_cx(),)) if slot.name == SlotName.SOURCE_PATIENT_ID else slot


def _copy(obj: _Kind, version: _NewVersion, scheme: str, patient_id: str) -> _Kind:
    """The next version of an object, under that patient. What is inside it gets ids of its own when they are assigned."""
    return replace(
        obj,
        id=version.id,
        lid=version.before.logical_id,
        version=version.before.version + 1,
        status=None,
        classifications=tuple(replace(part, id="", classified_object=version.id) for part in obj.classifications),
        external_identifiers=tuple(
            replace(part, id="", registry_object=version.id, value=patient_id if part.scheme == scheme else part.value)
            for part in obj.external_identifiers
        ),
    )


def _member(package: SubmissionSet, version: _NewVersion) -> Association:
    """The HasMember that submits a new version. Spec: ITI TF-2 3.57.4.1.3.3."""
    is_entry = version.before.kind is ObjectKind.DOCUMENT_ENTRY
    status = (Slot(SlotName.SUBMISSION_SET_STATUS, (_ORIGINAL,)),) if is_entry else ()
    return Association(
        new_uuid_urn(),
        ObjectType.ASSOCIATION,
        slots=(*status, Slot(SlotName.PREVIOUS_VERSION, (str(version.before.version),))),
        association_type=AssociationType.HAS_MEMBER,
        source=package.id,
        target=version.id,
    )
