"""Two records compared trait by trait, and what their agreement weighs.

Names are compared over all names that each record states, the best pair counting. The whole address is one comparison, since its
parts change together. Addresses, telephones and e-mail are shared in households: the strongest counts, the others little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from xds.rules.linkage.folding import core_words, joined
from xds.rules.linkage.given_comparison import Bearers, given_level
from xds.rules.linkage.given_names import composes, given_words, is_listed
from xds.rules.linkage.national import National, NationalStatus
from xds.rules.linkage.phonetics import sound_alike
from xds.rules.linkage.slips import ALIKE, are_slips, edits, is_slip, similarity
from xds.rules.linkage.traits import Place, Traits
from xds.rules.linkage.weights import BirthDate, Family, Frequencies, Given, Weights

#: A given name is borne as a family name that many times more seldom.
_GIVEN_RATHER = 5
#: Fewer records with a name do not tell that it is a given one.
_FEWEST_BEARERS = 4
#: In so many records a family name is no slip of the pen.
_BORNE = 6
_RARE = 3
_SMALL_REGISTER = 1000
#: A register that has just begun stands for more people than it holds yet.
_SMALLEST_POPULATION = 20_000
#: In a larger register those who agree in little are strangers mostly, and there are more of them for each record: each time that
#: it doubles, odds must be better by so many bits that somebody looks at two, until they are as probably one as two.
_MANY_RECORDS = 200_000
_BITS_PER_DOUBLING = 5.0
_EVEN = 0.0
_MOST_RARITY_BITS = 6.0
_FURTHER_CONTACT = 0.3
NO_BIRTH_DATE = -4.0
WOMAN: tuple[set[str], ...] = ({"F"}, {"F", ""})


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why two records are taken for one person or two.

    `levels` and `weights` are by compared trait (absent where one record does not state it), `total` are log2 odds with the prior
    (`prior` in `weights`), the rarity of names (`family_rarity`, `given_rarity`) and what a missing date costs (`no_birth_date`).
    `veto` is the code of what forbids a link, `rule` the code of what decided: `qualified identifier`, `veto` or `weights`.
    """

    levels: Mapping[str, int]
    weights: Mapping[str, float]
    total: float
    veto: str | None
    rule: str

    @property
    def is_certainly_two(self) -> bool:
        """True when the veto leaves nothing to look at: two qualified identifiers, two births, brothers or sisters.

        Two different given names of one stated sex are twins far more often than one person; where the sex is not stated, the
        record is too poor to say so.
        """
        if self.veto == Veto.GIVEN_NAME:
            return "sex" in self.levels and self.levels.get("email") != 1
        return self.veto in _CERTAIN_VETOES


class Veto:
    """Codes of vetoes. They are stored, and translated where they are shown."""

    GIVEN_NAME = "given name"
    GIVEN_NAME_ALIKE = "given name alike"
    BIRTH_DATE = "birth date"
    BIRTH_ORDER = "birth order"
    SUFFIX = "suffix"
    NATIONAL_IDENTIFIER = "national identifier"
    UNNAMED = "unnamed"


#: Two digits may be two slips, or a father and a son of one name.
_NEAR_DATES = frozenset({BirthDate.SAME_YEAR, BirthDate.TWO_DIGITS})
_CERTAIN_VETOES = frozenset({Veto.BIRTH_ORDER, Veto.NATIONAL_IDENTIFIER})


def frequency_values(traits: Traits) -> tuple[tuple[str, str], ...]:
    """What of a record a register counts: (kind, value), each once."""
    families = (("family", joined(item)) for item in traits.families)
    givens = (("given", item.split(" ", 1)[0]) for item in traits.givens)
    places = (("place", place_name(item)) for item in traits.addresses if item.postal_code or item.city)
    return tuple(dict.fromkeys((*families, *givens, *places)))


def place_name(place: Place) -> str:
    """The town of an address as a register counts it."""
    return place.postal_code or joined(place.city)


def prior(weights: Weights, frequencies: Frequencies) -> float:
    """The log2 odds that one candidate of a register of that size is the same person, before anything is compared."""
    return math.log2(weights.matches_per_record / max(frequencies.records, _SMALLEST_POPULATION))


def review_threshold(weights: Weights, prior_bits: float) -> float:
    """The log2 odds at which somebody should look at two records, in a register with these odds before anything is compared.

    A queue that grew with the square of the register would be of no use to anybody.
    """
    doublings = math.log2(weights.matches_per_record / _MANY_RECORDS) - prior_bits
    return max(weights.review, min(weights.review + _BITS_PER_DOUBLING * doublings, _EVEN))


