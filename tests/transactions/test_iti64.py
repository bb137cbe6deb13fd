"""ITI-64 and ITI-30's links over a real MLLP connection. Spec: ITI TF-2 3.30, 3.64, Appendix C."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hl7apy.parser import parse_message

from tests.builders import document_entry, submission
from tests.identity import AFFINITY, CALLER, HOSPITAL_A, HOSPITAL_B, IDENTITY, Region, at
from xds.actors.document_registry import DocumentRegistry
from xds.actors.domain import Domain
from xds.app import build
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.metadata import DocumentEntry
from xds.model.patient import FeedKind, IdentityFeed
from xds.model.patient_links import LinkChange
from xds.model.stored_queries import RawQuery
from xds.model.vocabulary import AvailabilityStatus, StoredQueryId
from xds.rules.access import AllowAll
from xds.server.mllp import MllpServer
from xds.settings import Settings
from xds.transactions import iti30_patient_identity_management as iti30
from xds.transactions import iti64_notify_xad_pid_link_change as iti64
from xds.transactions.mllp_client import send_mllp
from xds.wire import hl7v2
from xds.wire.ebrim import read_stored
from xds.wire.hl7v2 import Message
from xds.wire.hl7v2_links import read_link_change, write_link, write_link_change

NOW = datetime(2026, 1, 15, 10, tzinfo=UTC)
SYSTEM = "1.2.3.4.77"
OLD, NEW = at(AFFINITY, "X-1"), at(AFFINITY, "X-2")
LOCAL, SUBSUMED = at(HOSPITAL_A, "A-1"), at(HOSPITAL_A, "A-2")
MSH = f"MSH|^~\\&|{SYSTEM}|HOSP|XDS|REGION|20260115||ADT^A43^ADT_A43|M1|P|2.5\nEVN|A43|20260115\n"


def change(**changes: object) -> LinkChange:
    given = {"local": LOCAL, "new": NEW, "previous": OLD, "source_id": SYSTEM, "source": f"HOSP|{SYSTEM}", "message_id": "M1"}
    return LinkChange(**{**given, "destination": "REGION|XDS", **changes})  # type: ignore[arg-type]


class Place:
    """A registry and a PIX Manager on one database behind a real MLLP port."""

    def __init__(self, directory: Path) -> None:
        self.region = Region(directory)
        self.registry = DocumentRegistry(self.region.database, IDENTITY, AllowAll(), lambda: NOW)
        domain = Domain(IDENTITY, self.registry, None, None, self.region.pix, None)  # type: ignore[arg-type]
        self.server = MllpServer(domain, [iti30, iti64], port=0)
        self.endpoint = f"127.0.0.1:{self.server.start()}"
        for patient in (OLD, NEW):
            assert self.region.feed(patient) == ()

    def register(self, source: PatientIdentifier = LOCAL) -> None:
        entry = document_entry(patient_id=OLD.to_cx(), source_patient_id=source.to_cx())
        assert self.registry.register(submission([entry], patient_id=OLD.to_cx()), CALLER).succeeded

    def documents(self, patient: PatientIdentifier) -> list[DocumentEntry]:
        slots = (
            ("XDSDocumentEntryPatientId", (f"'{patient.to_cx()}'",)),
            ("XDSDocumentEntryStatus", (f"('{AvailabilityStatus.APPROVED}')",)),
        )
        answer = self.registry.query(RawQuery(StoredQueryId.FIND_DOCUMENTS, "LeafClass", slots), CALLER)
        found = (read_stored(item) for item in answer.objects)
        return [item for item in found if isinstance(item, DocumentEntry)]

    def send(self, text: str) -> Message:
        return send_mllp(self.endpoint, hl7v2.read(text.replace("\n", "\r").encode()))


@pytest.fixture
def place(tmp_path: Path, back_end: str) -> Iterator[Place]:
    assert back_end
    place = Place(tmp_path)
    yield place
    place.server.stop()
    place.region.close()


def errors(answer: Message) -> list[tuple[str, str]]:
    """Location and code of each ERR."""
    numbers = range(1, answer.count("ERR") + 1)
    return [(answer.segment("ERR", number).field(2), answer.get("ERR-3", occurrence=number)) for number in numbers]


def test_a_link_change_is_acknowledged_and_done(place: Place) -> None:
    place.register()
    assert iti64.send(change(), place.endpoint).code == "AA"
    assert place.documents(OLD) == []
    (moved,) = place.documents(NEW)
    assert (moved.version, moved.patient_id, moved.source_patient_id) == (2, NEW.to_cx(), LOCAL.to_cx())


def test_the_code_of_its_submission_set_is_a_setting(tmp_path: Path) -> None:
    settings = Settings(
        server={"data": tmp_path, "mllp_port": 0},
        domain={"assigning_authority": "1.2.3"},
        registry={"link_change_code": "LC^Link change^Our codes", "require_known_patient": False},
    )
    app = build(settings, "")
    registry = app.domain.document_registry
    entry = document_entry(patient_id="X-1^^^&1.2.3&ISO", source_patient_id=LOCAL.to_cx())
    assert registry.register(submission([entry], patient_id="X-1^^^&1.2.3&ISO"), CALLER).succeeded
    own = AssigningAuthority(oid="1.2.3")
    assert registry.change_link(change(new=PatientIdentifier("X-2", own), previous=PatientIdentifier("X-1", own)), CALLER) == ()
    slots = (
        ("XDSSubmissionSetPatientId", ("'X-2^^^&1.2.3&ISO'",)),
        ("XDSSubmissionSetStatus", (f"('{AvailabilityStatus.APPROVED}')",)),
        ("XDSSubmissionSetContentType", ("('LC^^Our codes')",)),
    )
    found = registry.query(RawQuery(StoredQueryId.FIND_SUBMISSION_SETS, "ObjectRef", slots), CALLER)
    assert len(found.references) == 1
    app.close()
    with pytest.raises(ValueError, match="link_change_code"):
        Settings(registry={"link_change_code": "LC"})


def test_a_local_merge_is_acknowledged_and_done(place: Place) -> None:
    place.register(SUBSUMED)
    assert iti64.send(change(new=OLD, subsumed=SUBSUMED), place.endpoint).code == "AA"
    assert [item.source_patient_id for item in place.documents(OLD)] == [LOCAL.to_cx()]


PID = f"PID|||X-2^^^&{AFFINITY.oid}&ISO~A-1^^^&{HOSPITAL_A.oid}&ISO|| \n"
MRG = f"MRG|X-1^^^&{AFFINITY.oid}&ISO\n"


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        (MSH.replace("ADT_A43", "ADT_A44") + PID + MRG, "AR", [("MSH^1^9^1^3", "200")]),
        (MSH.replace("|2.5", "|2.3.1") + PID + MRG, "AR", [("MSH^1^12", "203")]),
        (MSH, "AE", [("PID^1", "100"), ("MRG^1", "100")]),
        (MSH + PID + MRG + PID, "AE", [("PID^1", "100")]),
        (MSH + PID.partition("~")[0] + "\n" + MRG, "AE", [("PID^1^3^2", "101")]),
        (MSH + PID + "MRG|\n", "AE", [("MRG^1^1^1", "101")]),
        (MSH + PID.replace(f"&{HOSPITAL_A.oid}&ISO", "HOSP_A") + MRG, "AE", [("PID^1^3^2^4^2", "101")]),
        (MSH + PID + MRG.replace("&ISO", "&DNS"), "AE", [("MRG^1^1^1^4^3", "103")]),
        (MSH + PID.replace("~", f"~B-1^^^&{HOSPITAL_B.oid}&ISO~") + MRG, "AE", [("PID^1^3^3", "102")]),
        (MSH + PID + MRG.replace("X-1", "X-9"), "AE", [("MRG^1^1^1^1", "204")]),
        (MSH + PID.replace("X-2", "X-9") + MRG, "AE", [("PID^1^3^1^1", "204")]),
        (MSH + PID + MRG.replace(f"{AFFINITY.oid}", "1.9"), "AE", [("MRG^1^1^1^4", "204")]),
        (MSH + PID.replace("X-2", "X-1") + MRG, "AE", [("MRG^1^1^2^1", "101")]),
    ],
)
def test_what_is_wrong_is_refused_where_it_is(place: Place, text: str, code: str, expected: list[tuple[str, str]]) -> None:
    answer = place.send(text)
    assert (answer.get("MSA-1"), errors(answer)) == (code, expected)


def test_a_system_without_an_oid_gets_one_and_always_the_same() -> None:
    named = [read_link_change(hl7v2.read((MSH.replace(SYSTEM, name) + PID + MRG).encode())) for name in ("PIX", "PIX", "MPI")]
    oids = [item.source_id for item in named if isinstance(item, LinkChange)]
    assert oids[0] == oids[1] != oids[2]
    assert oids[0].startswith("2.25.")


def test_the_oid_of_a_system_may_stand_beside_its_name() -> None:
    read = read_link_change(hl7v2.read((MSH.replace(SYSTEM, f"PIX^{SYSTEM}^ISO") + PID + MRG).encode()))
    assert isinstance(read, LinkChange)
    assert read.source_id == SYSTEM


@pytest.mark.parametrize("sent", [change(), change(subsumed=SUBSUMED), change(new=OLD, subsumed=SUBSUMED)])
def test_what_is_written_is_read_as_it_was(sent: LinkChange) -> None:
    message = write_link_change(sent, now=NOW)
    assert read_link_change(hl7v2.read(hl7v2.write(message))) == sent
    # The library takes the one space that PID-5 is to hold for nothing.
    assert parse_message(hl7v2.write(message).decode().replace("|| \r", "||X\r")).validate()


def linked(kind: FeedKind, *identifiers: PatientIdentifier, message_id: str = "L1") -> IdentityFeed:
    return IdentityFeed(kind, "HOSP_A|ADT", message_id, identifiers[:1], linked=identifiers[1:], destination="REGION|XDS")


def test_records_are_linked_and_unlinked(place: Place) -> None:
    assert iti30.send(linked(FeedKind.LINK, OLD, NEW), place.endpoint).code == "AA"
    place.register()
    assert not place.region.registered(NEW).is_active
    assert iti30.send(linked(FeedKind.UNLINK, OLD, NEW, message_id="L2"), place.endpoint).code == "AA"
    assert place.region.registered(NEW).is_active
    assert len(place.documents(OLD)) == 1
    assert place.documents(NEW) == []


def test_a_wrong_link_is_refused_where_it_is_wrong(place: Place) -> None:
    text = hl7v2.write(write_link(linked(FeedKind.LINK, OLD, NEW), now=NOW)).decode().replace("\r", "\n")
    _first, second = (line for line in text.splitlines() if line.startswith("PID"))
    for wrong, code, expected in (
        (text.replace(second + "\n", ""), "AE", [("PID^2", "100")]),
        (text.replace(second, "PID|||"), "AE", [("PID^2^3", "101")]),
        (text.replace(second, second.replace("&ISO", "&DNS")), "AE", [("PID^2^3^1^4^3", "103")]),
        (text.replace(second, "PID|||X-7"), "AE", [("PID^2^3^1^4", "101")]),
        (text.replace("ADT_A24", "ADT_A37"), "AR", [("MSH^1^9^1^3", "200")]),
    ):
        answer = place.send(wrong)
        assert (answer.get("MSA-1"), errors(answer)) == (code, expected), wrong
