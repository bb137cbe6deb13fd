"""Valid registry objects and submissions for tests.

Every builder gives something that passes all rules; keyword arguments replace single attributes, and `None` leaves one out:
`document_entry(hash=None, title="Lettre")`. Ids are symbolic and stable, unique ids are fresh, so that tests do not collide.

    from tests.builders import document_entry, submission
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from xds.model.metadata import (
    Association,
    Author,
    Classification,
    Code,
    DocumentEntry,
    ExternalIdentifier,
    Folder,
    LocalizedString,
    RegistryObject,
    Slot,
    Submission,
    SubmissionSet,
)
from xds.model.vocabulary import (
    ASSOCIATION_DOCUMENTATION,
    EXTERNAL_IDENTIFIER_NAMES,
    FOLDER_NODE,
    STABLE,
    SUBMISSION_SET_NODE,
    AssociationType,
    DocumentEntryScheme,
    FolderScheme,
    ObjectType,
    SlotName,
    SubmissionSetScheme,
)

ASSIGNING_AUTHORITY = "1.2.3.4.5"
PATIENT_ID = "P1^^^&1.2.3.4.5&ISO"
SOURCE_PATIENT_ID = "L1^^^&1.2.3.4.6&ISO"
REPOSITORY_UNIQUE_ID = "1.2.3.4.7"
SOURCE_ID = "1.2.3.4.8"
#: Content that the default hash and size belong to.
CONTENT = b"Hello world\n"
HASH = "33ab5639bfd8e7b95eb1d8d0b87781d4ffea4d5d"
SIZE = str(len(CONTENT))

AUTHOR = Author("^Smitty^Gerald^^^", ("Cleveland Clinic",), ("Attending",), ("Orthopedic",), ())

_numbers = itertools.count(1)


def fresh_uid() -> str:
    """An OID that no other call returns in this process."""
    return f"1.2.3.9.{next(_numbers)}"


def uuid_for(number: int) -> str:
    """A well-formed `urn:uuid:` that depends on the number alone."""
    return f"urn:uuid:00000000-0000-4000-8000-{number:012x}"


def classification(owner: str, scheme: str, code: Code, number: int = 0) -> Classification:
    """A coded value of the object `owner`."""
    return Classification(
        f"cl-{scheme[9:13]}-{number}.{owner}",
        owner,
        scheme=scheme,
        node_representation=code.code,
        slots=(Slot(SlotName.CODING_SCHEME, (code.scheme,)),),
        name=_text(code.display or code.code),
    )


def author_classification(owner: str, scheme: str, author: Author, number: int = 0) -> Classification:
    """An author of the object `owner`."""
    slots = (
        (SlotName.AUTHOR_PERSON, (author.person,) if author.person else ()),
        (SlotName.AUTHOR_INSTITUTION, author.institutions),
        (SlotName.AUTHOR_ROLE, author.roles),
        (SlotName.AUTHOR_SPECIALTY, author.specialties),
        (SlotName.AUTHOR_TELECOMMUNICATION, author.telecommunications),
    )
    return Classification(
        f"au-{number}.{owner}", owner, scheme=scheme, slots=tuple(Slot(str(name), values) for name, values in slots if values)
    )


def external_identifier(owner: str, scheme: str, value: str) -> ExternalIdentifier:
    """An external identifier of the object `owner` with the standard's name."""
    return ExternalIdentifier(
        f"ei-{scheme[9:13]}.{owner}",
        owner,
        scheme,
        value,
        _text({str(k): v for k, v in EXTERNAL_IDENTIFIER_NAMES.items()}[scheme]),
    )


def label(owner: str, node: str) -> Classification:
    """The classification that tells what a RegistryPackage is."""
    return Classification(f"label.{owner}", owner, node=node)


