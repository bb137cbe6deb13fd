"""FHIR resources from outside: JSON and XML that are hostile, wrong or unusual; `fhir.resources` is the second opinion."""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import pytest
from fhir.resources.R4B.patient import Patient
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from xds.wire.fhir import MAX_BODY, FhirError, read_bytes, read_resource
from xds.wire.fhir_json import write_json
from xds.wire.fhir_structure import Issue, checked
from xds.wire.fhir_xml import read_xml, write_xml
from xds.wire.http import HttpRequest

EVERYTHING: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "meta": {"versionId": "1", "lastUpdated": "2020-09-16T18:44:38+03:00", "source": "#x", "tag": [{"code": "a"}]},
    "language": "fr",
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Emilie</div>'},
    "contained": [{"resourceType": "Patient", "id": "c", "active": True}],
    "extension": [
        {"url": "http://x.example/a", "valueDecimal": 1.50},
        {"extension": [{"url": "b", "valueCoding": {"code": "VALI"}}], "url": "http://x.example/b"},
    ],
    "identifier": [
        {
            "use": "usual",
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
            "system": "urn:oid:1.2.3",
            "value": "1",
            "period": {"start": "2001-05-06"},
            "assigner": {"display": "Org"},
        }
    ],
    "active": True,
    "name": [
        {
            "use": "official",
            "family": "Dûpont",
            "given": ["A", "B"],
            "_given": [None, {"extension": [{"url": "u", "valueCode": "c"}]}],
        }
    ],
    "telecom": [{"system": "phone", "value": "1", "use": "mobile", "rank": 1}],
    "gender": "female",
    "birthDate": "1980-02-29",
    "_birthDate": {"extension": [{"url": "http://x.example/t", "valueDateTime": "1980-02-29T10:00:00+01:00"}]},
    "deceasedDateTime": "2020-01",
    "address": [{"use": "home", "type": "both", "line": ["1"], "city": "C", "postalCode": "45000", "country": "FRA"}],
    "maritalStatus": {"coding": [{"code": "M"}], "text": "married"},
    "multipleBirthInteger": 2,
    "photo": [{"contentType": "image/png", "data": "AAAA"}],
    "contact": [{"relationship": [{"text": "mother"}], "name": {"family": "X"}, "gender": "female"}],
    "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "fr"}]}, "preferred": True}],
    "generalPractitioner": [{"reference": "Practitioner/1"}],
    "managingOrganization": {"reference": "Organization/1", "display": "H"},
    "link": [{"other": {"reference": "Patient/2"}, "type": "seealso"}],
}

_JSON = "application/fhir+json"
_XML = "application/fhir+xml"


def _read(data: bytes, content_type: str = _JSON) -> dict[str, Any]:
    return read_bytes(data, content_type, ("Patient",))


def _refused(data: bytes, content_type: str = _JSON) -> tuple[int, list[str]]:
    with pytest.raises(FhirError) as caught:
        _read(data, content_type)
    return caught.value.status, [issue.code for issue in caught.value.issues]


def test_everything_that_a_patient_may_hold() -> None:
    Patient.model_validate(EVERYTHING)
    found = _read(write_json(EVERYTHING))
    assert json.loads(json.dumps(found, default=float)) == EVERYTHING


def test_xml_and_json_say_the_same() -> None:
    from_json = _read(write_json(EVERYTHING))
    written = write_xml(from_json)
    # The model of R4B reads what is written, and writes what is read.
    model = Patient.model_validate_xml(written)
    assert json.loads(model.model_dump_json()) == json.loads(Patient.model_validate(EVERYTHING).model_dump_json())
    assert _read(written, _XML) == from_json
    # It says that it gives a text, and gives octets.
    dumped: Any = model.model_dump_xml()
    assert _read(dumped, _XML) == from_json


def test_decimals_keep_their_digits() -> None:
    text = b'{"resourceType":"Patient","extension":[{"url":"u","valueDecimal":1.50}]}'
    assert str(_read(text)["extension"][0]["valueDecimal"]) == "1.50"


def test_what_is_empty_is_absent() -> None:
    text = b'{"resourceType":"Patient","name":[{"family":"","given":[]},{}],"gender":null,"active":false,"telecom":[]}'
    assert _read(text) == {"resourceType": "Patient", "active": False}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"Patient"',
        b"{",
        b'{"resourceType":"Patient","active":true,"active":false}',
        b'{"resourceType":"Patient","name":[{"family":"A","family":"B"}]}',
        b'{"resourceType":"Patient","extension":[{"url":"u","valueDecimal":NaN}]}',
        b'{"resourceType":"Patient","extension":[{"url":"u","valueDecimal":Infinity}]}',
        b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * 5000 + b"}",
        b'{"resourceType":"Patient","extension":[{"url":"u","valueDecimal":0.' + b"1" * 5000 + b"}]}",
        b'{"resourceType":"Patient","name":[{"family":"\xff\xfe"}]}',
        b'{"resourceType":"Patient","name":[{"family":"\xed\xa0\x80"}]}',
        '{"resourceType":"Patient"}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"resourceType":"Patient"} {"resourceType":"Patient"}',
        b'{"resourceType":"Patient",}',
        b"{'resourceType':'Patient'}",
    ],
    ids=range(19),
)
def test_no_json(data: bytes) -> None:
    assert _refused(data) == (400, ["structure"])


