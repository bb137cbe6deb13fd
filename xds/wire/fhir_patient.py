"""The Patient resource and the demographics of the PIX Manager, in both directions.

Tolerated when reading: a name of which only the text is given counts as a family name. `telecom` that is no telephone and no
e-mail address, addresses without content, photographs, contacts other than the mother, and extensions that are not named here
are not kept. The mother's given name stands in the contact whose relationship is `MTH`; her maiden name is an extension alone.

Spec: FHIR R4 8.1; PIXm Patient, PDQm Patient; HL7 Version 2 to FHIR for the codes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Final

from xds.model.demographics_query import PatientMatch
from xds.model.identifiers import PatientIdentifier
from xds.model.patient import LONGEST_VALUE, Address, Demographics, PersonName, longest_value
from xds.wire.fhir_identifiers import IdentifierSystems, is_trait
from xds.wire.fhir_structure import Element, Issue

PROFILE: Final = "https://profiles.ihe.net/ITI/PDQm/StructureDefinition/IHE.PDQm.Patient"
MOTHERS_MAIDEN_NAME: Final = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"
BIRTH_PLACE: Final = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"
#: The French core profile's statement of how far an identity is trusted: PID-32, HL7 table 0445.
RELIABILITY: Final = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability"
_RELIABILITY_CODES: Final = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0445"
_IDENTITY_STATUS: Final = "identityStatus"

_URI: Final = "urn:ietf:rfc:3986"
_LANGUAGES: Final = "urn:ietf:bcp:47"
_MARITAL_STATUS: Final = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"
_NULL_FLAVOR: Final = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"

_GENDERS: Final[Mapping[str, str]] = {"M": "male", "F": "female", "O": "other", "A": "other", "N": "other", "U": "unknown"}
SEXES: Final[Mapping[str, str]] = {"male": "M", "female": "F", "other": "O", "unknown": "U"}

#: HL7 table 0200 by name-use, and back.
_NAME_TYPES: Final[Mapping[str, str]] = {
    "official": "L",
    "usual": "D",
    "maiden": "M",
    "nickname": "N",
    "anonymous": "S",
    "old": "A",
    "temp": "TEMP",
}
_NAME_USES: Final[Mapping[str, str]] = {"B": "official", **{code: use for use, code in _NAME_TYPES.items()}}
#: HL7 table 0190 by address-use, and back.
_ADDRESS_TYPES: Final[Mapping[str, str]] = {"home": "H", "work": "B", "temp": "C", "old": "BA", "billing": "BI"}
_ADDRESS_USES: Final[Mapping[str, str]] = {"O": "work", **{code: use for use, code in _ADDRESS_TYPES.items()}}
#: HL7 table 0002 by v3-MaritalStatus, and back.
_MARITAL_CODES: Final[Mapping[str, str]] = {
    "A": "N",
    "C": "C",
    "D": "D",
    "I": "I",
    "L": "A",
    "M": "M",
    "S": "S",
    "T": "P",
    "U": "B",
    "W": "W",
}
_MARITAL_STATES: Final[Mapping[str, str]] = {"E": "L", **{code: state for state, code in _MARITAL_CODES.items()}}

_ROLES: Final = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
#: What the value set of relationships has for a mother, beside her role.
_NEXT_OF_KIN: Final[Element] = {"system": "http://terminology.hl7.org/CodeSystem/v2-0131", "code": "N"}
_MOTHERS: Final = frozenset({"MTH", "NMTH"})
#: What a Patient cannot say, so that its silence deletes nothing.
_UNSPOKEN: Final = frozenset({"account_number", "religion", "mother_identifiers"})
_NOBODY: Final = Demographics()


def read_demographics(patient: Element, systems: IdentifierSystems | None = None) -> Demographics:
    """What a Patient says of a person, with the numbers among her identifiers that are traits when `systems` tell them.

    The resource was checked before.
    """
    deceased, death_time = _deceased(patient)
    order = patient.get("multipleBirthInteger")
    telephones, work, emails = _telecom(patient.get("telecom", ()))
    mother = _mother(patient)
    return Demographics(
        national_identifiers=_nationals(patient, systems) if systems else (),
        names=tuple(name for item in patient.get("name", ()) if (name := _read_name(item)) != PersonName(use=name.use)),
        birth_date=patient["birthDate"].replace("-", "") if "birthDate" in patient else None,
        sex=SEXES.get(patient.get("gender", "")),
        addresses=tuple(found for item in patient.get("address", ()) if (found := _read_address(item)) != Address(use=found.use)),
        telephones=telephones,
        mother_maiden_name=mother.family or None,
        mother_given_name=mother.given or None,
        multiple_birth=True if order is not None else patient.get("multipleBirthBoolean"),
        birth_order=order,
        death_time=death_time,
        deceased=deceased,
        work_telephones=work,
        emails=emails,
        language=_language(patient.get("communication", ())),
        marital_status=_marital_status(patient.get("maritalStatus", {})),
        birth_place=_birth_place(_extension(patient, BIRTH_PLACE).get("valueAddress", {})),
        reliability=_reliability(_extension(patient, RELIABILITY)),
    )


def _nationals(patient: Element, systems: IdentifierSystems) -> tuple[PatientIdentifier, ...]:
    found = (systems.read(item) for item in patient.get("identifier", ()) if item.get("use") != "old")
    return tuple(dict.fromkeys(item for item in found if item is not None and is_trait(item.authority)))


def unstated(demographics: Demographics) -> tuple[str, ...]:
    """The traits that a Patient is silent about, which its source therefore does not state any more: an update replaces."""
    return tuple(
        item.name
        for item in fields(Demographics)
        if item.name not in _UNSPOKEN and getattr(demographics, item.name) == getattr(_NOBODY, item.name)
    )


def profile_issues(patient: Element) -> list[Issue]:
    """What the PIXm Patient profile forbids and a Patient does not, and values that are longer than anybody's."""
    issues = [
        Issue("business-rule", f"Patient.{name}: the profile forbids it", f"Patient.{name}")
        for name in ("modifierExtension", "implicitRules")
        if name in patient
    ]
    if longest_value(read_demographics(patient)) > LONGEST_VALUE:
        issues.append(Issue("too-long", f"Patient: a value has more than {LONGEST_VALUE} characters", "Patient"))
    return issues


