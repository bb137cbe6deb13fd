"""Registry objects from plain facts: what a Document Source knows, in, and the objects of a submission, out.

Ids inside a draft are symbolic; the Registry assigns the real ones.

Spec: ITI TF-3 4.2.3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from xds.model.metadata import (
    Association,
    Author,
    Classification,
    Code,
    DocumentEntry,
    ExternalIdentifier,
    Folder,
    LocalizedString,
    Slot,
    SubmissionSet,
)
from xds.model.vocabulary import (
    EXTERNAL_IDENTIFIER_NAMES,
    FOLDER_NODE,
    ON_DEMAND,
    STABLE,
    SUBMISSION_SET_NODE,
    AssociationType,
    DocumentEntryScheme,
    FolderScheme,
    ObjectType,
    SlotName,
    SubmissionSetScheme,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFacts:
    """What the source knows of one document. Identifiers of patients are CX, times are DTM in UTC."""

    id: str
    unique_id: str
    patient_id: str
    source_patient_id: str
    mime_type: str
    title: str
    creation_time: str
    class_code: Code
    type_code: Code
    format_code: Code
    facility_type: Code
    practice_setting: Code
    confidentiality: tuple[Code, ...]
    language: str
    author: Author | None = None
    event_codes: tuple[Code, ...] = ()
    service_start_time: str | None = None
    service_stop_time: str | None = None
    source_patient_info: tuple[str, ...] = ()
    reference_ids: tuple[str, ...] = ()


def document_entry(facts: DocumentFacts) -> DocumentEntry:
    """The stable DocumentEntry of a document; hash, size and repositoryUniqueId are the Repository's to add."""
    scheme = DocumentEntryScheme
    coded = (
        (scheme.CLASS_CODE, facts.class_code),
        (scheme.TYPE_CODE, facts.type_code),
        (scheme.FORMAT_CODE, facts.format_code),
        (scheme.HEALTHCARE_FACILITY_TYPE_CODE, facts.facility_type),
        (scheme.PRACTICE_SETTING_CODE, facts.practice_setting),
        *((scheme.CONFIDENTIALITY_CODE, code) for code in facts.confidentiality),
        *((scheme.EVENT_CODE, code) for code in facts.event_codes),
    )
    return DocumentEntry(
        id=facts.id,
        object_type=STABLE,
        mime_type=facts.mime_type,
        slots=_slots(
            (SlotName.CREATION_TIME, facts.creation_time),
            (SlotName.LANGUAGE_CODE, facts.language),
            (SlotName.SERVICE_START_TIME, facts.service_start_time),
            (SlotName.SERVICE_STOP_TIME, facts.service_stop_time),
            (SlotName.SOURCE_PATIENT_ID, facts.source_patient_id),
            (SlotName.SOURCE_PATIENT_INFO, facts.source_patient_info),
            (SlotName.REFERENCE_ID_LIST, facts.reference_ids),
        ),
        name=_text(facts.title),
        classifications=(
            *_authors(facts.id, scheme.AUTHOR, facts.author),
            *(_coded(facts.id, name, code, number) for number, (name, code) in enumerate(coded)),
        ),
        external_identifiers=(
            _identifier(facts.id, scheme.PATIENT_ID, facts.patient_id),
            _identifier(facts.id, scheme.UNIQUE_ID, facts.unique_id),
        ),
    )


def identified(entry: DocumentEntry, entry_uuid: str) -> DocumentEntry:
    """The entry under an entryUUID that the source chose; all other ids stay symbolic."""
    return replace(
        entry,
        id=entry_uuid,
        classifications=tuple(replace(item, classified_object=entry_uuid) for item in entry.classifications),
        external_identifiers=tuple(replace(item, registry_object=entry_uuid) for item in entry.external_identifiers),
    )


def on_demand_entry(facts: DocumentFacts, repository_unique_id: str) -> DocumentEntry:
    """The on-demand DocumentEntry of a document that this repository makes when it is retrieved."""
    entry = document_entry(facts)
    kept = tuple(slot for slot in entry.slots if slot.name != SlotName.CREATION_TIME)
    return replace(entry, object_type=ON_DEMAND, slots=(*kept, *_slots((SlotName.REPOSITORY_UNIQUE_ID, repository_unique_id))))