def test_byte_order_mark() -> None:
    assert _read(b"\xef\xbb\xbf" + write_json({"resourceType": "Patient", "active": True}))["active"] is True


@pytest.mark.parametrize(
    ("change", "path", "code"),
    [
        ({"active": "true"}, "Patient.active", "value"),
        ({"active": 1}, "Patient.active", "value"),
        ({"gender": 1}, "Patient.gender", "value"),
        ({"gender": "F"}, "Patient.gender", "code-invalid"),
        ({"gender": ["female"]}, "Patient.gender", "structure"),
        ({"birthDate": "1980-02-30"}, "Patient.birthDate", "value"),
        ({"birthDate": "1981-02-29"}, "Patient.birthDate", "value"),
        ({"birthDate": "80-02-03"}, "Patient.birthDate", "value"),
        ({"birthDate": "1980-2-3"}, "Patient.birthDate", "value"),
        ({"birthDate": "19800203"}, "Patient.birthDate", "value"),
        ({"birthDate": "1980-02-03T00:00:00Z"}, "Patient.birthDate", "value"),
        ({"birthDate": 1980}, "Patient.birthDate", "value"),
        ({"name": {"family": "x"}}, "Patient.name", "structure"),
        ({"name": ["x"]}, "Patient.name[0]", "structure"),
        ({"name": [{"family": ["x"]}]}, "Patient.name[0].family", "structure"),
        ({"name": [{"given": "x"}]}, "Patient.name[0].given", "structure"),
        ({"name": [{"given": ["x", 3]}]}, "Patient.name[0].given[1]", "value"),
        ({"name": [{"family": "x\u0000y"}]}, "Patient.name[0].family", "value"),
        ({"name": [{"family": "\ud800"}]}, "Patient.name[0].family", "value"),
        ({"name": [{"use": "birth"}]}, "Patient.name[0].use", "code-invalid"),
        ({"Name": [{"family": "x"}]}, "Patient", "structure"),
        ({"birthdate": "1980-02-03"}, "Patient", "structure"),
        ({"_name": {"id": "x"}}, "Patient", "structure"),
        ({"_birthDate": "x"}, "Patient.birthDate", "structure"),
        ({"deceasedBoolean": True, "deceasedDateTime": "2020"}, "Patient.deceased", "structure"),
        ({"deceasedString": "yes"}, "Patient", "structure"),
        ({"multipleBirthInteger": 1.5}, "Patient.multipleBirth", "value"),
        ({"multipleBirthInteger": 2**40}, "Patient.multipleBirth", "value"),
        ({"link": [{"type": "replaced-by"}]}, "Patient.link[0].other", "required"),
        ({"link": [{"other": {"reference": "Patient/1"}}]}, "Patient.link[0].type", "required"),
        ({"link": [{"other": {"reference": "Patient/1"}, "type": "merged"}]}, "Patient.link[0].type", "code-invalid"),
        ({"extension": [{"valueString": "x"}]}, "Patient.extension[0].url", "required"),
        ({"extension": [{"url": "u", "valueCode": " x"}]}, "Patient.extension[0].value", "value"),
        ({"identifier": [{"system": "urn:oid:1.2 3", "value": "1"}]}, "Patient.identifier[0].system", "value"),
        ({"id": "a b"}, "Patient.id", "value"),
        ({"contained": ["x"]}, "Patient.contained[0]", "structure"),
        ({"contained": [{"id": "x"}]}, "Patient.contained[0]", "structure"),
    ],
)
def test_faults_name_their_element(change: dict[str, Any], path: str, code: str) -> None:
    _, issues = checked({"resourceType": "Patient", **change}, "Patient")
    assert [(issue.code, issue.expression) for issue in issues] == [(code, path)]


def test_faults_do_not_quote_much() -> None:
    _, issues = checked({"birthDate": "x" * 10_000, "y" * 10_000: 1}, "Patient")
    assert all(len(issue.diagnostics) < 200 for issue in issues)


def test_depth() -> None:
    deep: dict[str, Any] = {"url": "u", "valueString": "x"}
    for _ in range(60):
        deep = {"url": "u", "extension": [deep]}
    _, issues = checked({"extension": [deep]}, "Patient")
    assert [issue.code for issue in issues] == ["structure"]


def test_number_of_issues_is_limited() -> None:
    _, issues = checked({"name": [{"family": 1}] * 5000}, "Patient")
    assert len(issues) == 100
    text = b'<Patient xmlns="http://hl7.org/fhir">' + b"<x/>" * 5000 + b"</Patient>"
    assert len(read_xml(text)[1]) == 100


