"""Imaging reports as messages bring them, on their way to be documents.

Spec: RAD TF-2 4.68.4.1.2.3.2 (metadata of reports), 4.128 (Send Imaging Result); HL7 v2.5 chapter 7 and 9.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from xds.model.identifiers import PatientIdentifier
from xds.model.imaging import ImagingOrder
from xds.model.metadata import Code


class ReportFormat(StrEnum):
    """What the document of a report is: a value of formatCode."""

    PDF = "urn:ihe:rad:PDF"
    TEXT = "urn:ihe:rad:TEXT"
    CDA = "urn:ihe:rad:CDA:ImagingReportStructuredHeadings:2013"
    CDA_PDF = "urn:ihe:iti:xds-sd:pdf:2008"
    CDA_TEXT = "urn:ihe:iti:xds-sd:text:2008"


class ReportState(StrEnum):
    """Where a version of a report stands."""

    PENDING = "pending"
    UNRESOLVED = "unresolved"
    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """What a message says of a report. Times are DTM in UTC, or empty; `person` is an XCN; absent text is empty.

    `number` is the report's own number under its issuer, `replaces` that of the one it takes the place of.
    """

    number: str
    patient_ids: tuple[PatientIdentifier, ...]
    patient_name: str = ""
    birth_date: str = ""
    sex: str = ""
    order: ImagingOrder = field(default_factory=ImagingOrder)
    replaces: str = ""
    title: str = ""
    type_code: Code | None = None
    format: ReportFormat = ReportFormat.PDF
    created: str = ""
    service_start: str = ""
    person: str = ""
    language: str = ""
    confidentiality: tuple[Code, ...] = ()
    is_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class ImagingReport:
    """A report and its document; one that is cancelled has none. A preliminary one is not to be shared."""

    facts: ReportFacts
    content: bytes = b""
    is_preliminary: bool = False


@dataclass(frozen=True, slots=True)
class StoredReport:
    """One version of a report as it is kept. `report_id` is shared by its versions; `blob` is None for a cancellation."""

    report_key: int
    report_id: str
    version: int
    facts: ReportFacts
    blob: str | None
    unique_id: str
    entry_uuid: str
    submission_unique_id: str
    created: int
    state: ReportState
    patient_id: str | None = None
    reason: str | None = None