def write_patient(match: PatientMatch, systems: IdentifierSystems, *, is_whole: bool = True) -> Element:
    """The Patient resource of a person, with her golden record. A part of her identifiers is no version of it.

    Spec: PDQm Patient profile.
    """
    known = match.demographics
    meta = {"lastUpdated": instant(match.updated), "profile": [PROFILE]}
    found: Element = {"resourceType": "Patient", "id": str(match.key)}
    found["meta"] = {"versionId": version_of(match), **meta} if is_whole else meta
    extensions = list(_extensions(known))
    if extensions:
        found["extension"] = extensions
    url = f"{systems.base}/Patient/{match.key}"
    # Where nothing else may be told of a person, her resource is her identifier. Spec: PDQm Patient, option 1.
    domains = {item.authority.oid for item in match.identifiers}
    traits = [
        item for item in known.national_identifiers if is_whole and item.authority.oid and item.authority.oid not in domains
    ]
    identifiers = [systems.write(item) for item in (*match.identifiers, *traits)]
    found["identifier"] = identifiers or [{"system": _URI, "value": url}]
    found["active"] = match.active
    found["name"] = [name for item in known.names if (name := _write_name(item))]
    found["telecom"] = [
        *({"system": "phone", "value": item, "use": "home"} for item in known.telephones),
        *({"system": "phone", "value": item, "use": "work"} for item in known.work_telephones),
        *({"system": "email", "value": item} for item in known.emails),
    ]
    found["gender"] = _GENDERS.get(known.sex or "")
    found["birthDate"] = date_of(known.birth_date)
    death = date_of(known.death_time)
    found |= {"deceasedDateTime": death} if death else {"deceasedBoolean": known.deceased}
    found["address"] = [item for each in known.addresses if (item := _write_address(each))]
    found["maritalStatus"] = _write_marital_status(known.marital_status)
    births = {"multipleBirthInteger": known.birth_order} if known.birth_order else {"multipleBirthBoolean": known.multiple_birth}
    found |= births
    if known.mother_given_name:
        relationship = {"coding": [_NEXT_OF_KIN, {"system": _ROLES, "code": "MTH"}]}
        name = {"use": "maiden", "family": known.mother_maiden_name, "given": [known.mother_given_name]}
        named = {key: value for key, value in name.items() if value}
        found["contact"] = [{"relationship": [relationship], "name": named}]
    if known.language:
        coding = {"system": _LANGUAGES, "code": known.language}
        found["communication"] = [{"language": {"coding": [coding]}, "preferred": True}]
    if match.replaced_by is not None:
        found["link"] = [{"other": {"reference": f"Patient/{match.replaced_by}"}, "type": "replaced-by"}]
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def version_of(match: PatientMatch) -> str:
    """`meta.versionId`: when a source said something new, and a digest, since a link or a merge changes a person, too."""
    told = repr((match.identifiers, match.demographics, match.active, match.replaced_by))
    return f"{match.updated}-{hashlib.blake2b(told.encode(), digest_size=6).hexdigest()}"


