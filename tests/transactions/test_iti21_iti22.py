"""ITI-21 and ITI-22 against a real server and a real database.

Spec: ITI TF-2 3.21, 3.22.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hl7apy.parser import parse_message

from tests.identity import CONFIGURED, HOSPITAL_A, HOSPITAL_B, Region
from xds.model.demographics_query import (
    Comparison,
    DateRange,
    DemographicsQuery,
    IdentifierPattern,
    NamePattern,
    PageRequest,
    TextPattern,
)
from xds.model.identifiers import AssigningAuthority
from xds.server.mllp import MllpServer
from xds.transactions import iti08_patient_identity_feed as iti08
from xds.transactions import iti21_patient_demographics_query as iti21
from xds.transactions import iti22_patient_demographics_and_visit_query as iti22
from xds.transactions import iti31_patient_encounter_management as iti31
from xds.transactions.mllp_client import send_mllp
from xds.wire import hl7v2
from xds.wire.hl7v2 import Message
from xds.wire.hl7v2_identity import read_identifiers

ADMISSIONS = (
    "A-1^^^HOSP_A&1.2.250.1.71.1&ISO||LEFÈVRE^Marie-Hélène^Anne^^^^L||19620314|F|||4 rue des Lilas^^ORLÉANS^^45000^FRA^H||"
    "0238112233^PRN^PH|0238999999^WPN^PH|fra|M|CAT|ACC1^^^HOSP_A&1.2.250.1.71.1&ISO|||||TOURS",
    "A-2^^^HOSP_A&1.2.250.1.71.1&ISO||DUPOND^Paul^^^^^L|PETIT^Odile|19880501|M|||9 place du Marché^^TOURS^^37000^FRA||"
    "^PRN^PH^^33^247^112244|||||ACC2^^^HOSP_A|||A-9^^^HOSP_A",
    "A-3^^^HOSP_A&1.2.250.1.71.1&ISO||DUPONT^Jeanne^^^^^L||19880612|F|||1 rue Basse^^TOURS^^37000^FRA",
    "A-4^^^HOSP_A&1.2.250.1.71.1&ISO||DUPONT^Julie^^^^^L||20200229|F||||||||||||||||Y|2",
)
B_1 = "B-1^^^HOSP_B&1.2.250.1.71.2&ISO||LEFÈVRE^Marie-Hélène^Anne^^^^L||19620314|F|||4 rue des Lilas^^ORLÉANS^^45000^FRA^H"


class Place:
    """A server with five records, and what it answers."""

    def __init__(self, directory: Path) -> None:
        self.region = Region(directory, domains=CONFIGURED, unknown_domains="refuse")
        self.server = MllpServer(self.region.domain, [iti08, iti21, iti22, iti31], port=0)
        self.endpoint = f"127.0.0.1:{self.server.start()}"
        self._count = 0
        for pid in ADMISSIONS:
            self.admit(pid)
        self.admit(B_1, "HOSP_B")

    def admit(self, pid: str, facility: str = "HOSP_A", event: str = "A01^ADT_A01", rest: str = "PV1|1|O") -> None:
        head = f"ADT|{facility}|XDS|REGION|20260115||ADT^{event}"
        assert self.send(head, f"PID|||{pid}", rest, version="2.5").get("MSA-1") == "AA"

    def send(self, head: str, *segments: str, version: str = "2.5") -> Message:
        self._count += 1
        lines = (f"MSH|^~\\&|{head}|M{self._count}|P|{version}||||||UNICODE UTF-8", *segments)
        return send_mllp(self.endpoint, hl7v2.read("\r".join(lines).encode()))

    def ask(
        self,
        criteria: str,
        *,
        domains: str = "",
        event: str = "Q22",
        rcp: str = "I",
        dsc: str = "",
        name: str = "IHE PDQ Query",
        more: str = "",
    ) -> Message:
        head = f"CONSUMER|CITY|XDS^2.25.1^ISO|REGION|20260115||QBP^{event}^QBP_Q21"
        query = f"QPD|{name}|T1|{criteria}|{more}||||{domains}"
        return self.send(head, query, f"RCP|{rcp}", *([f"DSC|{dsc}|I"] if dsc else []))

    def found(self, criteria: str, **more: str) -> list[str]:
        """The identifiers of the first hospital, of an answer that is well formed."""
        answer = self.ask(criteria, **more)
        assert (answer.get("MSA-1"), answer.count("ERR")) == ("AA", 0), [item.fields for item in answer.segments]
        assert answer.get("QAK-2") == ("OK" if answer.count("PID") else "NF")
        return sorted(local(answer, number) for number in range(1, answer.count("PID") + 1))


def local(answer: Message, number: int = 1) -> str:
    """The identifier of the first hospital in the n-th PID; every patient has one of the affinity domain, too."""
    values = (item.value for item in read_identifiers(answer, "PID-3", number))
    return next(value for value in values if value.startswith("A-"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    there = Place(tmp_path_factory.mktemp("pdq"))
    yield there
    there.server.stop()
    there.region.close()


def faults(answer: Message) -> list[tuple[str, str]]:
    return [
        (hl7v2.translate(answer.field("ERR-2", number), answer.separators), answer.get("ERR-3", occurrence=number))
        for number in range(1, answer.count("ERR") + 1)
    ]


class TestCriteria:
    @pytest.mark.parametrize(
        ("criteria", "expected"),
        [
            ("@PID.5.1.1^DUPOND", ["A-2"]),
            ("@PID.5.1^dupont", ["A-3", "A-4"]),
            ("@PID.5.1^DUPONT~@PID.5.2^Julie", ["A-4"]),
            ("@PID.5.1^DUPON*", ["A-2", "A-3", "A-4"]),
            ("@PID.5.1^DU*T", ["A-3", "A-4"]),
            ("@PID.5.1^lefevre", ["A-1"]),
            ("@PID.5.1^DUPONT~@PID.8^F~@PID.7^19880612", ["A-3"]),
            ("@PID.5.1^DUPONT~@PID.7^1988", ["A-3"]),
            ("@PID.5.1^DUPON*~@PID.7^198805", ["A-2"]),
            ("@PID.7^19880501", ["A-2"]),
            ("@PID.7.1^19880501", ["A-2"]),
            ("@PID.7^19880501~@PID.7^19880612", ["A-2", "A-3"]),
            ("@PID.7^19880501&19880612", ["A-2", "A-3"]),
            ("@PID.5.1^DUPOND&DUPONT", ["A-2", "A-3", "A-4"]),
            ("@PID.5.1^DUPOND~@PID.5.1^DUPONT", ["A-2", "A-3", "A-4"]),
            ("@PID.5.1^LEFEVRE~@PID.11.3^Orleans", ["A-1"]),
            ("@PID.5.1^LEFEVRE~@PID.11.3^Tours", []),
            ("@PID.11.1.1^4 rue des Lilas~@PID.11.5^45000", ["A-1"]),
            ("@PID.13.1^0238112233", ["A-1"]),
            ("@PID.18.1^ACC1~@PID.18.4.2^1.2.250.1.71.1~@PID.18.4.3^ISO", ["A-1"]),
            ("@PID.13.7^112244", ["A-2"]),
            ("@PID.5.1^DUPOND~@PID.13.7^112245", []),
            ("@PID.13.6^247~@PID.13.7^112244", ["A-2"]),
            ("@PID.5.1^DUPOND~@PID.13.6^247", ["A-2"]),
            ("@PID.6.1^petit~@PID.6.2^odile", ["A-2"]),
            ("@PID.6.1^petit~@PID.6.2^Marie", []),
            ("@PID.21.1^A-9~@PID.21.4.1^HOSP_A", ["A-2"]),
            ("@PID.21.1^A-9~@PID.21.4.2^1.2.250.1.71.1~@PID.21.4.3^ISO", ["A-2"]),
            ("@PID.21.1^A-9~@PID.21.4.1^HOSP_B", []),
            ("@PID.21.1^A-8", []),
            ("@PID.3.1^A-2~@PID.3.4.1^HOSP_A", ["A-2"]),
            ("@PID.3.1^A-2~@PID.3.4^HOSP_A", ["A-2"]),
            ("@PID.3.1^A-2~@PID.3.4.2^1.2.250.1.71.1~@PID.3.4.3^ISO~@PID.3.5^PI", ["A-2"]),
            ("@PID.3.4.2^1.2.250.1.71.1~@PID.3.4.3^ISO~@PID.3.1^A-2", ["A-2"]),
            ("@PID.3.1^A-1~@PID.3.4.1^HOSP_A~@PID.3.1^B-1~@PID.3.4.1^HOSP_B", ["A-1"]),
            ("@PID.3.1^A-1~@PID.3.4.1^HOSP_A~@PID.3.1^A-2~@PID.3.4.1^HOSP_A", []),
            ("@PID.3.1^A-2~@PID.3.4.2^1.2.250.1.71.1~@PID.3.4.3^GUID", []),
            ("@PID.3.1^B-1~@PID.3.4.1^HOSP_A", []),
            ("@PID.3.1^12345678~@PID.3.2.1^BLABLA~@PID.3.4.2^1.2.3.4~@PID.3.4.3^KRYSO", []),
            ("@PID.5.1^DUPONT~@PID.24^Y", ["A-4"]),
            ("@PID.5.1^LEFEVRE~@PID.23^tours", ["A-1"]),
            ("@PID.5.1^LEFEVRE~@PID.5.3^Anne", ["A-1"]),
            ("@PID.5.1^LEFEVRE~@PID.5.3^Berthe", []),
            ("@PID.5.1^LEFEVRE~@PID.10^X", []),
            ("@PID.5.1^NOBODY~@PID.5.2^Nowhere", []),
            ("~@PID.5.1^DUPOND~@PID.8^", ["A-2"]),
        ],
    )
    def test_found(self, place: Place, criteria: str, expected: list[str]) -> None:
        assert place.found(criteria) == expected

    def test_nobody_as_written_is_sought_by_sound(self, place: Place) -> None:
        answer = place.ask("@PID.5.1^DUPOMD~@PID.5.2^Paul~@PID.7^19880501")
        assert (local(answer), answer.get("QAK-2")) == ("A-2", "OK")
        assert 0 < float(answer.get("QRI-1")) < 100

    @pytest.mark.parametrize("family", ["XYZZY", "X", "DU", "QUI"])
    def test_what_sounds_like_nobody_finds_nobody(self, place: Place, family: str) -> None:
        place.admit("A-7^^^HOSP_A&1.2.250.1.71.1&ISO||S^OOO^^^^^L||19010501|M")
        assert place.ask(f"@PID.5.1^{family}").get("QAK-2") == "NF"

    def test_numbers_name_their_authorities_in_full(self, place: Place) -> None:
        answer = place.ask("@PID.5.1^DUPOND")
        assert answer.field("PID-18") == "ACC2^^^HOSP_A&1.2.250.1.71.1&ISO"
        assert answer.field("PID-21") == "A-9^^^HOSP_A&1.2.250.1.71.1&ISO"
        assert answer.field("PID-6") == "PETIT^Odile"

    def test_a_confidence_may_be_asked_for(self, place: Place) -> None:
        assert "A-2" in place.found("@PID.5.1^DUPONT~@PID.5.2^Paul", more="10")

    @pytest.mark.parametrize(
        ("criteria", "expected"),
        [
            ("", [("QPD^1^3", "101")]),
            ("@PID.5.1^*", [("QPD^1^3", "101")]),
            ("@PID.5.1^", [("QPD^1^3", "101")]),
            ("@PID.3.1^A-1", [("QPD^1^3^1^2", "101")]),
            ("@PID.8^F~@PID.3.1^A-1", [("QPD^1^3^2^2", "101")]),
            ("@PID.99^X", [("QPD^1^3^1^1", "103")]),
            ("@PID.5.1^DUPONT~@PID.3.4.99^NOVALUE", [("QPD^1^3^2^1", "103")]),
            ("@PID.5.99^X", [("QPD^1^3^1^1", "103")]),
            ("@ZZZ.1^X", [("QPD^1^3^1^1", "103")]),
            ("@PV1.3.2^389", [("QPD^1^3^1^1", "103")]),
            ("PID.5.1^X", [("QPD^1^3^1^1", "102")]),
            ("@PID^X", [("QPD^1^3^1^1", "102")]),
            ("@PID.5.1.1.1^X", [("QPD^1^3^1^1", "102")]),
            ("@PID.5.1^DUPONT^JULIE", [("QPD^1^3^1^3", "102")]),
            ("@PID.7^1988-05-01", [("QPD^1^3^1^2", "102")]),
            ("@PID.7^19881301", [("QPD^1^3^1^2", "102")]),
            ("@PID.5.1^DUPONT~@PID.8^Q", [("QPD^1^3^2^2", "103")]),
            ("@PID.8^Q~@PID.7^yesterday", [("QPD^1^3^2^2", "102"), ("QPD^1^3^1^2", "103")]),
            ("~".join(["@PID.5.1^DUPONT"] * 101), [("QPD^1^3", "102")]),
            ("@PID.13^" + "&".join(map(str, range(101))), [("QPD^1^3^1^2", "102")]),
            ("@PID.5.1^A&B&C&D&E~@PID.5.2^F&G&H&I", [("QPD^1^3^2^2", "102")]),
        ],
    )
    def test_refused(self, place: Place, criteria: str, expected: list[tuple[str, str]]) -> None:
        answer = place.ask(criteria)
        assert (answer.get("MSA-1"), answer.get("QAK-2"), answer.count("PID")) == ("AE", "AE", 0)
        assert sorted(faults(answer)) == sorted(expected)

    def test_too_little_is_refused_by_the_supplier(self, place: Place) -> None:
        answer = place.ask("@PID.8^F")
        assert (answer.get("MSA-1"), answer.get("QAK-2"), faults(answer)) == ("AE", "AE", [("QPD^1^3", "101")])


class TestAnswer:
    def test_the_whole_patient(self, place: Place) -> None:
        answer = place.ask("@PID.5.1^LEFEVRE")
        assert answer.field("MSH-9") == "RSP^K22^RSP_K21"
        assert answer.field("MSH-3") == "XDS^2.25.1^ISO"
        assert (answer.get("MSH-5"), answer.get("MSH-6"), answer.get("QAK-1")) == ("CONSUMER", "CITY", "T1")
        assert answer.field("QPD-3") == "@PID.5.1^LEFEVRE"
        assert answer.get("MSH-18") == "UNICODE UTF-8"
        identifiers = answer.field("PID-3").split("~")
        assert "A-1^^^HOSP_A&1.2.250.1.71.1&ISO" in identifiers
        assert answer.get("PID-1") == "1"
        assert (answer.get("PID-5.1"), answer.get("PID-5.2"), answer.get("PID-5.7")) == ("LEFÈVRE", "Marie-Hélène", "L")
        assert (answer.get("PID-7"), answer.get("PID-8")) == ("19620314", "F")
        assert answer.get("PID-11.3") == "ORLÉANS"
        assert (answer.get("PID-13"), answer.get("PID-14")) == ("0238112233", "0238999999")
        assert [answer.get(f"PID-{number}") for number in (15, 16, 17, 23)] == ["fra", "M", "CAT", "TOURS"]
        assert answer.field("PID-18") == "ACC1^^^HOSP_A&1.2.250.1.71.1&ISO"

    def test_hl7apy_finds_it_valid(self, place: Place) -> None:
        for criteria in ("@PID.5.1^DUPONT", "@PID.5.1^NOBODY", "@PID.3.1^A-1"):
            assert parse_message(hl7v2.write(place.ask(criteria, rcp="I|1^RD")).decode()).validate()
        groups = parse_message(hl7v2.write(place.ask("@PID.5.1^DUPONT")).decode()).rsp_k21_query_response
        assert [[item.name for item in group.children] for group in groups] == [["PID", "QRI"], ["PID", "QRI"]]
        assert {group.pid.pid_5.xpn_2.to_er7() for group in groups} == {"Jeanne", "Julie"}

    def test_domains(self, place: Place) -> None:
        one = place.ask("@PID.5.1^LEFEVRE", domains="^^^HOSP_B")
        assert one.field("PID-3") == "B-1^^^HOSP_B&1.2.250.1.71.2&ISO"
        both = place.ask("@PID.5.1^LEFEVRE", domains="^^^&1.2.250.1.71.2&ISO~^^^HOSP_A&1.2.250.1.71.1&ISO")
        assert sorted(item.split("^")[0] for item in both.field("PID-3").split("~")) == ["A-1", "B-1"]

    def test_patients_without_an_identifier_in_the_domains_are_left_out(self, place: Place) -> None:
        answer = place.ask("@PID.5.1^DUPONT", domains="^^^HOSP_B")
        assert (answer.get("MSA-1"), answer.get("QAK-2"), answer.count("PID")) == ("AA", "NF", 0)

    def test_unknown_domains(self, place: Place) -> None:
        answer = place.ask("@PID.5.1^DUPONT", domains="^^^HOSP_B~^^^NOWHERE~^^^&9.9.9&ISO")
        assert (answer.get("MSA-1"), answer.get("QAK-2"), answer.count("PID")) == ("AE", "AE", 0)
        assert faults(answer) == [("QPD^1^8^2", "204"), ("QPD^1^8^3", "204")]

    def test_a_domain_that_is_none(self, place: Place) -> None:
        assert faults(place.ask("@PID.5.1^DUPONT", domains="X")) == [("QPD^1^8^1^4", "101")]

    @pytest.mark.parametrize("codec", ["iso8859-1", "iso8859-15", "utf-8"])
    def test_in_the_character_set_of_the_question(self, place: Place, codec: str) -> None:
        label = {"iso8859-1": "8859/1", "iso8859-15": "8859/15", "utf-8": "UNICODE UTF-8"}[codec]
        head = f"MSH|^~\\&|C|CITY|XDS|REGION|20260115||QBP^Q22^QBP_Q21|{codec}|P|2.5||||||{label}"
        data = f"{head}\rQPD|IHE PDQ Query|T1|@PID.5.1^Lefèvre~@PID.11.3^Orléans\rRCP|I\r".encode(codec)
        answer = send_mllp(place.endpoint, hl7v2.read(data))
        assert (answer.codec, answer.get("MSH-18"), answer.get("PID-5.1")) == (codec, label, "LEFÈVRE")


class TestHeader:
    @pytest.mark.parametrize("name", ["IHE PDQ Query", "Q22^Find Candidates^HL7"])
    def test_query_names(self, place: Place, name: str) -> None:
        answer = place.ask("@PID.5.1^DUPOND", name=name)
        assert (answer.get("MSA-1"), answer.field("QPD-1")) == ("AA", name)

    @pytest.mark.parametrize(("name", "condition"), [("", "101"), ("IHE PIX Query", "103")])
    def test_wrong_query_names(self, place: Place, name: str, condition: str) -> None:
        assert faults(place.ask("@PID.5.1^DUPOND", name=name)) == [("QPD^1^1", condition)]

    def test_without_a_query(self, place: Place) -> None:
        answer = place.send("C|CITY|XDS|REGION|20260115||QBP^Q22^QBP_Q21", "RCP|I")
        assert (answer.field("MSH-9"), answer.get("MSA-1"), faults(answer)) == ("ACK^Q22^ACK", "AE", [("QPD^1", "100")])

    def test_without_a_tag(self, place: Place) -> None:
        answer = place.send("C|CITY|XDS|REGION|20260115||QBP^Q22^QBP_Q21", "QPD|IHE PDQ Query||@PID.5.1^X", "RCP|I")
        assert (answer.get("MSA-1"), faults(answer)) == ("AE", [("QPD^1^2", "101")])

    @pytest.mark.parametrize(
        ("rcp", "expected"),
        [
            ("D", [("RCP^1^1", "103")]),
            ("I|0^RD", [("RCP^1^2^1^1", "102")]),
            ("I|-1^RD", [("RCP^1^2^1^1", "102")]),
            ("I|many", [("RCP^1^2^1^1", "102")]),
            ("I|5^CH", [("RCP^1^2^1^2", "103")]),
        ],
    )
    def test_wrong_control_parameters(self, place: Place, rcp: str, expected: list[tuple[str, str]]) -> None:
        assert faults(place.ask("@PID.5.1^DUPOND", rcp=rcp)) == expected

    @pytest.mark.parametrize(("more", "condition"), [("high", "102"), ("101", "102"), ("-1", "102")])
    def test_wrong_confidence(self, place: Place, more: str, condition: str) -> None:
        assert faults(place.ask("@PID.5.1^DUPOND", more=more)) == [("QPD^1^4", condition)]

    @pytest.mark.parametrize("event", ["Q22", "ZV1"])
    def test_other_versions_and_structures(self, place: Place, event: str) -> None:
        for structure, version, condition in (("QBP_Q26", "2.5", "200"), ("QBP_Q21", "2.3.1", "203")):
            answer = place.send(f"C|CITY|XDS|REGION|20260115||QBP^{event}^{structure}", "QPD|x|1|@PID.5.1^X", version=version)
            assert (answer.get("MSA-1"), answer.get("ERR-3")) == ("AR", condition)


class TestContinuation:
    def test_pages(self, place: Place) -> None:
        seen, pointer = [], ""
        for _ in range(3):
            answer = place.ask("@PID.5.1^DUPON*", rcp="I|1^RD", dsc=pointer)
            assert (answer.get("MSA-1"), answer.count("PID"), answer.get("QAK-1")) == ("AA", 1, "T1")
            seen.append(local(answer))
            pointer = answer.get("DSC-1")
            assert pointer.isalnum() == (answer.get("DSC-2") == "I")
        assert sorted(seen) == ["A-2", "A-3", "A-4"]
        assert pointer == ""

    def test_pages_of_similar_names(self, place: Place) -> None:
        first = place.ask("@PID.5.1^DUPPONT", rcp="I|1^RD")
        second = place.ask("@PID.5.1^DUPPONT", rcp="I|1^RD", dsc=first.get("DSC-1"))
        assert {first.get("QAK-2"), second.get("QAK-2")} == {"OK"}
        assert local(first) != local(second)

    def test_everything_on_one_page_has_no_pointer(self, place: Place) -> None:
        assert place.ask("@PID.5.1^DUPON*", rcp="I|3^RD").count("DSC") == 0

    @pytest.mark.parametrize("pointer", ["nonsense", "E999x", "E", "S", "E99", "99999999999999999999999999"])
    def test_an_unknown_pointer(self, place: Place, pointer: str) -> None:
        answer = place.ask("@PID.5.1^DUPON*", rcp="I|1^RD", dsc=pointer)
        assert (answer.get("MSA-1"), answer.get("QAK-2"), faults(answer)) == ("AE", "AE", [("DSC^1^1", "204")])

    @pytest.mark.parametrize("changed", ["@PID.5.1^LEFEVRE", "@PID.5.1^DUPON*~@PID.8^F"])
    def test_a_pointer_continues_its_own_query_alone(self, place: Place, changed: str) -> None:
        """The consumer sends the same query again with the pointer (ITI TF-2 3.21.4.1.2.4): the answer echoes what it answers."""
        pointer = place.ask("@PID.5.1^DUPON*", rcp="I|1^RD").get("DSC-1")
        assert faults(place.ask(changed, rcp="I|1^RD", dsc=pointer)) == [("DSC^1^1", "204")]
        assert faults(place.ask("@PID.5.1^DUPON*", rcp="I|1^RD", dsc=pointer, domains="^^^HOSP_A")) == [("DSC^1^1", "204")]
        assert place.ask("@PID.5.1^DUPON*", rcp="I|1^RD", dsc=pointer).count("PID") == 1

    def test_cancel(self, place: Place) -> None:
        first = place.ask("@PID.5.1^DUPON*", rcp="I|1^RD")
        head = "CONSUMER|CITY|XDS|REGION|20260115||QCN^J01^QCN_J01"
        answer = place.send(head, "QID|T1|IHE PDQ Query")
        assert (answer.get("MSA-1"), answer.field("MSH-9")) == ("AA", "ACK^J01^ACK")
        again = place.ask("@PID.5.1^DUPON*", rcp="I|1^RD", dsc=first.get("DSC-1"))
        assert faults(again) == [("DSC^1^1", "204")]

    def test_what_is_no_cancellation(self, place: Place) -> None:
        head = "CONSUMER|CITY|XDS|REGION|20260115||QCN^J01^QCN_J01"
        assert faults(place.send(head)) == [("QID^1", "100")]
        assert faults(place.send(head, "QID||IHE PDQ Query")) == [("QID^1^1", "101")]
        assert place.send(head, "QID|unheard-of|IHE PDQ Query").get("MSA-1") == "AA"


class TestVisit:
    def test_by_the_visit_with_the_visit(self, place: Place) -> None:
        number = "V-17^^^HOSP_A&1.2.250.1.71.1&ISO"
        visit = f"PV1|1|I|MED^389^2^CHRO||||1234^DURAND^Paul~99^X|||CAR|||||||88^ADM||{number}\rPV2|||^chest pain"
        place.admit(ADMISSIONS[1], event="A02^ADT_A02", rest=visit)
        answer = place.ask("@PV1.3.2^389~@PV1.3.3^2", event="ZV1")
        assert (answer.field("MSH-9"), answer.get("QAK-2"), answer.count("PID")) == ("RSP^ZV2^RSP_ZV2", "OK", 1)
        assert local(answer) == "A-2"
        assert answer.field("PV1-3") == "MED^389^2^CHRO"
        assert (answer.get("PV1-2"), answer.field("PV1-7"), answer.get("PV1-10")) == ("I", "1234^DURAND^Paul", "CAR")
        assert answer.field("PV1-19") == number
        assert answer.get("PV2-3.2") == "chest pain"
        assert place.found("@PV1.19^V-17", event="ZV1") == ["A-2"]
        assert place.found("@PV1.19.1^V-17~@PID.5.1^MARTIN", event="ZV1") == []

    def test_without_a_visit(self, place: Place) -> None:
        answer = place.ask("@PID.5.1^DUPONT~@PID.5.2^Jeanne", event="ZV1")
        assert [item.name for item in answer.segments] == ["MSH", "MSA", "QAK", "QPD", "PID", "PV1", "QRI"]


class TestClient:
    def test_a_query_and_its_pages(self, place: Place) -> None:
        names = (NamePattern(family=TextPattern("DUPON", Comparison.PREFIX)),)
        query = DemographicsQuery(names=(names,), birth_dates=(DateRange("19880101", "19881231"),), domains=(HOSPITAL_A,))
        page = PageRequest(1, None, "client-1")
        first = iti21.send(query, place.endpoint, source="CITY|CLIENT", page=page)
        assert (first.acknowledged.code, first.status, len(first.patients)) == ("AA", "OK", 1)
        second = iti21.send(query, place.endpoint, source="CITY|CLIENT", page=PageRequest(1, first.pointer, "client-1"))
        found = [item.identifiers[0].value for item in (*first.patients, *second.patients)]
        assert sorted(found) == ["A-2", "A-3"]
        assert second.pointer is None
        assert iti21.cancel("client-1", place.endpoint, source="CITY|CLIENT").is_accepted

    def test_every_criterion_arrives(self, place: Place) -> None:
        identifier = IdentifierPattern("A-2", AssigningAuthority(oid=HOSPITAL_A.oid))
        query = DemographicsQuery(identifiers=((identifier,),), sexes=("M",), birth_dates=(DateRange("19880501", "19880501"),))
        answer = iti22.send(query, place.endpoint, source="CITY|CLIENT")
        assert [item.demographics.names[0].family for item in answer.patients] == ["DUPOND"]
        assert answer.patients[0].demographics.sex == "M"
        nobody = iti22.send(
            DemographicsQuery(identifiers=((IdentifierPattern("A-2", HOSPITAL_B),),)), place.endpoint, source="C|C"
        )
        assert (nobody.status, nobody.patients) == ("NF", ())


def test_who_asked_is_audited(place: Place) -> None:
    place.found("@PID.5.1^DUPOND")
    event = next(event for event in place.region.audited()[::-1] if event.event_type and event.event_type.code == "ITI-21")
    assert "@PID.5.1^DUPOND" in (event.objects[-1].query or "")
