"""A source that does not answer is left alone for a while."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from xds.actors import imaging_breaker
from xds.actors.imaging_breaker import Breaker
from xds.model.foreign_images import PullError, PullProblem


def fail(breaker: Breaker, problem: PullProblem = PullProblem.TIMEOUT) -> str:
    with pytest.raises(PullError) as raised, breaker.closed():
        raise PullError(problem)
    return str(raised.value)


def test_after_some_failures_nothing_is_tried() -> None:
    breaker = Breaker(failures=2, seconds=60)
    assert "left alone" not in fail(breaker)
    assert "left alone" not in fail(breaker)
    assert "left alone" in fail(breaker)


def test_a_success_between_starts_anew() -> None:
    breaker = Breaker(failures=2, seconds=60)
    fail(breaker)
    with breaker.closed():
        pass
    fail(breaker)
    assert "left alone" not in fail(breaker)


def test_a_refusal_is_an_answer() -> None:
    breaker = Breaker(failures=1, seconds=60)
    fail(breaker, PullProblem.REFUSED)
    assert "left alone" not in fail(breaker, PullProblem.REFUSED)


def test_then_one_may_try_and_the_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(imaging_breaker, "time", clock)
    breaker = Breaker(failures=1, seconds=30)
    fail(breaker)
    clock.now = 29
    assert "left alone" in fail(breaker)
    clock.now = 31
    with breaker.closed():
        assert "left alone" in fail(breaker)
    with breaker.closed():
        pass