def instant(milliseconds: int) -> str:
    """An instant in UTC from milliseconds since 1970."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def date_of(dtm: str | None) -> str | None:
    """A FHIR date from the beginning of a DTM; None when it has none."""
    digits = (dtm or "")[:8]
    if not digits.isdigit() or not digits.isascii() or len(digits) not in (4, 6, 8):
        return None
    return "-".join(part for part in (digits[:4], digits[4:6], digits[6:8]) if part)


def _extensions(known: Demographics) -> Sequence[Element]:
    found: list[Element] = []
    if known.mother_maiden_name:
        found.append({"url": MOTHERS_MAIDEN_NAME, "valueString": known.mother_maiden_name})
    if known.birth_place:
        found.append({"url": BIRTH_PLACE, "valueAddress": {"text": known.birth_place}})
    if known.reliability:
        codings = [{"system": _RELIABILITY_CODES, "code": code} for code in known.reliability]
        parts = [{"url": _IDENTITY_STATUS, "valueCoding": coding} for coding in codings]
        found.append({"extension": parts, "url": RELIABILITY})
    return found


def _extension(element: Element, url: str) -> Element:
    return next((item for item in element.get("extension", ()) if item.get("url") == url), {})


def _mother(patient: Element) -> PersonName:
    """The mother's maiden and given name."""
    contacts = [item.get("name", {}) for item in patient.get("contact", ()) if _is_mother(item)]
    maiden = next((item["family"] for item in contacts if item.get("use") == "maiden" and item.get("family")), "")
    given = next((item["given"][0] for item in contacts if item.get("given")), "")
    return PersonName(_extension(patient, MOTHERS_MAIDEN_NAME).get("valueString") or maiden, given)


def _is_mother(contact: Element) -> bool:
    codings = (coding for item in contact.get("relationship", ()) for coding in item.get("coding", ()))
    return any(item.get("system") == _ROLES and item.get("code") in _MOTHERS for item in codings)


def _read_name(item: Element) -> PersonName:
    given = item.get("given", ())
    return PersonName(
        family=item.get("family") or ("" if given else item.get("text", "")),
        given=given[0] if given else "",
        further_given=" ".join(given[1:]),
        suffix=" ".join(item.get("suffix", ())),
        prefix=" ".join(item.get("prefix", ())),
        use=_NAME_TYPES.get(item.get("use", "")),
    )


def _write_name(name: PersonName) -> Element:
    given = [part for part in (name.given, *name.further_given.split()) if part]
    if not name.family and not given:
        return {}
    found: Element = {"use": _NAME_USES.get(name.use or ""), "family": name.family, "given": given}
    found |= {"prefix": [name.prefix] if name.prefix else [], "suffix": [name.suffix] if name.suffix else []}
    return {key: value for key, value in found.items() if value}


def _read_address(item: Element) -> Address:
    lines = item.get("line", ())
    return Address(
        street=lines[0] if lines else item.get("text", ""),
        other=" ".join((*lines[1:], *([item["district"]] if "district" in item else ()))),
        city=item.get("city", ""),
        state=item.get("state", ""),
        postal_code=item.get("postalCode", ""),
        country=item.get("country", ""),
        use=_ADDRESS_TYPES.get(item.get("use", "")),
    )


def _write_address(address: Address) -> Element:
    found = {
        "use": _ADDRESS_USES.get(address.use or ""),
        "line": [line for line in (address.street, address.other) if line],
        "city": address.city,
        "state": address.state,
        "postalCode": address.postal_code,
        "country": address.country,
    }
    return {key: value for key, value in found.items() if value} if address != Address(use=address.use) else {}


def _telecom(items: Sequence[Element]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Telephones at home or mobile, those at work, e-mail addresses: what is still in use."""
    valued = [item for item in items if item.get("value") and item.get("use") != "old"]
    phones = [item for item in valued if item.get("system", "phone") in ("phone", "sms")]
    return (
        tuple(item["value"] for item in phones if item.get("use") != "work"),
        tuple(item["value"] for item in phones if item.get("use") == "work"),
        tuple(item["value"] for item in valued if item.get("system") == "email"),
    )


def _deceased(patient: Element) -> tuple[bool | None, str | None]:
    """(deceased, time of death as DTM in the source's own time)."""
    moment = patient.get("deceasedDateTime")
    if moment is None:
        return patient.get("deceasedBoolean"), None
    day, _, time = moment.partition("T")
    return True, day.replace("-", "") + time[:8].replace(":", "")


def _language(items: Sequence[Element]) -> str | None:
    """The preferred language, or else the first one."""
    ranked = sorted(items, key=lambda item: not item.get("preferred", False))
    codes = (coding.get("code") for item in ranked for coding in item.get("language", {}).get("coding", ()))
    return next((code for code in codes if code), None)


def _marital_status(concept: Element) -> str | None:
    for coding in concept.get("coding", ()):
        code = coding.get("code")
        if coding.get("system") == _NULL_FLAVOR:
            return "U"
        if code:
            return _MARITAL_CODES.get(code, code) if coding.get("system") == _MARITAL_STATUS else str(code)
    return None


def _write_marital_status(code: str | None) -> Element | None:
    if not code:
        return None
    if code not in _MARITAL_STATES:
        return {"coding": [{"system": _NULL_FLAVOR, "code": "UNK"}]}
    return {"coding": [{"system": _MARITAL_STATUS, "code": _MARITAL_STATES[code]}]}


def _birth_place(address: Element) -> str | None:
    return address.get("text") or " ".join(address[part] for part in ("city", "state", "country") if part in address) or None


def _reliability(extension: Element) -> tuple[str, ...]:
    parts = (item for item in extension.get("extension", ()) if item.get("url") == _IDENTITY_STATUS)
    return tuple(code for item in parts if (code := item.get("valueCoding", {}).get("code")))
