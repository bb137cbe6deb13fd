"""The schemas of this project and the official ones come to the same verdict.

Spec: ebRIM/ebRS 3.0; ITI TF-2 3.41-43; RAD TF-2 4.69; official files in ../shared/official-schemas.
"""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests.schemas.instances import VALID
from xds.wire.xml import IHERAD, LCM, QUERY, RIM, RMD, RS, SOAP12, XDSB, XOP, XmlError, parse, schema_errors

FOLDERS = (
    "ITI-18",
    "ITI-38",
    "ITI-39",
    "ITI-41",
    "ITI-42",
    "ITI-43",
    "ITI-51",
    "ITI-57",
    "ITI-61",
    "ITI-62",
    "ITI-63",
    "ITI-86",
    "ITI-92",
    "RAD-68",
    "RAD-69",
    "RAD-75",
)
MUTATIONS_PER_MESSAGE = 300

#: Where the verdict differs from the official schemas on purpose: what, ours, theirs, and why.
DIFFERENCES: dict[str, tuple[bytes, bool, bool, str]] = {
    "several documents in one removal": (
        VALID["ITI-86 request"].replace(
            b"</rmd:RemoveDocumentsRequest>",
            b"<xds:DocumentRequest><xds:RepositoryUniqueId>1</xds:RepositoryUniqueId>"
            b"<xds:DocumentUniqueId>2</xds:DocumentUniqueId></xds:DocumentRequest></rmd:RemoveDocumentsRequest>",
        ),
        True,
        False,
        "the Remove Documents supplement and NIST test 50001 name several documents; the published file allows one",
    ),
    "a filter query inside a QueryExpression": (
        VALID["ITI-18 request"].replace(
            b'<any xmlns="urn:other"/>', b"<query:RegistryObjectQuery><query:Nonsense/></query:RegistryObjectQuery>"
        ),
        True,
        False,
        "filter queries of ebXML RegRep are no part of IHE; the stored query is found by its id, and the expression ignored",
    ),
}


def _official_file(root: etree._Element) -> str:
    namespace = etree.QName(root).namespace
    return {RMD: "rmd.xsd", IHERAD: "XDSI.b_ImagingDocumentSource.xsd"}.get(namespace or "", "XDS.b_DocumentRepository.xsd")


def _our_file(root: etree._Element) -> str:
    return {RMD: "rmd.xsd", IHERAD: "xdsi.xsd"}.get(etree.QName(root).namespace or "", "xdsb.xsd")


Judge = Callable[[etree._Element], bool]


@pytest.fixture(scope="module")
def official(shared: Path) -> Judge:
    @functools.cache
    def compiled(name: str) -> etree.XMLSchema:
        return etree.XMLSchema(etree.parse(str(shared / "official-schemas" / "v3" / name)))

    return lambda element: bool(compiled(_official_file(element)).validate(element))


def _expected(official: Judge, element: etree._Element) -> bool:
    """The official verdict, except that each of several documents of a removal is judged for itself (see DIFFERENCES)."""
    if element.tag != f"{{{RMD}}}RemoveDocumentsRequest" or len(element) < 2:
        return official(element)
    verdicts = []
    for child in element:
        alone = copy.deepcopy(element)
        alone[:] = [copy.deepcopy(child)]
        verdicts.append(official(alone))
    return all(verdicts)


def _ours(element: etree._Element) -> bool:
    return not schema_errors(element, _our_file(element))


def _body(data: bytes) -> etree._Element | None:
    """The message in a file, without its envelope and with empty text for `xop:Include`; None when it is no such message."""
    try:
        root = parse(data)
    except XmlError:
        return None
    if root.tag == f"{{{SOAP12}}}Envelope":
        root = next(iter(root.find(f"{{{SOAP12}}}Body", None)), None)
    if root is None or etree.QName(root).namespace not in (RIM, RS, LCM, QUERY, XDSB, IHERAD, RMD):
        return None
    for include in list(root.iter(f"{{{XOP}}}Include")):
        include.getparent().remove(include)
    return root


def _messages(shared: Path) -> Iterator[tuple[Path, etree._Element]]:
    folders = [shared / "vectors" / "messages" / name for name in FOLDERS]
    for folder in [*folders, shared / "vectors" / "nist-testkit", shared / "vectors" / "security"]:
        for path in sorted(folder.rglob("*.xml")):
            body = _body(path.read_bytes())
            if body is not None:
                yield path, body


def test_verdict_on_every_message_of_the_collection_is_the_official_one(shared: Path, official: Judge) -> None:
    judged = 0
    for path, body in _messages(shared):
        judged += 1
        verdict = _expected(official, body)
        assert _ours(body) == verdict, f"{path.name}: {schema_errors(body, _our_file(body)) or 'valid only by our schema'}"
    assert judged > 400, "the collection was not found where it used to be"


@pytest.mark.parametrize("kind", VALID)
def test_a_rich_message_of_each_kind_is_valid_in_both(kind: str, official: Judge) -> None:
    message = parse(VALID[kind])
    assert schema_errors(message, _our_file(message)) == []
    assert official(message)


@pytest.mark.parametrize("kind", VALID)
def test_verdict_on_a_damaged_message_is_the_official_one(kind: str, official: Judge) -> None:
    chance = random.Random(f"damage of {kind}")
    verdicts = {True: 0, False: 0}
    for _ in range(MUTATIONS_PER_MESSAGE):
        message, story = _damaged(parse(VALID[kind]), chance)
        verdict = _expected(official, message)
        verdicts[verdict] += 1
        assert _ours(message) == verdict, f"{'; '.join(story)}\n{schema_errors(message, _our_file(message))}"
    assert verdicts[False] > MUTATIONS_PER_MESSAGE // 8, "the damage does not damage"


