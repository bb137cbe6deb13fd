"""How the given names of two records agree: all words of both, short forms, slips, and names that are alike and two."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from xds.rules.linkage.folding import joined
from xds.rules.linkage.given_names import are_related, are_variants, composes, is_listed, is_nearly_listed
from xds.rules.linkage.phonetics import french_code, sound_alike, sound_the_same
from xds.rules.linkage.slips import ALIKE, is_slip, similarity
from xds.rules.linkage.traits import Traits
from xds.rules.linkage.weights import Frequencies, Given

#: A name that so many other records bear is established: another one beside it is no slip of the pen.
_ESTABLISHED = 2
#: So many records of the two themselves may bear it, where that is not known.
_OWN = 2
#: ... unless it is so much rarer than its neighbour that it may well be a frequent slip of it.
_SLIP_SHARE = 0.005
#: One of so frequent a name stands beside many a twin who has it as a second name.
_FREQUENT_SHARE = 0.004
#: A register of fewer records does not tell what is frequent.
_FEW = 1000
#: Codes of fewer sounds are of too many names.
_SHORTEST_SOUND = 3
#: Fewer letters of a name that was cut off are of too many names.
_SHORTEST_CUT = 3
#: Longer names that differ in the first letter alone are hardly ever two.
_SHORT_RHYME = 6


@dataclass(frozen=True, slots=True)
class Bearers:
    """Who bears a given name: how often it occurs in a register, and in how many records of the two persons compared (`own`)."""

    frequencies: Frequencies
    own: Mapping[str, int] | None = None

    def elsewhere(self, name: str) -> int:
        """How many records of other persons bear a name."""
        count = self.frequencies.frequency("given", name)
        return count - (_OWN if self.own is None else self.own.get(name, 0))

    def is_established(self, name: str, beside: str) -> bool:
        """True for a name that is no slip of the one beside it."""
        if is_listed(name):
            return True
        count = self.elsewhere(name)
        return count >= _ESTABLISHED and count >= _SLIP_SHARE * self.frequencies.frequency("given", beside)

    def is_frequent(self, name: str) -> bool:
        """True for a name that parents like so much that brothers and sisters of its bearers have it as a further one."""
        return composes(name) or self.frequencies.frequency("given", name) > _FREQUENT_SHARE * (self.frequencies.records + _FEW)


def borne(records: Iterable[Traits]) -> dict[str, int]:
    """How often each given name occurs in these records."""
    found: dict[str, int] = {}
    for traits in records:
        for name in traits.givens:
            first = name.split(" ", 1)[0]
            found[first] = found.get(first, 0) + 1
    return found


def _are_initials(one: str, other: str) -> bool:
    """J or JB for JEAN BAPTISTE."""
    shorter, longer = sorted((one, other), key=len)
    letters = "".join(word[0] for word in longer.split(" "))
    return len(joined(shorter)) <= 3 and letters.startswith(joined(shorter))


def _may_be_initials(one: str, other: str) -> bool:
    """True for JP beside JEAN, of whom somebody kept one name alone."""
    shorter, longer = sorted((one, other), key=len)
    return len(shorter) == 2 and shorter[0] == longer[0] and composes(longer) and not is_listed(shorter)


def given_level(one: str, other: str, further: frozenset[str], other_further: frozenset[str], bearers: Bearers) -> int:
    """The level of agreement of two given names, whose persons have those further ones."""
    a, b = joined(one), joined(other)
    if a == b:
        return Given.EXACT
    words, other_words = one.split(" "), other.split(" ")
    first, other_first = words[0], other_words[0]
    if first == other_first:
        rest, other_rest = set(words[1:]) - other_further, set(other_words[1:]) - further
        # JEAN PIERRE and JEAN PAUL share a word and are two names, JEAN and JEAN PAUL may be; LUC JEAN and LUC PAUL are one.
        if rest and other_rest and rest.isdisjoint(other_rest) and not a.startswith(b) and not b.startswith(a):
            if any(is_slip(x, y) or are_variants(x, y) for x in rest for y in other_rest):
                return Given.SLIP
            return Given.ALIKE_KNOWN if composes(first) else Given.OTHER
        if composes(first) and (_adds_a_name(words, rest, other_further) or _adds_a_name(other_words, other_rest, further)):
            return Given.ALIKE if len(words) == 1 or len(other_words) == 1 else Given.PART
        return Given.PART
    if "?" in first or "?" in other_first:
        return _level_with_lost_letters(one, other, further, other_further, bearers)
    if _is_initial(words, other_words) or _is_initial(other_words, words):
        return Given.VARIANT
    if not set(words).isdisjoint(other_words) or first in other_further or other_first in further:
        composed = _is_composed(words, other_first) or _is_composed(other_words, first)
        listed, other_listed = {*words, *further}, {*other_words, *other_further}
        if len(listed) > 1 and len(other_listed) > 1:
            # Where both list several, the first of one is missing in the other, as with twins, or it is not.
            agree = _stands_in(first, other_listed) and _stands_in(other_first, listed)
            return Given.OTHER if agree else Given.ALIKE_KNOWN
        # The second name of LEO JEAN is the first of many a brother; PIERRE for JEAN PIERRE is a short form.
        is_twins = not composed and all(map(bearers.is_frequent, listed & other_listed))
        return Given.ALIKE_KNOWN if is_twins else Given.OTHER
    if are_variants(a, b) or are_variants(first, other_first):
        return Given.VARIANT
    if _are_initials(one, other):
        return Given.VARIANT
    if _may_be_initials(first, other_first):
        return Given.ALIKE
    if _is_cut(words, other_first) or _is_cut(other_words, first):
        return Given.OTHER
    level = _unequal_given(a, b, first, other_first, bearers)
    if level == Given.SLIP and _begins_otherwise(a, b):
        level = Given.ALIKE
    # What is alike and followed by the same further names is one name, misheard.
    if level == Given.ALIKE and not (further | set(words[1:])).isdisjoint(other_further | set(other_words[1:])):
        return Given.SOUND
    return level


def _level_with_lost_letters(
    one: str, other: str, further: frozenset[str], other_further: frozenset[str], bearers: Bearers
) -> int:
    """The level of names, of which one has `?` for letters that a system did not know: IN?S is INES, spelt badly."""
    first, other_first = one.split(" ")[0], other.split(" ")[0]
    if len(first) == len(other_first) and all(a == b or "?" in (a, b) for a, b in zip(first, other_first, strict=True)):
        return Given.SLIP
    bare, other_bare = (" ".join(name.replace("?", "").split()) for name in (one, other))
    return given_level(bare, other_bare, further, other_further, bearers) if bare and other_bare else Given.DIFFERENT


def _is_initial(words: Sequence[str], other_words: Sequence[str]) -> bool:
    """True for J PAUL beside JEAN PAUL."""
    return len(words[0]) == 1 and len(words) > 1 and other_words[0][0] == words[0] and words[1:] == other_words[1:]


def _begins_otherwise(one: str, other: str) -> bool:
    """True for HANA and SANA: short names that rhyme. Hands and ears change the first letter most seldom."""
    is_rhyme = len(one) == len(other) <= _SHORT_RHYME and one[1:] == other[1:]
    return is_rhyme and one[0] != other[0] and one[0].isalpha() and other[0].isalpha()


def _adds_a_name(words: Sequence[str], rest: Collection[str], other_further: frozenset[str]) -> bool:
    """True for JEAN PAUL beside JEAN: twins, or one name cut short, which it is when PAUL is a further name of the other."""
    return len(words) > 1 and words[1] in rest and is_nearly_listed(words[1]) and not any(map(words[1].startswith, other_further))


def _is_composed(words: Sequence[str], name: str) -> bool:
    """True for JEAN PIERRE, called PIERRE."""
    return len(words) > 1 and words[1] == name and composes(words[0])


def _stands_in(name: str, listed: Collection[str]) -> bool:
    return name in listed or any(name.startswith(item) or is_slip(name, item) or are_variants(name, item) for item in listed)


def _is_cut(words: Sequence[str], name: str) -> bool:
    """True when the last of several words is the beginning of a name, cut off at the end of a field."""
    return len(words) > 1 and len(words[-1]) >= _SHORTEST_CUT and name.startswith(words[-1])


def _unequal_given(a: str, b: str, first: str, other_first: str, bearers: Bearers) -> int:
    established = bearers.is_established(first, other_first) and bearers.is_established(other_first, first)
    slip = is_slip(a, b) or (len(a) != len(b) and is_slip(first, other_first))
    if slip or (sound_the_same(first, other_first) and len(french_code(first)) >= _SHORTEST_SOUND):
        if established:
            return Given.ALIKE_KNOWN
        return Given.SLIP if slip else Given.SOUND
    if are_related(first, other_first):
        return Given.ALIKE_KNOWN
    if similarity(a, b) >= ALIKE or sound_alike(first, other_first):
        return Given.ALIKE_KNOWN if established else Given.ALIKE
    return Given.DIFFERENT_KNOWN if established else Given.DIFFERENT
