"""PIX queries in HL7 version 3 (PRPA_IN201309UV02) and their answers (PRPA_IN201310UV02).

Tolerated deviations: any semanticsText; several values of one dataSource, each a domain; a queried identifier or a domain that an
assigningAuthorityName alone names.

Spec: ITI TF-2 3.45.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lxml import etree

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.metadata import Code
from xds.model.patient import Demographics, IdentityProblem, IdentityQuery, PersonName
from xds.wire.hl7v3 import (
    Detail,
    DetailCode,
    InstanceIdentifier,
    Transmission,
    children,
    coded,
    detail_of,
    location,
    message_details,
    read_transmission,
    write_id,
)
from xds.wire.hl7v3_person import instance_of, read_patient_id, read_patient_ids, registration_event, write_patient
from xds.wire.hl7v3_queries import (
    Asked,
    audited,
    parameter,
    parameters,
    query_details,
    query_of,
    read_domains,
    write_answer,
    write_query,
)

#: EventTypeCode of the audit trail.
PIX_V3_QUERY: Final = Code("ITI-45", "IHE Transactions", "PIXV3 Query")

QUERY: Final = "PRPA_IN201309UV02"
ANSWER: Final = "PRPA_IN201310UV02"


@dataclass(frozen=True, slots=True)
class ReceivedPixQuery:
    """A PIX query, or what is wrong with it; `place` and `domain_places` are XPaths of the values."""

    asked: Asked
    identifier: PatientIdentifier | None = None
    domains: tuple[AssigningAuthority, ...] = ()
    place: str = ""
    domain_places: tuple[str, ...] = ()

    def detail(self, problem: IdentityProblem) -> Detail:
        """A problem of the PIX Manager at its place in the query. Spec: ITI TF-2 3.45.4.2.3."""
        if problem.field == "domains":
            number = problem.repetition - 1
            return detail_of(problem, self.domain_places[number], instance_of(self.domains[number]).full)
        received = instance_of(self.identifier.authority, self.identifier.value).full if self.identifier else ""
        return detail_of(problem, self.place, received)

    @property
    def audited(self) -> IdentityQuery:
        """What the audit trail keeps."""
        return audited(self.asked.transmission, self.asked.query_id, self.asked.text, PIX_V3_QUERY)


def read_pix_query(root: etree._Element) -> ReceivedPixQuery:
    """A PIX query, or everything that is wrong with it.

    Errors: those of `message_details` and `query_details`; SYN101 (no identifier), SYN102 (roots), SYN110 and SYN112 (several
    identifiers).
    Spec: ITI TF-2 3.45.4.1.2.
    """
    transmission, query = read_transmission(root), query_of(root)
    details = message_details(root)
    if details:
        return ReceivedPixQuery(Asked(transmission, query, tuple(details)))
    details = query_details(root, query)
    identifier, place = _identifier(query, details) if query is not None else (None, "")
    domains, places, wrong = read_domains(query, "dataSource")
    asked = Asked(transmission, query, (*details, *wrong))
    return ReceivedPixQuery(asked, identifier, tuple(domains), place, tuple(places))


def _identifier(query: etree._Element, details: list[Detail]) -> tuple[PatientIdentifier | None, str]:
    given = parameters(query, "patientIdentifier")
    if len(given) > 1:
        text = "a query is about one patientIdentifier"
        details.append(Detail(DetailCode.TOO_MANY_ASSOCIATIONS, text, location(given[1][0])))
    values = [value for _, values in given[:1] for value in values]
    if len(values) > 1:
        details.append(Detail(DetailCode.TOO_MANY_VALUES, "patientIdentifier must have one value", location(values[1])))
    found = read_patient_id(values[0]) if values else None
    if isinstance(found, Detail):
        details.append(found)
    elif found is None:
        place = f"{location(query)}/parameterList/patientIdentifier/value"
        details.append(Detail(DetailCode.ATTRIBUTE_MISSING, "patientIdentifier needs a value", place))
    else:
        return found, location(values[0])
    return None, ""


def write_pix_answer(
    asked: Asked,
    identifiers: Sequence[PatientIdentifier],
    details: Sequence[Detail] = (),
    *,
    names: Sequence[PersonName] = (),
    now: datetime,
) -> bytes:
    """The answer: one registration with every identifier found and the names of the patient, or the faults.

    Spec: ITI TF-2 3.45.4.2.
    """
    subjects = []
    if identifiers and not details:
        subjects.append(
            registration_event(write_patient(identifiers, Demographics(tuple(names))), asked.transmission.receiver.device)
        )
    return write_answer(asked, ANSWER, subjects, details, now=now)


def write_pix_query(
    identifier: PatientIdentifier,
    domains: Sequence[AssigningAuthority],
    transmission: Transmission,
    query_id: InstanceIdentifier,
    *,
    now: datetime,
) -> bytes:
    """A query. Spec: ITI TF-2 3.45.4.1.2."""
    sources = "".join(parameter("dataSource", [write_id(instance_of(domain), "value")], "DataSource.id") for domain in domains)
    asked = write_id(instance_of(identifier.authority, identifier.value), "value")
    query = (
        f"<queryByParameter>{write_id(query_id, 'queryId')}{coded('statusCode', 'new')}{coded('responsePriorityCode', 'I')}"
        f"<parameterList>{sources}{parameter('patientIdentifier', [asked], 'Patient.id')}</parameterList></queryByParameter>"
    )
    return write_query(transmission, query, now=now)


def read_pix_answer(root: etree._Element) -> tuple[PatientIdentifier, ...]:
    """The identifiers that an answer brings."""
    patients = children(root, "controlActProcess", "subject", "registrationEvent", "subject1", "patient")
    found = (item for patient in patients for _, item in read_patient_ids(patient))
    return tuple(dict.fromkeys(item for item in found if isinstance(item, PatientIdentifier)))
