"""The search parameters of Patient, and the demographics query that they ask.

| parameter | type | modifiers |
|---|---|---|
| `_id`, `active`, `gender`, `identifier`, `telecom`, `phone`, `email` | token | |
| `family`, `given`, `name`, `mothersMaidenName` | string | `:exact`, `:contains` |
| `address`, `address-city`, `address-country`, `address-postalcode`, `address-state` | string | `:exact`, `:contains` |
| `phonetic` | string, of a name that sounds alike | |
| `birthdate`, `_lastUpdated` | date | prefixes eq ne gt lt ge le sa eb ap |
| `_count`, `_page`, `_summary`, `_elements`, `_total`, `_format`, `_pretty` | of the answer | |

A comma means or, a repetition means and; `\\,` `\\|` `\\$` `\\\\` stand for themselves. A parameter that is not known here is
left out, or refused with `Prefer: handling=strict`. `:exact` compares letter by letter. `ap` is
half a year about a birth date, and a day about an instant. What no
patient can have is no error, but finds nobody.

Spec: FHIR R4 3.1.1 (search); PDQm 2:3.78.4.1.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final, TypeVar

from xds.model.demographics_query import (
    AddressPattern,
    Comparison,
    DateRange,
    DemographicsQuery,
    IdentifierPattern,
    NamePattern,
    PageRequest,
    TextPattern,
)
from xds.model.identifiers import AssigningAuthority
from xds.wire.fhir_dates import days_meant, instants_meant
from xds.wire.fhir_identifiers import IdentifierSystems, key_of
from xds.wire.fhir_patient import SEXES
from xds.wire.fhir_structure import Issue

#: Names of the parameters that choose among patients, with what `CapabilityStatement.rest.resource.searchParam` says of them.
PARAMETERS: Final[Mapping[str, tuple[str, str]]] = {
    "_id": ("token", "Logical id of the Patient resource"),
    "_lastUpdated": ("date", "When a source last said something new of the patient"),
    "active": ("token", "Whether the patient record is active"),
    "family": ("string", "Beginning of a family name"),
    "given": ("string", "Beginning of a given name"),
    "name": ("string", "Beginning of a family or given name"),
    "phonetic": ("string", "A family or given name that sounds like it"),
    "identifier": ("token", "A patient identifier, or the domains whose identifiers are wanted"),
    "telecom": ("token", "A telephone number or e-mail address"),
    "phone": ("token", "A telephone number"),
    "email": ("token", "An e-mail address"),
    "birthdate": ("date", "The date of birth"),
    "address": ("string", "Beginning of any part of an address"),
    "address-city": ("string", "Beginning of a city"),
    "address-country": ("string", "Beginning of a country"),
    "address-postalcode": ("string", "Beginning of a postal code"),
    "address-state": ("string", "Beginning of a state"),
    "gender": ("token", "Administrative gender"),
    "mothersMaidenName": ("string", "Beginning of the mother's maiden name"),
}
_ANSWER: Final = frozenset({"_count", "_page", "_summary", "_elements", "_total", "_format", "_pretty"})
_NAMES: Final = {"family": "family", "given": "given", "name": "any_part"}
_PLACES: Final = {
    "address": "any_part",
    "address-city": "city",
    "address-country": "country",
    "address-postalcode": "postal_code",
    "address-state": "state",
}
_COMPARISONS: Final = {"": Comparison.PREFIX, "exact": Comparison.LITERAL, "contains": Comparison.CONTAINS}
_SUMMARIES: Final = frozenset({"true", "false", "text", "data", "count"})
#: The systems of contact points that are kept.
_CONTACT_POINTS: Final = frozenset({"phone", "sms", "email"})
_GENDER_SYSTEM: Final = "http://hl7.org/fhir/administrative-gender"
_SEXES_OF: Final[Mapping[str, tuple[str, ...]]] = {**{name: (sex,) for name, sex in SEXES.items()}, "other": ("O", "A", "N")}

#: Values of one parameter, and parameters of one search.
_MAX_VALUES: Final = 200
_MAX_COUNT: Final = 1000

_PREFIXES: Final = "after one of eq, ne, gt, lt, ge, le, sa, eb, ap"
_Span = TypeVar("_Span")

#: Control characters, and what stands for octets that are not UTF-8.
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\ufffd]")
NO_TEXT: Final = "the value holds a control character, or is not UTF-8"
_SPLIT = re.compile(r"((?:[^\\,]|\\.|\\\Z)*)(?:,|\Z)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PatientSearch:
    """A search as it was understood. `used` are the parameters that counted, for the self link."""

    query: DemographicsQuery
    page: PageRequest
    used: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    finds_nobody: bool = False
    summary: str = "false"
    elements: tuple[str, ...] = ()


@dataclass(slots=True)
class _Draft:
    """The query while its parameters are read."""

    systems: IdentifierSystems
    query: DemographicsQuery = field(default_factory=DemographicsQuery)
    issues: list[Issue] = field(default_factory=list)
    finds_nobody: bool = False
    sexes: frozenset[str] | None = None
    keys: frozenset[int] | None = None
    dates: list[tuple[date, date, bool]] | None = None

    def refuse(self, name: str, text: str, code: str = "value") -> None:
        """Note that a parameter cannot be used."""
        self.issues.append(Issue(code, f"{name}: {text}", f"http.{name.partition(':')[0]}"))


def read_search(
    parameters: Mapping[str, tuple[str, ...]], systems: IdentifierSystems, *, strict: bool
) -> tuple[PatientSearch, list[Issue]]:
    """The search that the parameters of a request ask for, and all that is wrong with them."""
    draft = _Draft(systems)
    used: list[tuple[str, str]] = []
    ignored: list[str] = []
    answer: dict[str, str] = {}
    for name, values in parameters.items():
        bare, _, modifier = name.partition(":")
        given = [value for value in values if value]
        if name in _ANSWER:
            answer[name] = given[-1] if given else ""
        elif bare not in PARAMETERS:
            ignored.append(name)
        elif not all(map(is_text, given)):
            draft.refuse(name, NO_TEXT)
        elif not all(any(alternatives_of(value)) for value in given):
            draft.refuse(name, "there is nothing between the commas")
        elif sum(value.count(",") + 1 for value in given) > _MAX_VALUES:
            draft.refuse(name, f"there are more than {_MAX_VALUES} values", "too-costly")
        else:
            for value in given:
                _READERS[bare](draft, bare, modifier, value)
            used += [(name, value) for value in given]
    if strict:
        for name in ignored:
            draft.refuse(name[:60], "the parameter is not supported", "not-supported")
    search = _answer_controls(answer, draft)
    query = _completed(draft)
    return replace(search, query=query, used=tuple(used), ignored=tuple(ignored), finds_nobody=draft.finds_nobody), draft.issues


def _answer_controls(answer: Mapping[str, str], draft: _Draft) -> PatientSearch:
    count = answer.get("_count")
    limit = None
    if count:
        if count.isascii() and count.isdigit() and len(count) < 10:
            limit = min(int(count), _MAX_COUNT)
        else:
            draft.refuse("_count", f"a whole number is expected, not {_shown(count)}")
    summary = answer.get("_summary") or "false"
    if summary not in _SUMMARIES:
        draft.refuse("_summary", f"one of {', '.join(sorted(_SUMMARIES))} is expected, not {_shown(summary)}")
    elements = tuple(item.strip() for item in answer.get("_elements", "").split(",") if item.strip())
    if limit == 0:
        limit, summary = None, "count"
    page = PageRequest(limit, answer.get("_page") or None)
    return PatientSearch(DemographicsQuery(), page, summary=summary, elements=elements)


def _completed(draft: _Draft) -> DemographicsQuery:
    ranges = draft.dates or ()
    dates = tuple(DateRange(_dtm(low, date.min), _dtm(high, date.max), overlaps) for low, high, overlaps in ranges)
    finds_nobody = (draft.sexes, draft.keys, draft.dates)
    if any(item is not None and not item for item in finds_nobody):
        draft.finds_nobody = True
    return replace(draft.query, birth_dates=dates, sexes=tuple(sorted(draft.sexes or ())), keys=tuple(sorted(draft.keys or ())))


def _dtm(day: date, unbounded: date) -> str | None:
    return None if day == unbounded else f"{day.year:04}{day.month:02}{day.day:02}"


# Values


def is_text(value: str) -> bool:
    """Whether a value from a URL is text without control characters: `NO_TEXT` says what is wrong otherwise."""
    return _CONTROL.search(value) is None


def alternatives_of(value: str) -> Iterator[str]:
    """The values between the commas of a parameter, still escaped."""
    for found in _SPLIT.finditer(value):
        if found[1]:
            yield found[1]
        if found.end() == len(value):
            return


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: found[1] if found[1] in ",|$\\" else found[0], text)


def _shown(text: str) -> str:
    """What was received, short."""
    return repr(text[:40])


def read_token(text: str) -> tuple[str | None, str]:
    """(system, value) of one token; the system is None when there is no bar. Spec: FHIR R4 3.1.1.4.10."""
    parts = re.split(r"(?<!\\)(?:\\\\)*\|", text, maxsplit=1)
    if len(parts) == 1:
        return None, _unescaped(text)
    return _unescaped(text[: len(text) - len(parts[1]) - 1]), _unescaped(parts[1])


def _without_modifier(draft: _Draft, name: str, modifier: str, supported: str = "it has none here") -> bool:
    if modifier:
        text = f"the modifier is not supported for this parameter: {supported}"
        draft.refuse(f"{name}:{modifier[:20]}", text, "not-supported")
    return not modifier


def _patterns(draft: _Draft, name: str, modifier: str, value: str) -> list[TextPattern]:
    comparison = _COMPARISONS.get(modifier)
    if comparison is None:
        _without_modifier(draft, name, modifier, "exact and contains are")
        return []
    return [TextPattern(_unescaped(item), comparison) for item in alternatives_of(value)]


def _name(draft: _Draft, name: str, modifier: str, value: str) -> None:
    alternatives = tuple(NamePattern(**{_NAMES[name]: item}) for item in _patterns(draft, name, modifier, value))
    if alternatives:
        draft.query = replace(draft.query, names=(*draft.query.names, alternatives))


def _phonetic(draft: _Draft, name: str, modifier: str, value: str) -> None:
    if _without_modifier(draft, name, modifier):
        texts = (TextPattern(_unescaped(item), Comparison.FUZZY) for item in alternatives_of(value))
        draft.query = replace(draft.query, names=(*draft.query.names, tuple(NamePattern(any_part=text) for text in texts)))


def _address(draft: _Draft, name: str, modifier: str, value: str) -> None:
    alternatives = tuple(AddressPattern(**{_PLACES[name]: item}) for item in _patterns(draft, name, modifier, value))
    if alternatives:
        draft.query = replace(draft.query, addresses=(*draft.query.addresses, alternatives))


def _mothers_maiden_name(draft: _Draft, name: str, modifier: str, value: str) -> None:
    alternatives = tuple(_patterns(draft, name, modifier, value))
    if draft.query.mothers_maiden_names and alternatives:
        draft.refuse(name, "the parameter may be given once", "not-supported")
    draft.query = replace(draft.query, mothers_maiden_names=draft.query.mothers_maiden_names or alternatives)


def _telecom(draft: _Draft, name: str, modifier: str, value: str) -> None:
    if not _without_modifier(draft, name, modifier):
        return
    tokens = [read_token(item) for item in alternatives_of(value)]
    wanted = [re.sub(r"^(?:tel|mailto):", "", text) for system, text in tokens if text and _may_be(name, system, text)]
    if wanted:
        draft.query = replace(draft.query, telephones=(*draft.query.telephones, tuple(map(TextPattern, wanted))))
    elif any(text for _, text in tokens):
        draft.finds_nobody = True


def _may_be(name: str, system: str | None, text: str) -> bool:
    """Whether a contact point of that system can have that value: telephone numbers and e-mail addresses are kept."""
    system = name if name in _CONTACT_POINTS else system
    return not system or (("@" in text) is (system == "email") and system in _CONTACT_POINTS)


def _active(draft: _Draft, name: str, modifier: str, value: str) -> None:
    if not _without_modifier(draft, name, modifier):
        return
    wanted = {read_token(item)[1] for item in alternatives_of(value)}
    if not wanted <= {"true", "false"}:
        draft.refuse(name, f"true or false is expected, not {_shown(value)}")
    elif len(wanted) == 1:
        active = wanted == {"true"}
        draft.finds_nobody |= draft.query.active is not None and draft.query.active is not active
        draft.query = replace(draft.query, active=active)


def _gender(draft: _Draft, name: str, modifier: str, value: str) -> None:
    if not _without_modifier(draft, name, modifier):
        return
    tokens = [read_token(item) for item in alternatives_of(value)]
    sexes = frozenset(
        sex for system, code in tokens if system in (None, "", _GENDER_SYSTEM) for sex in _SEXES_OF.get(code.lower(), ())
    )
    draft.sexes = sexes if draft.sexes is None else draft.sexes & sexes


def _id(draft: _Draft, name: str, modifier: str, value: str) -> None:
    if not _without_modifier(draft, name, modifier):
        return
    keys = frozenset(key for item in alternatives_of(value) if (key := key_of(_unescaped(item))) is not None)
    draft.keys = keys if draft.keys is None else draft.keys & keys


def _identifier(draft: _Draft, name: str, modifier: str, value: str) -> None:
    """A token; one without value restricts the identifiers that are answered, too. Spec: PDQm 2:3.78.4.1.2.3."""
    if not _without_modifier(draft, name, modifier):
        return
    patterns: list[IdentifierPattern] = []
    domains: list[AssigningAuthority] = []
    own: set[int] = set()
    for item in alternatives_of(value):
        system, wanted = read_token(item)
        if not system and not wanted:
            draft.refuse(name, "an identifier has a system or a value")
        elif not system:
            # A bar without a system means an identifier without one, and none here lacks it.
            patterns += [IdentifierPattern(wanted)] if system is None else []
        elif (key := draft.systems.own_key(system, wanted)) is not None:
            own.add(key)
        else:
            authority = draft.systems.authority(system)
            patterns.append(IdentifierPattern(wanted or None, authority))
            domains += [] if wanted else [authority]
    if own and patterns:
        draft.refuse(name, "ids of this server and other identifiers cannot be alternatives", "not-supported")
    elif own:
        draft.keys = frozenset(own) if draft.keys is None else draft.keys & own
    elif patterns:
        query = draft.query
        draft.query = replace(query, identifiers=(*query.identifiers, tuple(patterns)), domains=(*query.domains, *domains))
    else:
        draft.finds_nobody = True


def _birthdate(draft: _Draft, name: str, modifier: str, value: str) -> None:
    if not _without_modifier(draft, name, modifier):
        return
    ranges = _spans(draft, name, value, days_meant, "a date as YYYY, YYYY-MM or YYYY-MM-DD")
    if draft.dates is None:
        draft.dates = ranges
    else:
        both = [(max(one[0], other[0]), min(one[1], other[1]), one[2] and other[2]) for one in draft.dates for other in ranges]
        draft.dates = [item for item in both if item[0] <= item[1]]


def _last_updated(draft: _Draft, name: str, modifier: str, value: str) -> None:
    if not _without_modifier(draft, name, modifier):
        return
    spans = _spans(draft, name, value, instants_meant, "a date, or an instant with its zone,")
    draft.query = replace(draft.query, updated=(*draft.query.updated, tuple(spans)))


def _spans(draft: _Draft, name: str, value: str, meant_by: Callable[[str], list[_Span] | None], expected: str) -> list[_Span]:
    """What the alternatives of a date mean; one that means nothing is refused."""
    spans: list[_Span] = []
    for item in alternatives_of(value):
        meant = meant_by(item)
        if meant is None:
            draft.refuse(name, f"{expected} {_PREFIXES} is expected, not {_shown(item)}")
        spans += meant or ()
    return spans


_Reader = Callable[[_Draft, str, str, str], None]
_READERS: Final[Mapping[str, _Reader]] = {
    "_id": _id,
    "_lastUpdated": _last_updated,
    "active": _active,
    "identifier": _identifier,
    "telecom": _telecom,
    "phone": _telecom,
    "email": _telecom,
    "birthdate": _birthdate,
    "gender": _gender,
    "phonetic": _phonetic,
    "mothersMaidenName": _mothers_maiden_name,
    **dict.fromkeys(_NAMES, _name),
    **dict.fromkeys(_PLACES, _address),
}