@pytest.mark.parametrize("name", DIFFERENCES)
def test_differences_on_purpose_are_what_the_table_says(name: str, official: Judge) -> None:
    data, ours, theirs, reason = DIFFERENCES[name]
    message = parse(data)
    assert (_ours(message), official(message)) == (ours, theirs), reason


@pytest.mark.parametrize("kind", [kind for kind, message in VALID.items() if b"</rim:ValueList>" in message])
def test_a_large_message_gets_the_verdict_of_a_small_one(kind: str) -> None:
    """Spec: none; messages of more than 2000 elements are validated as a stream."""
    chance = random.Random(f"size of {kind}")
    padding = b"".join(b"<rim:Value>%d</rim:Value>" % number for number in range(2500))
    for _ in range(6):
        small, story = _damaged(parse(VALID[kind]), chance)
        grown = parse(etree.tostring(small).replace(b"</rim:ValueList>", padding + b"</rim:ValueList>", 1))
        assert _ours(grown) == _ours(small), story


NAMES = [
    *(
        f"{{{RIM}}}{name}"
        for name in ["Slot", "Name", "Description", "VersionInfo", "Classification", "ExternalIdentifier", "ObjectRef"]
    ),
    *(
        f"{{{RIM}}}{name}"
        for name in ["ExtrinsicObject", "RegistryPackage", "Association", "AdhocQuery", "Value", "Organization", "Nothing"]
    ),
    *(f"{{{RIM}}}{name}" for name in ["RegistryObject", "Identifiable", "Notification", "User", "LocalizedString", "ValueList"]),
    f"{{{RS}}}RegistryError",
    f"{{{QUERY}}}ResponseOption",
    f"{{{XDSB}}}DocumentRequest",
    f"{{{XDSB}}}Document",
    "{urn:other}any",
    "Slot",
]
ATTRIBUTES = [
    "id",
    "home",
    "lid",
    "objectType",
    "status",
    "name",
    "value",
    "classifiedObject",
    "mimeType",
    "isOpaque",
    "nothing",
    "returnType",
    "charset",
    "slotType",
    "{http://www.w3.org/XML/1998/namespace}lang",
    "{urn:other}any",
    "associationType",
    "targetObject",
    "registryObject",
    "createReplica",
]
VALUES = [
    *("", " ", "yes", "true", "0", "-1", "1.5", "x y", "a%zz", "http://[bad", "fr", "fr_FR", "LeafClass", "registryLite"),
    *("2024-01-02", "2024-01-02T03:04:05", "P1D", "1D", "QUJD", "QUJ", "é" * 256, "a" * 16, "a" * 17),
    *("a" * 64, "a" * 65, "a" * 256, "a" * 257, "a" * 1024, "a" * 1025),
]


def _damaged(message: etree._Element, chance: random.Random) -> tuple[etree._Element, list[str]]:
    """A copy with one or two changes, and their story."""
    message = copy.deepcopy(message)
    story = []
    for _ in range(chance.choice((1, 1, 2))):
        change = chance.choice(CHANGES)
        elements = list(message.iter(etree.Element))
        story.append(f"{change.__name__.strip('_')} {change(chance.choice(elements), elements, chance)}")
    return message, story


def _remove(element: etree._Element, elements: list[etree._Element], chance: random.Random) -> str:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)
    return element.tag


def _repeat(element: etree._Element, elements: list[etree._Element], chance: random.Random) -> str:
    if element.getparent() is not None:
        element.addnext(copy.deepcopy(element))
    return element.tag


def _move(element: etree._Element, elements: list[etree._Element], chance: random.Random) -> str:
    """Put an element before its elder sibling."""
    elder = element.getprevious()
    if elder is not None:
        elder.addprevious(element)
    return element.tag


def _adopt(element: etree._Element, elements: list[etree._Element], chance: random.Random) -> str:
    """Put a copy of one element somewhere into another."""
    element.insert(chance.randrange(len(element) + 1), copy.deepcopy(chance.choice(elements)))
    return element.tag


def _rename(element: etree._Element, elements: list[etree._Element], chance: random.Random) -> str:
    before = element.tag
    if element.getparent() is not None:
        element.tag = chance.choice(NAMES)
    return f"{before} to {element.tag}"


def _forget(element: etree._Element, elements: list[etree._Element], chance: random.Random) -> str:
    """Take an attribute away."""
    owner = chance.choice([candidate for candidate in elements if candidate.attrib] or [element])
    names = sorted(owner.attrib)
    gone = chance.choice(names) if names else None
    if gone is not None:
        del owner.attrib[gone]
    return f"{owner.tag}@{gone}"


def _decorate(element: etree._Element, elements: list[etree._Element], chance: random.Random) -> str:
    """Add or overwrite some attribute."""
    name = chance.choice(ATTRIBUTES)
    element.set(name, chance.choice(VALUES))
    return f"{element.tag}@{name}={element.get(name)[:30]}"


def _falsify(element: etree._Element, elements: list[etree._Element], chance: random.Random) -> str:
    """Give an attribute another value."""
    owner = chance.choice([candidate for candidate in elements if candidate.attrib] or [element])
    names = sorted(owner.attrib)
    name = chance.choice(names) if names else "id"
    owner.set(name, chance.choice(VALUES))
    return f"{owner.tag}@{name}={owner.get(name)[:30]}"


def _write(element: etree._Element, elements: list[etree._Element], chance: random.Random) -> str:
    """Give an element some text."""
    element.text = chance.choice(VALUES)
    return f"{element.tag}={element.text[:30]}"


CHANGES = (_remove, _repeat, _move, _adopt, _rename, _forget, _decorate, _falsify, _write)
