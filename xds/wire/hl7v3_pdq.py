"""Demographics queries in HL7 version 3 (PRPA_IN201305UV02).

A name whose `use` is SRCH is also found by how it sounds, by its beginning and one slip of the pen away, any other one when
nobody has it as it is; `*` in a name or address stands for any characters. Several names are alternatives,
several identifiers must all be the patient's.

Tolerated deviations: several values of one name, address, telecom or birth time parameter (alternatives); several values of one
identifier parameter (all of them); any semanticsText. Parameters that IHE leaves out of this query are not compared: a warning in
the answer says so, and its matches are not limited by them.

Spec: ITI TF-2 3.47.4.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Final

from lxml import etree

from xds.model.demographics_query import (
    AddressPattern,
    Comparison,
    DateRange,
    DemographicsQuery,
    IdentifierPattern,
    NamePattern,
    TextPattern,
)
from xds.model.metadata import Code
from xds.model.patient import IdentityProblem, IdentityQuery
from xds.wire.hl7v3 import (
    Detail,
    DetailCode,
    attribute,
    child,
    children,
    detail_of,
    location,
    message_details,
    read_id,
    read_transmission,
    shown,
)
from xds.wire.hl7v3_intervals import read_range
from xds.wire.hl7v3_names import read_address, read_telecom, uses
from xds.wire.hl7v3_names import read_names as read_person_names
from xds.wire.hl7v3_person import authority_of, instance_of, read_patient_id, read_sex
from xds.wire.hl7v3_queries import Asked, audited, parameters, query_details, query_of, read_domains
from xds.wire.xml import HL7V3

#: EventTypeCode of the audit trail.
DEMOGRAPHICS_V3_QUERY: Final = Code("ITI-47", "IHE Transactions", "Patient Demographics Query")

QUERY: Final = "PRPA_IN201305UV02"
ANSWER: Final = "PRPA_IN201306UV02"
CONTINUE: Final = "QUQI_IN000003UV01"
CANCEL: Final = "QUQI_IN000003UV01_Cancel"

_NOT_COMPARED: Final = (
    "livingSubjectBirthPlaceAddress",
    "livingSubjectBirthPlaceName",
    "livingSubjectDeceasedTime",
    "principalCareProviderId",
    "principalCareProvisionId",
)
#: Parameters of which there may be one. Spec: ITI TF-2 3.47.4.1.2.2.
_SINGLE: Final = (
    "livingSubjectAdministrativeGender",
    "livingSubjectBirthTime",
    "mothersMaidenName",
    "patientAddress",
    "patientStatusCode",
    "patientTelecom",
)

#: Alternatives of names become at most this many conditions.
_MOST_CONDITIONS: Final = 64
_ACTIVE: Final = {"active": True, "normal": True, "terminated": False, "nullified": False, "inactive": False}


@dataclass(frozen=True, slots=True)
class ReceivedDemographicsQuery:
    """A demographics query, or what is wrong with it. `limit` is initialQuantity."""

    asked: Asked
    query: DemographicsQuery = field(default_factory=DemographicsQuery)
    limit: int | None = None
    domain_places: tuple[str, ...] = ()

    def detail(self, problem: IdentityProblem) -> Detail:
        """A problem of the supplier at its place in the query. Spec: ITI TF-2 3.47.4.2.3."""
        if problem.field == "domains":
            number = problem.repetition - 1
            return detail_of(problem, self.domain_places[number], instance_of(self.query.domains[number]).full)
        listed = child(self.asked.query, "parameterList")
        return detail_of(problem, location(listed) if listed is not None and problem.field == "criteria" else None)

    @property
    def audited(self) -> IdentityQuery:
        """What the audit trail keeps."""
        return audited(self.asked.transmission, self.asked.query_id, self.asked.text, DEMOGRAPHICS_V3_QUERY)


def read_demographics_query(root: etree._Element) -> ReceivedDemographicsQuery:
    """A demographics query, or everything that is wrong with it.

    Errors: those of `message_details` and `query_details`; SYN101 (values missing), SYN102 (times, roots, quantities), SYN103
    (gender, units), SYN110 (parameters that must not repeat). Warnings: SYN113 (parameters that are not compared).
    Spec: ITI TF-2 3.47.4.1.2.
    """
    transmission, query = read_transmission(root), query_of(root)
    details = message_details(root)
    if details or query is None:
        return ReceivedDemographicsQuery(Asked(transmission, query, tuple(details or query_details(root, query))))
    details = query_details(root, query)
    details += [*_repeated(query), *_empty(query)]
    domains, places, wrong = read_domains(query, "otherIDsScopingOrganization")
    details += wrong
    found = DemographicsQuery(
        identifiers=tuple((item,) for item in _identifiers(query, details)),
        names=_names(query, details),
        birth_dates=tuple(_birth_dates(query, details)),
        sexes=tuple(_sexes(query, details)),
        addresses=_addresses(query),
        telephones=_telephones(query),
        mothers_maiden_names=tuple(_mothers(query, "family")),
        mothers_given_names=tuple(_mothers(query, "given")),
        active=_active(query),
        domains=tuple(domains),
        minimum_score=_minimum_score(query, details),
    )
    limit = read_quantity(child(query, "initialQuantity"), details, least=1)
    unit = child(query, "initialQuantityCode")
    if unit is not None and attribute(unit, "code") not in ("", "RD"):
        text = f"initialQuantityCode must be RD (records), not {shown(attribute(unit, 'code'))}"
        details.append(Detail(DetailCode.UNKNOWN_CODE, text, location(unit)))
    details += _not_compared(query)
    return ReceivedDemographicsQuery(Asked(transmission, query, tuple(details)), found, limit, tuple(places))


def read_quantity(element: etree._Element | None, details: list[Detail], *, least: int) -> int | None:
    """An INT that must be at least so much; None when it is absent or null."""
    text = attribute(element, "value")
    if element is None or not text:
        return None
    # More digits than any register has patients mean: all of them.
    value = int(text) if len(text) < 19 else (-1 if text.startswith("-") else 10**18)
    if value < least:
        named = parent if element.tag == f"{{{HL7V3}}}value" and (parent := element.getparent()) is not None else element
        wrong = f"{etree.QName(named).localname} must be {least} or more, not {shown(text)}"
        details.append(Detail(DetailCode.DATA_TYPE, wrong, location(element)))
        return None
    return value


def _repeated(query: etree._Element) -> Iterator[Detail]:
    for name in _SINGLE:
        given = children(query, "parameterList", name)
        if len(given) > 1:
            yield Detail(DetailCode.TOO_MANY_ASSOCIATIONS, f"there must be one {name}", location(given[1]))


def _empty(query: etree._Element) -> Iterator[Detail]:
    for name in (*_SINGLE, *_NOT_COMPARED, "livingSubjectId", "livingSubjectName"):
        for element in children(query, "parameterList", name):
            if not attribute(element, "nullFlavor") and child(element, "value") is None:
                yield Detail(DetailCode.ATTRIBUTE_MISSING, f"{name} needs a value", f"{location(element)}/value")


def _not_compared(query: etree._Element) -> Iterator[Detail]:
    for name in _NOT_COMPARED:
        for element, _ in parameters(query, name):
            text = f"{name} is no parameter of this query and was not compared"
            yield Detail(DetailCode.FORMAL_CONSTRAINT, text, location(element), severity="W")


def _values(query: etree._Element, name: str) -> list[etree._Element]:
    return [value for _, values in parameters(query, name) for value in values]


def _identifiers(query: etree._Element, details: list[Detail]) -> Iterator[IdentifierPattern]:
    for value in _values(query, "livingSubjectId"):
        identifier = read_id(value)
        if (identifier.root or identifier.name) and not identifier.extension:
            yield IdentifierPattern(None, authority_of(identifier))
            continue
        found = read_patient_id(value)
        if isinstance(found, Detail):
            details.append(found)
        elif found is not None:
            authority = found.authority if found.authority.oid or found.authority.namespace else None
            yield IdentifierPattern(found.value, authority)


def _pattern(text: str, comparison: Comparison) -> TextPattern | None:
    if not text:
        return None
    return TextPattern(text, Comparison.WILDCARD if "*" in text else comparison)


def _name_conditions(value: etree._Element) -> list[tuple[NamePattern, ...]]:
    """What must be met for one name to be found, each by one of its alternatives."""
    comparisons = (Comparison.FUZZY, Comparison.PREFIX) if "SRCH" in uses(value) else (Comparison.EXACT,)
    conditions = []
    for number, name in enumerate(read_person_names([value])):
        # The further names of a person with two family names repeat her given names.
        first = name.given if number == 0 else ""
        parts = (name.family, first, name.suffix if number == 0 else "", name.prefix if number == 0 else "")
        patterns = (NamePattern(*(_pattern(part, comparison) for part in parts)) for comparison in comparisons)
        conditions.append(tuple(dict.fromkeys(pattern for pattern in patterns if pattern != NamePattern())))
        if number == 0:
            conditions += [
                tuple(NamePattern(given=_pattern(word, comparison)) for comparison in comparisons)
                for word in name.further_given.split()
            ]
    return [condition for condition in conditions if condition]


def _names(query: etree._Element, details: list[Detail]) -> tuple[tuple[NamePattern, ...], ...]:
    """Names are alternatives, each of several conditions: what must be met is one condition of each, in every combination."""
    names = [conditions for value in _values(query, "livingSubjectName") if (conditions := _name_conditions(value))]
    if prod(map(len, names)) > _MOST_CONDITIONS:
        text = "there are too many names with too many parts"
        details.append(Detail(DetailCode.TOO_MANY_VALUES, text, f"{location(query)}/parameterList/livingSubjectName"))
        return ()
    if not names:
        return ()
    return tuple(tuple(itertools.chain.from_iterable(chosen)) for chosen in itertools.product(*names))


def _sexes(query: etree._Element, details: list[Detail]) -> Iterator[str]:
    for value in _values(query, "livingSubjectAdministrativeGender"):
        if sex := read_sex(value, details):
            yield sex


def _addresses(query: etree._Element) -> tuple[tuple[AddressPattern, ...], ...]:
    patterns = []
    for value in _values(query, "patientAddress"):
        found = read_address(value)
        if found is not None:
            parts = (found.street, found.city, found.state, found.postal_code, found.country)
            patterns.append(AddressPattern(*(_pattern(part, Comparison.EXACT) for part in parts)))
    return (tuple(patterns),) if patterns else ()


def _telephones(query: etree._Element) -> tuple[tuple[TextPattern, ...], ...]:
    values = (read_telecom(value)[1] for value in _values(query, "patientTelecom"))
    patterns = tuple(TextPattern(value) for value in values if value)
    return (patterns,) if patterns else ()


def _mothers(query: etree._Element, part: str) -> Iterator[TextPattern]:
    """What one part of the mother's name may be. A name without parts is a family name."""
    for value in _values(query, "mothersMaidenName"):
        comparisons = (Comparison.FUZZY, Comparison.PREFIX) if "SRCH" in uses(value) else (Comparison.EXACT,)
        for name in read_person_names([value])[:1]:
            patterns = (_pattern(getattr(name, part), comparison) for comparison in comparisons)
            yield from dict.fromkeys(pattern for pattern in patterns if pattern)


def _active(query: etree._Element) -> bool | None:
    return next((_ACTIVE.get(attribute(value, "code")) for value in _values(query, "patientStatusCode")), None)


def _minimum_score(query: etree._Element, details: list[Detail]) -> int | None:
    value = child(query, "matchCriterionList", "minimumDegreeMatch", "value")
    score = read_quantity(value, details, least=0) if attribute(value, "value").lstrip("+-").isdecimal() else None
    if value is not None and score is not None and score > 100:
        text = f"minimumDegreeMatch is a percentage: 100 at most, not {score}"
        details.append(Detail(DetailCode.DATA_TYPE, text, location(value)))
        return None
    return score


def _birth_dates(query: etree._Element, details: list[Detail]) -> Iterator[DateRange]:
    for value in _values(query, "livingSubjectBirthTime"):
        found = read_range(value)
        if found is None:
            text = "livingSubjectBirthTime needs a date, or an interval of dates that begins before it ends"
            if received := attribute(value, "value"):
                text += f", not {shown(received)}"
            details.append(Detail(DetailCode.DATA_TYPE, text, location(value)))
        else:
            yield found
