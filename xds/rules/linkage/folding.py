"""Text of names and addresses reduced to what compares: capital letters without accents, words, particles, bare numbers."""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from functools import lru_cache

_LETTERS = str.maketrans({"Œ": "OE", "Æ": "AE", "Ø": "O", "Ł": "L", "Đ": "D", "Þ": "TH", "İ": "I", "Ə": "E"})
#: Words before a family name that some establishments keep, some join to it and some leave out.
PARTICLES = frozenset(
    {
        *(
            "A",
            "AIT",
            "AL",
            "AP",
            "BEN",
            "BIN",
            "BINT",
            "D",
            "DA",
            "DAS",
            "DE",
            "DEL",
            "DELA",
            "DELLA",
            "DEN",
            "DER",
            "DES",
            "DI",
            "DO",
        ),
        *(
            "DOS",
            "DU",
            "E",
            "EL",
            "IBN",
            "L",
            "LA",
            "LAS",
            "LE",
            "LES",
            "LO",
            "LOS",
            "MAC",
            "MC",
            "O",
            "OU",
            "OULD",
            "SAINT",
            "SAINTE",
        ),
        *("SAN", "ST", "STE", "TEN", "TER", "VAN", "VON", "Y", "ZU"),
    }
)
#: The same where they stand joined to the name; longer ones first. What remains must be a name still.
_JOINED_PARTICLES = (
    "DELLA",
    "DELA",
    "VANDER",
    "BEN",
    "DES",
    "DOS",
    "DEL",
    "MAC",
    "VAN",
    "VON",
    "LE",
    "LA",
    "DE",
    "DU",
    "DA",
    "DI",
    "EL",
    "AL",
    "MC",
)
_SHORTEST_REMAINDER = 4
#: Words between a woman's two family names: MARTIN EPOUSE DURAND, DURAND NEE MARTIN.
_MARRIAGE = frozenset({"EP", "EPOUSE", "EPSE", "NEE", "VEUVE", "VVE", "MME", "MADAME", "WIDOW"})
#: What systems write for a letter that they do not know. It stands in the middle of a word.
_LOST_LETTERS = {ord("?"): None, 0xFFFD: None}
#: One letter of two octets may have become two of them.
_MARK = re.compile("[?\ufffd]+")
#: A letter that names do not have and that folding keeps.
_STAND_IN = "\u4e00"
_NUMBER = re.compile(r"\d+")


def repaired(text: str) -> str:
    """A text in UTF-8 that somebody read as Latin-1 or Windows-1252, as it was meant; any other one as it is."""
    if "\u00c3" not in text and "\u00c4" not in text and "\u00c5" not in text:
        return text
    for encoding in ("latin-1", "cp1252"):
        with suppress(UnicodeError):
            return text.encode(encoding).decode("utf-8")
    return text


def fold(text: str) -> str:
    """Letters and digits alone, in upper case without accents: how names compare."""
    if text.isascii():
        upper = text.upper()
        return upper if upper.isalnum() else "".join(character for character in upper if character.isalnum())
    upper = unicodedata.normalize("NFKD", repaired(text)).upper()
    expanded = unicodedata.normalize("NFKD", upper).translate(_LETTERS)
    return "".join(character for character in expanded if character.isalnum())


@lru_cache(1 << 15)
def fold_words(text: str) -> str:
    """The folded words of a text with one blank between them."""
    if text.isascii():
        if text.isalnum():
            return text.upper()
        expanded = text.translate(_LOST_LETTERS).upper()
    else:
        upper = unicodedata.normalize("NFKD", repaired(text).translate(_LOST_LETTERS)).upper()
        expanded = unicodedata.normalize("NFKD", upper).translate(_LETTERS)
    # A combining mark belongs to the letter before it; everything else that is no letter separates.
    kept = "".join(
        character if character.isalnum() else "" if unicodedata.combining(character) else " " for character in expanded
    )
    return " ".join(kept.split())


def fold_given(text: str) -> str:
    """The folded words of a given name, in which each letter that a system did not know stays a `?`.

    All that such a system has of INES is IN?S. Were the letter left out, so many would bear INS that it passed for a name.
    """
    if "?" not in text and "\ufffd" not in text:
        return fold_words(text)
    marked = _MARK.sub(_STAND_IN, text)
    return fold_words(marked).replace(_STAND_IN, "?") if any(map(str.isalpha, text)) else ""


@lru_cache(1 << 15)
def joined(words: str) -> str:
    """Words without the blanks between them."""
    return words.replace(" ", "")


@lru_cache(1 << 15)
def core_words(words: str) -> tuple[str, ...]:
    """The words of a family name without particles, whether these stand apart or are joined to it."""
    parts = words.split(" ") if words else []
    kept = [part for part in parts if part not in PARTICLES and part not in _MARRIAGE]
    if not kept:
        return (joined(words),) if words else ()
    return tuple(_without_particle(part) for part in kept)


def _without_particle(word: str) -> str:
    for particle in _JOINED_PARTICLES:
        if word.startswith(particle) and len(word) - len(particle) >= _SHORTEST_REMAINDER:
            return word[len(particle) :]
    return word


def digits(text: str) -> str:
    """The digits of a text."""
    return "".join(_NUMBER.findall(text))
