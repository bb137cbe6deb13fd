"""Clients of ITI-51, ITI-61, ITI-62 and ITI-86 against a running server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lxml import etree

from tests.cli.commands import Commands
from tests.cli.conftest import AUTHORITY, REPOSITORY
from tests.running import RunningServer
from xds.model.vocabulary import ON_DEMAND

PATIENT = f"CLI1^^^XDS&{AUTHORITY}&ISO"
CX = f"CLI1^^^&{AUTHORITY}&ISO"


@pytest.fixture
def report(xds: Commands, server: RunningServer, tmp_path: Path) -> str:
    """The uniqueId of a report that was provided."""
    assert xds("send", "iti08", "--to", server.mllp, "--patient", PATIENT, "--name", "Doe^Jane").code == 0
    path = tmp_path / "report.txt"
    path.write_text("No acute finding.\n")
    sent = xds("send", "iti41", str(path), "--to", server.http, "--patient", CX, "--title", "Report")
    assert sent.code == 0, sent.err
    return sent.out.strip()


def found(xds: Commands, server: RunningServer, query: str, *arguments: str, transaction: str = "iti18") -> list[dict[str, str]]:
    outcome = xds("send", transaction, query, *arguments, "--to", server.http, "--json")
    assert outcome.code == 0, outcome.err
    objects: list[dict[str, str]] = json.loads(outcome.out)["objects"]
    return objects


def test_several_patients(xds: Commands, server: RunningServer, report: str) -> None:
    query = "FindDocumentsForMultiplePatients"
    several = found(xds, server, query, "--patient", CX, "--patient", f"NOBODY^^^&{AUTHORITY}&ISO", transaction="iti51")
    assert report in [item["unique_id"] for item in several]
    by_class = found(xds, server, query, "XDSDocumentEntryClassCode=REPORTS^^1.3.6.1.4.1.19376.1.2.6.1", transaction="iti51")
    assert report in [item["unique_id"] for item in by_class]
    refused = xds("send", "iti51", query, "--to", server.http)
    assert (refused.code, "XDSStoredQueryMissingParam" in refused.err) == (1, True)
    assert xds("send", "iti51", "FindDocuments").code == 2


def test_an_index_of_a_record(xds: Commands, server: RunningServer, report: str, tmp_path: Path) -> None:
    sent = xds("send", "iti61", "--index-of", CX, "--repository", REPOSITORY, "--to", server.http)
    assert sent.code == 0, sent.err
    (entry,) = found(xds, server, "FindDocuments", "--patient", CX, f"XDSDocumentEntryType={ON_DEMAND}")
    got = xds("send", "iti43", entry["unique_id"], "--to", server.http, "--repository", REPOSITORY, "-o", str(tmp_path / "out"))
    assert got.code == 0, got.err
    index = etree.parse(got.rows[0][3])
    assert report in index.xpath("//*[local-name()='td']/text()")
    assert xds("send", "iti61").code == 2
    assert xds("send", "iti61", "--index-of", CX).code == 2


def test_removal(xds: Commands, server: RunningServer, report: str, tmp_path: Path) -> None:
    removed = xds("send", "iti86", report, "--repository", REPOSITORY, "--to", server.http)
    assert removed.code == 0, removed.err
    again = xds("send", "iti86", report, "--repository", REPOSITORY, "--to", server.http)
    assert (again.code, "XDSDocumentUniqueIdError" in again.err) == (1, True)

    (entry,) = found(xds, server, "GetDocuments", f"XDSDocumentEntryUniqueId={report}")
    alone = xds("send", "iti62", entry["id"], "--to", server.http)
    assert (alone.code, "ReferencesExistException" in alone.err) == (1, True)
    rest = [item["id"] for item in found(xds, server, "GetSubmissionSets", f"uuid={entry['id']}")]
    whole = xds("send", "iti62", entry["id"], *rest, "--to", server.http)
    assert (whole.code, whole.out) == (0, "3 objects removed\n")
    assert found(xds, server, "GetDocuments", f"XDSDocumentEntryUniqueId={report}") == []


def test_messages_are_printed_and_not_sent(xds: Commands) -> None:
    assert "RemoveObjectsRequest" in xds("send", "iti62", "urn:uuid:1", "--dry-run").out
    assert "RemoveDocumentsRequest" in xds("send", "iti86", "1.2", "--repository", "1.3", "--dry-run").out
    assert ON_DEMAND in xds("send", "iti61", "--index-of", CX, "--repository", "1.3", "--text", "--dry-run").out
