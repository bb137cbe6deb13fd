"""Demographics queries in HL7 version 3 (PRPA_IN201305UV02), as a Patient Demographics Consumer writes them.

Spec: ITI TF-2 3.47.4.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from xds.model.demographics_query import AddressPattern, Comparison, DateRange, DemographicsQuery, NamePattern, TextPattern
from xds.model.identifiers import AssigningAuthority
from xds.model.patient import Address, PersonName
from xds.wire.hl7v3 import InstanceIdentifier, Transmission, coded, valued, write_id
from xds.wire.hl7v3_names import write_address, write_name, write_telecom
from xds.wire.hl7v3_person import instance_of
from xds.wire.hl7v3_queries import parameter, write_query


def write_demographics_query(
    query: DemographicsQuery, transmission: Transmission, query_id: InstanceIdentifier, *, now: datetime, limit: int | None = None
) -> bytes:
    """A query: names, addresses, telephones and birth dates with their alternatives, identifiers, gender, domains.

    Spec: ITI TF-2 3.47.4.1.2.
    """
    parts = "".join(parameter(name, values, semantics) for name, values, semantics in _parameters(query) if values)
    score = ""
    if query.minimum_score is not None:
        value = f'<value xsi:type="INT" value="{query.minimum_score}"/>'
        score = f"<matchCriterionList>{parameter('minimumDegreeMatch', [value], 'MinimumDegreeMatch')}</matchCriterionList>"
    quantity = "" if limit is None else valued("initialQuantity", limit) + coded("initialQuantityCode", "RD")
    asked = (
        f"<queryByParameter>{write_id(query_id, 'queryId')}{coded('statusCode', 'new')}{coded('responseModalityCode', 'R')}"
        f"{coded('responsePriorityCode', 'I')}{quantity}{score}<parameterList>{parts}</parameterList></queryByParameter>"
    )
    return write_query(transmission, asked, now=now)


def _parameters(query: DemographicsQuery) -> Iterator[tuple[str, list[str], str]]:
    """Every parameter in the order of the schema: its name, its values, its semantics."""
    sexes = [coded("value", {"O": "UN"}.get(sex, sex)) for sex in query.sexes if sex in "MFO"]
    yield "livingSubjectAdministrativeGender", sexes, "LivingSubject.administrativeGender"
    yield "livingSubjectBirthTime", [_write_range(item) for item in query.birth_dates], "LivingSubject.birthTime"
    for alternatives in query.identifiers:
        for item in alternatives[:1]:
            identifier = instance_of(item.authority or AssigningAuthority(), item.value or "")
            yield "livingSubjectId", [write_id(identifier, "value")], "LivingSubject.id"
    for names in query.names:
        for name in names:
            yield "livingSubjectName", [_write_name(name)], "LivingSubject.name"
    yield "mothersMaidenName", list(_mother_names(query)), "Person.MothersMaidenName"
    for domain in query.domains:
        yield "otherIDsScopingOrganization", [write_id(instance_of(domain), "value")], "OtherIDs.scopingOrganization.id"
    addresses = [_write_address(item) for alternatives in query.addresses for item in alternatives]
    yield "patientAddress", addresses, "Patient.addr"
    telephones = [write_telecom(item.value, tag="value") for alternatives in query.telephones for item in alternatives]
    yield "patientTelecom", telephones, "Patient.telecom"


def _mother_names(query: DemographicsQuery) -> Iterator[str]:
    """The maiden names; the given name, of which the parameter has one, stands with the first of them."""
    given = [item.value for item in query.mothers_given_names[:1]]
    for number, item in enumerate(query.mothers_maiden_names or ([TextPattern("")] if given else [])):
        yield write_name(PersonName(item.value, given[0] if given and not number else ""), "value")


def _write_range(days: DateRange) -> str:
    if days.low == days.high and days.low is not None:
        return valued("value", days.low)
    bounds = "".join(valued(name, day) for name, day in (("low", days.low), ("high", days.high)) if day is not None)
    return f"<value>{bounds}</value>"


def _write_name(pattern: NamePattern) -> str:
    parts = (pattern.family or pattern.any_part, pattern.given, pattern.suffix, pattern.prefix)
    family, given, suffix, prefix = (part.value if part else "" for part in parts)
    written = write_name(PersonName(family, given, "", suffix, prefix), "value")
    is_loose = any(part is not None and part.comparison is not Comparison.EXACT for part in parts)
    return written.replace("<value", '<value use="SRCH"', 1) if is_loose else written


def _write_address(pattern: AddressPattern) -> str:
    parts = (pattern.street or pattern.any_part, pattern.city, pattern.state, pattern.postal_code, pattern.country)
    street, city, state, postal_code, country = (part.value if part else "" for part in parts)
    return write_address(Address(street, "", city, state, postal_code, country), "value")
