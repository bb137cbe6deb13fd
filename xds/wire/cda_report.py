"""What the header of a CDA imaging report says of it, and a CDA document that wraps a text.

Tolerated: identifiers without an extension, or with the words `studyInstanceUID` as one (DRIMbox); a UUID in upper case; times
with an offset, or cut off anywhere.

Spec: HL7 CDA Release 2 (4.2); DICOM PS3.20 (imaging reports); RAD TF-3 (CDA Wrapped Text Report); ITI TF-3 5.2 (XDS-SD).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lxml import etree

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.imaging import OrderNumber
from xds.model.imaging_report import ReportFormat
from xds.model.metadata import Code
from xds.wire.ebrim import escape
from xds.wire.xml import parse

_NAMES = {"c": "urn:hl7-org:v3", "d": "urn:dicom-org:ps3-20"}
_TYPE_ID = '<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>'


@dataclass(frozen=True, slots=True)
class CdaHeader:
    """The facts of a header, as far as they are there."""

    number: str
    format: ReportFormat
    title: str = ""
    code: Code | None = None
    created: str = ""
    service_start: str = ""
    language: str = ""
    confidentiality: tuple[Code, ...] = ()
    patient_ids: tuple[PatientIdentifier, ...] = ()
    patient_name: str = ""
    birth_date: str = ""
    sex: str = ""
    study_instance_uid: str = ""
    accession: OrderNumber = field(default_factory=lambda: OrderNumber(""))
    placer: OrderNumber = field(default_factory=lambda: OrderNumber(""))


def read_cda(data: bytes) -> CdaHeader:
    """Read the header. Errors: XmlError when it is no XML; ValueError when it is no CDA document."""
    root = parse(data)
    if root.tag != "{urn:hl7-org:v3}ClinicalDocument":
        raise ValueError("the document is no CDA document")
    patient = _first(root, "c:recordTarget/c:patientRole/c:patient")
    return CdaHeader(
        number=_identifier(root, "c:setId") or _identifier(root, "c:id"),
        format=_format(root),
        title=_content(_first(root, "c:title")),
        code=_code(_first(root, "c:code")),
        created=read_time(_attribute(root, "c:effectiveTime", "value")),
        service_start=read_time(
            _attribute(root, "c:documentationOf/c:serviceEvent/c:effectiveTime/c:low", "value")
            or _attribute(root, "c:documentationOf/c:serviceEvent/c:effectiveTime", "value")
        ),
        language=_attribute(root, "c:languageCode", "code"),
        confidentiality=tuple(code for item in _all(root, "c:confidentialityCode") if (code := _code(item))),
        patient_ids=tuple(
            PatientIdentifier(item.get("extension", ""), AssigningAuthority(None, item.get("root")))
            for item in _all(root, "c:recordTarget/c:patientRole/c:id")
            if item.get("extension") and item.get("root")
        ),
        patient_name=_name(patient),
        birth_date=_attribute(patient, "c:birthTime", "value")[:8],
        sex=_attribute(patient, "c:administrativeGenderCode", "code"),
        study_instance_uid=_study(root),
        accession=_number(_first(root, "c:inFulfillmentOf/c:order/d:accessionNumber")),
        placer=_number(_first(root, "c:inFulfillmentOf/c:order/c:id")),
    )


def read_time(text: str) -> str:
    """A TS as DTM in UTC; the date alone where no time is told. Empty when it is none."""
    stamp, sign, offset = text.partition("+") if "+" in text else text.partition("-")
    digits = stamp.partition(".")[0]
    if not digits.isdigit() or len(digits) not in (4, 6, 8, 10, 12, 14):
        return ""
    if not sign or len(digits) <= 8:
        return digits
    try:
        moment = datetime.strptime(digits.ljust(14, "0") + sign + offset, "%Y%m%d%H%M%S%z")
    except ValueError:
        return ""
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S")[: max(len(digits), 12)]


def write_wrapped_text(
    text: str,
    *,
    unique_id: str,
    title: str,
    code: Code,
    patient: PatientIdentifier,
    created: str,
    confidentiality: Code,
    language: str,
    custodian: str,
) -> bytes:
    """A CDA document whose body is a text. `created` is DTM, `custodian` the OID of who keeps it."""
    body = base64.b64encode(text.encode()).decode()
    organisation = f'<id root="{custodian}"/>'
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3">
  {_TYPE_ID}
  <templateId root="1.3.6.1.4.1.19376.1.2.20"/>
  <id root="{unique_id}"/>
  <code code="{escape(code.code)}" codeSystem="{escape(code.scheme)}" displayName="{escape(code.display)}"/>
  <title>{escape(title)}</title>
  <effectiveTime value="{created}"/>
  <confidentialityCode code="{escape(confidentiality.code)}" codeSystem="{escape(confidentiality.scheme)}"/>
  <languageCode code="{escape(language)}"/>
  <recordTarget><patientRole>
    <id root="{escape(patient.authority.oid or "")}" extension="{escape(patient.value)}"/>
  </patientRole></recordTarget>
  <author>
    <time value="{created}"/>
    <assignedAuthor>
      {organisation}
      <assignedAuthoringDevice><softwareName>XDS Imaging Document Source</softwareName></assignedAuthoringDevice>
    </assignedAuthor>
  </author>
  <custodian><assignedCustodian><representedCustodianOrganization>
    {organisation}
  </representedCustodianOrganization></assignedCustodian></custodian>
  <component><nonXMLBody><text mediaType="text/plain" representation="B64">{body}</text></nonXMLBody></component>
</ClinicalDocument>
""".encode()


