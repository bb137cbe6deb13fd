"""`xds send iti44`, `iti45` and `iti47`: patients' identities in HL7 v3 over SOAP."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from lxml import etree

from xds.cli import exchange
from xds.cli.identity_options import Event, Known, check_subsumed, described
from xds.cli.outcome import Refused, Usage
from xds.cli.send_identity import IDENTIFIER_COLUMNS, identifier_facts
from xds.cli.sending import Sending, by_soap
from xds.model.demographics_query import (
    Comparison,
    DateRange,
    DemographicsQuery,
    IdentifierPattern,
    NamePattern,
    PatientMatch,
    TextPattern,
)
from xds.model.identifiers import AssigningAuthority, is_oid
from xds.model.patient import FeedKind, IdentityFeed, PersonName
from xds.transactions import iti45_pix_v3_query as iti45_transaction
from xds.transactions import iti47_patient_demographics_query_v3 as iti47_transaction
from xds.transactions import v3_exchange
from xds.transactions.iti44_patient_identity_feed_v3 import feed_transaction
from xds.transactions.transaction import Transaction
from xds.wire.hl7v3 import InstanceIdentifier, Transmission, new_id, party_of
from xds.wire.hl7v3_acknowledgement import Acknowledged
from xds.wire.hl7v3_feed import INTERACTIONS_OF_FEEDS, write_feed
from xds.wire.hl7v3_intervals import days_of
from xds.wire.hl7v3_pdq import QUERY as DEMOGRAPHICS_QUERY
from xds.wire.hl7v3_pdq_query import write_demographics_query
from xds.wire.hl7v3_pix import QUERY as PIX_QUERY
from xds.wire.hl7v3_pix import read_pix_answer, write_pix_query
from xds.wire.hl7v3_queries import response_code

Source = Annotated[
    str, typer.Option(metavar="ORGANIZATION|DEVICE", help="Who sends it: OIDs of the organization and the device, or names.")
]
Destination = Annotated[
    str, typer.Option("--destination", metavar="ORGANIZATION|DEVICE", help="Whom it is addressed to, in the same form.")
]
Domains = Annotated[
    list[str] | None, typer.Option("--domain", metavar="OID", help="Domain whose identifier is wanted. Default: all of them.")
]


@by_soap
def iti44(
    sending: Sending,
    patient: Annotated[list[str], typer.Option(metavar="CX", help="Identifier of the patient; several may be given.")],
    event: Annotated[Event, typer.Option(help="PRPA_IN201301UV02 (add), 302 (revise) or 304 (merge).")] = Event.ADD,
    subsumed: Annotated[str | None, typer.Option(metavar="CX", help="The identifier that a merge takes away.")] = None,
    name: Annotated[str, typer.Option(metavar="FAMILY^GIVEN", help="Name.")] = "",
    birth_date: Annotated[str | None, typer.Option(metavar="YYYYMMDD", help="Date of birth.")] = None,
    sex: Annotated[str | None, typer.Option(help="Administrative gender: F, M, O or U.")] = None,
    source: Source = "XDS|CLI",
    destination: Destination = "XDS|XDS",
) -> None:
    """Tell of a patient: a patient identity feed in HL7 v3 (ITI-44).

    **Examples**

    `xds send iti44 --patient 'PAT1^^^HOSP_A&2.999.10&ISO' --name 'Weber^Lena' --birth-date 19900415 --sex F`

    `xds send iti44 --event merge --patient 'PAT1^^^HOSP_A&2.999.10&ISO' --subsumed 'PAT2^^^HOSP_A&2.999.10&ISO'`
    """
    check_subsumed(event, subsumed)
    feed = IdentityFeed(
        kind=FeedKind(event.value),
        source=source,
        destination=destination,
        message_id=str(uuid.uuid4()),
        identifiers=tuple(map(exchange.patient_identifier, patient)),
        demographics=described(name, birth_date, sex),
        subsumed=(exchange.patient_identifier(subsumed),) if subsumed else (),
    )
    interaction = INTERACTIONS_OF_FEEDS[feed.kind]
    transmission = Transmission(interaction, InstanceIdentifier(feed.message_id), "P", party_of(source), party_of(destination))
    message = write_feed(feed, transmission, now=datetime.now(UTC))
    if received := _exchange(message, feed_transaction(interaction), sending):
        answer, acknowledged = received
        _show(answer, ("Message", "Answer"), [(acknowledged.message_id, acknowledged.code)], _facts(acknowledged), sending)
        _judge(acknowledged)


@by_soap
def iti45(
    sending: Sending,
    patient: Known,
    domain: Domains = None,
    source: Source = "XDS|CLI",
    destination: Destination = "XDS|XDS",
) -> None:
    """Ask for a patient's identifiers in other domains: PIX query in HL7 v3 (ITI-45).

    **Examples**

    `xds send iti45 --patient 'A0001^^^HOSP_A&2.999.10&ISO'`

    `xds send iti45 --patient 'A0001^^^HOSP_A&2.999.10&ISO' --domain 2.999.20`
    """
    transmission = Transmission(PIX_QUERY, new_id(), "P", party_of(source), party_of(destination))
    identifier = exchange.patient_identifier(patient)
    message = write_pix_query(identifier, _domains(domain), transmission, new_id(), now=datetime.now(UTC))
    if received := _exchange(message, iti45_transaction.TRANSACTION, sending):
        answer, acknowledged = received
        found = [identifier_facts(item) for item in read_pix_answer(answer)]
        facts = {**_facts(acknowledged), "status": response_code(answer), "identifiers": found}
        _show(answer, IDENTIFIER_COLUMNS, [tuple(item.values()) for item in found], facts, sending)
        _judge(acknowledged)
        if not found:
            raise Refused("no identifier was found")


@by_soap
def iti47(
    sending: Sending,
    patient: Annotated[
        list[str] | None, typer.Option(metavar="CX", help="An identifier of the patient; all must be hers.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(metavar="FAMILY^GIVEN", help="Name, one of which must fit; `*` for any characters.")
    ] = None,
    similar: Annotated[
        bool, typer.Option(help="Names that sound alike, begin alike or have one slip of the pen fit, too.")
    ] = False,
    birth_date: Annotated[
        str | None, typer.Option(metavar="DATE[-DATE]", help="Date of birth, a year or a month of it, or a range.")
    ] = None,
    sex: Annotated[str | None, typer.Option(help="Administrative gender: F, M or O.")] = None,
    domain: Domains = None,
    limit: Annotated[int | None, typer.Option(min=1, help="How many patients at most.")] = None,
    source: Source = "XDS|CLI",
    destination: Destination = "XDS|XDS",
) -> None:
    """Search for patients by their traits: patient demographics query in HL7 v3 (ITI-47).

    **Examples**

    `xds send iti47 --name 'Weber^Lena' --birth-date 1990`

    `xds send iti47 --name 'Wever' --similar --sex F --birth-date 19900101-19901231 --limit 10`
    """
    comparison = Comparison.FUZZY if similar else Comparison.EXACT
    query = DemographicsQuery(
        identifiers=tuple((_identifier_pattern(item),) for item in patient or ()),
        names=(tuple(_name_pattern(item, comparison) for item in name),) if name else (),
        birth_dates=(_range(birth_date),) if birth_date else (),
        sexes=(sex,) if sex else (),
        domains=tuple(_domains(domain)),
    )
    if query == DemographicsQuery(domains=query.domains):
        raise Usage("give at least one trait or identifier to search by")
    transmission = Transmission(DEMOGRAPHICS_QUERY, new_id(), "P", party_of(source), party_of(destination))
    query_id = new_id()
    message = write_demographics_query(query, transmission, query_id, now=datetime.now(UTC), limit=limit)
    if received := _exchange(message, iti47_transaction.TRANSACTION, sending):
        _show_patients(received[0], query_id, sending)


def _show_patients(answer: etree._Element, query_id: InstanceIdentifier, sending: Sending) -> None:
    read = iti47_transaction.read_answer(answer, query_id)
    quantities = read.quantities
    facts = {
        **_facts(read.acknowledged),
        "status": read.status,
        "total": quantities.total if quantities else None,
        "remaining": quantities.remaining if quantities else None,
        "patients": [_patient(match) for match in read.matches],
    }
    rows = [(*_row(match), " ".join(item.to_cx() for item in match.identifiers)) for match in read.matches]
    _show(answer, ("Name", "Birth date", "Sex", "Match", "Identifiers"), rows, facts, sending)
    _judge(read.acknowledged)
    if quantities and quantities.is_more:
        print(f"note: {quantities.remaining or 'more'} patients are not shown", file=sys.stderr)
    if not read.matches:
        raise Refused("no patient was found")


def _exchange(message: bytes, transaction: Transaction, sending: Sending) -> tuple[etree._Element, Acknowledged] | None:
    """The answer to a message, or None when it was only printed."""
    if sending.dry_run:
        print(exchange.pretty(message))
        return None
    with sending.talking(transaction) as endpoint:
        return v3_exchange.ask(endpoint, transaction, message, timeout=sending.timeout)


def _show(
    answer: etree._Element, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], facts: object, sending: Sending
) -> None:
    sending.show(exchange.Answer(columns, rows, facts, lambda: exchange.pretty(answer)))


def _judge(acknowledged: Acknowledged) -> None:
    for detail in acknowledged.details:
        place = f" at {detail.location}" if detail.location else ""
        kind = "error" if detail.severity == "E" else "warning"
        print(f"{kind}: {detail.code} {detail.text}{place}", file=sys.stderr)
    if not acknowledged.is_accepted:
        raise Refused(f"the answer is {acknowledged.code}")


def _facts(acknowledged: Acknowledged) -> dict[str, object]:
    details = [
        {"code": item.code, "text": item.text, "location": item.location, "severity": item.severity}
        for item in acknowledged.details
    ]
    return {"message_id": acknowledged.message_id, "code": acknowledged.code, "details": details}


def _row(match: PatientMatch) -> tuple[str, ...]:
    stated = match.demographics
    name = stated.names[0] if stated.names else PersonName()
    whole = " ".join(part for part in (name.given, name.further_given, name.family) if part)
    return whole, stated.birth_date or "", stated.sex or "", "" if match.score is None else str(match.score)


def _patient(match: PatientMatch) -> dict[str, object]:
    facts: dict[str, object] = dict(zip(("name", "birth_date", "sex", "score"), _row(match), strict=True))
    return facts | {"identifiers": [identifier_facts(item) for item in match.identifiers]}


def _domains(given: list[str] | None) -> list[AssigningAuthority]:
    wrong = [item for item in given or () if not is_oid(item)]
    if wrong:
        raise Usage(f"a domain is an OID, not {wrong[0]!r}")
    return [AssigningAuthority(oid=item) for item in given or ()]


def _identifier_pattern(text: str) -> IdentifierPattern:
    identifier = exchange.patient_identifier(text)
    return IdentifierPattern(identifier.value, identifier.authority)


def _name_pattern(text: str, comparison: Comparison) -> NamePattern:
    family, _, given = text.partition("^")
    return NamePattern(*(TextPattern(part, comparison) if part else None for part in (family, given)))


def _range(text: str) -> DateRange:
    first, _, last = text.partition("-")
    low, high = days_of(first), days_of(last or first)
    if low is None or high is None:
        raise Usage(f"a birth date is YYYY, YYYYMM, YYYYMMDD, or a range FROM-TO of them, not {text!r}")
    return DateRange(low.low, high.high)
