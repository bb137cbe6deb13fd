"""ITI-47: demographics queries in HL7 v3, their continuation and cancellation.

Spec: ITI TF-2 3.47, Appendix O.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from lxml import etree

from tests.hl7v3 import HL7, HOSPITAL_A, HOSPITAL_B, Answer, ask, ii, message, official_errors, parameter, query
from tests.identity import AFFINITY, Region, at
from tests.identity import HOSPITAL_A as AUTHORITY_A
from tests.identity import HOSPITAL_B as AUTHORITY_B
from xds.model.audit import EventAction
from xds.model.demographics_query import Comparison, DateRange
from xds.model.patient import Address, Demographics, PersonName
from xds.transactions import iti47_query_cancellation, iti47_query_continuation
from xds.wire.hl7v3_intervals import read_range
from xds.wire.hl7v3_pdq import read_demographics_query
from xds.wire.xml import parse

PDQ, CONTINUE, CANCEL = "PRPA_IN201305UV02", "QUQI_IN000003UV01", "QUQI_IN000003UV01_Cancel"
PARAMETERS = f"/{PDQ}/controlActProcess/queryByParameter/parameterList"
UUID = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
HEAD = '<responseModalityCode code="R"/><responsePriorityCode code="I"/>'

PERSONS = {
    "A-1": Demographics(
        (PersonName("Lefèvre", "Marie-Hélène", use="L"),),
        "19620314",
        "F",
        (Address("4 rue des Lilas", city="Orléans", postal_code="45000"),),
        ("02 38 00 00 01",),
        mother_maiden_name="Dubois",
        mother_given_name="Rose",
    ),
    "A-2": Demographics((PersonName("Lefèvre", "Paul"),), "19590101", "M"),
    "A-3": Demographics((PersonName("Martin", "Zoé", "Anne"),), "19621201", "F"),
    "A-4": Demographics((PersonName("Lefebvre", "Luc"),), "1970", "M"),
}


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    region = Region(tmp_path)
    for value, person in PERSONS.items():
        region.feed(at(AUTHORITY_A, value), demographics=person)
    region.feed(at(AUTHORITY_B, "B-1"), at(AUTHORITY_A, "A-1"), demographics=PERSONS["A-1"], source="HOSP_B|ADT")
    yield region
    region.close()


def name(*parts: str, use: str = "") -> str:
    """A livingSubjectName of parts like `family:Weber`."""
    written = "".join(f"<{part}>{value}</{part}>" for part, value in (item.split(":") for item in parts))
    return parameter("livingSubjectName", f"<value{f' use={use!r}' if use else ''}>{written}</value>")


def birth(xml: str) -> str:
    return parameter("livingSubjectBirthTime", xml)


def search(region: Region, *parameters: str, rest: str = "", query_id: str = "", **parts: str) -> Answer:
    """Ask with parameters in the order of the schema."""
    return ask(region, message(PDQ, query("".join(parameters), head=HEAD, rest=rest, query_id=query_id), **parts))


def found(answer: Answer) -> list[str]:
    """The hospital's identifiers of the patients in an answer."""
    return sorted(value for root, value in answer.ids if root == HOSPITAL_A)


def canonical(answer: Answer, tag: str) -> bytes:
    """An element of an answer in canonical form; empty when there is none."""
    element = answer.root.find(f".//{{{HL7}}}{tag}")
    return b"" if element is None else etree.tostring(element, method="c14n", exclusive=True, with_tail=False)


