"""The Document Registry as the standard describes it, in one dictionary and plain loops: slow, obvious, and without its store.

What it holds are registry objects as they were submitted, with entryUUIDs; what it gives back are sets of entryUUIDs. It answers
the queries of ITI-18 and knows what a submission does beside being stored. Whether a submission is allowed it does not know.

Spec: ITI TF-3 4.2.1, 4.2.2; ITI TF-2 3.18.4.1.2.3, 3.42.4.1.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from xds.model.errors import ErrorCode
from xds.model.metadata import Association, Code, DocumentEntry, Folder, RegistryObject, Submission, SubmissionSet
from xds.model.vocabulary import STABLE, AssociationType, AvailabilityStatus

APPROVED, DEPRECATED = AvailabilityStatus.APPROVED, AvailabilityStatus.DEPRECATED
REPLACING = (AssociationType.RPLC, AssociationType.XFRM_RPLC)
#: A document of these kinds goes when its parent is replaced.
DEPENDING = (AssociationType.APND, AssociationType.XFRM)

#: Values of a parameter: AND of groups, OR inside a group. Codes are `code^^scheme`.
Parameters = Mapping[str, Sequence[Sequence[str]]]


@dataclass
class Registered:
    """An object with what the Registry decides about it."""

    object: RegistryObject
    status: AvailabilityStatus = APPROVED
    last_update_time: str | None = None


class RegistryModel:
    """A registry. Patients are CX texts."""

    def __init__(self) -> None:
        self.objects: dict[str, Registered] = {}
        self._subsumed_by: dict[str, str | None] = {}

    # --- patients

    def announce(self, patient: str) -> None:
        self._subsumed_by.setdefault(patient, None)

    def merge(self, subsumed: str, surviving: str) -> None:
        """Nothing changes unless both are known, different, and neither was subsumed before. Spec: ITI TF-2 3.8.4.2.2."""
        both = (subsumed, surviving)
        if subsumed != surviving and all(self.is_active(patient) for patient in both):
            self._subsumed_by[subsumed] = surviving

    def is_active(self, patient: str) -> bool:
        return patient in self._subsumed_by and self._subsumed_by[patient] is None

    def surviving(self, patient: str) -> str:
        """The identifier under which the patient's objects are found today."""
        while (next_one := self._subsumed_by.get(patient)) is not None:
            patient = next_one
        return patient

    def patient_of(self, obj: RegistryObject) -> str | None:
        """Surviving patient of a DocumentEntry, SubmissionSet or Folder; None for an Association."""
        return None if isinstance(obj, Association) else self.surviving(getattr(obj, "patient_id", None) or "")

    # --- submissions

    def register(self, submission: Submission, now: str, id_of: Callable[[str, str], str]) -> None:
        """Take in a valid submission. `id_of` tells the entryUUID that the Registry gave a HasMember (source, target) of its own.

        Spec: ITI TF-3 4.2.2.2.3 (replacement), 4.2.3.4.6 (lastUpdateTime).
        """
        replaced = [item for item in submission.associations if item.association_type in REPLACING]
        inherited = [(folder, item.source) for item in replaced for folder in self.folders_of(item.target)]
        for item in replaced:
            self._deprecate(item.target)
        for obj in submission.objects():
            self.objects[obj.id] = Registered(obj, last_update_time=now if isinstance(obj, Folder) else None)
        stated = {(item.source, item.target) for item in submission.associations}
        for folder, document in inherited:
            if (folder, document) not in stated:
                stated.add((folder, document))
                member = self._has_member(folder, document, id_of)
                self._has_member(submission.submission_set.id, member, id_of)
        for source, _target in stated:
            if isinstance(self.objects[source].object, Folder):
                self.objects[source].last_update_time = now

    def folders_of(self, document: str) -> list[str]:
        """Approved folders that hold the document."""
        sources = [item.source for item in self.associations() if item.target == document]
        return [
            uuid for uuid in sources if isinstance(self.objects[uuid].object, Folder) and self.objects[uuid].status is APPROVED
        ]

    def depending_on(self, document: str) -> set[str]:
        """The document and everything that was appended to it or transformed from it, and so on."""
        found = {document}
        for item in self.associations():
            if item.target == document and item.association_type in DEPENDING:
                found |= self.depending_on(item.source)
        return found

    def _deprecate(self, document: str) -> None:
        for uuid in self.depending_on(document):
            self.objects[uuid].status = DEPRECATED

    def _has_member(self, source: str, target: str, id_of: Callable[[str, str], str]) -> str:
        made = Association(id_of(source, target), association_type=AssociationType.HAS_MEMBER, source=source, target=target)
        self.objects[made.id] = Registered(made)
        return made.id

    # --- what is there

    def associations(self) -> Iterator[Association]:
        return (item.object for item in self.objects.values() if isinstance(item.object, Association))

    def documents(self) -> list[DocumentEntry]:
        return [item.object for item in self.objects.values() if isinstance(item.object, DocumentEntry)]

    def transformations(self) -> set[str]:
        """The entries that are another form of an entry, to which nothing may be appended. Spec: ITI TF-3 4.2.2.2.1."""
        return {item.source for item in self.associations() if item.association_type == AssociationType.XFRM}

    def submission_sets(self) -> list[SubmissionSet]:
        return [item.object for item in self.objects.values() if isinstance(item.object, SubmissionSet)]

    def folders(self) -> list[Folder]:
        return [item.object for item in self.objects.values() if isinstance(item.object, Folder)]

    # --- queries

    def answer(self, query: str, parameters: Parameters, *, full: bool) -> set[str] | ErrorCode:
        """entryUUIDs that a query finds, by its name in the standard; `full`: LeafClass is asked for."""
        given = _Given(parameters)
        found: set[str] = getattr(self, f"_{query}")(given)
        if full:
            # TF-2 names the error with six of the queries by identifiers; TF-3 Table 4.2.4.1-2 explains it for all of them.
            patients = {self.patient_of(self.objects[uuid].object) for uuid in found} - {None}
            if len(patients) > 1:
                return ErrorCode.RESULT_NOT_SINGLE_PATIENT
        return found

    def _FindDocuments(self, given: _Given) -> set[str]:  # noqa: N802 (the standard's name)
        return {
            item.id
            for item in self.documents()
            if self._is_of(item, given.one("XDSDocumentEntryPatientId"))
            and self._has_status(item, given, "XDSDocumentEntryStatus")
            and _document_matches(item, given)
        }

    _FindDocumentsByReferenceId = _FindDocuments

    def _FindSubmissionSets(self, given: _Given) -> set[str]:  # noqa: N802
        return {
            item.id
            for item in self.submission_sets()
            if self._is_of(item, given.one("XDSSubmissionSetPatientId"))
            and self._has_status(item, given, "XDSSubmissionSetStatus")
            and given.allows("XDSSubmissionSetSourceId", [item.source_id])
            and given.allows("XDSSubmissionSetContentType", _texts(item.content_type_code))
            and given.contains_time("XDSSubmissionSetSubmissionTime", item.submission_time)
            and given.is_like("XDSSubmissionSetAuthorPerson", [author.person for author in item.authors])
        }

    def _FindFolders(self, given: _Given) -> set[str]:  # noqa: N802
        return {
            item.id
            for item in self.folders()
            if self._is_of(item, given.one("XDSFolderPatientId"))
            and self._has_status(item, given, "XDSFolderStatus")
            and given.allows("XDSFolderCodeList", _texts(*item.code_list))
            and given.contains_time("XDSFolderLastUpdateTime", self.objects[item.id].last_update_time)
        }

    def _GetAll(self, given: _Given) -> set[str]:  # noqa: N802
        patient = given.one("patientId")
        found = {
            item.id
            for items, status in (
                (self.documents(), "XDSDocumentEntryStatus"),
                (self.submission_sets(), "XDSSubmissionSetStatus"),
                (self.folders(), "XDSFolderStatus"),
            )
            for item in items
            if self._is_of(item, patient)
            and self._has_status(item, given, status)
            and (not isinstance(item, DocumentEntry) or _content_matches(item, given))
        }
        return found | self._touching(found, given)

    def _GetDocuments(self, given: _Given) -> set[str]:  # noqa: N802
        return self._named(self.documents(), given, "XDSDocumentEntry")

    def _GetFolders(self, given: _Given) -> set[str]:  # noqa: N802
        return self._named(self.folders(), given, "XDSFolder")

    def _GetAssociations(self, given: _Given) -> set[str]:  # noqa: N802
        return self._touching(set(given.any("uuid")), given)

    def _GetDocumentsAndAssociations(self, given: _Given) -> set[str]:  # noqa: N802
        found = self._GetDocuments(given)
        return found | self._touching(found, given)

    def _GetSubmissionSets(self, given: _Given) -> set[str]:  # noqa: N802
        sets = {item.id for item in self.submission_sets()}
        members = [item for item in self._members() if item.target in given.any("uuid") and item.source in sets]
        return {item.id for item in members} | {item.source for item in members}

    def _GetSubmissionSetAndContents(self, given: _Given) -> set[str]:  # noqa: N802
        found = self._named(self.submission_sets(), given, "XDSSubmissionSet")
        members = [item for item in self._members() if item.source in found]
        for member in members:
            target = self.objects[member.target].object
            if isinstance(target, Folder) or (isinstance(target, DocumentEntry) and _content_matches(target, given)):
                found |= {member.id, target.id}
        for member in members:
            target = self.objects[member.target].object
            if isinstance(target, Association) and {target.source, target.target} <= found:
                found |= {member.id, target.id}
        return found

    def _GetFolderAndContents(self, given: _Given) -> set[str]:  # noqa: N802
        found = self._named(self.folders(), given, "XDSFolder")
        for member in [item for item in self._members() if item.source in found]:
            target = self.objects[member.target].object
            if isinstance(target, DocumentEntry) and _content_matches(target, given):
                found |= {member.id, target.id}
        return found

    def _GetFoldersForDocument(self, given: _Given) -> set[str]:  # noqa: N802
        documents = self._GetDocuments(given)
        sources = {item.source for item in self._members() if item.target in documents}
        return {item.id for item in self.folders() if item.id in sources}

    def _GetRelatedDocuments(self, given: _Given) -> set[str]:  # noqa: N802
        documents = {item.id for item in self.documents() if _type_matches(item, given)}
        start = self._GetDocuments(given)
        found = set()
        for item in self.associations():
            ends = {item.source, item.target}
            if item.association_type in given.any("AssociationTypes") and ends <= documents and ends & start:
                found |= {item.id, *ends}
        return found

    def _members(self) -> list[Association]:
        return [item for item in self.associations() if item.association_type == AssociationType.HAS_MEMBER]

    def _touching(self, uuids: set[str], given: _Given) -> set[str]:
        return {
            item.id
            for item in self.associations()
            if (item.source in uuids or item.target in uuids) and given.allows("XDSAssociationStatus", [APPROVED])
        }

    def _is_of(self, item: RegistryObject, patient: str) -> bool:
        """A subsumed identifier finds nothing; a surviving one finds the objects of all that it subsumed."""
        return self.is_active(patient) and self.patient_of(item) == patient

    def _has_status(self, item: RegistryObject, given: _Given, name: str) -> bool:
        return self.objects[item.id].status in given.any(name)

    @staticmethod
    def _named(items: Sequence[DocumentEntry | SubmissionSet | Folder], given: _Given, prefix: str) -> set[str]:
        uuids, unique_ids = given.any(f"{prefix}EntryUUID"), given.any(f"{prefix}UniqueId")
        return {item.id for item in items if item.id in uuids or item.unique_id in unique_ids}