def _all(element: etree._Element | None, path: str) -> list[etree._Element]:
    if element is None:
        return []
    found = element.xpath(path, namespaces=_NAMES)
    return [item for item in found if isinstance(item, etree._Element)] if isinstance(found, list) else []


def _first(element: etree._Element | None, path: str) -> etree._Element | None:
    return next(iter(_all(element, path)), None)


def _attribute(element: etree._Element | None, path: str, name: str) -> str:
    found = _first(element, path)
    return str(found.get(name, "")).strip() if found is not None else ""


def _identifier(root: etree._Element, path: str) -> str:
    item = _first(root, path)
    return "^".join(part for part in (item.get("root", ""), item.get("extension", "")) if part) if item is not None else ""


def _number(item: etree._Element | None) -> OrderNumber:
    if item is None or not item.get("extension"):
        return OrderNumber("")
    return OrderNumber(item.get("extension", ""), item.get("root"))


def _code(item: etree._Element | None) -> Code | None:
    if item is None or not item.get("code") or not item.get("codeSystem"):
        return None
    return Code(item.get("code", ""), item.get("codeSystem", ""), item.get("displayName", ""))


def _name(patient: etree._Element | None) -> str:
    """XPN of the first name."""
    return "^".join(_content(_first(patient, f"c:name/c:{part}")) for part in ("family", "given"))


def _content(item: etree._Element | None) -> str:
    return "" if item is None else " ".join("".join(str(part) for part in item.itertext()).split())


def _study(root: etree._Element) -> str:
    """The Study Instance UID: the id of the service event. Spec: PS3.20 7.2.4 (documentationOf)."""
    items = _all(root, "c:documentationOf/c:serviceEvent/c:id")
    return next((item.get("root", "") for item in items if item.get("extension", "") in ("", "studyInstanceUID")), "")


def _format(root: etree._Element) -> ReportFormat:
    wrapped = _attribute(root, "c:component/c:nonXMLBody/c:text", "mediaType")
    if not wrapped:
        return ReportFormat.CDA
    return ReportFormat.CDA_PDF if wrapped == "application/pdf" else ReportFormat.CDA_TEXT
