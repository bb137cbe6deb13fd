"""DICOM studies as the imaging source knows them, and the manifest that announces them.

Spec: DICOM PS3.3 A.35.4 (Key Object Selection), RAD TF-2 4.68 (XDS-I.b metadata).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum

from xds.model.identifiers import PatientIdentifier
from xds.model.metadata import Code


@dataclass(frozen=True, slots=True)
class Instance:
    """One SOP instance. `blob` is the key of its Part 10 file, `frames` the number of frames.

    Without `blob` it is held by a source outside, whose name is `location`.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    size: int
    blob: str
    instance_number: int | None = None
    frames: int = 1
    rows: int | None = None
    columns: int | None = None
    location: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """One series and its instances. `body_part` is Body Part Examined, `region` the first Anatomic Region code."""

    series_instance_uid: str
    modality: str
    instances: tuple[Instance, ...]
    number: int | None = None
    description: str = ""
    body_part: str = ""
    region: Code | None = None


@dataclass(frozen=True, slots=True)
class StudyPatient:
    """The patient as the images name her; `issuer_oid` and `issuer_namespace` as far as the images state them."""

    patient_id: str
    issuer_oid: str | None = None
    issuer_namespace: str | None = None
    name: str = ""
    birth_date: str = ""
    sex: str = ""


class OrderState(StrEnum):
    """What became of an order. COMPLETED and CANCELLED trigger the manifest of its study."""

    OPEN = "open"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class OrderNumber:
    """A number under its issuer; both parts of the issuer are empty when nobody named one. Spec: HL7 EI; PS3.3 10.14."""

    value: str
    issuer_oid: str | None = None
    issuer_namespace: str | None = None

    def __bool__(self) -> bool:
        return bool(self.value)


@dataclass(frozen=True, slots=True)
class ImagingOrder:
    """One requested procedure as an order message or the images name it. Spec: PS3.3 C.7.2.1 (Referenced Request Sequence)."""

    accession: OrderNumber = OrderNumber("")
    placer: OrderNumber = OrderNumber("")
    filler: OrderNumber = OrderNumber("")
    study_instance_uid: str = ""
    patient: PatientIdentifier | None = None
    procedure: Code | None = None
    description: str = ""
    state: OrderState = OrderState.OPEN


@dataclass(frozen=True, slots=True)
class Study:
    """One study with everything that its manifest states. `orders` are those that orders or images named for it.

    `study_date` is `YYYYMMDD`, `study_time` is `HHMMSS[.ffffff]`, as in the images (local time of the modality);
    `timezone_offset` is `±HHMM` when the images state it.
    `source` is the AE title, folder or peer it came from; `received` the time of the last instance.
    """

    study_instance_uid: str
    patient: StudyPatient
    series: tuple[Series, ...]
    accession_number: str = ""
    accession_issuer_oid: str | None = None
    study_id: str = ""
    study_date: str = ""
    study_time: str = ""
    timezone_offset: str = ""
    description: str = ""
    referring_physician: str = ""
    institution: str = ""
    procedure_code: Code | None = None
    source: str = ""
    received: datetime | None = None
    orders: tuple[ImagingOrder, ...] = ()

    @property
    def modalities(self) -> tuple[str, ...]:
        """Distinct modalities in the order of the series."""
        return tuple(dict.fromkeys(series.modality for series in self.series if series.modality))

    @property
    def instance_count(self) -> int:
        """Number of instances of all series."""
        return sum(len(series.instances) for series in self.series)


@dataclass(frozen=True, slots=True)
class ReferencedInstance:
    """One image that a manifest points to, and where to get it.

    `retrieve_location_uid` is the repositoryUniqueId of the Imaging Document Source (0040,E011).
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    retrieve_ae_title: str | None = None
    retrieve_location_uid: str | None = None
    retrieve_url: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a Key Object Selection document says: title, patient and the references."""

    sop_instance_uid: str
    title: Code
    patient: StudyPatient
    study_instance_uid: str
    accession_number: str
    references: tuple[ReferencedInstance, ...]


class Addition(Enum):
    """What became of an instance that arrived. CONFLICT: it names another patient than its study does, and was refused."""

    NEW = "new"
    IDENTICAL = "identical"
    REPLACED = "replaced"
    CONFLICT = "another patient"


class ManifestForm(StrEnum):
    """Which manifest: the classic one of XDS-I.b, or that of MADO, which describes what it lists."""

    XDS_I = "xds-i"
    MADO = "mado"


class StudyState(StrEnum):
    """Where a study stands on its way into the affinity domain.

    RECEIVED: instances arrived since the last publication, or it is the first. SETTLED: none arrived for a while, its manifest is
    on its way. UNRESOLVED: it could not be published, the reason says why. PUBLISHED: its manifest tells what it holds.
    """

    RECEIVED = "received"
    SETTLED = "settled"
    UNRESOLVED = "unresolved"
    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"
    DISPUTED = "disputed"


@dataclass(frozen=True, slots=True)
class PublishedManifest:
    """One manifest of a study: prepared before it is submitted, so that a submission can be repeated exactly.

    `blob` is the key of its Part 10 file, `revision` the one of the study that it describes, `patient_id` the CX it goes under.
    """

    revision: int
    unique_id: str
    entry_uuid: str
    submission_unique_id: str
    blob: str
    created: datetime
    patient_id: str
    is_published: bool = False
    form: ManifestForm = ManifestForm.XDS_I


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A study as the archive holds it.

    `revision` counts its changes; `manifests` are those that were published or are on their way, the newest first.
    `reconciled` is when they were last compared with the study (milliseconds since 1970), 0 for never.
    """

    study: Study
    state: StudyState
    revision: int
    reason: str | None = None
    manifests: tuple[PublishedManifest, ...] = ()
    reconciled: int = 0

    @property
    def published(self) -> PublishedManifest | None:
        """The newest manifest that was published, of whatever form."""
        return next((item for item in self.manifests if item.is_published), None)

    @property
    def prepared(self) -> PublishedManifest | None:
        """The oldest manifest that is on its way."""
        return next((item for item in reversed(self.manifests) if not item.is_published), None)

    def published_as(self, form: ManifestForm) -> PublishedManifest | None:
        """The newest manifest of that form that was published."""
        return next((item for item in self.manifests if item.is_published and item.form is form), None)


def is_other_patient(one: StudyPatient, other: StudyPatient) -> bool:
    """True when two headers name different patients; what one of them does not state is no difference."""
    differs = bool(one.patient_id and other.patient_id and one.patient_id != other.patient_id)
    return differs or bool(one.issuer_oid and other.issuer_oid and one.issuer_oid != other.issuer_oid)