def family_level(one: str, other: str) -> int:
    a, b = joined(one), joined(other)
    if a == b:
        return Family.EXACT
    core, other_core = core_words(one), core_words(other)
    if core == other_core or not set(core).isdisjoint(other_core):
        return Family.PART
    if are_slips(a, b):
        return Family.SLIP
    if (len(core) > 1 or len(other_core) > 1) and any(are_slips(x, y) for x in core for y in other_core):
        return Family.SLIP
    if len(core) == len(other_core) and all(map(sound_alike, core, other_core)):
        return Family.SOUND
    if similarity(a, b) >= ALIKE:
        return Family.ALIKE
    return Family.DIFFERENT


def rarity(kind: str, value: str, weights: Weights, frequencies: Frequencies) -> float:
    """How many bits a rare value adds, or a frequent one takes away. A unique value counts as borne thrice."""
    share = (frequencies.frequency(kind, value) + _RARE) / (frequencies.records + _SMALL_REGISTER)
    bits = math.log2(weights.chance[kind] / share)
    return max(-_MOST_RARITY_BITS, min(_MOST_RARITY_BITS, bits))


def _shared(one: str, other: str) -> str:
    """The words that two family names have in common, without particles."""
    return " ".join(sorted(set(core_words(one)) & set(core_words(other))))


def _shared_rarity(words: str, weights: Weights, frequencies: Frequencies) -> float:
    """The rarity of the rarest word of a name of which more is not common: DIALLO EP BAH is not more rare than DIALLO."""
    return max(rarity("family", word, weights, frequencies) for word in words.split(" "))


def date_level(one: Traits, other: Traits) -> int:
    a, b = one.birth_date, other.birth_date
    if a == b:
        if len(a) < 8:
            return BirthDate.COMPATIBLE
        return BirthDate.EXACT_DEFAULT if one.is_default_date else BirthDate.EXACT
    if len(a) < 8 or len(b) < 8:
        return BirthDate.COMPATIBLE if a.startswith(b) or b.startswith(a) else BirthDate.DIFFERENT
    same_year = a[:4] == b[:4]
    if same_year and (one.is_default_date or other.is_default_date):
        return BirthDate.COMPATIBLE
    distance = edits(a, b, score_cutoff=2)
    if distance <= 1 or (same_year and a[4:6] == b[6:] and a[6:] == b[4:6]):
        return BirthDate.SLIP
    if distance == 2 and (same_year or a[4:] == b[4:]):
        return BirthDate.TWO_DIGITS
    return BirthDate.SAME_YEAR if same_year else BirthDate.DIFFERENT


def place_level(one: Place, other: Place) -> tuple[int, str]:
    """How many of house number, street, town and postal code agree (5: all that both state, three at least), and the town."""
    known = agreeing = exact = 0
    for index in (0, 1, 2, 3):
        a, b = one[index], other[index]
        if a and b:
            known += 1
            if a == b:
                agreeing += 1
                exact += 1
            elif index == 1 or index == 2:
                agreeing += similarity(a, b) >= 0.88
            elif index == 3:
                agreeing += edits(a, b, score_cutoff=1) <= 1
    if not known:
        return -1, ""
    if exact == known and known >= 3:
        return 5, ""
    town = place_name(one)
    return min(agreeing, 4), town if town == place_name(other) else ""


def _national_level(one: tuple[National, ...], other: tuple[National, ...]) -> tuple[int, bool]:
    """The level (2: equal; 1: nearly so, or equal and provisional), and whether it holds between two qualified identifiers."""
    best, qualified = -1, False
    for a in one:
        for b in other:
            if a.authority != b.authority:
                continue
            if a.value == b.value:
                # What was typed in without a check may be the number of a parent.
                level = 1 if NationalStatus.PROVISIONAL in (a.status, b.status) else 2
            else:
                level = int(edits(a.value, b.value, score_cutoff=1) <= 1)
            both = a.is_qualified and b.is_qualified
            if (level, both) > (best, qualified):
                best, qualified = level, both
    return best, qualified


