"""Stored queries, registry responses and retrieves. Spec: ITI TF-2 3.18.4.1, 3.43.4; ITI TF-3 4.2.4."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.builders import submission
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Severity, Status
from xds.model.fragments import Fragment, ObjectKind
from xds.model.retrieval import DocumentRequest
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import AvailabilityStatus
from xds.wire.ebrim import kind_of, write_object
from xds.wire.ebrs import (
    ReceivedDocument,
    SentDocument,
    read_content,
    read_query,
    read_query_response,
    read_registry_response,
    read_retrieve_request,
    read_retrieve_response,
    write_query,
    write_query_response,
    write_references_response,
    write_registry_response,
    write_retrieve_request,
    write_retrieve_response,
)
from xds.wire.pieces import length_of
from xds.wire.xml import QUERY, RIM, RS, XDSB, XOP, parse, schema_errors

FIXED = settings(derandomize=True, deadline=None, database=None)
SUCCESS = RegistryResponse(Status.SUCCESS)
FIND_DOCUMENTS = "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d"
TEXT = st.text(
    st.one_of(
        st.sampled_from("&<>\"'\n\r\té\U0001f600"),
        st.characters(codec="utf-8", exclude_characters="\ufffe\uffff", exclude_categories=("Cs", "Cc")),
    ),
    max_size=60,
)
TRIMMED = TEXT.map(lambda text: text.strip(" \t\r\n"))


# --- queries -----------------------------------------------------------------------------------------------------------


@FIXED
@given(st.lists(st.tuples(TRIMMED.map(lambda text: text.lstrip("$")), st.lists(TRIMMED, max_size=3).map(tuple)), max_size=5))
def test_any_query_survives_the_wire(slots: list[tuple[str, tuple[str, ...]]]) -> None:
    query = RawQuery(FIND_DOCUMENTS, "LeafClass", tuple(slots), "urn:oid:1.2.3")
    assert read_query(parse(write_query(query))) == (query, [])


def test_slots_of_one_name_stay_apart_and_several_values_stay_in_order() -> None:
    """Repeated slots mean AND, the values of one slot OR. Spec: ITI TF-2 3.18.4.1.2.3.5."""
    text = (
        f'<query:AdhocQueryRequest xmlns:query="{QUERY}" xmlns:rim="{RIM}"><query:ResponseOption returnComposedObjects="true"'
        f' returnType="ObjectRef"/><rim:AdhocQuery id=" {FIND_DOCUMENTS} ">'
        "<rim:Slot name=\"$XDSDocumentEntryEventCodeList\"><rim:ValueList><rim:Value>\n('a^^s')\n</rim:Value>"
        "<rim:Value>('b^^s')</rim:Value></rim:ValueList></rim:Slot>"
        '<rim:Slot name="$XDSDocumentEntryEventCodeList"><rim:ValueList>'
        "<rim:Value>('c^^s')</rim:Value></rim:ValueList></rim:Slot>"
        '<rim:Slot name="MetadataLevel"><rim:ValueList><rim:Value>1</rim:Value></rim:ValueList></rim:Slot>'
        "</rim:AdhocQuery></query:AdhocQueryRequest>"
    )
    query, problems = read_query(parse(text.encode()))
    assert problems == []
    assert query == RawQuery(
        FIND_DOCUMENTS,
        "ObjectRef",
        (
            ("XDSDocumentEntryEventCodeList", ("('a^^s')", "('b^^s')")),
            ("XDSDocumentEntryEventCodeList", ("('c^^s')",)),
            ("MetadataLevel", ("1",)),
        ),
    )


def test_a_query_against_the_schema_is_refused_in_words() -> None:
    query, problems = read_query(parse(f'<query:AdhocQueryRequest xmlns:query="{QUERY}"/>'.encode()))
    assert query is None
    assert problems
    assert read_query(parse(f'<xds:RetrieveDocumentSetRequest xmlns:xds="{XDSB}"/>'.encode()))[0] is None


def test_a_query_written_by_us_keeps_the_schema() -> None:
    query = RawQuery(FIND_DOCUMENTS, "LeafClass", (("XDSDocumentEntryPatientId", ("'P^^^&1.2&ISO'",)),))
    element = parse(write_query(query))
    assert schema_errors(element, "xdsb.xsd") == []
    assert [slot.get("name") for slot in element.iter(f"{{{RIM}}}Slot")] == ["$XDSDocumentEntryPatientId"]


# --- answers to queries ------------------------------------------------------------------------------------------------


def fragments(count: int = 1) -> list[Fragment]:
    return [
        Fragment(kind_of(obj), obj.id, AvailabilityStatus.APPROVED, write_object(obj))
        for obj in submission(count, folders=1).objects()
    ]


def test_an_answer_with_objects_keeps_the_schema_and_is_read_again() -> None:
    sent = fragments(2)
    data = b"".join(write_query_response(SUCCESS, sent))
    element = parse(data)
    assert schema_errors(element, "xdsb.xsd") == []
    response, objects, references = read_query_response(element)
    assert response == SUCCESS
    assert [obj.id for obj in objects] == [item.id for item in sent]
    assert references == []


def test_an_answer_with_references_names_the_home_where_there_is_one() -> None:
    sent = [
        Fragment(ObjectKind.FOLDER, "urn:uuid:1", AvailabilityStatus.APPROVED, b"", "urn:oid:1.2"),
        Fragment(ObjectKind.ASSOCIATION, "urn:uuid:2", AvailabilityStatus.APPROVED, b""),
    ]
    (data,) = write_references_response(SUCCESS, sent)
    element = parse(data)
    assert schema_errors(element, "xdsb.xsd") == []
    assert read_query_response(element) == (SUCCESS, [], ["urn:uuid:1", "urn:uuid:2"])
    assert [item.get("home") for item in element.iter(f"{{{RIM}}}ObjectRef")] == ["urn:oid:1.2", None]


def test_errors_stand_before_the_objects_and_an_empty_list_is_there() -> None:
    response = RegistryResponse(Status.FAILURE, (RegistryError(ErrorCode.STORED_QUERY_MISSING_PARAM, "x"),))
    data = b"".join(write_query_response(response, []))
    element = parse(data)
    assert schema_errors(element, "xdsb.xsd") == []
    assert [etree.QName(child).localname for child in element] == ["RegistryErrorList", "RegistryObjectList"]
    assert read_query_response(element) == (response, [], [])


def test_a_large_answer_comes_in_pieces_of_about_a_mebibyte() -> None:
    big = [
        Fragment(
            ObjectKind.ASSOCIATION, f"urn:uuid:{n}", AvailabilityStatus.APPROVED, b' id="a">%s</rim:Association>' % (b" " * 9999)
        )
        for n in range(500)
    ]
    answer = write_query_response(SUCCESS, iter(big))
    pieces = list(answer)
    assert len([piece for piece in pieces if len(piece) > 1000]) == 5
    assert all(len(piece) < 1.2 * 2**20 for piece in pieces)
    assert len(parse(b"".join(pieces))[0]) == 500
    assert length_of(answer) == sum(map(len, pieces))
    assert list(answer) == pieces


# --- registry responses ------------------------------------------------------------------------------------------------


ERRORS = st.lists(
    st.builds(RegistryError, st.sampled_from(ErrorCode), TEXT, st.sampled_from(Severity), st.one_of(st.none(), TEXT)), max_size=4
)


@FIXED
@given(st.sampled_from(Status), ERRORS)
def test_any_response_survives_the_wire_and_keeps_the_schema(status: Status, errors: list[RegistryError]) -> None:
    response = RegistryResponse(status, tuple(errors))
    element = parse(write_registry_response(response))
    assert schema_errors(element, "xdsb.xsd") == []
    assert read_registry_response(element) == response


def test_the_highest_severity_is_that_of_the_worst_error() -> None:
    warning = RegistryError(ErrorCode.EXTRA_METADATA_NOT_SAVED, "w", Severity.WARNING)
    error = RegistryError(ErrorCode.REGISTRY_ERROR, "e")
    for errors, expected in (((warning,), Severity.WARNING), ((warning, error), Severity.ERROR)):
        element = parse(write_registry_response(RegistryResponse(Status.SUCCESS, errors)))
        assert element[0].get("highestSeverity") == expected


def response_of(status: str, code: str = "XDSRegistryError", severity: str = Severity.ERROR) -> RegistryResponse:
    return read_registry_response(
        parse(
            f'<rs:RegistryResponse xmlns:rs="{RS}" status="{status}"><rs:RegistryErrorList><rs:RegistryError errorCode="{code}"'
            f' codeContext="text" severity="{severity}"/></rs:RegistryErrorList></rs:RegistryResponse>'.encode()
        )
    )


def test_status_and_severity_of_another_namespace_are_understood() -> None:
    response = response_of("urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:PartialSuccess", severity="Warning")
    assert response.status is Status.PARTIAL_SUCCESS
    assert response.errors[0].severity is Severity.WARNING


def test_a_code_of_another_product_is_kept_in_the_context() -> None:
    assert response_of(Status.FAILURE, "XDSFoo").errors == (RegistryError(ErrorCode.REGISTRY_ERROR, "XDSFoo: text"),)


def test_a_status_that_nobody_knows_is_a_failure_that_says_so() -> None:
    response = response_of("urn:x:Perhaps")
    assert response.status is Status.FAILURE
    assert response.errors[-1].context == (
        "RegistryResponse: status: must be Success, PartialSuccess or Failure; received 'urn:x:Perhaps'"
    )


# --- retrieves ---------------------------------------------------------------------------------------------------------

REQUESTS = (DocumentRequest("1.2", "3.4^5", "urn:oid:1"), DocumentRequest("1.2", "urn:x:&<"))


def test_a_retrieve_request_is_read_as_it_was_written() -> None:
    element = parse(write_retrieve_request(REQUESTS))
    assert schema_errors(element, "xdsb.xsd") == []
    assert read_retrieve_request(element) == (REQUESTS, [])


def test_a_retrieve_request_without_documents_is_refused() -> None:
    requests, problems = read_retrieve_request(parse(f'<xds:RetrieveDocumentSetRequest xmlns:xds="{XDSB}"/>'.encode()))
    assert requests == ()
    assert problems


def test_a_retrieve_answer_is_read_as_it_was_written() -> None:
    response = RegistryResponse(
        Status.PARTIAL_SUCCESS, (RegistryError(ErrorCode.DOCUMENT_UNIQUE_ID_ERROR, "not here", location="9.9"),)
    )
    documents = [
        SentDocument(REQUESTS[0], "application/dicom", "doc 1/ü@x"),
        SentDocument(REQUESTS[1], "text/plain", None, "1.2.3", "4.5.6"),
    ]
    element = parse(write_retrieve_response(response, documents))
    assert read_retrieve_response(element) == (
        response,
        (
            ReceivedDocument(REQUESTS[0], "application/dicom", "doc 1/ü@x"),
            ReceivedDocument(REQUESTS[1], "text/plain", None, b"", "1.2.3", "4.5.6"),
        ),
    )
    assert [etree.QName(child).localname for child in element[1]] == [
        "HomeCommunityId",
        "RepositoryUniqueId",
        "DocumentUniqueId",
        "mimeType",
        "Document",
    ]
    assert [child.get("href") for child in element.iter(f"{{{XOP}}}Include")] == ["cid:doc%201%2F%C3%BC@x"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("SGVs\n bG8=", (None, b"Hello")),
        ("", (None, b"")),
        ("???", (None, None)),
        (f'<x:Include xmlns:x="{XOP}" href="cid:a%40b"/>', ("a@b", None)),
        (f'<x:Include xmlns:x="{XOP}" href="http://example/a"/>', (None, None)),
    ],
)
def test_octets_are_a_part_or_base64(content: str, expected: tuple[str | None, bytes | None]) -> None:
    assert read_content(parse(f'<xds:Document xmlns:xds="{XDSB}">{content}</xds:Document>'.encode())) == expected


# --- collected samples -------------------------------------------------------------------------------------------------


def requests_of(shared: Path, transaction: str, element: str) -> list[tuple[str, str, etree._Element]]:
    """(file, verdict, message) of every sample request; placeholders get a value without meaning."""
    folder = shared / "vectors" / "messages"
    found = []
    for line in (folder / "index.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        if entry.get("tx") != transaction or entry.get("kind") != "request":
            continue
        path = folder / entry["file"].partition("/")[2]
        root = parse(re.sub(rb"\$([A-Za-z0-9_]+)\$", rb"x\1", path.read_bytes()))
        found += [(path.name, entry["verdict"], item) for item in root.iter(f"{{*}}{element}")]
    return found


def test_every_collected_query_that_a_registry_accepts_can_be_read(shared: Path) -> None:
    samples = requests_of(shared, "ITI-18", "AdhocQueryRequest")
    assert len(samples) > 50
    assert [name for name, verdict, element in samples if verdict == "accept" and read_query(element)[1]] == []


def test_every_collected_retrieve_is_read_or_refused_for_its_form(shared: Path) -> None:
    samples = requests_of(shared, "ITI-43", "RetrieveDocumentSetRequest")
    refused = {name for name, _, element in samples if read_retrieve_request(element)[1]}
    assert len(samples) > 10
    assert refused == {"derived-retrieve-empty.xml", "derived-retrieve-no-repo.xml"}