def document_entry(**overrides: Any) -> DocumentEntry:
    """A stable DocumentEntry.

    Attributes: id, patient_id, unique_id, mime_type, object_type, home, lid, status, version, title, comments, authors,
    class_code, type_code, format_code, practice_setting_code, healthcare_facility_type_code (Code or None), confidentiality_codes
    and event_codes (tuples of Code), creation_time, hash, size, language_code, repository_unique_id, service_start_time,
    service_stop_time, source_patient_id, source_patient_info, reference_ids, uri, legal_authenticator, extra_slots (Slots).
    """
    take = _Overrides(overrides)
    owner = take("id", "Document01")
    scheme = DocumentEntryScheme
    slots = _entry_slots(take)
    single = (
        (scheme.CLASS_CODE, take("class_code", Code("DEMO-Consult", "1.3.6.1.4.1.21367.100.1", "Consultation"))),
        (scheme.FORMAT_CODE, take("format_code", Code("urn:ihe:iti:xds-sd:pdf:2008", "1.3.6.1.4.1.19376.1.2.3", "PDF"))),
        (
            scheme.HEALTHCARE_FACILITY_TYPE_CODE,
            take("healthcare_facility_type_code", Code("Outpatient", "1.2.3.20", "Outpatient")),
        ),
        (scheme.PRACTICE_SETTING_CODE, take("practice_setting_code", Code("Dialysis", "1.2.3.21", "Dialysis"))),
        (scheme.TYPE_CODE, take("type_code", Code("34133-9", "2.16.840.1.113883.6.1", "Summarization of Episode Note"))),
    )
    several = (
        (scheme.CONFIDENTIALITY_CODE, take("confidentiality_codes", (Code("N", "2.16.840.1.113883.5.25", "Normal"),))),
        (scheme.EVENT_CODE, take("event_codes", (Code("CT", "1.2.840.10008.2.16.4", "Computed Tomography"),))),
    )
    classifications = (
        *(author_classification(owner, scheme.AUTHOR, a, n) for n, a in enumerate(take("authors", (AUTHOR,)))),
        *(classification(owner, kind, code) for kind, code in single if code is not None),
        *(classification(owner, kind, code, n) for kind, codes in several for n, code in enumerate(codes)),
    )
    identifiers = _identifiers(
        owner,
        (scheme.PATIENT_ID, take("patient_id", PATIENT_ID)),
        (scheme.UNIQUE_ID, take("unique_id", fresh_uid)),
    )
    slots += tuple(take("extra_slots", ()))
    common = _common(take, title="Physical")
    mime_type = take("mime_type", "application/pdf")
    object_type = take("object_type", STABLE)
    take.finish()
    return DocumentEntry(
        owner,
        object_type,
        slots=slots,
        classifications=classifications,
        external_identifiers=identifiers,
        mime_type=mime_type,
        **common,
    )


def submission_set(**overrides: Any) -> SubmissionSet:
    """A SubmissionSet.

    Attributes: id, patient_id, unique_id, source_id, content_type_code, authors, submission_time, intended_recipients, title,
    comments, home, lid, status, version, extra_slots, labelled (False leaves the label out).
    """
    take = _Overrides(overrides)
    owner = take("id", "SubmissionSet01")
    scheme = SubmissionSetScheme
    slots = _slots(
        (SlotName.SUBMISSION_TIME, take("submission_time", "20240102030405")),
        (SlotName.INTENDED_RECIPIENT, take("intended_recipients", None)),
    )
    content_type = take("content_type_code", Code("History and Physical", "1.2.3.22", "History and Physical"))
    classifications = (
        *((label(owner, SUBMISSION_SET_NODE),) if take("labelled", True) else ()),
        *(author_classification(owner, scheme.AUTHOR, a, n) for n, a in enumerate(take("authors", (AUTHOR,)))),
        *((classification(owner, scheme.CONTENT_TYPE_CODE, content_type),) if content_type else ()),
    )
    identifiers = _identifiers(
        owner,
        (scheme.PATIENT_ID, take("patient_id", PATIENT_ID)),
        (scheme.SOURCE_ID, take("source_id", SOURCE_ID)),
        (scheme.UNIQUE_ID, take("unique_id", fresh_uid)),
    )
    slots += tuple(take("extra_slots", ()))
    common = _common(take, title="Visit")
    take.finish()
    return SubmissionSet(
        owner,
        ObjectType.REGISTRY_PACKAGE,
        slots=slots,
        classifications=classifications,
        external_identifiers=identifiers,
        **common,
    )


def folder(**overrides: Any) -> Folder:
    """A Folder.

    Attributes: id, patient_id, unique_id, code_list, last_update_time, title, comments, home, lid, status, version, extra_slots.
    """
    take = _Overrides(overrides)
    owner = take("id", "Folder01")
    codes = take("code_list", (Code("Referrals", "1.2.3.23", "Referrals"),))
    classifications = (
        label(owner, FOLDER_NODE),
        *(classification(owner, FolderScheme.CODE, code, n) for n, code in enumerate(codes)),
    )
    identifiers = _identifiers(
        owner,
        (FolderScheme.PATIENT_ID, take("patient_id", PATIENT_ID)),
        (FolderScheme.UNIQUE_ID, take("unique_id", fresh_uid)),
    )
    slots = (*_slots((SlotName.LAST_UPDATE_TIME, take("last_update_time", None))), *take("extra_slots", ()))
    common = _common(take, title="Episode")
    take.finish()
    return Folder(
        owner,
        ObjectType.REGISTRY_PACKAGE,
        slots=slots,
        classifications=classifications,
        external_identifiers=identifiers,
        **common,
    )