class _Given:
    """The parameters of one query. What is not given allows everything."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters

    def one(self, name: str) -> str:
        return self._parameters[name][0][0]

    def any(self, name: str) -> list[str]:
        return [value for group in self._parameters.get(name, ()) for value in group]

    def allows(self, name: str, values: Sequence[str | None]) -> bool:
        return all(any(value in group for value in values) for group in self._parameters.get(name, ()))

    def is_like(self, name: str, values: Sequence[str | None]) -> bool:
        return all(
            any(_like(pattern, value) for pattern in group for value in values if value is not None)
            for group in self._parameters.get(name, ())
        )

    def refers(self, name: str, values: Sequence[str]) -> bool:
        """Equal, or like it when there is a `%` in what is wanted."""
        return all(
            any(_like(wanted, value) if "%" in wanted else wanted == value for wanted in group for value in values)
            for group in self._parameters.get(name, ())
        )

    def contains_time(self, name: str, value: str | None) -> bool:
        """From is inside, To is not; a time that is absent is not asked about."""
        if value is None:
            return True
        after = all(_padded(time) <= _padded(value) for time in self.any(f"{name}From"))
        return after and all(_padded(value) < _padded(time) for time in self.any(f"{name}To"))


def _document_matches(item: DocumentEntry, given: _Given) -> bool:
    prefix = "XDSDocumentEntry"
    return (
        _content_matches(item, given)
        and given.allows(f"{prefix}ClassCode", _texts(item.class_code))
        and given.allows(f"{prefix}TypeCode", _texts(item.type_code))
        and given.allows(f"{prefix}PracticeSettingCode", _texts(item.practice_setting_code))
        and given.allows(f"{prefix}HealthcareFacilityTypeCode", _texts(item.healthcare_facility_type_code))
        and given.allows(f"{prefix}EventCodeList", _texts(*item.event_codes))
        and given.refers(f"{prefix}ReferenceIdList", item.reference_ids)
        and given.is_like(f"{prefix}AuthorPerson", [author.person for author in item.authors])
        and (item.is_on_demand or given.contains_time(f"{prefix}CreationTime", item.creation_time))
        and given.contains_time(f"{prefix}ServiceStartTime", item.service_start_time)
        and given.contains_time(f"{prefix}ServiceStopTime", item.service_stop_time)
    )


def _content_matches(item: DocumentEntry, given: _Given) -> bool:
    """The filters that queries for contents have, too."""
    return (
        _type_matches(item, given)
        and given.allows("XDSDocumentEntryFormatCode", _texts(item.format_code))
        and given.allows("XDSDocumentEntryConfidentialityCode", _texts(*item.confidentiality_codes))
    )


def _type_matches(item: DocumentEntry, given: _Given) -> bool:
    return item.object_type in (given.any("XDSDocumentEntryType") or [STABLE])


def _texts(*codes: Code | None) -> list[str]:
    return [str(code) for code in codes if code is not None]


def _like(pattern: str, text: str) -> bool:
    """`%` is any run of characters, `_` any one; everything else is itself, in its case."""
    parts = {"%": ".*", "_": "."}
    return (
        re.fullmatch("".join(parts.get(character) or re.escape(character) for character in pattern), text, re.DOTALL) is not None
    )


def _padded(time: str) -> str:
    """A less precise time is the start of its interval."""
    return time + "00000101000000"[len(time) :]
