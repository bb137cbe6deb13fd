"""A person in HL7 version 3: names, addresses, telecommunication, times, and the roles that carry her identifiers.

Identifiers stand on roles: on the patient, and on `asOtherIDs` (and the roles of citizen, employee, student and member), each
with the OID of its domain as root. The number of the United States' social security is a trait, as PID-19 is in HL7 v2.

Tolerated deviations: a name that is plain text; names, identifiers and codes that are null; `U`, `O` and small letters as
administrative gender; an identifier without root whose scoping organization has one, or that has an assigningAuthorityName alone;
a name as root, which is taken for the namespace; times with day or month 00 (kept to the precision that is left).

Spec: ITI TF-2 3.44.4.1.2, Appendix E.2, R (mapping to v2); HL7 V3 data types R1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from lxml import etree

from xds.model.identifiers import AssigningAuthority, PatientIdentifier, is_dtm, is_oid
from xds.model.patient import Demographics, PersonName
from xds.model.vocabulary import US_SOCIAL_SECURITY
from xds.wire.hl7v3 import (
    Detail,
    DetailCode,
    InstanceIdentifier,
    attribute,
    child,
    children,
    code,
    coded,
    content,
    location,
    null,
    read_id,
    shown,
    text,
    valued,
    write_id,
)
from xds.wire.hl7v3_names import BIRTH, read_address, read_names, read_telecom, write_address, write_name, write_telecom

_NO_ID: Final = InstanceIdentifier()

_RELATIONSHIPS: Final = "2.16.840.1.113883.5.111"
_MOTHERS: Final = frozenset({"MTH", "NMTH"})
#: Roles of a person beside the patient whose ids are patient identifiers.
_ROLES: Final = ("asOtherIDs", "asCitizen", "asEmployee", "asStudent", "asMember")

#: administrativeGenderCode and HL7 table 0001.
_SEXES: Final = {"M": "M", "F": "F", "UN": "O", "O": "O", "U": "U", "UNK": "U"}
_SEXES_OUT: Final = {"M": "M", "F": "F", "O": "UN", "A": "UN"}
#: Traits, and the element of a person that has them.
_NULLABLE: Final = {
    "telephones work_telephones emails": ("telecom",),
    "sex": ("administrativeGenderCode",),
    "birth_date": ("birthTime",),
    "deceased": ("deceasedInd",),
    "death_time": ("deceasedTime",),
    "multiple_birth": ("multipleBirthInd",),
    "birth_order": ("multipleBirthOrderNumber",),
    "addresses": ("addr",),
    "marital_status": ("maritalStatusCode",),
    "religion": ("religiousAffiliationCode",),
    "birth_place": ("birthPlace",),
    "language": ("languageCommunication", "languageCode"),
}
_NOBODY: Final = Demographics()
_TIME_TAIL: Final = re.compile(r"(\.[0-9]+)?([+-][0-9]{1,4})?\Z")
#: What a root may be besides an OID and a UUID: a name that HL7 reserved, or that somebody took for one.
_RESERVED_NAME: Final = re.compile(r"(?![0-9A-Fa-f]{8}-)[A-Za-z][A-Za-z0-9-]*\Z")
_CODE: Final = re.compile(r"\S+\Z")


# ------------------------------------------------------------------ identifiers


def authority_of(identifier: InstanceIdentifier) -> AssigningAuthority:
    """The assigning authority that a root and an assigningAuthorityName name. Spec: ITI TF-2 E.2."""
    return AssigningAuthority(identifier.name or None, identifier.root or None)


def instance_of(authority: AssigningAuthority, value: str = "") -> InstanceIdentifier:
    """An II; what is no OID cannot be a root."""
    return InstanceIdentifier(authority.oid if authority.oid and is_oid(authority.oid) else "", value, authority.namespace or "")


def read_patient_id(element: etree._Element, scope: InstanceIdentifier = _NO_ID) -> PatientIdentifier | Detail | None:
    """A patient identifier, what is wrong with it, or None when it is null. `scope` is the id of the scoping organization."""
    identifier = read_id(element)
    if not identifier.extension and (attribute(element, "nullFlavor") or identifier == InstanceIdentifier()):
        return None
    if not identifier.extension:
        return Detail(DetailCode.ATTRIBUTE_MISSING, "a patient identifier needs an extension", location(element))
    if not identifier.root and not identifier.name:
        identifier = InstanceIdentifier(scope.root, identifier.extension, scope.name)
    if _RESERVED_NAME.match(identifier.root) and not identifier.name:
        return PatientIdentifier(identifier.extension, AssigningAuthority(identifier.root))
    if identifier.root and not is_oid(identifier.root):
        text = f"the root of a patient identifier must be the OID of its domain, not {shown(identifier.root)}"
        return Detail(DetailCode.DATA_TYPE, text, location(element))
    return PatientIdentifier(identifier.extension, authority_of(identifier))


def read_patient_ids(patient: etree._Element) -> Iterator[tuple[etree._Element, PatientIdentifier | Detail]]:
    """Every patient identifier with the element it stands in, those of the patient role first; null ones are left out."""
    for element in children(patient, "id"):
        if (found := read_patient_id(element)) is not None:
            yield element, found
    for name in _ROLES:
        for role in children(patient, "patientPerson", name):
            scope = read_id(child(role, "scopingOrganization", "id"))
            for element in children(role, "id"):
                if (found := read_patient_id(element, scope)) is not None:
                    yield element, found


def is_trait(identifier: PatientIdentifier) -> bool:
    """Whether an identifier is a trait of the person instead of a key in a patient identification domain."""
    return identifier.authority.oid == US_SOCIAL_SECURITY


# ------------------------------------------------------------------ times


def read_date(value: str) -> str | None:
    """A TS as DTM without fraction and zone, cut before a day or month 00; None when it is no date."""
    digits = _TIME_TAIL.sub("", value.strip())
    if re.fullmatch(r"[0-9]{6}00[0-9]*", digits):
        digits = digits[:6]
    if re.fullmatch(r"[0-9]{4}00", digits):
        digits = digits[:4]
    return digits if is_dtm(digits) else None


# ------------------------------------------------------------------ persons


def read_demographics(person: etree._Element | None) -> tuple[Demographics, list[Detail]]:
    """The traits of a patientPerson, and what is wrong with them: SYN102 (a time), SYN103 (administrative gender)."""
    if person is None:
        return Demographics(), []
    details: list[Detail] = []
    telecom = [read_telecom(element) for element in children(person, "telecom")]
    order = attribute(child(person, "multipleBirthOrderNumber"), "value")
    mother = _mother(person)
    return Demographics(
        names=read_names(children(person, "name")),
        birth_date=_time(person, "birthTime", details),
        sex=_sex(person, details),
        addresses=tuple(found for element in children(person, "addr") if (found := read_address(element))),
        telephones=tuple(value for kind, value in telecom if kind == "telephone"),
        work_telephones=tuple(value for kind, value in telecom if kind == "work"),
        emails=tuple(value for kind, value in telecom if kind == "email"),
        mother_maiden_name=mother.family or None,
        mother_given_name=mother.given or None,
        mother_identifiers=tuple(_mother_identifiers(person)),
        multiple_birth=_flag(person, "multipleBirthInd"),
        birth_order=int(order) if order.isdecimal() and len(order) < 4 else None,
        death_time=_time(person, "deceasedTime", details),
        deceased=_flag(person, "deceasedInd"),
        language=_language(person),
        marital_status=code(person, "maritalStatusCode") or None,
        religion=code(person, "religiousAffiliationCode") or None,
        birth_place=_birth_place(child(person, "birthPlace")),
    ), details


def nullified(person: etree._Element | None, stated: Demographics) -> tuple[str, ...]:
    """The traits that a person has as null and nothing else: her source has them no more, as `""` says in HL7 v2.

    Names are none of them: the schema wants a name, and whoever has nothing to say of it sends a null one.
    Spec: HL7 V3 data types R1 (nullFlavor); ITI TF-2 3.44.4.1.1 (a revision of patient information).
    """
    if person is None:
        return ()
    silent = [name for name, parts in _NULLABLE.items() if _are_null(children(person, *parts)) for name in name.split()]
    mothers = [name for item in _relationships(person) for name in children(item, "relationshipHolder1", "name")]
    silent += ["mother_maiden_name", "mother_given_name"] if _are_null(mothers) else []
    return tuple(name for name in silent if getattr(stated, name) == getattr(_NOBODY, name))


def _are_null(elements: Sequence[etree._Element]) -> bool:
    return bool(elements) and all(attribute(element, "nullFlavor") for element in elements)


def _time(person: etree._Element, name: str, details: list[Detail]) -> str | None:
    element = child(person, name)
    value = attribute(element, "value")
    found = read_date(value)
    if element is not None and value and found is None:
        details.append(Detail(DetailCode.DATA_TYPE, f"{name} is not a date: {shown(value)}", location(element)))
    return found


def read_sex(element: etree._Element, details: list[Detail]) -> str | None:
    """An administrative gender as a value of HL7 table 0001; None when it is null for another reason than UNK."""
    value = attribute(element, "code").upper()
    if not value:
        return "U" if attribute(element, "nullFlavor") == "UNK" else None
    if value not in _SEXES:
        text = f"the administrative gender must be M, F or UN, not {shown(value)}"
        details.append(Detail(DetailCode.UNKNOWN_CODE, text, location(element)))
    return _SEXES.get(value)


def _sex(person: etree._Element, details: list[Detail]) -> str | None:
    element = child(person, "administrativeGenderCode")
    return None if element is None else read_sex(element, details)


def _flag(person: etree._Element, name: str) -> bool | None:
    return {"true": True, "1": True, "false": False, "0": False}.get(attribute(child(person, name), "value"))


def _relationships(person: etree._Element) -> list[etree._Element]:
    """The relationships with the mother."""
    return [item for item in children(person, "personalRelationship") if code(item, "code") in _MOTHERS]


def _mother_identifiers(person: etree._Element) -> Iterator[PatientIdentifier]:
    """Those on the relationship, which is a role; what cannot be one is left out."""
    for relationship in _relationships(person):
        for element in children(relationship, "id"):
            if isinstance(found := read_patient_id(element), PatientIdentifier):
                yield found


def _mother(person: etree._Element) -> PersonName:
    """The name of the mother, that of her birth if there are several; an empty one when it is not told."""
    for relationship in _relationships(person):
        names = read_names(children(relationship, "relationshipHolder1", "name"))
        at_birth = [name for name in names if name.use == BIRTH]
        if found := next((name for name in (*at_birth, *names) if name.family), None):
            return found
    return PersonName()


def _language(person: etree._Element) -> str | None:
    spoken = children(person, "languageCommunication")
    preferred = [item for item in spoken if _flag(item, "preferenceInd")]
    return next((found for item in (*preferred, *spoken) if (found := code(item, "languageCode"))), None)


def _birth_place(element: etree._Element | None) -> str | None:
    addresses = (child(element, "birthplace", "addr"), child(element, "addr"))
    places = (content(child(element, "birthplace", "name")), *(content(child(address, "city")) for address in addresses))
    return next(filter(None, places), None)


def _coded(name: str, value: str) -> str:
    """A code, or what another wire form had in its place."""
    return coded(name, value) if _CODE.match(value) else f'<{name} nullFlavor="OTH">{text("originalText", value)}</{name}>'


def write_person(demographics: Demographics, roles: str = "") -> str:
    """The content of a patientPerson; `roles` are those that carry other identifiers, as ready XML."""
    stated = demographics
    written = [write_name(name) for name in stated.names] or [null("name", "UNK")]
    written += [write_telecom(value, use="HP") for value in stated.telephones]
    written += [write_telecom(value, use="WP") for value in stated.work_telephones]
    written += [write_telecom(value, "mailto") for value in stated.emails]
    if stated.sex:
        known = _SEXES_OUT.get(stated.sex)
        written.append(coded("administrativeGenderCode", known) if known else null("administrativeGenderCode", "UNK"))
    for name, value in (
        ("birthTime", stated.birth_date),
        ("deceasedInd", stated.deceased),
        ("deceasedTime", stated.death_time),
        ("multipleBirthInd", stated.multiple_birth),
        ("multipleBirthOrderNumber", stated.birth_order),
    ):
        if value is not None:
            written.append(valued(name, value))
    written += [write_address(address) for address in stated.addresses]
    for name, told in (("maritalStatusCode", stated.marital_status), ("religiousAffiliationCode", stated.religion)):
        if told:
            written.append(_coded(name, told))
    written.append(roles)
    if stated.mother_maiden_name or stated.mother_identifiers:
        written.append(_write_mother(stated))
    if stated.birth_place:
        place = f'<birthplace classCode="PLC" determinerCode="INSTANCE">{text("name", stated.birth_place)}</birthplace>'
        written.append(f'<birthPlace classCode="BIRTHPL">{place}</birthPlace>')
    if stated.language:
        written.append(f"<languageCommunication>{_coded('languageCode', stated.language)}</languageCommunication>")
    return "".join(written)


def _write_mother(stated: Demographics) -> str:
    ids = "".join(write_id(instance_of(item.authority, item.value)) for item in stated.mother_identifiers)
    name = PersonName(stated.mother_maiden_name or "", stated.mother_given_name or "")
    return (
        f'<personalRelationship classCode="PRS">{ids}{coded("code", "MTH", _RELATIONSHIPS)}'
        '<relationshipHolder1 classCode="PSN" determinerCode="INSTANCE">'
        f"{write_name(name) if name.family else null('name', 'UNK')}"
        "</relationshipHolder1></personalRelationship>"
    )


# ------------------------------------------------------------------ patients


def _organization(name: str, authority: AssigningAuthority, contact: str = "") -> str:
    return f'<{name} classCode="ORG" determinerCode="INSTANCE">{write_id(instance_of(authority))}{contact}</{name}>'


def _other_ids(authority: AssigningAuthority, ids: str, kind: str = "PAT") -> str:
    return f'<asOtherIDs classCode="{kind}">{ids}{_organization("scopingOrganization", authority)}</asOtherIDs>'


def write_patient(
    identifiers: Sequence[PatientIdentifier],
    person: Demographics,
    *,
    missing: Sequence[AssigningAuthority] = (),
    subject_of: str = "",
    is_active: bool = True,
) -> str:
    """A patient with her identifiers: those of the first domain on the patient role, those of each other on a role of its own.

    `missing` are the domains in which she has none, although somebody asked. `subject_of` is ready XML.
    Spec: ITI TF-2 E.2, 3.45.4.2.2, 3.47.4.2.2.
    """
    grouped: dict[AssigningAuthority, list[str]] = {}
    for item in identifiers:
        grouped.setdefault(item.authority, []).append(write_id(instance_of(item.authority, item.value)))
    first, *others = grouped.items() or [(AssigningAuthority(), [null("id", "NI")])]
    roles = [_other_ids(authority, "".join(ids)) for authority, ids in others]
    roles += [_other_ids(authority, null("id", "NI")) for authority in missing]
    national = [item for item in person.national_identifiers if item.authority not in grouped and item.authority.oid]
    roles += [_other_ids(item.authority, write_id(instance_of(item.authority, item.value)), "CIT") for item in national]
    described = write_person(person, "".join(roles))
    provider = _organization("providerOrganization", first[0], '<contactParty classCode="CON"/>')
    return (
        f'<patient classCode="PAT">{"".join(first[1])}{coded("statusCode", "active" if is_active else "terminated")}'
        f'<patientPerson classCode="PSN" determinerCode="INSTANCE">{described}</patientPerson>{provider}{subject_of}</patient>'
    )


def registration_event(patient: str, custodian: InstanceIdentifier, more: str = "") -> str:
    """A subject with a registration event around a patient; `custodian` is the device that keeps the record."""
    return (
        '<subject typeCode="SUBJ"><registrationEvent classCode="REG" moodCode="EVN">'
        f'{null("id", "NA")}{coded("statusCode", "active")}<subject1 typeCode="SBJ">{patient}</subject1>'
        f'<custodian typeCode="CST"><assignedEntity classCode="ASSIGNED">{write_id(custodian)}</assignedEntity></custodian>'
        f"{more}</registrationEvent></subject>"
    )
