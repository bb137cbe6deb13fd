"""The HL7 v2 cases of the OpenHIE client registry tests, and the messages of other products, as stories over a real MLLP port.

A step is a message with assertions about its answer. Where an assertion contradicts ITI-9 or ITI-21, the framework wins:
`AGAINST_THE_STANDARD` names each of them with the rule.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests.identity import Region
from xds.model.identifiers import AssigningAuthority
from xds.model.patient import IdentityDomain
from xds.server.mllp import MllpServer
from xds.transactions import iti08_patient_identity_feed as iti08
from xds.transactions import iti09_pix_query as iti09
from xds.transactions import iti21_patient_demographics_query as iti21
from xds.transactions import iti22_patient_demographics_and_visit_query as iti22
from xds.transactions import iti30_patient_identity_management as iti30
from xds.transactions import iti31_patient_encounter_management as iti31
from xds.transactions.mllp_client import send_mllp
from xds.wire import hl7v2
from xds.wire.hl7v2 import Message
from xds.wire.hl7v2_answers import read_acknowledgement
from xds.wire.hl7v2_pdq_answers import read_demographics_answer

#: What the preconditions of the stories configure.
DOMAINS = (
    IdentityDomain(AssigningAuthority("TEST", "2.16.840.1.113883.3.72.5.9.1")),
    IdentityDomain(AssigningAuthority("TEST_A", "2.16.840.1.113883.3.72.5.9.2"), ("TEST|TEST_HARNESS_A", "TEST|NID_AUTH")),
    IdentityDomain(AssigningAuthority("TEST_B", "2.16.840.1.113883.3.72.5.9.3"), ("TEST|TEST_HARNESS_B",)),
    IdentityDomain(AssigningAuthority("NID", "2.16.840.1.113883.3.72.5.9.9")),
)
SAMPLES = "vectors/identity/v2"
STORIES = ("02", "03", "04", "05", "06", "08", "11", "14", "16", "17", "18")

QUERIED = "the queried identifier is not returned (ITI TF-2 3.9.4.2.2.6, case 1)"
ONE_PRODUCT = "the text of one product"
SURVIVING = "the subsumed identifier belongs to the surviving patient (ITI TF-2 3.8.4.2.3)"
UNKNOWN = "an unknown identifier is an error, at segment QPD (ITI TF-2 3.9.4.2.2.6, case 3)"
#: Assertions that are not those of the framework.
AGAINST_THE_STANDARD = {
    ("03-10", "ERR-1"): ONE_PRODUCT,
    ("03-20", "ERR-1"): ONE_PRODUCT,
    ("02-20", "PID-3"): QUERIED,
    ("02-40", "PID-3"): QUERIED,
    ("05-30", "PID-3"): QUERIED,
    ("06-40", "PID-3"): QUERIED,
    ("06-40", "MSA-1"): "QPD-2 is missing, which is required (ITI TF-2 3.9.4.1.2.2)",
    ("16-40", "PID-3"): QUERIED,
    ("16-40", "QAK-2"): "no other identifier is in the requested domain (ITI TF-2 3.9.4.2.2.6, case 2)",
    ("16-50", "MSA-1"): UNKNOWN,
    ("16-50", "ERR-2"): UNKNOWN,
    ("16-60", "PID-3"): SURVIVING,
    ("17-30", "ERR-1"): ONE_PRODUCT,
    ("17-40", "ERR-1"): ONE_PRODUCT,
    ("17-50", "ERR-1"): ONE_PRODUCT,
    ("04-30", "ERR-1"): ONE_PRODUCT,
    ("08-30", "PID-6"): "of a mother the family and the given name are kept (PID-6.7 is not)",
    ("18-40", "MSA-1"): "QPD-3 is missing: the identifier stands in QPD-2 (ITI TF-2 3.9.4.1.2.2)",
    ("18-40", "PID-3"): "the query is refused",
}


class Place:
    """A region of its own for each story."""

    def __init__(self, directory: Path) -> None:
        self.region = Region(directory, domains=DOMAINS, unknown_domains="refuse")
        modules = [iti08, iti09, iti21, iti22, iti30, iti31]
        self.server = MllpServer(self.region.domain, modules, port=0)
        self.endpoint = f"127.0.0.1:{self.server.start()}"

    def send(self, data: bytes) -> Message:
        request = hl7v2.read(data)
        answer = send_mllp(self.endpoint, request)
        assert answer.get("MSA-2") == request.control_id
        return answer


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    there = Place(tmp_path)
    yield there
    there.server.stop()
    there.region.close()


def steps(shared: Path, story: str) -> list[tuple[str, bytes, list[etree._Element]]]:
    """Number, message and assertions of each step that sends something."""
    found = []
    for path in sorted((shared / SAMPLES / "santedb+hl7-testing-tool").glob(f"OHIE-CR-{story}-*.xml")):
        step = etree.parse(path).getroot()
        message = step.findtext("message")
        if message:
            data = "\r".join(line.strip() for line in message.strip().splitlines()).encode()
            found.append((path.stem[-5:], data, step.findall(".//assert")))
    return found


def values(answer: Message, terser: str) -> list[str]:
    """What stands at the place of an assertion, in any repetition of the field."""
    match = re.fullmatch(
        r"(?:[A-Z_]+(?:\((\d+)\))?/\.)?([A-Z0-9]{3})(?:\(\d+\))?(?:-(\d+)(?:\(\d+\))?)?(?:-(\d+))?(?:-(\d+))?", terser
    )
    assert match, terser
    occurrence = int(match[1] or 0) + 1
    if match[3] is None:
        return [match[2]] if answer.segment(match[2], occurrence) else []
    path = f"{match[2]}-{match[3]}.{match[4] or 1}.{match[5] or 1}"
    count = max(answer.repetitions(path, occurrence), 1)
    return [answer.get(path, number, occurrence) for number in range(1, count + 1)]


def contradictions(step: str, answer: Message, assertions: list[etree._Element]) -> list[str]:
    """The assertions that the answer does not meet, and that the framework does not overrule."""
    wrong = []
    for item in assertions:
        terser = item.get("terser", "")
        named = re.search(r"([A-Z0-9]{3})(?:\(\d+\))?-?(\d+)?", terser.rpartition("/")[2].lstrip("."))
        field = f"{named[1]}-{named[2]}" if named and named[2] else terser
        if (step, field) in AGAINST_THE_STANDARD:
            continue
        found = values(answer, terser)
        if item.get("missing"):
            met = not any(found)
        else:
            allowed = {item.get("value"), *(other.get("value") for other in item.findall("alternate"))}
            met = item.get("value") is None or bool({value.casefold() for value in found} & {str(x).casefold() for x in allowed})
        if not met:
            wrong.append(f"{step}: {terser}: wanted {dict(item.attrib)}, got {found}")
    return wrong


@pytest.mark.parametrize("story", STORIES)
def test_story(shared: Path, place: Place, story: str) -> None:
    listed = steps(shared, story)
    assert listed
    wrong = list(itertools.chain(*(contradictions(step, place.send(data), assertions) for step, data, assertions in listed)))
    assert wrong == []


@pytest.mark.parametrize("story", ["07", "11", "12", "15"])
def test_queries_of_a_story(shared: Path, place: Place, story: str) -> None:
    """Steps that the other folder of samples has: what QAK-2 says of each demographics query."""
    folder = shared / "vectors/messages"
    entries = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    mine = sorted((item for item in entries if item["group"] == f"ohie:OHIE-CR-{story}"), key=lambda item: item["file"][-8:])
    wanted, got = {}, {}
    for entry in mine:
        answer = place.send((folder / entry["file"].removeprefix("shared/")).read_bytes())
        status = re.search(r"QAK-2=([A-Z]{2})", entry["why"])
        if status and entry["tx"] == "ITI-21":
            name = Path(entry["file"]).stem
            wanted[name], got[name] = status[1], answer.get("QAK-2")
    assert got == wanted
    assert wanted or story == "07"


def test_every_exception_is_one(shared: Path) -> None:
    known = {step for story in STORIES for step, _, _ in steps(shared, story)}
    assert {step for step, _ in AGAINST_THE_STANDARD} <= known


def test_every_message_is_answered(shared: Path, place: Place) -> None:
    """Requests of other products, whatever they are: an answer that names its own faults, never an internal one."""
    seen = 0
    for path in sorted((shared / SAMPLES).glob("*/*")):
        data = path.read_bytes()
        if path.suffix == ".xml" or b"MSA|" in data:
            continue
        answer = place.send(data)
        seen += 1
        assert answer.get("MSA-1") in ("AA", "AE", "AR"), path.name
        assert all(int(fault.condition) != 207 for fault in read_acknowledgement(answer).faults), path.name
    assert seen > 60


def test_answers_of_other_suppliers_are_read(shared: Path) -> None:
    counts = {}
    for path in sorted((shared / SAMPLES).glob("oehf+ipf/*")):
        message = hl7v2.read(path.read_bytes())
        if message.message_type == "RSP" and message.event == "K22":
            counts[path.name] = len(read_demographics_answer(message))
    assert counts == {
        "PDQ_Maximal_Query_Response.hl7": 1,
        "PDQ_connectathon2011_namespaces_issue_Response.hl7": 2,
        "PDQ_with_PID4_Response.hl7": 2,
        "msg-11.hl7": 9,
        "ok-1_Response.hl7": 9,
    }
