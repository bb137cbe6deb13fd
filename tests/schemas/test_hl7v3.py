"""The schemas of HL7 v3 messages that were written for this project, beside the official ones.

Ours are wider on purpose: what is missing is told by the readers with a code and a place of its own, and parts that nothing reads
are not looked at. They must never be narrower: whatever HL7 allows is let in.

Spec: HL7 V3 Normative Edition 2008; official files in ../shared/official-schemas/hl7v3.
"""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from lxml import etree

from tests.hl7v3 import HL7, HOSPITAL_A, ii, message, official_errors, patient, pix, query
from xds.wire.xml import SOAP12, XmlError, parse, schema_errors

XS: Final = "{http://www.w3.org/2001/XMLSchema}"
XSI_TYPE: Final = "{http://www.w3.org/2001/XMLSchema-instance}type"
INTERACTIONS: Final = (
    "PRPA_IN201301UV02",
    "PRPA_IN201302UV02",
    "PRPA_IN201304UV02",
    "PRPA_IN201305UV02",
    "PRPA_IN201306UV02",
    "PRPA_IN201309UV02",
    "PRPA_IN201310UV02",
    "QUQI_IN000003UV01",
    "QUQI_IN000003UV01_Cancel",
    "MCCI_IN000002UV01",
)
SEEDS: Final = 25

#: Samples that break the official schema, too, with what is wrong.
INVALID = {
    "messages/ITI-44/hieos-PIDFeedTemplate.xml": "a template whose places are not filled in",
    "messages/ITI-55/tk2-FindPatient-XCA-findpatient.xml": "a template whose places are not filled in",
    "identity/v3/oehf+ipf/prpa-invalid.xml": "made to be invalid: an element that does not exist",
}


def ours(root: etree._Element) -> list[str]:
    return schema_errors(root, "hl7v3.xsd")


def samples(shared: Path) -> Iterator[tuple[str, etree._Element]]:
    """Every sample that is one of the interactions, without its envelope."""
    vectors = shared / "vectors"
    for path in sorted((*vectors.glob("messages/ITI-*/*.xml"), *vectors.glob("identity/v3/*/*.xml"))):
        try:
            root = parse(path.read_bytes())
        except XmlError:
            continue
        if root.tag == f"{{{SOAP12}}}Envelope":
            root = next(iter(root.find(f"{{{SOAP12}}}Body", None)), None)
        if root is not None and root.tag in {f"{{{HL7}}}{name}" for name in INTERACTIONS}:
            yield path.relative_to(vectors).as_posix(), etree.fromstring(etree.tostring(root))


def test_every_sample_is_valid_that_hl7_calls_valid(shared: Path) -> None:
    seen = dict(samples(shared))
    assert len(seen) >= 55
    verdicts = {name: (ours(root) == [], official_errors(shared, root) == []) for name, root in seen.items()}
    assert [name for name, (we, they) in verdicts.items() if we != they] == []
    assert {name for name, (we, _) in verdicts.items() if not we} == set(INVALID)


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("no id of the message", message("PRPA_IN201301UV02", patient(ii("1")), id="")),
        ("no identifier of the patient", message("PRPA_IN201301UV02", patient(""))),
        ("no parameters", message("PRPA_IN201309UV02", query("").replace("<parameterList></parameterList>", ""))),
        ("no semanticsText", pix(ii("1", tag="value")).replace(b"<semanticsText>patientIdentifier</semanticsText>", b"")),
        ("a flag that is a number", message("PRPA_IN201301UV02", patient(ii("1"), "<name/><deceasedInd value='1'/>"))),
        ("a time zone after a day", message("PRPA_IN201301UV02", patient(ii("1"), "<name/><birthTime value='19620314+0100'/>"))),
    ],
)
def test_wider_on_purpose(shared: Path, what: str, data: bytes) -> None:
    root = parse(data)
    assert (ours(root), official_errors(shared, root) != []) == ([], True), what


