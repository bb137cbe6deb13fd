"""Orders and reports as HL7 v2 messages bring them. Spec: RAD TF-2 4.4, 4.128; HL7 v2.5 chapters 4, 7 and 9."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.imaging import ImagingOrder, OrderNumber, OrderState
from xds.model.imaging_report import ImagingReport, ReportFormat
from xds.model.metadata import Code
from xds.wire import hl7v2
from xds.wire.cda_report import read_cda, read_time
from xds.wire.hl7v2 import Condition, Fault
from xds.wire.hl7v2_orders import read_orders
from xds.wire.hl7v2_reports import read_report

PID = "PID|||4711^^^HOSP_A&1.2.3.500&ISO||Doe^Jane||19700101|F"
PDF = base64.b64encode(b"%PDF-1.4 a report").decode()


def message(kind: str, *segments: str, version: str = "2.5") -> hl7v2.Message:
    header = f"MSH|^~\\&|RIS|HOSP|XDS|XDS|20260301120000||{kind}|M1|P|{version}"
    return hl7v2.read("\r".join((header, *segments)).encode())


def order(*segments: str, kind: str = "OMI^O23^OMI_O23") -> ImagingOrder:
    orders = read_orders(message(kind, PID, *segments))
    assert len(orders) == 1
    assert isinstance(orders[0], ImagingOrder), orders
    return orders[0]


def report(kind: str, *segments: str) -> ImagingReport:
    found = read_report(message(kind, *segments))
    assert isinstance(found, ImagingReport), found
    return found


def conditions(found: object) -> list[Condition]:
    assert isinstance(found, tuple)
    return [item.condition for item in found if isinstance(item, Fault)]


def test_an_order_of_omi() -> None:
    found = order(
        "ORC|NW|P1^PLACER^1.2.3.7^ISO|F1^FILLER^1.2.3.8^ISO",
        "OBR|1|P1|F1|24627-2^CT chest^LN",
        "IPC|A1^RIS^1.2.3.9^ISO|RP1|1.2.3.4.5|SPS1|CT",
    )
    assert found.accession == OrderNumber("A1", "1.2.3.9", "RIS")
    assert found.placer == OrderNumber("P1", "1.2.3.7", "PLACER")
    assert found.filler.value == "F1"
    assert (found.study_instance_uid, found.state) == ("1.2.3.4.5", OrderState.OPEN)
    assert found.procedure == Code("24627-2", "2.16.840.1.113883.6.1", "CT chest")
    assert found.patient == PatientIdentifier("4711", AssigningAuthority("HOSP_A", "1.2.3.500"))


def test_an_order_of_orm_has_its_study_in_zds() -> None:
    orders = read_orders(
        message(
            "ORM^O01",
            PID,
            "ORC|SC|P1|F1||CM",
            "OBR|1|P1|F1|X^local^99X||||||||||||||A1",
            "ORC|CA|P2|F2",
            "OBR|2|P2|F2|Y",
            "ZDS|1.2.3.4.5^RIS^Application^DICOM",
            version="2.3.1",
        )
    )
    assert [item.study_instance_uid for item in orders if isinstance(item, ImagingOrder)] == ["1.2.3.4.5", "1.2.3.4.5"]
    states = [item.state for item in orders if isinstance(item, ImagingOrder)]
    assert states == [OrderState.COMPLETED, OrderState.CANCELLED]
    assert isinstance(orders[0], ImagingOrder)
    assert orders[0].accession.value == "A1"


def test_each_procedure_of_an_order_is_one() -> None:
    orders = read_orders(message("OMI^O23", PID, "ORC|NW|P1", "OBR|1|P1", "IPC|A1||1.2.1", "IPC|A2||1.2.2"))
    assert [item.accession.value for item in orders if isinstance(item, ImagingOrder)] == ["A1", "A2"]


def test_everything_that_is_wrong_with_an_order_is_told_at_once() -> None:
    found = read_orders(message("OMI^O23", "PID|||", "ORC|NW", "OBR|1", "ORC|NW|P1", "IPC|||no uid"))
    assert conditions(found) == [Condition.REQUIRED_MISSING, Condition.REQUIRED_MISSING, Condition.DATA_TYPE]
    assert conditions(read_orders(message("OMI^O23", PID))) == [Condition.SEGMENT_SEQUENCE]


def test_a_pdf_in_oru() -> None:
    found = report(
        "ORU^R01",
        PID,
        "ORC|RE|P1^^1.2.3.7^ISO|F1^^1.2.3.8^ISO",
        "OBR|1|P1|F1^^1.2.3.8^ISO|24627-2^CT chest^LN|||20260301100000+0100|||||||||||A1||||20260301113000||CT|F",
        f"OBX|1|ED|PDF^report||RIS^AP^PDF^Base64^{PDF}||||||F",
        "ZDS|1.2.3.4.5^RIS^Application^DICOM",
    )
    facts = found.facts
    assert (found.content, facts.format, found.is_preliminary) == (b"%PDF-1.4 a report", ReportFormat.PDF, False)
    assert (facts.number, facts.title, facts.birth_date) == ("F1^1.2.3.8", "CT chest", "19700101")
    assert (facts.order.accession.value, facts.order.study_instance_uid) == ("A1", "1.2.3.4.5")
    assert (facts.service_start, facts.created) == ("20260301090000", "20260301113000")


def test_text_lines_in_oru() -> None:
    found = report("ORU^R01", PID, "OBR|1||F1", "OBX|1|TX|||Findings: none", "OBX|2|FT|||line\\.br\\next~last")
    assert found.content.decode() == "Findings: none\nline\nnext\nlast"
    assert found.facts.format is ReportFormat.TEXT


@pytest.mark.parametrize("kind", ["TX", "FT", "ST"])
def test_text_has_no_components(kind: str) -> None:
    """HL7 v2.5 2.A.70, 2.A.75, 2.A.31: nothing of a report is lost where its sender left separators as they are."""
    found = report("ORU^R01", PID, "OBR|1||F1", f"OBX|1|{kind}|||C2 & C3 intact^no fracture \\T\\ no shift~second line")
    assert found.content.decode() == "C2 & C3 intact^no fracture & no shift\nsecond line"


@pytest.mark.parametrize(("status", "preliminary", "cancelled"), [("P", True, False), ("C", False, False), ("X", False, True)])
def test_states_of_results(status: str, preliminary: bool, cancelled: bool) -> None:
    obr = "|".join(["OBR", "1", "", "F1", *[""] * 21, status])
    found = report("ORU^R01", PID, obr, "OBX|1|TX|||text")
    assert (found.is_preliminary, found.facts.is_cancelled) == (preliminary, cancelled)


def test_a_replacement_in_mdm_names_its_parent() -> None:
    txa = "TXA|1|DI||||20260301113000||||||D2^^1.2.3.9^ISO|D1^^1.2.3.9^ISO||A1||AU"
    found = report("MDM^T10^MDM_T02", PID, txa, f"OBX|1|ED|||^AP^PDF^Base64^{PDF}")
    assert (found.facts.number, found.facts.replaces) == ("D2^1.2.3.9", "D1^1.2.3.9")
    assert found.facts.order.accession.value == "A1"
    cancelled = report("MDM^T11^MDM_T01", PID, txa)
    assert cancelled.facts.is_cancelled


def test_what_is_no_document_is_refused() -> None:
    assert conditions(read_report(message("ORU^R01", PID, "OBR|1||F1"))) == [Condition.REQUIRED_MISSING]
    for value in ("^AP^PDF^Base64^%%%", f"^AP^PDF^Base64^{base64.b64encode(bytes([0, 255, 254])).decode()}"):
        assert conditions(read_report(message("ORU^R01", PID, "OBR|1||F1", f"OBX|1|ED|||{value}"))) == [Condition.DATA_TYPE]
    broken = base64.b64encode(b"<ClinicalDocument").decode()
    assert conditions(read_report(message("ORU^R01", PID, "OBR|1||F1", f"OBX|1|ED|||^^^^{broken}"))) == [Condition.DATA_TYPE]


@pytest.mark.parametrize("size", [1, 10, 13, 16])
def test_a_document_in_pieces(size: int) -> None:
    pieces = [PDF[start : start + size] for start in range(0, len(PDF), size)]
    lines = [f"OBX|{number}|ED|PDF^report|{number}|^AP^PDF^Base64^{piece}" for number, piece in enumerate(pieces, 1)]
    found = report("ORU^R01", PID, "OBR|1||F1", *lines)
    assert (found.content, found.facts.format) == (b"%PDF-1.4 a report", ReportFormat.PDF)


def test_text_beside_a_document_is_its_reading() -> None:
    found = report("ORU^R01", PID, "OBR|1||F1", "OBX|1|TX|||Findings", f"OBX|2|ED|||^AP^PDF^Base64^{PDF}", "OBX|3|TX|||none")
    assert found.content == b"%PDF-1.4 a report"


def test_several_documents_are_refused_unless_they_are_the_same() -> None:
    same = report("ORU^R01", PID, "OBR|1||F1", f"OBX|1|ED|||^AP^PDF^Base64^{PDF}", f"OBX|2|ED|||^AP^PDF^Base64^{PDF}")
    assert same.content == b"%PDF-1.4 a report"
    other = base64.b64encode(b"%PDF-1.4 another").decode()
    found = read_report(
        message("ORU^R01", PID, "OBR|1||F1", f"OBX|1|ED|||^AP^PDF^Base64^{PDF}", f"OBX|2|ED|||^AP^PDF^Base64^{other}")
    )
    assert conditions(found) == [Condition.DATA_TYPE]


@pytest.mark.parametrize(
    "value",
    [
        "^TEXT^PLAIN^A^Élévation",
        "^TEXT^PLAIN^Hex^C389C3A9",
        f"^TEXT^PLAIN^Base64^{base64.b64encode('É'.encode('latin-1')).decode()}",
    ],
)
def test_encapsulated_text(value: str) -> None:
    header = "MSH|^~\\&|RIS|HOSP|XDS|XDS|20260301120000||ORU^R01|M1|P|2.5||||||8859/1"
    found = read_report(hl7v2.read("\r".join((header, PID, "OBR|1||F1", f"OBX|1|ED|||{value}")).encode("latin-1")))
    assert isinstance(found, ImagingReport)
    assert found.content.decode().startswith("É")
    assert found.facts.format is ReportFormat.TEXT


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("20260301113000+0100", "20260301103000"),
        ("20260301", "20260301"),
        ("202603011130-0500", "202603011630"),
        ("yesterday", ""),
        ("20260301113000.123", "20260301113000"),
    ],
)
def test_times(given: str, expected: str) -> None:
    assert read_time(given) == expected


def test_the_report_of_a_drimbox_needs_no_pid(shared: Path) -> None:
    """The CDA document says whose it is, and of which study. Spec: DRIMbox."""
    octets = (shared / "vectors" / "dicom" / "xds-messages" / "oru-r01-cda-imagerie.hl7").read_bytes()
    found = read_report(hl7v2.read(octets))
    assert isinstance(found, ImagingReport), found
    facts = found.facts
    assert facts.patient_ids[0].authority.oid == "1.2.250.1.213.1.4.10"
    assert facts.type_code is not None
    assert (facts.type_code.code, facts.language, facts.format) == ("18748-4", "fr-FR", ReportFormat.CDA_PDF)
    assert facts.order.accession
    assert facts.order.study_instance_uid


def test_the_header_of_a_cda_report(shared: Path) -> None:
    header = read_cda((shared / "vectors" / "dicom" / "xds-messages" / "cda-cr-imagerie-2023.11.xml").read_bytes())
    assert header.accession == OrderNumber("105234751", "1.2.250.1.925.994044785528.27")
    assert header.placer == OrderNumber("984375862", "1.2.250.1.748.12345678.12")
    assert header.study_instance_uid == "1.2.250.1.3.152.235.2.12.187636474"
    assert (header.patient_name, header.sex, header.created) == ("PAT-TROIS^DOMINIQUE", "F", "20210108101700")
