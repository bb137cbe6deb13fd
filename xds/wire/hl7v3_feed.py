"""Patient identity feeds and update notifications in HL7 version 3 (PRPA_IN201301UV02, 302, 304).

Tolerated deviations: no custodian, no providerOrganization, no patient/statusCode; patient ids of other domains than that of the
providerOrganization on the patient role; no name (a newborn); a merge with demographics, which are taken for a revision.

Spec: ITI TF-2 3.44.4 (feed), 3.46.4 (notification).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from lxml import etree

from xds.model.identifiers import PatientIdentifier
from xds.model.metadata import Code
from xds.model.patient import LONGEST_VALUE, Demographics, FeedKind, IdentityFeed, IdentityProblem, PersonName, longest_value
from xds.wire.hl7v3 import (
    INTERACTIONS,
    Detail,
    DetailCode,
    Transmission,
    child,
    children,
    coded,
    detail_of,
    location,
    message_details,
    read_transmission,
    write_id,
    write_message,
)
from xds.wire.hl7v3_person import (
    instance_of,
    is_trait,
    nullified,
    read_demographics,
    read_patient_id,
    read_patient_ids,
    registration_event,
    write_patient,
)

#: EventTypeCodes of the audit trail.
IDENTITY_FEED_V3: Final = Code("ITI-44", "IHE Transactions", "Patient Identity Feed HL7 V3")
UPDATE_NOTIFICATION_V3: Final = Code("ITI-46", "IHE Transactions", "PIXV3 Update Notification")

ADDED: Final = "PRPA_IN201301UV02"
REVISED: Final = "PRPA_IN201302UV02"
MERGED: Final = "PRPA_IN201304UV02"
_KINDS: Final = {ADDED: FeedKind.ADD, REVISED: FeedKind.REVISE, MERGED: FeedKind.MERGE}
#: The interaction that tells of each kind of feed.
INTERACTIONS_OF_FEEDS: Final = {kind: name for name, kind in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class ReceivedFeed:
    """A feed with the places of its identifiers in the message, as XPaths: `identifiers` and `subsumed` in their order."""

    transmission: Transmission
    feed: IdentityFeed | None
    details: tuple[Detail, ...] = ()
    identifiers: tuple[str, ...] = ()
    subsumed: tuple[str, ...] = ()

    def detail(self, problem: IdentityProblem) -> Detail:
        """A problem of the PIX Manager at its place in the message."""
        places = {"identifiers": self.identifiers, "subsumed": self.subsumed}.get(problem.field, ())
        if self.feed is None or problem.repetition > len(places):
            return detail_of(problem, None)
        given = self.feed.identifiers if problem.field == "identifiers" else self.feed.subsumed
        identifier = given[problem.repetition - 1]
        received = instance_of(identifier.authority, identifier.value)
        return detail_of(problem, places[problem.repetition - 1], received.full)


def read_feed(root: etree._Element) -> ReceivedFeed:
    """A feed, and everything that is wrong with it: the feed is what can be read of it then, if that is a patient.

    Identifiers keep whatever their authority states: the PIX Manager completes them.
    Errors: those of `message_details`; SYN100 (no patient, no prior registration), SYN101 (no identifier), SYN102 (a time, a
    root, a value that is too long), SYN103 (gender), SYN110 (several subjects, a replacement where there is none), SYN112
    (several prior identifiers).
    Spec: ITI TF-2 3.44.4.1.2, 3.44.4.2.2.
    """
    transmission = read_transmission(root)
    details = message_details(root)
    if details:
        return ReceivedFeed(transmission, None, tuple(details))
    kind = _KINDS[transmission.interaction]
    event = child(root, "controlActProcess", "subject", "registrationEvent")
    patient = child(event, "subject1", "patient")
    details = list(_structure_details(root, event, patient))
    if patient is None:
        return ReceivedFeed(transmission, None, tuple(details))
    own = list(_identifiers(patient, details))
    prior = list(_prior(event, kind, details))
    demographics, wrong = read_demographics(child(patient, "patientPerson"))
    details += wrong
    if longest_value(demographics) > LONGEST_VALUE:
        text = f"a value has more than {LONGEST_VALUE} characters"
        details.append(Detail(DetailCode.DATA_TYPE, text, f"{location(patient)}/patientPerson"))
    national = tuple(item for _, item in own if is_trait(item))
    keys = [(element, item) for element, item in own if not is_trait(item)]
    if not keys and not any(detail.location and "/patient/" in detail.location for detail in details):
        text = "the patient needs an identifier"
        details.append(Detail(DetailCode.ATTRIBUTE_MISSING, text, f"{location(patient)}/id"))
    feed = IdentityFeed(
        kind=kind,
        source=transmission.sender.system,
        destination=transmission.receiver.system,
        message_id=transmission.message_id,
        identifiers=tuple(item for _, item in keys),
        demographics=replace(demographics, national_identifiers=national),
        subsumed=tuple(item for _, item in prior),
        deleted=() if kind is FeedKind.MERGE else nullified(child(patient, "patientPerson"), demographics),
        event_type=IDENTITY_FEED_V3,
    )
    return ReceivedFeed(
        transmission,
        feed,
        tuple(details),
        tuple(location(element) for element, _ in keys),
        tuple(location(element) for element, _ in prior),
    )


def _structure_details(root: etree._Element, event: etree._Element | None, patient: etree._Element | None) -> Iterator[Detail]:
    act = child(root, "controlActProcess")
    if act is None:
        return
    if len(children(act, "subject")) > 1:
        text = "a feed tells of one patient: there must be one subject"
        yield Detail(DetailCode.TOO_MANY_ASSOCIATIONS, text, f"{location(act)}/subject[2]")
    if event is None:
        text = "subject/registrationEvent is required"
        yield Detail(DetailCode.ASSOCIATION_MISSING, text, f"{location(act)}/subject/registrationEvent")
    elif patient is None:
        yield Detail(DetailCode.ASSOCIATION_MISSING, "subject1/patient is required", f"{location(event)}/subject1/patient")


def _identifiers(patient: etree._Element, details: list[Detail]) -> Iterator[tuple[etree._Element, PatientIdentifier]]:
    for element, found in read_patient_ids(patient):
        if isinstance(found, Detail):
            details.append(found)
        else:
            yield element, found


def _prior(
    event: etree._Element | None, kind: FeedKind, details: list[Detail]
) -> Iterator[tuple[etree._Element, PatientIdentifier]]:
    """The identifier that a merge subsumes. Spec: ITI TF-2 3.44.4.2.2 (one replacement, one prior role with one id)."""
    replacements = children(event, "replacementOf")
    if kind is not FeedKind.MERGE:
        if replacements:
            text = "replacementOf has no place in a feed that is no merge"
            details.append(Detail(DetailCode.TOO_MANY_ASSOCIATIONS, text, location(replacements[0])))
        return
    assert event is not None
    place = f"{location(event)}/replacementOf/priorRegistration/subject1/priorRegisteredRole/id"
    if len(replacements) > 1:
        text = "a merge holds one pair of patients: there must be one replacementOf"
        details.append(Detail(DetailCode.TOO_MANY_ASSOCIATIONS, text, location(replacements[1])))
    elements = [
        element
        for replacement in replacements[:1]
        for element in children(replacement, "priorRegistration", "subject1", "priorRegisteredRole", "id")
    ]
    if len(elements) > 1:
        details.append(Detail(DetailCode.TOO_MANY_VALUES, "priorRegisteredRole must have one id", location(elements[1])))
    found = [(element, item) for element in elements if (item := read_patient_id(element)) is not None]
    if not found:
        details.append(Detail(DetailCode.ATTRIBUTE_MISSING, "a merge needs the prior identifier", place))
    for element, item in found:
        if isinstance(item, Detail):
            details.append(item)
        else:
            yield element, item


# ------------------------------------------------------------------ writing


def _registry_message(transmission: Transmission, subject: str, *, now: datetime) -> bytes:
    trigger = transmission.interaction.replace("_IN", "_TE")
    act = (
        f'<controlActProcess classCode="CACT" moodCode="EVN">{coded("code", trigger, INTERACTIONS)}{subject}</controlActProcess>'
    )
    return write_message(transmission, act, now=now)


def write_feed(feed: IdentityFeed, transmission: Transmission, *, now: datetime) -> bytes:
    """A feed; the interaction of its kind is put into the wrapper. Spec: ITI TF-2 3.44.4.1.2, 3.44.4.2.2."""
    wrapper = replace(transmission, interaction=INTERACTIONS_OF_FEEDS[feed.kind])
    patient = write_patient(feed.identifiers, feed.demographics)
    prior = "".join(_write_prior(item) for item in feed.subsumed)
    return _registry_message(wrapper, registration_event(patient, wrapper.sender.device, prior), now=now)


def _write_prior(identifier: PatientIdentifier) -> str:
    role = write_id(instance_of(identifier.authority, identifier.value))
    return (
        '<replacementOf typeCode="RPLC"><priorRegistration classCode="REG" moodCode="EVN">'
        f'{coded("statusCode", "obsolete")}<subject1 typeCode="SBJ"><priorRegisteredRole classCode="PAT">{role}'
        "</priorRegisteredRole></subject1></priorRegistration></replacementOf>"
    )


def write_notification(
    identifiers: Sequence[PatientIdentifier], names: Sequence[PersonName], transmission: Transmission, *, now: datetime
) -> bytes:
    """That these identifiers, and no others, now mean one patient, of that name. Spec: ITI TF-2 3.46.4.1.2."""
    wrapper = replace(transmission, interaction=REVISED)
    return _registry_message(
        wrapper, registration_event(write_patient(identifiers, Demographics(tuple(names))), wrapper.sender.device), now=now
    )
