"""Whatever happens to identifiers, HL7 v2, HL7 v3 and FHIR tell the same of them at each step.

Histories of merges, changed identifiers, links of sources, and decisions of the desk, fed in whichever wire form. Spec: ITI-8,
30, 44, 104 (feeds), ITI-9, 45, 83 (cross-references), ITI-21, 47, 78 (demographics).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faces import Faces, three_faces
from tests.hl7v3 import ii, message, patient
from tests.identity import AFFINITY, CALLER
from xds.model.identifiers import AssigningAuthority, PatientIdentifier

A, B, X = "1.2.250.1.71.1", "1.2.250.1.71.2", AFFINITY.oid or ""
NAMES = {A: "HOSP_A", B: "HOSP_B", X: "AFFINITY"}
#: Four people whom nobody mixes up, by the identifiers that they have at first.
PEOPLE = {
    (A, "1"): "ALPHA^ANNE^^^^^L||19500101|F",
    (A, "2"): "BETA^BORIS^^^^^L||19610202|M",
    (A, "3"): "GAMMA^GRETA^^^^^L||19720303|F",
    (B, "1"): "DELTA^DAVID^^^^^L||19830404|M",
}
Key = tuple[str, str]
Step = Callable[[Faces], object]


def cx(key: Key) -> str:
    oid, value = key
    return f"{value}^^^{NAMES[oid]}&{oid}&ISO"


def sender(key: Key) -> str:
    return "ADT|HOSP_A" if key[0] != B else "ADT|HOSP_B"


def identifier(key: Key) -> PatientIdentifier:
    return PatientIdentifier(key[1], AssigningAuthority(oid=key[0]))


def v2_merge(prior: Key, survivor: Key) -> Step:
    pid, mrg = f"PID|||{cx(survivor)}||{PEOPLE.get(survivor, 'BETA^BORIS')}", f"MRG|{cx(prior)}"
    return lambda faces: expect("AA", faces.feed("A40^ADT_A39", pid, mrg, sender=sender(prior)))


def v3_merge(prior: Key, survivor: Key) -> Step:
    body = patient(ii(survivor[1], survivor[0]), prior=ii(prior[1], prior[0]))
    return lambda faces: expect("CA", faces.v3(message("PRPA_IN201304UV02", body)).kind)


def fhir_merge(prior: Key, survivor: Key) -> Step:
    link = {"other": {"identifier": {"system": f"urn:oid:{survivor[0]}", "value": survivor[1]}}, "type": "replaced-by"}
    resource = {
        "resourceType": "Patient",
        "identifier": [{"system": f"urn:oid:{prior[0]}", "value": prior[1]}],
        "active": False,
        "name": [{"family": "Merged"}],
        "link": [link],
    }
    return lambda faces: expect(200, faces.put(resource).status_code)


def change(prior: Key, new: Key) -> Step:
    pid, mrg = f"PID|||{cx(new)}||{PEOPLE.get(prior, '')}", f"MRG|{cx(prior)}"
    return lambda faces: expect("AA", faces.feed("A47^ADT_A30", pid, mrg, sender=sender(prior)))


def joined(event: str, one: Key, other: Key) -> Step:
    return lambda faces: expect("AA", faces.feed(f"{event}^ADT_{event}", f"PID|||{cx(one)}", f"PID|||{cx(other)}"))


def fhir_remove(key: Key) -> Step:
    condition = {"identifier": f"urn:oid:{key[0]}|{key[1]}"}
    return lambda faces: expect(200, faces.client.delete("/Patient", params=condition).status_code)


def feed(key: Key, *others: Key) -> Step:
    pid = f"PID|||{'~'.join(map(cx, (key, *others)))}||{PEOPLE.get(key, 'NOVA^NINA^^^^^L||19940505|F')}"
    return lambda faces: expect("AA", faces.feed("A28^ADT_A05", pid, "PV1||N", sender=sender(key)))


def desk(action: str, one: Key, other: Key) -> Step:
    def decide(faces: Faces) -> object:
        desk = faces.region.pix.desk
        pair = [desk.record_of(identifier(key)) for key in (one, other)]
        assert None not in pair
        return getattr(desk, action)(*pair, CALLER)

    return decide


def undo(key: Key) -> Step:
    def undone(faces: Faces) -> object:
        desk = faces.region.pix.desk
        newest = next(item for item in desk.history(record_before(faces, key), CALLER) or () if item.undone_by is None)
        found = desk.undo(newest.key, CALLER)
        assert found
        return found

    return undone


def record_before(faces: Faces, key: Key) -> int:
    """The record that an identifier came with, whatever became of it."""
    found: int = faces.records[key]  # type: ignore[attr-defined]
    return found


def expect(wanted: object, got: object) -> object:
    assert got == wanted
    return got


@pytest.fixture
def faces(tmp_path: Path) -> Iterator[Faces]:
    with three_faces(tmp_path) as found:
        for key in PEOPLE:
            feed(key)(found)
        found.records = {key: found.region.pix.desk.record_of(identifier(key)) for key in PEOPLE}  # type: ignore[attr-defined]
        yield found


def told(faces: Faces, keys: tuple[Key, ...]) -> list[set[str] | None]:
    """The hospitals' identifiers of the person of each, in all wire forms; None for an unknown one."""
    found: list[set[str] | None] = []
    for key in keys:
        outcome, others = faces.crossed(*key)
        if outcome == "AE":
            found.append(None)
            continue
        (everything,) = faces.described(*key)
        assert key in everything
        # A PIX query leaves the domain out that is asked from.
        assert {item for item in everything if item[0] != key[0]} == others
        assert sum(oid == X for oid, _ in everything) == 1
        found.append({f"{NAMES[oid][-1]}{value}" for oid, value in everything if oid != X})
    return found


