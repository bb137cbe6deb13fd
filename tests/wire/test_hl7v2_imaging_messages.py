"""Orders and reports that are written are read as what they were. Spec: RAD TF-2 4.4, 4.128."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.imaging import ImagingOrder, OrderNumber, OrderState
from xds.model.imaging_report import ImagingReport, ReportFormat
from xds.model.metadata import Code
from xds.model.patient import Demographics, PersonName
from xds.wire import hl7v2
from xds.wire.hl7v2_imaging_messages import Envelope, write_order, write_report
from xds.wire.hl7v2_orders import read_orders
from xds.wire.hl7v2_reports import read_report

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PATIENT = PatientIdentifier("4711", AssigningAuthority("HOSP_A", "1.2.3.500"))
WOMAN = Demographics(names=(PersonName("Dupré", "Élise"),), birth_date="19700101", sex="F")
ENVELOPE = Envelope((PATIENT,), WOMAN, "HOSP|RIS", "XDS|XDS", "M1")
ORDER = ImagingOrder(
    OrderNumber("A|1", "1.2.3.9", "RIS"),
    OrderNumber("P1", None, "PLACER"),
    OrderNumber("F1"),
    "1.2.3.4.5",
    procedure=Code("24627-2", "2.16.840.1.113883.6.1", "CT & chest"),
)


def _again(message: hl7v2.Message) -> hl7v2.Message:
    return hl7v2.read(hl7v2.write(message))


@pytest.mark.parametrize("state", OrderState)
def test_an_order(state: OrderState) -> None:
    given = ImagingOrder(
        ORDER.accession, ORDER.placer, ORDER.filler, ORDER.study_instance_uid, PATIENT, ORDER.procedure, "", state
    )
    (found,) = read_orders(_again(write_order(given, ENVELOPE, now=NOW)))
    assert isinstance(found, ImagingOrder)
    assert (found.accession, found.placer, found.filler) == (given.accession, given.placer, given.filler)
    assert (found.study_instance_uid, found.patient, found.state) == ("1.2.3.4.5", PATIENT, state)
    assert (found.procedure, found.description) == (given.procedure, "CT & chest")


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"%PDF-1.4 a report", ReportFormat.PDF),
        ("Befund: Ödem\n\nklein | groß \\ ^ & ~".encode(), ReportFormat.TEXT),
    ],
)
def test_a_report(content: bytes, form: ReportFormat) -> None:
    found = read_report(_again(write_report(ORDER, content, ENVELOPE, now=NOW)))
    assert isinstance(found, ImagingReport), found
    assert (found.content, found.facts.format, found.is_preliminary) == (content, form, False)
    assert (found.facts.number, found.facts.order.accession.value) == ("F1", "A|1")
    assert (found.facts.order.study_instance_uid, found.facts.patient_ids) == ("1.2.3.4.5", (PATIENT,))
    assert (found.facts.patient_name, found.facts.created) == ("Dupré^Élise", "20260301120000")


def test_a_report_that_is_withdrawn() -> None:
    found = read_report(_again(write_report(ORDER, b"", ENVELOPE, now=NOW)))
    assert isinstance(found, ImagingReport)
    assert found.facts.is_cancelled
