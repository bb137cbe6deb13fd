"""`registry.type_codes`: the kind of an identifier in CX.5 and XON.7, as the French CI-SIS has it and IHE does not.

Whoever publishes so (`publication.patient_id_type`) accepts it, too.

Spec: ITI TF-3 Table 4.2.3.1.7-2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from pydicom import Dataset, dcmread

from tests.archive import MODALITY, image
from tests.builders import CONTENT, document_entry, submission, submission_set
from xds import config
from xds.actors.provided_document import ProvidedDocument
from xds.app import App, build
from xds.model.caller import SYSTEM
from xds.model.errors import ErrorCode, RegistryResponse
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.imaging_report import ImagingReport, ReportFacts
from xds.model.metadata import Author, Submission
from xds.model.stored_queries import RawQuery, ReturnType
from xds.model.vocabulary import AvailabilityStatus, StoredQueryId
from xds.rules.submission import datatypes

NATIONAL = "&1.2.250.1.213.1.4.10&ISO"
INSTITUTION = "CABINET^^^^^&1.2.250.1.71.4.2.2&ISO^IDNST^^^499700367909006"
PERSON = "899700367909^DOC0036790^KIT^^^^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS"


@contextmanager
def domain(data: Path, *, type_codes: bool = False, **publication: str) -> Iterator[App]:
    settings = config.load(
        overrides={
            "server.data": data,
            "registry.type_codes": type_codes,
            "registry.require_known_patient": False,
            "domain.assigning_authority": "1.2.250.1.213.1.4.10",
            **{f"publication.{name}": value for name, value in publication.items()},
        }
    )
    app = build(settings, "http://127.0.0.1:1")
    yield app
    app.close()


def french() -> Submission:
    patient = f"162018885045327^^^{NATIONAL}^NH"
    author = Author(PERSON, (INSTITUTION,), (), (), ())
    entry = document_entry(patient_id=patient, source_patient_id=f"162018885045327^^^{NATIONAL}^PI", authors=(author,))
    package = submission_set(patient_id=patient, authors=(author,), intended_recipients=(f"{INSTITUTION}|{PERSON}",))
    return submission([entry], submission_set=package)


def register(app: App, message: Submission) -> RegistryResponse:
    return app.domain.document_registry.register(message, SYSTEM)


def provide(app: App, message: Submission) -> RegistryResponse:
    repository = app.domain.document_repository
    staging = repository.stage()
    staging.write(CONTENT)
    try:
        return repository.provide(message, {message.document_entries[0].id: ProvidedDocument(staging)}, SYSTEM)
    finally:
        staging.discard()


def test_the_standard_leaves_no_room_for_it(tmp_path: Path) -> None:
    with domain(tmp_path, type_codes=False) as app:
        response = register(app, french())
    assert not response.succeeded
    named = " ".join(error.context for error in response.errors)
    assert [word in named for word in ("patientId", "sourcePatientId", "author.authorInstitution", "intendedRecipient")] == [
        True
    ] * 4


def test_it_is_kept_and_the_patient_is_found_with_and_without(tmp_path: Path) -> None:
    with domain(tmp_path, type_codes=True) as app:
        assert register(app, french()) == RegistryResponse(register(app, french()).status)
        for patient in (f"162018885045327^^^{NATIONAL}", f"162018885045327^^^{NATIONAL}^NH"):
            slots = (
                ("XDSDocumentEntryPatientId", (f"'{patient}'",)),
                ("XDSDocumentEntryStatus", ("('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')",)),
            )
            query = RawQuery(StoredQueryId.FIND_DOCUMENTS, ReturnType.LEAF_CLASS, slots)
            found = [bytes(item.xml).decode() for item in app.domain.document_registry.query(query, SYSTEM).objects]
            assert len(found) == 2
            for kind in ("NH", "PI"):
                assert all(f"162018885045327^^^{escape(NATIONAL)}^{kind}" in xml for xml in found)


def test_the_repository_accepts_what_its_registry_does(tmp_path: Path) -> None:
    with domain(tmp_path / "without") as app:
        refused = provide(app, french())
        assert {error.code for error in refused.errors} == {ErrorCode.REPOSITORY_METADATA_ERROR}
    with domain(tmp_path / "with", type_codes=True) as app:
        assert provide(app, french()).errors == ()


def found(app: App, status: AvailabilityStatus) -> list[str]:
    """The entries of the patient in that status, as ebRIM."""
    slots = (
        ("XDSDocumentEntryPatientId", (f"'162018885045327^^^{NATIONAL}'",)),
        ("XDSDocumentEntryStatus", (f"('{status}')",)),
    )
    query = RawQuery(StoredQueryId.FIND_DOCUMENTS, ReturnType.LEAF_CLASS, slots)
    return [bytes(item.xml).decode() for item in app.domain.document_registry.query(query, SYSTEM).objects]


def store(app: App, sop_instance_uid: str) -> str:
    """Put an image of the patient into the archive; its Study Instance UID."""

    def of_the_patient(dataset: Any) -> None:
        issuer = Dataset()
        issuer.UniversalEntityID, issuer.UniversalEntityIDType = "1.2.250.1.213.1.4.10", "ISO"
        dataset.PatientID, dataset.IssuerOfPatientIDQualifiersSequence = "162018885045327", [issuer]

    octets = image(of_the_patient, SOPInstanceUID=sop_instance_uid)
    source = app.domain.imaging_document_source
    staging = source.stage()
    try:
        staging.write(octets)
        source.store_instance(staging, MODALITY)
    finally:
        staging.discard()
    return str(dcmread(BytesIO(octets)).StudyInstanceUID)


def test_what_is_published_with_it_is_registered_replaced_and_withdrawn(tmp_path: Path) -> None:
    """With these settings alone: own repository and registry refused every manifest."""
    with domain(tmp_path, patient_id_type="NH", source_patient_id_type="PI") as app:
        source = app.domain.imaging_document_source
        study = store(app, "1.2.3.1")
        assert source.publish(study) is None
        (manifest,) = found(app, AvailabilityStatus.APPROVED)
        for kind in ("NH", "PI"):
            assert f"162018885045327^^^{escape(NATIONAL)}^{kind}" in manifest
        store(app, "1.2.3.2")
        assert source.publish(study) is None
        assert [len(found(app, status)) for status in (AvailabilityStatus.APPROVED, AvailabilityStatus.DEPRECATED)] == [1, 1]
        source.remove_instances(study, None, "test")
        assert source.publish(study) is None
        assert [len(found(app, status)) for status in (AvailabilityStatus.APPROVED, AvailabilityStatus.DEPRECATED)] == [0, 2]


def test_reports_are_published_with_it_too(tmp_path: Path) -> None:
    patient = PatientIdentifier("162018885045327", AssigningAuthority(None, "1.2.250.1.213.1.4.10"))
    with domain(tmp_path, patient_id_type="NH", source_patient_id_type="PI") as app:
        reports = app.domain.imaging_document_source.reports
        reports.receive(ImagingReport(ReportFacts("R1", (patient,)), b"%PDF-1"), "M1", MODALITY)
        assert reports.publish("R1", SYSTEM) is None
        (report,) = found(app, AvailabilityStatus.APPROVED)
    for kind in ("NH", "PI"):
        assert f"162018885045327^^^{escape(NATIONAL)}^{kind}" in report


@pytest.mark.parametrize("name", ["patient_id_type", "source_patient_id_type"])
@pytest.mark.parametrize("value", ["nh", "N H", "NH^", "ABCDEFGHIJK"])
def test_a_kind_that_no_registry_accepts_is_refused_at_start(name: str, value: str) -> None:
    with pytest.raises(config.ConfigError, match=f"publication.{name}: must be a type code of HL7 table 0203"):
        config.load(overrides={f"publication.{name}": value})


@pytest.mark.parametrize(
    ("kind", "value", "is_right"),
    [
        (datatypes.CX, f"1^^^{NATIONAL}^NH", True),
        (datatypes.CX, f"1^^^{NATIONAL}^", False),
        (datatypes.CX, f"1^^^{NATIONAL}^nh", False),
        (datatypes.CX, f"1^^^{NATIONAL}^NH^", False),
        (datatypes.CX, f"1^^x^{NATIONAL}^NH", False),
        (datatypes.LOCAL_CX, "1^^^HOSPITAL^PI", True),
        (datatypes.XON, INSTITUTION, True),
        (datatypes.XON, INSTITUTION + "^A", False),
        (datatypes.XON, "CABINET^L^^^^&1.2&ISO^IDNST^^^1", False),
        (datatypes.RECIPIENT, f"{INSTITUTION}||^^Internet^a@b.example", True),
        (datatypes.RECIPIENT, f"^^^^^^IDNST|{PERSON}", False),
    ],
)
def test_nothing_else_is_allowed_with_it(kind: datatypes.DataType, value: str, is_right: bool) -> None:
    assert kind.with_type_code is not None
    assert kind.with_type_code(value) is is_right
    assert not kind.accepts(value)
