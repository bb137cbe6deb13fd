"""Demographics queries in HL7 v2: QBP^Q22 and QBP^ZV1 as values, and their cancellation (QCN^J01).

Criteria on different elements must all be met; the same element several times, or several values of one (`A&B`), are
alternatives, except identifiers, which must all be the patient's. `*` stands for any number of characters.

Tolerated deviations: message query names other than `IHE PDQ Query`; empty repetitions of QPD-3 and criteria without a value;
components of QPD-8 beside the fourth; no RCP, an empty RCP-1, an RCP-2 without a unit; identifiers with a check digit or a type
code, which identify nothing.

Spec: ITI TF-2 3.21.4.1.2, 3.21.4.3, 3.22.4.1.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from xds.model.demographics_query import (
    AddressPattern,
    DateRange,
    DemographicsQuery,
    IdentifierPattern,
    NamePattern,
    PageRequest,
    TextPattern,
)
from xds.model.identifiers import AssigningAuthority
from xds.wire.hl7v2 import Condition, Fault, Location, Message, Segment
from xds.wire.hl7v2_demographics import SEXES, read_date
from xds.wire.hl7v2_feed import visit_field
from xds.wire.hl7v2_pix import priority_faults, read_domains
from xds.wire.hl7v2_query_names import Criterion, read_criteria, text_pattern

#: Segments whose elements the two queries search.
_SEGMENTS: Final = {"Q22": ("PID", "PD1"), "ZV1": ("PID", "PD1", "PV1", "PV2")}
#: Queries of other transactions, which this one does not answer.
_OTHER_QUERIES: Final = frozenset({"IHE PIX Query"})
_NAME_PARTS: Final = {(1, 1): "family", (2, 1): "given", (4, 1): "suffix", (5, 1): "prefix"}
_MOTHER_PARTS: Final = {(1, 1): "family", (2, 1): "given"}
_ADDRESS_PARTS: Final = {(1, 1): "street", (3, 1): "city", (4, 1): "state", (5, 1): "postal_code", (6, 1): "country"}
#: Parts of an identifier that distinguish none: check digit and its scheme, type code.
_IDLE_PARTS: Final = frozenset({2, 3, 5})


@dataclass(frozen=True, slots=True)
class DemographicsSearch:
    """A demographics query as it was asked.

    `others` are criteria that are compared with the fields of the patients found: elements of PID of which no search is kept.
    """

    tag: str
    query: DemographicsQuery
    page: PageRequest
    others: tuple[Criterion, ...] = ()


def read_demographics_query(message: Message) -> DemographicsSearch | tuple[Fault, ...]:
    """A QBP^Q22 or QBP^ZV1 as a query, or everything that is wrong with it.

    Errors: 100 (QPD missing or repeated), 101 (QPD-1, QPD-2, QPD-3, an identifier without authority, an empty repetition of
    QPD-8), 102 (criteria, dates, QPD-4, RCP-2), 103 (query name, elements, sex, RCP-1, unit of RCP-2).
    """
    qpd = message.segment("QPD")
    if qpd is None:
        return (Fault(Condition.SEGMENT_SEQUENCE, "the QPD segment is missing", Location("QPD", 1)),)
    faults: list[Fault] = []
    if message.segment("QPD", 2):
        faults.append(Fault(Condition.SEGMENT_SEQUENCE, "the message holds one query only", Location("QPD", 2)))
    tag = _tag_and_name(message, qpd, faults)
    score = _score(message.get("QPD-4").strip(), faults)
    criteria = read_criteria(message, qpd.field(3), _SEGMENTS[message.event], faults)
    if not criteria and not faults:
        faults.append(Fault(Condition.REQUIRED_MISSING, "QPD-3 names no criterion", Location("QPD", 1, 3)))
    collected = _Collected(fuzzy=score is not None or bool(message.get("QPD-5").strip()), faults=faults)
    collected.add(criteria)
    domains = read_domains(message, qpd, 8, faults) if qpd.field(8) else ()
    faults += priority_faults(message)
    limit = _limit(message, faults)
    if faults:
        return tuple(faults)
    page = PageRequest(limit, message.get("DSC-1").strip() or None, tag)
    return DemographicsSearch(tag, collected.query(domains, score), page, tuple(collected.others))


def _tag_and_name(message: Message, qpd: Segment, faults: list[Fault]) -> str:
    name = message.components(qpd.field(1))
    if not name or not name[0][0]:
        faults.append(Fault(Condition.REQUIRED_MISSING, "QPD-1 (message query name) is required", Location("QPD", 1, 1)))
    elif name[0][0] in _OTHER_QUERIES:
        text = "QPD-1 names the query of another transaction; it must be IHE PDQ Query"
        faults.append(Fault(Condition.TABLE_VALUE, text, Location("QPD", 1, 1)))
    tag = message.components(qpd.field(2))
    if not tag or not tag[0][0]:
        faults.append(Fault(Condition.REQUIRED_MISSING, "QPD-2 (query tag) is required", Location("QPD", 1, 2)))
        return ""
    return tag[0][0]


def _score(text: str, faults: list[Fault]) -> int | None:
    """QPD-4, search confidence threshold."""
    if not text:
        return None
    whole, _, fraction = text.partition(".")
    if whole.isdecimal() and (not fraction or fraction.isdecimal()) and len(whole) < 4 and int(whole) <= 100:
        return int(whole)
    faults.append(Fault(Condition.DATA_TYPE, "QPD-4 (confidence) is a number up to 100", Location("QPD", 1, 4)))
    return None


def _limit(message: Message, faults: list[Fault]) -> int | None:
    """RCP-2, how many records at most."""
    quantity = message.get("RCP-2.1").strip()
    if not quantity:
        return None
    if message.get("RCP-2.2").strip() not in ("", "RD"):
        text = "the unit of RCP-2 must be RD (records)"
        faults.append(Fault(Condition.TABLE_VALUE, text, Location("RCP", 1, 2, 1, 2)))
    if quantity.isdecimal() and quantity.isascii() and len(quantity) < 10 and int(quantity) > 0:
        return int(quantity)
    text = "RCP-2 must be a number of records above 0"
    faults.append(Fault(Condition.DATA_TYPE, text, Location("RCP", 1, 2, 1, 1)))
    return None


def _grouped(criteria: Iterable[Criterion]) -> list[list[Criterion]]:
    """Criteria of one field by the repetition of it that they mean: a part that comes again begins another one."""
    groups: list[list[Criterion]] = []
    for item in criteria:
        if not groups or any(other.part == item.part for other in groups[-1]):
            groups.append([])
        groups[-1].append(item)
    return groups


@dataclass
class _Collected:
    """The criteria of a query, sorted by what is searched."""

    fuzzy: bool
    faults: list[Fault]
    others: list[Criterion] = field(default_factory=list)
    identifiers: list[tuple[IdentifierPattern, ...]] = field(default_factory=list)
    names: list[NamePattern] = field(default_factory=list)
    birth_dates: list[DateRange] = field(default_factory=list)
    sexes: list[str] = field(default_factory=list)
    addresses: list[AddressPattern] = field(default_factory=list)
    telephones: list[TextPattern] = field(default_factory=list)
    mothers_maiden_names: list[TextPattern] = field(default_factory=list)
    mothers_given_names: list[TextPattern] = field(default_factory=list)
    mother_identifiers: list[tuple[IdentifierPattern, ...]] = field(default_factory=list)
    accounts: list[tuple[IdentifierPattern, ...]] = field(default_factory=list)
    visit: dict[str, TextPattern] = field(default_factory=dict)

    def add(self, criteria: Sequence[Criterion]) -> None:
        """Sort them."""
        by_field: dict[int, list[Criterion]] = {}
        for item in criteria:
            if item.segment == "PID":
                by_field.setdefault(item.field, []).append(item)
            else:
                place = visit_field(item.segment, item.field, item.component, item.subcomponent)
                self.visit[place] = text_pattern(item.values[0])
        searched: dict[int, Callable[[list[Criterion]], None]] = {
            3: self._add_identifiers,
            5: self._add_names,
            6: self._add_mothers,
            7: self._add_dates,
            8: self._add_sexes,
            11: self._add_addresses,
            13: self._add_telephones,
            14: self._add_telephones,
            18: self._add_accounts,
            21: self._add_mother_identifiers,
        }
        for number, given in by_field.items():
            searched.get(number, self.others.extend)(given)

    def query(self, domains: tuple[AssigningAuthority, ...], score: int | None) -> DemographicsQuery:
        """All of them as a query."""
        if len(self.accounts) > 1:
            text = "the patient account number (PID.18) may be asked for once"
            self.faults.append(Fault(Condition.DATA_TYPE, text, Location("QPD", 1, 3)))
        return DemographicsQuery(
            identifiers=tuple(self.identifiers),
            names=(tuple(self.names),) if self.names else (),
            birth_dates=tuple(self.birth_dates),
            sexes=tuple(self.sexes),
            addresses=(tuple(self.addresses),) if self.addresses else (),
            telephones=(tuple(self.telephones),) if self.telephones else (),
            mothers_maiden_names=tuple(self.mothers_maiden_names),
            mothers_given_names=tuple(self.mothers_given_names),
            mother_identifiers=tuple(self.mother_identifiers),
            account_number=self.accounts[0][0] if self.accounts else None,
            visit=self.visit,
            domains=domains,
            minimum_score=score,
        )

    def _add_identifiers(self, given: list[Criterion]) -> None:
        for group in _grouped(given):
            patterns = _identifier_patterns(group)
            if any(item.value and item.authority is None for item in patterns):
                text = "an identifier (PID.3.1) needs its assigning authority (PID.3.4)"
                self.faults.append(group[0].fault(Condition.REQUIRED_MISSING, text))
            self._keep(patterns, group, self.identifiers)

    def _add_accounts(self, given: list[Criterion]) -> None:
        for group in _grouped(given):
            self._keep(_identifier_patterns(group), group, self.accounts)

    def _add_mother_identifiers(self, given: list[Criterion]) -> None:
        for group in _grouped(given):
            self._keep(_identifier_patterns(group), group, self.mother_identifiers)

    def _keep(
        self, patterns: tuple[IdentifierPattern, ...], group: list[Criterion], kept: list[tuple[IdentifierPattern, ...]]
    ) -> None:
        if all(item.component in _IDLE_PARTS for item in group):
            self.others += group
        else:
            kept.append(patterns)
            self.others += [item for item in group if item.component not in (1, 4) and item.component not in _IDLE_PARTS]

    def _add_names(self, given: list[Criterion]) -> None:
        for group in _grouped(given):
            alternatives: list[dict[str, TextPattern]] = [{}]
            for item in group:
                part = _NAME_PARTS.get(item.part)
                if part is None:
                    self.others.append(item)
                    continue
                patterns = [text_pattern(value, fuzzy=self.fuzzy and part in ("family", "given")) for value in item.values]
                if len(alternatives) * len(patterns) > _MOST_ALTERNATIVES:
                    text = f"a name has at most {_MOST_ALTERNATIVES} combinations of its alternatives"
                    self.faults.append(item.fault(Condition.DATA_TYPE, text))
                    break
                alternatives = [{**known, part: pattern} for known in alternatives for pattern in patterns]
            self.names += [NamePattern(**parts) for parts in alternatives if parts]

    def _add_mothers(self, given: list[Criterion]) -> None:
        for item in given:
            if item.part in _MOTHER_PARTS:
                kept = self.mothers_maiden_names if _MOTHER_PARTS[item.part] == "family" else self.mothers_given_names
                kept += [text_pattern(value) for value in item.values]
            else:
                self.others.append(item)

    def _add_dates(self, given: list[Criterion]) -> None:
        for item in given:
            days = [days_of(value) for value in item.values] if item.part == (1, 1) else [None]
            if None in days:
                text = "a date of birth (PID.7) is YYYY, YYYYMM or YYYYMMDD"
                self.faults.append(item.fault(Condition.DATA_TYPE, text))
            self.birth_dates += [each for each in days if each]

    def _add_sexes(self, given: list[Criterion]) -> None:
        for item in given:
            values = [value.upper() for value in item.values]
            if not SEXES.issuperset(values):
                self.faults.append(item.fault(Condition.TABLE_VALUE, "a sex (PID.8) is a value of table 0001"))
            self.sexes += values

    def _add_addresses(self, given: list[Criterion]) -> None:
        for group in _grouped(given):
            parts: dict[str, TextPattern] = {}
            for item in group:
                part = _ADDRESS_PARTS.get(item.part)
                if part and len(item.values) == 1:
                    parts[part] = text_pattern(item.values[0])
                else:
                    self.others.append(item)
            if parts:
                self.addresses.append(AddressPattern(**parts))

    def _add_telephones(self, given: list[Criterion]) -> None:
        for group in _grouped(given):
            whole = [item for item in group if item.part == (1, 1)]
            pieces = sorted((item for item in group if item.component in (5, 6, 7)), key=lambda item: item.component)
            if whole:
                self.telephones += [text_pattern(value) for item in whole for value in item.values]
            elif pieces:
                self.telephones.append(_partial_number(pieces))
            self.others += [item for item in group if item.component not in (1, 5, 6, 7)]


def _partial_number(pieces: Sequence[Criterion]) -> TextPattern:
    """What country (XTN.5), area (XTN.6) and local number (XTN.7) ask for; without the first two it is how a number ends."""
    text, given = " ".join(item.values[0] for item in pieces), {item.component for item in pieces}
    if "*" in text or {6, 7} <= given:
        return text_pattern(text)
    return text_pattern(f"*{text}" if 7 in given else f"*{text}*")


#: Alternatives that one name may have.
_MOST_ALTERNATIVES: Final = 16


def _identifier_patterns(group: Sequence[Criterion]) -> tuple[IdentifierPattern, ...]:
    """What the parts of one CX ask for."""
    parts = {item.part: item.values for item in group}
    namespace, oid, kind = (parts.get((4, number), ("",))[0] for number in (1, 2, 3))
    if oid and kind not in ("", "ISO"):
        # The universal id of another kind names an authority that nobody here can have.
        oid = f"{kind}:{oid}"
    authority = AssigningAuthority(namespace or None, oid or None) if namespace or oid else None
    return tuple(IdentifierPattern(value, authority) for value in parts.get((1, 1), (None,)))


def days_of(text: str) -> DateRange | None:
    """The days that a date of any precision may mean, with a time cut off and a `*` at its end left out; None when it is none."""
    found = read_date(text.rstrip("*")[:8])
    if found is None or len(found) not in (4, 6, 8):
        return None
    return DateRange((found + "0101")[:8], (found + "1231"[len(found) - 4 :])[:8])


def read_cancellation(message: Message) -> tuple[str, tuple[Fault, ...]]:
    """The tag of the query that a QCN^J01 ends, or what is wrong with it.

    Errors: 100 (QID missing), 101 (QID-1). Spec: ITI TF-2 3.21.4.3.2.
    """
    if message.segment("QID") is None:
        return "", (Fault(Condition.SEGMENT_SEQUENCE, "the QID segment is missing", Location("QID", 1)),)
    tag = message.get("QID-1").strip()
    if not tag:
        return "", (Fault(Condition.REQUIRED_MISSING, "QID-1 (query tag) is required", Location("QID", 1, 1)),)
    return tag, ()
