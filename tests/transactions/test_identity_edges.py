"""What strangers send to the identity actors: character sets, odd queries, pages while feeds go on, conditions of FHIR.

Spec: ITI TF-2 C.2.2 (character sets), 3.9, 3.21 (continuation), 3.30; PIXm 2:3.83, 2:3.104; PDQm 2:3.119.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faces import Faces, three_faces, values
from tests.fhir import HOSPITAL_A, HOSPITAL_B, a_patient, issues
from tests.identity import CALLER
from xds.transactions import iti08_patient_identity_feed as iti08
from xds.wire import hl7v2
from xds.wire.hl7v2 import Message

GIVENS = ("ANNE", "BERTHE", "CLAIRE", "DIANE", "ELISE", "FANNY", "GRETA")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    with three_faces(tmp_path_factory.mktemp("edges")) as found:
        yield found


def admit(faces: Faces, value: str, name: str, born: str, rest: str = "|F") -> None:
    assert faces.feed("A28^ADT_A05", f"PID|||{value}^^^HOSP_A||{name}^^^^^L||{born}{rest}", "PV1||N") == "AA"


def faults(answer: Message) -> list[tuple[str, str]]:
    numbers = range(1, answer.count("ERR") + 1)
    return [
        (hl7v2.translate(answer.field("ERR-2", number), answer.separators), answer.get("ERR-3", occurrence=number))
        for number in numbers
    ]


def locals_of(answer: Message) -> list[str]:
    """The hospital's identifier of each patient; every one has another of the affinity domain."""
    return [min(each, key=len) for each in values(answer)]


class TestCharacterSets:
    @pytest.mark.parametrize(
        ("label", "name", "codec", "mark"),
        [
            ("8859/15", "ŒUVRÉ€", "iso8859-15", b""),
            ("8859/1", "ÜNÏ", "iso8859-1", b""),
            ("UNICODE UTF-8", "ŒUVRÉ", "utf-8", b""),
            ("UNICODE UTF-8", "BÔMÉ", "utf-8", b"\xef\xbb\xbf"),
            ("", "BÔMÉ", "utf-8", b"\xef\xbb\xbf"),
            ("UNICODE", "ŽIŽEK", "utf-8", b""),
        ],
    )
    def test_what_is_fed_in_one_is_found_in_another(self, faces: Faces, label: str, name: str, codec: str, mark: bytes) -> None:
        value = f"C{len(name)}{len(mark)}{codec}{label}"
        lines = (
            f"MSH|^~\\&|ADT|HOSP_A|XDS|REGION|20260115||ADT^A01^ADT_A01|{value}|P|2.3.1||||||{label}",
            "EVN||20260115",
            f"PID|||{value}^^^HOSP_A||{name}^ZOE^^^^^L||19620314|F",
            "PV1||I",
        )
        request = hl7v2.read(mark + "\r".join(lines).encode(codec))
        written = hl7v2.write(iti08.respond(request, faces.domain, CALLER))
        assert hl7v2.read(written).get("MSA-1") == "AA"
        answer = faces.pdq(f"@PID.3.1^{value}~@PID.3.4.1^HOSP_A")
        assert answer.get("PID-5.1") == name
        assert value in {item for each in values(faces.pdq(f"@PID.5.1^{name}~@PID.5.2^ZOE")) for item in each}