def has_member(source: RegistryObject | str, target: RegistryObject | str, **overrides: Any) -> Association:
    """HasMember between objects or ids.

    `status` is SubmissionSetStatus; left out it is Original when a SubmissionSet object and a DocumentEntry object are given.
    """
    is_submission = isinstance(source, SubmissionSet) and isinstance(target, DocumentEntry)
    status = overrides.pop("status", "Original" if is_submission else None)
    slots = (*_slots((SlotName.SUBMISSION_SET_STATUS, status)), *overrides.pop("extra_slots", ()))
    return association(AssociationType.HAS_MEMBER, source, target, slots=slots, **overrides)


def association(
    association_type: str, source: RegistryObject | str, target: RegistryObject | str, **overrides: Any
) -> Association:
    """An Association of any type between objects or ids. Attributes: id and every field of Association; documentation (Code)."""
    owner = overrides.pop("id", f"Association-{next(_numbers)}")
    documentation = overrides.pop("documentation", None)
    if documentation is not None:
        overrides["classifications"] = (classification(owner, ASSOCIATION_DOCUMENTATION, documentation),)
    return Association(
        owner,
        ObjectType.ASSOCIATION,
        association_type=str(association_type),
        source=source if isinstance(source, str) else source.id,
        target=target if isinstance(target, str) else target.id,
        **overrides,
    )


def submission(
    entries: int | Sequence[DocumentEntry] = 1,
    *,
    folders: int | Sequence[Folder] = 0,
    patient_id: str = PATIENT_ID,
    submission_set: SubmissionSet | None = None,
    others: Iterable[Association] = (),
    in_folders: bool = True,
) -> Submission:
    """A submission of so many (or these) entries and folders with every HasMember it needs, and `others` as they are.

    With folders, every entry becomes a member of every folder unless `in_folders` is False.
    """
    package = submission_set or globals()["submission_set"](patient_id=patient_id)
    documents = _several(entries, "Document", document_entry, patient_id)
    packages = _several(folders, "Folder", folder, patient_id)
    inside = [has_member(f, d) for f in packages for d in documents] if in_folders else []
    return Submission.of(
        package,
        *documents,
        *packages,
        *(has_member(package, member) for member in (*documents, *packages, *inside)),
        *inside,
        *others,
    )


def _several(wanted: int | Sequence[Any], prefix: str, build: Any, patient_id: str) -> list[Any]:
    if isinstance(wanted, int):
        return [build(id=f"{prefix}{number:02}", patient_id=patient_id) for number in range(1, wanted + 1)]
    return list(wanted)


class _Overrides:
    """Hands out attributes by name and complains about names that nobody asked for."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = dict(given)

    def __call__(self, name: str, default: Any) -> Any:
        if name in self._given:
            return self._given.pop(name)
        return default() if callable(default) else default

    def finish(self) -> None:
        if self._given:
            raise TypeError(f"unknown attributes: {', '.join(sorted(self._given))}")


def _text(value: str | None) -> tuple[LocalizedString, ...]:
    return (LocalizedString(value),) if value else ()


def _slots(*given: tuple[SlotName, Any]) -> tuple[Slot, ...]:
    return tuple(
        Slot(str(name), (values,) if isinstance(values, str) else tuple(values)) for name, values in given if values is not None
    )


def _entry_slots(take: _Overrides) -> tuple[Slot, ...]:
    return _slots(
        (SlotName.CREATION_TIME, take("creation_time", "20240102030405")),
        (SlotName.HASH, take("hash", HASH)),
        (SlotName.LANGUAGE_CODE, take("language_code", "en-us")),
        (SlotName.LEGAL_AUTHENTICATOR, take("legal_authenticator", None)),
        (SlotName.REFERENCE_ID_LIST, take("reference_ids", None)),
        (SlotName.REPOSITORY_UNIQUE_ID, take("repository_unique_id", REPOSITORY_UNIQUE_ID)),
        (SlotName.SERVICE_START_TIME, take("service_start_time", "202401020800")),
        (SlotName.SERVICE_STOP_TIME, take("service_stop_time", "202401020900")),
        (SlotName.SIZE, take("size", SIZE)),
        (SlotName.SOURCE_PATIENT_ID, take("source_patient_id", SOURCE_PATIENT_ID)),
        (SlotName.SOURCE_PATIENT_INFO, take("source_patient_info", ("PID-3|L1^^^&1.2.3.4.6&ISO", "PID-5|Doe^John^^^"))),
        (SlotName.URI, take("uri", None)),
    )


def _identifiers(owner: str, *given: tuple[str, str | None]) -> tuple[ExternalIdentifier, ...]:
    return tuple(external_identifier(owner, str(scheme), value) for scheme, value in given if value is not None)


def _common(take: _Overrides, title: str) -> dict[str, Any]:
    return {
        "name": _text(take("title", title)),
        "description": _text(take("comments", None)),
        "home": take("home", None),
        "lid": take("lid", None),
        "status": take("status", None),
        "version": take("version", None),
    }
