"""Bundles of type searchset: the answers of a search and of a match.

Spec: FHIR R4 2.36 (Bundle), 3.1.0.4 (paging); PDQm QueryPatientResourceResponseMessage, MatchParametersOut.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Final
from urllib.parse import quote, urlencode

from xds.model.demographics_query import PatientMatch
from xds.wire.fhir import operation_outcome
from xds.wire.fhir_identifiers import IdentifierSystems
from xds.wire.fhir_patient import write_patient
from xds.wire.fhir_search import PatientSearch
from xds.wire.fhir_structure import Element, Issue

MATCH_GRADE: Final = "http://hl7.org/fhir/StructureDefinition/match-grade"

#: From which score on (0 to 100) a match has which grade. Certain is what nobody needs to look at.
_CERTAIN: Final = 100
_PROBABLE: Final = 80
_GRADES: Final = ((_CERTAIN, "certain"), (_PROBABLE, "probable"), (1, "possible"))

#: What `_elements` and `_summary` never leave out, and what a summary of a Patient has beside it.
_ALWAYS: Final = frozenset({"resourceType", "id", "meta", "link"})
_SUMMARY: Final = (
    "identifier",
    "active",
    "name",
    "telecom",
    "gender",
    "birthDate",
    "deceased",
    "address",
    "managingOrganization",
    "link",
)


def search_bundle(
    matches: Sequence[PatientMatch],
    search: PatientSearch,
    systems: IdentifierSystems,
    *,
    total: int | None,
    next_page: str | None,
    issues: Sequence[Issue] = (),
) -> Element:
    """The answer of ITI-78. `total` counts all that were found, on every page; None when there are more than are counted."""
    only_count = search.summary == "count"
    links = [{"relation": "self", "url": _url(systems, search.used, search, None)}]
    if next_page and not only_count:
        links.append({"relation": "next", "url": _url(systems, search.used, search, next_page)})
    entries = [
        {
            "fullUrl": f"{systems.base}/Patient/{match.key}",
            "resource": _shown_elements(write_patient(match, systems, is_whole=not search.query.domains), search),
            "search": {"mode": "match"} | ({} if match.score is None else {"score": match.score / 100}),
        }
        for match in (() if only_count else matches)
    ]
    return _bundle(total, links, [*entries, *_outcome(issues)])


def match_bundle(
    matches: Sequence[PatientMatch], systems: IdentifierSystems, certain: Collection[int], *, total: int | None
) -> Element:
    """The answer of ITI-119: the likeliest first, each with its score and its grade. `certain` are keys of persons.

    `total` counts those, too, whom `count` left out.
    """
    entries = []
    for match in matches:
        score = _CERTAIN if match.score is None else match.score
        grade = {"url": MATCH_GRADE, "valueCode": grade_of(_CERTAIN if match.key in certain else score)}
        entries.append(
            {
                "fullUrl": f"{systems.base}/Patient/{match.key}",
                "resource": write_patient(match, systems),
                "search": {"extension": [grade], "mode": "match", "score": score / 100},
            }
        )
    links = [{"relation": "self", "url": f"{systems.base}/Patient/$match"}]
    return _bundle(total, links, entries)


def may_be_certain(match: PatientMatch) -> bool:
    """True when the score alone does not tell whether a match is certain."""
    return match.score is not None and _PROBABLE <= match.score < _CERTAIN


def grade_of(score: int) -> str:
    """The code of the value set match-grade."""
    return next((grade for least, grade in _GRADES if score >= least), "certainly-not")


def _bundle(total: int | None, links: list[Element], entries: list[Element]) -> Element:
    found: Element = {"resourceType": "Bundle", "type": "searchset"}
    if total is not None:
        found["total"] = total
    found["link"] = links
    return found | ({"entry": entries} if entries else {})


def _outcome(issues: Sequence[Issue]) -> list[Element]:
    """An entry of a Bundle has a fullUrl, and the outcome has no id. Spec: FHIR R4 2.36.4."""
    if not issues:
        return []
    return [{"fullUrl": f"urn:uuid:{uuid.uuid4()}", "resource": operation_outcome(issues), "search": {"mode": "outcome"}}]


def _url(systems: IdentifierSystems, used: Sequence[tuple[str, str]], search: PatientSearch, page: str | None) -> str:
    pairs = list(used)
    if search.page.limit is not None:
        pairs.append(("_count", str(search.page.limit)))
    if search.summary != "false":
        pairs.append(("_summary", search.summary))
    if search.elements:
        pairs.append(("_elements", ",".join(search.elements)))
    if page is not None:
        pairs.append(("_page", page))
    query = urlencode(pairs, quote_via=quote, safe=":/")
    return f"{systems.base}/Patient" + (f"?{query}" if query else "")


def _shown_elements(patient: Element, search: PatientSearch) -> Element:
    """The part of a Patient that `_summary` and `_elements` leave. Spec: FHIR R4 3.1.1.5.8, 3.1.1.5.9."""
    if search.elements:
        kept: Sequence[str] = search.elements
    elif search.summary == "text":
        kept = ()
    elif search.summary == "true":
        kept = _SUMMARY
    else:
        return patient
    shown = {name: value for name, value in patient.items() if name in _ALWAYS or _root(name) in kept}
    meta = patient.get("meta")
    subsetted = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
    return {name: ({**meta, "tag": [subsetted]} if name == "meta" and isinstance(meta, dict) else shown[name]) for name in shown}


def _root(name: str) -> str:
    """An element of a choice by the name of the choice."""
    return next((root for root in ("deceased", "multipleBirth") if name.startswith(root)), name)
