"""ITI-30, ITI-31 and ITI-10 over a real MLLP connection.

Spec: ITI TF-2 3.10, 3.30, 3.31, C.2.3.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from hl7apy.parser import parse_message

from tests.identity import CONFIGURED, HOSPITAL_A, HOSPITAL_B, MARIE, Region, at
from xds.model.caller import Caller
from xds.model.demographics_query import DemographicsQuery, IdentifierPattern, PageRequest
from xds.model.patient import (
    PATIENT_ENCOUNTER_MANAGEMENT,
    PATIENT_IDENTITY_MANAGEMENT,
    Demographics,
    FeedKind,
    IdentityFeed,
    PersonName,
)
from xds.server.mllp import MllpServer
from xds.transactions import iti08_patient_identity_feed as iti08
from xds.transactions import iti09_pix_query as iti09
from xds.transactions import iti10_pix_update_notification as iti10
from xds.transactions import iti30_patient_identity_management as iti30
from xds.transactions import iti31_patient_encounter_management as iti31
from xds.transactions.mllp_client import send_mllp
from xds.transactions.transaction import Transaction, Wire
from xds.wire import hl7v2
from xds.wire.hl7v2 import Message
from xds.wire.hl7v2_answers import Acknowledgement, new_control_id, write_ack

A1, A2, A3 = (at(HOSPITAL_A, value) for value in ("A-1", "A-2", "A-3"))
B1 = at(HOSPITAL_B, "B-1")
CX = "{}^^^HOSP_A&1.2.250.1.71.1&ISO"
MARIE_PID = "||LEFÈVRE^Marie-Hélène^^^^^L||19620314|F|||4 rue des Lilas^^ORLÉANS^^45000"
PAUL_PID = "||DUPOND^Paul^^^^^L||19880501|M"


class Place:
    """A region behind a real MLLP port, and feeds to give it."""

    def __init__(self, directory: Path) -> None:
        self.region = Region(directory, domains=CONFIGURED, unknown_domains="refuse")
        self.server = MllpServer(self.region.domain, [iti08, iti09, iti30, iti31], port=0)
        self.endpoint = f"127.0.0.1:{self.server.start()}"
        self._numbers = itertools.count(1)

    def send(self, event: str, *segments: str, version: str = "2.5", modes: str = "|", control_id: str = "") -> Message:
        """Send an ADT; `modes` are MSH-15 and MSH-16."""
        trigger = event.partition("^")[0]
        number = control_id or f"M{next(self._numbers)}"
        head = f"MSH|^~\\&|ADT|HOSP_A|XDS|REGION|20260115||ADT^{event}|{number}|P|{version}|||{modes}||UNICODE UTF-8"
        return send_mllp(self.endpoint, hl7v2.read("\r".join((head, f"EVN|{trigger}|20260115", *segments)).encode()))

    def patient(self, value: str, described: str = MARIE_PID) -> None:
        answer = self.send("A28^ADT_A05", f"PID|||{CX.format(value)}{described}", "PV1||N")
        assert answer.get("MSA-1") == "AA"

    def knows(self, value: str) -> bool:
        return self.region.pix.affinity_identifier(at(HOSPITAL_A, value)) is not None

    def is_one(self, one: str, other: str) -> bool:
        found = [self.region.pix.affinity_identifier(at(HOSPITAL_A, value)) for value in (one, other)]
        return found[0] is not None and found[0] == found[1]

    def visit(self, value: str) -> dict[str, str]:
        query = DemographicsQuery(identifiers=((IdentifierPattern(value, HOSPITAL_A),),))
        (match,) = self.region.supplier.search(query, PageRequest(), Caller(address="127.0.0.1")).matches
        return dict(match.visit)

    def stated(self, value: str) -> Demographics:
        query = DemographicsQuery(identifiers=((IdentifierPattern(value, HOSPITAL_A),),))
        (match,) = self.region.supplier.search(query, PageRequest(), Caller(address="127.0.0.1")).matches
        return match.demographics


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    there = Place(tmp_path)
    yield there
    there.server.stop()
    there.region.close()


def verdict(answer: Message) -> tuple[str, list[tuple[str, str]]]:
    """MSA-1, and place and code of each ERR."""
    numbers = range(1, answer.count("ERR") + 1)
    return answer.get("MSA-1"), [(answer.field("ERR-2", number), answer.get("ERR-3", occurrence=number)) for number in numbers]


ACCEPTED = ("AA", [])


class TestIdentityManagement:
    def test_create_and_update(self, place: Place) -> None:
        place.patient("A-1")
        answer = place.send("A31^ADT_A05", f"PID|||{CX.format('A-1')}||LEFÈVRE^Marie^^^^^L||19620315", "PV1||N")
        assert verdict(answer) == ACCEPTED
        assert (place.stated("A-1").birth_date, place.stated("A-1").sex) == ("19620315", "F")

    def test_a_field_is_deleted(self, place: Place) -> None:
        place.patient("A-1")
        assert verdict(place.send("A31^ADT_A05", f'PID|||{CX.format("A-1")}||||||||""', "PV1||N")) == ACCEPTED
        assert (place.stated("A-1").addresses, place.stated("A-1").sex) == ((), "F")

    def test_a_merge(self, place: Place) -> None:
        place.patient("A-1")
        place.patient("A-2", PAUL_PID)
        merge = (f"PID|||{CX.format('A-1')}{MARIE_PID}", f"MRG|{CX.format('A-2')}")
        assert verdict(place.send("A40^ADT_A39", *merge)) == ACCEPTED
        assert place.is_one("A-1", "A-2")

    def test_a_merge_of_an_unknown_patient_changes_nothing(self, place: Place) -> None:
        place.patient("A-1")
        merge = (f"PID|||{CX.format('A-1')}{MARIE_PID}", f"MRG|{CX.format('A-9')}")
        assert verdict(place.send("A40^ADT_A39", *merge)) == ACCEPTED
        assert not place.knows("A-9")
        assert verdict(place.send("A40^ADT_A39", *merge, version="2.3.1")) == ("AE", [("MRG^1^1^1^1", "204")])

    def test_a_merge_into_an_unknown_patient_is_a_change(self, place: Place) -> None:
        place.patient("A-1")
        merge = (f"PID|||{CX.format('A-2')}{MARIE_PID}", f"MRG|{CX.format('A-1')}")
        assert verdict(place.send("A40^ADT_A39", *merge)) == ACCEPTED
        assert place.is_one("A-1", "A-2")

    @pytest.mark.parametrize("version", ["2.3.1", "2.5"])
    def test_a_merge_with_itself(self, place: Place, version: str) -> None:
        place.patient("A-1")
        merge = (f"PID|||{CX.format('A-1')}{MARIE_PID}", f"MRG|{CX.format('A-1')}")
        code, faults = verdict(place.send("A40^ADT_A39", *merge, version=version))
        assert code == "AE"
        assert [place for place, _ in faults] == ["MRG^1^1^1^1"]

    @pytest.mark.parametrize("event", ["A40^ADT_A39", "A47^ADT_A30"])
    @pytest.mark.parametrize(
        ("segments", "faults"),
        [
            (["PID|||{1}", "MRG|{2}", "MRG|{3}"], [("MRG^2", "100")]),
            (["PID|||{1}", "MRG|{2}", "PID|||{3}", "MRG|{2}"], [("PID^2", "100")]),
            (["PID|||{1}"], [("MRG^1", "100")]),
            (["MRG|{1}"], [("PID^1", "100")]),
            (["PID|||{1}", "MRG|"], [("MRG^1^1", "101")]),
            (["PID|||", "MRG|{2}"], [("PID^1^3", "101")]),
            (["PID|||{1}", "MRG|A-2^^^HOSP_B&1.2.250.1.71.2&ISO"], [("MRG^1^1^1^4", "103")]),
            (["PID|||{1}", "MRG|A-2^^^NOWHERE"], [("MRG^1^1^1^4", "204")]),
            (["PID|||{1}", "MRG|A-2^^^X&1.2.3&GUID"], [("MRG^1^1^1^4^3", "103")]),
        ],
    )
    def test_what_is_no_pair(self, place: Place, event: str, segments: list[str], faults: list[tuple[str, str]]) -> None:
        values = ["", *(CX.format(f"A-{number}") for number in (1, 2, 3))]
        assert verdict(place.send(event, *(item.format(*values) for item in segments))) == ("AE", faults)

    def test_a_change_of_identifier(self, place: Place) -> None:
        place.patient("A-1")
        change = (f"PID|||{CX.format('A-2')}{MARIE_PID}", f"MRG|{CX.format('A-1')}")
        assert verdict(place.send("A47^ADT_A30", *change)) == ACCEPTED
        assert place.is_one("A-1", "A-2")
        assert place.stated("A-2").names[0].family == "LEFÈVRE"

    def test_a_change_of_an_unknown_identifier_changes_nothing(self, place: Place) -> None:
        change = (f"PID|||{CX.format('A-2')}{MARIE_PID}", f"MRG|{CX.format('A-1')}")
        assert verdict(place.send("A47^ADT_A30", *change)) == ACCEPTED
        assert not place.knows("A-1")

    def test_a_change_to_the_identifier_of_another_patient(self, place: Place) -> None:
        place.patient("A-1")
        place.patient("A-2", PAUL_PID)
        change = (f"PID|||{CX.format('A-2')}{MARIE_PID}", f"MRG|{CX.format('A-1')}")
        code, faults = verdict(place.send("A47^ADT_A30", *change))
        assert (code, [condition for _, condition in faults]) == ("AE", ["205"])
        assert not place.is_one("A-1", "A-2")

    def test_link_and_unlink(self, place: Place) -> None:
        place.patient("A-1")
        place.patient("A-2", PAUL_PID)
        pair = (f"PID|||{CX.format('A-1')}", f"PID|||{CX.format('A-2')}")
        assert verdict(place.send("A24^ADT_A24", *pair)) == ACCEPTED
        assert place.is_one("A-1", "A-2")
        assert verdict(place.send("A37^ADT_A37", *pair)) == ACCEPTED
        assert not place.is_one("A-1", "A-2")
        assert verdict(place.send("A37^ADT_A37", *pair)) == ACCEPTED

    @pytest.mark.parametrize("event", ["A24^ADT_A24", "A37^ADT_A37"])
    def test_what_is_no_link(self, place: Place, event: str) -> None:
        one = f"PID|||{CX.format('A-1')}"
        assert verdict(place.send(event, one)) == ("AE", [("PID^2", "100")])
        assert verdict(place.send(event, one, one, one)) == ("AE", [("PID^3", "100")])
        assert verdict(place.send(event, one, "PID|||")) == ("AE", [("PID^2^3", "101")])
        assert verdict(place.send(event, one, "PID|||A-2^^^X&1.2.3&DNS")) == ("AE", [("PID^2^3^1^4^3", "103")])

    @pytest.mark.parametrize(
        ("event", "version", "faults"),
        [
            ("A28^ADT_A02", "2.5", [("MSH^1^9^1^3", "200")]),
            ("A47^ADT_A39", "2.5", [("MSH^1^9^1^3", "200")]),
            ("A28^ADT_A05", "2.3.1", [("MSH^1^12", "203")]),
            ("A47^ADT_A30", "2.4", [("MSH^1^12", "203")]),
        ],
    )
    def test_rejected(self, place: Place, event: str, version: str, faults: list[tuple[str, str]]) -> None:
        assert verdict(place.send(event, f"PID|||{CX.format('A-1')}", version=version)) == ("AR", faults)


class TestFields:
    @pytest.mark.parametrize(
        ("pid", "faults"),
        [
            ("|||", [("PID^1^3", "101")]),
            ("|||^^^HOSP_A", [("PID^1^3", "101")]),
            ('|||""^^^HOSP_A', [("PID^1^3", "101")]),
            ("|||A-1^^^NOWHERE", [("PID^1^3^1^4", "204")]),
            ("|||A-1^^^HOSP_A~A-2^^^HOSP_B", [("PID^1^3^2^4", "103")]),
            ("|||A-1^^^HOSP_A&1.2.250.1.71.2&ISO", [("PID^1^3^1^4", "102")]),
            ("|||A-1^^^HOSP_A||X||19621399|F", [("PID^1^7", "102")]),
            ("|||A-1^^^HOSP_A||X||19620314|Z", [("PID^1^8", "103")]),
            ("|||||||||||||||||||||||||||||20201340", [("PID^1^3", "101"), ("PID^1^29", "102")]),
            ("|||A-1^^^X&1.2.3&UUID||X||yesterday|Z", [("PID^1^3^1^4^3", "103"), ("PID^1^7", "102"), ("PID^1^8", "103")]),
        ],
    )
    def test_refused(self, place: Place, pid: str, faults: list[tuple[str, str]]) -> None:
        assert verdict(place.send("A28^ADT_A05", f"PID{pid}", "PV1||N")) == ("AE", faults)

    def test_what_cannot_be_read_hides_nothing_that_is_refused(self, place: Place) -> None:
        """Spec: ITI TF-2 C.2.3: every error of a message has its ERR segment."""
        pid = f"PID|||{CX.format('A-1')}~8^^^&9.9.9&ISO||LEFÈVRE^Marie||1962-03-14|woman"
        both = [("PID^1^7", "102"), ("PID^1^8", "103"), ("PID^1^3^2^4", "204")]
        assert verdict(place.send("A28^ADT_A05", pid)) == ("AE", both)
        assert not place.knows("A-1")
        # What is wrong with an authority as such is not told again as its being unknown.
        pid = f"PID|||{CX.format('A-1')}~8^^^&9.9.9&DNS~9^^^&9.9.8&ISO||LEFÈVRE^Marie"
        assert verdict(place.send("A28^ADT_A05", pid)) == ("AE", [("PID^1^3^2^4^3", "103"), ("PID^1^3^3^4", "204")])

    def test_an_unreadable_message_is_held_against_what_is_stored(self, place: Place) -> None:
        place.patient("A-1")
        place.patient("A-2")
        merge = ("PID|||" + CX.format("A-1") + "||LEFÈVRE^Marie", f"MRG|{CX.format('A-2')}")
        assert verdict(place.send("A40^ADT_A39", *merge)) == ("AA", [])
        unreadable = f"PID|||{CX.format('A-2')}||LEFÈVRE^Marie||unknown"
        assert verdict(place.send("A31^ADT_A05", unreadable)) == ("AE", [("PID^1^7", "102"), ("PID^1^3^1^1", "204")])
        again = ("PID|||" + CX.format("A-1") + "||LEFÈVRE^Marie||unknown", f"MRG|{CX.format('A-2')}", "MRG|3^^^HOSP_A")
        assert verdict(place.send("A40^ADT_A39", *again)) == (
            "AE",
            [("MRG^2", "100"), ("PID^1^7", "102"), ("MRG^1^1^1^1", "204")],
        )
        link = ("PID|||5^^^&9.9.9&ISO", "PID|||5^^^&9.9.9&DNS")
        assert verdict(place.send("A24^ADT_A24", *link)) == ("AE", [("PID^2^3^1^4^3", "103"), ("PID^1^3^1^4", "204")])

    def test_segments_that_are_missing_or_repeated(self, place: Place) -> None:
        assert verdict(place.send("A28^ADT_A05")) == ("AE", [("PID^1", "100")])
        one = f"PID|||{CX.format('A-1')}"
        assert verdict(place.send("A28^ADT_A05", one, one)) == ("AE", [("PID^2", "100")])
        assert verdict(place.send("A03^ADT_A03", one, "PV1||I", one)) == ("AE", [("PID^2", "100")])

    def test_an_identifier_that_is_too_long(self, place: Place) -> None:
        code, faults = verdict(place.send("A28^ADT_A05", f"PID|||{CX.format('9' * 5000)}{MARIE_PID}"))
        assert (code, faults) == ("AE", [("PID^1^3^1^1", "102")])

    def test_the_traits_of_a_patient(self, place: Place) -> None:
        pid = (
            f"PID|||{CX.format('A-1')}~269054958815780^^^&1.2.250.1.213.1.4.10&ISO^INS||LEFÈVRE^Marie^Anne^^Mme^^L~MARTIN^^^^^^D"
            "|DURAND^Odile|19620314|F|||4 rue des Lilas^^ORLÉANS^^45000^FRA^H~^^TOURS^^^^BR|"
            "|0238112233^PRN^PH~^NET^Internet^m@example.fr|0238999999^WPN^PH~^NET^Internet^m@work.example|fra^French|M|CAT|||||"
            "|ORLÉANS|N||||||||VALI~INCO"
        )
        assert verdict(place.send("A28^ADT_A05", pid, "PV1||N")) == ACCEPTED
        stated = place.stated("A-1")
        assert stated.names[0] == PersonName("LEFÈVRE", "Marie", "Anne", prefix="Mme", use="L")
        assert (stated.telephones, stated.work_telephones) == (("0238112233",), ("0238999999",))
        assert stated.emails == ("m@example.fr", "m@work.example")
        assert (stated.language, stated.marital_status, stated.religion) == ("fra", "M", "CAT")
        assert (stated.birth_place, stated.multiple_birth) == ("ORLÉANS", False)
        assert (stated.mother_maiden_name, stated.mother_given_name) == ("DURAND", "Odile")
        assert set(stated.reliability) == {"VALI", "INCO"}


class TestEncounters:
    @pytest.mark.parametrize(("event", "structure"), iti31.STRUCTURES.items())
    def test_every_event(self, place: Place, event: str, structure: str) -> None:
        answer = place.send(f"{event}^{structure}", f"PID|||{CX.format('A-1')}{MARIE_PID}", "PV1||I|MED^201^1")
        assert verdict(answer) == ACCEPTED
        assert answer.field("MSH-9") == f"ACK^{event}^ACK"
        assert place.visit("A-1") == {"PV1.2": "I", "PV1.3": "MED", "PV1.3.2": "201", "PV1.3.3": "1"}
        event_types = {item.event_type.code for item in place.region.audited()}
        assert event_types == {PATIENT_ENCOUNTER_MANAGEMENT.code}

    def test_the_last_visit_counts(self, place: Place) -> None:
        patient = f"PID|||{CX.format('A-1')}{MARIE_PID}"
        place.send("A01^ADT_A01", patient, "PV1||I|MED^201^1||||1^DURAND")
        place.send("A02^ADT_A02", patient, "PV1||I|SUR^7^2^CHRO&1.2.3&ISO||||1^DURAND", "PV2|||^fracture")
        seen = place.visit("A-1")
        assert (seen["PV1.3"], seen["PV1.3.4"], seen["PV1.3.4.2"], seen["PV2.3.2"]) == ("SUR", "CHRO", "1.2.3", "fracture")

    def test_a_message_without_a_visit_leaves_it(self, place: Place) -> None:
        patient = f"PID|||{CX.format('A-1')}{MARIE_PID}"
        place.send("A01^ADT_A01", patient, "PV1||I|MED^201^1")
        place.send("A31^ADT_A05", patient, "PV1||N")
        assert place.visit("A-1")["PV1.3"] == "MED"

    def test_rejected(self, place: Place) -> None:
        patient = f"PID|||{CX.format('A-1')}{MARIE_PID}"
        assert verdict(place.send("A03^ADT_A05", patient)) == ("AR", [("MSH^1^9^1^3", "200")])
        before = place.send("A03^ADT_A03", patient, version="2.3.1")
        assert verdict(before) == ("AR", [("MSH^1^9^1^2", "201"), ("MSH^1^12", "203")])
        assert verdict(place.send("A20^ADT_A20", patient)) == ("AR", [("MSH^1^9^1^2", "201")])

    def test_the_client(self, place: Place) -> None:
        feed = IdentityFeed(
            FeedKind.REVISE,
            "HOSP_A|ADT",
            "E1",
            (A1,),
            MARIE,
            visit={"PV1.2": "I", "PV1.3.2": "12", "PV2.3.2": "a|b", "PD1.4": "7"},
        )
        assert iti31.send(feed, "A02", place.endpoint).code == "AA"
        assert place.visit("A-1") == feed.visit


class TestAcknowledgement:
    @pytest.mark.parametrize(
        ("modes", "good", "bad"),
        [
            ("|", "AA", "AE"),
            ("ER|", "AA", "AE"),
            ("AL|AL", "AA", "AE"),
            ("NE|AL", "AA", "AE"),
            ("NE|NE", "AA", "AE"),
            ("AL|NE", "CA", "CE"),
            ("ER|NE", "CA", "CE"),
        ],
    )
    def test_modes(self, place: Place, modes: str, good: str, bad: str) -> None:
        assert place.send("A28^ADT_A05", f"PID|||{CX.format('A-1')}{MARIE_PID}", modes=modes).get("MSA-1") == good
        assert place.send("A28^ADT_A05", "PID|||", modes=modes).get("MSA-1") == bad

    def test_reject_in_enhanced_mode(self, place: Place) -> None:
        assert place.send("A20^ADT_A20", modes="AL|NE").get("MSA-1") == "CR"

    def test_answers_are_valid_for_hl7apy(self, place: Place) -> None:
        for answer in (
            place.send("A28^ADT_A05", f"PID|||{CX.format('A-1')}{MARIE_PID}", "PV1||N"),
            place.send("A28^ADT_A05", "PID|||"),
            place.send("A20^ADT_A20"),
        ):
            text = hl7v2.write(answer).decode()
            assert parse_message(text, force_validation=True).msa.msa_1.value == answer.get("MSA-1")

    def test_a_resent_message_has_no_second_effect(self, place: Place) -> None:
        patient = (f"PID|||{CX.format('A-1')}{MARIE_PID}", "PV1||N")
        assert verdict(place.send("A28^ADT_A05", *patient, control_id="SAME")) == ACCEPTED
        place.send("A31^ADT_A05", f"PID|||{CX.format('A-1')}||OTHER^NAME", "PV1||N")
        assert verdict(place.send("A28^ADT_A05", *patient, control_id="SAME")) == ACCEPTED
        assert place.stated("A-1").names[0].family == "OTHER"

    def test_parallel_feeds_of_a_new_identifier_make_one_person(self, place: Place) -> None:
        gate, answers = threading.Barrier(6), []

        def feed(number: int) -> None:
            gate.wait(60)
            answers.append(place.send("A28^ADT_A05", f"PID|||{CX.format('A-1')}{MARIE_PID}", control_id=f"P{number}"))

        threads = [threading.Thread(target=feed, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [verdict(answer) for answer in answers] == [ACCEPTED] * 6
        persons = [item for item in place.region.pix.persons(Caller(address="127.0.0.1")) if A1 in item.identifiers]
        assert len(persons) == 1


class TestClients:
    def test_identity_management(self, place: Place) -> None:
        def feed(kind: FeedKind, message_id: str, **more: object) -> IdentityFeed:
            return IdentityFeed(kind, "HOSP_A|ADT", message_id, (A1,), MARIE, event_type=PATIENT_IDENTITY_MANAGEMENT, **more)

        assert iti30.send(feed(FeedKind.ADD, "1"), place.endpoint).code == "AA"
        assert iti30.send(feed(FeedKind.REVISE, "2"), place.endpoint).code == "AA"
        assert iti30.send(feed(FeedKind.MERGE, "3", subsumed=(A2,)), place.endpoint).code == "AA"
        assert iti30.send(feed(FeedKind.CHANGE, "4", subsumed=(A3,)), place.endpoint).code == "AA"
        assert iti30.send(feed(FeedKind.LINK, "5", linked=(A2,)), place.endpoint).code == "AA"
        with pytest.raises(ValueError, match="none of ITI-30"):
            iti30.send(IdentityFeed(FeedKind.ADD, "A|B", "6", (A1,)), place.endpoint)
        assert place.is_one("A-1", "A-2")


class Consumer(ModuleType):
    """A PIX Consumer: keeps what it is told."""

    TRANSACTION = Transaction(id="ITI-10", name="Consumer", responder="test", wire=Wire.HL7V2, triggers=("ADT^A31",))

    def __init__(self) -> None:
        super().__init__("consumer")
        self.told: queue.Queue[Message] = queue.Queue()

    def respond(self, request: Message, domain: object, caller: Caller) -> Message:
        self.told.put(request)
        return write_ack(request, Acknowledgement.ACCEPT, now=datetime.now(UTC), control_id=new_control_id())


def test_a_notification(place: Place) -> None:
    consumer = Consumer()
    server = MllpServer(place.region.domain, [consumer], port=0)
    endpoint = f"mllp://127.0.0.1:{server.start()}"
    answer = iti10.send(
        (A1, B1, A2),
        endpoint,
        source="REGION|XDS",
        destination="CITY|EHR",
        message_id="N-1",
        occurred=datetime(2026, 1, 2, tzinfo=UTC),
    )
    assert (answer.code, answer.message_id) == ("AA", "N-1")
    message = consumer.told.get(timeout=60)
    server.stop()
    assert (message.field("MSH-9"), message.version, message.get("MSH-21")) == ("ADT^A31^ADT_A05", "2.5", "ITI-10")
    assert [item.name for item in message.segments] == ["MSH", "EVN", "PID", "PV1"]
    assert message.field("PID-3").split("~") == [
        "A-1^^^HOSP_A&1.2.250.1.71.1&ISO",
        "A-2^^^HOSP_A&1.2.250.1.71.1&ISO",
        "B-1^^^HOSP_B&1.2.250.1.71.2&ISO",
    ]
    assert (message.field("PID-5"), message.field("PV1-2")) == (" ", "N")
    assert message.get("EVN-6") == "20260102000000+0000"
