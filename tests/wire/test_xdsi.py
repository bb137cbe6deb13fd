"""The request of RAD-69. Spec: RAD TF-2 4.69.4.1."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from xds.model.retrieval import DocumentRequest, ImagingDocumentRequest
from xds.wire.xdsi import read_imaging_retrieve_request, write_imaging_retrieve_request
from xds.wire.xml import IHERAD, XDSB, parse, schema_errors

UID = st.from_regex(r"[12]\.[1-9][0-9]{0,8}", fullmatch=True)
REQUEST = st.builds(
    ImagingDocumentRequest, UID, UID, st.builds(DocumentRequest, UID, UID, st.one_of(st.none(), st.just("urn:oid:1.2")))
)
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


@settings(derandomize=True, deadline=None, database=None)
@given(st.lists(REQUEST, min_size=1, max_size=8), st.lists(UID, min_size=1, max_size=3))
def test_any_request_survives_the_wire_and_keeps_the_schema(requests: list[ImagingDocumentRequest], syntaxes: list[str]) -> None:
    element = parse(write_imaging_retrieve_request(requests, syntaxes))
    assert schema_errors(element, "xdsi.xsd") == []
    assert read_imaging_retrieve_request(element) == (tuple(requests), tuple(syntaxes), [])


def test_instances_of_one_series_share_its_element() -> None:
    requests = [ImagingDocumentRequest("1.1", "1.2", DocumentRequest("1.3", f"1.4.{n}")) for n in range(5)]
    element = parse(write_imaging_retrieve_request(requests, [EXPLICIT_LITTLE_ENDIAN]))
    assert len(list(element.iter(f"{{{IHERAD}}}StudyRequest"))) == 1
    assert len(list(element.iter(f"{{{IHERAD}}}SeriesRequest"))) == 1
    assert len(list(element.iter(f"{{{XDSB}}}DocumentRequest"))) == 5


def test_empty_identifiers_are_read_and_named() -> None:
    request = ImagingDocumentRequest("", "", DocumentRequest("", "1.4"))
    element = parse(write_imaging_retrieve_request([request], [""]))
    requests, syntaxes, problems = read_imaging_retrieve_request(element)
    assert requests == (request,)
    assert syntaxes == ("",)
    assert problems == [
        "StudyRequest of instance 1.4: studyInstanceUID: must not be empty; received ''",
        "SeriesRequest of instance 1.4: seriesInstanceUID: must not be empty; received ''",
        "DocumentRequest of instance 1.4: RepositoryUniqueId: must not be empty; received ''",
        "TransferSyntaxUIDList: TransferSyntaxUID: must not be empty; received ''",
    ]


def test_a_request_against_the_schema_asks_for_nothing() -> None:
    requests, syntaxes, problems = read_imaging_retrieve_request(
        parse(f'<iherad:RetrieveImagingDocumentSetRequest xmlns:iherad="{IHERAD}"/>'.encode())
    )
    assert (requests, syntaxes) == ((), ())
    assert problems


def test_collected_requests_are_refused_for_empty_identifiers_alone(shared: Path) -> None:
    folder = shared / "vectors" / "messages"
    entries = [json.loads(line) for line in (folder / "index.jsonl").read_text("utf-8").splitlines()]
    names = [entry["file"].partition("/")[2] for entry in entries if entry.get("tx") == "RAD-69" and entry["kind"] == "request"]
    refused = []
    for name in names:
        element = next(parse((folder / name).read_bytes()).iter(f"{{{IHERAD}}}RetrieveImagingDocumentSetRequest"))
        if read_imaging_retrieve_request(element)[2]:
            refused.append(name)
    assert len(names) > 15
    assert refused
    assert all("Empty_" in name for name in refused)
