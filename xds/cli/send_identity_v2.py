"""`xds send iti10`, `iti30`, `iti31` and `iti64`: what becomes of patients' identities, in HL7 v2 over MLLP."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from xds.cli import exchange, mllp_exchange
from xds.cli.exchange import AsEr7, AsJson, DryRun, MllpTo, Timeout
from xds.cli.outcome import Usage
from xds.model.patient import PATIENT_IDENTITY_MANAGEMENT, Demographics, FeedKind, IdentityFeed, PersonName
from xds.model.patient_links import LinkChange
from xds.transactions.iti30_patient_identity_management import message_of
from xds.transactions.iti31_patient_encounter_management import STRUCTURES
from xds.wire.hl7v2_answers import new_control_id
from xds.wire.hl7v2_feed import write_encounter, write_update_notification
from xds.wire.hl7v2_links import write_link_change

Files = Annotated[list[Path] | None, typer.Argument(metavar="FILE…", help="Messages in ER7, one a file.")]
Patients = Annotated[
    list[str] | None, typer.Option("--patient", metavar="CX", help="Identifier of the patient (PID-3); several may be given.")
]
Name = Annotated[str, typer.Option(metavar="FAMILY^GIVEN", help="Name (PID-5).")]
BirthDate = Annotated[str | None, typer.Option(metavar="YYYYMMDD", help="Date of birth (PID-7).")]
Sex = Annotated[str | None, typer.Option(help="Administrative sex (PID-8): F, M, O, U.")]
Source = Annotated[str, typer.Option(metavar="FACILITY|APPLICATION", help="Who sends it (MSH-4 and MSH-3).")]
Destination = Annotated[str, typer.Option(metavar="FACILITY|APPLICATION", help="Whom it is for (MSH-6 and MSH-5).")]
Visit = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=VALUE", help="A value of the visit, such as `PV1.3.2=389`; several may be given."),
]


class Event(Enum):
    """What happens to an identity."""

    ADD = "add"
    REVISE = "revise"
    MERGE = "merge"
    CHANGE = "change"
    LINK = "link"
    UNLINK = "unlink"


_WITH_ANOTHER = (Event.MERGE, Event.CHANGE, Event.LINK, Event.UNLINK)


def described(name: str, birth_date: str | None, sex: str | None) -> Demographics:
    """Demographics from options."""
    family, _, given = name.partition("^")
    names = (PersonName(family, given, use="L"),) if name else ()
    return Demographics(names=names, birth_date=birth_date, sex=sex)


def visit_of(given: list[str] | None) -> dict[str, str]:
    """Values of a visit from options. Errors: Usage."""
    visit = {}
    for item in given or ():
        field, equals, value = item.partition("=")
        if not equals or not field.startswith(("PV1.", "PV2.", "PD1.")):
            raise Usage(f"a value of a visit is written PV1.3.2=389, not {item!r}")
        visit[field] = value
    return visit


def iti10(
    patient: Patients = None,
    source: Source = "XDS|CLI",
    destination: Destination = mllp_exchange.DESTINATION,
    to: MllpTo = exchange.DEFAULT_MLLP,
    as_json: AsJson = False,
    as_er7: AsEr7 = False,
    dry_run: DryRun = False,
    timeout: Timeout = 30,
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
    mllp_exchange.deliver([message], to, timeout, exchange.form(as_json, as_er7), dry_run=dry_run)


def iti30(
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
    to: MllpTo = exchange.DEFAULT_MLLP,
    as_json: AsJson = False,
    as_er7: AsEr7 = False,
    dry_run: DryRun = False,
    timeout: Timeout = 30,
) -> None:
    """Tell what becomes of a patient's identity: patient identity management in HL7 v2 (ITI-30).

    **Examples**

    `xds send iti30 --event change --patient 'A2^^^HOSP_A&2.999.10&ISO' --other 'A1^^^HOSP_A&2.999.10&ISO'`

    `xds send iti30 --event link --patient 'A1^^^HOSP_A&2.999.10&ISO' --other 'B1^^^HOSP_B&2.999.20&ISO'`
    """
    if bool(given) == bool(patient):
        raise Usage("give either files with messages, or a --patient")
    if given:
        messages = mllp_exchange.messages_of(given)
    else:
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
        messages = [message_of(feed, datetime.now(UTC))]
    mllp_exchange.deliver(messages, to, timeout, exchange.form(as_json, as_er7), dry_run=dry_run)


def iti31(
    given: Files = None,
    patient: Patients = None,
    event: Annotated[str, typer.Option(metavar="TRIGGER", help="A02, A03, … as in MSH-9.2.")] = "A03",
    visit: Visit = None,
    name: Name = "",
    birth_date: BirthDate = None,
    sex: Sex = None,
    source: Source = "XDS|CLI",
    to: MllpTo = exchange.DEFAULT_MLLP,
    as_json: AsJson = False,
    as_er7: AsEr7 = False,
    dry_run: DryRun = False,
    timeout: Timeout = 30,
) -> None:
    """Tell of a visit: patient encounter management in HL7 v2 (ITI-31).

    **Examples**

    `xds send iti31 --event A02 --patient 'A1^^^HOSP_A&2.999.10&ISO' --visit PV1.2=I --visit PV1.3=CARDIO --visit PV1.3.2=389`
    """
    if bool(given) == bool(patient):
        raise Usage("give either files with messages, or a --patient")
    if given:
        messages = mllp_exchange.messages_of(given)
    else:
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
        messages = [write_encounter(feed, event, STRUCTURES[event], now=datetime.now(UTC))]
    mllp_exchange.deliver(messages, to, timeout, exchange.form(as_json, as_er7), dry_run=dry_run)


def iti64(
    local: Annotated[str, typer.Option(metavar="CX", help="The local identifier, which belongs to another patient now.")],
    new: Annotated[str, typer.Option(metavar="CX", help="The affinity domain's identifier of that patient.")],
    previous: Annotated[str, typer.Option(metavar="CX", help="The identifier that the local one belonged to before.")],
    system: Annotated[str, typer.Option(metavar="OID", help="OID of the sending system (MSH-3).")],
    subsumed: Annotated[
        str | None, typer.Option(metavar="CX", help="A local identifier that a merge replaced by the other one.")
    ] = None,
    source: Source = "XDS|CLI",
    to: MllpTo = exchange.DEFAULT_MLLP,
    as_json: AsJson = False,
    as_er7: AsEr7 = False,
    dry_run: DryRun = False,
    timeout: Timeout = 30,
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
    mllp_exchange.deliver([message], to, timeout, exchange.form(as_json, as_er7), dry_run=dry_run)
