"""Keys by which candidates are found: compound ones, so that none is hot, whatever the size of the register.

Two records of one person share at least one key unless nearly everything in them differs. Keys do not tell family from given
names, so that exchanged fields meet. A key that very many records share (an institution's address) says nothing: the store leaves
out keys with more records than its limit.
"""

from __future__ import annotations

from hashlib import blake2b

from xds.rules.linkage.folding import core_words
from xds.rules.linkage.given_names import canonical
from xds.rules.linkage.phonetics import french_code
from xds.rules.linkage.traits import Traits

#: No record has more keys than this; those that tell most come first.
MAX_KEYS = 24
_MAX_CODES = 3
_STREET_LETTERS = 10


def _hashed(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def family_codes(traits: Traits) -> tuple[str, ...]:
    """The sounds of a record's family names."""
    words = (word for family in traits.families for word in core_words(family)[:2])
    return tuple(dict.fromkeys(french_code(word) for word in words))[:_MAX_CODES]


def given_codes(traits: Traits) -> tuple[str, ...]:
    """The sounds of a record's given names, all forms of one name being one."""
    words = (word for given in traits.givens for word in given.split(" ")[:2])
    return tuple(dict.fromkeys(french_code(canonical(word)) for word in words))[:_MAX_CODES]


def blocking_keys(traits: Traits) -> tuple[int, ...]:
    """The keys of a record, signed 64-bit numbers without repetition, the same in every process and version."""
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
    places = traits.addresses[:2]
    for area in dict.fromkeys(item.postal_code for item in places if item.postal_code):
        if len(date) == 8:
            found.append(f"p|{area}|{date}")
        if year:
            found += [f"a|{area}|{year}|{code}" for code in codes]
        found += [f"b|{area}|{pair}" for pair in pairs]
    for item in places:
        if item.street and item.number:
            found += [f"s|{item.number}|{item.street[:_STREET_LETTERS]}|{code}" for code in codes]
    found += [f"t|{number}|{code}" for number in traits.telephones[:2] for code in givens or families]
    return tuple(dict.fromkeys(_hashed(text) for text in found[:MAX_KEYS]))
