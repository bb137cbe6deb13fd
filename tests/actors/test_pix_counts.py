"""How often names occur: counted with every feed, and stored beside them a little at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.identity import HOSPITAL_A, MARIE, Region, at
from xds.actors import pix_register
from xds.model.patient import PersonName
from xds.store.database import Connection
from xds.store.patients_terms import PORTION, TermCounts, add_terms, term_of

FAMILY = term_of("family", "DUPONT")


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    opened = Region(tmp_path)
    yield opened
    opened.close()


def stored(region: Region) -> dict[int, int]:
    with region.database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(text("SELECT term, number FROM term_frequency"))}


def feed(region: Region, number: int, family: str) -> None:
    someone = replace(MARIE, names=(PersonName(family, "Anne"),), birth_date=f"19{number % 90 + 10}0203")
    assert region.feed(at(HOSPITAL_A, str(number)), demographics=someone) == ()


def test_a_name_is_counted_wherever_its_count_stands(region: Region) -> None:
    counts = TermCounts()

    def frequency(connection: Connection) -> int:
        return counts.frequency(connection, FAMILY)

    assert counts.count([FAMILY, FAMILY]) == 1
    assert region.database.write(frequency) == 2
    counts.release()
    counts.count([FAMILY])
    assert region.database.write(frequency) == 3
    portion = counts.portion()
    region.database.write(lambda connection: add_terms(connection, portion))
    assert portion == {FAMILY: 2}
    assert region.database.write(frequency) == 3
    counts.forget()
    assert region.database.write(frequency) == 3
    assert counts.portion() == {}
    counts.release()
    counts.count([FAMILY], -1)
    counts.release()
    # It was counted and taken back again.
    assert counts.portion() == {}


def test_portions_are_small_and_leave_nothing_out() -> None:
    counts = TermCounts()
    every = range(3 * PORTION - 5)
    counts.count(every)
    assert counts.portion() == {}
    counts.release()
    taken = [counts.portion() for _ in range(4)]
    assert [len(some) for some in taken] == [PORTION, PORTION, PORTION - 5, 0]
    assert taken[0] | taken[1] | taken[2] == dict.fromkeys(every, 1)


def test_what_feeds_count_is_stored_beside_later_ones(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pix_register, "_GATHERED_TERMS", 4)
    monkeypatch.setattr(pix_register, "_PAUSE_SECONDS", 0.0)
    for number in range(4):
        feed(region, number, f"Famille{'abcd'[number] * 3}")
    region.database.flush()
    some = stored(region)
    assert some
    region.pix.flush()
    every = stored(region)
    assert all(every[term] >= number for term, number in some.items())
    assert every[term_of("family", "FAMILLEAAA")] == 1
    assert every[term_of("records", "")] == 4


def test_nothing_is_stored_before_enough_has_gathered_but_at_the_end(region: Region) -> None:
    for number in range(3):
        feed(region, number, "Dupont")
    region.database.flush()
    assert stored(region) == {}
    region.pix.flush()
    assert stored(region)[FAMILY] == 3
    assert stored(region)[term_of("records", "")] == 3


def test_between_two_portions_feeds_go_on(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pix_register, "_GATHERED_TERMS", 1)
    monkeypatch.setattr(pix_register, "_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(region.pix._register, "_stored_at", -3600.0)
    feed(region, 1, "Premier")
    feed(region, 2, "Second")
    region.database.flush()
    assert term_of("family", "PREMIER") in stored(region)
    assert term_of("family", "SECOND") not in stored(region)
    region.pix.flush()
    assert stored(region)[term_of("family", "SECOND")] == 1