def _name_levels(one: Traits, other: Traits, weights: Weights, bearers: Bearers) -> tuple[int, str, int, str]:
    """Levels of family and given name, and the values on which they agree exactly."""
    family = given = -1
    family_value = given_value = ""
    for a in one.families:
        for b in other.families:
            level = family_level(a, b)
            if level > family:
                family, family_value = level, _shared(a, b) if level == Family.PART else joined(a)
    for a in one.givens:
        for b in other.givens:
            level = given_level(a, b, one.further, other.further, bearers)
            if level > given:
                given, given_value = level, a.split(" ", 1)[0]
    if family == Family.SLIP and _are_borne(one, other, bearers.frequencies):
        family = Family.ALIKE
    if family <= Family.ALIKE and 0 <= given <= Given.ALIKE and are_swapped(one, other):
        return Family.SWAPPED, "", Given.SWAPPED, ""
    if family == Family.DIFFERENT and {one.sex, other.sex} in WOMAN and int(one.birth_date[:4] or 0) < weights.children_since:
        family = Family.DIFFERENT_WOMAN
        if 0 <= given <= Given.ALIKE and (value := _crossed(one, other, bearers.frequencies)):
            return family, "", Given.EXACT, value
    return family, family_value, given, given_value


def _are_borne(one: Traits, other: Traits, frequencies: Frequencies) -> bool:
    """True when others bear each of the family names, so that none is a slip of the other."""
    return all(
        any(frequencies.frequency("family", joined(name)) >= _BORNE for name in record.families) for record in (one, other)
    )


def are_swapped(one: Traits, other: Traits) -> bool:
    crossed = ((a, d) for a in one.families for d in other.givens)
    back = [(b, c) for b in one.givens for c in other.families]
    return any(_near(given_words(a), d) for a, d in crossed) and any(_near(b, given_words(c)) for b, c in back)


def _crossed(one: Traits, other: Traits, frequencies: Frequencies) -> str:
    """The given name of one that stands in the family field of the other, who also bears a husband's name.

    It must be a name that people are given: else it is the family name of twins, one of whom has the fields exchanged.
    """
    givens = {item for item in one.givens if item in other.families} | {item for item in other.givens if item in one.families}
    for item in givens:
        count = frequencies.frequency("given", item.split(" ", 1)[0])
        if count >= _FEWEST_BEARERS and count >= _GIVEN_RATHER * frequencies.frequency("family", joined(item)):
            return item.split(" ", 1)[0]
    return ""


def _is_misspelt(one: str, other: str) -> bool:
    return is_slip(one, other) and not (is_listed(one) and is_listed(other))


def _near(one: str, other: str) -> bool:
    # JEAN PIERRE is not JEAN, whichever fields they stand in.
    if joined(one) == joined(other) or _is_misspelt(one, other):
        return True
    first, other_first = one.split(" ")[0], other.split(" ")[0]
    return (first == other or other_first == one) and not composes(first)


def _veto(one: Traits, other: Traits, levels: Mapping[str, int], qualified: bool) -> str | None:
    """What forbids a link. `qualified`: the level of the national identifier holds between two qualified ones."""
    confirmed = qualified and levels["national"] == 2
    if qualified and not confirmed:
        return Veto.NATIONAL_IDENTIFIER
    if one.birth_order is not None and other.birth_order is not None and one.birth_order != other.birth_order:
        return Veto.BIRTH_ORDER
    given, date = levels.get("given", Given.EXACT), levels.get("birth_date", BirthDate.EXACT)
    if given <= Given.DIFFERENT:
        return Veto.GIVEN_NAME
    # Of those who have one number and one day of birth, what is nearly the same is a slip.
    if not confirmed and not (levels.get("national") == 2 and date == BirthDate.EXACT):
        if given <= Given.ALIKE or (_are_of_twins(one, other) and _may_be_the_other(given, one, other)):
            return Veto.GIVEN_NAME_ALIKE
        # Brothers and sisters of whom no day of birth is known share the first of January.
        if date == BirthDate.EXACT_DEFAULT and given in (Given.SLIP, Given.SOUND):
            return Veto.GIVEN_NAME_ALIKE
    if date == BirthDate.DIFFERENT or (date in _NEAR_DATES and not confirmed):
        return Veto.BIRTH_DATE
    if one.suffixes and other.suffixes and one.suffixes.isdisjoint(other.suffixes):
        return Veto.SUFFIX
    if one.is_unnamed and (other.is_unnamed or one.is_multiple or other.is_multiple):
        return Veto.UNNAMED
    if other.is_unnamed and (one.is_multiple or other.is_multiple):
        return Veto.UNNAMED
    return None


