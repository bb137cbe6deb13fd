"""A patient whom her source removed. Spec: PIXm 2:3.104.4.3."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from tests.identity import AFFINITY, CALLER, HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, INS, MARIE, Region, at
from xds.model.audit import EventAction
from xds.model.demographics_query import DemographicsQuery, NamePattern, PageRequest, TextPattern
from xds.model.identifiers import PatientIdentifier
from xds.model.patient import FeedKind, IdentityProblemKind, PersonName

A1, A2, B1, C1, X1 = (
    at(HOSPITAL_A, "1"),
    at(HOSPITAL_A, "2"),
    at(HOSPITAL_B, "1"),
    at(HOSPITAL_C, "1"),
    at(AFFINITY, "X1"),
)
PAUL = replace(MARIE, names=(PersonName("Ozanne", "Paul", use="L"),), birth_date="19710203", sex="M", addresses=())
#: Tables that tell of what was decided, not of persons, or belong to the audit trail.
_HISTORY = {"audit_event", "audit_object", "link_decision", "name_word", "name_sound"}


@pytest.fixture(name="region")
def _region(tmp_path: Path) -> Iterator[Region]:
    found = Region(tmp_path)
    yield found
    found.close()


def remove(region: Region, identifier: PatientIdentifier, source: str = "HOSP_A|ADT") -> list[IdentityProblemKind]:
    problems = region.feed(identifier, kind=FeedKind.REMOVE, demographics=replace(MARIE, names=()), source=source)
    return [item.kind for item in problems]


def is_known(region: Region, identifier: PatientIdentifier) -> bool:
    return region.pix.cross_reference(identifier, (), CALLER).problems == ()


def named(region: Region, family: str) -> list[list[str]]:
    query = DemographicsQuery(names=((NamePattern(family=TextPattern(family)),),))
    found = region.supplier.search(query, PageRequest(), CALLER).matches
    return [[item.value for item in match.identifiers] for match in found]


def mentions(region: Region, *words: str) -> list[str]:
    """The tables in which one of these words stands, other than those of history."""
    found = []
    with region.database.read() as connection:
        for table in sorted(set(inspect(connection).get_table_names()) - _HISTORY):
            rows = " ".join(map(repr, connection.execute(text(f"SELECT * FROM {table}"))))
            if any(word in rows for word in words):
                found.append(table)
    return found


def test_of_somebody_who_is_alone_nothing_is_left(region: Region) -> None:
    region.feed(A1, visit={"PV1.2": "I", "PV1.3": "CARDIO"})
    affinity = region.affinity(A1)
    assert {"demographic_name", "identity", "patient_visit", "stated_demographics"} <= set(
        mentions(region, "LEFEVRE", "CARDIO", "'1'")
    )
    assert remove(region, A1) == []
    assert mentions(region, "LEFEVRE", "Lefèvre", "CARDIO", "Lilas", "LILAS", affinity.value) == ["patient"]
    assert not is_known(region, A1)
    assert not is_known(region, affinity)
    assert named(region, "Lefèvre") == []
    assert region.registered(affinity).is_active, "her documents are not the source's to remove"


def test_it_is_told_to_the_audit_trail(region: Region) -> None:
    region.feed(A1)
    remove(region, A1)
    last = [item for item in region.audited() if item.event_type.code == "ITI-8"][-1]
    assert (last.action, last.objects[0].id.partition("^")[0]) == (EventAction.DELETE, "1")


def test_whoever_was_one_person_with_her_keeps_the_identifier_of_documents(region: Region) -> None:
    region.feed(A1)
    region.feed(B1, source="HOSP_B|ADT")
    region.feed(C1, source="HOSP_C|ADT")
    affinity = region.affinity(A1)
    assert remove(region, A1) == []
    assert region.affinity(B1) == region.affinity(C1) == affinity
    assert region.others(B1) == [affinity.value, "1"]
    assert named(region, "Lefèvre") == [[affinity.value, "1", "1"]]
    assert region.registered(affinity).is_active
    # Whoever comes again is known again.
    region.feed(A1)
    assert region.affinity(A1) == affinity


def test_a_record_with_another_identifier_stays(region: Region) -> None:
    region.feed(A1, C1)
    affinity = region.affinity(A1)
    assert remove(region, A1) == []
    assert not is_known(region, A1)
    assert region.affinity(C1) == affinity
    assert named(region, "Lefèvre") == [[affinity.value, "1"]]


def test_what_merges_subsumed_goes_with_the_survivor(region: Region) -> None:
    region.feed(A1)
    region.feed(A2, demographics=PAUL)
    region.merge(A2, A1)
    assert remove(region, A1) == []
    assert mentions(region, "LEFEVRE", "OZANNE") == []
    region.feed(A2, demographics=PAUL)
    assert named(region, "Ozanne") == [[region.affinity(A2).value, "2"]]


def test_a_subsumed_identifier_may_go_alone(region: Region) -> None:
    region.feed(A1)
    region.feed(A2, demographics=PAUL)
    region.merge(A2, A1)
    assert remove(region, A2) == []
    assert mentions(region, "OZANNE") == []
    assert is_known(region, A1)
    assert remove(region, A2) == [IdentityProblemKind.UNKNOWN_IDENTIFIER]


def test_a_fed_identifier_of_the_affinity_domain(region: Region) -> None:
    region.feed(A1)
    region.feed(X1, source="MPI|MPI")
    assert region.affinity(A1).value == "X1"
    assert remove(region, X1, "MPI|MPI") == []
    assert region.affinity(A1).value.startswith("P")
    assert not is_known(region, X1)


def test_a_key_is_nobody_elses(region: Region) -> None:
    """Decisions and the ids of Patient resources name records by their keys."""
    region.feed(B1, demographics=PAUL, source="HOSP_B|ADT")
    region.feed(A1)
    gone, other = region.pix.desk.record_of(A1), region.pix.desk.record_of(B1)
    decision = region.pix.desk.link(gone, other, CALLER)
    remove(region, A1)
    assert region.supplier.person(gone, CALLER) is None
    assert region.supplier.golden(gone, CALLER) is None
    assert [item.key for item in region.pix.persons(CALLER)] == [other]
    assert region.pix.desk.undo(decision, CALLER) is None
    assert region.pix.desk.history(gone, CALLER) is None
    assert region.pix.desk.link(gone, other, CALLER) is None
    region.feed(A1)
    assert region.pix.desk.record_of(A1) > gone


def test_refusals(region: Region) -> None:
    region.feed(A1)
    assert remove(region, A2) == [IdentityProblemKind.UNKNOWN_IDENTIFIER]
    assert remove(region, at(INS, "162034500104207")) == [IdentityProblemKind.INVALID]
    assert is_known(region, A1)


def test_a_resent_removal_does_no_harm(region: Region) -> None:
    region.feed(A1)
    region.feed(B1, source="HOSP_B|ADT")
    assert remove(region, A1) == []
    assert remove(region, A1) == [IdentityProblemKind.UNKNOWN_IDENTIFIER]
    assert is_known(region, B1)