A1, A2, A3, A9, B1 = (A, "1"), (A, "2"), (A, "3"), (A, "9"), (B, "1")
ALONE: list[set[str] | None] = [{"A1"}, {"A2"}, {"A3"}, {"B1"}]
#: What happens, and who has which identifiers afterwards: A1, A2, A3 and B1.
HISTORIES: dict[str, list[tuple[Step, list[set[str] | None]]]] = {
    "a merge and its undoing": [
        (v2_merge(A2, A1), [{"A1"}, None, {"A3"}, {"B1"}]),
        (undo(A2), ALONE),
        (v3_merge(A2, A1), [{"A1"}, None, {"A3"}, {"B1"}]),
        (desk("refuse", A1, A2), [{"A1"}, None, {"A3"}, {"B1"}]),
        (undo(A2), ALONE),
    ],
    "a chain of merges in three wire forms": [
        (v2_merge(A3, A2), [{"A1"}, {"A2"}, None, {"B1"}]),
        (fhir_merge(A2, A1), [{"A1"}, None, None, {"B1"}]),
        (undo(A2), [{"A1"}, {"A2"}, None, {"B1"}]),
        (undo(A3), ALONE),
    ],
    "a merge of somebody who is linked": [
        (joined("A24", A1, B1), [{"A1", "B1"}, {"A2"}, {"A3"}, {"A1", "B1"}]),
        (v2_merge(A1, A2), [None, {"A2", "B1"}, {"A3"}, {"A2", "B1"}]),
        (joined("A37", A1, B1), [None, {"A2", "B1"}, {"A3"}, {"A2", "B1"}]),
    ],
    "links that overlap": [
        (joined("A24", A1, B1), [{"A1", "B1"}, {"A2"}, {"A3"}, {"A1", "B1"}]),
        (joined("A24", A2, B1), [{"A1", "A2", "B1"}, {"A1", "A2", "B1"}, {"A3"}, {"A1", "A2", "B1"}]),
        (joined("A37", B1, A1), [{"A1"}, {"A2", "B1"}, {"A3"}, {"A2", "B1"}]),
        (joined("A37", A1, A2), [{"A1"}, {"A2", "B1"}, {"A3"}, {"A2", "B1"}]),
        (joined("A37", A2, B1), ALONE),
    ],
    "an identifier that changes": [
        (change(A1, A9), [None, {"A2"}, {"A3"}, {"B1"}]),
        (joined("A24", A9, B1), [None, {"A2"}, {"A3"}, {"A9", "B1"}]),
        (v3_merge(A9, A2), [None, {"A2", "B1"}, {"A3"}, {"A2", "B1"}]),
    ],
    "an identifier that changes twice": [
        (change(A1, A9), [None, {"A2"}, {"A3"}, {"B1"}]),
        (change(A9, (A, "10")), [None, {"A2"}, {"A3"}, {"B1"}]),
        (v2_merge(A2, (A, "10")), [None, None, {"A3"}, {"B1"}]),
    ],
    "what the desk says": [
        (desk("link", A1, B1), [{"A1", "B1"}, {"A2"}, {"A3"}, {"A1", "B1"}]),
        (desk("unlink", A1, B1), ALONE),
        (undo(A1), [{"A1", "B1"}, {"A2"}, {"A3"}, {"A1", "B1"}]),
        (joined("A37", A1, B1), [{"A1", "B1"}, {"A2"}, {"A3"}, {"A1", "B1"}]),
        (desk("refuse", A1, B1), ALONE),
        (joined("A24", A1, B1), ALONE),
        (desk("link", A1, B1), [{"A1", "B1"}, {"A2"}, {"A3"}, {"A1", "B1"}]),
    ],
    "a merge against what the desk says": [
        (desk("refuse", A1, A2), ALONE),
        (v2_merge(A2, A1), ALONE),
        (v3_merge(A1, A2), ALONE),
        (fhir_merge(A2, A1), ALONE),
        (desk("link", A1, A2), [{"A1", "A2"}, {"A1", "A2"}, {"A3"}, {"B1"}]),
        (fhir_merge(A2, A1), [{"A1"}, None, {"A3"}, {"B1"}]),
    ],
    "one record with identifiers of two hospitals": [
        (feed(A1, B1), [{"A1", "B1"}, {"A2"}, {"A3"}, {"A1", "B1"}]),
        (v2_merge(A1, A3), [None, {"A2"}, {"A3", "B1"}, {"A3", "B1"}]),
    ],
    "a patient who is removed": [
        (joined("A24", A1, B1), [{"A1", "B1"}, {"A2"}, {"A3"}, {"A1", "B1"}]),
        (fhir_remove(A1), [None, {"A2"}, {"A3"}, {"B1"}]),
        (feed(A1), ALONE),
    ],
    "a removed patient who had been merged into": [
        (fhir_merge(A2, A1), [{"A1"}, None, {"A3"}, {"B1"}]),
        (fhir_remove(A1), [None, None, {"A3"}, {"B1"}]),
        (feed(A2), [None, {"A2"}, {"A3"}, {"B1"}]),
    ],
}


@pytest.mark.parametrize("history", HISTORIES)
def test_history(faces: Faces, history: str) -> None:
    assert told(faces, (A1, A2, A3, B1)) == ALONE
    for number, (step, expected) in enumerate(HISTORIES[history]):
        step(faces)
        assert told(faces, (A1, A2, A3, B1)) == expected, (history, number)
