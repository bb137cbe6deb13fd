"""An answer of thousands of objects needs neither their memory nor their time before its first octet.

Spec: ITI TF-2 3.18.4.1.3.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
from lxml import etree

from tests.actors.registry_fixtures import IDENTITY, open_registry
from tests.builders import PATIENT_ID, document_entry, submission
from tests.flows.test_large_document import highest_memory
from tests.running import RunningServer
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import AvailabilityStatus, StoredQueryId
from xds.transactions.iti18_registry_stored_query import TRANSACTION
from xds.wire.ebrs import write_query
from xds.wire.soap import Addressing, write_envelope

ENTRIES = 5000
OTHER = PATIENT_ID.replace("P1", "P2")
ALLOWED = 64 << 20
_COMMENT = "Scanner du thorax sans injection. " * 7


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose only patient has as many documents as one answer may hold, and another who has one more."""
    data = tmp_path_factory.mktemp("large") / "data"
    data.mkdir()
    registry = open_registry(data, require_known_patient=False)
    for patient_id, number in ((PATIENT_ID, ENTRIES), (OTHER, ENTRIES + 1)):
        for start in range(0, number, 500):
            some = range(start, min(start + 500, number))
            long = [document_entry(id=f"D{each}", patient_id=patient_id, comments=_COMMENT) for each in some]
            registry.accept(submission(long, patient_id=patient_id))
    registry.database.close()
    settings = {"DOMAIN__ASSIGNING_AUTHORITY": IDENTITY.assigning_authority, "REGISTRY__REQUIRE_KNOWN_PATIENT": "false"}
    with RunningServer(data, **settings) as running:
        yield running


class Taken(NamedTuple):
    """An answer, and when it came."""

    octets: bytes
    first: float
    last: float


def take(server: RunningServer, patient_id: str, return_type: str = "LeafClass") -> Taken:
    patient = ("XDSDocumentEntryPatientId", (f"'{patient_id}'",))
    status = ("XDSDocumentEntryStatus", (f"('{AvailabilityStatus.APPROVED}')",))
    query = write_query(RawQuery(StoredQueryId.FIND_DOCUMENTS, return_type, (patient, status)))
    content = b"".join(write_envelope([query], Addressing(TRANSACTION.action or "", message_id="urn:uuid:1")))
    headers = {"Content-Type": "application/soap+xml; charset=UTF-8"}
    begun = time.perf_counter()
    url = f"{server.http}{TRANSACTION.path}"
    with httpx.stream("POST", url, content=content, headers=headers, timeout=120) as response:
        chunks = response.iter_raw()
        octets = [next(chunks)]
        first = time.perf_counter() - begun
        octets += chunks
        assert response.status_code == 200
        assert int(response.headers["Content-Length"]) == sum(map(len, octets))
    return Taken(b"".join(octets), first, time.perf_counter() - begun)


def test_it_is_made_while_it_is_sent(server: RunningServer) -> None:
    for _ in range(2):
        take(server, PATIENT_ID, "ObjectRef")
    warm = server.resident_memory()
    with highest_memory(server) as highest:
        answers = [take(server, PATIENT_ID) for _ in range(3)]
    assert highest[0] - warm < ALLOWED, f"{(highest[0] - warm) >> 20} MiB more than {warm >> 20} MiB"
    assert len(answers[0].octets) > 16 << 20
    # What it takes depends on the machine; that the first octet does not wait for the others does not.
    assert min(each.first / each.last for each in answers) < 0.7
    entries = etree.fromstring(answers[0].octets, etree.XMLParser(huge_tree=True)).findall(".//{*}ExtrinsicObject")
    assert len({entry.get("id") for entry in entries}) == ENTRIES


def test_one_too_many_is_said_instead(server: RunningServer) -> None:
    answer = take(server, OTHER)
    assert b"XDSTooManyResults" in answer.octets
    assert len(answer.octets) < 10_000
    assert take(server, OTHER, "ObjectRef").octets.count(b"<rim:ObjectRef ") == ENTRIES + 1
