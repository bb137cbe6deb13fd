"""The instances of a series, read when somebody needs them: whoever waits for the first one waits for no other."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from xds.model.foreign_images import PullError, PullProblem
from xds.model.series_classes import SeriesClasses, distinct_classes

CT, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"
HELD = {"1.2.1": CT, "1.2.2": CT, "1.2.3": SR}


class Register:
    """Notes what is read of it."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.fails = False

    def all(self) -> Mapping[str, str]:
        self.read.append("all")
        if self.fails:
            raise PullError(PullProblem.BUSY)
        return HELD

    def one(self, uid: str) -> Mapping[str, str]:
        self.read.append(uid)
        if self.fails:
            raise PullError(PullProblem.BUSY)
        return {uid: HELD[uid]} if uid in HELD else {}

    def series(self) -> SeriesClasses:
        return SeriesClasses((CT, SR), self.all, self.one)


def test_the_first_is_read_alone_and_the_others_with_the_second() -> None:
    register = Register()
    series = register.series()
    assert "1.2.3" in series
    assert series["1.2.3"] == SR
    assert register.read == ["1.2.3"]
    assert "1.2.1" in series
    assert series["1.2.2"] == CT
    assert register.read == ["1.2.3", "all"]
    assert dict(series) == HELD
    assert len(series) == 3
    assert register.read == ["1.2.3", "all"]


def test_what_it_does_not_have_is_not_among_them_whenever_it_is_asked_for() -> None:
    register = Register()
    series = register.series()
    assert "1.2.9" not in series
    assert series.get("1.2.9") is None
    assert 7 not in series
    assert register.read == ["1.2.9"]
    assert "1.2.1" in series
    assert "1.2.9" not in series
    assert register.read == ["1.2.9", "all"]


def test_what_could_not_be_read_is_read_again() -> None:
    register = Register()
    series = register.series()
    register.fails = True
    for ask in (lambda: "1.2.1" in series, lambda: len(series)):
        with pytest.raises(PullError):
            ask()
    register.fails = False
    assert "1.2.1" in series
    assert len(series) == 3
    assert register.read == ["1.2.1", "all", "1.2.1", "all"]


def test_the_classes_are_known_without_reading() -> None:
    register = Register()
    assert distinct_classes(register.series()) == (CT, SR)
    assert distinct_classes(HELD) == (CT, SR)
    assert not register.read
