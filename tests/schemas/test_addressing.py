"""The schema of WS-Addressing header blocks against the headers of collected messages.

Spec: ITI TF-2 Appendix V.3.2; WS-Addressing 1.0 core, SOAP binding.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from xds.wire.xml import SOAP12, WSA, XmlError, parse, schema_errors


def _block(text: str) -> list[str]:
    start, _, rest = text.partition(">")
    return schema_errors(parse(f'<w:{start} xmlns:w="{WSA}" xmlns:s="{SOAP12}">{rest}'.encode()), "wsa.xsd")


def test_header_blocks_of_collected_messages_are_valid(shared: Path) -> None:
    judged = 0
    for path in sorted((shared / "vectors").rglob("*.xml")):
        try:
            root = parse(path.read_bytes())
        except XmlError:
            continue
        for block in root.iterfind(f"{{{SOAP12}}}Header/{{{WSA}}}*"):
            judged += 1
            # One partner's software leaves the prefix of soap12:mustUnderstand away.
            assert schema_errors(block, "wsa.xsd") == [] or "mustUnderstand" in block.attrib, path.name
    assert judged > 30


@pytest.mark.parametrize(
    "text",
    [
        'Action s:mustUnderstand="1">urn:ihe:iti:2007:RegistryStoredQuery</w:Action>',
        'RelatesTo RelationshipType="urn:x">urn:uuid:1</w:RelatesTo>',
        "ReplyTo><w:Address>http://www.w3.org/2005/08/addressing/anonymous</w:Address></w:ReplyTo>",
        'FaultTo><w:Address>urn:a</w:Address><w:ReferenceParameters><x xmlns="urn:x"/></w:ReferenceParameters>'
        '<w:Metadata/><x xmlns="urn:x"/></w:FaultTo>',
        "ProblemHeaderQName>w:To</w:ProblemHeaderQName>",
        "ProblemAction><w:Action>urn:a</w:Action></w:ProblemAction>",
    ],
)
def test_valid_blocks(text: str) -> None:
    assert _block(text) == []


@pytest.mark.parametrize(
    "text",
    [
        'Action mustUnderstand="1">urn:a</w:Action>',
        "ReplyTo>urn:a</w:ReplyTo>",
        "ReplyTo></w:ReplyTo>",
        "From><w:Metadata/><w:Address>urn:a</w:Address></w:From>",
        "ProblemHeaderQName>nobody:To</w:ProblemHeaderQName>",
        "Nothing></w:Nothing>",
    ],
)
def test_invalid_blocks(text: str) -> None:
    assert _block(text)