def snapshot(
    entry: DocumentEntry, *, symbolic_id: str, unique_id: str, patient_id: str, mime_type: str, creation_time: str
) -> DocumentEntry:
    """The stable DocumentEntry of a document that was made for an on-demand one; hash and size are the Repository's to add."""
    values = {DocumentEntryScheme.UNIQUE_ID: unique_id, DocumentEntryScheme.PATIENT_ID: patient_id}
    return replace(
        entry,
        id=symbolic_id,
        object_type=STABLE,
        lid=None,
        status=None,
        version=None,
        mime_type=mime_type,
        slots=(*entry.slots, *_slots((SlotName.CREATION_TIME, creation_time))),
        classifications=tuple(
            replace(item, id=f"{symbolic_id}-code-{number}", classified_object=symbolic_id)
            for number, item in enumerate(entry.classifications)
        ),
        external_identifiers=tuple(_identifier(symbolic_id, scheme, value) for scheme, value in values.items()),
    )


def submission_set(
    *,
    symbolic_id: str,
    unique_id: str,
    source_id: str,
    patient_id: str,
    submission_time: str,
    content_type: Code,
    author: Author | None = None,
    title: str = "",
) -> SubmissionSet:
    """The SubmissionSet of a submission. `source_id` is the OID of the Document Source."""
    scheme = SubmissionSetScheme
    return SubmissionSet(
        id=symbolic_id,
        object_type=ObjectType.REGISTRY_PACKAGE,
        slots=_slots((SlotName.SUBMISSION_TIME, submission_time)),
        name=_text(title),
        classifications=(
            Classification(f"label.{symbolic_id}", symbolic_id, node=SUBMISSION_SET_NODE),
            *_authors(symbolic_id, scheme.AUTHOR, author),
            _coded(symbolic_id, scheme.CONTENT_TYPE_CODE, content_type, 0),
        ),
        external_identifiers=(
            _identifier(symbolic_id, scheme.SOURCE_ID, source_id),
            _identifier(symbolic_id, scheme.UNIQUE_ID, unique_id),
            _identifier(symbolic_id, scheme.PATIENT_ID, patient_id),
        ),
    )


def folder(*, symbolic_id: str, unique_id: str, patient_id: str, title: str, codes: tuple[Code, ...]) -> Folder:
    """A Folder; its lastUpdateTime is the Registry's to set."""
    return Folder(
        id=symbolic_id,
        object_type=ObjectType.REGISTRY_PACKAGE,
        name=_text(title),
        classifications=(
            Classification(f"label.{symbolic_id}", symbolic_id, node=FOLDER_NODE),
            *(_coded(symbolic_id, FolderScheme.CODE, code, number) for number, code in enumerate(codes)),
        ),
        external_identifiers=(
            _identifier(symbolic_id, FolderScheme.UNIQUE_ID, unique_id),
            _identifier(symbolic_id, FolderScheme.PATIENT_ID, patient_id),
        ),
    )


def association(kind: AssociationType, source: str, target: str, *, original: bool | None = None) -> Association:
    """An Association. `original` is SubmissionSetStatus, which only members of a SubmissionSet that are documents have."""
    status = None if original is None else ("Original" if original else "Reference")
    return Association(
        id=f"{kind.name.lower()}-{source}-{target}",
        object_type=ObjectType.ASSOCIATION,
        slots=_slots((SlotName.SUBMISSION_SET_STATUS, status)),
        association_type=kind,
        source=source,
        target=target,
    )


def _slots(*named: tuple[SlotName, str | tuple[str, ...] | None]) -> tuple[Slot, ...]:
    return tuple(Slot(name.value, (value,) if isinstance(value, str) else value) for name, value in named if value)


def _text(value: str) -> tuple[LocalizedString, ...]:
    return (LocalizedString(value),) if value else ()


def _coded(owner: str, scheme: str, code: Code, number: int) -> Classification:
    return Classification(
        id=f"code{number}.{owner}",
        classified_object=owner,
        scheme=scheme,
        node_representation=code.code,
        slots=_slots((SlotName.CODING_SCHEME, code.scheme)),
        name=_text(code.display or code.code),
    )


def _authors(owner: str, scheme: str, author: Author | None) -> tuple[Classification, ...]:
    if author is None:
        return ()
    slots = _slots(
        (SlotName.AUTHOR_PERSON, author.person),
        (SlotName.AUTHOR_INSTITUTION, author.institutions),
        (SlotName.AUTHOR_ROLE, author.roles),
        (SlotName.AUTHOR_SPECIALTY, author.specialties),
        (SlotName.AUTHOR_TELECOMMUNICATION, author.telecommunications),
    )
    return (Classification(id=f"author.{owner}", classified_object=owner, scheme=scheme, slots=slots),)


def _identifier(owner: str, scheme: DocumentEntryScheme | SubmissionSetScheme | FolderScheme, value: str) -> ExternalIdentifier:
    name = EXTERNAL_IDENTIFIER_NAMES[scheme]
    return ExternalIdentifier(f"{name.rpartition('.')[2]}.{owner}", owner, scheme, value, _text(name))
