"""The CapabilityStatement: what the FHIR service offers.

Spec: FHIR R4 6.1; the CapabilityStatements of PIXm (IHE.PIXm.Manager) and PDQm (IHE.PDQm.PatientDemographicsSupplier).
"""

from __future__ import annotations

from typing import Final

from xds.wire.fhir import JSON, XML
from xds.wire.fhir_patient import PROFILE
from xds.wire.fhir_search import PARAMETERS
from xds.wire.fhir_structure import Element

_PIXM: Final = "https://profiles.ihe.net/ITI/PIXm"
_PDQM: Final = "https://profiles.ihe.net/ITI/PDQm"
_DEFINITIONS: Final = {
    "mothersMaidenName": "http://hl7.org/fhir/SearchParameter/patient-extensions-Patient-mothersMaidenName",
    "_id": "http://hl7.org/fhir/SearchParameter/Resource-id",
    "_lastUpdated": "http://hl7.org/fhir/SearchParameter/Resource-lastUpdated",
    **dict.fromkeys(("active", "identifier"), "http://hl7.org/fhir/SearchParameter/Patient-{}"),
    "name": "http://hl7.org/fhir/SearchParameter/Patient-name",
}
#: The day on which the statement below changed last.
_DATE: Final = "2026-11-22"


def capability_statement(base: str, software_version: str) -> Element:
    """The CapabilityStatement of the service at `base`."""
    return {
        "resourceType": "CapabilityStatement",
        "url": f"{base}/metadata",
        "status": "active",
        "date": _DATE,
        "kind": "instance",
        "instantiates": [
            f"{_PIXM}/CapabilityStatement/IHE.PIXm.Manager",
            f"{_PDQM}/CapabilityStatement/IHE.PDQm.PatientDemographicsSupplier",
        ],
        "software": {"name": "xds", "version": software_version},
        "implementation": {"description": "Patient identity of an IHE affinity domain", "url": base},
        "fhirVersion": "4.0.1",
        "format": [JSON, XML, "json", "xml"],
        "rest": [
            {
                "mode": "server",
                "documentation": "PIXm (ITI-83, ITI-104) and PDQm (ITI-78, ITI-119)",
                "resource": [_patient()],
            }
        ],
    }


def _patient() -> Element:
    interactions = {
        "read": "ITI-78",
        "search-type": "ITI-78, by GET and by POST _search",
        "update": "ITI-104: conditional, by identifier",
        "delete": "ITI-104, option Remove Patient: conditional, by identifier",
    }
    return {
        "type": "Patient",
        "profile": PROFILE,
        "supportedProfile": [f"{_PIXM}/StructureDefinition/IHE.PIXm.Patient", PROFILE],
        "interaction": [{"code": code, "documentation": text} for code, text in interactions.items()],
        "versioning": "versioned",
        "readHistory": False,
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalRead": "not-match",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "searchParam": [
            {"name": name, "definition": _definition(name), "type": kind, "documentation": text}
            for name, (kind, text) in PARAMETERS.items()
        ],
        "operation": [
            {"name": "ihe-pix", "definition": f"{_PIXM}/OperationDefinition/IHE.PIXm.pix"},
            {"name": "match", "definition": f"{_PDQM}/OperationDefinition/PDQmMatch"},
        ],
    }


def _definition(name: str) -> str:
    individual = name not in _DEFINITIONS
    template = "http://hl7.org/fhir/SearchParameter/individual-{}" if individual else _DEFINITIONS[name]
    return template.format(name)
