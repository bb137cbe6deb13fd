"""ITI-8 and ITI-9 over a real MLLP connection.

Spec: ITI TF-2 3.8, 3.9, Appendix C.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hl7apy.exceptions import ValidationError
from hl7apy.parser import parse_message

from tests.identity import AFFINITY, CALLER, CONFIGURED, HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, MARIE, Region, at
from xds.model.audit import EventAction
from xds.model.identifiers import AssigningAuthority
from xds.model.patient import FeedKind, IdentityFeed
from xds.server.mllp import MllpServer
from xds.transactions import iti08_patient_identity_feed as iti08
from xds.transactions import iti09_pix_query as iti09
from xds.transactions import iti30_patient_identity_management as iti30
from xds.transactions.mllp_client import send_mllp
from xds.wire import hl7v2
from xds.wire.hl7v2 import Message

A1, B1 = at(HOSPITAL_A, "A-1"), at(HOSPITAL_B, "B-1")
NAME = "LEFEVRE^MARIE^^^^^L||19620314|F|||4 RUE DES LILAS^^ORLEANS^^45000^FRA"
APPLESEED = (
    "APPLESEED^JOHN^A^III||19710101|M||C|1^CATALYZE STREET^^MADISON^WI^53005-1020|GL|(414)379-1212|(414)271-3434||S||"
    "MRN12345001^2^M10|123456789|987654^NC|"
)


class Place:
    """A region behind a real MLLP port."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.server = MllpServer(region.domain, [iti08, iti09, iti30], port=0)
        self._numbers = itertools.count(1)
        self.endpoint = f"127.0.0.1:{self.server.start()}"

    def send(self, text: str, codec: str = "utf-8") -> Message:
        """Send a message in its wire form, one segment a line."""
        lines = (line.strip() for line in text.strip().splitlines())
        return send_mllp(self.endpoint, hl7v2.read("\r".join(lines).encode(codec)))

    def feed(
        self,
        pid: str,
        *,
        event: str = "A01",
        sender: str = "ADT|HOSP_A",
        control_id: str = "",
        version: str = "2.3.1",
        mrg: str = "",
    ) -> Message:
        """Send a feed with this PID from field 3 on."""
        control_id = control_id or f"{event}-{next(self._numbers)}"
        text = (
            f"MSH|^~\\&|{sender}|XDS|REGION|20260115||ADT^{event}|{control_id}|P|{version}\nEVN|{event}|20260115\nPID|||{pid}\n"
        )
        return self.send(text + (f"MRG|{mrg}\n" if mrg else "PV1||O\n"))

    def ask(self, identifier: str, domains: str = "", version: str = "2.5") -> Message:
        """Send a PIX query."""
        return self.send(
            f"MSH|^~\\&|CONSUMER|CITY|XDS|REGION|20260115||QBP^Q23^QBP_Q21|Q1|P|{version}\n"
            f"QPD|IHE PIX Query|TAG1|{identifier}|{domains}\nRCP|I\n"
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(Region(tmp_path))
    yield place
    place.server.stop()
    place.region.close()


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Place]:
    place = Place(Region(tmp_path, domains=CONFIGURED, unknown_domains="refuse"))
    yield place
    place.server.stop()
    place.region.close()


def errors(answer: Message) -> list[tuple[str, str]]:
    """Location and code of each ERR."""
    numbers = range(1, answer.count("ERR") + 1)
    return [(answer.segment("ERR", number).field(2), answer.get("ERR-3", occurrence=number)) for number in numbers]


