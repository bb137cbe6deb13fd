"""The client commands against a running server: a patient, a report, images, and the ways in which a partner says no."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.cli.commands import Commands
from tests.cli.conftest import AUTHORITY, IMAGING_SOURCE, REPOSITORY
from tests.running import RunningServer
from xds.demo.content import STUDIES
from xds.demo.images import images
from xds.demo.region import registration

STUDY = STUDIES[0]
PERSON = registration(STUDY.patient, STUDY.establishment)
LOCAL = PERSON.identifier.to_cx()
MANIFESTS = "XDSDocumentEntryFormatCode=1.2.840.10008.5.1.4.1.1.88.59^^1.2.840.10008.2.6.1"


@pytest.fixture
def patient(xds: Commands, server: RunningServer) -> str:
    """The affinity domain's identifier of the person that the images are of."""
    name = f"{PERSON.name.family}^{PERSON.name.given}"
    fed = xds(
        "send", "iti08", "--to", server.mllp, "--patient", f"{PERSON.identifier.value}^^^HOSP_A&2.999.10&ISO", "--name", name
    )
    assert fed.code == 0, fed.err
    assert fed.rows[0][1] == "AA"
    found = xds("send", "iti09", "--to", server.mllp, "--patient", LOCAL, "--domain", AUTHORITY)
    assert found.code == 0, found.err
    ((_, oid, _, cx),) = found.rows
    assert oid == AUTHORITY
    return cx


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number, image in enumerate(images(STUDY)):
        image.save_as(folder / f"{number}.dcm")
    return folder


