"""Dataclasses that fill their slots directly are the dataclasses that they were."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xds.model.frozen import filled_directly
from xds.model.metadata import Association, Classification, DocumentEntry, LocalizedString, Slot


@dataclass(frozen=True, slots=True)
class Plain:
    """One that dataclass fills."""

    one: str
    other: tuple[str, ...]
    third: int | None = None


@filled_directly
@dataclass(frozen=True, slots=True)
class Direct:
    """The same, filled directly."""

    one: str
    other: tuple[str, ...]
    third: int | None = None


@filled_directly
@dataclass(frozen=True, slots=True)
class Derived(Direct):
    """One that has more."""

    fourth: str = "more"


ARGUMENTS = st.tuples(st.text(), st.lists(st.text()).map(tuple)) | st.tuples(
    st.text(), st.lists(st.text()).map(tuple), st.none() | st.integers()
)


@settings(derandomize=True, deadline=None, database=None)
@given(ARGUMENTS, st.text())
def test_it_is_the_same_dataclass(arguments: tuple[str, tuple[str, ...], int | None], text: str) -> None:
    plain, direct, derived = Plain(*arguments), Direct(*arguments), Derived(*arguments)
    assert repr(direct) == repr(plain).replace("Plain", "Direct", 1)
    assert direct == Direct(**{item.name: getattr(plain, item.name) for item in fields(plain)})
    assert hash(direct) == hash(plain)
    assert replace(direct, one=text).one == text
    assert copy.deepcopy(direct) == pickle.loads(pickle.dumps(direct)) == direct  # noqa: S301
    assert (derived.one, derived.other, derived.third, derived.fourth) == (plain.one, plain.other, plain.third, "more")
    with pytest.raises(FrozenInstanceError):
        direct.one = text  # type: ignore[misc]


def test_it_takes_the_same_arguments() -> None:
    assert inspect.signature(Direct) == inspect.signature(Plain)
    for wrong in ((), ("a",), ("a", (), None, "d")):
        with pytest.raises(TypeError):
            Direct(*wrong)


@pytest.mark.parametrize("kind", [Slot, LocalizedString, Classification, DocumentEntry, Association])
def test_metadata_stay_frozen(kind: type) -> None:
    made = kind(*(item.name for item in fields(kind)))
    for item in fields(kind):
        assert getattr(made, item.name) == item.name
        with pytest.raises(FrozenInstanceError):
            setattr(made, item.name, "other")


def test_a_field_that_is_more_than_an_argument_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Made:
        parts: list[str] = field(default_factory=list)

    with pytest.raises(TypeError, match="parts is more than an argument"):
        filled_directly(Made)
