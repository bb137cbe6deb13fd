"""Document sharing metadata: DocumentEntry, SubmissionSet, Folder, Association.

A registry object keeps everything that was submitted (slots, classifications, external identifiers in their order), so that
metadata that comes in goes out again; the typed attributes of the standard are properties that read it. What a property
returns for an attribute that is absent is None or an empty tuple; whether absence is allowed is a matter of `xds.rules`.

Spec: ITI TF-3 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypeVar

from xds.model.frozen import filled_directly
from xds.model.vocabulary import (
    ON_DEMAND,
    AvailabilityStatus,
    DocumentEntryScheme,
    FolderScheme,
    SlotName,
    SubmissionSetScheme,
)


@filled_directly
@dataclass(frozen=True, slots=True)
class Slot:
    """`rim:Slot`: a name and its values."""

    name: str
    values: tuple[str, ...]


@filled_directly
@dataclass(frozen=True, slots=True)
class LocalizedString:
    """`rim:LocalizedString`."""

    value: str
    lang: str | None = None
    charset: str | None = None


@filled_directly
@dataclass(frozen=True, slots=True)
class Code:
    """A coded value: code, coding scheme and display name. Two codes are the same when code and scheme are."""

    code: str
    scheme: str
    display: str = ""

    def __str__(self) -> str:
        """The form of stored query parameters, `code^^scheme`."""
        return f"{self.code}^^{self.scheme}"


@filled_directly
@dataclass(frozen=True, slots=True)
class Classification:
    """`rim:Classification` inside a registry object: a code, an author, or (with `node`) a label.

    `scheme` is `@classificationScheme`, `node` is `@classificationNode`; exactly one of them is set in valid metadata.
    """

    id: str
    classified_object: str
    scheme: str | None = None
    node: str | None = None
    node_representation: str = ""
    slots: tuple[Slot, ...] = ()
    name: tuple[LocalizedString, ...] = ()
    description: tuple[LocalizedString, ...] = ()

    def slot(self, name: str) -> tuple[str, ...]:
        """Values of the slot of that name; empty when absent."""
        for slot in self.slots:
            if slot.name == name:
                return slot.values
        return ()

    @property
    def code(self) -> Code:
        """This classification read as a coded value."""
        scheme = self.slot(SlotName.CODING_SCHEME)
        return Code(self.node_representation, scheme[0] if scheme else "", self.name[0].value if self.name else "")


@filled_directly
@dataclass(frozen=True, slots=True)
class ExternalIdentifier:
    """`rim:ExternalIdentifier` inside a registry object."""

    id: str
    registry_object: str
    scheme: str
    value: str
    name: tuple[LocalizedString, ...] = ()


@dataclass(frozen=True, slots=True)
class Author:
    """One author: a Classification whose slots are the sub-attributes. Spec: ITI TF-3 4.2.3.1.4."""

    person: str | None
    institutions: tuple[str, ...]
    roles: tuple[str, ...]
    specialties: tuple[str, ...]
    telecommunications: tuple[str, ...]


def _author(classification: Classification) -> Author:
    person = classification.slot(SlotName.AUTHOR_PERSON)
    return Author(
        person[0] if person else None,
        classification.slot(SlotName.AUTHOR_INSTITUTION),
        classification.slot(SlotName.AUTHOR_ROLE),
        classification.slot(SlotName.AUTHOR_SPECIALTY),
        classification.slot(SlotName.AUTHOR_TELECOMMUNICATION),
    )


@filled_directly
@dataclass(frozen=True, slots=True)
class RegistryObject:
    """What every registry object has. `id` is the entryUUID, or a symbolic id until the Registry has assigned one."""

    id: str
    object_type: str | None = None
    lid: str | None = None
    home: str | None = None
    status: AvailabilityStatus | None = None
    version: int | None = None
    slots: tuple[Slot, ...] = ()
    name: tuple[LocalizedString, ...] = ()
    description: tuple[LocalizedString, ...] = ()
    classifications: tuple[Classification, ...] = ()
    external_identifiers: tuple[ExternalIdentifier, ...] = ()

    def slot(self, name: str) -> tuple[str, ...]:
        """Values of the slot of that name; empty when absent."""
        for slot in self.slots:
            if slot.name == name:
                return slot.values
        return ()

    def slot_value(self, name: str) -> str | None:
        """First value of the slot of that name."""
        values = self.slot(name)
        return values[0] if values else None

    def codes(self, scheme: str) -> tuple[Code, ...]:
        """Every coded value classified under that classificationScheme."""
        return tuple([item.code for item in self.classifications if item.scheme == scheme])

    def code(self, scheme: str) -> Code | None:
        """The first coded value under that classificationScheme."""
        for item in self.classifications:
            if item.scheme == scheme:
                return item.code
        return None

    def authors_under(self, scheme: str) -> tuple[Author, ...]:
        """Every author classified under that classificationScheme."""
        return tuple(_author(item) for item in self.classifications if item.scheme == scheme)

    def external_identifier(self, scheme: str) -> str | None:
        """Value of the first external identifier of that identificationScheme."""
        for item in self.external_identifiers:
            if item.scheme == scheme:
                return item.value
        return None

    @property
    def title(self) -> str | None:
        """`rim:Name`."""
        return self.name[0].value if self.name else None

    @property
    def comments(self) -> str | None:
        """`rim:Description`."""
        return self.description[0].value if self.description else None

    @property
    def logical_id(self) -> str:
        """logicalID: `@lid`, which of a first version is its own id."""
        return self.lid or self.id


@filled_directly
@dataclass(frozen=True, slots=True)
class DocumentEntry(RegistryObject):
    """`rim:ExtrinsicObject`. Spec: ITI TF-3 Table 4.2.3.2-1."""

    mime_type: str | None = None

    @property
    def patient_id(self) -> str | None:
        return self.external_identifier(DocumentEntryScheme.PATIENT_ID)

    @property
    def unique_id(self) -> str | None:
        return self.external_identifier(DocumentEntryScheme.UNIQUE_ID)

    @property
    def authors(self) -> tuple[Author, ...]:
        return self.authors_under(DocumentEntryScheme.AUTHOR)

    @property
    def class_code(self) -> Code | None:
        return self.code(DocumentEntryScheme.CLASS_CODE)

    @property
    def type_code(self) -> Code | None:
        return self.code(DocumentEntryScheme.TYPE_CODE)

    @property
    def format_code(self) -> Code | None:
        return self.code(DocumentEntryScheme.FORMAT_CODE)

    @property
    def practice_setting_code(self) -> Code | None:
        return self.code(DocumentEntryScheme.PRACTICE_SETTING_CODE)

    @property
    def healthcare_facility_type_code(self) -> Code | None:
        return self.code(DocumentEntryScheme.HEALTHCARE_FACILITY_TYPE_CODE)

    @property
    def confidentiality_codes(self) -> tuple[Code, ...]:
        return self.codes(DocumentEntryScheme.CONFIDENTIALITY_CODE)

    @property
    def event_codes(self) -> tuple[Code, ...]:
        return self.codes(DocumentEntryScheme.EVENT_CODE)

    @property
    def creation_time(self) -> str | None:
        return self.slot_value(SlotName.CREATION_TIME)

    @property
    def service_start_time(self) -> str | None:
        return self.slot_value(SlotName.SERVICE_START_TIME)

    @property
    def service_stop_time(self) -> str | None:
        return self.slot_value(SlotName.SERVICE_STOP_TIME)

    @property
    def hash(self) -> str | None:
        return self.slot_value(SlotName.HASH)

    @property
    def size(self) -> str | None:
        return self.slot_value(SlotName.SIZE)

    @property
    def repository_unique_id(self) -> str | None:
        return self.slot_value(SlotName.REPOSITORY_UNIQUE_ID)

    @property
    def source_patient_id(self) -> str | None:
        return self.slot_value(SlotName.SOURCE_PATIENT_ID)

    @property
    def reference_ids(self) -> tuple[str, ...]:
        return self.slot(SlotName.REFERENCE_ID_LIST)

    @property
    def is_on_demand(self) -> bool:
        return self.object_type == ON_DEMAND


@filled_directly
@dataclass(frozen=True, slots=True)
class SubmissionSet(RegistryObject):
    """`rim:RegistryPackage` labelled as SubmissionSet. Spec: ITI TF-3 Table 4.2.3.3-1."""

    @property
    def patient_id(self) -> str | None:
        return self.external_identifier(SubmissionSetScheme.PATIENT_ID)

    @property
    def unique_id(self) -> str | None:
        return self.external_identifier(SubmissionSetScheme.UNIQUE_ID)

    @property
    def source_id(self) -> str | None:
        return self.external_identifier(SubmissionSetScheme.SOURCE_ID)

    @property
    def authors(self) -> tuple[Author, ...]:
        return self.authors_under(SubmissionSetScheme.AUTHOR)

    @property
    def content_type_code(self) -> Code | None:
        return self.code(SubmissionSetScheme.CONTENT_TYPE_CODE)

    @property
    def submission_time(self) -> str | None:
        return self.slot_value(SlotName.SUBMISSION_TIME)


@filled_directly
@dataclass(frozen=True, slots=True)
class Folder(RegistryObject):
    """`rim:RegistryPackage` labelled as Folder. Spec: ITI TF-3 Table 4.2.3.4-1."""

    @property
    def patient_id(self) -> str | None:
        return self.external_identifier(FolderScheme.PATIENT_ID)

    @property
    def unique_id(self) -> str | None:
        return self.external_identifier(FolderScheme.UNIQUE_ID)

    @property
    def code_list(self) -> tuple[Code, ...]:
        return self.codes(FolderScheme.CODE)

    @property
    def last_update_time(self) -> str | None:
        return self.slot_value(SlotName.LAST_UPDATE_TIME)


@filled_directly
@dataclass(frozen=True, slots=True)
class UnlabelledPackage(RegistryObject):
    """A `rim:RegistryPackage` that is classified as neither SubmissionSet nor Folder; never valid, kept to be reported."""


@filled_directly
@dataclass(frozen=True, slots=True)
class Association(RegistryObject):
    """`rim:Association`. Spec: ITI TF-3 4.2.2. `association_type` is a plain string: it may be an unknown one."""

    association_type: str = ""
    source: str = ""
    target: str = ""

    @property
    def submission_set_status(self) -> str | None:
        return self.slot_value(SlotName.SUBMISSION_SET_STATUS)


Kind = TypeVar("Kind", bound=RegistryObject)


@dataclass(frozen=True, slots=True)
class Submission:
    """The content of one `lcm:SubmitObjectsRequest`. A valid one has exactly one submission set and no unlabelled package."""

    submission_sets: tuple[SubmissionSet, ...]
    document_entries: tuple[DocumentEntry, ...] = ()
    folders: tuple[Folder, ...] = ()
    associations: tuple[Association, ...] = ()
    unlabelled: tuple[UnlabelledPackage, ...] = ()

    @property
    def submission_set(self) -> SubmissionSet:
        """The one submission set. Errors: IndexError when there is none."""
        return self.submission_sets[0]

    def objects(self) -> tuple[RegistryObject, ...]:
        """Every registry object, in a fixed order of kinds."""
        return (*self.submission_sets, *self.document_entries, *self.folders, *self.associations, *self.unlabelled)

    @classmethod
    def of(cls, *objects: RegistryObject) -> Self:
        """A submission of these objects, sorted into their kinds."""
        return cls(
            _of_kind(objects, SubmissionSet),
            _of_kind(objects, DocumentEntry),
            _of_kind(objects, Folder),
            _of_kind(objects, Association),
            _of_kind(objects, UnlabelledPackage),
        )


def _of_kind(objects: tuple[RegistryObject, ...], wanted: type[Kind]) -> tuple[Kind, ...]:
    return tuple([item for item in objects if isinstance(item, wanted)])
