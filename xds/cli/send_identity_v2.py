"""`xds send iti10`, `iti30`, `iti31` and `iti64`: what becomes of patients' identities, in HL7 v2 over MLLP."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Annotated

import typer

from xds.cli import exchange, mllp_exchange
from xds.cli.identity_options import BirthDate, Destination, Files, Name, Patients, Sex, Source, Visit, described, visit_of
from xds.cli.outcome import Usage
from xds.cli.sending import Sending, by_mllp
from xds.model.patient import PATIENT_IDENTITY_MANAGEMENT, FeedKind, IdentityFeed
from xds.model.patient_links import LinkChange
from xds.transactions.iti30_patient_identity_management import message_of
from xds.transactions.iti31_patient_encounter_management import STRUCTURES
from xds.wire import hl7v2
from xds.wire.hl7v2_answers import new_control_id
from xds.wire.hl7v2_feed import write_encounter, write_update_notification
from xds.wire.hl7v2_links import write_link_change


class Event(Enum):
    """What happens to an identity."""

    ADD = "add"
    REVISE = "revise"
    MERGE = "merge"
    CHANGE = "change"
    LINK = "link"
    UNLINK = "unlink"


_WITH_ANOTHER = (Event.MERGE, Event.CHANGE, Event.LINK, Event.UNLINK)


@by_mllp
def iti10(
    sending: Sending,
    patient: Patients = None,
    source: Source = "XDS|CLI",
    destination: Destination = mllp_exchange.DESTINATION,
) -> None:
    """Tell a PIX Consumer which identifiers mean one person: PIX update notification in HL7 v2 (ITI-10).

    **Examples**

    `xds send iti10 --to ehr.example:2575 --patient 'A0001^^^HOSP_A&2.999.10&ISO' --patient 'B7^^^HOSP_B&2.999.20&ISO'`
    """
    listed = mllp_exchange.identifiers(patient)
    if not listed:
        raise Usage("give at least one --patient")
    now = datetime.now(UTC)
    message = write_update_notification(
        listed, source=source, destination=destination, control_id=new_control_id(), occurred=now, now=now
    )
    mllp_exchange.deliver([message], sending)


@by_mllp
def iti30(
    sending: Sending,
    given: Files = None,
    patient: Patients = None,
    event: Annotated[
        Event, typer.Option(help="A28 (add), A31 (revise), A40 (merge), A47 (change), A24 (link) or A37 (unlink).")
    ] = Event.ADD,
    other: Annotated[
        list[str] | None,
        typer.Option(metavar="CX", help="The other identifier: merged away, changed (MRG-1), linked or unlinked (second PID)."),
    ] = None,
    name: Name = "",
    birth_date: BirthDate = None,
    sex: Sex = None,
    source: Source = "XDS|CLI",
) -> None:
    """Tell what becomes of a patient's identity: patient identity management in HL7 v2 (ITI-30).

    **Examples**

    `xds send iti30 --event change --patient 'A2^^^HOSP_A&2.999.10&ISO' --other 'A1^^^HOSP_A&2.999.10&ISO'`

    `xds send iti30 --event link --patient 'A1^^^HOSP_A&2.999.10&ISO' --other 'B1^^^HOSP_B&2.999.20&ISO'`
    """

    def draft() -> hl7v2.Message:
        if (event in _WITH_ANOTHER) != bool(other):
            raise Usage("a merge, change, link or unlink, and only these, names an --other identifier")
        others = mllp_exchange.identifiers(other)
        is_link = event in (Event.LINK, Event.UNLINK)
        feed = IdentityFeed(
            kind=FeedKind(event.value),
            source=source,
            message_id=new_control_id(),
            identifiers=mllp_exchange.identifiers(patient),
            demographics=described(name, birth_date, sex),
            subsumed=() if is_link else others,
            linked=others if is_link else (),
            event_type=PATIENT_IDENTITY_MANAGEMENT,
        )
        return message_of(feed, datetime.now(UTC))

    mllp_exchange.deliver_given(given, patient, draft, sending)


@by_mllp
def iti31(
    sending: Sending,
    given: Files = None,
    patient: Patients = None,
    event: Annotated[str, typer.Option(metavar="TRIGGER", help="A02, A03, … as in MSH-9.2.")] = "A03",
    visit: Visit = None,
    name: Name = "",
    birth_date: BirthDate = None,
    sex: Sex = None,
    source: Source = "XDS|CLI",
) -> None:
    """Tell of a visit: patient encounter management in HL7 v2 (ITI-31).

    **Examples**

    `xds send iti31 --event A02 --patient 'A1^^^HOSP_A&2.999.10&ISO' --visit PV1.2=I --visit PV1.3=CARDIO --visit PV1.3.2=389`
    """

    def draft() -> hl7v2.Message:
        if event not in STRUCTURES:
            raise Usage(f"the events of this command are {', '.join(STRUCTURES)}")
        feed = IdentityFeed(
            kind=FeedKind.REVISE,
            source=source,
            message_id=new_control_id(),
            identifiers=mllp_exchange.identifiers(patient),
            demographics=described(name, birth_date, sex),
            visit=visit_of(visit),
        )
        return write_encounter(feed, event, STRUCTURES[event], now=datetime.now(UTC))

    mllp_exchange.deliver_given(given, patient, draft, sending)


@by_mllp
def iti64(
    sending: Sending,
    local: Annotated[str, typer.Option(metavar="CX", help="The local identifier, which belongs to another patient now.")],
    new: Annotated[str, typer.Option(metavar="CX", help="The affinity domain's identifier of that patient.")],
    previous: Annotated[str, typer.Option(metavar="CX", help="The identifier that the local one belonged to before.")],
    system: Annotated[str, typer.Option(metavar="OID", help="OID of the sending system (MSH-3).")],
    subsumed: Annotated[
        str | None, typer.Option(metavar="CX", help="A local identifier that a merge replaced by the other one.")
    ] = None,
    source: Source = "XDS|CLI",
) -> None:
    """Tell a Document Registry that documents belong to another patient: XAD-PID link change in HL7 v2 (ITI-64).

    **Examples**

    `xds send iti64 --local 'A1^^^&2.999.10&ISO' --new 'P2^^^&2.999.1&ISO' --previous 'P1^^^&2.999.1&ISO' --system 2.999.5`
    """
    change = LinkChange(
        local=exchange.patient_identifier(local),
        new=exchange.patient_identifier(new),
        previous=exchange.patient_identifier(previous),
        source_id=system,
        source=source,
        message_id=new_control_id(),
        subsumed=exchange.patient_identifier(subsumed) if subsumed else None,
        destination=mllp_exchange.DESTINATION,
    )
    message = write_link_change(change, now=datetime.now(UTC))
    mllp_exchange.deliver([message], sending)
