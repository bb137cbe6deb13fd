"""Loads the demo region into a running server, through its own sockets, as establishments would.

Everything has fixed identifiers, and what is there is not sent again, so that an interrupted load is completed by the next one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from xds.demo.content import LETTERS, STUDIES, StudyPlan
from xds.demo.images import images
from xds.demo.region import DUPLICATE, ESTABLISHMENTS, Registration, registration, registrations
from xds.demo.submissions import REVISED_REPORT, REVISED_STUDY, Prepared, letter, report, revised_report
from xds.model.errors import RegistryResponse
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.metadata import DocumentEntry
from xds.model.patient import FeedKind, IdentityFeed
from xds.model.stored_queries import RawQuery, ReturnType
from xds.model.vocabulary import DICOM_UIDS, KEY_OBJECT_SELECTION, AvailabilityStatus, ReferenceIdType, StoredQueryId
from xds.pacs.sender import STORED, read_endpoint, read_file, send_files
from xds.transactions import iti08_patient_identity_feed as iti08
from xds.transactions import iti09_pix_query as iti09
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import iti41_provide_and_register_document_set as iti41
from xds.wire.soap import SoapFault

#: Seconds that the last study may take until its manifest is found.
PATIENCE = 120.0

_AFFINITY = AssigningAuthority("XDS")


class DemoError(Exception):
    """The server refused something of the demo region."""


def load(endpoints: Mapping[str, object]) -> dict[str, int] | None:
    """Load the region into the server at these addresses (of its ready line) and wait until its manifests are found.

    Returns how much was sent, or None when the server had everything.
    Errors: DemoError when the server refuses something; ConnectionError, TimeoutError when it does not answer.
    """
    try:
        return _load(endpoints)
    except SoapFault as fault:
        raise DemoError(f"SOAP fault {fault.code}: {fault.reason}") from fault


def _load(endpoints: Mapping[str, object]) -> dict[str, int] | None:
    region = _Server(str(endpoints["http"]).rstrip("/"), str(endpoints["mllp"]), str(endpoints["dicom"]))
    if region.has_everything():
        return None
    fed = sum(1 for feed in _feeds() if region.feed(feed))
    stored = region.store_images()
    provided = sum(1 for prepared in _documents(region) if region.provide(prepared))
    region.wait_for_manifests()
    return {"messages": fed, "images": stored, "documents": provided}


class _Server:
    """The server as its partners see it."""

    def __init__(self, http: str, mllp: str, dicom: str) -> None:
        self._registry = f"{http}{iti18.TRANSACTION.path}"
        self._repository = f"{http}{iti41.TRANSACTION.path}"
        self._mllp = mllp
        self._dicom = dicom
        self._identifiers: dict[PatientIdentifier, str] = {}

    def feed(self, feed: IdentityFeed) -> bool:
        """Send one feed message. Errors: DemoError when it is not accepted."""
        acknowledged = iti08.send(feed, self._mllp)
        if not acknowledged.is_accepted:
            faults = "; ".join(fault.text for fault in acknowledged.faults)
            raise DemoError(f"feed {feed.message_id}: {acknowledged.code} {faults}")
        return True

    def affinity_identifier(self, patient: Registration) -> str:
        """CX of the affinity domain's identifier. Errors: DemoError when there is none."""
        found = self._identifiers.get(patient.identifier) or self._ask(patient)
        if found is None:
            raise DemoError(f"the PIX Manager does not know {patient.establishment.namespace} {patient.identifier.value}")
        self._identifiers[patient.identifier] = found
        return found

    def _ask(self, patient: Registration) -> str | None:
        place = patient.establishment
        answer = iti09.send(patient.identifier, [_AFFINITY], self._mllp, source=f"{place.namespace}|{place.application}")
        return next((item.to_cx() for item in answer.identifiers), None)

    def store_images(self) -> int:
        """Send every image; returns how many. Errors: DemoError."""
        title, host, port = read_endpoint(self._dicom)
        stored = 0
        for plan in STUDIES:
            calling = ESTABLISHMENTS[plan.establishment].ae_title
            with TemporaryDirectory() as directory:
                files = []
                for number, image in enumerate(images(plan)):
                    path = Path(directory) / f"{number}.dcm"
                    image.save_as(path)
                    files.append(read_file(path))
                for file, status in send_files(files, host, port, calling=calling, called=title):
                    if status not in STORED:
                        raise DemoError(f"study {plan.key}: C-STORE of {file.sop_instance_uid} ended with {status}")
                    stored += 1
        return stored

    def provide(self, prepared: Prepared) -> bool:
        """Send one submission unless its document is registered."""
        if self.document(prepared.unique_id) is not None:
            return False
        response = iti41.send(prepared.submission, [prepared.document], endpoint=self._repository)
        _expect_success(response, prepared.unique_id)
        return True

    def document(self, unique_id: str) -> DocumentEntry | None:
        """The document of that uniqueId, when it is registered."""
        slots = (("XDSDocumentEntryUniqueId", (f"('{unique_id}')",)),)
        result = iti18.send(RawQuery(StoredQueryId.GET_DOCUMENTS, ReturnType.LEAF_CLASS, slots), endpoint=self._registry)
        _expect_success(result.response, unique_id)
        return next((item for item in result.objects if isinstance(item, DocumentEntry)), None)

    def has_everything(self) -> bool:
        """True when the documents and the manifests are registered."""
        known = self._ask(registration(1, "A")) is not None
        return known and self.document(REVISED_REPORT) is not None and all(map(self.has_manifest, STUDIES))

    def has_manifest(self, plan: StudyPlan) -> bool:
        """True when a manifest of the study is registered and approved."""
        patient_id = self.affinity_identifier(registration(plan.patient, plan.establishment))
        reference = f"{plan.study_instance_uid}^^^^{ReferenceIdType.STUDY_INSTANCE_UID.value}"
        slots = (
            ("XDSDocumentEntryPatientId", (f"'{patient_id}'",)),
            ("XDSDocumentEntryStatus", (f"('{AvailabilityStatus.APPROVED.value}')",)),
            ("XDSDocumentEntryFormatCode", (f"('{KEY_OBJECT_SELECTION}^^{DICOM_UIDS}')",)),
            ("XDSDocumentEntryReferenceIdList", (f"('{reference}')",)),
        )
        query = RawQuery(StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID, ReturnType.OBJECT_REF, slots)
        result = iti18.send(query, endpoint=self._registry)
        _expect_success(result.response, plan.key)
        return bool(result.references)

    def wait_for_manifests(self) -> None:
        """Return when every study is announced. Errors: DemoError when one is not in time."""
        end = time.monotonic() + PATIENCE
        for plan in STUDIES:
            while not self.has_manifest(plan):
                if time.monotonic() > end:
                    raise DemoError(f"no manifest of study {plan.key} after {PATIENCE:.0f} s")
                time.sleep(0.2)


