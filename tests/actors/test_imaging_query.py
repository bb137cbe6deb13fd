"""Queries of the Patient Root, as C-FIND asks them. Spec: DICOM PS3.4 C.6.1, C.3.4."""

from __future__ import annotations

from pathlib import Path

from tests.archive import CONSUMER, image, open_archive
from xds.actors import imaging_audit
from xds.model.imaging_query import Form, ImagingQuery, Level, Matching


def test_a_patient_has_so_many_studies_series_and_instances(tmp_path: Path) -> None:
    with open_archive(tmp_path) as archive:
        for study, series, number in ((1, 1, 1), (1, 1, 2), (1, 2, 1), (2, 1, 1)):
            uid = f"1.2.3.{study}"
            archive.store(
                image(StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.{series}", SOPInstanceUID=f"{uid}.{series}.{number}")
            )
        archive.store(
            image(PatientID="other", StudyInstanceUID="1.2.3.9", SeriesInstanceUID="1.2.3.9.1", SOPInstanceUID="1.2.3.9.1.1")
        )
        query = ImagingQuery(Level.PATIENT, (Matching(0x00100020, Form.EQUAL, ("1CT1",)),))
        (found,) = archive.source.query(query, CONSUMER, "", imaging_audit.QIDO_RS, "").matches
    assert [found.attributes[tag]["Value"] for tag in ("00201200", "00201202", "00201204")] == [[2], [3], [4]]


def test_the_classes_of_a_study_are_told_to_who_asks_for_them(tmp_path: Path) -> None:
    with open_archive(tmp_path) as archive:
        archive.store(image())
        for includes, told in (((), False), ((0x00080062,), True), (None, True)):
            query = ImagingQuery(Level.STUDY, includes=includes)
            (found,) = archive.source.query(query, CONSUMER, "", imaging_audit.QIDO_RS, "").matches
            assert ("00080062" in found.attributes) is told
    assert found.attributes["00080062"] == {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]}
