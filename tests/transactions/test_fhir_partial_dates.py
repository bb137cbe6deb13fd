"""Birth dates of which a part is known, as FHIR and HL7 v3 search them.

FHIR R4 3.1.1.4.5: `eq` finds a date whose range lies in that of the search; `gt`, `lt`, `ge`, `le` find one whose range overlaps
what is after or before; `sa` and `eb` one that lies there whole; `ne` whatever `eq` does not find;
`ap` one that overlaps what is about it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fhir import HOSPITAL_A, FhirService, a_patient, fhir_service
from tests.hl7v3 import ask, message, parameter, query


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirService]:
    """Patients named after what is known of their births."""
    with fhir_service(tmp_path_factory.mktemp("dates")) as found:
        for number, born in enumerate(("1950", "1950-02", "1950-02-15", "1951-06", "1951-06-30")):
            given = ["Anne", "Berthe", "Claude", "Denis", "Émile"][number]
            found.put(a_patient(born, name=[{"family": "Aubigné", "given": [given]}], birthDate=born, address=[], telecom=[]))
        yield found


@pytest.mark.parametrize("family", ["family=Aubigne", "family=aub", "family:contains=bign", "given=an,be,cl,de,em"])
@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("birthdate=1950-02", ["1950-02", "1950-02-15"]),
        ("birthdate=1950", ["1950", "1950-02", "1950-02-15"]),
        ("birthdate=1951-06", ["1951-06", "1951-06-30"]),
        ("birthdate=1950-02-15", ["1950-02-15"]),
        ("birthdate=ge1950-02-20", ["1950", "1950-02", "1951-06", "1951-06-30"]),
        ("birthdate=ge1950-02-20&birthdate=le1951-06-29", ["1950", "1950-02", "1951-06"]),
        ("birthdate=gt1950-02-28", ["1950", "1951-06", "1951-06-30"]),
        ("birthdate=lt1950-02-15", ["1950", "1950-02"]),
        ("birthdate=le1950-02-15", ["1950", "1950-02", "1950-02-15"]),
        ("birthdate=sa1950-02-14", ["1950-02-15", "1951-06", "1951-06-30"]),
        ("birthdate=eb1950-02-20", ["1950-02-15"]),
        ("birthdate=sa1949&birthdate=eb1950-02-20", ["1950-02-15"]),
        ("birthdate=ap1950-08-15", ["1950", "1950-02", "1950-02-15"]),
        ("birthdate=ap1950-08-17", ["1950", "1950-02"]),
        ("birthdate=ne1950-02-15", ["1950", "1950-02", "1951-06", "1951-06-30"]),
        ("birthdate=ne1950", ["1951-06", "1951-06-30"]),
    ],
)
def test_prefixes(service: FhirService, family: str, condition: str, expected: list[str]) -> None:
    assert sorted(service.found(f"{family}&{condition}")) == expected


@pytest.mark.parametrize(
    ("value", "fhir"),
    [
        ('<value value="195002"/>', "1950-02"),
        ('<value value="1951"/>', "1951"),
        ('<value><low value="19500201"/><high value="19500228"/></value>', "1950-02"),
    ],
)
def test_hl7_v3_and_fhir_find_the_same(service: FhirService, value: str, fhir: str) -> None:
    parameters = parameter("livingSubjectBirthTime", value) + parameter(
        "livingSubjectName", "<value><family>Aubigné</family></value>"
    )
    head = '<responseModalityCode code="R"/><responsePriorityCode code="I"/>'
    answer = ask(service.region, message("PRPA_IN201305UV02", query(parameters, head=head)))
    found = sorted(value for root, value in answer.ids if f"urn:oid:{root}" == HOSPITAL_A)
    assert found == sorted(service.found(f"family=Aubigne&birthdate={fhir}"))
    assert found
