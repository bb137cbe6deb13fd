"""`xds send iti21` and `xds send iti22`: searching patients by their traits, in HL7 v2 over MLLP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from xds.cli import exchange, mllp_exchange
from xds.cli.identity_options import Source, Visit, visit_of
from xds.cli.outcome import Refused, Usage
from xds.cli.sending import Sending, by_mllp
from xds.model.demographics_query import AddressPattern, DemographicsQuery, IdentifierPattern, NamePattern, PageRequest
from xds.transactions.pdq_exchange import answer_of
from xds.wire import hl7v2
from xds.wire.hl7v2_answers import new_control_id
from xds.wire.hl7v2_pdq import days_of
from xds.wire.hl7v2_pdq_answers import FoundPatient, write_demographics_query
from xds.wire.hl7v2_query_names import text_pattern

Name = Annotated[str, typer.Option(metavar="FAMILY^GIVEN", help="Name; `*` stands for any letters.")]
BirthDate = Annotated[str, typer.Option(metavar="YYYY[MM[DD]]", help="Date of birth, or the beginning of one.")]
Sex = Annotated[str, typer.Option(help="Administrative sex: F, M, O, U.")]
Patient = Annotated[str, typer.Option(metavar="CX", help="An identifier of the patient.")]
City = Annotated[str, typer.Option(help="Town of an address.")]
PostalCode = Annotated[str, typer.Option(help="Postal code of an address.")]
Telephone = Annotated[str, typer.Option(help="A telephone number.")]
Similar = Annotated[int | None, typer.Option(metavar="0…100", help="Find similar names, too, with at least this confidence.")]
Domains = Annotated[
    list[str] | None,
    typer.Option("--domain", metavar="OID|NAMESPACE", help="Domain whose identifiers are wanted. Default: all of them."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="How many patients at most in one answer.")]
Pointer = Annotated[str | None, typer.Option(help="Continue after an answer that had this pointer; needs its --tag.")]
Tag = Annotated[str, typer.Option(help="Query tag (QPD-2). Default: a new one.")]


@by_mllp
def iti21(
    sending: Sending,
    name: Name = "",
    birth_date: BirthDate = "",
    sex: Sex = "",
    patient: Patient = "",
    city: City = "",
    postal_code: PostalCode = "",
    telephone: Telephone = "",
    similar: Similar = None,
    domain: Domains = None,
    limit: Limit = None,
    pointer: Pointer = None,
    tag: Tag = "",
    source: Source = "XDS|CLI",
) -> None:
    """Search patients by their traits: patient demographics query in HL7 v2 (ITI-21).

    **Examples**

    `xds send iti21 --name 'Weber^L*' --birth-date 1990`

    `xds send iti21 --patient 'A0001^^^HOSP_A&2.999.10&ISO' --domain XDS`
    """
    query = _query(name, birth_date, sex, patient, city, postal_code, telephone, similar, domain, {})
    message = _message("Q22", query, PageRequest(limit, pointer, tag), source)
    _ask(message, sending)


@by_mllp
def iti22(
    sending: Sending,
    name: Name = "",
    birth_date: BirthDate = "",
    sex: Sex = "",
    patient: Patient = "",
    visit: Visit = None,
    domain: Domains = None,
    limit: Limit = None,
    pointer: Pointer = None,
    tag: Tag = "",
    source: Source = "XDS|CLI",
) -> None:
    """Search patients by their visit: patient demographics and visit query in HL7 v2 (ITI-22).

    **Examples**

    `xds send iti22 --visit PV1.3=CARDIO --visit PV1.3.2=389`
    """
    query = _query(name, birth_date, sex, patient, "", "", "", None, domain, visit_of(visit))
    message = _message("ZV1", query, PageRequest(limit, pointer, tag), source)
    _ask(message, sending)


def _query(
    name: str,
    birth_date: str,
    sex: str,
    patient: str,
    city: str,
    postal_code: str,
    telephone: str,
    similar: int | None,
    domain: list[str] | None,
    visit: dict[str, str],
) -> DemographicsQuery:
    if not any((name, birth_date, sex, patient, city, postal_code, telephone, visit)):
        raise Usage("give at least one criterion, such as --name")
    days = days_of(birth_date) if birth_date else None
    if birth_date and days is None:
        raise Usage("a date of birth is written YYYY, YYYYMM or YYYYMMDD")
    parts = [text_pattern(part, fuzzy=similar is not None) if part else None for part in (*name.split("^"), "")[:2]]
    identifier = exchange.patient_identifier(patient) if patient else None
    places = [text_pattern(part) if part else None for part in (city, postal_code)]
    return DemographicsQuery(
        identifiers=((IdentifierPattern(identifier.value, identifier.authority),),) if identifier else (),
        names=((NamePattern(family=parts[0], given=parts[1]),),) if name else (),
        birth_dates=(days,) if days else (),
        sexes=(sex,) if sex else (),
        addresses=((AddressPattern(city=places[0], postal_code=places[1]),),) if city or postal_code else (),
        telephones=((text_pattern(telephone),),) if telephone else (),
        visit={field: text_pattern(value) for field, value in visit.items()},
        domains=tuple(map(mllp_exchange.authority, domain or ())),
        minimum_score=similar,
    )


def _message(event: str, query: DemographicsQuery, page: PageRequest, source: str) -> hl7v2.Message:
    return write_demographics_query(
        query,
        page,
        event=event,
        source=source,
        destination=mllp_exchange.DESTINATION,
        control_id=new_control_id(),
        now=datetime.now(UTC),
    )


def _ask(message: hl7v2.Message, sending: Sending) -> None:
    if sending.dry_run:
        print(mllp_exchange.lines(message))
        return
    answer = mllp_exchange.ask(message, sending.to, sending.timeout)
    found = answer_of(answer)
    facts = {
        **mllp_exchange.acknowledgement_facts(found.acknowledged),
        "status": found.status,
        "tag": answer.get("QAK-1"),
        "pointer": found.pointer,
        "patients": [_facts(item) for item in found.patients],
    }
    columns = ("Family name", "Given name", "Born", "Sex", "Identifiers", "Confidence")
    rows = [_row(item) for item in found.patients]
    sending.show(exchange.Answer(columns, rows, facts, lambda: mllp_exchange.lines(answer)))
    mllp_exchange.refuse_unaccepted(found.acknowledged)
    if not found.patients:
        raise Refused("no patient was found")


def _row(patient: FoundPatient) -> tuple[str, ...]:
    stated = patient.demographics
    name = stated.names[0] if stated.names else None
    numbers = " ".join(f"{item.value}@{item.authority.namespace or item.authority.oid}" for item in patient.identifiers)
    score = "" if patient.score is None else f"{patient.score:g}"
    return (
        name.family if name else "",
        name.given if name else "",
        stated.birth_date or "",
        stated.sex or "",
        numbers,
        score,
    )


def _facts(patient: FoundPatient) -> dict[str, object]:
    family, given, birth_date, sex, _, _ = _row(patient)
    return {
        "family": family,
        "given": given,
        "birth_date": birth_date,
        "sex": sex,
        "identifiers": [item.to_cx() for item in patient.identifiers],
        "confidence": patient.score,
        "visit": dict(patient.visit),
    }