def _may_be_the_other(given: int, one: Traits, other: Traits) -> bool:
    """True when given names do not tell twins apart: unequal ones, or JEAN, which is all that some keep of JEAN PAUL."""
    if given < Given.PART:
        return True
    return bool(one.givens and other.givens) and (all(map(composes, one.givens)) or all(map(composes, other.givens)))


def _are_of_twins(one: Traits, other: Traits) -> bool:
    """True when a record says that others were born with this person, and they do not both say that it is the same one."""
    if one.birth_order is not None and one.birth_order == other.birth_order:
        return False
    return any(item.is_multiple or (item.is_multiple is None and item.birth_order is not None) for item in (one, other))


def compare(
    one: Traits, other: Traits, weights: Weights, frequencies: Frequencies, own: Mapping[str, int] | None = None
) -> Evidence:
    """The evidence that two records describe one person. It is symmetric.

    `own` is how often each given name occurs in the records of the two persons that these belong to, where it is known.
    """
    levels: dict[str, int] = {}
    town = ""
    family, family_value, given, given_value = _name_levels(one, other, weights, Bearers(frequencies, own))
    if family >= 0:
        levels["family"] = family
    if given >= 0:
        levels["given"] = given
    if one.birth_date and other.birth_date:
        levels["birth_date"] = date_level(one, other)
    if one.sex and other.sex:
        levels["sex"] = int(one.sex == other.sex)
    if one.addresses and other.addresses:
        place, town = max(place_level(a, b) for a in one.addresses for b in other.addresses)
        if place >= 0:
            levels["address"] = place
    if one.telephones and other.telephones:
        levels["telephone"] = int(not set(one.telephones).isdisjoint(other.telephones))
    if one.emails and other.emails:
        levels["email"] = int(not set(one.emails).isdisjoint(other.emails))
    if one.mother and other.mother:
        mother = family_level(one.mother, other.mother)
        levels["mother"] = 2 if mother == Family.EXACT else 1 if mother >= Family.SOUND else 0
    qualified = False
    if one.nationals and other.nationals:
        national, qualified = _national_level(one.nationals, other.nationals)
        if national >= 0:
            levels["national"] = national
    bits = {trait: weights.bits[trait][level] for trait, level in levels.items()}
    if "birth_date" not in levels:
        # A father and a son of one name live at one address more often than that a date is missing.
        bits["no_birth_date"] = NO_BIRTH_DATE
    if family == Family.EXACT:
        bits["family_rarity"] = rarity("family", family_value, weights, frequencies)
    elif family == Family.PART:
        bits["family_rarity"] = _shared_rarity(family_value, weights, frequencies)
    if given in (Given.EXACT, Given.PART):
        bits["given_rarity"] = rarity("given", given_value, weights, frequencies)
    if town and levels["address"] in (1, 2, 3):
        bits["address"] = max(0.0, bits["address"] + min(0.0, rarity("place", town, weights, frequencies)))
    _limit_contacts(bits)
    bits["prior"] = prior(weights, frequencies)
    veto = _veto(one, other, levels, qualified)
    if family < 0 and given < 0 and (one.is_unnamed or other.is_unnamed) and not veto and levels.get("national") != 2:
        # Who is nobody by name is not told from those of the same house and day.
        veto = Veto.UNNAMED
    rule = "veto" if veto else "qualified identifier" if qualified and levels["national"] == 2 else "weights"
    return Evidence(levels, bits, sum(bits.values()), veto, rule)


def confirms(image: Traits, stated: Traits) -> bool:
    """True when the patient named in an image and a known person share their names and full day of birth, without a veto."""
    if len(image.birth_date) != 8 or image.birth_date != stated.birth_date or {image.sex, stated.sex} == {"F", "M"}:
        return False
    families = {joined(item) for item in image.families} & {joined(item) for item in stated.families}
    givens = {joined(item) for item in image.givens} & {joined(item) for item in stated.givens}
    if not families or not givens:
        return False
    national, qualified = _national_level(image.nationals, stated.nationals)
    return _veto(image, stated, {"national": national}, qualified) is None


def _limit_contacts(bits: dict[str, float]) -> None:
    contacts = [trait for trait in ("address", "telephone", "email") if bits.get(trait, 0.0) > 0]
    if len(contacts) > 1:
        contacts.remove(max(contacts, key=lambda trait: bits[trait]))
        for trait in contacts:
            bits[trait] *= _FURTHER_CONTACT