class TestFeed:
    @pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.5"])
    @pytest.mark.parametrize("event", ["A01", "A04", "A05", "A08"])
    def test_accepted(self, place: Place, event: str, version: str) -> None:
        answer = place.feed(f"A-1^^^HOSP_A&1.2.250.1.71.1&ISO||{NAME}", event=event, version=version)
        assert (answer.get("MSA-1"), answer.version, answer.count("ERR")) == ("AA", version, 0)
        assert place.region.affinity(A1).authority == AFFINITY

    @pytest.mark.parametrize(("event", "action"), [("A28", EventAction.CREATE), ("A31", EventAction.UPDATE)])
    def test_patient_identity_management_is_taken_in_its_own_version(self, place: Place, event: str, action: EventAction) -> None:
        pid = f"A-1^^^HOSP_A&1.2.250.1.71.1&ISO||{NAME}"
        assert errors(place.feed(pid, event=event)) == [("MSH^1^12", "203")]
        assert place.feed(pid, event=event, version="2.5").get("MSA-1") == "AA"
        (audited,) = place.region.audited()
        assert (audited.event_type.code, audited.action) == ("ITI-30", action)

    def test_the_feed_of_a_registry_test_tool(self, place: Place) -> None:
        """No EVN, no PV1, HL7 2.3, the same control id every time."""
        for value in ("test1", "test2"):
            answer = place.send(
                f"""MSH|^~\\&|EPICADT|DH|LABADT|DH|201301011226||ADT^A01|HL7MSG00001|P|2.3|
                PID|||{value}^^^&{AFFINITY.oid}&ISO||{APPLESEED}"""
            )
            assert answer.get("MSA-1") == "AA"
            assert place.region.registered(at(AFFINITY, value)).is_active

    def test_names_in_latin_1(self, place: Place) -> None:
        answer = place.send(
            """MSH|^~\\&|ADT|HOSP_A|XDS|REGION|20260115||ADT^A01|L1|P|2.3.1||||||8859/1
            PID|||A-1^^^HOSP_A&1.2.250.1.71.1&ISO||Lefèvre^Zoé||19620314|F""",
            "iso8859-1",
        )
        assert answer.get("MSA-1") == "AA"
        (person,) = place.region.pix.persons(CALLER, search="lefevre zoe")
        assert person.stated[0].demographics.names[0].family == "Lefèvre"

    def test_a_resent_feed_is_answered_again_without_a_second_effect(self, place: Place) -> None:
        for _ in range(2):
            answer = place.feed(f"A-1^^^HOSP_A&1.2.250.1.71.1&ISO||{NAME}", control_id="SAME")
            assert (answer.get("MSA-1"), answer.get("MSA-2")) == ("AA", "SAME")
        assert len(place.region.audited()) == 1

    @pytest.mark.parametrize(
        ("pid", "expected"),
        [
            ("||LEFEVRE^MARIE", [("PID^1^3", "101")]),
            ('""^^^HOSP_A||LEFEVRE^MARIE', [("PID^1^3", "101")]),
            ("A-1^^^HOSP_A||X||1962-03-14|Q", [("PID^1^7", "102"), ("PID^1^8", "103")]),
            ("A-1^^^HOSP_A&1.2&ISO||X||19621399", [("PID^1^7", "102")]),
            ("A-1||X", [("PID^1^3^1^4", "101")]),
            ("A-1^^^HOSP_A~7^^^X&pix.example&DNS||X", [("PID^1^3^2^4^3", "103")]),
            ("A-1^^^HOSP_A~7^^^X&pix.example&ISO||X", [("PID^1^3^2^4^2", "102")]),
            (f"A-1^^^HOSP_A||X~{'Y' * 10_001}", [("PID^1^5^2", "102")]),
        ],
    )
    def test_content_that_cannot_be_stored(self, place: Place, pid: str, expected: list[tuple[str, str]]) -> None:
        answer = place.feed(pid)
        assert answer.get("MSA-1") == "AE"
        assert errors(answer) == expected
        assert list(place.region.pix.persons(CALLER)) == []

    def test_an_old_version_gets_its_own_error_field_too(self, place: Place) -> None:
        answer = place.feed("||X")
        assert answer.segment("ERR").field(1) == "PID^1^3^101&Required field missing&HL70357"
        assert place.feed("||X", version="2.5").segment("ERR").field(1) == ""

    def test_a_birth_date_without_day_is_kept_to_the_month(self, place: Place) -> None:
        place.feed("A-1^^^HOSP_A||X||19620300")
        (person,) = place.region.pix.persons(CALLER)
        assert person.stated[0].demographics.birth_date == "196203"

    def test_without_pid(self, place: Place) -> None:
        answer = place.send("MSH|^~\\&|ADT|HOSP_A|XDS|REGION|20260115||ADT^A01|1|P|2.3.1\nEVN|A01\nPV1||O")
        assert (answer.get("MSA-1"), errors(answer)) == ("AE", [("PID^1", "100")])

    def test_a_structure_of_another_event(self, place: Place) -> None:
        answer = place.send("MSH|^~\\&|ADT|HOSP_A|XDS|REGION|20260115||ADT^A01^ADT_A02|1|P|2.3.1\nPID|||1^^^A")
        assert (answer.get("MSA-1"), errors(answer)) == ("AR", [("MSH^1^9^1^3", "200")])

    def test_authorities_of_the_configuration(self, configured: Place) -> None:
        assert configured.feed(f"A-1^^^HOSP_A||{NAME}").get("MSA-1") == "AA"
        assert configured.feed(f"A-2||{NAME}").get("MSA-1") == "AA"
        assert configured.region.affinity(at(HOSPITAL_A, "A-2"))
        assert errors(configured.feed(f"1^^^NOWHERE&1.9.9&ISO||{NAME}")) == [("PID^1^3^1^4", "204")]
        assert errors(configured.feed(f'""^^^X~1^^^HOSP_B||{NAME}')) == [("PID^1^3^2^4", "103")]
        assert errors(configured.feed(f"1^^^HOSP_A&4.3.2.1&ISO||{NAME}")) == [("PID^1^3^1^4", "102")]

    def test_merge(self, place: Place) -> None:
        place.feed(f"A-1^^^HOSP_A&1.2.250.1.71.1&ISO||{NAME}")
        place.feed("A-2^^^HOSP_A&1.2.250.1.71.1&ISO||MARTIN^PAUL||19500101|M")
        answer = place.feed(f"A-1^^^HOSP_A&1.2.250.1.71.1&ISO||{NAME}", event="A40", mrg="A-2^^^HOSP_A")
        assert answer.get("MSA-1") == "AA"
        assert place.region.affinity(at(HOSPITAL_A, "A-2")) == place.region.affinity(A1)
        again = place.feed(f"A-1^^^HOSP_A||{NAME}", event="A40", mrg="A-2^^^HOSP_A")
        assert (again.get("MSA-1"), errors(again)) == ("AE", [("MRG^1^1^1^1", "204")])
        for event in ("A01", "A08"):
            late = place.feed("A-2^^^HOSP_A||MARTIN^PAUL||19500101|M", event=event)
            assert (late.get("MSA-1"), errors(late)) == ("AE", [("PID^1^3^1^1", "204")])

    @pytest.mark.parametrize(
        ("mrg", "expected"),
        [
            ("", [("MRG^1", "100")]),
            ("^^^HOSP_A", [("MRG^1^1", "101")]),
            ("A-9^^^HOSP_A", [("MRG^1^1^1^1", "204")]),
            ("A-1^^^HOSP_B", [("MRG^1^1^1^4", "102")]),
        ],
    )
    def test_a_merge_that_cannot_be(self, place: Place, mrg: str, expected: list[tuple[str, str]]) -> None:
        place.feed(f"A-1^^^HOSP_A||{NAME}")
        answer = place.feed(f"A-1^^^HOSP_A||{NAME}", event="A40", mrg=mrg)
        assert (answer.get("MSA-1"), errors(answer)) == ("AE", expected)


