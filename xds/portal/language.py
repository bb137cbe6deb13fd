"""The words of the pages, one file for each language: `locale/<language>/portal.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

#: The first one is shown to whoever reads none of them.
LANGUAGES = ("en", "fr")


@dataclass(frozen=True, slots=True)
class Texts:
    """Words in one language. In a template `t("counts.patients")`, or `t("try.feed", port=2575)` to fill in a value."""

    language: str
    words: Mapping[str, Mapping[str, str]]

    def __call__(self, key: str, **values: object) -> str:
        """The words under that key. Errors: KeyError when nobody wrote them."""
        section, _, name = key.partition(".")
        return self.words[section][name].format(**values)

    def number(self, value: int) -> str:
        """A whole number as this language writes it: 12,345 or 12 345 (with a narrow no-break space)."""
        return f"{value:,}".replace(",", "\u202f") if self.language == "fr" else f"{value:,}"


@cache
def texts(language: str) -> Texts:
    """The words of one of LANGUAGES."""
    source = files("xds.portal").joinpath("locale", language, "portal.toml")
    return Texts(language, tomllib.loads(source.read_text(encoding="utf-8")))
