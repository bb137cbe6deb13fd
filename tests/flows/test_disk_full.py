"""A full disk: what does not fit is refused cleanly and whole, what is there stays readable, and space is enough to go on.

Spec: ITI TF-3 Table 4.2.4.1-2 (XDSRepositoryOutOfResources, XDSRegistryOutOfResources); DICOM PS3.4 Table B.2-1 (0xA700).
"""

from __future__ import annotations

import random
from io import BytesIO
from pathlib import Path

import pydicom
from pynetdicom import AE

from tests.archive import image
from tests.builders import document_entry, fresh_uid, submission
from tests.flows.partners import feed
from tests.flows.test_crash import REPOSITORY, Attempt, is_whole, running
from tests.flows.volumes import Volume
from tests.running import RunningServer
from xds.app import BLOB_DIRECTORY
from xds.model.errors import ErrorCode, RegistryResponse
from xds.model.retrieval import DocumentRequest
from xds.model.stored_queries import RawQuery, ReturnType
from xds.model.vocabulary import StoredQueryId
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import iti41_provide_and_register_document_set as iti41
from xds.transactions import iti42_register_document_set as iti42
from xds.transactions import iti62_remove_metadata as iti62
from xds.transactions import iti86_remove_documents as iti86
from xds.transactions.iti41_provide_and_register_document_set import DocumentToSend

OUT_OF_RESOURCES = {ErrorCode.REPOSITORY_OUT_OF_RESOURCES, ErrorCode.REGISTRY_OUT_OF_RESOURCES}
BALLAST = 6 << 20
STORED = 0x0000
NO_SPACE = 0xA700

numbers = random.Random(11)


def with_document(size: int) -> Attempt:
    entry = document_entry(hash=None, size=None, repository_unique_id=None)
    return Attempt(submission([entry]), {entry.id: numbers.randbytes(size)})


def send(tried: Attempt, server: RunningServer) -> RegistryResponse:
    """Errors: SoapFault, which no full disk is a reason for."""
    if not tried.contents:
        return iti42.send(tried.submission, endpoint=f"{server.http}/services/registry")
    documents = [
        DocumentToSend(name, "application/pdf", len(content), lambda content=content: iter([content]))
        for name, content in tried.contents.items()
    ]
    return iti41.send(tried.submission, documents, endpoint=f"{server.http}/services/repository")


def is_accepted(tried: Attempt, server: RunningServer) -> bool:
    """False when it was refused as the standard says."""
    answer = send(tried, server)
    if not answer.succeeded:
        assert {error.code for error in answer.errors} <= OUT_OF_RESOURCES, answer
    return answer.succeeded


def fill(server: RunningServer) -> tuple[list[Attempt], list[Attempt]]:
    """Provide ever smaller documents until not one more is taken: what was accepted and what was refused."""
    accepted: list[Attempt] = []
    refused: list[Attempt] = []
    for size in (300_000, 30_000, 3_000, 3_000, 300, 300):
        while is_accepted(tried := with_document(size), server):
            accepted.append(tried)
        refused.append(tried)
    return accepted, refused


def c_store(server: RunningServer) -> int:
    """Send an image of 39 kB that is not there yet; the status."""
    title, host, port = server.dicom
    dataset = pydicom.dcmread(BytesIO(image(SOPInstanceUID=fresh_uid())))
    unit = AE(ae_title="MODALITY")
    unit.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = unit.associate(host, port, ae_title=title)
    assert association.is_established
    status = association.send_c_store(dataset).Status
    association.release()
    return int(status)


def removals(server: RunningServer, tried: Attempt) -> list[set[ErrorCode]]:
    """The errors of removing the metadata of an attempt (ITI-62), and a document (ITI-86)."""
    slots = (("XDSSubmissionSetUniqueId", (f"'{tried.submission.submission_set.unique_id}'",)),)
    query = RawQuery(StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, ReturnType.OBJECT_REF, slots)
    ids = iti18.send(query, endpoint=f"{server.http}/services/registry").references
    assert len(ids) == 3
    of_metadata = iti62.send(ids, endpoint=f"{server.http}/services/registry")
    document = DocumentRequest(REPOSITORY, tried.submission.document_entries[0].unique_id or "")
    of_documents = iti86.send([document], endpoint=f"{server.http}/services/repository")
    return [{error.code for error in response.errors} for response in (of_metadata, of_documents)]


def assert_everything_works(server: RunningServer, *attempts: Attempt) -> None:
    """These attempts are accepted, and an image and a patient, too."""
    for tried in attempts:
        assert is_accepted(tried, server)
        assert is_whole(server, tried)
    assert c_store(server) == STORED
    feed(server, "P9^^^&1.2.3.4.5&ISO")


def test_a_full_disk_refuses_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    """Documents, database and log lie on one disk, which fills up with documents."""
    with Volume(tmp_path / "volume", tmp_path / "volume.img", 32) as volume:
        ballast = volume.path / "ballast"
        ballast.write_bytes(bytes(BALLAST))
        data = volume.path / "data"
        with running(data) as server:
            accepted, refused = fill(server)
            assert len(accepted) > 20
            assert [c_store(server) for _ in range(3)] == [NO_SPACE] * 3
            for _ in range(100):
                metadata = Attempt(submission(1))
                (accepted if is_accepted(metadata, server) else refused).append(metadata)
            assert [is_whole(server, tried) for tried in accepted] == [True] * len(accepted)
            assert [is_whole(server, tried) for tried in refused] == [False] * len(refused)
            ballast.unlink()
            assert_everything_works(server, *refused[:3], *refused[-3:])
            assert server.stop() == 0
        with running(data) as server:
            assert [is_whole(server, tried) for tried in accepted] == [True] * len(accepted)
            assert list((data / BLOB_DIRECTORY / "staging").iterdir()) == []


def test_a_database_without_space_refuses_although_documents_have_some(tmp_path: Path) -> None:
    with (
        Volume(tmp_path / "data", tmp_path / "data.img", 32) as volume,
        Volume(volume.path / BLOB_DIRECTORY, tmp_path / "blobs.img", 64),
        running(volume.path) as server,
    ):
        stored = with_document(300)
        assert is_accepted(stored, server)
        ballast = volume.fill()
        attempts = [Attempt(submission(1)) if number % 2 else with_document(300) for number in range(160)]
        outcomes = [is_accepted(tried, server) for tried in attempts]
        assert outcomes[-20:] == [False] * 20
        answers = [send(Attempt(submission(1)), server), send(with_document(300), server)]
        assert [{error.code for error in answer.errors} for answer in answers] == [{ErrorCode.REGISTRY_OUT_OF_RESOURCES}] * 2
        assert removals(server, stored) == [{ErrorCode.REGISTRY_OUT_OF_RESOURCES}, {ErrorCode.REPOSITORY_OUT_OF_RESOURCES}]
        assert [is_whole(server, tried) for tried in (*attempts, stored)] == [*outcomes, True]
        assert c_store(server) == NO_SPACE
        ballast.unlink()
        assert_everything_works(server, *(tried for tried, accepted in zip(attempts, outcomes, strict=True) if not accepted))
