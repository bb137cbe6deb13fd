"""Reports and letters of the demo region as files: PDF 1.4, and CDA R2 in XML.

Spec: ISO 32000-1 7.5 (file structure), HL7 CDA Release 2.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from xds.demo.region import Registration
from xds.model.metadata import Code
from xds.model.vocabulary import LOINC

_LINE_WIDTH = 88
_LINES_ON_A_PAGE = 48
_FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
_CONFIDENTIALITY = "2.16.840.1.113883.5.25"


def pdf(title: str, paragraphs: Sequence[str]) -> bytes:
    """A PDF file of A4 pages: the title in large letters, then the paragraphs, wrapped."""
    lines = [line for paragraph in paragraphs for line in [*(textwrap.wrap(paragraph, _LINE_WIDTH) or [""]), ""]]
    pages = [lines[start : start + _LINES_ON_A_PAGE] for start in range(0, max(len(lines), 1), _LINES_ON_A_PAGE)]
    # Objects: 1 catalogue, 2 page tree, 3 font, 4 document information, then page and content of each page in turn.
    kids = b" ".join(b"%d 0 R" % (5 + 2 * number) for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages)),
        _FONT,
        b"<< /Title %s >>" % _literal(title),
    ]
    for number, page in enumerate(pages):
        content = _content(title if number == 0 else "", page)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
            % (6 + 2 * number)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    return _file(objects)


def _content(title: str, lines: Sequence[str]) -> bytes:
    shown = [b"BT", b"56 780 Td", b"/F1 16 Tf", _literal(title) + b" Tj", b"/F1 11 Tf", b"14 TL", b"T*", b"T*"]
    for line in lines:
        shown += [_literal(line) + b" Tj", b"T*"]
    return b"\n".join([*shown, b"ET"])


def _literal(text: str) -> bytes:
    raw = text.encode("cp1252", "replace")
    return b"(" + raw.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)") + b")"


def _file(objects: Sequence[bytes]) -> bytes:
    # The comment of four high octets tells transfer programs that the file is binary.
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        out += b"%010d 00000 n \n" % offset
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info 4 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


def cda(*, unique_id: str, title: str, kind: Code, moment: str, patient: Registration, paragraphs: Sequence[str]) -> bytes:
    """A CDA R2 document with one narrative section. `unique_id` is an OID, `moment` a DTM in UTC, `kind` a LOINC code."""
    place = patient.establishment
    organisation = f"<id root={quoteattr(place.oid)}/><name>{escape(place.name)}</name>"
    text = "".join(f"<paragraph>{escape(paragraph)}</paragraph>" for paragraph in paragraphs)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
  <id root={quoteattr(unique_id)}/>
  <code code={quoteattr(kind.code)} codeSystem="{LOINC}" displayName={quoteattr(kind.display)}/>
  <title>{escape(title)}</title>
  <effectiveTime value="{moment}+0000"/>
  <confidentialityCode code="N" codeSystem="{_CONFIDENTIALITY}"/>
  <languageCode code="en-GB"/>
  {_record_target(patient)}
  <author>
    <time value="{moment}+0000"/>
    <assignedAuthor>
      <id root={quoteattr(place.oid)} extension="PRACTITIONER-1"/>
      <assignedPerson><name><given>Claire</given><family>Duval</family></name></assignedPerson>
      <representedOrganization>{organisation}</representedOrganization>
    </assignedAuthor>
  </author>
  <custodian>
    <assignedCustodian>
      <representedCustodianOrganization>{organisation}</representedCustodianOrganization>
    </assignedCustodian>
  </custodian>
  <component>
    <structuredBody>
      <component>
        <section>
          <title>{escape(title)}</title>
          <text>{text}</text>
        </section>
      </component>
    </structuredBody>
  </component>
</ClinicalDocument>
""".encode()


def _record_target(patient: Registration) -> str:
    demographics = patient.demographics
    return f"""<recordTarget>
    <patientRole>
      <id root={quoteattr(patient.establishment.oid)} extension={quoteattr(patient.identifier.value)}/>
      <patient>
        <name><given>{escape(patient.name.given)}</given><family>{escape(patient.name.family)}</family></name>
        <administrativeGenderCode code="{demographics.sex}" codeSystem="2.16.840.1.113883.5.1"/>
        <birthTime value="{demographics.birth_date}"/>
      </patient>
    </patientRole>
  </recordTarget>"""
