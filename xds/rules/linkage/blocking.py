"""Keys by which candidates are found: compound ones, so that none is hot, whatever the size of the register.

Two records of one person share at least one key unless nearly everything in them differs. Keys do not tell family from given
names, so that exchanged fields meet. A key that very many records share (an institution's address) says nothing: the store leaves
out keys with more records than its limit.
"""

from __future__ import annotations

from hashlib import blake2b

from xds.rules.linkage.folding import core_words, joined
from xds.rules.linkage.given_names import canonical
from xds.rules.linkage.phonetics import french_code
from xds.rules.linkage.traits import Place, Traits

#: No record has more keys than this; those that tell most come first.
MAX_KEYS = 24
_MAX_CODES = 3
_STREET_LETTERS = 5
_TOWN_LETTERS = 4
#: The first digits of a postal code tell a region.
_AREA_DIGITS = 2
#: Kinds of keys that nearly none but strangers share: a day and a name, a day and a region, a house, a street and a name.
_CROWDED = frozenset("dphs")
#: ... and those that tell where somebody lives.
_OF_HOMES = frozenset("phs")
#: A record that does not tell the sex meets those of both.
_SEXES = {"F": "F", "M": "M"}


def _hashed(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def family_codes(traits: Traits) -> tuple[str, ...]:
    """The sounds of a record's family names; one that is a given name has the code of that, since fields are exchanged."""
    words = (word for family in traits.families for word in core_words(family)[:2])
    return tuple(dict.fromkeys(french_code(canonical(word)) for word in words))[:_MAX_CODES]


def given_codes(traits: Traits) -> tuple[str, ...]:
    """The sounds of a record's given names, all forms of one name being one."""
    words = (word for given in traits.givens for word in given.split(" ")[:2])
    return tuple(dict.fromkeys(french_code(canonical(word)) for word in words))[:_MAX_CODES]


def tells_street(place: Place) -> bool:
    """True for an address that tells street and region."""
    return bool(place.street and _area(place))


def _area(place: Place) -> str:
    return place.postal_code[:_AREA_DIGITS] or _town(place)


def _town(place: Place) -> str:
    return joined(place.city)[:_TOWN_LETTERS]


def _days(traits: Traits, place: Place) -> list[str]:
    """Everybody of one sex who was born on that day and lives in that region."""
    area = _area(place)
    if not area or len(traits.birth_date) != 8:
        return []
    return [f"p|{area}|{traits.birth_date}|{sex}" for sex in _SEXES.get(traits.sex, "FM")]


def _doors(traits: Traits, place: Place) -> list[str]:
    """Everybody of one age who lives at that number: all who live there would be too many in a large town."""
    town = _town(place)
    return [f"h|{town}|{place.number}|{traits.birth_date[2:4]}"] if town and place.number else []


def _texts(traits: Traits) -> list[str]:
    """What the keys are made of, those that tell most first. The first letter is the kind."""
    families, givens = family_codes(traits), given_codes(traits)
    codes = tuple(dict.fromkeys((*families, *givens)))
    pairs = tuple(dict.fromkeys("|".join(sorted((one, other))) for one in families for other in givens))
    date = traits.birth_date
    year = date[:4]
    found = [f"n|{item.authority}|{item.value}" for item in traits.nationals]
    found += [f"e|{item}" for item in traits.emails[:2]]
    if len(date) == 8 and not traits.is_default_date:
        found += [f"d|{date}|{code}" for code in codes]
        found += [f"m|{pair}|{date[4:]}" for pair in pairs]
    if year:
        found += [f"y|{pair}|{year}" for pair in pairs]
    for item in traits.addresses[:2]:
        town, area = _town(item), _area(item)
        found += _days(traits, item)
        if town or item.postal_code:
            found += [f"c|{town or item.postal_code}|{pair}" for pair in pairs]
        if item.street:
            found += [f"s|{joined(item.street)[:_STREET_LETTERS]}|{area}|{code}" for code in codes]
        found += _doors(traits, item)
    found += [f"t|{number}|{code}" for number in traits.telephones[:2] for code in givens or families]
    return found[:MAX_KEYS]


def marked_keys(traits: Traits) -> dict[int, bool]:
    """The keys of a record: signed 64-bit numbers, the same in every process and version.

    Each with whether nearly none but strangers share it, ever more of them as a register grows.
    """
    return {_hashed(text): text[0] in _CROWDED for text in _texts(traits)}


def blocking_keys(traits: Traits) -> tuple[int, ...]:
    """The keys of a record, without repetition."""
    return tuple(marked_keys(traits))


def home_keys(traits: Traits) -> list[int]:
    """Of the keys of a record those that tell where it lives: the region, the street, the number of the house.

    Beside them stand the day of birth, the year or a name.
    """
    return [_hashed(text) for text in _texts(traits) if text[0] in _OF_HOMES]


def number_keys(traits: Traits) -> list[int]:
    """Of the keys of a record those that are shared by all who have its telephone number, and a name of one sound."""
    return [_hashed(text) for text in _texts(traits) if text[0] == "t"]
