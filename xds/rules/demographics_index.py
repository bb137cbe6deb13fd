"""What is kept of a record so that it can be searched by, and under which codes names that are written or sound alike meet.

Spec: ITI TF-2 3.21.4.1.2.2 leaves to the Patient Demographics Supplier how it matches.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from xds.model.demographics_index import FIRST_YEAR, LAST_YEAR, NO_YEAR, IndexEntries, NameEntry, TermKind, WordKind
from xds.model.patient import Demographics, PersonName
from xds.rules.demographics_match import LEAST_FOR_SLIPS, given_names, national_number
from xds.rules.linkage import fold, phonetic_codes
from xds.rules.linkage.given_names import canonical, is_listed

#: Names longer than this are kept by their beginning.
LONGEST = 60
_LONGEST_GIVEN = 240
_KNOWN_SEXES = frozenset("FMOAN")


def entries(stated: Iterable[Demographics]) -> IndexEntries:
    """What is kept of a record of which the sources state this."""
    names: set[NameEntry] = set()
    terms: set[tuple[str, str]] = set()
    words: dict[tuple[str, str], str] = {}
    for item in stated:
        birth = birth_number(item.birth_date)
        sex = sex_code(item.sex)
        for name in item.names:
            family, given = fold(name.family)[:LONGEST], _given(name)
            if family or given:
                names.add(NameEntry(year_of(birth), family, birth, given_text(given), sex))
            if family:
                words[WordKind.FAMILY, family] = name.family
            words.update(((WordKind.GIVEN, word), raw) for word, raw in given.items())
            terms.update((TermKind.GIVEN, word) for word in given)
        terms.update(_terms(item))
    return IndexEntries(frozenset(names), frozenset((str(kind), value) for kind, value in terms if value), words)


def given_text(words: Iterable[str]) -> str:
    """The text that is kept of given names: each between blanks, so that a search can ask for a whole one or its beginning."""
    text = " ".join(words)[:_LONGEST_GIVEN]
    return f" {text} " if text else ""


def _given(name: PersonName) -> dict[str, str]:
    """The given names of a name, folded, as far as they differ; and how they are written."""
    return {folded[:LONGEST]: raw for raw in given_names(name) if (folded := fold(raw))}


def _terms(stated: Demographics) -> Iterator[tuple[str, str]]:
    for telephone in (*stated.telephones, *stated.work_telephones):
        yield TermKind.TELEPHONE, national_number(telephone) or fold(telephone)
    for email in stated.emails:
        yield TermKind.TELEPHONE, fold(email)
    if stated.account_number:
        yield TermKind.ACCOUNT, stated.account_number.value
    if stated.mother_maiden_name:
        for part in (stated.mother_maiden_name, *re.split(r"[\s,^]+", stated.mother_maiden_name)):
            yield TermKind.MOTHER, fold(part)[:LONGEST]
    for item in stated.mother_identifiers:
        yield TermKind.MOTHER_IDENTIFIER, item.value


def birth_number(birth_date: str | None) -> int:
    """A DTM as YYYYMMDD with zeros for what it does not tell; 0 for what is no date."""
    digits = (birth_date or "")[:8]
    if len(digits) < 4 or not (digits.isascii() and digits.isdigit()):
        return 0
    return int(digits[: len(digits) // 2 * 2].ljust(8, "0"))


def year_of(birth: int) -> int:
    """The year under which a birth date is kept."""
    return min(max(birth // 10000, FIRST_YEAR), LAST_YEAR) if birth else NO_YEAR


def sex_code(sex: str | None) -> str:
    """The sex as it is kept: U for whatever does not tell it."""
    return sex if sex in _KNOWN_SEXES else "U"


@lru_cache(1 << 14)
def sound_codes(written: str) -> frozenset[int]:
    """Codes of which a name has one in common with every name that sounds like it, is one slip of the pen away, or is a form of
    the same given name.
    """
    # What is longer is kept, and found, by its beginning: the cost of the codes grows with the square of the length.
    written = written[: 2 * LONGEST]
    folded = fold(written)[:LONGEST]
    codes = {f"s{code}" for code in phonetic_codes(written)} | {f"d{folded}"}
    if len(folded) >= LEAST_FOR_SLIPS:
        # Two words that a slip separates become the same when the right letter of each is left out.
        codes |= {f"d{folded[:place]}{folded[place + 1 :]}" for place in range(len(folded))}
    if is_listed(folded):
        codes.add(f"v{canonical(folded)}")
    return frozenset(_number(code) for code in codes)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)