def _feeds() -> Iterator[IdentityFeed]:
    """Every feed message in order: admissions, then the duplicate record and its merge."""
    for number, patient in enumerate(registrations(), start=1):
        yield _feed(FeedKind.ADD, number, patient, patient.identifier)
    local, person = DUPLICATE
    right = registration(person, "A")
    wrong = PatientIdentifier(local, right.establishment.authority, "PI")
    yield _feed(FeedKind.ADD, 901, right, wrong)
    yield _feed(FeedKind.MERGE, 902, right, right.identifier, (wrong,))


def _feed(
    kind: FeedKind,
    number: int,
    patient: Registration,
    identifier: PatientIdentifier,
    subsumed: tuple[PatientIdentifier, ...] = (),
) -> IdentityFeed:
    place = patient.establishment
    return IdentityFeed(
        kind=kind,
        source=f"{place.namespace}|{place.application}",
        message_id=f"DEMO{number:05d}",
        identifiers=(identifier,),
        demographics=patient.demographics,
        subsumed=subsumed,
    )


def _documents(region: _Server) -> Iterator[Prepared]:
    """Every submission in order; the correction comes when what it corrects is registered."""
    for study in STUDIES:
        if not study.report:
            continue
        patient_id = region.affinity_identifier(registration(study.patient, study.establishment))
        original = report(study, patient_id)
        yield original
        if study.key == REVISED_STUDY:
            entry = region.document(original.unique_id)
            if entry is None:
                raise DemoError(f"report {study.key} was accepted and is not there")
            yield revised_report(study, patient_id, entry.id)
    for plan in LETTERS:
        yield letter(plan, region.affinity_identifier(registration(plan.patient, plan.establishment)))


def _expect_success(response: RegistryResponse, what: str) -> None:
    if not response.succeeded:
        errors = "; ".join(f"{error.code.value}: {error.context}" for error in response.errors)
        raise DemoError(f"{what}: {errors}")
