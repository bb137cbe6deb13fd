"""The traits of a record that are compared, normalised once when it arrives, and their compact form for storage."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from xds.model.patient import Address, Demographics
from xds.rules.linkage.folding import digits, fold, fold_given, fold_words
from xds.rules.linkage.given_names import given_words, names_nobody, placeholder, without_fillers
from xds.rules.linkage.national import National, NationalStatus, comparable, status_of

#: XPN.7 of names that are not a person's own: alias, nickname, pseudonym.
_OTHER_NAMES = frozenset({"A", "N", "S"})
_UNKNOWN_DATES = frozenset({"19000101", "18000101", "00010101", "00000000", "99991231", "11111111", "19010101"})
_HOUSE_NUMBER = re.compile(r"^(\d+) ?(?:(?:BIS|TER|QUATER|[A-D]) )?(.*)$")
#: The same behind the street, as in Belgium, Germany and Italy; a box or a flat after it says nothing.
_NUMBER_BEHIND = re.compile(
    r"^(\D*[^\d ])(?<!\bBAT)(?<!\bAPT)(?<!\bBTE) (\d+)(?: ?[A-D])?(?: (?:BTE|BOITE|BUS|APT|APPT|BAT|ETAGE|FLAT)\b.*)?$"
)
_CITY_WORDS = {"ST": "SAINT", "STE": "SAINTE"}
_STREET_KINDS = re.compile(
    r"\b(?:RUE|R|AVENUE|AVE|AV|BOULEVARD|BLVD|BD|BVD|CHEMIN|CHE|CH|ALLEES?|ALL|IMPASSE|IMP|PLACE|PL|ROUTE|RTE|SQUARE|SQ|COURS|QUAI|"
    r"STREET|ST|ROAD|RD|DRIVE|DR|LANE|LN|COURT|CT|CRESCENT|CRES|CLOSE|DE|DU|DES|D|LA|LE|LES|L|THE|OF)\b"
)
#: Telephone numbers compare by their last digits, so that country codes and leading zeros do not matter.
_TELEPHONE_DIGITS = 9
#: XAD.7 of addresses where nobody lives: of birth, of the delivery, of the country of origin, bad ones.
_NO_HOMES = frozenset({"BDL", "N", "F", "BA"})
#: Who is said to live there shares house, street and telephone with many.
_INSTITUTION = re.compile(
    r"\b(?:EHPAD|HOPITAL|HOPITAUX|HOSPITALIERE?|HOSPITAL|CHU|CHRU|CHR|CLINIQUE|MAISON D ?ARRET|PENITENTIAIRE|PRISON|HEBERGEMENT|"
    r"MAISON DE RETRAITE|MAPAD|FOYER|ADOMA|SONACOTRA|CADA|CCAS|CIAS|SAMU|SDF|SANS DOMICILE|SECOURS CATHOLIQUE|CROIX ROUGE|"
    r"EMMAUS|ASILE|NURSING HOME|SHELTER|CASERNE)\b"
)
_RECORD, _SEPARATOR, _ITEM, _PART = "\x1c", "\x1e", "\x1f", "\x1d"
#: Octets of a glimpse at most.
_LONGEST_GLIMPSE = 128
_PACKED_VERSION = "1"
_GLIMPSE_VERSION = "2"


class Place(NamedTuple):
    """An address for comparison: house number, street without its kind, city, postal code; each may be empty."""

    number: str
    street: str
    city: str
    postal_code: str


@dataclass(frozen=True, slots=True)
class Traits:
    """What of one record is compared. Names are folded words with one blank between them.

    `families` and `givens` are those of all names that are a person's own, the first stated first; parts of a composed given name
    stand apart. `further` are the words of further given names. `is_unnamed`: something stands where the given name is not known
    yet. `birth_date` has 8, 6 or 4 digits; `is_default_date` tells the first of January. `telephones` are their last 9 digits.
    """

    families: tuple[str, ...] = ()
    givens: tuple[str, ...] = ()
    further: frozenset[str] = frozenset()
    is_unnamed: bool = False
    suffixes: frozenset[str] = frozenset()
    birth_date: str = ""
    is_default_date: bool = False
    sex: str = ""
    birth_order: int | None = None
    is_multiple: bool | None = None
    addresses: tuple[Place, ...] = ()
    telephones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    mother: str = ""
    nationals: tuple[National, ...] = ()

    def pack(self) -> bytes:
        """The storable form. It is read again by `unpack` of the same or a later version of the software."""
        order = "" if self.birth_order is None else str(self.birth_order)
        multiple = "" if self.is_multiple is None else str(int(self.is_multiple))
        nationals = (_PART.join((item.authority, item.value, str(int(item.status)))) for item in self.nationals)
        fields = (
            _PACKED_VERSION,
            _ITEM.join(self.families),
            _ITEM.join(self.givens),
            _ITEM.join(sorted(self.further)),
            "1" if self.is_unnamed else "",
            _ITEM.join(sorted(self.suffixes)),
            self.birth_date,
            self.sex,
            order,
            multiple,
            _ITEM.join(_PART.join(place) for place in self.addresses),
            _ITEM.join(self.telephones),
            _ITEM.join(self.emails),
            self.mother,
            _ITEM.join(nationals),
        )
        return _SEPARATOR.join(fields).encode()

    @staticmethod
    def unpack(packed: bytes) -> Traits:
        """The traits that `pack` stored. Errors: ValueError when the bytes are something else."""
        fields = packed.decode().split(_SEPARATOR)
        if fields[0] != _PACKED_VERSION or len(fields) != 15:
            raise ValueError("these bytes are no packed traits of a version that is known")
        nationals = (item.split(_PART) for item in _items(fields[14]))
        return Traits(
            families=_items(fields[1]),
            givens=_items(fields[2]),
            further=frozenset(_items(fields[3])),
            is_unnamed=bool(fields[4]),
            suffixes=frozenset(_items(fields[5])),
            birth_date=fields[6],
            is_default_date=fields[6].endswith("0101") and len(fields[6]) == 8,
            sex=fields[7],
            birth_order=int(fields[8]) if fields[8] else None,
            is_multiple=bool(int(fields[9])) if fields[9] else None,
            addresses=tuple(Place(*item.split(_PART)) for item in _items(fields[10])),
            telephones=_items(fields[11]),
            emails=_items(fields[12]),
            mother=fields[13],
            nationals=tuple(National(authority, value, NationalStatus(int(status))) for authority, value, status in nationals),
        )


def _items(text: str) -> tuple[str, ...]:
    return tuple(text.split(_ITEM)) if text else ()


class Glimpse(NamedTuple):
    """What one look at a record needs of its traits. `further` are the words of further given names."""

    families: tuple[str, ...]
    givens: tuple[str, ...]
    further: tuple[str, ...]
    birth_date: str
    sex: str
    emails: tuple[str, ...]
    has_nationals: bool

    @staticmethod
    def of(traits: Traits) -> Glimpse:
        """What of these traits one look needs."""
        return Glimpse(
            traits.families,
            traits.givens,
            tuple(sorted(traits.further)),
            traits.birth_date,
            traits.sex,
            traits.emails,
            bool(traits.nationals),
        )

    @staticmethod
    def unpack(packed: bytes) -> list[Glimpse] | None:
        """What `glimpse_of` packed; None for what another version of the software did."""
        version, *records = packed.decode().split(_RECORD)
        if version != _GLIMPSE_VERSION:
            return None
        found = []
        for item in records:
            families, givens, further, birth_date, sex, emails, nationals = item.split(_SEPARATOR)
            found.append(
                Glimpse(
                    tuple(families.split(_ITEM)) if families else (),
                    tuple(givens.split(_ITEM)) if givens else (),
                    tuple(further.split(_ITEM)) if further else (),
                    birth_date,
                    sex,
                    tuple(emails.split(_ITEM)) if emails else (),
                    bool(nationals),
                )
            )
        return found

    def pack(self) -> str:
        """What `unpack` reads."""
        lists = (_ITEM.join(item) for item in (self.families, self.givens, self.further))
        return _SEPARATOR.join((*lists, self.birth_date, self.sex, _ITEM.join(self.emails), "1" if self.has_nationals else ""))

    def traits(self) -> Traits:
        """The traits that were seen, without what was not."""
        date = self.birth_date
        return Traits(
            families=self.families,
            givens=self.givens,
            further=frozenset(self.further),
            birth_date=date,
            is_default_date=date.endswith("0101") and len(date) == 8,
            sex=self.sex,
            emails=self.emails,
        )


def glimpse_of(records: Iterable[Traits]) -> bytes | None:
    """What one look needs of these traits, all of which are stated of one record, in a form to be stored beside its keys.

    None where a look would say nothing, or would have much to read.
    """
    seen = [Glimpse.of(item) for item in records]
    if not all(item.sex and item.givens for item in seen):
        return None
    found = _RECORD.join((_GLIMPSE_VERSION, *(item.pack() for item in seen))).encode()
    return found if seen and len(found) <= _LONGEST_GLIMPSE else None


@lru_cache(1 << 14)
def _street(text: str) -> tuple[str, str]:
    words = fold_words(text)
    if _INSTITUTION.search(words):
        return "", ""
    found = _HOUSE_NUMBER.match(words)
    behind = None if found else _NUMBER_BEHIND.match(words)
    number, rest = (found[1], found[2]) if found else (behind[2], behind[1]) if behind else ("", words)
    bare = " ".join(_STREET_KINDS.sub(" ", rest).split())
    return number.lstrip("0"), bare or rest


@lru_cache(1 << 14)
def _city(text: str) -> str:
    """A town without the number of its post office."""
    return " ".join(_CITY_WORDS.get(word, word) for word in fold_words(text).partition(" CEDEX")[0].split())


def place_of(address: Address) -> Place:
    """An address as it compares."""
    number, street = _street(address.street)
    if not street and address.other:
        number, street = _street(f"{number} {address.other}")
    return Place(number, street, _city(address.city), fold(address.postal_code))


def _is_institution(address: Address) -> bool:
    return bool(address.street) and _street(address.street) == ("", "")


def telephone_of(text: str) -> str:
    """The last digits of a telephone number; empty when there are too few, or only one repeated."""
    found = digits(text)[-_TELEPHONE_DIGITS:]
    return found if len(found) >= 7 and len(set(found)) > 2 else ""


def nationals_of(demographics: Demographics) -> tuple[National, ...]:
    """The comparable national identifiers that a record states, with the status that its reliability codes give them."""
    found = []
    for item in demographics.national_identifiers:
        authority = item.authority.oid or item.authority.namespace or ""
        compared = comparable(item.value, authority, status_of(authority, demographics.reliability))
        if compared:
            found.append(compared)
    return tuple(dict.fromkeys(found))


def _names(demographics: Demographics) -> tuple[tuple[str, ...], tuple[str, ...], frozenset[str], bool, int | None]:
    families: list[str] = []
    givens: list[str] = []
    further: set[str] = set()
    order: int | None = None
    is_unnamed = False
    for name in demographics.names:
        if name.use in _OTHER_NAMES:
            continue
        family, given = fold_words(name.family), fold_given(name.given)
        if names_nobody(family):
            is_unnamed = True
            continue
        if family and not placeholder(family)[0]:
            families.append(family)
        if given:
            is_placeholder, told = placeholder(given)
            is_unnamed |= is_placeholder
            order = order or told
            if not is_placeholder:
                givens.append(given_words(given))
        if name.further_given:
            further.update(without_fillers(fold_given(name.further_given).split()))
    return tuple(dict.fromkeys(families)), tuple(dict.fromkeys(givens)), frozenset(further), is_unnamed and not givens, order


def traits(demographics: Demographics, national: Collection[National] = ()) -> Traits:
    """The comparable traits of a record.

    `national` are its national identifiers when the caller knows their status better than the record's reliability codes tell.
    """
    families, givens, further, is_unnamed, order = _names(demographics)
    birth_date = (demographics.birth_date or "")[:8]
    if birth_date in _UNKNOWN_DATES or not birth_date.isdigit():
        birth_date = ""
    homes = [item for item in demographics.addresses if item.use not in _NO_HOMES]
    places = (place_of(item) for item in homes)
    # The telephone of a home for the old is that of all who live there.
    shared = bool(homes) and all(map(_is_institution, homes))
    telephones = (telephone_of(item) for item in demographics.telephones if not shared)
    return Traits(
        families=families,
        givens=givens,
        further=further,
        is_unnamed=is_unnamed,
        suffixes=frozenset(fold(name.suffix) for name in demographics.names if name.suffix and name.use not in _OTHER_NAMES),
        birth_date=birth_date,
        is_default_date=len(birth_date) == 8 and birth_date.endswith("0101"),
        sex=demographics.sex if demographics.sex in ("F", "M", "O", "A") else "",
        birth_order=demographics.birth_order if demographics.birth_order is not None else order,
        is_multiple=demographics.multiple_birth,
        addresses=tuple(dict.fromkeys(place for place in places if any(place))),
        telephones=tuple(dict.fromkeys(number for number in telephones if number)),
        emails=tuple(dict.fromkeys(folded for item in demographics.emails if "@" in item and (folded := item.strip().lower()))),
        mother=fold_words(demographics.mother_maiden_name or ""),
        nationals=tuple(dict.fromkeys(national)) or nationals_of(demographics),
    )


def search_text(demographics: Demographics) -> str:
    """Folded names, birth date and telephones, separated by blanks: what a search for words looks through."""
    words = [part for name in demographics.names for part in (name.family, name.given, name.further_given)]
    folded = (fold(word) for word in (*words, demographics.birth_date or "", *demographics.telephones))
    return " ".join(dict.fromkeys(word for word in folded if word))
