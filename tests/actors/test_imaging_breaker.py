"""A source that does not answer is left alone for a while."""

from __future__ import annotations

import time

import pytest

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


def test_then_one_may_try_and_the_others_wait() -> None:
    breaker = Breaker(failures=1, seconds=0.05)
    fail(breaker)
    time.sleep(0.06)
    with breaker.closed():
        assert "left alone" in fail(breaker)
    with breaker.closed():
        pass