@pytest.mark.parametrize("kind", ["Bundle", "Observation", "Parameters", "", None, 3, ["Patient"], {"a": 1}])
def test_another_resource(kind: Any) -> None:
    assert _refused(json.dumps({"resourceType": kind}).encode()) == (400, ["invalid"])


@pytest.mark.parametrize(
    "data",
    [
        b"<Patient/>",
        b'<Patient xmlns="urn:hl7-org:v3"/>',
        b'<!DOCTYPE Patient [<!ENTITY a "b">]><Patient xmlns="http://hl7.org/fhir"/>',
        b'<!DOCTYPE Patient SYSTEM "http://x.example/a.dtd"><Patient xmlns="http://hl7.org/fhir"/>',
        b'<Patient xmlns="http://hl7.org/fhir"><active value="true"></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><name><family value="&x;"/></name></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><birthdate value="1980"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><x:active xmlns:x="urn:x" value="true"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><active value="true"/><active value="false"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir">' + b"<contact>" * 300 + b"</contact>" * 300 + b"</Patient>",
        b"",
        b"<",
    ],
    ids=range(12),
)
def test_no_xml(data: bytes) -> None:
    status, codes = _refused(data, _XML)
    assert status == 400
    assert codes[0] == "structure"


def test_types_in_xml() -> None:
    text = b"""<Patient xmlns="http://hl7.org/fhir"><active value="yes"/><multipleBirthInteger value="two"/>
      <extension url="u"><valueDecimal value="1,5"/></extension><gender value=""/></Patient>"""
    with pytest.raises(FhirError) as caught:
        _read(text, _XML)
    assert {issue.expression for issue in caught.value.issues} == {
        "Patient.active",
        "Patient.multipleBirth",
        "Patient.extension[0].value",
    }


def test_xml_in_another_encoding() -> None:
    declaration = '<?xml version="1.0" encoding="ISO-8859-1"?>'
    text = declaration + '<Patient xmlns="http://hl7.org/fhir"><name><family value="Éluard"/></name></Patient>'
    assert _read(text.encode("latin-1"), _XML)["name"] == [{"family": "Éluard"}]


def test_xml_namespaces_of_others() -> None:
    text = b"""<f:Patient xmlns:f="http://hl7.org/fhir" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
      xsi:schemaLocation="http://hl7.org/fhir fhir-all.xsd"><!-- a comment --><f:active value="true"/></f:Patient>"""
    assert _read(text, _XML)["active"] is True


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/fhir+json; fhirVersion=3.0", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/fhir+json; fhirVersion=4.0", 0),
        ("application/json; charset=utf-8", 0),
        ("", 0),
    ],
)
def test_content_types(content_type: str, status: int) -> None:
    data = write_json({"resourceType": "Patient", "active": True})
    if status:
        assert _refused(data, content_type) == (status, ["not-supported"])
    else:
        assert _read(data, content_type)["active"] is True


def test_size() -> None:
    request = HttpRequest("PUT", "", {}, {"content-type": _JSON}, io.BytesIO(b" " * (MAX_BODY + 1)))
    with pytest.raises(FhirError) as caught:
        read_resource(request, ("Patient",))
    assert caught.value.status == 413


def test_compressed_bodies() -> None:
    headers = {"content-type": _JSON, "content-encoding": "gzip"}
    with pytest.raises(FhirError) as caught:
        read_resource(HttpRequest("PUT", "", {}, headers, io.BytesIO(b"\x1f\x8b")), ("Patient",))
    assert caught.value.status == 415


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from(["", "x", "1980-01-01", "1980-13", "female", "urn:oid:1.2.3", " "]),
    st.lists(st.sampled_from(["x", 1, None, {}]), max_size=2),
    st.dictionaries(st.sampled_from(["family", "value", "system", "zzz"]), st.sampled_from(["x", 1, None]), max_size=2),
)


def _places(element: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a resource."""
    found: list[tuple[Any, Any]] = []
    items = element.items() if isinstance(element, dict) else enumerate(element) if isinstance(element, list) else ()
    for key, value in items:
        found += [(element, key), *_places(value)]
    return found


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_nothing_breaks_and_what_is_accepted_is_a_patient(data: st.DataObject) -> None:
    """One element of a good Patient becomes something else: what is accepted is a Patient for `fhir.resources`, too."""
    patient = copy.deepcopy(EVERYTHING)
    container, key = data.draw(st.sampled_from(_places(patient)))
    container[key] = data.draw(_VALUES)
    if patient.get("resourceType") != "Patient":
        return
    found, issues = checked(patient, "Patient")
    assert all(isinstance(issue, Issue) and issue.expression for issue in issues)
    if issues:
        return
    try:
        Patient.model_validate(json.loads(json.dumps(found, default=float)))
    except ValidationError as error:
        # The models know rules of the profile of extensions and of required bindings that are not of the types.
        raise AssertionError(f"accepted, and no Patient: {error}") from None
    assert read_xml(write_xml({"resourceType": "Patient", **found}))[1] == []
