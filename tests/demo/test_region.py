"""The demo region as data: identities, files and metadata, the same on every machine."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest
from lxml import etree

from tests.programs import program
from xds.demo.content import LETTERS, STUDIES
from xds.demo.documents import cda, pdf
from xds.demo.images import images
from xds.demo.region import ESTABLISHMENTS, PATIENTS, registration, registrations, uid_of
from xds.demo.submissions import letter, report, revised_report
from xds.model.identifiers import is_oid
from xds.rules.submission import check


def test_there_are_forty_persons_in_four_establishments_with_overlap() -> None:
    everybody = list(registrations())
    assert len(PATIENTS) == 40
    assert {item.establishment.key for item in everybody} == set(ESTABLISHMENTS)
    assert len(everybody) > 60
    assert len({item.identifier.key for item in everybody}) == len(everybody)


def test_identifiers_are_derived_not_drawn() -> None:
    assert uid_of("study 2601") == "2.25.175930119644505279122328629225684413537"
    assert is_oid(uid_of("study 2601"))


def test_a_stranger_is_not_registered() -> None:
    with pytest.raises(KeyError):
        registration(6, "B")


def test_a_married_woman_has_both_names() -> None:
    names = {name.use: name.family for name in registration(10, "A").demographics.names}
    assert names == {"L": "Weiss", "D": "Schneider"}


def test_images_carry_their_patient_and_nobody_else() -> None:
    for plan in STUDIES:
        patient = registration(plan.patient, plan.establishment)
        for image in images(plan):
            assert image.PatientID == patient.identifier.value
            assert image.IssuerOfPatientIDQualifiersSequence[0].UniversalEntityID == patient.establishment.oid
            assert image.StudyInstanceUID == plan.study_instance_uid
            assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
            assert {element.keyword for element in image if element.tag.group == 0x10} == {
                "PatientName",
                "PatientID",
                "IssuerOfPatientID",
                "IssuerOfPatientIDQualifiersSequence",
                "PatientBirthDate",
                "PatientSex",
            }


def test_images_are_of_many_kinds() -> None:
    everything = [image for plan in STUDIES for image in images(plan)]
    assert len({image.SOPInstanceUID for image in everything}) == len(everything)
    assert len({image.file_meta.TransferSyntaxUID for image in everything}) >= 10
    assert {image.Modality for image in everything} >= {"CT", "MR", "US", "ECG", "SEG", "SR", "RTDOSE"}


def test_submissions_keep_every_rule() -> None:
    patient_id = "P1^^^&2.999.1&ISO"
    prepared = [report(plan, patient_id) for plan in STUDIES if plan.report]
    prepared += [letter(plan, patient_id) for plan in LETTERS]
    prepared.append(revised_report(STUDIES[1], patient_id, "urn:uuid:00000000-0000-4000-8000-000000000001"))
    assert len(prepared) == 15
    assert len({item.unique_id for item in prepared}) == len(prepared)
    for item in prepared:
        assert check(item.submission, registering=False) == []
        assert sum(map(len, item.document.chunks())) == item.document.size


def test_letters_are_cda() -> None:
    plan = LETTERS[0]
    patient = registration(plan.patient, plan.establishment)
    text = ("5 < 6 & done",)
    root = etree.fromstring(
        cda(unique_id="1.2.3", title=plan.title, kind=plan.type_code, moment=plan.moment, patient=patient, paragraphs=text)
    )
    names = {"c": "urn:hl7-org:v3"}
    assert root.tag == "{urn:hl7-org:v3}ClinicalDocument"
    assert root.xpath("string(//c:patientRole/c:id/@extension)", namespaces=names) == "B-00001"
    assert root.xpath("string(//c:section/c:text)", namespaces=names) == "5 < 6 & done"


def test_cross_reference_table_of_a_pdf_points_at_its_objects() -> None:
    file = pdf("Title (with brackets) \\ and é", ["a line " * 40] * 30)
    start = int(file.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    assert file[start:].startswith(b"xref\n")
    entries = re.findall(rb"^(\d{10}) 00000 n $", file[start:], flags=re.MULTILINE)
    for number, offset in enumerate(entries, start=1):
        assert file[int(offset) :].startswith(b"%d 0 obj\n" % number)
    assert file.count(b"/Type /Page ") == 4
    for length, stream in re.findall(rb"<< /Length (\d+) >>\nstream\n(.*?)\nendstream", file, flags=re.DOTALL):
        assert len(stream) == int(length)


def test_the_same_plan_gives_the_same_octets() -> None:
    first, second = (hashlib.sha256(b"".join(letter(LETTERS[0], "P^^^&1.2&ISO").document.chunks())).digest() for _ in "ab")
    assert first == second


def test_dcmtk_reads_every_image(tmp_path: Path) -> None:
    """An independent reader finds each file complete."""
    dcmftest = program("dcmftest")
    paths = []
    for plan in STUDIES:
        for number, image in enumerate(images(plan)):
            paths.append(str(tmp_path / f"{plan.key}-{number}.dcm"))
            image.save_as(paths[-1])
    done = subprocess.run([dcmftest, *paths], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