class TestSearch:
    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ([name("family:lefevre")], ["A-1", "A-2"]),
            ([name("family:LEFÈVRE", "given:paul")], ["A-2"]),
            ([name("given:Zoé", "given:Anne", "family:Martin")], ["A-3"]),
            ([name("given:Zoé", "given:Luc", "family:Martin")], []),
            ([name("family:Lef*")], ["A-1", "A-2", "A-4"]),
            ([name("family:Martin"), name("family:Lefebvre", "given:Luc")], ["A-3", "A-4"]),
            ([name("family:Martin", "given:Luc"), name("family:Lefebvre", "given:Luc")], ["A-4"]),
            ([birth('<value value="19620314"/>')], ["A-1"]),
            ([birth('<value value="196203"/>'), name("family:Lefevre")], ["A-1"]),
            ([birth('<value><low value="1960"/><high value="1962"/></value>'), name("family:Lef*")], ["A-1"]),
            ([birth('<value><center value="19620320"/><width value="14" unit="d"/></value>')], ["A-1"]),
            ([parameter("livingSubjectAdministrativeGender", '<value code="M"/>'), name("family:Lefevre")], ["A-2"]),
            ([parameter("livingSubjectId", ii("A-3", tag="value"))], ["A-3"]),
            ([parameter("livingSubjectId", ii("A-1", tag="value")), parameter("livingSubjectId", ii("B-1", HOSPITAL_B, "value"))],
             ["A-1"]),
            ([parameter("livingSubjectId", ii("A-3", tag="value")), parameter("livingSubjectId", ii("B-1", HOSPITAL_B, "value"))],
             []),
            ([parameter("livingSubjectId", ii("A-404", tag="value"))], []),
            ([name("family:Lefevre"), parameter("mothersMaidenName", "<value><family>dubois</family></value>")], ["A-1"]),
            ([parameter("mothersMaidenName", "<value><family>Dubois</family><given>rose</given></value>")], ["A-1"]),
            ([parameter("mothersMaidenName", "<value><family>Dubois</family><given>Eve</given></value>")], []),
            ([parameter("mothersMaidenName", "<value use='SRCH'><family>Duboys</family><given>Ro</given></value>")], ["A-1"]),
            ([name("family:Lefevre"), parameter("mothersMaidenName", "<value><given>Rose</given></value>")], ["A-1"]),
            ([parameter("patientTelecom", '<value value="tel:02%2038%2000%2000%2001"/>')], ["A-1"]),
            ([name("family:Lefevre"), parameter("patientAddress", "<value><city>orleans</city></value>")], ["A-1"]),
            ([name("family:Lefevre"),
              parameter("patientAddress", "<value><city>Paris</city></value>", "<value><postalCode>45000</postalCode></value>")],
             ["A-1"]),
        ],
    )  # fmt: skip
    def test_criteria(self, region: Region, shared: Path, parameters: Sequence[str], expected: list[str]) -> None:
        answer = search(region, *parameters)
        assert (answer.name, answer.kind, answer.status) == ("PRPA_IN201306UV02", "AA", "OK" if expected else "NF")
        assert found(answer) == expected
        assert answer.quantities == [len(expected), len(expected), 0]
        assert official_errors(shared, answer.root) == []

    def test_a_name_to_be_searched_for_is_found_in_other_spellings(self, region: Region) -> None:
        # Lefebvre sounds like Lefaivre, too.
        assert found(search(region, name("family:Lefaivre", use="SRCH"))) == ["A-1", "A-2", "A-4"]
        assert "A-3" in found(search(region, name("family:Mar", "given:Zo", use="SRCH")))
        assert "A-2" not in found(search(region, name("family:Lefebvre")))

    def test_what_is_told_of_a_patient(self, region: Region) -> None:
        answer = search(region, name("family:Lefevre", "given:Marie-Hélène"))
        (patient,) = answer.patients
        person = patient.find(f"{{{HL7}}}patientPerson")
        assert person.findtext(f"{{{HL7}}}name/{{{HL7}}}family") == "Lefèvre"
        assert person.find(f"{{{HL7}}}birthTime").get("value") == "19620314"
        assert person.find(f"{{{HL7}}}administrativeGenderCode").get("code") == "F"
        assert person.findtext(f"{{{HL7}}}addr/{{{HL7}}}city") == "Orléans"
        assert person.find(f"{{{HL7}}}telecom").get("value") == "tel:02%2038%2000%2000%2001"
        assert person.findtext(f"{{{HL7}}}personalRelationship//{{{HL7}}}family") == "Dubois"
        (score,) = patient.iterfind(f"{{{HL7}}}subjectOf1/{{{HL7}}}queryMatchObservation/{{{HL7}}}value")
        assert score.get("value") == "100"

    def test_an_identifier_stands_in_one_place_only(self, region: Region) -> None:
        ids = search(region, parameter("livingSubjectId", ii("A-1", tag="value"))).ids
        assert len(ids) == len(set(ids)) == 3
        assert {root for root, _ in ids} == {HOSPITAL_A, HOSPITAL_B, AFFINITY.oid}

    def test_domains_that_are_asked_for(self, region: Region, shared: Path) -> None:
        wanted = [parameter("otherIDsScopingOrganization", f'<value root="{domain}"/>') for domain in (HOSPITAL_A, HOSPITAL_B)]
        answer = search(region, name("family:Lefevre"), *wanted)
        assert sorted(answer.ids) == [(HOSPITAL_A, "A-1"), (HOSPITAL_A, "A-2"), (HOSPITAL_B, "B-1")]
        without = [item for item in answer.patients if item.find(f"{{{HL7}}}id").get("extension") == "A-2"]
        (role,) = without[0].iter(f"{{{HL7}}}asOtherIDs")
        assert role.find(f"{{{HL7}}}id").get("nullFlavor")
        assert role.find(f"{{{HL7}}}scopingOrganization/{{{HL7}}}id").get("root") == HOSPITAL_B
        assert official_errors(shared, answer.root) == []

    def test_nothing_in_the_domain_that_is_asked_for(self, region: Region, shared: Path) -> None:
        answer = search(region, name("family:Martin"), parameter("otherIDsScopingOrganization", f'<value root="{HOSPITAL_B}"/>'))
        assert (len(answer.patients), answer.ids) == (1, [])
        assert official_errors(shared, answer.root) == []

    def test_all_unknown_domains_are_told(self, region: Region, shared: Path) -> None:
        wanted = "".join(
            parameter("otherIDsScopingOrganization", f'<value root="{domain}"/>') for domain in ("1.9.8", HOSPITAL_A, "1.9.9")
        )
        answer = search(region, name("family:Lefevre"), wanted)
        assert (answer.kind, answer.status, answer.patients) == ("AE", "AE", [])
        assert answer.details == [("204", f"{PARAMETERS}/otherIDsScopingOrganization[{number}]/value") for number in (1, 3)]
        assert official_errors(shared, answer.root) == []

    def test_the_register_cannot_be_read_out(self, region: Region, shared: Path) -> None:
        for parameters in ("", parameter("livingSubjectAdministrativeGender", '<value code="F"/>'), name("family:*")):
            answer = search(region, parameters)
            assert (answer.kind, answer.patients) == ("AE", [])
            assert {place for _, place in answer.details} == {PARAMETERS}
            assert official_errors(shared, answer.root) == []

    def test_parameters_that_are_not_compared_are_told(self, region: Region, shared: Path) -> None:
        other = parameter("principalCareProviderId", ii("1", tag="value"))
        answer = search(region, name("family:Martin"), other)
        assert (answer.kind, answer.status, found(answer)) == ("AA", "OK", ["A-3"])
        assert answer.details == [("SYN113", f"{PARAMETERS}/principalCareProviderId")]
        assert official_errors(shared, answer.root) == []

    @pytest.mark.parametrize(
        ("parameters", "code", "place"),
        [
            (birth('<value value="19621399"/>'), "SYN102", "livingSubjectBirthTime/value"),
            (birth('<value><low value="1970"/><high value="1960"/></value>'), "SYN102", "livingSubjectBirthTime/value"),
            (birth(""), "SYN101", "livingSubjectBirthTime/value"),
            (birth("<value/>"), "SYN102", "livingSubjectBirthTime/value"),
            (birth('<value value="1960"/>') * 2, "SYN110", "livingSubjectBirthTime[2]"),
            (parameter("livingSubjectAdministrativeGender", '<value code="X"/>'), "SYN103",
             "livingSubjectAdministrativeGender/value"),
            (parameter("livingSubjectId", ii("1", UUID, "value")), "SYN102", "livingSubjectId/value"),
            (parameter("otherIDsScopingOrganization", ii("1", tag="value")), "SYN102", "otherIDsScopingOrganization[1]/value"),
            (parameter("otherIDsScopingOrganization", "<value nullFlavor='NI'/>"), "SYN101",
             "otherIDsScopingOrganization[1]/value"),
        ],
    )  # fmt: skip
    def test_content_that_cannot_be_understood(
        self, region: Region, shared: Path, parameters: str, code: str, place: str
    ) -> None:
        answer = search(region, parameters)
        assert (answer.kind, answer.status) == ("AE", "QE")
        assert answer.details == [(code, f"{PARAMETERS}/{place}")]
        assert official_errors(shared, answer.root) == []

    def test_names_without_end(self, region: Region) -> None:
        many = "".join(name(*(f"given:g{number}" for number in range(9)), f"family:f{each}") for each in range(4))
        answer = search(region, many)
        assert (answer.kind, answer.details) == ("AE", [("SYN112", f"{PARAMETERS}/livingSubjectName")])

    def test_a_least_degree_of_match(self, region: Region) -> None:
        least = '<matchCriterionList><minimumDegreeMatch><value {} value="{}"/><semanticsText>x</semanticsText>'
        least += "</minimumDegreeMatch></matchCriterionList>"
        typed = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="INT"'
        assert found(search(region, name("family:Lefaivre", use="SRCH"), rest=least.format(typed, 10))) == ["A-1", "A-2", "A-4"]
        assert found(search(region, name("family:Lefaivre", use="SRCH"), rest=least.format(typed, 100))) == []
        answer = search(region, name("family:Lefaivre"), rest=least.format(typed, 101))
        assert [code for code, _ in answer.details] == ["SYN102"]

    def test_audit(self, region: Region) -> None:
        search(region, name("family:Martin"))
        event = region.audited()[-1]
        assert (event.event_id.code, event.event_type.code, event.action) == ("110112", "ITI-47", EventAction.EXECUTE)
        assert any("queryByParameter" in (item.query or "") for item in event.objects)