class TestQueries:
    @pytest.mark.parametrize(
        ("identifier", "expected"),
        [
            ("Q1^^^NOPE", [("QPD^1^3^1^4", "204")]),
            ("Q1", [("QPD^1^3^1^4", "204")]),
            ("^^^HOSP_A", [("QPD^1^3", "101")]),
            ("", [("QPD^1^3", "101")]),
            ("Q1^^^HOSP_A~Q2^^^HOSP_A", [("QPD^1^3^2", "102")]),
            ("Q1^^^HOSP_A&9.9.9&ISO", [("QPD^1^3^1^4", "204")]),
            ("Q1^^^HOSP_A&1.2.250.1.71.1&DNS", [("QPD^1^3^1^4", "204")]),
            ("q1^^^HOSP_A", [("QPD^1^3^1^1", "204")]),
            ("0Q1^^^HOSP_A", [("QPD^1^3^1^1", "204")]),
        ],
    )
    def test_identifiers_that_mean_nobody(self, faces: Faces, identifier: str, expected: list[tuple[str, str]]) -> None:
        admit(faces, "Q1", "QUERY^QUINN", "19610101")
        answer = faces.pix(identifier)
        assert (answer.get("MSA-1"), answer.get("QAK-2"), faults(answer)) == ("AE", "AE", expected)

    @pytest.mark.parametrize(
        ("domains", "status", "expected"),
        [
            ("^^^HOSP_B", "NF", []),
            ("^^^&1.2.250.1.71.2&ISO", "NF", []),
            ("x^^^HOSP_B", "NF", []),
            ("^^^HOSP_A", "NF", []),
            ("^^^HOSP_B~^^^NOPE~^^^NADA", "AE", [("QPD^1^4^2", "204"), ("QPD^1^4^3", "204")]),
            ("^^^", "AE", [("QPD^1^4^1^4", "101")]),
        ],
    )
    def test_domains(self, faces: Faces, domains: str, status: str, expected: list[tuple[str, str]]) -> None:
        admit(faces, "Q1", "QUERY^QUINN", "19610101")
        answer = faces.pix("Q1^^^HOSP_A", domains)
        assert (answer.get("QAK-2"), faults(answer)) == (status, expected)

    @pytest.mark.parametrize(
        ("criteria", "expected"),
        [
            ("@PID.5.1^", [("QPD^1^3", "101")]),
            ("@PID.5.1^*", [("QPD^1^3", "101")]),
            ("@PID.5.1^a*", [("QPD^1^3", "101")]),
            ("@PID.7^1962031", [("QPD^1^3^1^2", "102")]),
            ("@PID.99^x", [("QPD^1^3^1^1", "103")]),
            ("@PID.5.1.1.1^x", [("QPD^1^3^1^1", "102")]),
            ("PID.5.1^x", [("QPD^1^3^1^1", "102")]),
            ("@PID.21.3.4^HOSP_A~@PID.21.1^Q1", [("QPD^1^3^1^1", "103")]),
        ],
    )
    def test_criteria_that_cannot_be_searched(self, faces: Faces, criteria: str, expected: list[tuple[str, str]]) -> None:
        answer = faces.pdq(criteria)
        assert (answer.get("MSA-1"), answer.get("QAK-2"), faults(answer)) == ("AE", "AE", expected)

    def test_ligatures_are_two_letters(self, faces: Faces) -> None:
        admit(faces, "Q2", "ŒDIPE^LÆTITIA", "19620202")
        for criteria in ("@PID.5.1^OEDIPE", "@PID.5.1^œdi*", "@PID.5.1^ŒDIPE~@PID.5.2^LAETITIA"):
            assert locals_of(faces.pdq(criteria)) == ["Q2"], criteria


class TestPages:
    """The pages of an answer fit together whatever is fed meanwhile."""

    @pytest.fixture
    def pages(self, tmp_path: Path) -> Iterator[Faces]:
        with three_faces(tmp_path, supplier={"page_size": 50, "max_results": 50}) as found:
            for number, given in enumerate(GIVENS):
                admit(found, f"P{number}", f"PAGE^{given}", f"19{30 + 8 * number}0{1 + number}11")
            yield found

    def page(self, faces: Faces, pointer: str = "", rcp: str = "I|3^RD", **more: str) -> tuple[list[str], str]:
        answer = faces.pdq("@PID.5.1^PAGE", rcp=rcp, dsc=pointer, **more)
        assert answer.get("MSA-1") == "AA", faults(answer)
        return locals_of(answer), answer.get("DSC-1")

    def test_feeds_between_pages(self, pages: Faces) -> None:
        first, pointer = self.page(pages)
        assert first == ["P0", "P1", "P2"]
        admit(pages, "P9", "PAGE^IRMA", "20010101")
        merge = ("PID|||P0^^^HOSP_A||PAGE^ANNE|||F", "MRG|P4^^^HOSP_A")
        assert pages.feed("A40^ADT_A39", *merge) == "AA"
        second, last = self.page(pages, pointer)
        # Who became part of somebody of the first page is not told twice, and who is new is in no page.
        assert second == ["P3", "P5"]
        assert self.page(pages, last) == (["P6"], "")

    def test_a_page_is_given_again_and_in_other_sizes(self, pages: Faces) -> None:
        _, pointer = self.page(pages)
        assert self.page(pages, pointer)[0] == self.page(pages, pointer)[0] == ["P3", "P4", "P5"]
        assert self.page(pages, pointer, rcp="I|1^RD")[0] == ["P3"]
        assert self.page(pages, pointer, rcp="I") == (["P3", "P4", "P5", "P6"], "")

    @pytest.mark.parametrize("changed", [{"tag": "T9"}, {"domains": "^^^HOSP_A"}])
    def test_another_query_does_not_go_on(self, pages: Faces, changed: dict[str, str]) -> None:
        _, pointer = self.page(pages)
        answer = pages.pdq("@PID.5.1^PAGE", rcp="I|3^RD", dsc=pointer, **changed)
        assert faults(answer) == [("DSC^1^1", "204")]

    def test_cancelled(self, pages: Faces) -> None:
        _, pointer = self.page(pages)
        for _ in range(2):
            assert pages.v2("QCN^J01^QCN_J01", "QID|T1|IHE PDQ Query").get("MSA-1") == "AA"
        assert faults(pages.pdq("@PID.5.1^PAGE", rcp="I|3^RD", dsc=pointer)) == [("DSC^1^1", "204")]
        assert self.page(pages)[0] == ["P0", "P1", "P2"]


