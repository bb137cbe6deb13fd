"""The Patient resource and demographics, in both directions. Spec: FHIR R4 8.1, PDQm Patient, HL7 Version 2 to FHIR."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fhir.resources.R4B.patient import Patient
from hypothesis import given, settings
from hypothesis import strategies as st

from xds.model.demographics_query import PatientMatch
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Address, Demographics, IdentityDomain, PersonName
from xds.wire.fhir_identifiers import IdentifierSystems, key_of
from xds.wire.fhir_patient import PROFILE, date_of, read_demographics, unstated, version_of, write_patient
from xds.wire.fhir_structure import checked
from xds.wire.fhir_xml import read_xml, write_xml

BASE = "https://xds.example/fhir"
CLINIC = AssigningAuthority("CLINIC", "2.999.5")
SYSTEMS = IdentifierSystems(BASE, (IdentityDomain(CLINIC, (), "https://clinic.example/patients"),))
MATCH = PatientMatch(
    7, (PatientIdentifier("1", AssigningAuthority("HOSP_A", "2.999.1"), "PI"),), Demographics(), updated=1_700_000_000_123
)


def _written(demographics: Demographics, **more: Any) -> dict[str, Any]:
    found = write_patient(replace(MATCH, demographics=demographics, **more), SYSTEMS)
    Patient.model_validate(found)
    assert checked(found, "Patient")[1] == []
    return found


def test_everything() -> None:
    demographics = Demographics(
        names=(
            PersonName("Lefèvre", "Marie", "Anne Lou", "Jr", "Dr", "L"),
            PersonName("Dubois", use="D"),
            PersonName("Née", "Marie", use="M"),
        ),
        birth_date="196203140830",
        sex="F",
        addresses=(Address("4 rue des Lilas", "Bât. B", "Orléans", "45", "45000", "FRA", "H"),),
        telephones=("+33238000001",),
        mother_maiden_name="Petit",
        mother_given_name="Odile",
        multiple_birth=True,
        birth_order=2,
        death_time="202001021530",
        deceased=True,
        work_telephones=("+33238000002",),
        emails=("m@example.org",),
        language="fr",
        marital_status="M",
        birth_place="Tours",
        reliability=("QUAL",),
    )
    found = _written(demographics)
    assert found["meta"] == {
        "versionId": version_of(replace(MATCH, demographics=demographics)),
        "lastUpdated": "2023-11-14T22:13:20.123Z",
        "profile": [PROFILE],
    }
    assert found["identifier"] == [
        {
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "PI"}]},
            "system": "urn:oid:2.999.1",
            "value": "1",
            "assigner": {"display": "HOSP_A"},
        }
    ]
    assert [name.get("use") for name in found["name"]] == ["official", "usual", "maiden"]
    assert found["name"][0]["given"] == ["Marie", "Anne", "Lou"]
    assert (found["birthDate"], found["deceasedDateTime"]) == ("1962-03-14", "2020-01-02")
    assert [(item["system"], item.get("use")) for item in found["telecom"]] == [
        ("phone", "home"),
        ("phone", "work"),
        ("email", None),
    ]
    assert found["communication"][0]["preferred"] is True
    read = read_demographics(found)
    assert read == replace(demographics, birth_date="19620314", death_time="20200102")
    assert read_demographics(read_xml(write_xml(found))[0]) == read


def test_versions() -> None:
    """Whatever a reader can see makes another version, and nothing else does."""
    other = PatientIdentifier("2", AssigningAuthority("HOSP_B", "2.999.2"))
    changed = [
        {"identifiers": (*MATCH.identifiers, other)},
        {"demographics": Demographics(sex="F")},
        {"active": False},
        {"updated": 5},
    ]
    assert len({version_of(MATCH), *(version_of(replace(MATCH, **change)) for change in changed)}) == 5
    assert version_of(replace(MATCH, score=70, missing=(CLINIC,))) == version_of(MATCH)
    assert "versionId" not in write_patient(MATCH, SYSTEMS, is_whole=False)["meta"]


def test_nothing_is_known() -> None:
    assert _written(Demographics()).keys() == {"resourceType", "id", "meta", "identifier", "active"}
    assert read_demographics(_written(Demographics())) == Demographics()


def test_a_record_of_another_person() -> None:
    found = _written(Demographics(), active=False, replaced_by=3, identifiers=())
    assert found["link"] == [{"other": {"reference": "Patient/3"}, "type": "replaced-by"}]
    assert found["identifier"] == [{"system": "urn:ietf:rfc:3986", "value": f"{BASE}/Patient/7"}]


@pytest.mark.parametrize(
    ("sex", "gender"),
    [("M", "male"), ("F", "female"), ("O", "other"), ("A", "other"), ("N", "other"), ("U", "unknown"), (None, None)],
)
def test_gender(sex: str | None, gender: str | None) -> None:
    assert _written(Demographics(sex=sex)).get("gender") == gender


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ({"deceasedBoolean": False}, Demographics(deceased=False)),
        ({"deceasedBoolean": True}, Demographics(deceased=True)),
        ({"deceasedDateTime": "2020"}, Demographics(deceased=True, death_time="2020")),
        ({"deceasedDateTime": "2020-01-02T15:30:00.5+01:00"}, Demographics(deceased=True, death_time="20200102153000")),
        ({"multipleBirthBoolean": True}, Demographics(multiple_birth=True)),
        ({"multipleBirthInteger": 2}, Demographics(multiple_birth=True, birth_order=2)),
        ({"birthDate": "1990"}, Demographics(birth_date="1990")),
        ({"birthDate": "1990-04"}, Demographics(birth_date="199004")),
        ({"name": [{"text": "Marie Curie"}]}, Demographics(names=(PersonName("Marie Curie"),))),
        ({"name": [{"use": "old", "family": "X"}]}, Demographics(names=(PersonName("X", use="A"),))),
        ({"name": [{"use": "usual"}]}, Demographics()),
        (
            {"telecom": [{"value": "1"}, {"system": "fax", "value": "2"}, {"system": "sms", "value": "3"}]},
            Demographics(telephones=("1", "3")),
        ),
        ({"telecom": [{"system": "phone", "value": "1", "use": "old"}]}, Demographics()),
        ({"address": [{"text": "Paris"}]}, Demographics(addresses=(Address("Paris"),))),
        ({"address": [{"line": ["a", "b"], "district": "d"}]}, Demographics(addresses=(Address("a", "b d"),))),
        (
            {"maritalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "UNK"}]}},
            Demographics(marital_status="U"),
        ),
        ({"maritalStatus": {"coding": [{"code": "X"}]}}, Demographics(marital_status="X")),
        ({"maritalStatus": {"text": "?"}}, Demographics()),
        (
            {
                "communication": [
                    {"language": {"coding": [{"code": "en"}]}},
                    {"language": {"coding": [{"code": "fr"}]}, "preferred": True},
                ]
            },
            Demographics(language="fr"),
        ),
    ],
)
def test_reading(element: dict[str, Any], expected: Demographics) -> None:
    patient, issues = checked(element, "Patient")
    assert issues == []
    assert read_demographics(patient) == expected


@pytest.mark.parametrize("code", list("ADISWCPNB"))
def test_marital_status(code: str) -> None:
    assert read_demographics(_written(Demographics(marital_status=code))).marital_status in (code, "A")


def test_what_an_update_deletes() -> None:
    stated = Demographics(names=(PersonName("X"),), sex="F")
    assert {"birth_date", "addresses", "national_identifiers"} <= set(unstated(stated))
    # A Patient cannot name these, and so it does not delete them.
    assert {"names", "sex", "account_number", "religion"} & set(unstated(stated)) == set()


@pytest.mark.parametrize(
    ("dtm", "date"),
    [
        ("1962", "1962"),
        ("196203", "1962-03"),
        ("1962031408", "1962-03-14"),
        ("19", None),
        ("", None),
        (None, None),
        ("1962AB", None),
    ],
)
def test_dates(dtm: str | None, date: str | None) -> None:
    assert date_of(dtm) == date


@pytest.mark.parametrize(
    ("system", "authority"),
    [
        ("urn:oid:2.999.1", AssigningAuthority(oid="2.999.1")),
        ("https://clinic.example/patients", CLINIC),
        ("http://other.example", AssigningAuthority("http://other.example")),
        (f"{BASE}/NamingSystem/H%C3%B4p%20A", AssigningAuthority("Hôp A")),
    ],
)
def test_systems(system: str, authority: AssigningAuthority) -> None:
    assert SYSTEMS.authority(system) == authority
    assert SYSTEMS.system(authority) == system


def test_a_configured_domain_by_any_name() -> None:
    for authority in (CLINIC, AssigningAuthority(oid="2.999.5"), AssigningAuthority("CLINIC")):
        assert SYSTEMS.system(authority) == "https://clinic.example/patients"


def test_own_ids() -> None:
    assert SYSTEMS.own_key(BASE, "Patient/7") == SYSTEMS.own_key(f"{BASE}/", "7") == 7
    assert SYSTEMS.own_key("http://other.example", "Patient/7") is None
    assert SYSTEMS.own_reference(f"{BASE}/Patient/7/_history/3") == SYSTEMS.own_reference("Patient/7") == 7
    assert SYSTEMS.own_reference("http://other.example/Patient/7") is None
    assert [key_of(text) for text in ("7", "07", "-7", "٧", "7" * 40, "", "x")] == [7, None, None, None, None, None, None]


_WORD = st.text(st.characters(categories=["Lu", "Ll"], max_codepoint=0x24F), min_size=1, max_size=8)
_DAYS = st.dates().map(lambda day: day.strftime("%Y%m%d").zfill(8))
_PEOPLE = st.builds(
    Demographics,
    names=st.lists(
        st.builds(
            PersonName,
            family=_WORD,
            given=_WORD,
            further_given=st.lists(_WORD, max_size=2).map(" ".join),
            use=st.sampled_from([None, "L", "D", "M", "N", "S"]),
        ),
        max_size=3,
    ).map(tuple),
    birth_date=st.none() | _DAYS,
    sex=st.sampled_from([None, "M", "F", "O", "U"]),
    addresses=st.lists(
        st.builds(Address, street=_WORD, city=_WORD, postal_code=_WORD, use=st.sampled_from([None, "H", "B", "C"])), max_size=2
    ).map(tuple),
    telephones=st.lists(_WORD, max_size=2).map(tuple),
    mother_maiden_name=st.none() | _WORD,
    mother_given_name=st.none() | _WORD,
    work_telephones=st.lists(_WORD, max_size=2).map(tuple),
    emails=st.lists(_WORD, max_size=2).map(tuple),
    language=st.sampled_from([None, "fr", "en-GB"]),
    marital_status=st.sampled_from([None, "M", "S", "D", "W", "U"]),
    birth_place=st.none() | _WORD,
    reliability=st.lists(st.sampled_from(["PROV", "VALI", "QUAL"]), max_size=2, unique=True).map(tuple),
)


def test_a_mother() -> None:
    """Her maiden name is an extension, her given name that of a contact."""
    written = _written(Demographics(mother_maiden_name="Petit", mother_given_name="Odile"))
    (contact,) = written["contact"]
    assert contact["name"] == {"use": "maiden", "family": "Petit", "given": ["Odile"]}
    role = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}
    named = {"relationship": [{"coding": [role]}], "name": {"use": "maiden", "family": "Durand", "given": ["Eve"]}}
    found = read_demographics({"resourceType": "Patient", "contact": [named]})
    assert (found.mother_maiden_name, found.mother_given_name) == ("Durand", "Eve")
    # The name that she uses is not the one that she was born with, and whoever is not the mother says nothing of her.
    named["name"]["use"] = "usual"
    assert read_demographics({"resourceType": "Patient", "contact": [named]}).mother_maiden_name is None
    named["relationship"] = [{"coding": [{**role, "code": "FTH"}]}]
    assert read_demographics({"resourceType": "Patient", "contact": [named]}) == Demographics()


@settings(max_examples=100, deadline=None)
@given(_PEOPLE)
def test_what_is_written_is_read_again(demographics: Demographics) -> None:
    found = _written(demographics)
    assert read_demographics(found) == demographics
    assert read_demographics(checked(read_xml(write_xml(found))[0], "Patient")[0]) == demographics
