"""The codes of an affinity domain as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from xds.model.metadata import Code
from xds.model.vocabulary import DocumentEntryScheme
from xds.wire.codes import read_codes
from xds.wire.xml import XmlError


def test_value_sets_and_mime_types() -> None:
    codes = read_codes(
        b'<Codes><CodeType name="classCode" classScheme="urn:uuid:1"><Code code="A" codingScheme="1.2" display="a" system="x"/>'
        b'<Code code="B" codingScheme="1.2"/></CodeType><CodeType name="empty" classScheme="urn:uuid:2"/>'
        b'<CodeType name="mimeType"><Code code="Text/XML"/></CodeType><AssigningAuthority id="1"/></Codes>'
    )
    assert set(codes.value_sets) == {"urn:uuid:1"}
    assert codes.value_sets["urn:uuid:1"].holds(Code("B", "1.2", "other"))
    assert not codes.value_sets["urn:uuid:1"].holds(Code("B", "1.3"))
    assert codes.mime_types == {"text/xml"}


@pytest.mark.parametrize("data", [b"", b"<Code/>", b'<Codes><CodeType name="classCode"><Code code="A"/></CodeType></Codes>'])
def test_what_is_no_file_of_codes_is_refused(data: bytes) -> None:
    with pytest.raises(XmlError):
        read_codes(data)


def test_the_codes_of_the_connectathon(shared: Path) -> None:
    codes = read_codes((shared / "vectors" / "nist-testkit" / "affinity-domain" / "codes.xml").read_bytes())
    assert codes.value_sets[DocumentEntryScheme.CONFIDENTIALITY_CODE].holds(Code("N", "2.16.840.1.113883.5.25"))
    assert "application/dicom" in codes.mime_types
    assert len(codes.value_sets) == 10