class TestPages:
    @pytest.fixture
    def many(self, tmp_path: Path) -> Iterator[Region]:
        region = Region(tmp_path, supplier={"page_size": 50, "max_results": 100})
        for number in range(7):
            person = Demographics(
                (PersonName("Page", f"Given{chr(97 + number) * 8}"),), f"19{30 + 9 * number}0{1 + number}11", "F"
            )
            region.feed(at(AUTHORITY_A, f"P-{number}"), demographics=person)
        yield region
        region.close()

    def first(self, region: Region, limit: object = 3, query_id: str = "") -> tuple[Answer, str]:
        query_id = query_id or str(uuid.uuid4())
        rest = f'<initialQuantity value="{limit}"/><initialQuantityCode code="RD"/>'
        return search(region, name("family:Page"), rest=rest, query_id=query_id), query_id

    def more(
        self,
        region: Region,
        query_id: str,
        target: str,
        extra: str = "",
        status: str = "waitContinuedQueryResponse",
        **parts: str,
    ) -> Answer:
        continuation = f'<queryContinuation><queryId root="{query_id}"/>{extra}<statusCode code="{status}"/></queryContinuation>'
        known = f'<acknowledgement><typeCode code="AA"/><targetMessage><id root="{target}"/></targetMessage></acknowledgement>'
        return ask(region, message(CONTINUE, continuation, **({"acknowledgement": known} | parts)))

    def cancel(self, region: Region, query_id: str, target: str, interaction: str = CANCEL) -> Answer:
        continuation = (
            f'<queryContinuation><queryId root="{query_id}"/><continuationQuantity value="0"/><statusCode code="aborted"/>'
            "</queryContinuation>"
        )
        known = f'<acknowledgement><typeCode code="AA"/><targetMessage><id root="{target}"/></targetMessage></acknowledgement>'
        data = message(interaction, continuation, acknowledgement=known)
        return ask(region, data, module=iti47_query_cancellation)

    def test_page_after_page(self, many: Region, shared: Path) -> None:
        answer, query_id = self.first(many)
        pages = [answer]
        while answer.quantities[2]:
            assert answer.codes("controlActProcess", "queryAck", "statusCode") == ["waitContinuedQueryResponse"]
            answer = self.more(many, query_id, answer.message_id)
            pages.append(answer)
        assert [item.quantities for item in pages] == [[7, 3, 4], [7, 3, 1], [7, 1, 0]]
        assert answer.codes("controlActProcess", "queryAck", "statusCode") == ["deliveredResponse"]
        assert sorted(value for item in pages for value in found(item)) == [f"P-{number}" for number in range(7)]
        for item in pages:
            assert item.root.find(f".//{{{HL7}}}queryAck/{{{HL7}}}queryId").get("root") == query_id
            # Every page repeats the query, as far as a continuation is answered by the same interaction.
            assert canonical(item, "queryByParameter") == canonical(pages[0], "queryByParameter") != b""
            assert official_errors(shared, item.root) == []

    def test_from_a_number_on_and_how_many(self, many: Region) -> None:
        first, query_id = self.first(many, 7 - 1)
        whole = [*first.ids, *self.more(many, query_id, first.message_id).ids]
        again = self.more(many, query_id, str(uuid.uuid4()), '<startResultNumber value="2"/><continuationQuantity value="4"/>')
        assert again.quantities == [7, 4, 2]
        assert again.ids == whole[2:10]
        following = self.more(many, query_id, again.message_id, '<continuationQuantity value="1"/>')
        assert (following.quantities, following.ids) == ([7, 1, 1], whole[10:12])

    @pytest.mark.parametrize("limit", [7, 8, 100_000, "9" * 30])
    def test_room_for_all(self, many: Region, limit: object) -> None:
        answer, _ = self.first(many, limit)
        assert (answer.kind, answer.quantities) == ("AA", [7, 7, 0])

    @pytest.mark.parametrize("limit", [0, -1, "-" + "9" * 30])
    def test_no_room(self, many: Region, shared: Path, limit: object) -> None:
        answer, _ = self.first(many, limit)
        place = PARAMETERS.replace("parameterList", "initialQuantity")
        assert (answer.kind, answer.status, answer.details) == ("AE", "QE", [("SYN102", place)])
        assert official_errors(shared, answer.root) == []

    def test_other_units(self, many: Region) -> None:
        rest = '<initialQuantity value="1"/><initialQuantityCode code="CH"/>'
        answer = search(many, name("family:Page"), rest=rest)
        assert answer.details == [("SYN103", PARAMETERS.replace("parameterList", "initialQuantityCode"))]

    def test_a_query_that_nobody_asked(self, many: Region, shared: Path) -> None:
        first, _ = self.first(many)
        answer = self.more(many, str(uuid.uuid4()), first.message_id)
        place = f"/{CONTINUE}/controlActProcess/queryContinuation/queryId"
        assert (answer.kind, answer.status, answer.details) == ("AE", "AE", [("204", place)])
        assert official_errors(shared, answer.root) == []

    def test_a_query_that_somebody_else_asked(self, many: Region) -> None:
        first, query_id = self.first(many)
        answer = self.more(many, query_id, first.message_id, device="2.999.66")
        assert [code for code, _ in answer.details] == ["204"]

    def test_a_place_beyond_the_end(self, many: Region) -> None:
        first, query_id = self.first(many)
        answer = self.more(many, query_id, first.message_id, '<startResultNumber value="9"/>')
        assert (answer.kind, answer.ids) == ("AE", [])
        answer = self.more(many, query_id, first.message_id, '<startResultNumber value="8"/>')
        assert (answer.kind, answer.status, answer.quantities) == ("AA", "NF", [7, 0, 0])

    @pytest.mark.parametrize(
        ("continuation", "expected"),
        [
            ("<languageCode code='de'/>", [("SYN100", "")]),
            ("<queryContinuation><statusCode code='waitContinuedQueryResponse'/></queryContinuation>",
             [("SYN101", "/queryId"), ("SYN101", "")]),
            ("<queryContinuation><queryId root='1.2'/><startResultNumber value='0'/><continuationQuantity value='0'/>"
             "<statusCode code='nonsense'/></queryContinuation>",
             [("SYN103", "/statusCode"), ("SYN102", "/startResultNumber"), ("SYN102", "/continuationQuantity"), ("SYN101", "")]),
        ],
    )  # fmt: skip
    def test_a_continuation_that_cannot_be_understood(
        self, many: Region, shared: Path, continuation: str, expected: list[tuple[str, str]]
    ) -> None:
        answer = ask(many, message(CONTINUE, continuation))
        place = f"/{CONTINUE}/controlActProcess/queryContinuation"
        target = f"/{CONTINUE}/acknowledgement/targetMessage/id"
        assert (answer.name, answer.kind, answer.status) == ("PRPA_IN201306UV02", "AE", "QE")
        places = [place + end if end or code == "SYN100" else target for code, end in expected]
        assert answer.details == [(code, where) for (code, _), where in zip(expected, places, strict=True)]
        assert official_errors(shared, answer.root) == []

    @pytest.mark.parametrize("interaction", [CANCEL, CONTINUE])
    def test_cancelled_twice(self, many: Region, shared: Path, interaction: str) -> None:
        first, query_id = self.first(many)
        for _ in range(2):
            answer = self.cancel(many, query_id, first.message_id, interaction)
            assert (answer.name, answer.kind, answer.details) == ("MCCI_IN000002UV01", "CA", [])
            assert official_errors(shared, answer.root) == []
        assert [code for code, _ in self.more(many, query_id, first.message_id).details] == ["204"]

    def test_cancelled_by_a_continuation(self, many: Region, shared: Path) -> None:
        first, query_id = self.first(many)
        answer = self.more(many, query_id, first.message_id, '<continuationQuantity value="0"/>', status="aborted")
        assert (answer.kind, answer.ids) == ("AA", [])
        assert official_errors(shared, answer.root) == []
        assert [code for code, _ in self.more(many, query_id, first.message_id).details] == ["204"]

    def test_a_cancellation_that_breaks_its_schema(self, many: Region) -> None:
        answer = ask(many, message(CANCEL, "<nonsense/>"))
        assert (answer.name, answer.kind, {code for code, _ in answer.details}) == ("MCCI_IN000002UV01", "CE", {"SYN113"})

    def test_more_than_is_ever_answered(self, tmp_path: Path, shared: Path) -> None:
        region = Region(tmp_path, supplier={"page_size": 2, "max_results": 3})
        for number in range(5):
            person = Demographics(
                (PersonName("Page", f"Given{chr(97 + number) * 8}"),), f"19{30 + 9 * number}0{1 + number}11", "F"
            )
            region.feed(at(AUTHORITY_A, f"P-{number}"), demographics=person)
        answer, query_id = self.first(region, 2)
        assert (answer.kind, answer.quantities) == ("AA", [None, 2, None])
        assert [code for code, _ in answer.details] == ["SYN113"]
        assert official_errors(shared, answer.root) == []
        assert len(self.more(region, query_id, answer.message_id).ids) == 2
        region.close()


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("value='1962'", DateRange("19620101", "19621231")),
        ("value='196202'", DateRange("19620201", "19620228")),
        ("value='19620300'", DateRange("19620301", "19620331")),
        ("value='19620314153000+0100'", DateRange("19620314", "19620314")),
        ("><low value='1960'/><high value='1961'/", DateRange("19600101", "19611231")),
        ("><low value='1960'/", DateRange("19600101", None)),
        ("><high value='196012'/", DateRange(None, "19601231")),
        (
            "><low value='19600101' inclusive='false'/><high value='19600110' inclusive='false'/",
            DateRange("19600102", "19600109"),
        ),
        ("><low value='1960' inclusive='false'/", DateRange("19610101", None)),
        ("><low value='19600101'/><width value='9' unit='d'/", DateRange("19600101", "19600110")),
        ("><width value='1' unit='wk'/><high value='19600110'/", DateRange("19600103", "19600110")),
        ("><center value='19600115'/><width value='10' unit='d'/", DateRange("19600110", "19600120")),
        ("><center value='1960'/", DateRange("19600101", "19601231")),
        ("", None),
        ("nullFlavor='UNK'", None),
        ("value='19601399'", None),
        ("><low value='1961'/><high value='1960'/", None),
        ("><low value='196'/><high value='1960'/", None),
        ("><low value='1960'/><width value='9' unit='parsec'/", None),
        ("><low value='1960'/><width value='1e300' unit='a'/", None),
        ("><center value='0001'/><width value='200' unit='a'/", None),
        ("><width value='9' unit='d'/", None),
    ],
)
def test_intervals(xml: str, expected: DateRange | None) -> None:
    opening, _, inner = xml.partition(">")
    text = f'<value xmlns="{HL7}" {opening}>{inner.removesuffix("/")}{"/>" if inner else ""}</value>'
    assert read_range(etree.fromstring(text)) == expected


def test_alternatives_are_kept_apart_from_conditions() -> None:
    """One of two names, of which the first has two given names: each part of the first, or the second."""
    data = message(PDQ, query(name("family:A", "given:B", "given:C") + name("family:D", use="SRCH"), head=HEAD))
    (one, other) = read_demographics_query(parse(data)).query.names
    assert [(item.family and item.family.value, item.given and item.given.value) for item in one] == [
        ("A", "B"),
        ("D", None),
        ("D", None),
    ]
    assert [item.family.comparison for item in one if item.family] == [Comparison.EXACT, Comparison.FUZZY, Comparison.PREFIX]
    assert [(item.family and item.family.value, item.given and item.given.value) for item in other] == [
        (None, "C"),
        ("D", None),
        ("D", None),
    ]


def test_the_continuation_is_a_safe_transaction() -> None:
    """Asked again, it answers the same."""
    assert iti47_query_continuation.TRANSACTION.safe
