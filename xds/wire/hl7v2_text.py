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


@lru_cache(maxsize=16)
def _escape_pattern(character: str) -> re.Pattern[str]:
    mark = re.escape(character)
    return re.compile(f"{mark}([FSTRE]|H|N|\\.br|\\.sp[0-9]*|X(?:[0-9A-Fa-f]{{2}})+){mark}")


def unescape(text: str, separators: Separators = STANDARD, codec: str = "utf-8") -> str:
    """Undo HL7's escapes; `\\.br\\` becomes a line feed, highlighting vanishes, sequences without meaning here stay.

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
        if sequence in characters:
            return characters[sequence]
        if sequence.startswith(".sp"):
            return "\n" * int(sequence[3:6] or 1)
        return bytes.fromhex(sequence[1:]).decode(codec, errors="replace")

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
