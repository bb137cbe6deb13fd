"""Newborns of whom the mother's identifier (PID-21) is known and hardly anything else: found and answered by the mother's record.

Spec: ITI TF-1 8.2.1 (Pediatric Demographics), ITI TF-2 3.21.4.1.2.3, 3.47.4.1.2.1; the stories are OHIE-CR-07 and OHIE-CR-13 of
the OpenHIE client registry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.faces import Faces, three_faces, values
from tests.hl7v3 import parameter
from tests.identity import CALLER
from xds.model.caller import Action, Caller, Resource
from xds.model.demographics_query import DemographicsQuery, IdentifierPattern, PageRequest
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import IdentityDomain
from xds.wire.hl7v2 import Message

TEST = AssigningAuthority("TEST", "2.16.840.1.113883.3.72.5.9.1")
OTHER = AssigningAuthority("OTHER", "2.999.4")
DOMAINS = (IdentityDomain(TEST), IdentityDomain(OTHER))

_HOME = "123 Main Street West ^^NEWARK^NJ^30293||^PRN^PH^^^409^30495"
MOTHER = f"PID|||RJ-439^^^TEST||JONES^JENNIFER^^^^^L|SMITH^^^^^^L|19840125|F|||{_HOME}"
NEWBORN = "PID|||RJ-440^^^TEST||||20141001|M|||||||||||||RJ-439^^^TEST"
HARNESS = {"sender": "TEST_HARNESS^^|TEST^^", "version": "2.3.1"}


def register(faces: Faces, *pids: str) -> None:
    for pid in pids:
        assert faces.feed("A01^ADT_A01", pid, "PV1||I", **HARNESS) == "AA"


@pytest.fixture
def faces(tmp_path: Path) -> Iterator[Faces]:
    """Jennifer Jones and her newborn."""
    with three_faces(tmp_path, domains=DOMAINS) as found:
        register(found, MOTHER, NEWBORN)
        yield found


def ask(faces: Faces, criteria: str) -> Message:
    answer = faces.v2(
        "QBP^Q22^QBP_Q21", f"QPD|Q22^Find Candidates^HL7|Q0740|{criteria}", "RCP|I|10^RD", sender="TEST_HARNESS|TEST"
    )
    assert (answer.get("MSA-1"), answer.count("ERR")) == ("AA", 0)
    return answer


def found(faces: Faces, criteria: str) -> list[str]:
    return sorted(item for each in values(ask(faces, criteria)) for item in each if item.startswith("RJ-"))


def test_the_newborn_has_the_name_of_the_mother(faces: Faces) -> None:
    """OHIE-CR-07-40."""
    answer = ask(faces, "@PID.3.1^RJ-440~@PID.3.4.1^TEST")
    assert answer.count("PID") == 1
    assert answer.get("PID-6.1") == "JONES"
    assert answer.get("PID-6.2") == "JENNIFER"
    assert answer.get("PID-21.1") == "RJ-439"
    assert (answer.get("PID-21.4.1"), answer.get("PID-21.4.2")) == ("TEST", TEST.oid)


@pytest.mark.parametrize(
    "criteria",
    [
        # OHIE-CR-13-20 and OHIE-CR-13-30
        "@PID.21.1^RJ-439~@PID.21.4.1^TEST",
        "@PID.6.1^JONES~@PID.6.2^JENNIFER",
        "@PID.21.1^RJ-439",
        "@PID.21.1^RJ-439~@PID.21.4.2^2.16.840.1.113883.3.72.5.9.1~@PID.21.4.3^ISO",
        "@PID.6.1^jones",
        "@PID.6.1^JON*",
        "@PID.6.1^JONES~@PID.7^20141001",
        "@PID.6.1^JONES~@PID.6.2^JENNIFER~@PID.7^20141001~@PID.8^M",
        "@PID.3.1^RJ-440~@PID.3.4.1^TEST~@PID.6.1^JONES",
    ],
)
def test_the_newborn_is_found_by_the_mother(faces: Faces, criteria: str) -> None:
    assert found(faces, criteria) == ["RJ-440"]


@pytest.mark.parametrize(
    "criteria",
    [
        "@PID.6.1^JONES~@PID.6.2^ANNE",
        "@PID.6.1^JONES~@PID.7^19990101",
        "@PID.6.1^JONES~@PID.8^F",
        "@PID.6.1^JONES~@PID.8^U",
        "@PID.21.1^RJ-440~@PID.21.4.1^TEST",
        "@PID.21.1^RJ-439~@PID.21.4.1^OTHER",
        "@PID.3.1^RJ-439~@PID.3.4.1^TEST~@PID.6.1^JONES",
    ],
)
def test_nobody_else_is(faces: Faces, criteria: str) -> None:
    assert found(faces, criteria) == []


def test_the_mother_is_found_by_her_own_mother(faces: Faces) -> None:
    assert found(faces, "@PID.6.1^SMITH") == ["RJ-439"]


def test_in_version_3(faces: Faces) -> None:
    named = parameter("mothersMaidenName", "<value><given>Jennifer</given><family>Jones</family></value>")
    answer = faces.pdq_v3(named)
    assert (answer.kind, answer.status) == ("AA", "OK")
    assert (TEST.oid, "RJ-440") in answer.ids
    holders = [item.text for item in answer.root.iter("{urn:hl7-org:v3}family")]
    assert "JONES" in holders


def test_in_fhir(faces: Faces) -> None:
    bundle = faces.search(mothersMaidenName="Jones")
    (entry,) = bundle["entry"]
    extensions = {item["url"].rpartition("/")[2]: item.get("valueString") for item in entry["resource"]["extension"]}
    assert extensions["patient-mothersMaidenName"] == "JONES"
    assert "RJ-440" in {item["value"] for item in entry["resource"]["identifier"]}


def test_what_a_source_says_of_the_mother_counts_more(faces: Faces) -> None:
    register(faces, f"{NEWBORN.replace('RJ-440', 'RJ-441').replace('||||2014', '|||SMYTHE^JENNY|2014')}")
    answer = ask(faces, "@PID.3.1^RJ-441~@PID.3.4.1^TEST")
    assert (answer.get("PID-6.1"), answer.get("PID-6.2")) == ("SMYTHE", "JENNY")
    assert found(faces, "@PID.6.1^SMYTHE") == ["RJ-441"]


def test_the_name_of_her_birth_is_told(faces: Faces) -> None:
    names = "JONES^JENNIFER^^^^^D~MARTIN^JENNIFER^^^^^M"
    register(faces, MOTHER.replace("JONES^JENNIFER^^^^^L", names).replace("RJ-439", "RJ-500").replace("1984", "1991"))
    register(faces, NEWBORN.replace("RJ-439", "RJ-500").replace("RJ-440", "RJ-501"))
    assert ask(faces, "@PID.3.1^RJ-501~@PID.3.4.1^TEST").get("PID-6.1") == "MARTIN"
    assert found(faces, "@PID.6.1^MARTIN") == ["RJ-501"]
    assert found(faces, "@PID.6.1^JONES") == ["RJ-440", "RJ-501"]


def test_a_mother_who_is_fed_later_and_one_who_is_renamed(tmp_path: Path) -> None:
    with three_faces(tmp_path, domains=DOMAINS) as faces:
        register(faces, NEWBORN)
        assert ask(faces, "@PID.3.1^RJ-440~@PID.3.4.1^TEST").get("PID-6") == ""
        register(faces, MOTHER)
        assert found(faces, "@PID.6.1^JONES") == ["RJ-440"]
        assert faces.feed("A08^ADT_A01", MOTHER.replace("JONES", "STONE"), "PV1||I", **HARNESS) == "AA"
        assert found(faces, "@PID.6.1^JONES") == []
        assert found(faces, "@PID.6.1^STONE") == ["RJ-440"]


def test_a_mother_whose_identifier_was_merged(faces: Faces) -> None:
    register(faces, MOTHER.replace("RJ-439", "RJ-600").replace("JONES", "JONES-BAKER"))
    merge = "PID|||RJ-600^^^TEST||JONES-BAKER^JENNIFER^^^^^L||19840125|F"
    assert faces.feed("A40^ADT_A39", merge, "MRG|RJ-439^^^TEST", **HARNESS) == "AA"
    assert found(faces, "@PID.6.1^JONES-BAKER") == ["RJ-440"]
    assert ask(faces, "@PID.3.1^RJ-440~@PID.3.4.1^TEST").get("PID-6.1") == "JONES-BAKER"


def test_nobody_is_her_own_mother(faces: Faces) -> None:
    register(faces, "PID|||RJ-700^^^TEST||LOOP^LEA^^^^^L||19900101|F|||||||||||||RJ-700^^^TEST")
    assert ask(faces, "@PID.3.1^RJ-700~@PID.3.4.1^TEST").get("PID-6") == ""
    assert found(faces, "@PID.6.1^LOOP") == []


@pytest.mark.parametrize("minimum", [1, 3])
def test_the_identifier_of_the_mother_is_enough(tmp_path: Path, minimum: int) -> None:
    with three_faces(tmp_path, domains=DOMAINS, supplier={"minimum_criteria": minimum}) as faces:
        register(faces, MOTHER, NEWBORN)
        assert found(faces, "@PID.21.1^RJ-439~@PID.21.4.1^TEST") == ["RJ-440"]


class OnlyChildren:
    """An access rule that shows nobody whose affinity identifier is listed."""

    def __init__(self) -> None:
        self.hidden: set[str] = set()

    def permits(self, caller: Caller, action: Action, resources: Sequence[Resource]) -> Sequence[bool]:
        """Whatever is not hidden."""
        return [resource.patient_id not in self.hidden for resource in resources]


def test_a_mother_whom_the_asker_may_not_see_is_not_told(tmp_path: Path) -> None:
    rule = OnlyChildren()
    with three_faces(tmp_path, domains=DOMAINS, access=rule) as faces:
        register(faces, MOTHER, NEWBORN)
        rule.hidden.add(faces.region.affinity(PatientIdentifier("RJ-439", TEST)).to_cx())
        assert found(faces, "@PID.6.1^JONES") == []
        assert ask(faces, "@PID.3.1^RJ-440~@PID.3.4.1^TEST").get("PID-6") == ""


def test_more_mothers_of_a_name_than_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds.actors.demographics_search._MOST_MOTHERS", 2)
    with three_faces(tmp_path, domains=DOMAINS) as faces:
        for number in range(3):
            register(faces, MOTHER.replace("RJ-439", f"RJ-80{number}").replace("19840125", f"198{number}0125"))
        answer = faces.pdq("@PID.6.1^JONES")
        assert (answer.get("MSA-1"), answer.get("QAK-2"), answer.get("ERR-4")) == ("AA", "NF", "W")


def test_the_query_of_the_actor(faces: Faces) -> None:
    query = DemographicsQuery(mother_identifiers=((IdentifierPattern("RJ-439", TEST),),))
    (match,) = faces.region.supplier.search(query, PageRequest(), CALLER).matches
    assert (match.demographics.mother_maiden_name, match.demographics.mother_given_name) == ("JONES", "JENNIFER")
