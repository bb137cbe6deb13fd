"""Sentences of the framework and of HL7 v3 that partners of other makers rely on, each with what must come of a message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from tests.hl7v3 import HL7, HOSPITAL_A, HOSPITAL_B, NAME, Answer, ask, feed, ii, message, official_errors, parameter, pix, query
from tests.identity import CONFIGURED, Region

ADD, REVISE, PDQ = "PRPA_IN201301UV02", "PRPA_IN201302UV02", "PRPA_IN201305UV02"
PERSON = f"/{ADD}/controlActProcess/subject/registrationEvent/subject1/patient/patientPerson"
EVERYTHING = (
    f'{NAME}<telecom value="tel:0102030405" use="HP"/><telecom value="mailto:m@example.org"/><administrativeGenderCode code="F"/>'
    '<birthTime value="19620314"/><deceasedInd value="true"/><deceasedTime value="2020"/><multipleBirthInd value="true"/>'
    '<multipleBirthOrderNumber value="2"/><addr><city>Brest</city></addr><maritalStatusCode code="M"/>'
    '<religiousAffiliationCode code="1013"/><personalRelationship classCode="PRS"><code code="MTH"/><relationshipHolder1>'
    "<name><family>Le Goff</family></name></relationshipHolder1></personalRelationship><birthPlace><birthplace><name>Brest</name>"
    "</birthplace></birthPlace><languageCommunication><languageCode code='fr'/></languageCommunication>"
)
NULLS = (
    '<name nullFlavor="NA"/><telecom nullFlavor="NI"/><administrativeGenderCode nullFlavor="NI"/><birthTime nullFlavor="UNK"/>'
    '<deceasedInd nullFlavor="NI"/><deceasedTime nullFlavor="NI"/><multipleBirthInd nullFlavor="NI"/>'
    '<multipleBirthOrderNumber nullFlavor="NI"/><addr nullFlavor="NI"/><maritalStatusCode nullFlavor="NI"/>'
    '<religiousAffiliationCode nullFlavor="NI"/><personalRelationship classCode="PRS"><code code="MTH"/><relationshipHolder1>'
    '<name nullFlavor="UNK"/></relationshipHolder1></personalRelationship><birthPlace nullFlavor="NI"/>'
    '<languageCommunication><languageCode nullFlavor="NI"/></languageCommunication>'
)


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    region = Region(tmp_path, domains=tuple(replace(item, sources=()) for item in CONFIGURED), unknown_domains="refuse")
    yield region
    region.close()


def told(region: Region, value: str = "A-1") -> list[str]:
    """The elements that a demographics query answers of a person."""
    answer = find(region, parameter("livingSubjectId", ii(value, tag="value")))
    (person,) = answer.root.iter(f"{{{HL7}}}patientPerson")
    return [name for item in person if (name := etree.QName(item).localname) != "asOtherIDs"]


def find(region: Region, parameters: str) -> Answer:
    head = '<responseModalityCode code="R"/><responsePriorityCode code="I"/>'
    return ask(region, message(PDQ, query(parameters, head=head)))


def by_name(region: Region, name: str) -> list[str]:
    """The identifiers of those whom a name finds."""
    answer = find(region, parameter("livingSubjectName", f"<value>{name}</value>"))
    return [value for root, value in answer.ids if root == HOSPITAL_A]


class TestNullTraits:
    """HL7 V3 data types: a nullFlavor says that there is no value. ITI TF-2 3.44.4.1.1: a revision tells what was revised."""

    def test_a_revision_takes_away_what_it_has_as_null(self, region: Region) -> None:
        assert feed(region, ii("A-1"), EVERYTHING).kind == "CA"
        assert len(told(region)) > 12
        assert feed(region, ii("A-1"), NULLS, interaction=REVISE).kind == "CA"
        # The schema wants a name: whoever has nothing to say of it sends a null one.
        assert told(region) == ["name"]

    def test_what_a_revision_does_not_mention_stays(self, region: Region) -> None:
        feed(region, ii("A-1"), EVERYTHING)
        before = told(region)
        assert feed(region, ii("A-1"), NAME, interaction=REVISE).kind == "CA"
        assert told(region) == before

    def test_a_value_beside_a_null_counts(self, region: Region) -> None:
        feed(region, ii("A-1"), EVERYTHING)
        feed(region, ii("A-1"), f'{NAME}<telecom nullFlavor="UNK"/><telecom value="tel:0607080910"/>', interaction=REVISE)
        answer = find(region, parameter("livingSubjectId", ii("A-1", tag="value")))
        values = [item.get("value") for item in answer.root.iter(f"{{{HL7}}}telecom")]
        assert values == ["tel:0607080910", "mailto:m@example.org"]

    def test_an_unknown_sex_is_stated(self, region: Region) -> None:
        """ITI TF-2 Appendix R: U of HL7 v2 is the nullFlavor UNK."""
        feed(region, ii("A-1"), EVERYTHING)
        feed(region, ii("A-1"), f'{NAME}<administrativeGenderCode nullFlavor="UNK"/>', interaction=REVISE)
        assert "administrativeGenderCode" in told(region)


class TestParticles:
    """HL7 V3 data types R1, ENXP: a prefix belongs to the name part after it; NB and VV qualify particles of family names."""

    @pytest.mark.parametrize("qualifier", ["VV", "NB"])
    def test_a_particle_is_part_of_the_family_name(self, region: Region, qualifier: str) -> None:
        name = f'<given>Jan</given><prefix>Dr.</prefix><prefix qualifier="{qualifier}">van der </prefix><family>Berg</family>'
        assert feed(region, ii("A-1"), f"<name>{name}</name><birthTime value='1970'/>").kind == "CA"
        assert by_name(region, "<family>van der Berg</family>") == ["A-1"]
        assert by_name(region, f'<prefix qualifier="{qualifier}">van der</prefix><family>Berg</family>') == ["A-1"]
        answer = find(region, parameter("livingSubjectId", ii("A-1", tag="value")))
        assert [item.text for item in answer.root.iter(f"{{{HL7}}}prefix")] == ["Dr."]


class TestFaultsNameTheirPlaceAndWhatCame:
    """ITI TF-2 O.1.3: acknowledgementDetail tells what is wrong by a code and a text, and where by an XPath."""

    def test_of_the_schema(self, region: Region, shared: Path) -> None:
        answer = feed(region, ii("A-1"), f"{NAME}<birthTime value='1962-03-14'/><addr use='nowhere!'/><raceCode code=' x y'/>")
        assert answer.kind == "CE"
        assert ("SYN113", f"{PERSON}/birthTime") in answer.details
        assert any("'1962-03-14'" in text for text in answer.texts)
        assert official_errors(shared, answer.root) == []

    def test_the_same_fault_in_two_places_is_told_twice(self, region: Region) -> None:
        answer = feed(region, '<id root="x y" extension="1"/><id root="x y" extension="2"/>')
        places = [place for code, place in answer.details if code == "SYN113"]
        assert {place.rpartition("/")[2] for place in places} == {"id[1]", "id[2]"}

    @pytest.mark.parametrize(
        ("ids", "person", "received"),
        [
            (ii("A-1"), f"{NAME}<birthTime value='19621399'/>", "'19621399'"),
            (ii("A-1"), f"{NAME}<administrativeGenderCode code='X'/>", "'X'"),
            (ii("A-1", "1.2.3.4.5"), NAME, "'1.2.3.4.5^A-1'"),
            (ii("A-1", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"), NAME, "'3f2504e0-4f89-11d3-9a0c-0305e82c3301'"),
        ],
    )
    def test_of_the_content(self, region: Region, ids: str, person: str, received: str) -> None:
        answer = feed(region, ids, person)
        assert (answer.kind, len(answer.texts)) == ("CE", 1)
        assert received in answer.texts[0]

    @pytest.mark.parametrize(
        ("parts", "received"),
        [
            ({"processingCode": '<processingCode code="X"/>'}, "'X'"),
            ({"processingModeCode": '<processingModeCode code="Z"/>'}, "'Z'"),
            ({"interactionId": '<interactionId root="1.2" extension="PRPA_IN201305UV02"/>'}, "'1.2^PRPA_IN201305UV02'"),
        ],
    )
    def test_of_the_wrapper(self, region: Region, parts: dict[str, str], received: str) -> None:
        answer = feed(region, ii("A-1"), **parts)
        assert answer.kind == "CR"
        assert received in answer.texts[0]

    def test_of_a_query(self, region: Region) -> None:
        feed(region, ii("A-1"))
        unknown = ask(region, pix(ii("nobody", tag="value"), HOSPITAL_B, "1.2.3.4"))
        assert ["'1.2.250.1.71.1^nobody'" in unknown.texts[0], "'1.2.3.4'" in unknown.texts[1]] == [True, True]
        criteria = '<matchCriterionList><minimumDegreeMatch><value xsi:type="INT" value="-1"/><semanticsText>x</semanticsText>'
        wrong = query(
            parameter("livingSubjectName", "<value><family>Lefevre</family></value>"),
            head='<responseModalityCode code="R"/><responsePriorityCode code="I"/>',
            rest=f"{criteria}</minimumDegreeMatch></matchCriterionList>",
        ).replace("<value xsi", '<value xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi')
        answer = ask(region, message(PDQ, wrong))
        assert answer.texts == ["minimumDegreeMatch must be 0 or more, not '-1'"]


def test_short_messages_reach_a_telephone(region: Region) -> None:
    """HL7 V3 data types R1, TEL: a URL of any scheme; those for short messages are telephone numbers, as in FHIR."""
    feed(region, ii("A-1"), f'{NAME}<telecom value="sms:0607080910" use="MC"/><birthTime value="1970"/>')
    found = find(region, parameter("patientTelecom", '<value value="tel:0607080910"/>'))
    assert (HOSPITAL_A, "A-1") in found.ids


class TestSimilarNames:
    """ITI TF-2 3.47.4.1.3: at least all exact matches are answered; IHE does not specify further how names match."""

    @pytest.mark.parametrize("name", ["La Tour du Pin", "de la Toure du Pin"])
    def test_nobody_has_it_as_it_is(self, region: Region, name: str) -> None:
        feed(region, ii("A-1"), "<name><given>Anne</given><family>de La Tour du Pin</family></name><birthTime value='1970'/>")
        answer = find(region, parameter("livingSubjectName", f"<value><family>{name}</family></value>"))
        assert (HOSPITAL_A, "A-1") in answer.ids
        (degree,) = answer.root.iterfind(f".//{{{HL7}}}queryMatchObservation/{{{HL7}}}value")
        assert 0 < int(degree.get("value")) < 100

    def test_somebody_has_it(self, region: Region) -> None:
        feed(region, ii("A-1"), "<name><given>Anne</given><family>Martin</family></name><birthTime value='1970'/>")
        feed(region, ii("A-2"), "<name><given>Zoé</given><family>Martain</family></name><birthTime value='1980'/>")
        assert by_name(region, "<family>Martin</family>") == ["A-1"]

    def test_a_degree_of_match_keeps_others_out(self, region: Region) -> None:
        """ITI TF-2 3.47.4.1.2.2: minimumDegreeMatch filters the results."""
        feed(region, ii("A-1"), "<name><given>Anne</given><family>Martin</family></name><birthTime value='1970'/>")
        criteria = (
            '<matchCriterionList><minimumDegreeMatch><value xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="INT"'
            ' value="100"/><semanticsText>MinimumDegreeMatch</semanticsText></minimumDegreeMatch></matchCriterionList>'
        )
        head = '<responseModalityCode code="R"/><responsePriorityCode code="I"/>'
        asked = query(parameter("livingSubjectName", "<value><family>Martain</family></value>"), head=head, rest=criteria)
        assert ask(region, message(PDQ, asked)).status == "NF"