def merged(patient: dict[str, Any], *survivors: str, system: str = HOSPITAL_A) -> dict[str, Any]:
    links = [{"type": "replaced-by", "other": {"identifier": {"system": system, "value": item}}} for item in survivors]
    return {**patient, "active": False, "link": links}


class TestConditions:
    """ITI-104."""

    @pytest.mark.parametrize(
        "condition",
        [
            [],
            [("identifier", "A1")],
            [("identifier", f"{HOSPITAL_A}|")],
            [("identifier", f"{HOSPITAL_A}|A1"), ("identifier", f"{HOSPITAL_B}|B1")],
        ],
    )
    def test_the_condition_is_one_identifier(self, faces: Faces, condition: list[tuple[str, str]]) -> None:
        for answer in (
            faces.client.put("/Patient", params=condition, json=a_patient("A1")),
            faces.client.delete("/Patient", params=condition),
        ):
            assert answer.status_code == 400
            assert [item[1:] for item in issues(answer)] == [("required", "http.identifier")]

    def test_conditions_of_versions(self, faces: Faces) -> None:
        assert faces.put(a_patient("V1")).status_code == 201
        assert faces.put(a_patient("V1"), **{"If-None-Match": "*"}).status_code == 412
        assert faces.put(a_patient("V1"), **{"If-Match": 'W/"1"'}).status_code == 412
        version = faces.put(a_patient("V1")).headers["etag"]
        assert faces.put(a_patient("V1"), **{"If-Match": version}).status_code == 200

    @pytest.mark.parametrize(
        ("survivors", "system", "status"),
        [(("S1",), HOSPITAL_A, 409), (("B1",), HOSPITAL_B, 422), (("S2", "S2"), HOSPITAL_A, 422), ((), HOSPITAL_A, 422)],
    )
    def test_merges_that_are_none(self, faces: Faces, survivors: tuple[str, ...], system: str, status: int) -> None:
        for value in ("S1", "S2"):
            faces.put(a_patient(value, name=[{"family": f"Separate{value}"}], birthDate=f"19{value[1]}0-01-01"))
        assert faces.put(merged(a_patient("S1"), *survivors, system=system)).status_code == status
        assert faces.crossed(HOSPITAL_A[8:], "S1")[0] == "OK"

    def test_what_was_merged_is_not_revised(self, faces: Faces) -> None:
        for value in ("R1", "R2"):
            faces.put(a_patient(value, name=[{"family": f"Revised{value}"}], birthDate=f"19{value[1]}5-01-01"))
        assert faces.put(merged(a_patient("R2"), "R1")).status_code == 200
        assert faces.put(a_patient("R2")).status_code == 409
        assert faces.put(merged(a_patient("R1"), "R2")).status_code == 409
        assert faces.crossed(HOSPITAL_A[8:], "R2") == ("AE", frozenset())

    def test_what_nobody_knows_is_removed_with_a_warning(self, faces: Faces) -> None:
        answer = faces.client.delete("/Patient", params={"identifier": f"{HOSPITAL_A}|nobody"})
        assert (answer.status_code, answer.json()["issue"][0]["severity"]) == (200, "warning")


@pytest.fixture(scope="module")
def likely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    """Three people of one name."""
    with three_faces(tmp_path_factory.mktemp("match")) as found:
        for number in range(3):
            name = [{"family": "Kermadec", "given": ["Yann"]}]
            assert found.put(a_patient(f"M{number}", name=name, birthDate=f"1970-03-1{number}")).status_code == 201
        yield found


class TestMatch:
    """ITI-119."""

    def match(self, faces: Faces, *more: dict[str, Any]) -> httpx.Response:
        patient = {"resourceType": "Patient", "name": [{"family": "Kermadec", "given": ["Yann"]}], "birthDate": "1970-03-13"}
        parameters = [{"name": "resource", "resource": patient}, *more]
        return faces.client.post("/Patient/$match", json={"resourceType": "Parameters", "parameter": parameters})

    def test_the_total_tells_what_count_leaves_out(self, likely: Faces) -> None:
        everybody = self.match(likely).json()
        assert everybody["total"] == len(everybody["entry"]) > 1
        for count in (1, 2):
            found = self.match(likely, {"name": "count", "valueInteger": count}).json()
            assert (found["total"], len(found["entry"])) == (everybody["total"], count)
            assert [item["fullUrl"] for item in found["entry"]] == [item["fullUrl"] for item in everybody["entry"][:count]]

    def test_several_are_nobody_for_certain(self, likely: Faces) -> None:
        found = self.match(likely, {"name": "onlyCertainMatches", "valueBoolean": True}).json()
        assert (found["total"], "entry" in found) == (0, False)

    @pytest.mark.parametrize("count", [0, -1])
    def test_a_count_of_nobody(self, likely: Faces, count: int) -> None:
        assert self.match(likely, {"name": "count", "valueInteger": count}).status_code == 400
