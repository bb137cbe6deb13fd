"""Understanding stored queries. Spec: ITI TF-2 3.18.4.1.2.3 and 3.18.4.1.3."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from xds.model.errors import ErrorCode
from xds.model.metadata import Code
from xds.model.stored_queries import RawQuery, ReturnType, StoredQuery
from xds.model.vocabulary import AvailabilityStatus, StoredQueryId
from xds.rules.queries import understand
from xds.rules.stored_query_table import MULTI_PATIENT_QUERIES, STORED_QUERIES
from xds.wire.xml import parse

PATIENT = ("XDSDocumentEntryPatientId", ("'P1^^^&1.2.3&ISO'",))
APPROVED = ("XDSDocumentEntryStatus", (f"('{AvailabilityStatus.APPROVED}')",))
UUID = "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1"


def raw(query: str, *slots: tuple[str, tuple[str, ...]], return_type: str = "LeafClass") -> RawQuery:
    return RawQuery(query, return_type, slots)


def find_documents(*slots: tuple[str, tuple[str, ...]]) -> RawQuery:
    return raw(StoredQueryId.FIND_DOCUMENTS, PATIENT, APPROVED, *slots)


def understood(query: RawQuery) -> StoredQuery:
    result = understand(query)
    assert isinstance(result, StoredQuery), result
    return result


def refused(query: RawQuery) -> list[tuple[ErrorCode, str]]:
    result = understand(query)
    assert isinstance(result, list)
    return [(error.code, error.context) for error in result]


def codes(query: RawQuery) -> list[ErrorCode]:
    return [code for code, _context in refused(query)]


def test_every_query_of_the_registry_is_in_the_table() -> None:
    assert set(STORED_QUERIES) | set(MULTI_PATIENT_QUERIES) == {item.value for item in StoredQueryId}
    assert not set(STORED_QUERIES) & set(MULTI_PATIENT_QUERIES)
    for definition in (*STORED_QUERIES.values(), *MULTI_PATIENT_QUERIES.values()):
        names = [parameter.name for parameter in definition.parameters]
        assert len(names) == len(set(names))
        assert {name for group in definition.one_of for name in group} <= set(names)


def test_a_query_is_understood() -> None:
    query = understood(find_documents(("XDSDocumentEntryClassCode", ("('a^^1.2','b^^1.3')", "('c^^1.4')"))))
    assert query.definition.name == "FindDocuments"
    assert query.return_type is ReturnType.LEAF_CLASS
    assert query.text("XDSDocumentEntryPatientId") == "P1^^^&1.2.3&ISO"
    assert query.group("XDSDocumentEntryStatus") == (AvailabilityStatus.APPROVED,)
    assert query.group("XDSDocumentEntryClassCode") == (Code("a", "1.2"), Code("b", "1.3"), Code("c", "1.4"))


def test_the_id_is_compared_after_trimming() -> None:
    assert understood(raw(f" {StoredQueryId.FIND_DOCUMENTS}\n", PATIENT, APPROVED)).definition.name == "FindDocuments"


def test_home_travels_along_and_unknown_parameters_are_ignored() -> None:
    query = RawQuery(StoredQueryId.FIND_DOCUMENTS, "ObjectRef", (PATIENT, APPROVED, ("Unknown", ("x",))), "urn:oid:1.2")
    assert understood(query).home == "urn:oid:1.2"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("('Children''s Hospital')", ("Children's Hospital",)),
        ("('a,b','(c)')", ("a,b", "(c)")),
        ("( 'a' ,\n'b' )", ("a", "b")),
        ("('100%','x\\_y')", ("100%", "x\\_y")),
    ],
)
def test_texts_are_quoted_and_quotes_inside_doubled(written: str, read: tuple[str, ...]) -> None:
    assert understood(find_documents(("XDSDocumentEntryAuthorPerson", (written,)))).group("XDSDocumentEntryAuthorPerson") == read


@pytest.mark.parametrize(
    "written", ["('O'Brien')", "('a' 'b')", "('a',)", "()", "(a)", "('a'", "'a'", "a", "", "('a','b'))", "('')"]
)
def test_a_list_that_is_not_written_as_one_is_malformed(written: str) -> None:
    found = refused(find_documents(("XDSDocumentEntryAuthorPerson", (written,))))
    assert [code for code, _ in found] == [ErrorCode.REGISTRY_ERROR]
    assert found[0][1].startswith("$XDSDocumentEntryAuthorPerson: ")


@pytest.mark.parametrize("value", ["P1", "P1^^^&1.2.3&ISO", "'P1'", "'P1^^^NAMESPACE'", "'^^^&1.2.3&ISO'", "'P1^^^&x&ISO'"])
def test_a_patient_id_is_a_quoted_cx(value: str) -> None:
    query = raw(StoredQueryId.FIND_DOCUMENTS, ("XDSDocumentEntryPatientId", (value,)), APPROVED)
    assert codes(query) == [ErrorCode.REGISTRY_ERROR]


@pytest.mark.parametrize("value", ["a", "a^^", "^^1.2", "a^^^1.2", "a^1.2"])
def test_a_code_has_a_scheme(value: str) -> None:
    assert codes(find_documents(("XDSDocumentEntryClassCode", (f"('{value}')",)))) == [ErrorCode.REGISTRY_ERROR]


def test_the_display_name_of_a_code_does_not_matter() -> None:
    """Tolerated: the second component ought to be empty. Spec: ITI TF-2 3.18.4.1.2.3.4."""
    slots = (("XDSDocumentEntryClassCode", ("('c^Consultation^1.2')",)), ("XDSDocumentEntryTypeCode", ("('c^^1.2')",)))
    query = understood(find_documents(*slots))
    assert query.values["XDSDocumentEntryClassCode"] == query.values["XDSDocumentEntryTypeCode"]


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("2004", 20040101000000),
        ("20041225", 20041225000000),
        ("'200412251030'", 20041225103000),
        (" 20041225103059 ", 20041225103059),
    ],
)
def test_times_of_any_precision_become_numbers(written: str, number: int) -> None:
    query = understood(find_documents(("XDSDocumentEntryCreationTimeFrom", (written,))))
    assert query.group("XDSDocumentEntryCreationTimeFrom") == (number,)


@pytest.mark.parametrize("written", ["20041", "20041301", "20040230", "now", "2004-12-25"])
def test_impossible_times_are_malformed(written: str) -> None:
    assert codes(find_documents(("XDSDocumentEntryCreationTimeFrom", (written,)))) == [ErrorCode.REGISTRY_ERROR]


def test_the_same_slot_twice_means_and_for_multi_valued_metadata() -> None:
    query = understood(
        find_documents(("XDSDocumentEntryEventCodeList", ("('a^^1','b^^1')",)), ("XDSDocumentEntryEventCodeList", ("('c^^1')",)))
    )
    assert query.values["XDSDocumentEntryEventCodeList"] == ((Code("a", "1"), Code("b", "1")), (Code("c", "1"),))


def test_the_same_slot_twice_is_an_error_for_the_others() -> None:
    twice = ("XDSDocumentEntryClassCode", ("('a^^1')",))
    assert codes(find_documents(twice, twice)) == [ErrorCode.STORED_QUERY_PARAM_NUMBER]


@pytest.mark.parametrize(
    "slots",
    [
        (("XDSDocumentEntryPatientId", ("('a^^^&1.2&ISO','b^^^&1.2&ISO')",)),),
        (("XDSDocumentEntryPatientId", ("'a^^^&1.2&ISO'", "'b^^^&1.2&ISO'")),),
        (PATIENT, PATIENT),
    ],
)
def test_several_values_where_one_is_allowed(slots: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
    assert codes(raw(StoredQueryId.FIND_DOCUMENTS, APPROVED, *slots)) == [ErrorCode.STORED_QUERY_PARAM_NUMBER]


def test_unknown_statuses_are_ignored_until_none_remains() -> None:
    known = "'urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Approved'"
    query = understood(raw(StoredQueryId.FIND_DOCUMENTS, PATIENT, ("XDSDocumentEntryStatus", (f"({known},'Draft')",))))
    assert query.group("XDSDocumentEntryStatus") == (AvailabilityStatus.APPROVED,)
    nothing_left = raw(StoredQueryId.FIND_DOCUMENTS, PATIENT, ("XDSDocumentEntryStatus", ("('Draft')",)))
    assert codes(nothing_left) == [ErrorCode.STORED_QUERY_MISSING_PARAM]


def test_every_error_is_reported_at_once() -> None:
    query = raw(
        StoredQueryId.FIND_DOCUMENTS,
        ("XDSDocumentEntryClassCode", ("('a')",)),
        ("XDSDocumentEntryCreationTimeTo", ("soon",)),
        return_type="Everything",
    )
    assert refused(query) == [
        (ErrorCode.REGISTRY_ERROR, "returnType must be LeafClass or ObjectRef, received 'Everything'"),
        (ErrorCode.REGISTRY_ERROR, "$XDSDocumentEntryClassCode: a code has the form code^^scheme, received: ('a')"),
        (
            ErrorCode.REGISTRY_ERROR,
            "$XDSDocumentEntryCreationTimeTo: a time has the form YYYY[MM[DD[hh[mm[ss]]]]], received: soon",
        ),
        (ErrorCode.STORED_QUERY_MISSING_PARAM, "FindDocuments requires the parameter $XDSDocumentEntryPatientId"),
        (ErrorCode.STORED_QUERY_MISSING_PARAM, "FindDocuments requires the parameter $XDSDocumentEntryStatus"),
    ]


def test_a_required_slot_without_a_value_is_missing() -> None:
    query = raw(StoredQueryId.FIND_DOCUMENTS, ("XDSDocumentEntryPatientId", ()), APPROVED)
    assert codes(query) == [ErrorCode.STORED_QUERY_MISSING_PARAM]


def test_exactly_one_of_the_alternative_ids() -> None:
    by_uuid = ("XDSDocumentEntryEntryUUID", (f"('{UUID}')",))
    by_unique_id = ("XDSDocumentEntryUniqueId", ("('1.2.3')",))
    assert understood(raw(StoredQueryId.GET_DOCUMENTS, by_uuid)).group("XDSDocumentEntryEntryUUID") == (UUID,)
    assert codes(raw(StoredQueryId.GET_DOCUMENTS)) == [ErrorCode.STORED_QUERY_MISSING_PARAM]
    assert codes(raw(StoredQueryId.GET_DOCUMENTS, by_uuid, by_unique_id)) == [ErrorCode.STORED_QUERY_PARAM_NUMBER]


def test_uuids_are_compared_in_lower_case_and_must_be_uuids() -> None:
    query = raw(StoredQueryId.GET_ASSOCIATIONS, ("uuid", (f"('{UUID.upper().replace('URN:UUID', 'urn:uuid')}')",)))
    assert understood(query).group("uuid") == (UUID,)
    # As the sample of ITI TF-2 3.18.4.1.2.3.5 writes one.
    query = raw(StoredQueryId.GET_ASSOCIATIONS, ("uuid", (f"('{UUID.replace('urn:uuid:', 'urn:uuid: ')}')",)))
    assert understood(query).group("uuid") == (UUID,)
    assert codes(raw(StoredQueryId.GET_ASSOCIATIONS, ("uuid", ("('Document01')",)))) == [ErrorCode.REGISTRY_ERROR]


@pytest.mark.parametrize(
    ("name", "slots", "values", "allowed"),
    [
        ("XDSDocumentEntryAuthorPerson", 1, 100, True),
        ("XDSDocumentEntryAuthorPerson", 1, 101, False),
        ("XDSDocumentEntryClassCode", 1, 500, True),
        ("XDSDocumentEntryClassCode", 1, 501, False),
        ("XDSDocumentEntryEventCodeList", 20, 25, True),
        ("XDSDocumentEntryEventCodeList", 21, 1, False),
    ],
)
def test_what_a_parameter_may_hold_is_limited(name: str, slots: int, values: int, allowed: bool) -> None:
    listed = "(" + ",".join(f"'{number}^^1.2'" for number in range(values)) + ")"
    query = find_documents(*[(name, (listed,))] * slots)
    if allowed:
        assert understood(query).has(name)
    else:
        assert codes(query) == [ErrorCode.REGISTRY_ERROR]


@pytest.mark.parametrize(("pattern", "values", "allowed"), [("", 500, True), ("%", 100, True), ("%", 101, False)])
def test_patterns_of_reference_ids_are_fewer_than_values(pattern: str, values: int, allowed: bool) -> None:
    listed = ",".join([*(f"'{number}^^^^urn:x'" for number in range(values - 1)), f"'A{pattern}'"])
    query = raw(
        StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID,
        ("XDSDocumentEntryPatientId", ("'1^^^&1.2&ISO'",)),
        ("XDSDocumentEntryStatus", (f"('{AvailabilityStatus.APPROVED}')",)),
        ("XDSDocumentEntryReferenceIdList", (f"({listed})",)),
    )
    if allowed:
        assert understood(query)
    else:
        assert codes(query) == [ErrorCode.REGISTRY_ERROR]


def test_an_unknown_query_id() -> None:
    assert codes(raw("urn:uuid:00000000-0000-0000-0000-000000000000")) == [ErrorCode.UNKNOWN_STORED_QUERY]


def test_the_metadata_level_is_a_bare_number() -> None:
    assert understood(find_documents(("MetadataLevel", ("2",)))).group("MetadataLevel") == (2,)
    assert codes(find_documents(("MetadataLevel", ("two",)))) == [ErrorCode.REGISTRY_ERROR]


#: Cases whose verdict depends on what a registry holds, or whose placeholders stand for several values at once.
BEYOND_THE_MESSAGE = re.compile(r"no_matching_classcode|-1236[0-9]-|21003-query_leaf|in_updatetime|15805-Query_\w+_GetSS")


def collected_cases(shared: Path) -> list[tuple[str, bool, set[str], str]]:
    folder = shared / "vectors" / "messages"
    entries = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    return [
        (entry["file"], entry["verdict"] == "accept", set(entry.get("codes", ())), (folder / entry["file"][7:]).read_text())
        for entry in entries
        if entry["tx"] == "ITI-18" and entry["kind"] == "request" and not BEYOND_THE_MESSAGE.search(entry["file"])
    ]


def raw_of(text: str) -> RawQuery:
    text = re.sub(r"\$(patient_id|patientid|pid)\$", "P^^^&amp;1.2.3&amp;ISO", text)
    text = re.sub(r"\$(\w*uu?id\w*|lid\w*|Doc\w+|orig_\w+)\$|(?<=')Document01(?=')", UUID, text, flags=re.I)
    root = parse(text.encode())
    rim = "{urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0}"
    query = next(root.iter(f"{rim}AdhocQuery"))
    option = next(root.iter("{urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0}ResponseOption"))
    slots = tuple(
        (slot.get("name", "").lstrip("$"), tuple(value.text or "" for value in slot.iter(f"{rim}Value")))
        for slot in query.findall(f"{rim}Slot")
    )
    return RawQuery(query.get("id", ""), option.get("returnType", ""), slots, query.get("home"))


def test_collected_queries_get_their_verdict(shared: Path) -> None:
    cases = collected_cases(shared)
    assert len(cases) > 80
    for name, accepted, expected, text in cases:
        result = understand(raw_of(text))
        assert isinstance(result, StoredQuery) is accepted, f"{name}: {result}"
        if isinstance(result, list) and expected:
            assert expected & {error.code.value for error in result}, name
