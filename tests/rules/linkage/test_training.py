"""Learning weights, and the quality of linking on small populations (the measured ones are those of `make bench-linkage`)."""

from __future__ import annotations

import pytest

from bench import linkage as measurement
from bench import populations
from xds.rules.linkage import DEFAULT_WEIGHTS, Traits, Weights, train, traits
from xds.rules.linkage.weights import LEVELS, Given


@pytest.fixture(scope="module")
def sample() -> list[Traits]:
    return [traits(item.demographics) for item in populations.records("region", 700, 7, 0.3)]


@pytest.fixture(scope="module")
def learned(sample: list[Traits]) -> Weights:
    return train(sample)


class TestTraining:
    def test_every_level_keeps_a_weight(self, learned: Weights) -> None:
        assert {trait: len(bits) for trait, bits in learned.bits.items()} == dict(LEVELS)
        assert Weights.from_json(learned.to_json()) == learned

    def test_something_is_learned(self, learned: Weights) -> None:
        assert learned.bits != DEFAULT_WEIGHTS.bits
        assert learned.version != DEFAULT_WEIGHTS.version
        assert 0 < learned.chance["family"] < learned.chance["given"] < 0.1

    def test_weights_stay_in_sight_of_what_was_given(self, learned: Weights) -> None:
        for trait, bits in learned.bits.items():
            assert all(abs(new - old) <= 3 for new, old in zip(bits, DEFAULT_WEIGHTS.bits[trait], strict=True))

    def test_vetoes_are_not_learned(self, learned: Weights) -> None:
        assert learned.bits["given"][Given.DIFFERENT_KNOWN] == DEFAULT_WEIGHTS.bits["given"][Given.DIFFERENT_KNOWN]

    def test_the_same_records_teach_the_same(self, sample: list[Traits], learned: Weights) -> None:
        assert train(sample) == learned

    def test_too_few_records_teach_nothing(self, sample: list[Traits]) -> None:
        assert train(sample[:20]).bits == DEFAULT_WEIGHTS.bits
        assert train([]).bits == DEFAULT_WEIGHTS.bits


class TestQuality:
    @pytest.mark.parametrize("name", populations.NAMES)
    def test_nobody_is_mixed_up_and_most_are_found(self, name: str) -> None:
        _, _, found = measurement.run(populations.records(name, 700, 3, 0.0))
        assert found.mixed == 0
        assert found.recall > 0.93
        assert found.reviewed > 0.97
        # Where a tenth of a people bears one name, more namesakes are looked at.
        assert found.queue < (0.07 if name == "overseas" else 0.04) * found.records

    def test_learned_weights_do_as_well(self, learned: Weights) -> None:
        _, _, found = measurement.run(populations.records("region", 700, 4, 0.0), learned)
        assert found.mixed <= 1
        assert found.recall > 0.93

    def test_the_prior_keeps_strangers_apart(self) -> None:
        _, persons, found = measurement.run(populations.records("port", 500, 5, 0.6))
        assert len(set(persons)) == found.people
        assert found.precision > 0.999
