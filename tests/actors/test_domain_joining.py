"""A domain that feeds made known twice, by its namespace and by its OID, and how it becomes one. Spec: ITI TF-2 Appendix E.1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.identity import AFFINITY, CALLER, HOSPITAL_B, IDENTITY, MARIE, Region, at
from xds.actors import pix_domain_joining
from xds.actors.pix_domain_joining import CannotJoinError, Joined
from xds.model.identifiers import AssigningAuthority
from xds.model.identity_review import LinkReason
from xds.model.patient import Demographics, FeedKind, PersonName

pytestmark = pytest.mark.usefixtures("back_end")

NAMED, NUMBERED = AssigningAuthority("CLINIC"), AssigningAuthority(oid="2.999.77")
BOTH = AssigningAuthority("CLINIC", "2.999.77")
PAUL = Demographics((PersonName("Zorn", "Paul", use="L"),), "19800101", "M")


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    opened = Region(tmp_path)
    yield opened
    opened.close()


def join(region: Region, authority: AssigningAuthority = BOTH, between: object = None) -> Joined:
    """Join the domains; `between` happens before those who learn of it late are looked after."""

    def wait(_seconds: float) -> None:
        if callable(between):
            between()

    return pix_domain_joining.join_domains(
        region.database, region.pix._register, IDENTITY, region.clock, authority, CALLER, wait=wait
    )


def known(region: Region) -> list[tuple[str | None, str | None]]:
    found = (item.authority for item in region.pix.domains())
    return [(item.namespace, item.oid) for item in found if item != AFFINITY]


def test_a_message_that_states_both_names_tells_the_operator(region: Region) -> None:
    region.feed(at(NAMED, "1"))
    region.feed(at(NUMBERED, "2"), demographics=PAUL)
    with capture_logs() as logs:
        assert region.feed(at(BOTH, "3"), demographics=PAUL, kind=FeedKind.ADD) == ()
        assert region.feed(at(BOTH, "2"), demographics=PAUL, kind=FeedKind.REVISE) == ()
    events = [item for item in logs if item["event"] == "identity.domain_known_twice"]
    assert [(item["log_level"], item["namespace"], item["oid"]) for item in events] == [("warning", "CLINIC", "2.999.77")]
    assert known(region) == [("CLINIC", None), (None, "2.999.77")]


def test_two_become_one_and_nothing_is_lost(region: Region) -> None:
    region.feed(at(NAMED, "1"), at(HOSPITAL_B, "B1"))
    region.feed(at(NUMBERED, "2"), demographics=PAUL)
    before = [region.affinity(at(NAMED, "1")), region.affinity(at(NUMBERED, "2"))]
    assert join(region) == Joined(moved=1)
    assert known(region)[-1] == ("CLINIC", "2.999.77")
    assert len(known(region)) == 2
    for authority in (NAMED, NUMBERED, BOTH):
        assert [region.affinity(at(authority, value)) for value in ("1", "2")] == before
        assert region.others(at(authority, "1"), HOSPITAL_B) == ["B1"]
    (told,) = region.pix.cross_reference(at(HOSPITAL_B, "B1"), (BOTH,), CALLER).identifiers
    assert told.authority == BOTH
    assert region.feed(at(NAMED, "2"), kind=FeedKind.REVISE, demographics=PAUL) == ()
    assert len(list(region.pix.persons(CALLER))) == 2


def test_one_number_in_both_is_one_patient(region: Region) -> None:
    region.feed(at(NAMED, "1"), demographics=replace(MARIE, addresses=()))
    region.feed(at(NUMBERED, "1"), demographics=replace(MARIE, addresses=(), birth_date=None))
    region.feed(at(HOSPITAL_B, "B1"), source="HOSP_B|ADT")
    done = join(region)
    assert (done.moved, done.same, done.patients) == (0, 1, ["1"])
    assert region.affinity(at(BOTH, "1")) == region.affinity(at(NAMED, "1"))
    record = region.pix.desk.record_of(at(BOTH, "1"))
    assert LinkReason.STATED in {item.reason for item in region.pix.desk.history(record or 0, CALLER) or ()}
    assert len(region.audited()) == 3 + 1


def test_merges_and_links_move_with_their_identifiers(region: Region) -> None:
    one, two = at(NAMED, "1"), at(NAMED, "2")
    region.feed(one)
    region.feed(two, demographics=PAUL)
    region.merge(two, one)
    region.feed(at(NUMBERED, "3"), demographics=PAUL)
    assert join(region).moved == 2
    assert region.pix.undo_merge(at(BOTH, "2"), CALLER)
    assert region.affinity(at(BOTH, "2")) != region.affinity(at(BOTH, "1"))


def test_a_number_of_two_patients_forbids_it(region: Region) -> None:
    region.feed(at(NAMED, "0"))
    region.feed(at(NAMED, "1"))
    region.feed(at(NUMBERED, "1"), demographics=PAUL)
    with pytest.raises(CannotJoinError, match="1 identifiers mean two different patients") as raised:
        join(region)
    assert raised.value.values == ("1",)
    assert known(region) == [("CLINIC", None), (None, "2.999.77")]
    assert region.affinity(at(NAMED, "1")) != region.affinity(at(NUMBERED, "1"))
    assert region.pix.affinity_identifier(at(NUMBERED, "0")) is None


@pytest.mark.parametrize(
    ("authority", "text"),
    [
        (AssigningAuthority("CLINIC", "2.999.99"), "no domain is known by the OID 2.999.99"),
        (AssigningAuthority("NOBODY", "2.999.77"), "no domain is known by the namespace NOBODY"),
        (AssigningAuthority(HOSPITAL_B.namespace, HOSPITAL_B.oid), "one domain already"),
        (AssigningAuthority(HOSPITAL_B.namespace, "2.999.77"), "has both names"),
        (AssigningAuthority("CLINIC", HOSPITAL_B.oid), "has both names"),
    ],
)
def test_what_cannot_be_joined(region: Region, authority: AssigningAuthority, text: str) -> None:
    region.feed(at(NAMED, "1"))
    region.feed(at(NUMBERED, "2"), demographics=PAUL)
    region.feed(at(HOSPITAL_B, "B1"))
    with pytest.raises(CannotJoinError, match=text):
        join(region, authority)


def test_what_other_processes_file_late_is_moved_too(region: Region) -> None:
    region.feed(at(NAMED, "1"))
    region.feed(at(NUMBERED, "2"), demographics=PAUL)
    former = dict(region.pix.known_domains.known())

    def late() -> None:
        # A server that has not looked yet.
        region.pix.known_domains.learn(former)
        region.feed(at(NAMED, "9"), demographics=replace(PAUL, birth_date="19700101"))

    assert join(region, between=late).moved == 2
    region.pix.known_domains.forget()
    assert region.affinity(at(NUMBERED, "9")) == region.affinity(at(BOTH, "9"))
    assert known(region)[-1] == ("CLINIC", "2.999.77")


def test_more_identifiers_than_are_read_at_a_time(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds.store.patients_domain_joining._PAGE", 2)
    for number in range(5):
        region.feed(at(NAMED, str(number)), demographics=replace(PAUL, birth_date=f"198{number}0101"))
    region.feed(at(NUMBERED, "x"), demographics=MARIE)
    assert join(region).moved == 5
    assert len({region.affinity(at(BOTH, str(number))).value for number in range(5)}) == 5
