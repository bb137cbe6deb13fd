"""A patient demographics query in any wire form, and its answer.

A query is a conjunction of criteria; a criterion that can be met in several ways (FHIR's comma, the names of ITI-47) holds its
alternatives. Everything is compared without accents and case.

Spec: ITI TF-2 3.21, 3.22, 3.47; PDQm (ITI-78, ITI-119).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.metadata import Code
from xds.model.patient import Demographics, IdentityProblem

#: EventTypeCodes of the audit trail.
DEMOGRAPHICS_QUERY: Final = Code("ITI-21", "IHE Transactions", "Patient Demographics Query")
VISIT_QUERY: Final = Code("ITI-22", "IHE Transactions", "Patient Demographics and Visit Query")


class Comparison(StrEnum):
    """How a text is compared."""

    EXACT = "exact"
    PREFIX = "prefix"
    CONTAINS = "contains"
    #: `*` stands for any number of characters.
    WILDCARD = "wildcard"
    #: As it sounds, in French and English, or one slip of the pen away.
    FUZZY = "fuzzy"
    #: The whole text letter by letter: case, accents and punctuation count.
    LITERAL = "literal"


@dataclass(frozen=True, slots=True)
class TextPattern:
    """One text to be found."""

    value: str
    comparison: Comparison = Comparison.EXACT


@dataclass(frozen=True, slots=True)
class NamePattern:
    """Parts of one name that must all be found in one name of the patient. `any_part`: family or given."""

    family: TextPattern | None = None
    given: TextPattern | None = None
    suffix: TextPattern | None = None
    prefix: TextPattern | None = None
    any_part: TextPattern | None = None


@dataclass(frozen=True, slots=True)
class AddressPattern:
    """Parts of one address that must all be found in one address of the patient. `any_part`: any of them."""

    street: TextPattern | None = None
    city: TextPattern | None = None
    state: TextPattern | None = None
    postal_code: TextPattern | None = None
    country: TextPattern | None = None
    any_part: TextPattern | None = None


@dataclass(frozen=True, slots=True)
class DateRange:
    """Days as YYYYMMDD, both inclusive; None is open. A partial date is the range of the days it may mean.

    All the days that a birth date may mean must lie in the range; one of them is enough when `overlaps`.
    """

    low: str | None = None
    high: str | None = None
    overlaps: bool = False


@dataclass(frozen=True, slots=True)
class IdentifierPattern:
    """An identifier of the patient. Without `value`: any identifier of that authority; without authority: of any."""

    value: str | None = None
    authority: AssigningAuthority | None = None


@dataclass(frozen=True, slots=True)
class DemographicsQuery:
    """What a patient is searched by. Fields are ANDed; the items of an inner tuple are alternatives.

    `names`, `addresses`, `identifiers`, `telephones`, `mother_identifiers`: every inner tuple must be met by one of its
    alternatives. `birth_dates`, `sexes`, `mothers_maiden_names`, `mothers_given_names`: one of them. `visit` compares fields of
    the patient's last visit by their HL7 names (`PV1.3.2`). `keys` are the supplier's own keys of persons (FHIR `_id`).
    `updated` are spans of milliseconds since 1970, of which every inner tuple must hold the last statement of a source.
    `domains`: only identifiers of these are answered (empty: of all). `minimum_score` (0..100) leaves out weaker matches of a
    fuzzy query.
    """

    identifiers: tuple[tuple[IdentifierPattern, ...], ...] = ()
    names: tuple[tuple[NamePattern, ...], ...] = ()
    birth_dates: tuple[DateRange, ...] = ()
    sexes: tuple[str, ...] = ()
    addresses: tuple[tuple[AddressPattern, ...], ...] = ()
    telephones: tuple[tuple[TextPattern, ...], ...] = ()
    mothers_maiden_names: tuple[TextPattern, ...] = ()
    mothers_given_names: tuple[TextPattern, ...] = ()
    mother_identifiers: tuple[tuple[IdentifierPattern, ...], ...] = ()
    account_number: IdentifierPattern | None = None
    visit: Mapping[str, TextPattern] = field(default_factory=dict)
    keys: tuple[int, ...] = ()
    updated: tuple[tuple[tuple[int, int], ...], ...] = ()
    active: bool | None = None
    domains: tuple[AssigningAuthority, ...] = ()
    minimum_score: int | None = None


@dataclass(frozen=True, slots=True)
class PatientMatch:
    """One patient found: her golden record and every identifier that may be answered, grouped by domain.

    `missing` are the requested domains in which she has no identifier. `score` is 0..100, None when everything matched exactly as
    asked and no confidence was computed. `visit` is her last visit, as HL7 fields (`PV1.3.2`). `replaced_by` is the key of the
    surviving person when this one was merged away; `updated` is in milliseconds since 1970.
    """

    key: int
    identifiers: tuple[PatientIdentifier, ...]
    demographics: Demographics
    score: int | None = None
    missing: tuple[AssigningAuthority, ...] = ()
    visit: Mapping[str, str] = field(default_factory=dict)
    active: bool = True
    replaced_by: int | None = None
    updated: int = 0


@dataclass(frozen=True, slots=True)
class DemographicsAnswer:
    """A page of matches, or the problems. `total` counts all matches (None: not counted), `next_page` continues after it.

    `incomplete`: more patients match than a query is ever answered, so that its criteria must be narrower. `text` is the query as
    it was asked, where that is asked on.
    """

    matches: tuple[PatientMatch, ...] = ()
    total: int | None = None
    next_page: str | None = None
    problems: tuple[IdentityProblem, ...] = ()
    incomplete: bool = False
    text: str = ""


#: What partners are told whose query more patients meet than are ever answered.
INCOMPLETE: Final = "more patients match than are answered: narrow the query"


@dataclass(frozen=True, slots=True)
class PageRequest:
    """How many matches at most, and after which page. `query_tag` (QPD-2, queryId) names the query for its cancellation.

    `text` is the query as it was asked, for wire forms whose further pages repeat it.
    """

    limit: int | None = None
    after: str | None = None
    query_tag: str = ""
    text: str = ""
