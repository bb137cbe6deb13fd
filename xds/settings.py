"""Every setting with its default and its meaning, as data. `xds.config` reads them from where they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from xds.model.identifiers import is_oid
from xds.wire.reply_addresses import read_reply_address

ENVIRONMENT_PREFIX = "XDS__"


def _oid_or_empty(text: str) -> str:
    if text and not is_oid(text):
        raise ValueError("must be an OID of digits and dots, at most 64 characters")
    return text


def _required_oid(text: str) -> str:
    if not is_oid(text):
        raise ValueError("must be an OID of digits and dots, at most 64 characters")
    return text


def _reply_address(text: str) -> str:
    read_reply_address(text)
    return text


def _without_trailing_slash(text: str) -> str:
    return text.rstrip("/")


Oid = Annotated[str, AfterValidator(_oid_or_empty)]
RequiredOid = Annotated[str, AfterValidator(_required_oid)]
Port = Annotated[int, Field(ge=0, le=65535)]
AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[\x20-\x5b\x5d-\x7e]+$")]
ReplyAddress = Annotated[str, AfterValidator(_reply_address)]
Url = Annotated[str, AfterValidator(_without_trailing_slash)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DomainSettings(_Section):
    """Who this affinity domain is. Left empty, each OID is generated at the first start and kept in the database."""

    assigning_authority: Oid = Field(default="", description="OID of the affinity domain's patient identifiers.")
    home_community_id: Oid = Field(default="", description="OID of this community, written `urn:oid:` on the wire.")
    repository_unique_id: Oid = Field(default="", description="OID of the document repository.")
    imaging_source_unique_id: Oid = Field(default="", description="OID of the own image archive: its Retrieve Location UID.")


class ServerSettings(_Section):
    """Where the server listens and where it keeps its files."""

    host: str = Field(
        default="127.0.0.1", description="Address of all listeners; anything but loopback opens them to the network."
    )
    http_port: Port = Field(default=8080, description="HTTP port; 0 picks a free one.")
    mllp_port: Port = Field(default=2575, description="MLLP port (HL7 v2); 0 picks a free one.")
    dicom_port: Port = Field(default=11112, description="DICOM port; 0 picks a free one.")
    ae_title: AeTitle = Field(default="XDS", description="DICOM application entity title.")
    public_url: Url = Field(
        default="", description="Base of every absolute URL that goes out; empty: the HTTP listener's address."
    )
    reply_to: tuple[ReplyAddress, ...] = Field(
        default=(),
        description="Where answers may be sent when a SOAP request names a `wsa:ReplyTo` (asynchronous exchange): exact URLs, "
        "or URLs that end in `/` for everything below them; empty: answers go over the connection alone.",
    )
    reply_hours: float = Field(
        default=24.0, gt=0, description="An answer that its address does not take is given up after so many hours."
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Server processes that share the HTTP and the MLLP port; DICOM and the jobs are the first one's. "
        "As many as there are processors serve the most requests.",
    )
    data: Path = Field(default=Path(".data"), description="Data directory: database and documents of the embedded default.")
    demo: bool = Field(default=False, description="Load the demo region at start, unless the data directory has it.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least severity that is logged.")


class DatabaseSettings(_Section):
    """Where metadata, identities and audit records are kept."""

    url: str = Field(
        default="",
        description="Empty: SQLite in the data directory. `postgresql://user:password@host/name` otherwise.",
        json_schema_extra={"secret": True},
    )


class StorageSettings(_Section):
    """Where documents and images are kept."""

    url: str = Field(
        default="",
        description="Empty: files in the data directory. `s3://bucket/prefix?endpoint=…` otherwise.",
        json_schema_extra={"secret": True},
    )


class RegistrySettings(_Section):
    """What the Document Registry accepts and answers."""

    require_known_patient: bool = Field(default=True, description="Refuse patients that no feed announced (XDSUnknownPatientId).")
    codes: str = Field(default="", description="Path of the affinity domain's codes: a `codes.xml` as the NIST toolkit uses it.")
    check_codes: Literal["off", "warn", "strict"] = Field(
        default="off",
        description="What happens to a code or MIME type that is not there: nothing, a warning, or a refusal. "
        "It holds for what this server registers itself, too: manifests of images, snapshots.",
    )
    max_results: int = Field(default=5000, ge=1, description="Most objects that one stored query returns with LeafClass.")
    link_change_code: str = Field(
        default="ITI-64^Notify XAD-PID Link Change^IHE Transactions",
        pattern=r"^[^^]+\^[^^]*\^[^^]+$",
        description="contentTypeCode of the SubmissionSets in which changes of links (ITI-64) are registered: "
        "`code^display name^coding scheme`.",
    )

    @model_validator(mode="after")
    def _codes_to_check_against(self) -> RegistrySettings:
        if self.check_codes != "off" and not self.codes:
            raise ValueError(f"check_codes is {self.check_codes!r}, which needs the codes: set registry.codes")
        return self


class RepositorySettings(_Section):
    """How the Document Repository answers."""

    persist_on_demand: bool = Field(
        default=False,
        description="Keep what was made for an on-demand entry: it is registered as a snapshot and stays retrievable.",
    )
    registry_url: Url = Field(
        default="",
        description="Address of the Document Registry of another system, to which metadata are sent (ITI-42), such as "
        "`https://registry.example/services/registry`; empty: the registry in this process. "
        "On-demand documents are made for the registry in this process alone.",
    )
    registry_seconds: float = Field(
        default=60.0, gt=0, description="How long that registry may stay silent; then nobody knows, and it is asked again later."
    )

    @field_validator("registry_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        if url and not (url.startswith(("http://", "https://")) and urlsplit(url).hostname):
            raise ValueError("must be an absolute http or https URL")
        return url


class IdentityDomainSettings(_Section):
    """One patient identification domain: an establishment that issues patient identifiers."""

    name: str = Field(min_length=1, description="Namespace of the assigning authority (CX.4.1).")
    oid: RequiredOid = Field(description="OID of the assigning authority (CX.4.2).")
    sources: tuple[str, ...] = Field(
        default=(),
        description="Who may issue its identifiers; empty: any. `MSH-4|MSH-3` of HL7 v2; in FHIR the subject of the client "
        "certificate, or else `meta.source`, or else the system of the identifier.",
    )
    uri: str = Field(default="", description="`Identifier.system` of its identifiers in FHIR; empty: `urn:oid:` and the OID.")


class IdentitySubscriberSettings(_Section):
    """Who is told when the identifiers of a patient change: a PIX Consumer."""

    name: str = Field(
        min_length=1, description="How it is addressed: `facility|application` in HL7 v2, `organization|device` (OIDs) in v3."
    )
    endpoint: str = Field(min_length=1, description="`mllp://host:port` in HL7 v2, the URL of its service in v3.")
    wire: Literal["v2", "v3"] = Field(default="v2", description="HL7 `v2` (ITI-10) or `v3` (ITI-46).")
    domains: tuple[str, ...] = Field(
        default=(), description="Names or OIDs of the domains whose identifiers it is told; empty: all."
    )

    @model_validator(mode="after")
    def _endpoint_fits(self) -> IdentitySubscriberSettings:
        parts = urlsplit(self.endpoint)
        schemes = ("mllp",) if self.wire == "v2" else ("http", "https")
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"the endpoint of a {self.wire} subscriber begins with {' or '.join(schemes)}://")
        return self


class IdentitySettings(_Section):
    """The patient identification domains of the PIX Manager, and what demographics queries may ask."""

    unknown_domains: Literal["create", "refuse"] = Field(
        default="create",
        description="What a feed of an unlisted assigning authority does: `create` the domain, or `refuse`. "
        "It is `refuse` as soon as any domain is listed, unless it is set.",
    )
    domains: tuple[IdentityDomainSettings, ...] = Field(default=(), description="The domains, as `[[identity.domains]]` tables.")
    subscribers: tuple[IdentitySubscriberSettings, ...] = Field(
        default=(), description="PIX Consumers that are notified, as `[[identity.subscribers]]` tables."
    )

    minimum_criteria: int = Field(
        default=1,
        ge=1,
        le=3,
        description="How many traits a demographics query must name at least: names, birth date, telephone and the like. "
        "An identifier is always enough, a sex or a year never is.",
    )
    page_size: int = Field(
        default=100,
        ge=1,
        le=1000,
        description="Most patients of an answer to a demographics query that asks for no other number.",
    )
    max_results: int = Field(
        default=1000, ge=1, le=10000, description="Most patients that one demographics query is answered, all pages together."
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_beside_a_list(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("domains") and "unknown_domains" not in given:
            return {**given, "unknown_domains": "refuse"}
        return given


_CODE = r"^([^^]+\^[^^]*\^[^^]+)?$"


class PublicationSettings(_Section):
    """What manifests and reports are registered as.

    Codes are `code^display name^coding scheme`; what is empty is as `imaging.profile` has it.
    """

    class_code: str = Field(default="", pattern=_CODE, description="classCode of manifests.")
    type_code: str = Field(
        default="", pattern=_CODE, description="typeCode of manifests that state no procedure code in a scheme with an OID."
    )
    report_class_code: str = Field(default="", pattern=_CODE, description="classCode of reports.")
    report_type_code: str = Field(default="", pattern=_CODE, description="typeCode of reports that state none.")
    practice_setting: str = Field(default="", pattern=_CODE, description="practiceSettingCode.")
    facility_type: str = Field(default="", pattern=_CODE, description="healthcareFacilityTypeCode.")
    confidentiality: tuple[Annotated[str, Field(pattern=r"^[^^]+\^[^^]*\^[^^]+$")], ...] = Field(
        default=(), description="confidentialityCodes."
    )
    language: str = Field(default="", description="languageCode, such as `fr-FR`.")
    title: str = Field(default="", description="Title of manifests of studies that have no description.")
    institution: str = Field(
        default="", description="authorInstitution (XON) and Institution Name of manifests; empty: what the images name."
    )
    patient_id_type: str = Field(
        default="", description="CX.5 of patientId, which the French DMP wants (`NH`); empty: none, as the standard has it."
    )
    source_patient_id_type: str = Field(default="", description="CX.5 of sourcePatientId (`PI`); empty: none.")


class ImagingSettings(_Section):
    """How images become manifests."""

    settle_seconds: float = Field(default=10.0, ge=0, description="A study is published this many seconds after its last image.")
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


class PacsSettings(_Section):
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


class DestinationSettings(_Section):
    """An application that takes part by DICOM, beside the PACSs: images may be sent to it (C-MOVE), and what it asked to be kept
    safe is reported to it (storage commitment)."""

    ae_title: AeTitle = Field(description="Its DICOM application entity title.")
    host: str = Field(min_length=1, description="Its address.")
    port: Port = Field(description="Its DICOM port.")


class TlsSettings(_Section):
    """TLS on every listener (ITI-19). With a certificate, HTTPS, MLLP over TLS and DICOM TLS take the place of the plain ones."""

    certificate: str = Field(default="", description="Path of the server's certificate chain (PEM).")
    key: str = Field(default="", description="Path of its private key (PEM).")
    trusted: str = Field(default="", description="Path of the bundle of partners' certificate authorities (PEM).")
    client_certificate: Literal["required", "optional", "none"] = Field(
        default="required", description="Must partners show a certificate?"
    )


class IssuerSettings(_Section):
    """One issuer of assertions that is believed."""

    name: str = Field(min_length=1, description="Issuer of the assertion.")
    certificate: str = Field(min_length=1, description="Path of the certificate that it signs with (PEM).")


class SecuritySettings(_Section):
    """User assertions (XUA)."""

    require_assertion: bool = Field(default=False, description="Refuse a SOAP request without a valid SAML assertion.")
    issuers: tuple[IssuerSettings, ...] = Field(default=(), description="Who may issue assertions: `[[security.issuers]]`.")


class AuditSettings(_Section):
    """The audit trail (ATNA)."""

    repository: str = Field(
        default="",
        description="Audit Record Repository: `syslog+tls://host:6514`, `syslog+udp://host:514`; empty: none.",
    )


class Settings(BaseSettings):
    """Every setting. Build it with `load`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", case_sensitive=False
    )

    domain: DomainSettings = DomainSettings()
    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    storage: StorageSettings = StorageSettings()
    registry: RegistrySettings = RegistrySettings()
    repository: RepositorySettings = RepositorySettings()
    identity: IdentitySettings = IdentitySettings()
    imaging: ImagingSettings = ImagingSettings()
    publication: PublicationSettings = PublicationSettings()
    pacs: tuple[PacsSettings, ...] = Field(default=(), description="The PACSs, as `[[pacs]]` tables.")
    destinations: tuple[DestinationSettings, ...] = Field(
        default=(),
        description="Where images may be sent to by DICOM, as `[[destinations]]` tables; PACSs need not be repeated.",
    )
    tls: TlsSettings = TlsSettings()
    security: SecuritySettings = SecuritySettings()
    audit: AuditSettings = AuditSettings()

    @model_validator(mode="after")
    def _one_process_receives(self) -> Settings:
        if self.server.processes > 1 and any(each.query and each.retrieve == "c-move" for each in self.pacs):
            raise ValueError("a PACS with retrieve 'c-move' needs server.processes = 1: what it sends arrives at one process")
        names = [each.name for each in self.pacs]
        if len(set(names)) < len(names):
            raise ValueError("each of the pacs needs a name of its own")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` merged: it reads the sources itself, to know where each value came from."""
        return (init_settings,)