class TestTexts:
    """What a user reads of an error: the place, the rule, and what was received there (ITI TF-2 C.2.3, ERR-7 and ERR-8)."""

    @pytest.mark.parametrize(
        ("pid", "sender", "text"),
        [
            (
                "1^^^HOSP_A",
                "OTHER|HOSP_A",
                "PID-3.4: the sender (HOSP_A|OTHER) may not issue identifiers of this assigning authority; received: HOSP_A",
            ),
            (
                "1",
                "OTHER|HOSP_Z",
                "PID-3.4: the identifier has no assigning authority, and none is configured for HOSP_Z|OTHER; received: nothing",
            ),
            (
                "1^^^HOSP_A~2^^^X&9.9&ISO",
                "ADT|HOSP_A",
                "PID-3.4 (repetition 2): the assigning authority is not known here; received: X&9.9&ISO",
            ),
            ("1^^^HOSP_A||X|||Q", "ADT|HOSP_A", "PID-8 must be a value of table 0001: A, F, M, N, O or U; received: Q"),
            (
                "1^^^HOSP_A||X||31/12/1999",
                "ADT|HOSP_A",
                "PID-7 (date of birth) must be a date of the calendar: YYYY[MM[DD[HHMM[SS]]]]; received: 31/12/1999",
            ),
        ],
    )
    def test_of_a_feed(self, configured: Place, pid: str, sender: str, text: str) -> None:
        answer = configured.feed(pid, sender=sender)
        assert answer.get("ERR-8") == answer.get("ERR-7") == text

    @pytest.mark.parametrize(
        ("event", "version", "text"),
        [
            ("A01^ADT_A39", "2.5", "MSH-9.3: the message structure of this event is ADT_A01; received: ADT_A39"),
            ("A99", "2.5", "MSH-9.2: this event is not received here; received: A99"),
        ],
    )
    def test_of_a_header(self, configured: Place, event: str, version: str, text: str) -> None:
        assert configured.feed(f"1^^^HOSP_A||{NAME}", event=event, version=version).get("ERR-8") == text

    def test_of_a_version(self, configured: Place) -> None:
        text = configured.feed(f"1^^^HOSP_A||{NAME}", version="2.2").get("ERR-8")
        assert text.startswith("MSH-12 must be a version that is known here: 2.3, 2.3.1, 2.4, 2.5, ")
        assert text.endswith("; received: 2.2")


