"""The index of a patient's record as a document: CDA R2 with one table, or plain text.

Spec: HL7 CDA Release 2 (4.2 header, 4.3.5 narrative block).
"""

from __future__ import annotations

from xds.model.on_demand import IndexedDocument, RecordIndex
from xds.wire.ebrim import escape

_TYPE_ID = '<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>'
_SEXES = '<administrativeGenderCode code="{}" codeSystem="2.16.840.1.113883.5.1"/>'
_COLUMNS = ("Date", "Type", "Title", "Author", "Format", "uniqueId")


def write_cda(index: RecordIndex) -> bytes:
    """The index as a CDA R2 document."""
    moment = f'value="{index.time}"' if index.time else 'nullFlavor="UNK"'
    organisation = f'<id root="{index.custodian}"/>'
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(item))}</tr>" for item in index.documents)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else "<paragraph>-</paragraph>"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3">
  {_TYPE_ID}
  <id root="{index.unique_id}"/>
  <code code="{escape(index.code.code)}" codeSystem="{escape(index.code.scheme)}" displayName="{escape(index.code.display)}"/>
  <title>{escape(index.title)}</title>
  <effectiveTime {moment}/>
  <confidentialityCode code="{escape(index.confidentiality.code)}" codeSystem="{escape(index.confidentiality.scheme)}"/>
  <languageCode code="{escape(index.language)}"/>
  <recordTarget><patientRole>
    <id root="{escape(index.patient.authority.oid or "")}" extension="{escape(index.patient.value)}"/>
    <patient>{_name(index.name)}{_demographics(index)}</patient>
  </patientRole></recordTarget>
  <author>
    <time {moment}/>
    <assignedAuthor>
      {organisation}
      <assignedAuthoringDevice><softwareName>XDS Document Repository</softwareName></assignedAuthoringDevice>
    </assignedAuthor>
  </author>
  <custodian><assignedCustodian><representedCustodianOrganization>
    {organisation}
  </representedCustodianOrganization></assignedCustodian></custodian>
  <component><structuredBody><component><section>
    <title>{escape(index.title)}</title>
    <text>{table}</text>
  </section></component></structuredBody></component>
</ClinicalDocument>
""".encode()


def write_text(index: RecordIndex) -> bytes:
    """The index as plain text in UTF-8: a heading, then one line for each document."""
    lines = [index.title, f"{index.patient.value} ({index.patient.authority.oid})", ""]
    lines += [" | ".join(cell for cell in _cells(item) if cell) for item in index.documents]
    return ("\n".join(lines) + "\n").encode()


def _cells(item: IndexedDocument) -> tuple[str, ...]:
    return (_shown(item.time), item.kind, item.title, item.author, item.mime_type, item.unique_id)


def _shown(dtm: str) -> str:
    """A DTM as people read it: 2024-01-02 03:04."""
    day = "-".join(part for part in (dtm[:4], dtm[4:6], dtm[6:8]) if part)
    return f"{day} {dtm[8:10]}:{dtm[10:12]}" if len(dtm) >= 12 else day


def _name(pid_5: str | None) -> str:
    family, _, rest = (pid_5 or "").partition("^")
    given = rest.partition("^")[0]
    if not family and not given:
        return '<name nullFlavor="UNK"/>'
    return f"<name><given>{escape(given)}</given><family>{escape(family)}</family></name>"


def _demographics(index: RecordIndex) -> str:
    sex = _SEXES.format(index.sex) if index.sex in ("F", "M") else ""
    return sex + (f'<birthTime value="{escape(index.birth_date[:8])}"/>' if index.birth_date else "")
