"""Manifests of a foreign Imaging Document Source: accepted by RAD-68, found by ITI-18, returned by ITI-43 octet for octet.

The samples are those of the NIST toolkit. Spec: RAD TF-2 4.68, ITI TF-2 3.18, 3.43.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from lxml import etree

from tests.builders import fresh_uid
from tests.flows.partners import APPROVED, PROVIDE, SUCCESS, XDSB, XOP, ask, entries, feed, post_mtom
from tests.flows.partners import retrieve as retrieve_by_hand
from tests.running import RunningServer
from xds.actors.provided_document import ProvidedDocument
from xds.model.metadata import DocumentEntry, ExternalIdentifier, Submission
from xds.model.retrieval import DocumentRequest
from xds.model.vocabulary import StoredQueryId, SubmissionSetScheme
from xds.transactions import iti43_retrieve_document_set as iti43
from xds.transactions import rad68_provide_and_register_imaging_document_set as rad68
from xds.transactions.client import TemporaryStaging
from xds.wire.ebrim import read_submission
from xds.wire.ebrs import read_retrieve_response

SAMPLES = {
    "metadata-IDCDEPT001-a.xml": "kos-IDCDEPT001-a.dcm",
    "metadata-IDCDEPT011-a.xml": "kos-IDCDEPT011-a.dcm",
    "metadata-IDCDEPT021-a.xml": "kos-IDCDEPT021-a.dcm",
    "metadata-IDCDEPT031-a.xml": "kos-IDCDEPT031-a.dcm",
    "testdata-IDCDEPT001/metadata.xml": "testdata-IDCDEPT001/kos.dcm",
    "testdata-IDCDEPT002/metadata.xml": "testdata-IDCDEPT002/kos.dcm",
}


@dataclass(frozen=True)
class Sample:
    """One submission of the toolkit. Its SubmissionSet has a name in place of its uniqueId, as the toolkit fills that in."""

    message: etree._Element
    manifest: bytes

    @classmethod
    def read(cls, shared: Path, metadata: str) -> Sample:
        folder = shared / "vectors" / "nist-testkit" / "rad68-samples"
        message = etree.parse(folder / metadata).getroot()
        (unique_id,) = message.iterfind(f".//{{*}}ExternalIdentifier[@identificationScheme='{SubmissionSetScheme.UNIQUE_ID}']")
        unique_id.set("value", fresh_uid())
        return cls(message, (folder / SAMPLES[metadata]).read_bytes())

    @property
    def submission(self) -> Submission:
        submission, problems = read_submission(self.message)
        assert submission is not None, problems
        return submission

    @property
    def entry(self) -> DocumentEntry:
        (entry,) = self.submission.document_entries
        return entry


@pytest.fixture(params=SAMPLES)
def sample(shared: Path, server: RunningServer, request: pytest.FixtureRequest) -> Sample:
    found = Sample.read(shared, request.param)
    feed(server, str(found.entry.patient_id))
    return found


def find(server: RunningServer, entry: DocumentEntry) -> DocumentEntry:
    """The one approved entry that FindDocuments and GetDocuments have with the uniqueId of this one."""
    by_id = ask(server, StoredQueryId.GET_DOCUMENTS, XDSDocumentEntryUniqueId=f"('{entry.unique_id}')")
    of_patient = ask(
        server,
        StoredQueryId.FIND_DOCUMENTS,
        XDSDocumentEntryPatientId=f"'{entry.patient_id}'",
        XDSDocumentEntryStatus=APPROVED,
        XDSDocumentEntryFormatCode="('1.2.840.10008.5.1.4.1.1.88.59^^1.2.840.10008.2.6.1')",
    )
    (found,) = [item for item in entries(of_patient.objects) if item.unique_id == entry.unique_id]
    assert found in by_id.objects
    return found


def unchanged(entry: DocumentEntry) -> tuple[object, ...]:
    """What a registry hands out as it was submitted."""
    codes = {(item.scheme, item.node_representation, item.slots) for item in entry.classifications}
    return entry.patient_id, entry.unique_id, entry.mime_type, entry.name, frozenset(codes)


def test_written_by_hand(server: RunningServer, sample: Sample) -> None:
    submit = etree.tostring(sample.message, encoding="unicode")
    body = (
        f'<p:ProvideAndRegisterDocumentSetRequest xmlns:p="{XDSB}">{submit}<p:Document id="{sample.entry.id}">'
        f'<xop:Include xmlns:xop="{XOP}" href="cid:manifest%40partner"/></p:Document></p:ProvideAndRegisterDocumentSetRequest>'
    )
    parts = {"manifest@partner": ("application/dicom", sample.manifest)}
    answer = post_mtom(f"{server.http}/services/repository", PROVIDE, body, parts)
    assert answer.status == SUCCESS, etree.tostring(answer.body)
    found = find(server, sample.entry)
    assert unchanged(found) == unchanged(sample.entry)
    assert found.size == str(len(sample.manifest))
    documents = retrieve_by_hand(server, str(found.repository_unique_id), str(sample.entry.unique_id))
    assert documents == {sample.entry.unique_id: sample.manifest}


def test_sent_by_our_client(server: RunningServer, sample: Sample) -> None:
    unique_id = fresh_uid()
    entry = with_unique_id(sample.entry, unique_id)
    submission = replace(sample.submission, document_entries=(entry,))
    manifest = TemporaryStaging()
    manifest.write(sample.manifest)
    documents = {entry.id: ProvidedDocument(manifest, "application/dicom")}
    provided = rad68.send(submission, documents, endpoint=f"{server.http}/services/repository")
    manifest.discard()
    assert provided.succeeded, provided
    found = find(server, entry)
    assert unchanged(found) == unchanged(entry)
    wanted = DocumentRequest(str(found.repository_unique_id), unique_id)
    answer = iti43.send([wanted], endpoint=f"{server.http}/services/repository")
    retrieved, (document,) = read_retrieve_response(answer.body)
    assert retrieved.succeeded
    assert (document.request, document.mime_type) == (wanted, "application/dicom")
    assert b"".join(answer.parts[str(document.content_id)].staging.open()) == sample.manifest
    answer.discard()


def with_unique_id(entry: DocumentEntry, unique_id: str) -> DocumentEntry:
    """The entry under another uniqueId."""

    def changed(item: ExternalIdentifier) -> ExternalIdentifier:
        return replace(item, value=unique_id) if item.value == entry.unique_id else item

    return replace(entry, external_identifiers=tuple(map(changed, entry.external_identifiers)))