class TestQuery:
    """The six cases of ITI TF-2 3.9.4.2.2.6."""

    @pytest.fixture
    def two(self, configured: Place) -> Place:
        configured.feed(f"A-1^^^HOSP_A||{NAME}")
        configured.feed("A-9^^^HOSP_A||MARTIN^PAUL||19500101|M")
        configured.feed(f"B-1^^^HOSP_B~B-2^^^HOSP_B||{NAME}", sender="ADT|HOSP_B")
        return configured

    def test_1_found(self, two: Place) -> None:
        answer = two.ask("B-1^^^HOSP_B", "^^^HOSP_A")
        assert (answer.get("MSA-1"), answer.get("MSA-2"), answer.get("QAK-1"), answer.get("QAK-2")) == ("AA", "Q1", "TAG1", "OK")
        assert answer.segment("PID").fields == ("", "", "A-1^^^HOSP_A&1.2.250.1.71.1&ISO", "", "~^^^^^^S")
        assert answer.field("QPD-3") == "B-1^^^HOSP_B"
        assert answer.field("MSH-9") == "RSP^K23^RSP_K23"

    def test_1_in_all_domains(self, two: Place) -> None:
        answer = two.ask("A-1^^^&1.2.250.1.71.1&ISO")
        found = [answer.get("PID-3", number) for number in range(1, answer.repetitions("PID-3") + 1)]
        assert found == [two.region.affinity(A1).value, "B-1", "B-2"]
        for number in range(1, 4):
            assert answer.get("PID-3.4.1", number)
            assert answer.get("PID-3.4.2", number)
            assert answer.get("PID-3.4.3", number) == "ISO"

    def test_2_known_but_not_in_the_domain(self, two: Place) -> None:
        answer = two.ask("A-9^^^HOSP_A", "^^^HOSP_B")
        assert (answer.get("MSA-1"), answer.get("QAK-2"), answer.count("PID"), answer.count("ERR")) == ("AA", "NF", 0, 0)

    def test_3_unknown_identifier(self, two: Place) -> None:
        answer = two.ask("A-2^^^HOSP_A", "^^^HOSP_B")
        assert (answer.get("MSA-1"), answer.get("QAK-2"), answer.count("PID")) == ("AE", "AE", 0)
        assert errors(answer) == [("QPD^1^3^1^1", "204")]

    def test_4_unknown_domain(self, two: Place) -> None:
        answer = two.ask("A-1^^^HOSP_Z")
        assert (answer.get("MSA-1"), answer.get("QAK-2")) == ("AE", "AE")
        assert errors(answer) == [("QPD^1^3^1^4", "204")]

    def test_4_an_authority_that_is_named_by_no_oid_is_another_one(self, two: Place) -> None:
        """A universal id means something together with its type (ITI TF-2 E.1): `UUID` names nobody here."""
        assert errors(two.ask("A-1^^^HOSP_A&1.2.250.1.71.1&UUID")) == [("QPD^1^3^1^4", "204")]
        assert errors(two.ask("A-1^^^HOSP_A", "^^^&1.2.250.1.71.2&ISO~^^^&1.2.250.1.71.2&DNS")) == [("QPD^1^4^2", "204")]

    def test_4_no_domain(self, two: Place) -> None:
        answer = two.ask("A-1")
        assert errors(answer) == [("QPD^1^3^1^4", "204")]
        assert answer.get("ERR-8").endswith("received: nothing")

    def test_5_unknown_domains_are_all_told(self, two: Place) -> None:
        answer = two.ask("A-1^^^HOSP_A", "^^^Y~^^^HOSP_B~^^^&1.9.9&ISO")
        assert (answer.get("MSA-1"), answer.get("QAK-2"), answer.count("PID")) == ("AE", "AE", 0)
        assert errors(answer) == [("QPD^1^4^1", "204"), ("QPD^1^4^3", "204")]

    def test_6_several_identifiers_in_one_domain(self, two: Place) -> None:
        answer = two.ask("A-1^^^HOSP_A", "^^^&1.2.250.1.71.2&ISO")
        assert answer.field("PID-3") == "B-1^^^HOSP_B&1.2.250.1.71.2&ISO~B-2^^^HOSP_B&1.2.250.1.71.2&ISO"

    def test_content_that_cannot_be_understood(self, two: Place) -> None:
        answer = two.ask("", "^^^HOSP_B~X")
        assert errors(answer) == [("QPD^1^3", "101"), ("QPD^1^4^2^4", "101")]
        assert answer.get("QAK-2") == "AE"
        assert errors(two.ask("A-1^^^HOSP_A~A-2^^^HOSP_A")) == [("QPD^1^3^2", "102")]

    def test_without_query(self, two: Place) -> None:
        answer = two.send("MSH|^~\\&|C|D|XDS|REGION|20260115||QBP^Q23^QBP_Q21|Q|P|2.5\nRCP|I")
        assert answer.field("MSH-9") == "ACK^Q23^ACK"
        assert (answer.get("MSA-1"), errors(answer)) == ("AE", [("QPD^1", "100")])

    def test_an_old_version_is_rejected(self, two: Place) -> None:
        answer = two.ask("A-1^^^HOSP_A", version="2.3.1")
        assert (answer.get("MSA-1"), errors(answer)[0]) == ("AR", ("MSH^1^12", "203"))

    def test_audit(self, two: Place) -> None:
        two.ask("A-1^^^HOSP_A", "^^^HOSP_B")
        event = two.region.audited()[-1]
        assert (event.event_id.code, event.event_type.code, event.action) == ("110112", "ITI-9", EventAction.EXECUTE)
        patient, query = event.objects
        assert patient.id.startswith("A-1^^^")
        assert (query.id, query.details) == ("TAG1", (("MSH-10", "Q1"),))
        assert "QPD|IHE PIX Query|TAG1" in query.query
        assert [item.user_id for item in event.participants] == ["CITY|CONSUMER", "REGION|XDS"]


