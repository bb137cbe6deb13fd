"""HL7 v3 messages with pieces lost, doubled and replaced: each gets an answer in its own form, or a fault, and nothing breaks."""

from __future__ import annotations

import copy
import random
from contextlib import suppress
from pathlib import Path

import pytest
from lxml import etree

from tests.hl7v3 import HL7, ask, message
from tests.identity import Region
from xds.wire.soap import SoapFault
from xds.wire.xml import SOAP12, parse

VALUES = (
    "",
    "0",
    "-1",
    "x",
    "é中",
    "1.2.3",
    "9" * 40,
    "19000230",
    " ",
    "urn:oid:1.2",
    "true",
    "&<>\"'",
    "1e400",
    "**",
    "00000000",
)
ATTRIBUTES = ("code", "value", "root", "extension", "use", "qualifier", "unit", "inclusive", "nullFlavor")
ASKED = ("PRPA_IN201301UV02", "PRPA_IN201302UV02", "PRPA_IN201304UV02", "PRPA_IN201305UV02", "PRPA_IN201309UV02")
CONTINUATION = (
    '<queryContinuation><queryId root="1.2"/><startResultNumber value="2"/><statusCode code="waitContinuedQueryResponse"/>'
    "</queryContinuation>"
)


def originals(shared: Path) -> list[etree._Element]:
    found = [parse(message(name, CONTINUATION)) for name in ("QUQI_IN000003UV01", "QUQI_IN000003UV01_Cancel")]
    for path in sorted((shared / "vectors").glob("*/ITI-4[457]/*.xml")):
        root = parse(path.read_bytes())
        if root.tag == f"{{{SOAP12}}}Envelope":
            root = root.find(f"{{{SOAP12}}}Body")[0]
        if root.tag in {f"{{{HL7}}}{name}" for name in ASKED}:
            found.append(root)
    return found


def mutate(root: etree._Element, chance: random.Random) -> None:
    element = chance.choice(list(root.iter(f"{{{HL7}}}*")))
    parent = element.getparent()
    match chance.randrange(6):
        case 0 if parent is not None:
            parent.remove(element)
        case 1 if parent is not None:
            parent.insert(parent.index(element), copy.deepcopy(element))
        case 2:
            element.text = chance.choice(VALUES)
        case 3:
            element[:] = []
        case 4 if element.attrib:
            del element.attrib[chance.choice(list(element.attrib))]
        case _:
            element.set(chance.choice(ATTRIBUTES), chance.choice(VALUES))


@pytest.mark.parametrize("seed", range(4))
def test_every_message_is_answered(tmp_path: Path, shared: Path, seed: int) -> None:
    region = Region(tmp_path)
    chance = random.Random(seed)
    messages = originals(shared)
    kinds = set()
    for _ in range(60):
        root = copy.deepcopy(chance.choice(messages))
        for _ in range(chance.choice((1, 1, 2, 4))):
            mutate(root, chance)
        with suppress(SoapFault):
            kinds.add(ask(region, etree.tostring(root)).kind)
    region.close()
    assert kinds >= {"CE", "AE"}
    assert kinds <= {"CA", "CE", "CR", "AA", "AE", "AR"}
