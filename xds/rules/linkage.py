"""Which records describe the same person: deterministic rules on normalised traits, and the vetoes against them.

Two records are linked when their national identifier is the same, or when family name, given name, day of birth and sex are the
same and their addresses do not contradict. A veto (different day of birth, sex, national identifier, name suffix, order of
birth) counts between any two records of the groups that a link would join. A domain issues one identifier to one person: two
records of one domain are joined only when their addresses positively agree, and never when the domain is the affinity domain.

Spec: ITI TF-2 3.9 leaves the algorithm to the PIX Manager.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from xds.model.identifiers import PatientIdentifier
from xds.model.patient import Demographics

#: CX.5 of identifiers that a state issues, and that several sources therefore send about one person.
NATIONAL_TYPES = frozenset({"NI", "NNFRA", "SS", "INS", "INS-C", "INS-A", "NH"})
#: INS: NIR, NIA, and the NIR of test and demonstration. Spec: French national identity of health.
NATIONAL_OIDS = frozenset(
    {"1.2.250.1.213.1.4.8", "1.2.250.1.213.1.4.9", "1.2.250.1.213.1.4.10", "1.2.250.1.213.1.4.11", "2.16.840.1.113883.4.1"}
)
_LETTERS = str.maketrans({"Œ": "OE", "Æ": "AE", "Ø": "O", "Ł": "L", "Đ": "D", "Þ": "TH"})
_PLACEHOLDERS = frozenset(
    {"BEBE", "BABY", "BABYBOY", "BABYGIRL", "FILLE", "GARCON", "INCONNU", "INCONNUE", "ANONYME", "UNKNOWN", "X", "XX", "XXX"}
)
_UNKNOWN_DATES = frozenset({"19000101"})
#: XPN.7 of names that are not a person's own: alias, nickname, pseudonym.
_OTHER_NAMES = frozenset({"A", "N", "S"})


class LinkReason(StrEnum):
    """Why two persons are one. The values are stored."""

    DEMOGRAPHICS = "demographics"
    NATIONAL_IDENTIFIER = "national identifier"
    STATED = "stated by source"
    MERGED = "merged by source"
    LINKED = "linked by source"
    #: The opposite: somebody decided that they are two, and no rule may join them.
    APART = "apart"


#: Reasons that rules find, and that rules may withdraw when the traits change.
AUTOMATIC = frozenset({LinkReason.DEMOGRAPHICS, LinkReason.NATIONAL_IDENTIFIER})


def fold(text: str) -> str:
    """Letters and digits alone, in upper case without accents: how names compare."""
    upper = unicodedata.normalize("NFKD", text).upper()
    expanded = unicodedata.normalize("NFKD", upper).translate(_LETTERS)
    return "".join(character for character in expanded if character.isalnum())


def is_national(identifier: PatientIdentifier) -> bool:
    """True for an identifier that a state issues."""
    return identifier.type_code in NATIONAL_TYPES or identifier.authority.oid in NATIONAL_OIDS


@dataclass(frozen=True, slots=True)
class Traits:
    """What of one record is compared, normalised. `places` are (postal code or city, street)."""

    names: frozenset[tuple[str, str]] = frozenset()
    suffixes: frozenset[str] = frozenset()
    birth_date: str = ""
    sex: str = ""
    birth_order: int | None = None
    places: frozenset[tuple[str, str]] = frozenset()
    national: frozenset[tuple[str, str]] = frozenset()

    @property
    def match_keys(self) -> frozenset[str]:
        """Keys that two records share when a rule may find them the same."""
        keys = {f"i|{authority}|{value}" for authority, value in self.national}
        if len(self.birth_date) == 8 and self.sex:
            keys |= {f"n|{family}|{given}|{self.birth_date}|{self.sex}" for family, given in self.names}
        return frozenset(keys)


def _national(identifiers: Iterable[PatientIdentifier]) -> frozenset[tuple[str, str]]:
    found = ((item.authority.oid or item.authority.namespace or "", fold(item.value)) for item in identifiers)
    # A run of one character is what people type when they have no number.
    return frozenset((authority, value) for authority, value in found if len(value) >= 5 and len(set(value)) > 1)


def traits(demographics: Demographics) -> Traits:
    """The comparable traits of a record."""
    own = [name for name in demographics.names if name.use not in _OTHER_NAMES]
    names = {(fold(name.family), fold(name.given)) for name in own}
    birth_date = (demographics.birth_date or "")[:8]
    places = {(fold(item.postal_code) or fold(item.city), fold(item.street)) for item in demographics.addresses}
    return Traits(
        names=frozenset((family, given) for family, given in names if family and given and given not in _PLACEHOLDERS),
        suffixes=frozenset(fold(name.suffix) for name in own if name.suffix),
        birth_date="" if birth_date in _UNKNOWN_DATES else birth_date,
        sex=demographics.sex if demographics.sex in ("F", "M", "O", "A") else "",
        birth_order=demographics.birth_order,
        places=frozenset(place for place in places if place[0]),
        national=_national(demographics.national_identifiers),
    )


def search_text(demographics: Demographics) -> str:
    """Folded names, birth date and telephones, separated by blanks: what a search for words looks through."""
    words = [part for name in demographics.names for part in (name.family, name.given, name.further_given)]
    folded = (fold(word) for word in (*words, demographics.birth_date or "", *demographics.telephones))
    return " ".join(dict.fromkeys(word for word in folded if word))


def is_vetoed(one: Traits, other: Traits) -> bool:
    """True when two records cannot describe one person."""
    dates = (one.birth_date, other.birth_date)
    if all(dates) and not (dates[0].startswith(dates[1]) or dates[1].startswith(dates[0])):
        return True
    if {one.sex, other.sex} == {"F", "M"}:
        return True
    if one.suffixes and other.suffixes and not one.suffixes & other.suffixes:
        return True
    if None not in (one.birth_order, other.birth_order) and one.birth_order != other.birth_order:
        return True
    shared = {authority for authority, _ in one.national} & {authority for authority, _ in other.national}
    return any(
        not {item for item in one.national if item[0] == authority} & {item for item in other.national if item[0] == authority}
        for authority in shared
    )


def confirms(image: Traits, stated: Traits) -> bool:
    """True when the patient named in an image and a known person have a name and the full day of birth in common, and no veto."""
    dated = len(image.birth_date) == 8 and image.birth_date == stated.birth_date
    return dated and bool(image.names & stated.names) and not is_vetoed(image, stated)


def addresses_agree(one: Traits, other: Traits) -> bool:
    """True when both live in the same street of the same place."""
    return any(street and (place, street) in other.places for place, street in one.places)


def _addresses_contradict(one: Traits, other: Traits) -> bool:
    return bool(one.places and other.places) and not {place for place, _ in one.places} & {place for place, _ in other.places}


def reason_to_link(one: Traits, other: Traits) -> LinkReason | None:
    """Why two records describe the same person, or None. Vetoes are not asked here."""
    if one.national & other.national:
        return LinkReason.NATIONAL_IDENTIFIER
    same = len(one.birth_date) == 8 and one.birth_date == other.birth_date and one.sex == other.sex != ""
    if same and one.names & other.names and not _addresses_contradict(one, other):
        return LinkReason.DEMOGRAPHICS
    return None


@dataclass(frozen=True, slots=True)
class Member:
    """A person for linkage: the traits that each source states, and the domains that issued her an identifier of her own.

    `exclusive` are domains (the affinity domain) whose identifiers are never joined by a rule; `apart` are persons who were
    declared to be somebody else.
    """

    person_key: int
    traits: tuple[Traits, ...] = ()
    domains: frozenset[int] = frozenset()
    exclusive: frozenset[int] = frozenset()
    apart: frozenset[int] = field(default_factory=frozenset)


Group = Sequence[Member]


@dataclass(frozen=True, slots=True)
class Link:
    """Two persons to be joined."""

    one: int
    other: int
    reason: LinkReason


def _best_reason(one: Member, other: Member) -> LinkReason | None:
    reasons = {reason_to_link(a, b) for a in one.traits for b in other.traits}
    if LinkReason.NATIONAL_IDENTIFIER in reasons:
        return LinkReason.NATIONAL_IDENTIFIER
    return LinkReason.DEMOGRAPHICS if LinkReason.DEMOGRAPHICS in reasons else None


def _are_compatible(one: Member, other: Member) -> bool:
    if other.person_key in one.apart or one.exclusive & other.exclusive:
        return False
    pairs = [(a, b) for a in one.traits for b in other.traits]
    if any(is_vetoed(a, b) for a, b in pairs):
        return False
    if not one.domains & other.domains:
        return True
    return any(addresses_agree(a, b) or a.national & b.national for a, b in pairs)


def may_be_one(one: Group, other: Group) -> bool:
    """True when nothing speaks against joining two groups of persons."""
    return all(_are_compatible(a, b) for a in one for b in other)


def holds(one: Member, other: Member) -> LinkReason | None:
    """Why a link between two persons still holds; None when it does not any more."""
    return _best_reason(one, other) if _are_compatible(one, other) else None


def links(person: Member, own: Group, candidates: Sequence[Group]) -> tuple[Link, ...]:
    """The links that join a person's group with the candidates that are her.

    When several candidates fit her but cannot be one person among themselves, the traits do not tell which one she is, and
    nothing is joined.
    """
    found: list[tuple[Group, Link]] = []
    for group in candidates:
        reasons = [(other, reason) for other in group if (reason := _best_reason(person, other))]
        if reasons and may_be_one(own, group):
            other, reason = reasons[0]
            found.append((group, Link(person.person_key, other.person_key, reason)))
    agreeing = all(may_be_one(one, other) for index, (one, _) in enumerate(found) for other, _ in found[index + 1 :])
    return tuple(link for _, link in found) if agreeing else ()