class TestClientSide:
    def test_feed_and_query(self, place: Place) -> None:
        everything = replace(MARIE, telephones=("02 38 00 00 00",), national_identifiers=(at(HOSPITAL_C, "99999^8"),))
        feed = IdentityFeed(FeedKind.ADD, "HOSP_A|ADT", "1", (A1,), everything, destination="REGION|XDS")
        assert iti08.send(feed, place.endpoint).is_accepted
        (person,) = place.region.pix.persons(CALLER)
        assert person.stated[0].demographics == everything
        assert iti08.send(replace(feed, source="HOSP_B|ADT", identifiers=(B1,)), f"mllp://{place.endpoint}").is_accepted
        answer = iti09.send(A1, (HOSPITAL_B,), place.endpoint, source="CITY|CONSUMER")
        assert (answer.status, answer.identifiers) == ("OK", (B1,))

    def test_refusals_are_told(self, place: Place) -> None:
        merge = IdentityFeed(FeedKind.MERGE, "HOSP_A|ADT", "1", (A1,), subsumed=(A1,))
        answer = iti08.send(merge, place.endpoint)
        assert (answer.code, str(answer.faults[0].location), answer.faults[0].condition) == ("AE", "MRG^1^1^1^1", 204)
        asked = iti09.send(A1, (AssigningAuthority("NOWHERE"),), place.endpoint, source="CITY|CONSUMER")
        assert (asked.status, asked.identifiers) == ("AE", ())
        assert [str(fault.location) for fault in asked.acknowledged.faults] == ["QPD^1^3^1^4", "QPD^1^4^1"]


