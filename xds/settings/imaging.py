"""Settings of imaging: how images are published, and the PACSs they come from and go to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from xds.settings.values import AeTitle, CodeOrEmpty, CodeText, Oid, Port, Section, TypeCodeOrEmpty, Url


class PublicationSettings(Section):
    """What manifests and reports are registered as.

    Codes are `code^display name^coding scheme`; what is empty is as `imaging.profile` has it.
    """

    class_code: CodeOrEmpty = Field(default="", description="classCode of manifests.")
    type_code: CodeOrEmpty = Field(
        default="", description="typeCode of manifests that state no procedure code in a scheme with an OID."
    )
    report_class_code: CodeOrEmpty = Field(default="", description="classCode of reports.")
    report_type_code: CodeOrEmpty = Field(default="", description="typeCode of reports that state none.")
    practice_setting: CodeOrEmpty = Field(default="", description="practiceSettingCode.")
    facility_type: CodeOrEmpty = Field(default="", description="healthcareFacilityTypeCode.")
    confidentiality: tuple[CodeText, ...] = Field(default=(), description="confidentialityCodes.")
    language: str = Field(default="", description="languageCode, such as `fr-FR`.")
    title: str = Field(default="", description="Title of manifests of studies that have no description.")
    institution: str = Field(
        default="", description="authorInstitution (XON) and Institution Name of manifests; empty: what the images name."
    )
    patient_id_type: TypeCodeOrEmpty = Field(
        default="",
        description="CX.5 of patientId, which the French DMP wants (`NH`); empty: none, as the standard has it. "
        "Repository and registry of this server then accept such codes from everybody, as with `registry.type_codes`.",
    )
    source_patient_id_type: TypeCodeOrEmpty = Field(
        default="", description="CX.5 of sourcePatientId (`PI`), likewise; empty: none."
    )


class ImagingSettings(Section):
    """How images become manifests."""

    settle_seconds: float = Field(
        default=10.0, ge=0, description="A study is published this many seconds after its last image, or up to a second more."
    )
    withdrawal: Literal["deprecate", "remove", "delete-dmp"] = Field(
        default="deprecate",
        description="How the manifest of a study is taken back of which nothing is left: `deprecate` it (ITI-57), `remove` "
        "metadata and document (ITI-62, ITI-86), or give it the status Deleted of the French DMP.",
    )
    manifests: tuple[Literal["xds-i", "mado"], ...] = Field(
        default=("xds-i",),
        min_length=1,
        description="Forms in which each study is announced: `xds-i` (Key Object Selection of XDS-I.b), `mado` (with the "
        "description of IHE RAD MADO). Each after the first is registered as a transformation (XFRM) of the first.",
    )
    mado_codes: Literal["99IHE", "DCM"] = Field(
        default="99IHE", description="Codes of MADO's own concepts: those of its trial implementation, or of DICOM CP-2595."
    )
    profile: Literal["ihe", "drimbox"] = Field(
        default="ihe", description="`drimbox`: codes, titles and manifests as the French DRIMbox and DMP have them."
    )
    reconcile_hours: float = Field(
        default=24.0, ge=0, description="Every manifest is compared with its study and its registry so often; 0: never."
    )
    cache_mib: int = Field(
        default=10240,
        ge=16,
        description="Size of the cache of images that were fetched from PACSs, in MiB, in the data directory.",
    )
    cache_hours: float = Field(default=24.0, gt=0, description="An image is kept there for so many hours at most.")
    cache_check_seconds: float = Field(
        default=10.0,
        ge=0,
        description="Before it is given again the PACS is asked whether it still has it, unless it was just asked.",
    )
    move_ae_title: AeTitle = Field(default="XDS_PULL", description="AE title to which PACSs send by C-MOVE what was asked for.")
    move_port: Port = Field(
        default=11113,
        description='Port of that listener, which starts when a PACS has `retrieve = "c-move"`; 0 picks a free one.',
    )
    prefetch: bool = Field(
        default=False, description="Fetch relevant prior studies of a patient when a study or an order of hers arrives."
    )
    prefetch_studies: int = Field(default=3, ge=1, le=50, description="Most prior studies that are fetched.")
    pixel_processes: int = Field(default=2, ge=1, le=64, description="Processes that decode, encode and render images.")
    pixel_memory_mib: int = Field(default=2048, ge=128, description="Memory that each of them may use, in MiB.")
    pixel_seconds: float = Field(default=60.0, gt=0, description="Seconds that one image may take.")


class PacsSettings(Section):
    """One PACS. What it sends gets its assigning authority where the images name none.

    With `query` its studies are announced without being archived here, and their images fetched when somebody wants them.
    """

    name: str = Field(min_length=1, description="Name of the PACS in logs and pages.")
    ae_title: AeTitle = Field(description="Its DICOM application entity title.")
    host: str = Field(min_length=1, description="Its address.")
    port: Port = Field(description="Its DICOM port.")
    dicomweb: Url = Field(
        default="",
        description="Base URL of its QIDO-RS and WADO-RS services, with user and password if it wants them; empty: DICOM only.",
        json_schema_extra={"secret": True},
    )
    repository_unique_id: Oid = Field(
        default="", description="Retrieve Location UID of its images in manifests; empty: that of the own archive."
    )
    assigning_authority: Oid = Field(default="", description="OID that issued the Patient IDs in its images.")
    query: Literal["", "qido", "c-find"] = Field(
        default="", description="How it is asked what it has: `qido` (QIDO-RS) or `c-find`; empty: it is not asked."
    )
    retrieve: Literal["wado-rs", "c-get", "c-move"] = Field(
        default="c-get",
        description="How its images are fetched. For `c-move` it must know `imaging.move_ae_title` at `imaging.move_port`.",
    )
    poll_seconds: float = Field(default=60.0, ge=0, description="Seconds between two questions; 0: never by itself.")
    look_back_days: int = Field(default=7, ge=1, description="How many days of studies are compared in each round.")
    recheck_hours: float = Field(default=24.0, gt=0, description="Older studies are compared once in so many hours.")
    silence_seconds: float = Field(default=30.0, gt=0, description="How long it may be silent before a request is given up.")
    wait_seconds: float = Field(default=60.0, gt=0, description="How long a request waits for its turn.")
    associations: int = Field(default=4, ge=1, le=64, description="DICOM associations with it at once.")
    kept_associations: int = Field(
        default=1,
        ge=0,
        le=64,
        description="How many of them each server process keeps open for the next image when nobody uses them; 0: none.",
    )
    kept_seconds: float = Field(default=30.0, ge=0, le=3600, description="How long they stay open.")
    requests: int = Field(default=8, ge=1, le=256, description="HTTP requests to it at once.")
    calling_ae_title: str = Field(
        default="", max_length=16, description="Our title in associations with it; empty: `server.ae_title`."
    )

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> PacsSettings:
        if self.query == "qido" and not self.dicomweb:
            raise ValueError("query is 'qido', which needs dicomweb")
        if self.query and self.retrieve == "wado-rs" and not self.dicomweb:
            raise ValueError("retrieve is 'wado-rs', which needs dicomweb")
        return self


class DestinationSettings(Section):
    """An application that takes part by DICOM, beside the PACSs: images may be sent to it (C-MOVE), and what it asked to be kept
    safe is reported to it (storage commitment)."""

    ae_title: AeTitle = Field(description="Its DICOM application entity title.")
    host: str = Field(min_length=1, description="Its address.")
    port: Port = Field(description="Its DICOM port.")
