"""Manifests of a foreign Imaging Document Source: accepted by RAD-68, found by ITI-18, returned by ITI-43 octet for octet."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from tests.running import RunningServer
from xds.model.identifiers import read_cx
from xds.model.metadata import DocumentEntry
from xds.transactions import client, iti41_provide_and_register_document_set as iti41
from xds.wire import ebrim

SAMPLES = [
    ("metadata-IDCDEPT001-a.xml", "kos-IDCDEPT001-a.dcm"),
    ("metadata-IDCDEPT011-a.xml", "kos-IDCDEPT011-a.dcm"),
    ("metadata-IDCDEPT021-a.xml", "kos-IDCDEPT021-a.dcm"),
    ("metadata-IDCDEPT031-a.xml", "kos-IDCDEPT031-a.dcm"),
    ("testdata-IDCDEPT001/metadata.xml", "testdata-IDCDEPT001/kos.dcm"),
    ("testdata-IDCDEPT002/metadata.xml", "testdata-IDCDEPT002/kos.dcm"),
]


@pytest.mark.parametrize(("metadata", "manifest"), SAMPLES)
def test_manifest_is_accepted_found_and_returned(
    shared: Path, server: RunningServer, metadata: str, manifest: str
) -> None:
    folder = shared / "vectors" / "nist-testkit" / "rad68-samples"
    octets = (folder / manifest).read_bytes()
    submit = etree.parse(folder / metadata).getroot()
    submission, problems = ebrim.read_submission(submit)
    assert submission is not None, problems
    entry = submission.document_entries[0]
    feed(server, str(entry.patient_id))

    assert provide(server, etree.tostring(submit), entry.id, octets).succeeded
    found = find_by_unique_id(server, str(entry.unique_id))
    assert [(item.unique_id, item.patient_id) for item in found] == [(entry.unique_id, entry.patient_id)]
    assert found[0].size == str(len(octets))
    assert retrieve(server, str(found[0].repository_unique_id), str(entry.unique_id)) == octets
