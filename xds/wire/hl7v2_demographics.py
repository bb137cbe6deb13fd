"""The PID segment: a patient's demographics.

Tolerated deviations: no PID-5 (newborn without a name); birth dates with day or month 00 (kept to the precision that is left);
sex in lower case; telephone numbers in XTN.1 or in its parts; e-mail addresses in XTN.1.

Spec: ITI TF-2 3.8.4.1.2.3, 3.21.4.2.2.5, 3.30.5 (PID); HL7 v2.5 chapter 3.4.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from typing import Final

from xds.model.identifiers import is_dtm
from xds.model.patient import LONGEST_VALUE, Address, Demographics, PersonName
from xds.wire.hl7v2 import DELETED, Condition, Fault, Location, Message, Segment, components, escape
from xds.wire.hl7v2_answers import cx
from xds.wire.hl7v2_identity import identifiers

#: HL7 table 0001.
SEXES: Final = frozenset("FMOUAN")
_FLAGS: Final = {"Y": True, "N": False, "y": True, "n": False}
_TIME_TAIL = re.compile(r"(\.[0-9]{1,4})?([+-][0-9]{4})?\Z")
_UNKNOWN_PART = re.compile(r"([0-9]{4})(?:00|([0-9]{2})00)[0-9]*\Z")
#: What stands for components and fields that a sender leaves out.
_SEVEN: Final = ("",) * 7
_BLANK: Final = ("",) * 32
#: XTN.2 and XTN.3 of addresses that are no telephone numbers.
_ELECTRONIC: Final = frozenset({"NET", "Internet", "INTERNET", "X.400"})

#: Which values a source deletes by writing `""` in a field of PID, or in each component of it.
DELETABLE: Final = {
    5: "names",
    6: "mother_maiden_name",
    7: "birth_date",
    8: "sex",
    11: "addresses",
    13: "telephones",
    14: "work_telephones",
    15: "language",
    16: "marital_status",
    17: "religion",
    18: "account_number",
    19: "national_identifiers",
    21: "mother_identifiers",
    23: "birth_place",
    24: "multiple_birth",
    25: "birth_order",
    29: "death_time",
    30: "deceased",
    32: "reliability",
}
#: What goes with them.
_ALSO_DELETED: Final = {6: "mother_given_name", 13: "emails"}
_NOBODY: Final = Demographics()


def _names(repeated: Sequence[Sequence[str]]) -> tuple[PersonName, ...]:
    names = []
    for given in repeated:
        family, first, further, suffix, prefix, _, use = (*given, *_SEVEN)[:7]
        if family or first:
            names.append(PersonName(family, first, further, suffix, prefix, use or None))
    return tuple(names)


def _addresses(repeated: Sequence[Sequence[str]]) -> tuple[Address, ...]:
    addresses = []
    for given in repeated:
        street, other, city, state, postal_code, country, use = (*given, *_SEVEN)[:7]
        if street or other or city or state or postal_code or country:
            addresses.append(Address(street, other, city, state, postal_code, country, use or None))
    return tuple(addresses)


@dataclass
class _Telecommunication:
    """The three kinds of entries that XTN fields hold."""

    telephones: list[str] = field(default_factory=list)
    work_telephones: list[str] = field(default_factory=list)
    emails: list[str] = field(default_factory=list)

    def add(self, repeated: Sequence[Sequence[str]], *, at_work: bool) -> None:
        for given in repeated:
            number, use, equipment, email, country, area, local = (*given, *_SEVEN)[:7]
            if not email and number and (use in _ELECTRONIC or equipment in _ELECTRONIC):
                email, number = number, ""
            if email:
                self.emails.append(email)
            number = number or " ".join([part for part in (country, area, local) if part]) or (given[11:12] or [""])[0]
            if number:
                (self.work_telephones if at_work or use == "WPN" else self.telephones).append(number)


def read_date(text: str) -> str | None:
    """A TS without fraction and zone, cut before a day or month 00; None when it is no date."""
    if len(text) == 8 and text.isdecimal() and text.isascii():
        try:
            date(int(text[:4]), int(text[4:6]), int(text[6:]))
        except ValueError:
            pass
        else:
            return text
    digits = _TIME_TAIL.sub("", text.strip())
    unknown = _UNKNOWN_PART.match(digits)
    if unknown and len(digits) >= 6:
        digits = unknown[1] + (unknown[2] or "")
    return digits if is_dtm(digits) else None


def _dated(text: str | None, number: int, name: str, faults: list[Fault]) -> str | None:
    if text is None:
        return None
    found = read_date(text)
    if found is None:
        text = f"PID-{number} ({name}) must be a date of the calendar: YYYY[MM[DD[HHMM[SS]]]]"
        faults.append(Fault(Condition.DATA_TYPE, text, Location("PID", 1, number)))
    return found


def _sex(text: str | None, faults: list[Fault]) -> str | None:
    if text is None:
        return None
    sex = text.upper()
    if sex in SEXES:
        return sex
    faults.append(Fault(Condition.TABLE_VALUE, "PID-8 must be a value of table 0001: A, F, M, N, O or U", Location("PID", 1, 8)))
    return None


def _too_long(message: Message, pid: Segment) -> list[Fault]:
    text = f"a repetition has more than {LONGEST_VALUE} characters"
    return [
        Fault(Condition.DATA_TYPE, text, Location("PID", 1, number, repetition))
        for number, whole in enumerate(pid.fields, 1)
        if len(whole) > LONGEST_VALUE
        for repetition, given in enumerate(whole.split(message.separators.repetition), 1)
        if len(given) > LONGEST_VALUE
    ]


def _deletes(pid: Segment) -> bool:
    """True when something in a PID is deleted."""
    return DELETED in "|".join(pid.fields)


def _stated(message: Message, whole: str) -> list[list[str]]:
    """The components of a field. Those that are deleted are as good as empty: the field takes the place of the former one."""
    return [["" if part == DELETED else part for part in item] for item in message.components(whole)]


def read_demographics(message: Message, pid: Segment, faults: list[Fault]) -> Demographics:
    """The demographics of a PID segment. What is wrong with them is added to `faults`.

    Errors: 102 (PID-7, PID-29, a repetition of any field that is longer than `LONGEST_VALUE`), 103 (PID-8).
    """
    if max(map(len, pid.fields), default=0) > LONGEST_VALUE and (found := _too_long(message, pid)):
        faults += found
        return Demographics()
    fields = (*pid.fields, *_BLANK)
    components = partial(_stated, message) if _deletes(pid) else message.components

    def text(number: int) -> str | None:
        """The first component of a field."""
        whole = fields[number - 1]
        if not whole or whole == DELETED:
            return None
        return whole if whole.isalnum() else components(whole)[0][0] or None

    def second(number: int) -> str | None:
        """The second component of a field."""
        whole = fields[number - 1]
        return ((*components(whole)[0], "")[1] or None) if whole and not whole.isalnum() else None

    def repeated(number: int) -> Sequence[Sequence[str]]:
        whole = fields[number - 1]
        return components(whole) if whole and whole != DELETED else ()

    reached = _Telecommunication()
    reached.add(repeated(13), at_work=False)
    reached.add(repeated(14), at_work=True)
    order = text(25)
    account = identifiers(message, fields[17])
    return Demographics(
        names=_names(repeated(5)),
        birth_date=_dated(text(7), 7, "date of birth", faults),
        sex=_sex(text(8), faults),
        addresses=_addresses(repeated(11)),
        telephones=tuple(reached.telephones),
        mother_maiden_name=text(6),
        account_number=account[0] if account else None,
        national_identifiers=identifiers(message, fields[18]),
        multiple_birth=_FLAGS.get(text(24) or ""),
        birth_order=int(order) if order and order.isdecimal() and len(order) < 4 else None,
        death_time=_dated(text(29), 29, "time of death", faults),
        deceased=_FLAGS.get(text(30) or ""),
        work_telephones=tuple(reached.work_telephones),
        emails=tuple(reached.emails),
        language=text(15),
        marital_status=text(16),
        religion=text(17),
        birth_place=text(23),
        reliability=tuple([given[0] for given in repeated(32) if given[0]]),
        mother_given_name=second(6),
        mother_identifiers=identifiers(message, fields[20]),
    )


def deleted_values(message: Message, pid: Segment, stated: Demographics) -> tuple[str, ...]:
    """The fields of `Demographics` whose stored value the sender of a PID deletes; `stated` is what is read of it.

    A field is deleted by `""`, and by `""` in its first component when nothing is stated in the others. Whoever is said to live
    (PID-30 N) has no time of death any more.
    Spec: HL7 v2.5 chapters 2.5.3, 3.4.2.29, 3.4.2.30; ITI TF-2 C.2.
    """
    living = ("death_time",) if stated.deceased is False and not stated.death_time else ()
    if not _deletes(pid):
        return living
    component = message.separators.component
    given = [number for number in DELETABLE if pid.field(number).split(component, 1)[0].strip() == DELETED]
    names = [DELETABLE[number] for number in given] + [_ALSO_DELETED[number] for number in given if number in _ALSO_DELETED]
    deleted = (name for name in names if getattr(stated, name) == getattr(_NOBODY, name))
    return tuple(dict.fromkeys((*deleted, *living)))


def _name(name: PersonName) -> str:
    parts = (name.family, name.given, name.further_given, name.suffix, name.prefix, "", name.use or "")
    return components(*map(escape, parts))


def _address(address: Address) -> str:
    parts = (address.street, address.other, address.city, address.state, address.postal_code, address.country, address.use or "")
    return components(*map(escape, parts))


def _telephone(number: str, use: str) -> str:
    """An XTN. A number that came in parts (country, area, local) goes out in parts, too."""
    parts = number.split(" ")
    if 2 <= len(parts) <= 3 and all(part.isdecimal() for part in parts):
        country = parts[0] if len(parts) == 3 else ""
        return f"{number}^{use}^PH^^{country}^{parts[-2]}^{parts[-1]}"
    return f"{escape(number)}^{use}^PH"


def _flag(value: bool | None) -> str:
    return "" if value is None else "Y" if value else "N"


def pid_fields(stated: Demographics) -> dict[int, str]:
    """Demographics as fields of a PID in their wire form, empty ones included."""
    home = [_telephone(item, "PRN") for item in stated.telephones]
    electronic = [f"^NET^Internet^{escape(item)}" for item in stated.emails]
    return {
        5: "~".join(map(_name, stated.names)),
        6: components(escape(stated.mother_maiden_name or ""), escape(stated.mother_given_name or "")),
        7: stated.birth_date or "",
        8: stated.sex or "",
        11: "~".join(map(_address, stated.addresses)),
        13: "~".join((*home, *electronic)),
        14: "~".join(_telephone(item, "WPN") for item in stated.work_telephones),
        15: escape(stated.language or ""),
        16: escape(stated.marital_status or ""),
        17: escape(stated.religion or ""),
        18: cx(stated.account_number) if stated.account_number else "",
        19: "~".join(map(cx, stated.national_identifiers)),
        21: "~".join(map(cx, stated.mother_identifiers)),
        23: escape(stated.birth_place or ""),
        24: _flag(stated.multiple_birth),
        25: "" if stated.birth_order is None else str(stated.birth_order),
        29: stated.death_time or "",
        30: _flag(stated.deceased),
        32: "~".join(map(escape, stated.reliability)),
    }


def last_update(updated: int) -> str:
    """PID-33 from milliseconds since 1970; empty when it is not known."""
    return datetime.fromtimestamp(updated / 1000, UTC).strftime("%Y%m%d%H%M%S+0000") if updated else ""
