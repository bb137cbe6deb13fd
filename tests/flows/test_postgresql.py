"""The whole server on PostgreSQL: from feed to retrieval, two nodes on one database, and what partners see of an outage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.builders import document_entry, submission
from tests.flows.conftest import AUTHORITY
from tests.flows.partners import APPROVED, ask, entries, exchange, feed, mllp, provide, retrieve
from tests.postgresql import PostgresqlServer, program_directory
from tests.running import RunningServer
from xds.model.errors import ErrorCode, Status
from xds.model.retrieval import DocumentRequest
from xds.model.stored_queries import RawQuery, ReturnType
from xds.model.vocabulary import StoredQueryId
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import iti42_register_document_set as iti42
from xds.transactions import iti43_retrieve_document_set as iti43
from xds.wire.ebrs import read_retrieve_response

pytestmark = pytest.mark.postgresql

REPOSITORY = "1.2.3.4.77"


@pytest.fixture
def database(postgresql_server: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """A server that may be stopped."""
    programs = program_directory()
    assert programs is not None
    with PostgresqlServer(programs) as own:
        yield own


def node(directory: Path, database: PostgresqlServer) -> RunningServer:
    return RunningServer(
        directory,
        DATABASE__URL=database.url().replace("+psycopg", ""),
        DOMAIN__ASSIGNING_AUTHORITY=AUTHORITY,
        DOMAIN__REPOSITORY_UNIQUE_ID=REPOSITORY,
    )


@pytest.fixture
def server(tmp_path: Path, database: PostgresqlServer) -> Iterator[RunningServer]:
    with node(tmp_path / "node", database) as running:
        yield running


def find(patient: str) -> RawQuery:
    slots = (("XDSDocumentEntryPatientId", (f"'{patient}'",)), ("XDSDocumentEntryStatus", (APPROVED,)))
    return RawQuery(StoredQueryId.FIND_DOCUMENTS, ReturnType.LEAF_CLASS, slots)


def test_an_exchange(server: RunningServer) -> None:
    """ITI-8, ITI-41, ITI-18, ITI-43; then ITI-42 alone."""
    exchange(server)
    patient = f"SOLO^^^&{AUTHORITY}&ISO"
    feed(server, patient)
    alone = submission([document_entry(patient_id=patient, repository_unique_id="1.2.3")], patient_id=patient)
    assert iti42.send(alone, endpoint=f"{server.http}/services/registry").status is Status.SUCCESS
    (found,) = iti18.send(find(patient), endpoint=f"{server.http}/services/registry").objects
    assert found.unique_id == alone.document_entries[0].unique_id
    assert not (server.data / "xds.sqlite").exists()


def test_what_one_node_registers_another_answers(server: RunningServer, database: PostgresqlServer, tmp_path: Path) -> None:
    patient = f"BOTH^^^&{AUTHORITY}&ISO"
    feed(server, patient)
    with node(tmp_path / "other", database) as other:
        entry = document_entry(patient_id=patient, hash=None, size=None, repository_unique_id=None)
        provide(other, submission([entry], patient_id=patient), {entry.id: b"content"})
        slots = {"XDSDocumentEntryPatientId": f"'{patient}'", "XDSDocumentEntryStatus": APPROVED}
        (found,) = entries(ask(server, StoredQueryId.FIND_DOCUMENTS, **slots).objects)
        assert retrieve(other, REPOSITORY, str(found.unique_id)) == {found.unique_id: b"content"}


def test_what_partners_see_while_the_database_is_away(server: RunningServer, database: PostgresqlServer) -> None:
    exchange(server)
    database.stop()
    patient = f"AWAY^^^&{AUTHORITY}&ISO"
    registry, repository = f"{server.http}/services/registry", f"{server.http}/services/repository"
    alone = submission([document_entry(patient_id=patient, repository_unique_id="1.2.3")], patient_id=patient)
    registered = iti42.send(alone, endpoint=registry)
    answered = iti18.send(find(patient), endpoint=registry).response
    for response in (registered, answered):
        assert (response.status, [error.code for error in response.errors]) == (Status.FAILURE, [ErrorCode.REGISTRY_BUSY])
    retrieved = iti43.send((DocumentRequest(REPOSITORY, "1.2.3"),), endpoint=repository)
    response, _documents = read_retrieve_response(retrieved.body)
    assert [error.code for error in response.errors] == [ErrorCode.REPOSITORY_BUSY]
    header = "MSH|^~\\&|ADT|PARTNER|PIX|XDS|20260301120000||ADT^A01|AWAY1|P|2.3.1"
    acknowledgement = mllp(server, header, "EVN|A01|20260301120000", f"PID|||{patient}||Doe^Jane||19700101|F", "PV1||O")
    assert acknowledgement[1][1] == "AE"
    assert httpx.get(f"{server.http}/dicomweb/studies/1.2.3/metadata", timeout=60).status_code == 503
    assert httpx.get(f"{server.http}/health/ready", timeout=60).status_code == 503
    database.start()
    exchange(server)
    assert httpx.get(f"{server.http}/health/ready", timeout=60).status_code == 200
    log = (server.data / "server.log").read_text()
    assert "AWAY" not in log
    assert "Traceback" not in log
