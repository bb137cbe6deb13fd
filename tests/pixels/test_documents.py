"""Reports and encapsulated documents as texts. Spec: DICOM PS3.18 8.7.4; PS3.3 C.17.3, C.24.2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from tests.pixels.conftest import sample
from tests.presentation import as_file, item
from xds.model.rendering import Rendering
from xds.pixels.jobs import PixelError
from xds.pixels.pool import Pool


def given(pool: Pool, source: Path, media_type: str) -> str:
    made = pool.render(source, Rendering(media_type))
    octets = b"".join(made.chunks())
    made.release()
    return octets.decode("utf-8")


def code(meaning: str) -> list[Dataset]:
    return [item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning=meaning)]


def report(tmp_path: Path, *content: Dataset, **attributes: Any) -> Path:
    made = dcmread(sample("reportsi.dcm"))
    made.SpecificCharacterSet = "ISO_IR 192"
    made.PatientName = "Yamada^Tarou=山田^太郎"
    made.ConceptNameCodeSequence = code("Befund <1>")
    made.ContentSequence = list(content)
    for name, value in attributes.items():
        setattr(made, name, value)
    path = tmp_path / "report.dcm"
    path.write_bytes(as_file(made))
    return path


def test_every_kind_of_item_is_written(pool: Pool, tmp_path: Path) -> None:
    measured = item(NumericValue="12.5", MeasurementUnitsCodeSequence=[item(CodeValue="mm", CodeMeaning="millimeter")])
    image = item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID="1.2.3.4")
    path = report(
        tmp_path,
        item(ValueType="TEXT", ConceptNameCodeSequence=code("Finding"), TextValue="größer <b>\nals zuvor"),
        item(ValueType="NUM", ConceptNameCodeSequence=code("Diameter"), MeasuredValueSequence=[measured]),
        item(ValueType="CODE", ConceptNameCodeSequence=code("Site"), ConceptCodeSequence=code("Lung")),
        item(ValueType="PNAME", ConceptNameCodeSequence=code("Observer"), PersonName="Weber^Lena"),
        item(ValueType="DATE", ConceptNameCodeSequence=code("On"), Date="20240102"),
        item(ValueType="UIDREF", ConceptNameCodeSequence=code("Study"), UID="1.2.9"),
        item(ValueType="IMAGE", ReferencedSOPSequence=[image]),
        item(
            ValueType="CONTAINER",
            ConceptNameCodeSequence=code("Inner"),
            ContentSequence=[item(ValueType="TEXT", ConceptNameCodeSequence=code("Deep"), TextValue="down")],
        ),
        item(RelationshipType="INFERRED FROM", ReferencedContentItemIdentifier=[1, 2]),
    )
    text = given(pool, path, "text/plain")
    for line in (
        "Patient: Yamada Tarou (山田 太郎)",
        "Befund <1>",
        "  Finding: größer <b>",
        "  als zuvor",
        "  Diameter: 12.5 mm",
    ):
        assert line in text.splitlines()
    for line in ("  Site: Lung", "  Observer: Weber Lena", "  On: 20240102", "  Study: 1.2.9", "  image 1.2.3.4", "  see 1.2"):
        assert line in text.splitlines()
    assert text.index("  Inner\n") < text.index("    Deep: down\n")
    html = given(pool, path, "text/html")
    assert "größer &lt;b&gt;<br>als zuvor" in html
    assert "<h1>Befund &lt;1&gt;</h1>" in html
    assert "<h2>Inner</h2>" in html


@pytest.mark.parametrize("name", ["reportsi.dcm", "reportsi_with_empty_number_tags.dcm", "test-SR.dcm"])
def test_reports_of_others(pool: Pool, name: str) -> None:
    assert given(pool, sample(name), "text/html").startswith("<!DOCTYPE html>")


def test_a_report_without_end_is_refused(pool: Pool, tmp_path: Path) -> None:
    inner = item(ValueType="TEXT", TextValue="x")
    for _ in range(70):
        inner = item(ValueType="CONTAINER", ContentSequence=[inner])
    with pytest.raises(PixelError, match="nested"):
        given(pool, report(tmp_path, inner), "text/html")


def test_forms_that_there_are_not(pool: Pool) -> None:
    with pytest.raises(PixelError):
        given(pool, sample("reportsi.dcm"), "application/pdf")
    with pytest.raises(PixelError, match="neither an image nor a text"):
        given(pool, sample("CT_small.dcm"), "text/html")


def test_an_encapsulated_document_is_given_as_what_it_is(pool: Pool, tmp_path: Path) -> None:
    made = dcmread(sample("CT_small.dcm"))
    del made.PixelData
    made.EncapsulatedDocument = b"<ClinicalDocument/>\0"
    made.MIMETypeOfEncapsulatedDocument = "text/XML"
    path = tmp_path / "cda.dcm"
    path.write_bytes(as_file(made))
    assert given(pool, path, "text/xml") == given(pool, path, "application/xml") == "<ClinicalDocument/>"
    with pytest.raises(PixelError, match="text/xml"):
        given(pool, path, "application/pdf")