@pytest.mark.parametrize(
    "change",
    [
        ("<patientPerson", "<nonsense/><patientPerson"),
        (f'root="{HOSPITAL_A}"', 'root="1.2.03"'),
        ('value="19620314"', 'value="tomorrow"'),
        ('extension="1"', 'extension="1" other="2"'),
        ("<given>", "<given><b/>"),
    ],
)
def test_what_both_refuse(shared: Path, change: tuple[str, str]) -> None:
    root = parse(message("PRPA_IN201301UV02", patient(ii("1"))).decode().replace(*change).encode())
    assert ours(root) != []
    assert official_errors(shared, root) != []


# ------------------------------------------------------------------ messages made from the official schemas


class Generator:
    """Makes random messages that the official schemas allow, from their declarations."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self._types, self._groups, self._elements, self._lists = _declarations(folder)

    def message(self, name: str) -> etree._Element:
        root = etree.Element(f"{{{HL7}}}{name}", nsmap={None: HL7})
        declared = self._elements[name]
        self._fill(root, self._type_of(declared), 0)
        return root

    def _type_of(self, declared: etree._Element) -> etree._Element | None:
        inner = declared.find(f"{XS}complexType")
        return inner if inner is not None else self._types.get(declared.get("type", "").removeprefix("hl7:"))

    def _fill(self, element: etree._Element, declared: etree._Element | None, depth: int) -> None:
        if declared is None:
            return
        for particle in self._particles(declared):
            self._particle(element, particle, depth)
        for attribute in self._attributes(declared):
            value = self._value(attribute)
            if value is not None and (attribute.get("use") == "required" or self._random.random() < 0.4):
                element.set(attribute.get("name"), value)
        if declared.get("mixed") == "true" and not len(element) and self._random.random() < 0.7:
            element.text = "text"

    def _particles(self, declared: etree._Element) -> list[etree._Element]:
        """The content of a type with that of the types it extends."""
        derived = declared.find(f"{XS}complexContent/*")
        found = declared if derived is None else derived
        own = [item for item in found if item.tag in (f"{XS}sequence", f"{XS}choice", f"{XS}group")]
        if derived is not None and derived.tag == f"{XS}extension":
            return [*self._particles(self._types[derived.get("base")]), *own]
        return own

    def _attributes(self, declared: etree._Element) -> list[etree._Element]:
        derived = declared.find(f"{XS}complexContent/*")
        found = declared if derived is None else derived
        own = {item.get("name"): item for item in found.iterfind(f"{XS}attribute")}
        if derived is not None:
            inherited = self._attributes(self._types[derived.get("base")])
            own = {item.get("name"): item for item in inherited} | own
        return [item for item in own.values() if item.get("use") != "prohibited"]

    def _times(self, particle: etree._Element, depth: int) -> int:
        least, most = int(particle.get("minOccurs", "1")), particle.get("maxOccurs", "1")
        if most == "0":
            return 0
        chance = 0.5 if depth < 3 else 0.25 if depth < 7 else 0.03
        extra = self._random.random() < chance
        more = int(most == "unbounded" or int(most) > least) * int(extra)
        return least + more * (2 if most == "unbounded" and self._random.random() < 0.3 else 1)

    def _particle(self, parent: etree._Element, particle: etree._Element, depth: int) -> None:
        for _ in range(self._times(particle, depth)):
            if particle.tag == f"{XS}group":
                for item in self._groups[particle.get("ref")]:
                    self._particle(parent, item, depth)
            elif particle.tag == f"{XS}sequence":
                for item in particle:
                    if isinstance(item.tag, str):
                        self._particle(parent, item, depth)
            elif particle.tag == f"{XS}choice":
                self._particle(parent, self._random.choice([item for item in particle if isinstance(item.tag, str)]), depth)
            elif particle.tag == f"{XS}element":
                self._element(parent, particle, depth)

    def _element(self, parent: etree._Element, declared: etree._Element, depth: int) -> None:
        element = etree.SubElement(parent, f"{{{HL7}}}{declared.get('name')}")
        kind = self._type_of(declared)
        if kind is not None and kind.get("abstract") == "true":
            name = self._random.choice(_CONCRETE)
            element.set(XSI_TYPE, name)
            kind = self._types[name]
        elif declared.get("type") in _DERIVED and self._random.random() < 0.2:
            name = self._random.choice(_DERIVED[declared.get("type")])
            element.set(XSI_TYPE, name)
            kind = self._types[name]
        self._fill(element, kind, depth + 1)

    def _value(self, attribute: etree._Element) -> str | None:
        if attribute.get("fixed") is not None:
            return attribute.get("fixed")
        kind = attribute.get("type", "")
        if kind in _VALUES:
            return self._random.choice(_VALUES[kind])
        codes = self._lists.get(kind)
        return self._random.choice(codes) if codes else None


_CONCRETE = (
    "INT",
    "ST",
    "CD",
    "BL",
    "TS",
    "IVL_TS",
    "PQ",
    "IVL_PQ",
    "PPD_PQ",
    "MO",
    "RTO",
    "EN",
    "AD",
    "TEL",
    "PIVL_TS",
    "GLIST_PQ",
)
#: Types that may stand for another one with xsi:type.
_DERIVED = {
    "TS": ("IVL_TS", "PIVL_TS", "EIVL_TS", "IVXB_TS", "UVP_TS"),
    "SXCM_TS": ("IVL_TS", "EIVL_TS"),
    "CD": ("CE", "CV"),
    "EN": ("PN", "TN"),
    "ED": ("ST",),
    "II": ("II",),
}
_VALUES = {
    "uid": ["1.2.3", "0", "2.16.840.1", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "HL7-x"],
    "st": ["text", " a  b "],
    "cs": ["code", "x/y"],
    "bl": ["true", "false"],
    "bn": ["true"],
    "int": ["0", "-7", "12345678901234567890"],
    "ts": ["1", "1962", "196203141530", "19620314153000.5+0100", "199"],
    "real": ["1", "-1.5", "1e5"],
    "url": ["tel:+33", "x", "mailto:a@b"],
    "bin": ["QUJD"],
    "probability": ["0.5"],
    "set_EntityNameUse": ["L", "A P", ""],
    "set_TelecommunicationAddressUse": ["HP", "WP MC"],
    "set_PostalAddressUse": ["H BAD"],
    "set_EntityNamePartQualifier": ["BR", "CL IN"],
}


@functools.cache
def _declarations(folder: Path) -> tuple[dict[str, etree._Element], ...]:
    types: dict[str, etree._Element] = {}
    groups: dict[str, etree._Element] = {}
    elements: dict[str, etree._Element] = {}
    lists: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.xsd")):
        for item in etree.parse(str(path)).getroot():
            if item.tag == f"{XS}complexType":
                types[item.get("name")] = item
            elif item.tag == f"{XS}group":
                groups[item.get("name")] = item
            elif item.tag == f"{XS}element":
                elements[item.get("name")] = item
            elif item.tag == f"{XS}simpleType":
                lists[item.get("name")] = [code.get("value") for code in item.iter(f"{XS}enumeration")]
    return types, groups, elements, lists


@pytest.mark.parametrize("name", INTERACTIONS)
def test_whatever_hl7_allows_is_let_in(shared: Path, name: str) -> None:
    folder = shared / "official-schemas" / "hl7v3"
    valid = 0
    for seed in range(SEEDS):
        root = Generator(folder, seed).message(name)
        if official_errors(shared, root):
            continue
        valid += 1
        text = etree.tostring(root)
        assert ours(etree.fromstring(text)) == [], text.decode()
    assert valid >= SEEDS // 2


Judge = Callable[[etree._Element], bool]


def test_mutations_of_the_samples(shared: Path) -> None:
    """Elements left out, doubled, moved and renamed: what HL7 lets in is let in here."""
    chance = random.Random(44)
    let_in = 0
    for name, sample in samples(shared):
        if name in INVALID:
            continue
        for _ in range(40):
            root = copy.deepcopy(sample)
            element = chance.choice([item for item in root.iter() if item.getparent() is not None])
            parent = element.getparent()
            match chance.randrange(4):
                case 0:
                    parent.remove(element)
                case 1:
                    parent.insert(parent.index(element), copy.deepcopy(element))
                case 2:
                    parent.insert(0, element)
                case _:
                    element.attrib.pop(chance.choice([*element.attrib, "none"]), None)
            if official_errors(shared, root) == []:
                let_in += 1
                assert ours(etree.fromstring(etree.tostring(root))) == [], etree.tostring(root).decode()
    assert let_in > 200
