"""Slips of the pen: two words that differ as keyboards, readers and short fields make them differ."""

from __future__ import annotations

from functools import lru_cache

from rapidfuzz.distance import OSA, JaroWinkler

edits = OSA.distance
similarity = JaroWinkler.similarity
#: What two words have in common that are rather alike than different.
ALIKE = 0.85
_LONG = 9
#: Fields that cut names are no shorter.
_SHORTEST_CUT = 8
_LETTER_SHAPES = str.maketrans({"0": "O", "1": "I", "5": "S", "8": "B", "6": "G", "2": "Z", "7": "T", "4": "A", "3": "E"})


@lru_cache(1 << 14)
def is_slip(one: str, other: str) -> bool:
    """One keystroke, or letters that look alike, or a name cut off at the end of a field."""
    shorter = min(len(one), len(other))
    if shorter < 3:
        return False
    if one.translate(_LETTER_SHAPES).replace("RN", "M") == other.translate(_LETTER_SHAPES).replace("RN", "M"):
        return True
    if shorter < 4 and len(one) == len(other):
        return False
    if edits(one, other, score_cutoff=1) <= 1:
        return True
    return shorter >= _SHORTEST_CUT and (one.startswith(other) or other.startswith(one))


def are_slips(one: str, other: str) -> bool:
    """The same of long words, in which two keystrokes are nothing yet; given names of twins differ by as much."""
    return is_slip(one, other) or (min(len(one), len(other)) >= _LONG and edits(one, other, score_cutoff=2) <= 2)
