"""Settings of the domain, its server, its stores, and of what its registry and its repository accept and answer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from xds.settings.values import AeTitle, CodeText, Oid, Port, ReplyAddress, Section, Url


class DomainSettings(Section):
    """Who this affinity domain is. Left empty, each OID is generated at the first start and kept in the database."""

    assigning_authority: Oid = Field(default="", description="OID of the affinity domain's patient identifiers.")
    home_community_id: Oid = Field(default="", description="OID of this community, written `urn:oid:` on the wire.")
    repository_unique_id: Oid = Field(default="", description="OID of the document repository.")
    imaging_source_unique_id: Oid = Field(default="", description="OID of the own image archive: its Retrieve Location UID.")


class ServerSettings(Section):
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
        description="Server processes that share the HTTP, the MLLP and the DICOM port; the jobs are the first one's. "
        "As many as there are processors serve the most requests.",
    )
    data: Path = Field(default=Path(".data"), description="Data directory: database and documents of the embedded default.")
    demo: bool = Field(default=False, description="Load the demo region at start, unless the data directory has it.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least severity that is logged.")


class DatabaseSettings(Section):
    """Where metadata, identities and audit records are kept."""

    url: str = Field(
        default="",
        description="Empty: SQLite in the data directory. `postgresql://user:password@host/name` otherwise.",
        json_schema_extra={"secret": True},
    )


class StorageSettings(Section):
    """Where documents and images are kept."""

    url: str = Field(
        default="",
        description="Empty: files in the data directory. `s3://bucket/prefix?endpoint=…` otherwise.",
        json_schema_extra={"secret": True},
    )


class RegistrySettings(Section):
    """What the Document Registry accepts and answers."""

    require_known_patient: bool = Field(default=True, description="Refuse patients that no feed announced (XDSUnknownPatientId).")
    codes: str = Field(default="", description="Path of the affinity domain's codes: a `codes.xml` as the NIST toolkit uses it.")
    check_codes: Literal["off", "warn", "strict"] = Field(
        default="off",
        description="What happens to a code or MIME type that is not there: nothing, a warning, or a refusal. "
        "It holds for what this server registers itself, too: manifests of images, snapshots.",
    )
    type_codes: bool = Field(
        default=False,
        description="Accept the kind of an identifier where IHE leaves no room for it: CX.5 of patients (`NH`, `PI`) and XON.7 "
        "of institutions (`IDNST`), as the French CI-SIS has them for the DMP and the DRIMbox.",
    )
    max_results: int = Field(default=5000, ge=1, description="Most objects that one stored query returns with LeafClass.")
    link_change_code: CodeText = Field(
        default="ITI-64^Notify XAD-PID Link Change^IHE Transactions",
        description="contentTypeCode of the SubmissionSets in which changes of links (ITI-64) are registered: "
        "`code^display name^coding scheme`.",
    )

    @model_validator(mode="after")
    def _codes_to_check_against(self) -> RegistrySettings:
        if self.check_codes != "off" and not self.codes:
            raise ValueError(f"check_codes is {self.check_codes!r}, which needs the codes: set registry.codes")
        return self


class RepositorySettings(Section):
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
