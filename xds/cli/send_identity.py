"""`xds send iti08` and `xds send iti09`: patients' identities, in HL7 v2 over MLLP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from xds.cli import exchange, mllp_exchange
from xds.cli.identity_options import BirthDate, Event, Files, Known, Name, Patients, Sex, Source, check_subsumed, described
from xds.cli.outcome import Refused
from xds.cli.sending import Sending, by_mllp
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import FeedKind, IdentityFeed
from xds.wire import hl7v2
from xds.wire.hl7v2_answers import new_control_id, read_acknowledgement
from xds.wire.hl7v2_feed import write_feed
from xds.wire.hl7v2_pix import PixQuery, read_rsp_k23, write_pix_query

#: Namespace that this software gives its affinity domain; another server may have another.
_AFFINITY = "XDS"

#: How the tables of PIX queries are headed, in every wire form, and the same for JSON.
IDENTIFIER_COLUMNS = ("Namespace", "OID", "Identifier", "In metadata")


@by_mllp
def iti08(
    sending: Sending,
    given: Files = None,
    patient: Patients = None,
    event: Annotated[Event, typer.Option(help="A01 (add), A08 (revise) or A40 (merge).")] = Event.ADD,
    subsumed: Annotated[str | None, typer.Option(metavar="CX", help="The identifier that a merge takes away (MRG-1).")] = None,
    name: Name = "",
    birth_date: BirthDate = None,
    sex: Sex = None,
    source: Source = "XDS|CLI",
) -> None:
    """Tell of a patient: a patient identity feed in HL7 v2 (ITI-8).

    **Examples**

    `xds send iti08 --patient 'PAT1^^^HOSP_A&2.999.10&ISO' --name 'Weber^Lena' --birth-date 19900415 --sex F`

    `xds send iti08 --event merge --patient 'PAT1^^^HOSP_A&2.999.10&ISO' --subsumed 'PAT2^^^HOSP_A&2.999.10&ISO'`

    `xds send iti08 admission.hl7`
    """

    def draft() -> hl7v2.Message:
        check_subsumed(event, subsumed)
        feed = IdentityFeed(
            kind=FeedKind(event.value),
            source=source,
            message_id=new_control_id(),
            identifiers=mllp_exchange.identifiers(patient),
            demographics=described(name, birth_date, sex),
            subsumed=mllp_exchange.identifiers([subsumed] if subsumed else ()),
        )
        return write_feed(feed, now=datetime.now(UTC))

    mllp_exchange.deliver_given(given, patient, draft, sending)


@by_mllp
def iti09(
    sending: Sending,
    patient: Known,
    domain: Annotated[
        list[str] | None, typer.Option(metavar="OID|NAMESPACE", help="Domain whose identifier is wanted. Default: all of them.")
    ] = None,
    source: Annotated[str, typer.Option(metavar="FACILITY|APPLICATION", help="Who asks (MSH-4 and MSH-3).")] = "XDS|CLI",
) -> None:
    """Ask for a patient's identifiers in other domains: PIX query in HL7 v2 (ITI-9).

    **Examples**

    `xds send iti09 --patient 'A0001^^^HOSP_A&2.999.10&ISO'`

    `xds send iti09 --patient 'A0001^^^HOSP_A&2.999.10&ISO' --domain XDS` for the one that documents go by
    """
    message = _query(exchange.patient_identifier(patient), [mllp_exchange.authority(item) for item in domain or ()], source)
    if sending.dry_run:
        print(mllp_exchange.lines(message))
        return
    answer = mllp_exchange.ask(message, sending.to, sending.timeout)
    found = [identifier_facts(item) for item in read_rsp_k23(answer)]
    acknowledged = read_acknowledgement(answer)
    facts = {**mllp_exchange.acknowledgement_facts(acknowledged), "status": answer.get("QAK-2"), "identifiers": found}
    rows = [tuple(item.values()) for item in found]
    sending.show(exchange.Answer(IDENTIFIER_COLUMNS, rows, facts, lambda: mllp_exchange.lines(answer)))
    mllp_exchange.refuse_unaccepted(acknowledged)
    if not found:
        raise Refused("no identifier was found")


def identifier_facts(item: PatientIdentifier) -> dict[str, str]:
    """An identifier for JSON and tables."""
    return {
        "namespace": item.authority.namespace or "",
        "oid": item.authority.oid or "",
        "value": item.value,
        "cx": item.to_cx(),
    }


def affinity_identifier(local: str, pix: str, timeout: float) -> str:
    """The affinity domain's identifier (CX) of a patient with a local one. Errors: Refused, NoAnswer, Usage."""
    message = _query(exchange.patient_identifier(local), [AssigningAuthority(_AFFINITY)], "XDS|CLI")
    answer = mllp_exchange.ask(message, pix, timeout)
    identifiers = read_rsp_k23(answer)
    if not identifiers:
        mllp_exchange.print_faults(read_acknowledgement(answer))
        raise Refused(f"the PIX Manager knows no identifier of the affinity domain for {local}")
    return identifiers[0].to_cx()


def _query(identifier: PatientIdentifier, domains: list[AssigningAuthority], source: str) -> hl7v2.Message:
    control_id = new_control_id()
    query = PixQuery(control_id, identifier, tuple(domains))
    now = datetime.now(UTC)
    return write_pix_query(query, source=source, destination=mllp_exchange.DESTINATION, control_id=control_id, now=now)
