"""Patients as identity feeds describe them, and the answers of a cross-reference.

Spec: ITI TF-2 3.8 (feed), 3.9 (query).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from typing import Final

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.metadata import Code

#: EventTypeCode of the audit trail.
PATIENT_IDENTITY_FEED = Code("ITI-8", "IHE Transactions", "Patient Identity Feed")
PATIENT_IDENTITY_MANAGEMENT = Code("ITI-30", "IHE Transactions", "Patient Identity Management")
PATIENT_ENCOUNTER_MANAGEMENT = Code("ITI-31", "IHE Transactions", "Patient Encounter Management")
PIX_QUERY = Code("ITI-9", "IHE Transactions", "PIX Query")

#: No honest name, address or telephone number is longer, in characters: HL7 v2 has 250 for a field.
LONGEST_VALUE: Final = 10_000


def longest_value(stated: object) -> int:
    """How long the longest text in demographics, or in a part of them, is."""
    if isinstance(stated, str):
        return len(stated)
    if isinstance(stated, tuple):
        return max(map(longest_value, stated), default=0)
    if is_dataclass(stated):
        return max(longest_value(getattr(stated, item.name)) for item in fields(stated))
    return 0


@dataclass(frozen=True, slots=True)
class PersonName:
    """HL7 XPN. `use` is XPN.7 (L legal or birth, D display or used, M maiden)."""

    family: str = ""
    given: str = ""
    further_given: str = ""
    suffix: str = ""
    prefix: str = ""
    use: str | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """HL7 XAD."""

    street: str = ""
    other: str = ""
    city: str = ""
    state: str = ""
    postal_code: str = ""
    country: str = ""
    use: str | None = None


@dataclass(frozen=True, slots=True)
class Demographics:
    """Traits of one identity as its source stated them. `birth_date` is a DTM, `sex` is HL7 table 0001.

    `national_identifiers` come from fields of their own (PID-19); their authority may be empty. `telephones` are those at home
    or mobile. `mother_given_name` belongs to `mother_maiden_name` (PID-6), `mother_identifiers` are hers (PID-21). `reliability`
    are codes of HL7 table 0445 (PID-32), which tell how far the source trusts the identity.
    """

    names: tuple[PersonName, ...] = ()
    birth_date: str | None = None
    sex: str | None = None
    addresses: tuple[Address, ...] = ()
    telephones: tuple[str, ...] = ()
    mother_maiden_name: str | None = None
    account_number: PatientIdentifier | None = None
    national_identifiers: tuple[PatientIdentifier, ...] = ()
    multiple_birth: bool | None = None
    birth_order: int | None = None
    death_time: str | None = None
    deceased: bool | None = None
    work_telephones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    language: str | None = None
    marital_status: str | None = None
    religion: str | None = None
    birth_place: str | None = None
    reliability: tuple[str, ...] = ()
    mother_given_name: str | None = None
    mother_identifiers: tuple[PatientIdentifier, ...] = ()


class FeedKind(StrEnum):
    """What a feed message does to an identity."""

    ADD = "add"
    REVISE = "revise"
    MERGE = "merge"
    #: The identifiers `subsumed` are replaced by `identifiers` (ADT^A47): one patient under another identifier, no merge of two.
    CHANGE = "change"
    LINK = "link"
    UNLINK = "unlink"
    #: The source has removed the patient of its one identifier (ITI-104).
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class IdentityFeed:
    """One feed message in any wire form: ITI-8, ITI-44, ITI-104.

    `identifiers` are those of the (surviving) patient, `subsumed` those of a merge's prior patient, or those that a change
    replaces, `linked` those of the other record of a link or unlink.
    `source` is `MSH-4|MSH-3` or the sending device of v3, `destination` whom it addressed; `message_id` makes a resent message
    harmless. `deleted` names the fields of `demographics` whose stored value the source deletes; those that are absent (None,
    empty) without being named there stay as they are. `event_type` names the transaction in the audit trail. `visit` holds fields
    of the visit that an encounter message tells of, by their HL7 names (`PV1.3.2`), with what is empty left out. `is_lenient`: a
    merge that names an unknown identifier is no error; an unknown prior one changes nothing, an unknown surviving one takes the
    place of the prior one (ITI-30). Otherwise an unknown one of the affinity domain is an error, as the Document Registry has it
    (ITI-8); in another domain an unknown surviving one still takes the place of the prior one.
    """

    kind: FeedKind
    source: str
    message_id: str
    identifiers: tuple[PatientIdentifier, ...]
    demographics: Demographics = field(default_factory=Demographics)
    subsumed: tuple[PatientIdentifier, ...] = ()
    account_number: str | None = None
    destination: str = ""
    deleted: tuple[str, ...] = ()
    event_type: Code = PATIENT_IDENTITY_FEED
    linked: tuple[PatientIdentifier, ...] = ()
    visit: Mapping[str, str] = field(default_factory=dict)
    is_lenient: bool = False


@dataclass(frozen=True, slots=True)
class IdentityQuery:
    """What the audit trail keeps of an identity query: who asked whom, under which ids, and the message as text."""

    source: str
    destination: str
    message_id: str
    tag: str
    text: str
    event_type: Code = PIX_QUERY


class IdentityProblemKind(StrEnum):
    """Why a feed or an identity query was refused."""

    REQUIRED_MISSING = "required"
    UNKNOWN_IDENTIFIER = "unknown identifier"
    UNKNOWN_DOMAIN = "unknown domain"
    NOT_ISSUER = "not the issuer"
    #: The identifier to which a patient's one is to be changed is in use already.
    DUPLICATE = "duplicate"
    INVALID = "invalid"
    #: The caller asks more than it may.
    TOO_MANY = "too many"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class IdentityProblem:
    """One refusal. `repetition` counts from 1 and tells which of several identifiers or domains is meant.

    `component` is where in a CX the fault lies: 1 the id, 4 the assigning authority. `field` names the argument.
    """

    kind: IdentityProblemKind
    field: str
    text: str
    repetition: int = 1
    component: int = 1


@dataclass(frozen=True, slots=True)
class CrossReference:
    """Answer to a PIX query: the corresponding identifiers grouped by domain, or the problems."""

    identifiers: tuple[PatientIdentifier, ...] = ()
    problems: tuple[IdentityProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class IdentityDomain:
    """A patient identification domain of the configuration; `sources` empty means that anybody may issue.

    `uri` is its name in FHIR (`Identifier.system`), where that is not the OID.
    """

    authority: AssigningAuthority
    sources: tuple[str, ...] = ()
    uri: str | None = None


@dataclass(frozen=True, slots=True)
class IdentitySubscriber:
    """Who is told when the identifiers of a person change, and about which domains (none: all).

    `wire` is `v2` (ITI-10) or `v3` (ITI-46). `endpoint` is `mllp://host:port` or a URL. `name` is what it is addressed by:
    `facility|application` in v2, the OID of its device in v3.
    """

    name: str
    endpoint: str
    wire: str = "v2"
    domains: tuple[AssigningAuthority, ...] = ()


@dataclass(frozen=True, slots=True)
class IdentityUpdate:
    """One notification: the identifiers that mean one person from now on, those of one domain together.

    `message_id` stays the same when the notification is sent again. `occurred` is in milliseconds since 1970.
    Spec: ITI TF-2 3.10.4.1.2, 3.46.4.1.2.
    """

    identifiers: tuple[PatientIdentifier, ...]
    message_id: str
    occurred: int


@dataclass(frozen=True, slots=True)
class StatedDemographics:
    """What one source says about a person. `updated` is when it last said so, in milliseconds since 1970."""

    source: str
    demographics: Demographics
    updated: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """A person as the PIX Manager sees her: every active identifier, and what each source states.

    `key` orders persons by the time they became known. `affinity_identifier` is her identifier in the affinity domain.
    """

    key: int
    affinity_identifier: PatientIdentifier | None
    identifiers: tuple[PatientIdentifier, ...]
    stated: tuple[StatedDemographics, ...] = ()
