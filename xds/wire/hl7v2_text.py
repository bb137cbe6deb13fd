"""Text in HL7 v2: separators, escapes and character sets.

Tolerated deviations: spellings of MSH-18 outside table 0211 (`UTF-8`, `ISO-8859-1`); escape sequences without a meaning here
stay as they are.

Spec: HL7 v2.5 chapter 2.7 (escapes), table 0211 (character sets); ITI TF-2 C.2.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

#: HL7's sign for "delete this value", which is not the same as an absent one.
DELETED: Final = '""'

#: MSH-18 (table 0211 and what is met in the field) to Python's codec.
CODECS: Final = {
    "ASCII": "ascii",
    "8859/1": "iso8859-1",
    "8859/2": "iso8859-2",
    "8859/3": "iso8859-3",
    "8859/4": "iso8859-4",
    "8859/5": "iso8859-5",
    "8859/6": "iso8859-6",
    "8859/7": "iso8859-7",
    "8859/8": "iso8859-8",
    "8859/9": "iso8859-9",
    "8859/15": "iso8859-15",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "ISO-8859-1": "iso8859-1",
    "ISO-8859-15": "iso8859-15",
}
#: The value of MSH-18 for a codec.
LABELS: Final = {"utf-8": "UNICODE UTF-8"} | {codec: label for label, codec in CODECS.items() if label.startswith("8859/")}


@dataclass(frozen=True, slots=True)
class Separators:
    """The characters that structure a message, as MSH-1 and MSH-2 declare them."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"

    @property
    def encoding_characters(self) -> str:
        """MSH-2."""
        return self.component + self.repetition + self.escape + self.subcomponent


STANDARD: Final = Separators()
_EVERY: Final = STANDARD.field + STANDARD.encoding_characters
#: Separators of fields, components and repetitions.
_LEAST: Final = 3


@lru_cache(maxsize=64)
def declared_separators(declared: str) -> Separators | None:
    """The separators of MSH-1 and the beginning of MSH-2; None when they are not five different ones of ASCII.

    Those of escapes and subcomponents may be left out where a message has none: they are the standard ones then.
    Spec: HL7 v2.5 chapter 2.5.4, figure 2-1.
    """
    given = declared[:1] + declared[1:].split(declared[0], 1)[0] if declared else ""
    every = given + _EVERY[len(given) :]
    if len(given) < _LEAST or len(set(every)) < len(every) or not every.isascii():
        return None
    if any(item.isalnum() or item.isspace() for item in every):
        return None
    return STANDARD if every == _EVERY else Separators(*every)


@lru_cache(maxsize=16)
def _escape_pattern(character: str) -> re.Pattern[str]:
    mark = re.escape(character)
    octets = f"(?:{mark}X(?:[0-9A-Fa-f]{{2}})+{mark})+"
    return re.compile(f"{mark}([FSTRE]|H|N|\\.br|\\.sp[0-9]*){mark}|{octets}")


def _text_of(octets: bytes, codec: str) -> str:
    try:
        return octets.decode(codec)
    except UnicodeDecodeError:
        return octets.decode("iso8859-1")


def unescape(text: str, separators: Separators = STANDARD, codec: str = "utf-8") -> str:
    """Undo HL7's escapes; `\\.br\\` becomes a line feed, highlighting vanishes, sequences without meaning here stay.

    Octets (`\\X..\\`) are text in the message's character set, or else in ISO 8859-1.

    Spec: HL7 v2.5 chapter 2.7.
    """
    if separators.escape not in text:
        return text
    characters = {
        "F": separators.field,
        "S": separators.component,
        "T": separators.subcomponent,
        "R": separators.repetition,
        "E": separators.escape,
        "H": "",
        "N": "",
        ".br": "\n",
    }

    def character(match: re.Match[str]) -> str:
        sequence = match[1]
        if sequence is None:
            # Some write a character of several octets as one sequence, some as a sequence for each octet.
            return _text_of(bytes.fromhex(match[0].replace(separators.escape, "").replace("X", "")), codec)
        if sequence in characters:
            return characters[sequence]
        return "\n" * int(sequence[3:6] or 1)

    return _escape_pattern(separators.escape).sub(character, text)


_ESCAPES = str.maketrans(
    {"|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\\": "\\E\\", "\n": "\\.br\\"}
    # Control characters would end the segment or the MLLP frame.
    | {chr(code): f"\\X{code:02X}\\" for code in range(32) if code != 10}
)


def escape(text: str) -> str:
    """The wire form of a text under the standard separators."""
    return text if text.isalnum() else text.translate(_ESCAPES)


def translate(text: str, separators: Separators) -> str:
    """A field in its wire form, from other separators to the standard ones."""
    if separators is STANDARD or separators == STANDARD:
        return text
    levels = (
        (separators.repetition, STANDARD.repetition),
        (separators.component, STANDARD.component),
        (separators.subcomponent, STANDARD.subcomponent),
    )

    def rewritten(part: str, level: int) -> str:
        if level == len(levels):
            return part if part == DELETED else escape(unescape(part, separators))
        old, new = levels[level]
        return new.join(rewritten(item, level + 1) for item in part.split(old))

    return rewritten(text, 0)


def components(*parts: str, separator: str = STANDARD.component) -> str:
    """Join parts that are in their wire form, without empty ones at the end."""
    return separator.join(parts).rstrip(separator)
