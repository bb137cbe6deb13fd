"""The golden record: one set of traits for a person of whom several sources speak.

Each attribute is taken as a whole from the statement that deserves most trust: what a source calls validated goes before what it
does not qualify, a fuller value before a vaguer one, a newer statement before an older one, and then the order of the sources.
Names are the exception: the winning statement's come first, and every other name that the person is known by follows.

Spec: ITI TF-2 3.21.4.2.3 leaves the choice to the Patient Demographics Supplier; HL7 table 0445 (PID-32) is what sources say of
their own reliability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from xds.model.patient import Address, Demographics, PersonName, StatedDemographics
from xds.rules.linkage import fold

#: HL7 table 0445 with its French extensions, by how much an identity is worth in which the code stands.
_TRUST: Final[Mapping[str, int]] = {"VALI": 4, "QUAL": 4, "RECUP": 3, "RECU": 3, "PROV": 1, "DOUB": -2, "DPOT": -2, "DOUA": -2}
_UNCERTAIN: Final = frozenset({"US", "UD", "UA", "AL", "DOUT", "DOUTE", "CACH", "ANOM", "FICT", "FICTI", "HOMD", "HOMA"})
_ORDINARY: Final = 2
#: Days that stand for a birth date nobody knows.
_DEFAULT_DATES: Final = frozenset({"19000101", "19010101", "18000101"})
_NO_SEX: Final = frozenset({"U", ""})
_NOTHING: Final = (None, (), "")
_FIELDS: Final = fields(Demographics)


@dataclass(frozen=True, slots=True)
class GoldenRecord:
    """The traits of a person, and for each attribute of `Demographics` that has a value the source that it came from."""

    demographics: Demographics
    sources: Mapping[str, str] = field(default_factory=dict)


def reliability(demographics: Demographics) -> int:
    """How far a source trusts its own statement: 4 validated, 3 retrieved, 2 not said, 1 provisional, less when it has doubts."""
    codes = {code.upper() for code in demographics.reliability}
    if codes & _UNCERTAIN:
        return 0
    known = [_TRUST[code] for code in codes if code in _TRUST]
    if not known:
        return _ORDINARY
    return min(known) if min(known) < 0 else max(known)


def golden_record(stated: Iterable[StatedDemographics], source_order: Sequence[str] = ()) -> GoldenRecord:
    """The golden record of what several sources state; `source_order` are the sources to be preferred among equals."""
    ranks = {source: number for number, source in enumerate(source_order)}

    def trust(item: StatedDemographics) -> tuple[int, int, int, str]:
        return (-reliability(item.demographics), -item.updated, ranks.get(item.source, len(ranks)), item.source)

    ordered = sorted(stated, key=trust)
    if len(ordered) == 1:
        return _only(ordered[0])
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for item in _FIELDS:
        fullness = _FULLNESS.get(item.name, _is_stated)
        best = max((fullness(getattr(each.demographics, item.name)) for each in ordered), default=0)
        winner = next((each for each in ordered if best and fullness(getattr(each.demographics, item.name)) == best), None)
        if winner is not None:
            values[item.name] = getattr(winner.demographics, item.name)
            sources[item.name] = winner.source
    values["names"] = all_names(values.get("names", ()), ordered)
    nationals = (number for each in ordered for number in each.demographics.national_identifiers)
    values["national_identifiers"] = tuple(dict.fromkeys(nationals))
    _agree_on_death(values)
    _agree_on_mother(values, sources, ordered)
    return GoldenRecord(Demographics(**values), sources)


def _only(item: StatedDemographics) -> GoldenRecord:
    """The golden record of somebody of whom one source speaks, as most people are known."""
    said = item.demographics
    sources = {each.name: item.source for each in _FIELDS if getattr(said, each.name) not in _NOTHING}
    names = all_names(said.names, ()) if len(said.names) > 1 else said.names
    values: dict[str, Any] = {"death_time": said.death_time, "deceased": said.deceased}
    _agree_on_death(values)
    return GoldenRecord(replace(said, names=names, deceased=values.get("deceased")), sources)


def all_names(first: Sequence[PersonName], stated: Iterable[StatedDemographics]) -> tuple[PersonName, ...]:
    """The names of the winning statement, then those of the others that are spelled differently."""
    found: dict[tuple[str, str, str], PersonName] = {}
    for name in (*first, *(name for each in stated for name in each.demographics.names)):
        key = (fold(name.family), fold(name.given), fold(name.further_given))
        if any(key):
            found.setdefault(key, name)
    return tuple(found.values())


def _agree_on_death(values: dict[str, Any]) -> None:
    """A time of death means that she died, whoever else does not know of it yet."""
    if values.get("death_time") and not values.get("deceased"):
        values["deceased"] = True


def _agree_on_mother(values: dict[str, Any], sources: dict[str, str], stated: Iterable[StatedDemographics]) -> None:
    """Both parts of the mother's name are of one source."""
    source = sources.get("mother_maiden_name")
    if source is not None and sources.pop("mother_given_name", ""):
        given = next((item.demographics.mother_given_name for item in stated if item.source == source), None)
        values["mother_given_name"] = given
        if given is not None:
            sources["mother_given_name"] = source


def _is_stated(value: Any) -> int:
    return int(value not in _NOTHING)


def _names(names: Sequence[PersonName]) -> int:
    """A family and a given name are better than one of them."""
    return max((2 if name.family and name.given else int(bool(name.family or name.given)) for name in names), default=0)


def _birth_date(value: str | None) -> int:
    if not value:
        return 0
    digits = value[:8].ljust(8, "0")
    if digits in _DEFAULT_DATES:
        return 1
    # A year; a month; the first of January, which stands for "some time in that year" all too often; a day.
    if digits[4:6] == "00":
        return 2
    if digits[6:8] == "00":
        return 3
    return 4


def _sex(value: str | None) -> int:
    return 0 if (value or "") == "" else 1 if value in _NO_SEX else 2


def _addresses(addresses: Sequence[Address]) -> int:
    """A street in a town is better than a town, and that better than a country."""

    def fullness(address: Address) -> int:
        town = bool(address.city or address.postal_code)
        return 3 if town and address.street else 2 if town else int(bool(address.street or address.country or address.state))

    return max((fullness(item) for item in addresses), default=0)


def _true_first(value: bool | None) -> int:
    return 0 if value is None else 2 if value else 1


_FULLNESS: Final[Mapping[str, Callable[[Any], int]]] = {
    "names": _names,
    "birth_date": _birth_date,
    "sex": _sex,
    "addresses": _addresses,
    "deceased": _true_first,
}
