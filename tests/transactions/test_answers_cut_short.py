"""More patients than are ever answered: an answer that `identity.max_results` cut says so in every wire form.

Spec: HL7 v2.5 2.15.5 (ERR, severity W); HL7 v3 acknowledgementDetail W; FHIR R4 3.1.1.5.7 (outcome in a searchset).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hl7apy.parser import parse_message

from tests.faces import Faces, three_faces
from tests.hl7v3 import parameter
from tests.identity import HOSPITAL_A, at
from xds.model.demographics_query import INCOMPLETE
from xds.model.patient import Demographics, PersonName
from xds.transactions.pdq_exchange import answer_of
from xds.wire import hl7v2


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    """Five persons of one name, three of whom an answer may have at most."""
    with three_faces(tmp_path_factory.mktemp("cut"), supplier={"page_size": 2, "max_results": 3}) as found:
        for number in range(5):
            born = f"19{30 + 9 * number}0{1 + number}11"
            person = Demographics((PersonName("Page", f"Given{chr(97 + number) * 8}"),), born, "F")
            found.region.feed(at(HOSPITAL_A, f"P-{number}"), demographics=person)
        yield found


def test_in_version_2(faces: Faces) -> None:
    answer = faces.pdq("@PID.5.1^Page")
    assert (answer.get("MSA-1"), answer.get("QAK-2"), answer.count("PID")) == ("AA", "OK", 2)
    assert [answer.get(f"ERR-{number}") for number in (2, 3, 4, 8)] == ["", "0", "W", INCOMPLETE]
    last = faces.pdq("@PID.5.1^Page", dsc=answer.get("DSC-1"))
    assert (last.count("PID"), last.get("ERR-4"), last.get("DSC-1")) == (1, "W", "")
    assert parse_message(hl7v2.write(answer).decode()).validate()


def test_a_client_learns_that_it_is_a_warning(faces: Faces) -> None:
    answer = answer_of(faces.pdq("@PID.5.1^Page"))
    assert answer.acknowledged.is_accepted
    assert [(item.severity, item.text) for item in answer.acknowledged.faults] == [("W", INCOMPLETE)]


def test_in_version_3(faces: Faces) -> None:
    answer = faces.pdq_v3(parameter("livingSubjectName", "<value><family>Page</family></value>"))
    assert (answer.kind, answer.status, answer.quantities) == ("AA", "OK", [None, 2, None])
    assert ([code for code, _ in answer.details], INCOMPLETE in answer.texts) == (["SYN113"], True)


def test_in_fhir(faces: Faces) -> None:
    for parameters in ({"family": "Page"}, {"family": "Page", "_count": 3}):
        found = faces.search(**parameters)
        assert "total" not in found
        outcome = next(item for item in found["entry"] if item["search"]["mode"] == "outcome")
        (issue,) = outcome["resource"]["issue"]
        assert (issue["severity"], issue["code"], issue["diagnostics"]) == ("warning", "too-costly", INCOMPLETE)


@pytest.mark.parametrize("family", ["Page", "Nobody"])
def test_whole_answers_say_nothing(faces: Faces, family: str) -> None:
    answer = faces.pdq(f"@PID.5.1^{family}~@PID.7^19300111")
    assert (answer.count("ERR"), answer.count("PID")) == (0, int(family == "Page"))
    found = faces.search(family=family, birthdate="1930-01-11")
    assert found["total"] == answer.count("PID")
    assert all(item["search"]["mode"] == "match" for item in found.get("entry", ()))


def test_every_page_of_a_cut_answer_is_told(faces: Faces) -> None:
    found = faces.search(family="Page")
    following = next(item["url"] for item in found["link"] if item["relation"] == "next")
    answer = faces.client.get(following)
    modes = [item["search"]["mode"] for item in answer.json()["entry"]]
    assert (answer.status_code, modes) == (200, ["match", "outcome"])
