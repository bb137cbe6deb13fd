"""`xds send iti78`, `iti83`, `iti104`, `iti119`: patients' identities, in FHIR."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode, urlsplit

import typer

from xds.cli import exchange, files
from xds.cli.exchange import Form, talking
from xds.cli.outcome import Refused, Usage
from xds.cli.sending import Sending, by_fhir
from xds.transactions import (
    iti78_mobile_patient_demographics_query,
    iti83_mobile_pix_query,
    iti104_patient_identity_feed_fhir,
    iti119_patient_demographics_match,
)
from xds.transactions.fhir_service import PATH, FhirAnswer
from xds.wire.fhir_json import JsonError, read_json, write_json
from xds.wire.fhir_structure import Element

Token = Annotated[
    str, typer.Option(metavar="SYSTEM|VALUE", help="An identifier: its domain (`urn:oid:…` or a URL) and its value.")
]
PatientFile = Annotated[Path | None, typer.Argument(metavar="FILE", help="A Patient resource in JSON.")]
NameOption = Annotated[str, typer.Option(metavar="FAMILY^GIVEN", help="Name.")]
BirthDateOption = Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Date of birth.")]
GenderOption = Annotated[str | None, typer.Option(help="male, female, other or unknown.")]


@by_fhir
def iti78(
    sending: Sending,
    parameters: Annotated[list[str], typer.Argument(metavar="NAME=VALUE…", help="Search parameters.")],
    post: Annotated[bool, typer.Option("--post", help="Send them in a body (`_search`), not in the address.")] = False,
) -> None:
    """Search patients by their traits: PDQm (ITI-78).

    **Examples**

    `xds send iti78 family=Weber birthdate=1990-04-15`

    `xds send iti78 family:contains=ber given=Lena 'identifier=urn:oid:2.999.10|'` for her identifiers of that domain alone
    """
    pairs = [(name, value) for name, values in exchange.pairs(parameters).items() for value in values]
    base = _base(sending.to)
    if sending.dry_run:
        query = urlencode(pairs, quote_via=quote, safe=":/")
        print(f"POST {base}/Patient/_search\n\n{query}" if post else f"GET {base}/Patient?{query}")
        return
    with talking(base):
        answer = iti78_mobile_patient_demographics_query.send(pairs, base, post=post, timeout=sending.timeout)
    _show_patients(answer, sending.form)


@by_fhir
def iti83(
    sending: Sending,
    patient: Token,
    target: Annotated[
        list[str] | None, typer.Option(metavar="SYSTEM", help="Domain whose identifier is wanted. Default: all of them.")
    ] = None,
) -> None:
    """Ask for a patient's identifiers in other domains: PIXm query (ITI-83).

    **Examples**

    `xds send iti83 --patient 'urn:oid:2.999.10|A0001'`

    `xds send iti83 --patient 'urn:oid:2.999.10|A0001' --target urn:oid:2.999.1`
    """
    source = _token(patient)
    base = _base(sending.to)
    if sending.dry_run:
        query = urlencode([("sourceIdentifier", patient), *(("targetSystem", item) for item in target or ())], quote_via=quote)
        print(f"GET {base}/Patient/$ihe-pix?{query}")
        return
    with talking(base):
        answer = iti83_mobile_pix_query.send(source, target or (), base, timeout=sending.timeout)
    rows = []
    for item in (answer.resource or {}).get("parameter", ()):
        identifier = item.get("valueIdentifier", {})
        if identifier:
            rows.append((identifier.get("system", ""), identifier.get("value", "")))
        elif "valueReference" in item:
            rows.append(("Patient", item["valueReference"].get("reference", "")))
    _show(answer, ("System", "Identifier"), rows, sending.form)


@by_fhir
def iti104(
    sending: Sending,
    given: PatientFile = None,
    patient: Annotated[str, typer.Option(metavar="SYSTEM|VALUE", help="The identifier under which the patient is fed.")] = "",
    replaced_by: Annotated[
        str, typer.Option(metavar="SYSTEM|VALUE", help="Merge the patient into the one with this identifier.")
    ] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Remove the patient of the identifier.")] = False,
    name: NameOption = "",
    birth_date: BirthDateOption = None,
    gender: GenderOption = None,
) -> None:
    """Tell of a patient: patient identity feed in FHIR (ITI-104), to add, revise, merge or remove.

    **Examples**

    `xds send iti104 --patient 'urn:oid:2.999.10|A7' --name 'Weber^Lena' --birth-date 1990-04-15 --gender female`

    `xds send iti104 --patient 'urn:oid:2.999.10|A8' --replaced-by 'urn:oid:2.999.10|A7'`

    `xds send iti104 --patient 'urn:oid:2.999.10|A8' --remove`

    `xds send iti104 patient.json` under its first identifier
    """
    if remove:
        if given or replaced_by or name or birth_date or gender or not patient:
            raise Usage("to remove a patient, give her identifier and nothing else: --patient 'system|value'")
        _remove(_token(patient), sending)
        return
    resource = _patient(given, name, birth_date, gender)
    identifier = _token(patient) if patient else _first_identifier(resource)
    if given is None:
        resource = {**resource, "identifier": [_identifier(identifier)]}
    if replaced_by:
        link = {"other": {"identifier": _identifier(_token(replaced_by))}, "type": "replaced-by"}
        resource |= {"active": False, "link": [link]}
    base = _base(sending.to)
    if sending.dry_run:
        condition = quote("|".join(identifier), safe=":/")
        print(f"PUT {base}/Patient?identifier={condition}\n\n{write_json(resource, pretty=True).decode()}")
        return
    with talking(base):
        answer = iti104_patient_identity_feed_fhir.send(resource, identifier, base, timeout=sending.timeout)
    _show(answer, ("Status", "Patient"), [(str(answer.status), answer.headers.get("location", ""))], sending.form)


@by_fhir
def iti119(
    sending: Sending,
    given: PatientFile = None,
    name: NameOption = "",
    birth_date: BirthDateOption = None,
    gender: GenderOption = None,
    count: Annotated[int | None, typer.Option(min=1, help="How many patients at most.")] = None,
    only_certain: Annotated[bool, typer.Option("--only-certain", help="Only the one who is meant beyond doubt.")] = False,
) -> None:
    """Ask who a described patient may be, the likeliest first: PDQm match (ITI-119).

    **Examples**

    `xds send iti119 --name 'Veber^Lena' --birth-date 1990-04-15`

    `xds send iti119 patient.json --only-certain`
    """
    resource = _patient(given, name, birth_date, gender)
    base = _base(sending.to)
    if sending.dry_run:
        body = iti119_patient_demographics_match.match_parameters(resource, count=count, only_certain=only_certain)
        print(f"POST {base}/Patient/$match\n\n{write_json(body, pretty=True).decode()}")
        return
    with talking(base):
        answer = iti119_patient_demographics_match.send(
            resource, base, count=count, only_certain=only_certain, timeout=sending.timeout
        )
    _show_patients(answer, sending.form)


def _remove(identifier: tuple[str, str], sending: Sending) -> None:
    base = _base(sending.to)
    if sending.dry_run:
        print(f"DELETE {base}/Patient?identifier={quote('|'.join(identifier), safe=':/')}")
        return
    with talking(base):
        answer = iti104_patient_identity_feed_fhir.send_removal(identifier, base, timeout=sending.timeout)
    _show(answer, ("Status",), [(str(answer.status),)], sending.form)


def _base(to: str) -> str:
    """The base of the FHIR server: `to`, with the usual path when it names only a server. Errors: Usage."""
    parts = urlsplit(to)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise Usage(f"--to must be an http or https URL, not {to!r}")
    return to.rstrip("/") if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}{PATH}"


def _token(text: str) -> tuple[str, str]:
    system, bar, value = text.partition("|")
    if not bar or not system or not value:
        raise Usage(f"an identifier is written system|value, for example urn:oid:2.999.10|A0001, not {text!r}")
    return system, value


def _identifier(token: tuple[str, str]) -> Element:
    return {"system": token[0], "value": token[1]}


def _patient(given: Path | None, name: str, birth_date: str | None, gender: str | None) -> Element:
    """The Patient of a file, or of options."""
    if given is not None:
        if name or birth_date or gender:
            raise Usage("give either a file with a Patient, or its traits")
        try:
            return read_json(files.content(given))
        except JsonError as error:
            raise Usage(f"{given}: {error}") from error
    family, _, first = name.partition("^")
    human = {key: value for key, value in (("family", family), ("given", [first] if first else [])) if value}
    found: dict[str, Any] = {
        "resourceType": "Patient",
        "name": [human] if human else [],
        "gender": gender,
        "birthDate": birth_date,
    }
    return {key: value for key, value in found.items() if value}


def _first_identifier(resource: Element) -> tuple[str, str]:
    identifier = next((item for item in resource.get("identifier", ()) if item.get("system") and item.get("value")), None)
    if identifier is None:
        raise Usage("give the identifier of the patient: --patient 'system|value'")
    return str(identifier["system"]), str(identifier["value"])


def _show_patients(answer: FhirAnswer, form: Form) -> None:
    rows = []
    for entry in (answer.resource or {}).get("entry", ()):
        patient = entry.get("resource", {})
        if patient.get("resourceType") == "Patient":
            rows.append(_row(patient, entry.get("search", {}).get("score")))
    _show(answer, ("Id", "Name", "Born", "Gender", "Identifiers", "Score"), rows, form)


def _row(patient: Element, score: object) -> tuple[str, ...]:
    names = [" ".join((*item.get("given", ()), item.get("family", ""))).strip() for item in patient.get("name", ())]
    identifiers = [f"{item.get('system', '')}|{item.get('value', '')}" for item in patient.get("identifier", ())]
    facts = (patient.get("id", ""), "; ".join(names), patient.get("birthDate", ""), patient.get("gender", ""))
    return (*map(str, facts), " ".join(identifiers), "" if score is None else str(score))


def _show(answer: FhirAnswer, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], form: Form) -> None:
    """Print the answer, and what it complains of on standard error. Errors: Refused when it was no success."""
    resource = answer.resource or {}
    outcomes = [resource, *(entry.get("resource", {}) for entry in resource.get("entry", ()))]
    for issue in (
        item for found in outcomes if found.get("resourceType") == "OperationOutcome" for item in found.get("issue", ())
    ):
        if issue.get("severity") != "information":
            print(f"{issue.get('severity')}: {issue.get('code')}: {issue.get('diagnostics', '')}", file=sys.stderr)
    if form is Form.JSON:
        print(json.dumps(answer.resource, ensure_ascii=False, indent=2, default=float))
    elif answer.is_success:
        exchange.show(exchange.Answer(columns, rows, answer.resource, lambda: ""), Form.TABLE)
    if not answer.is_success:
        raise Refused(f"the answer is HTTP {answer.status}")
