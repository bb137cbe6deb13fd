"""Identifiers of FHIR and those of the PIX Manager: which URI of `Identifier.system` means which assigning authority.

| system | authority |
|---|---|
| `urn:oid:1.2.3` | the OID |
| the `uri` of a configured domain | that domain |
| `[base]/NamingSystem/NAME` of this server | the namespace NAME, of which no OID is known |
| `http://hl7.org/fhir/sid/us-ssn` | the social security of the United States, whose numbers are traits, as in HL7 v2 and v3 |
| any other URI | an authority whose namespace is the URI |

Spec: ITI TF-2 Appendix E.3 (Identifier), Z.9.1; PIXm 2:3.83.4.1.2.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

from xds.model.identifiers import AssigningAuthority, PatientIdentifier, is_oid
from xds.model.patient import IdentityDomain
from xds.model.vocabulary import US_SOCIAL_SECURITY
from xds.wire.fhir_structure import Element

OID: Final = "urn:oid:"
IDENTIFIER_TYPES: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"

#: Social security numbers of the United States: PID-19, and a trait in every wire form.
_US_SSN: Final = "http://hl7.org/fhir/sid/us-ssn"

_PATIENT: Final = "Patient/"


class IdentifierSystems:
    """The URIs of assigning authorities. `base` is the base of this FHIR server, whose Patient ids are identifiers, too."""

    def __init__(self, base: str, domains: Iterable[IdentityDomain] = ()) -> None:
        self.base = base
        listed = [item for item in domains if item.uri]
        self._by_uri = {item.uri or "": item.authority for item in listed}
        self._by_authority = {
            name: item.uri or "" for item in listed for name in (item.authority.oid, item.authority.namespace) if name
        }
        self._naming = f"{base}/NamingSystem/"

    def authority(self, system: str) -> AssigningAuthority:
        """The authority of a system."""
        configured = self._by_uri.get(system)
        if configured is not None:
            return configured
        if system == _US_SSN:
            return AssigningAuthority(oid=US_SOCIAL_SECURITY)
        if system.startswith(OID):
            return AssigningAuthority(oid=system.removeprefix(OID))
        if system.startswith(self._naming):
            return AssigningAuthority(unquote(system.removeprefix(self._naming)))
        return AssigningAuthority(system)

    def system(self, authority: AssigningAuthority) -> str:
        """The URI of an authority: the configured one, or its OID, or its namespace as a URI."""
        for name in (authority.oid, authority.namespace):
            if name in self._by_authority:
                return self._by_authority[name]
        if authority.oid:
            return _US_SSN if authority.oid == US_SOCIAL_SECURITY else OID + authority.oid
        namespace = authority.namespace or ""
        return namespace if _is_uri(namespace) else self._naming + quote(namespace, safe="")

    def own_key(self, system: str, value: str) -> int | None:
        """The key of a person whom this server's own base and `Patient/id` name; None for any other identifier."""
        if system.rstrip("/") != self.base:
            return None
        return key_of(value.removeprefix(_PATIENT))

    def own_reference(self, reference: str) -> int | None:
        """The key of the person to whom a relative reference, or an absolute one of this server, leads."""
        relative = reference.removeprefix(self.base + "/")
        if not relative.startswith(_PATIENT):
            return None
        return key_of(relative.removeprefix(_PATIENT).partition("/_history/")[0])

    def write(self, identifier: PatientIdentifier) -> Element:
        """An Identifier. Spec: PIXm Query Parameters Out (assigner)."""
        found: Element = {}
        if identifier.type_code:
            found["type"] = {"coding": [{"system": IDENTIFIER_TYPES, "code": identifier.type_code}]}
        found |= {"system": self.system(identifier.authority), "value": identifier.value}
        namespace = identifier.authority.namespace
        if namespace and not _is_uri(namespace):
            found["assigner"] = {"display": namespace}
        return found

    def read(self, identifier: Element) -> PatientIdentifier | None:
        """An Identifier; None when it lacks its system or its value."""
        system, value = identifier.get("system"), identifier.get("value")
        if not system or not value or not value.strip():
            return None
        return PatientIdentifier(value.strip(), self.authority(system), _type_code(identifier))


def is_trait(authority: AssigningAuthority) -> bool:
    """True for numbers that are a trait of the person instead of a key in a patient identification domain."""
    return authority.oid == US_SOCIAL_SECURITY


def is_impossible(authority: AssigningAuthority) -> bool:
    """True for a system that looks like an OID and is none."""
    return authority.oid is not None and not is_oid(authority.oid)


def key_of(text: str) -> int | None:
    """The key of a person from the id of her Patient resource."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 and text == str(int(text)) else None


def _type_code(identifier: Element) -> str | None:
    codings = [item for item in identifier.get("type", {}).get("coding", ()) if item.get("code")]
    known = [item["code"] for item in codings if item.get("system") in (None, IDENTIFIER_TYPES)]
    return next(iter((*known, *(item["code"] for item in codings))), None)


def _is_uri(text: str) -> bool:
    scheme, colon, rest = text.partition(":")
    return bool(colon and rest) and scheme.isascii() and scheme.replace("-", "").isalnum() and " " not in text
