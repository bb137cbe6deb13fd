"""What was decided about a feed before its turn has the effect that deciding in the turn would have, whatever happens in between.

Spec: ITI TF-2 3.8, 3.30; 3.9 leaves the linking to the PIX Manager.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.identity import CALLER, HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, MARIE, Region, at
from xds.actors import pix_linking
from xds.actors.pix_batches import Waiting
from xds.actors.pix_description import RefusedError
from xds.actors.pix_linking import Linker
from xds.actors.pix_preparation import keys_of, prepare
from xds.actors.pix_turns import FeedTurns
from xds.model.identifiers import PatientIdentifier
from xds.model.patient import Address, Demographics, FeedKind, IdentityFeed, PersonName
from xds.rules.linkage import DEFAULT_WEIGHTS, Traits
from xds.store import patients_changes
from xds.store.patients_match_keys import entry_of

_TABLES = (
    *("person", "identity", "patient", "stated_demographics", "match_key", "person_link", "link_review", "link_decision"),
    *("demographic_name", "demographic_term", "patient_visit"),
)
_HOSPITALS = (HOSPITAL_A, HOSPITAL_B, HOSPITAL_C)


@pytest.fixture
def back_end() -> str:
    """On a server nothing is looked at before the turn."""
    return "sqlite"


def source(hospital: int) -> str:
    return f"{_HOSPITALS[hospital].namespace}|ADT"


@dataclass(slots=True)
class Register:
    """A register of its own, whose feeds are looked at before their turn, or are not."""

    region: Region
    turns: FeedTurns
    looks_ahead: bool

    def begin(self, feeds: Sequence[IdentityFeed]) -> list[Waiting]:
        """Feeds that wait for their turn, with what is foreseen now."""
        waiting = [Waiting(prepare(feed, self.region.pix.known_domains.known()), ()) for feed in feeds]
        if self.looks_ahead:
            with self.region.database.read() as connection:
                self.turns.foresee(connection, waiting)
        return waiting

    def apply(self, waiting: Sequence[Waiting]) -> str:
        """Their turn; gives why they were refused, if they were."""
        try:
            # Names are not counted: what is rare would depend on when it is asked.
            self.region.database.write(lambda connection: self.turns.apply(connection, waiting))
        except RefusedError as error:
            return str(error)
        return ""

    def rows(self) -> dict[str, list[str]]:
        """Everything that is stored."""
        with self.region.database.read() as connection:
            return {table: sorted(map(repr, connection.execute(text(f"SELECT * FROM {table}")))) for table in _TABLES}


def register(directory: Path, *, looks_ahead: bool) -> Register:
    numbers = itertools.count(1)
    region = Region(directory, new_value=lambda _now: f"P{next(numbers):06d}")
    moment = region.clock()
    region.pix.desk._clock = lambda: moment
    for hospital, authority in enumerate(_HOSPITALS):
        first = Demographics((PersonName("Nobody", "Nemo"),), f"190{hospital}0203", "M")
        assert region.feed(at(authority, "first"), demographics=first, source=source(hospital)) == ()
    return Register(region, FeedTurns(region.pix.desk._register, lambda: moment), looks_ahead)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Register, Register]]:
    """Two registers of which one looks ahead."""
    made = register(tmp_path / "ahead", looks_ahead=True), register(tmp_path / "turn", looks_ahead=False)
    yield made
    for item in made:
        item.region.close()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Counter[bool]:
    """How often what was foreseen held in the turn, and how often it did not."""
    outcomes: Counter[bool] = Counter()
    holds = Linker.holds

    def noticed(self: Linker, *arguments: object) -> bool:
        found = holds(self, *arguments)
        outcomes[found] += 1
        return found

    monkeypatch.setattr(Linker, "holds", noticed)
    return outcomes


class Chance:
    """Messages about few people who resemble one another, with slips."""

    _families = ("Lefevre", "Lefebvre", "Martin", "Moreau", "Nguyen", "Dubois", "Garnier", "Texier", "Walter", "Zimmer")
    _givens = ("Marie", "Maria", "Jeanne", "Luc", "Paul", "Hugo", "Ines")
    _years = ("1931", "1945", "1962", "1980", "1999", "2014")
    _days = ("0314", "0315", "0101")
    _towns = ("Orleans", "Brest", "Nantes", "Lille", "Nice", "Metz")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._numbers = itertools.count(1)

    def somebody(self) -> Demographics:
        choose = self.random.choice
        town, street = choose(self._towns), choose(("4 rue des Lilas", "12 rue Haute"))
        telephone = f"06{self.random.randint(0, 40):08d}"
        # Of some only little is told.
        is_full = self.random.random() < 0.9
        return Demographics(
            names=(PersonName(choose(self._families), choose(self._givens), use="L"),),
            birth_date=choose(self._years) + choose(self._days),
            sex=choose(("F", "M")) if is_full else None,
            addresses=(Address(street=street, city=town, postal_code=f"{10 + len(town)}000"),) if is_full else (),
            telephones=(telephone,) if is_full else (),
        )

    def identifier(self, hospital: int) -> PatientIdentifier:
        return at(_HOSPITALS[hospital], str(self.random.randint(1, 25)))

    def upsert(self) -> IdentityFeed:
        hospital = self.random.randrange(3)
        kind = self.random.choice((FeedKind.ADD, FeedKind.ADD, FeedKind.REVISE))
        given = {self.identifier(hospital) for _ in range(self.random.choice((1, 1, 1, 2)))}
        if self.random.random() < 0.1:
            given.add(self.identifier((hospital + 1) % 3))
        own = tuple(sorted(given, key=lambda item: item.to_cx()))
        return IdentityFeed(kind, source(hospital), f"M{next(self._numbers)}", own, self.somebody())

    def other(self) -> IdentityFeed:
        hospital, kinds = self.random.randrange(3), FeedKind
        one, two = self.identifier(hospital), self.identifier(hospital)
        kind = self.random.choice((kinds.MERGE, kinds.CHANGE, kinds.LINK, kinds.UNLINK, kinds.REMOVE))
        more: dict[str, tuple[PatientIdentifier, ...]] = {}
        if kind in (kinds.MERGE, kinds.CHANGE):
            more["subsumed"] = (two,)
        elif kind in (kinds.LINK, kinds.UNLINK):
            more["linked"] = (self.identifier((hospital + 1) % 3),)
        return IdentityFeed(kind, source(hospital), f"M{next(self._numbers)}", (one,), self.somebody(), **more)


def at_the_desk(region: Region, chance: random.Random, number: int) -> object:
    """Somebody decides something."""
    desk, one, other = region.pix.desk, chance.randint(1, 20), chance.randint(1, 20)
    if number == 0:
        return desk.link(one, other, CALLER)
    if number == 1:
        return desk.refuse(one, other, CALLER)
    if number == 2:
        cases = desk.cases(CALLER).cases
        return [desk.link(item.lower, item.higher, CALLER) for item in cases[:1]]
    if number == 3:
        with region.database.read() as connection:
            links = connection.execute(
                text("SELECT lower_key, higher_key FROM person_link WHERE ended IS NULL ORDER BY 1, 2")
            ).all()
        return [desk.unlink(item.lower_key, item.higher_key, CALLER) for item in links[-1:]]
    if number == 4:
        return desk.undo(chance.randint(1, 40), CALLER)
    weights = region.pix.desk._register.weights
    region.pix.desk._register.weights = replace(weights, version=f"{weights.version}+", link=DEFAULT_WEIGHTS.link + number - 6)
    return None


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_between_look_and_turn_the_register_is_the_same(
    both: tuple[Register, Register], held: Counter[bool], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    # Small limits, so that they are reached.
    for name, limit in (("MOST_PER_KEY", 6), ("_MOST_MEMBERS", 5), ("_MOST_CANDIDATES", 8)):
        monkeypatch.setattr(pix_linking, name, limit)
    monkeypatch.setattr(patients_changes, "KEPT", 6)
    monkeypatch.setattr(patients_changes, "_FORGOTTEN_TOGETHER", 2)
    chance = Chance(seed)
    waiting: tuple[list[Waiting], list[Waiting]] = ([], [])
    for _ in range(60):
        step = chance.random.random()
        if step < 0.4:
            feeds = [chance.upsert() for _ in range(chance.random.randint(1, 4))]
            for some, each in zip(waiting, both, strict=True):
                some.extend(each.begin(feeds))
        elif step < 0.75:
            number = chance.random.randint(1, 4)
            outcomes = {each.apply(some[:number]) for some, each in zip(waiting, both, strict=True)}
            assert len(outcomes) == 1
            for some in waiting:
                del some[:number]
        elif step < 0.9:
            feed = chance.other()
            assert len({each.apply(each.begin([feed])) for each in both}) == 1
        else:
            number, state = chance.random.randrange(8), chance.random.getstate()
            outcomes = set()
            for each in both:
                chance.random.setstate(state)
                outcomes.add(repr(at_the_desk(each.region, chance.random, number)))
            assert len(outcomes) == 1
    for some, each in zip(waiting, both, strict=True):
        each.apply(some)
    ahead, turn = (each.rows() for each in both)
    assert ahead == turn
    assert held[True] + held[False] > 5
    assert keys(both[0]) == keys_of_what_is_stated(both[0])


def keys(register: Register) -> set[tuple[object, ...]]:
    """What is stored: key and record, and what is seen of it at a glimpse."""
    with register.region.database.read() as connection:
        return {tuple(row) for row in connection.execute(text("SELECT entry, glimpse FROM match_key"))}


def keys_of_what_is_stated(register: Register) -> set[tuple[object, ...]]:
    stated: dict[int, dict[bytes, Traits]] = {}
    with register.region.database.read() as connection:
        for person, packed in connection.execute(text("SELECT person_key, traits FROM stated_demographics")):
            stated.setdefault(person, {})[packed] = Traits.unpack(packed)
    return {(entry_of(key, person), glimpse) for person, some in stated.items() for key, glimpse in keys_of(some).items()}


def new(number: int, hospital: int = 0, demographics: Demographics = MARIE) -> IdentityFeed:
    return IdentityFeed(
        FeedKind.ADD, source(hospital), f"N{hospital}-{number}", (at(_HOSPITALS[hospital], f"N{number}"),), demographics
    )


def test_two_hospitals_tell_of_one_new_person_at_the_same_time(both: tuple[Register, Register], held: Counter[bool]) -> None:
    for each in both:
        one, other = each.begin([new(1), new(2, hospital=1)])
        each.apply([one])
        each.apply([other])
        assert each.region.others(at(HOSPITAL_A, "N1"), HOSPITAL_B) == ["N2"]
        # In one turn, too.
        each.apply(each.begin([new(3, 1), new(4, 2)]))
        assert set(each.region.others(at(HOSPITAL_A, "N1"), HOSPITAL_C)) == {"N4"}
    assert held == {True: 2, False: 2}
    assert both[0].rows() == both[1].rows()


def test_what_nobody_touched_meanwhile_is_not_looked_up_again(
    both: tuple[Register, Register], held: Counter[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead, _ = both
    ahead.apply(ahead.begin([new(1)]))
    stranger = replace(MARIE, names=(PersonName("Moreau", "Luc"),), birth_date="19330405", addresses=())
    moved = replace(MARIE, telephones=("0612345678",))
    waiting = ahead.begin([new(2, hospital=1), replace(new(1, demographics=moved), message_id="N3", kind=FeedKind.REVISE)])
    ahead.apply(ahead.begin([new(9, demographics=stranger)]))
    monkeypatch.setattr(Linker, "place", None)
    monkeypatch.setattr(Linker, "relink", None)
    ahead.apply(waiting[:1])
    assert held == {True: 3}
    assert ahead.region.others(at(HOSPITAL_A, "N1"), HOSPITAL_B) == ["N2"]
    with pytest.raises(TypeError):
        # She was alone when that was looked at, and is not any more.
        ahead.apply(waiting[1:])


def test_who_waited_so_long_that_changes_were_forgotten_is_looked_at_again(
    both: tuple[Register, Register], held: Counter[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patients_changes, "KEPT", 4)
    monkeypatch.setattr(patients_changes, "_FORGOTTEN_TOGETHER", 1)
    ahead, _ = both
    early = ahead.begin([new(1)])
    for number in range(6):
        stranger = Demographics((PersonName(f"Moreau{number}", "Luc"),), f"193304{10 + number}", "M")
        ahead.apply(ahead.begin([new(10 + number, demographics=stranger)]))
    assert held == {True: 6}
    with ahead.region.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM identity_change")).scalar_one() == 4
    ahead.apply(early)
    assert held[False] == 1


def test_somebody_joined_the_candidate_with_another_meanwhile(both: tuple[Register, Register], held: Counter[bool]) -> None:
    """Her group speaks for her then: what one of it forbids, the others do not allow."""
    for each in both:
        desk = each.region.pix.desk
        each.apply(each.begin([new(1)]))
        waiting = each.begin([new(2, hospital=1)])
        one, other = (desk.record_of(at(_HOSPITALS[number], value)) for number, value in ((0, "N1"), (2, "first")))
        assert desk.link(one or 0, other or 0, CALLER)
        each.apply(waiting)
    assert held == {True: 1, False: 1}
    assert both[0].rows() == both[1].rows()
    assert "N2" not in both[0].region.others(at(HOSPITAL_A, "N1"), HOSPITAL_B)