class TestSecondOpinion:
    """hl7apy reads what we write."""

    def test_acknowledgements(self, place: Place) -> None:
        for version in ("2.3.1", "2.5"):
            answer = place.feed("A-1^^^HOSP_A||X||1962-03-14|Q", version=version)
            text = hl7v2.write(answer).decode()
            parsed = parse_message(text)
            assert parsed.msa.msa_1.to_er7() == answer.get("MSA-1")
            assert parsed.msh.msh_9.to_er7() == answer.field("MSH-9")
            if version == "2.5":
                assert parsed.to_er7() == text.rstrip("\r")
                assert parsed.err[1].err_2.to_er7() == "PID^1^8"
                assert parsed.validate()
            else:
                assert parsed.err[1].err_1.to_er7() == "PID^1^8^103&Table value not found&HL70357"
                # 2.3.1 knows ERR-1 alone; the fields of 2.5 are sent beside it on purpose.
                with pytest.raises(ValidationError):
                    parsed.validate()

    def test_answers_to_queries(self, place: Place) -> None:
        place.feed(f"A-1^^^HOSP_A&1.2.250.1.71.1&ISO||{NAME}")
        found = hl7v2.write(place.ask("A-1^^^HOSP_A&1.2.250.1.71.1&ISO")).decode()
        parsed = parse_message(found)
        assert parsed.validate()
        pid = parsed.rsp_k23_query_response.pid
        assert pid.pid_3.cx_4.hd_2.to_er7() == AFFINITY.oid
        assert [item.name for item in parsed.children][:4] == ["MSH", "MSA", "QAK", "QPD"]
        unknown = parse_message(hl7v2.write(place.ask("A-2^^^HOSP_A")).decode())
        assert unknown.validate()
        assert unknown.qak.qak_2.to_er7() == "AE"

    def test_its_table_of_qpd_ends_before_the_field_that_ihe_uses(self, place: Place) -> None:
        """HL7 2.5 leaves QPD-4 and later fields to the query's definition, and ITI TF-2 3.9.4.1.2.2 uses it."""
        place.feed(f"A-1^^^HOSP_A&1.2.250.1.71.1&ISO||{NAME}")
        answer = parse_message(hl7v2.write(place.ask("A-1^^^HOSP_A", "^^^AFFINITY")).decode())
        with pytest.raises(ValidationError, match="QPD_4"):
            answer.validate()
