"""How a name sounds to a French and to an English ear, as short codes that slips of hearing do not change.

Codes hold consonants and the first vowel: vowels are what ears and keyboards confuse most.
"""

from __future__ import annotations

import re
from functools import lru_cache

from xds.rules.linkage.folding import core_words, fold_words

#: French: spellings in the order in which they are read. `8` is the sound of CH in CHAT, `N` any nasal.
_FRENCH = tuple(
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"[^A-Z]", ""),
        (r"SC?H(?=[AEIOUYLMNRTW])|CZ|TCH", "8"),
        (r"CH(?=[LR])|QU?|CK", "K"),
        (r"CH|SH", "8"),
        (r"PH", "F"),
        (r"TH", "T"),
        (r"DJ(?=.)", "J"),
        (r"(?<=[AEIOUY])H(?=[AEIOUY])", ""),
        (r"H", ""),
        (r"SC(?=[EIY])|C(?=[EIY])|TI(?=ON|AN)", "S"),
        (r"GE(?=[AOU])|G(?=[EIY])", "J"),
        (r"GU(?=[EIY])", "G"),
        (r"GN", "N"),
        (r"C", "K"),
        (r"Z|Ç", "S"),
        (r"W|BV", "V"),
        (r"EAUX?|AULT|AUD|AUX?", "O"),
        (r"[AE][IY](?![LN])", "E"),
        (r"EN(?![AEIOUYN])", "AN"),
        (r"(?<=[AEU])ILL(?=[AEIOUY])|Y", "I"),
        (r"M(?=[BP])", "N"),
        (r"(.)(?=\1)", ""),
        # Letters that are written at the end of a word and not said.
        (r"(?<=..)(?:E[RSZ]?|[TPXZ]E?S?|(?<=[AINORU])D[ES]?S?|S)$", ""),
        (r"X", "KS"),
    )
)
_ENGLISH = tuple(
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"[^A-Z]", ""),
        (r"^(?:KN|GN|PN)", "N"),
        (r"^WR", "R"),
        (r"^X", "S"),
        (r"^MC(?=[^EIY])|^MAC(?=.)", "MK"),
        (r"PH|V", "F"),
        (r"(?<=[A-Z])GH(?=T|$)", ""),
        (r"GH", "G"),
        (r"TCH|CH|SH|TI(?=O)|SCH", "8"),
        (r"TH", "0"),
        (r"CK|Q", "K"),
        (r"DG(?=[EIY])|G(?=[EIY])", "J"),
        (r"C(?=[EIY])|Z", "S"),
        (r"C", "K"),
        (r"X", "KS"),
        (r"(?<=.)[HWY]", ""),
        (r"(.)(?=\1)", ""),
    )
)
_INNER_VOWELS = re.compile(r"(?<=.)[AEIOU]")


def _spoken(word: str, spellings: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    text = word
    for pattern, sound in spellings:
        text = pattern.sub(sound, text)
    return text or word


@lru_cache(1 << 16)
def _spoken_french(word: str) -> str:
    return _spoken(word, _FRENCH)


@lru_cache(1 << 16)
def _spoken_english(word: str) -> str:
    return _spoken(word, _ENGLISH)


@lru_cache(1 << 16)
def french_code(word: str) -> str:
    """How one folded word sounds in French; the word itself when nothing of it is a Latin letter."""
    return _INNER_VOWELS.sub("", _spoken_french(word)) or word


@lru_cache(1 << 16)
def english_code(word: str) -> str:
    """How one folded word sounds in English."""
    return _INNER_VOWELS.sub("", _spoken_english(word)) or word


def phonetic_codes(name: str) -> frozenset[str]:
    """The codes under which a family or given name is found by its sound: of every word, particles left out, in both languages.

    The language is part of the code, so that a French sound never meets an English one by chance.
    """
    words = core_words(fold_words(name))
    return frozenset(code for word in words for code in (f"f{french_code(word)}", f"e{english_code(word)}"))


def sound_alike(one: str, other: str) -> bool:
    """True when two folded words have the same consonants by ear, in French or in English."""
    return french_code(one) == french_code(other) or english_code(one) == english_code(other)


def sound_the_same(one: str, other: str) -> bool:
    """True when two folded words are spellings of one sound, vowels included: MATHIEU and MATTHIEU, but not JULIE and JULIA."""
    return _spoken_french(one) == _spoken_french(other) or _spoken_english(one) == _spoken_english(other)