def test_a_document_goes_in_is_found_and_comes_out(xds: Commands, server: RunningServer, patient: str, tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    report.write_text("No acute finding.\n")
    sent = xds(
        "send", "iti41", str(report), "--to", server.http, "--patient", patient, "--source-patient", LOCAL, "--title", "Ünal"
    )
    assert sent.code == 0, sent.err
    unique_id = sent.out.strip()

    found = xds("send", "iti18", "FindDocuments", "--to", server.http, "--patient", patient, "--json")
    (entry,) = [item for item in json.loads(found.out)["objects"] if item["unique_id"] == unique_id]
    assert (entry["title"], entry["mime_type"], entry["size"]) == ("Ünal", "text/plain", "18")
    assert unique_id in xds("send", "iti18", "FindDocuments", "--to", server.http, "--local", LOCAL, "--pix", server.mllp).out
    references = xds("send", "iti18", "FindDocuments", "--to", server.http, "--patient", patient, "--refs").rows
    assert entry["id"] in [row[5] for row in references]

    out = tmp_path / "out"
    got = xds("send", "iti43", unique_id, "--to", server.http, "--repository", REPOSITORY, "-o", str(out))
    assert got.code == 0, got.err
    assert Path(got.rows[0][3]).read_text() == "No acute finding.\n"
    assert [path.name for path in out.iterdir()] == [f"{unique_id}.txt"]


def test_answers_as_they_came(xds: Commands, server: RunningServer, patient: str) -> None:
    assert "AdhocQueryResponse" in xds("send", "iti18", "FindDocuments", "--to", server.http, "--patient", patient, "--xml").out
    assert xds("send", "iti09", "--to", server.mllp, "--patient", LOCAL, "--er7").out.startswith("MSH|")


def test_images_go_in_are_announced_and_come_out(
    xds: Commands, server: RunningServer, patient: str, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (image_folder / "notes.txt").write_text("not an image")
    imported = xds("import", "dicom", str(image_folder), "--to", str(server.ready["dicom"]))
    assert (imported.code, imported.out.strip()) == (0, "7 images stored, 0 refused, 1 files passed over, 0 done before")
    again = xds("import", "dicom", str(image_folder), "--to", str(server.ready["dicom"]))
    assert again.out.strip() == "0 images stored, 0 refused, 1 files passed over, 7 done before"

    query = ("send", "iti18", "FindDocuments", "--to", server.http, "--patient", patient, MANIFESTS)
    end = time.monotonic() + 120
    while not (rows := xds(*query).rows) and time.monotonic() < end:
        time.sleep(0.2)
    unique_id = rows[0][5]
    assert xds("send", "iti43", unique_id, "--to", server.http, "--repository", REPOSITORY).code == 0
    manifest = f"{unique_id}.dcm"

    expected = {str(image.SOPInstanceUID) for image in images(STUDY)}
    fetched = xds("fetch", manifest, "--to", server.http, "-o", "soap")
    assert fetched.code == 0, fetched.err
    assert {str(dcmread(path).SOPInstanceUID) for path in Path("soap").iterdir()} == expected
    assert xds("fetch", manifest, "--web", "-o", "web").code == 0
    assert {path.stem for path in Path("web").iterdir()} == expected
    told = xds("fetch", manifest, "--web", "-o", "web", "--json", "--transfer-syntax", "1.2.840.10008.1.2.1")
    assert {item["unique_id"] for item in json.loads(told.out)["documents"]} == expected

    first = next(iter(images(STUDY)))
    study, series, instance = (str(uid) for uid in (first.StudyInstanceUID, first.SeriesInstanceUID, first.SOPInstanceUID))
    where = ("--study", study, "--series", series, "--to", server.http)
    by_uid = xds("send", "rad69", instance, *where, "--repository", IMAGING_SOURCE, "-o", "one")
    assert by_uid.code == 0, by_uid.err
    wado = xds("send", "rad55", *where, "--instance", instance, "-o", "uri")
    assert wado.code == 0, wado.err
    assert Path(wado.out.strip()).read_bytes()[128:132] == b"DICM"
    whole = xds("send", "rad107", *where, "-o", "series")
    assert len(whole.out.splitlines()) == STUDY.series[0].images


def test_images_that_stay_are_announced(
    xds: Commands, server: RunningServer, patient: str, image_folder: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "manifest.dcm"
    arguments = [
        *map(str, sorted(image_folder.glob("*.dcm"))),
        "--patient",
        patient,
        "--location",
        "1.2.840.99",
        "--to",
        server.http,
    ]
    published = xds("publish", *arguments, "--save", str(saved))
    assert published.code == 0, published.err
    assert str(dcmread(saved).SOPInstanceUID) == published.out.split()[-1]
    evidence = dcmread(saved).CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert sum(len(series.ReferencedSOPSequence) for series in evidence) == 7
    assert "ProvideAndRegisterDocumentSetRequest" in xds("publish", *arguments, "--dry-run").out


def test_one_image_as_a_modality_sends_it(xds: Commands, server: RunningServer, image_folder: Path) -> None:
    sent = xds("send", "rad08", str(image_folder / "0.dcm"), "--to", str(server.ready["dicom"]), "--json")
    assert sent.code == 0, sent.err
    assert json.loads(sent.out)[0]["status"] == "0000H"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("iti43", "1.2.3", "--repository", REPOSITORY), "XDSDocumentUniqueIdError"),
        (("iti43", "1.2.3", "--repository", "1.2.840.77"), "XDSUnknownRepositoryId"),
        (("iti18", "FindDocuments"), "XDSStoredQueryMissingParam"),
        (("rad107", "--study", "1.2.3.4"), "404"),
        (("rad69", "1.2.3", "--study", "1.2", "--series", "1.3", "--repository", "1.2.840.77"), "XDSUnknownRepositoryId"),
    ],
)
def test_a_partner_that_says_no_is_1(xds: Commands, server: RunningServer, arguments: tuple[str, ...], says: str) -> None:
    outcome = xds("send", *arguments, "--to", server.http)
    assert outcome.code == 1
    assert says in outcome.err


def test_an_unknown_patient_is_refused_everywhere(xds: Commands, server: RunningServer, tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    report.write_text("x")
    sent = xds("send", "iti41", str(report), "--to", server.http, "--patient", f"NOBODY^^^&{AUTHORITY}&ISO")
    assert sent.code == 1
    assert "XDSUnknownPatientId" in sent.err
    asked = xds("send", "iti09", "--to", server.mllp, "--patient", "NOBODY^^^&2.999.10&ISO")
    assert asked.code == 1
    assert "204" in asked.err
    queried = xds(
        "send", "iti18", "FindDocuments", "--to", server.http, "--local", "NOBODY^^^&2.999.10&ISO", "--pix", server.mllp
    )
    assert queried.code == 1


def test_a_file_that_is_no_dicom_is_wrong_usage(xds: Commands, server: RunningServer, tmp_path: Path) -> None:
    shutil.copy(__file__, tmp_path / "x.dcm")
    outcome = xds("send", "rad08", str(tmp_path / "x.dcm"), "--to", str(server.ready["dicom"]))
    assert outcome.code == 2
