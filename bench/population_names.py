"""Names of the generated people, by origin, read from `population_names.ini`."""

from __future__ import annotations

from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Origin:
    """Where names come from, the frequent ones first. `start`, `middle` and `end` are syllables of rare ones."""

    families: tuple[str, ...]
    women: tuple[str, ...]
    men: tuple[str, ...]
    start: tuple[str, ...] = ()
    middle: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    particles: tuple[str, ...] = ()


Table = dict[str, tuple[str, ...]]


def _read() -> tuple[dict[str, Origin], Table, Table]:
    found = ConfigParser(interpolation=None, delimiters=("=",))
    found.optionxform = str  # type: ignore[method-assign,assignment]
    with Path(__file__).with_suffix(".ini").open(encoding="utf-8") as file:
        found.read_file(file)
    tables = {name: {key: tuple(text.split()) for key, text in found[name].items()} for name in found.sections()}
    short, mistakes = tables.pop("short forms"), tables.pop("mistakes")
    return {name: Origin(**fields) for name, fields in tables.items()}, short, mistakes


#: `SHORT_FORMS` are pet and short forms that establishments write down, of some names; `MISTAKES` letters taken for others.
ORIGINS, SHORT_FORMS, MISTAKES = _read()
FRENCH: Final = ORIGINS["french"]
MAGHREB: Final = ORIGINS["maghreb"]
PORTUGUESE: Final = ORIGINS["portuguese"]
TURKISH: Final = ORIGINS["turkish"]
ASIAN: Final = ORIGINS["asian"]
ENGLISH: Final = ORIGINS["english"]
