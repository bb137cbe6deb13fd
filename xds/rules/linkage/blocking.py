"""Keys by which candidates are found: compound ones, so that none is hot, whatever the size of the register.

Two records of one person share at least one key unless nearly everything in them differs. Keys do not tell family from given
names, so that exchanged fields meet. A key that very many records share (an institution's address) says nothing: the store leaves
out keys with more records than its limit.

Keys of one record that have something in common (the day of birth, a pair of names, a street) are neighbours as numbers: a store
that keeps them sorted finds and writes them together, on half as many pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from zlib import crc32

from xds.rules.linkage.folding import core_words, joined
from xds.rules.linkage.given_names import canonical
from xds.rules.linkage.phonetics import french_code
from xds.rules.linkage.traits import Place, Traits

#: How many bits a key has, as a signed number, and how many of them tell what it has in common with its neighbours.
KEY_BITS = 34
_COMMON_BITS = 20
_OWN_BITS = KEY_BITS - _COMMON_BITS

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


#: What a key is made of, its kind being the first letter; and what of that it has in common with its neighbours.
_Meant = tuple[str, str]


def _key(text: str, common: str) -> int:
    own = int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") >> (32 - _OWN_BITS)
    return (crc32(common.encode()) >> (32 - _COMMON_BITS) << _OWN_BITS | own) - (1 << KEY_BITS - 1)


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


def _days(traits: Traits, place: Place) -> list[_Meant]:
    """Everybody of one sex who was born on that day and lives in that region."""
    area, date = _area(place), traits.birth_date
    if not area or len(date) != 8:
        return []
    return [(f"p|{area}|{date}|{sex}", date) for sex in _SEXES.get(traits.sex, "FM")]


def _doors(traits: Traits, place: Place) -> list[_Meant]:
    """Everybody of one age who lives at that number: all who live there would be too many in a large town."""
    town = _town(place)
    text = f"h|{town}|{place.number}|{traits.birth_date[2:4]}"
    return [(text, text)] if town and place.number else []


def _meant(traits: Traits) -> list[_Meant]:
    """What the keys are made of, those that tell most first."""
    families, givens = family_codes(traits), given_codes(traits)
    codes = tuple(dict.fromkeys((*families, *givens)))
    pairs = tuple(dict.fromkeys("|".join(sorted((one, other))) for one in families for other in givens))
    date = traits.birth_date
    year = date[:4]
    found = [(f"n|{item.authority}|{item.value}", item.value) for item in traits.nationals]
    found += [(f"e|{item}", item) for item in traits.emails[:2]]
    if len(date) == 8 and not traits.is_default_date:
        found += [(f"d|{date}|{code}", date) for code in codes]
        found += [(f"m|{pair}|{date[4:]}", pair) for pair in pairs]
    if year:
        found += [(f"y|{pair}|{year}", pair) for pair in pairs]
    for item in traits.addresses[:2]:
        town, area = _town(item), _area(item)
        found += _days(traits, item)
        if town or item.postal_code:
            found += [(f"c|{town or item.postal_code}|{pair}", pair) for pair in pairs]
        if item.street:
            street = f"{joined(item.street)[:_STREET_LETTERS]}|{area}"
            found += [(f"s|{street}|{code}", street) for code in codes]
        found += _doors(traits, item)
    found += [(f"t|{number}|{code}", number) for number in traits.telephones[:2] for code in givens or families]
    return found[:MAX_KEYS]


def blocking_keys(traits: Traits) -> dict[int, str]:
    """The keys of a record, each with its kind: signed numbers of `KEY_BITS`, the same in every process and version."""
    return {_key(text, common): text[0] for text, common in _meant(traits)}


def is_crowded(kind: str) -> bool:
    """True for a kind of keys that nearly none but strangers share, ever more of them as a register grows."""
    return kind in _CROWDED


def home_keys(keys: Mapping[int, str]) -> list[int]:
    """Of the keys of a record those that tell where it lives: the region, the street, the number of the house.

    Beside them stand the day of birth, the year or a name.
    """
    return [key for key, kind in keys.items() if kind in _OF_HOMES]


def number_keys(keys: Mapping[int, str]) -> list[int]:
    """Of the keys of a record those that are shared by all who have its telephone number, and a name of one sound."""
    return [key for key, kind in keys.items() if kind == "t"]
