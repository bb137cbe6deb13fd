"""`xds import dicom` with files that are none, or broken: they are named, and the others arrive."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pydicom
from typer.testing import CliRunner

from tests.archive import image, open_archive, packaged
from tests.server.dicom_peers import serving
from xds.cli.import_dicom import app


def test_broken_files_are_listed_and_the_others_arrive(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "deeper").mkdir(parents=True)
    good = packaged("MR_small_RLE.dcm")
    (folder / "good.dcm").write_bytes(good)
    (folder / "deeper" / "other").write_bytes(image(SOPInstanceUID="1.2.3.4"))
    (folder / "broken.dcm").write_bytes(good[:400])
    (folder / "cut.dcm").write_bytes(image(SOPInstanceUID="1.2.3.5")[:-2000])
    (folder / "notes.txt").write_text("not an image")
    state = str(tmp_path / "state")
    with open_archive(tmp_path) as archive, serving(archive) as port:
        arguments = ["dicom", str(folder), "--to", f"XDS@127.0.0.1:{port}", "--state", state]
        first = CliRunner().invoke(app, arguments)
        (folder / "broken.dcm").unlink()
        (folder / "cut.dcm").unlink()
        second = CliRunner().invoke(app, arguments)
        study = archive.source.study(str(pydicom.dcmread(BytesIO(good)).StudyInstanceUID))
        assert study is not None
        (instance,) = study.study.series[0].instances
        kept = b"".join(archive.blobs.open(instance.blob))
    assert "2 images stored, 2 refused, 1 files passed over, 0 done before" in first.output
    assert "broken.dcm" in first.output
    assert "cut.dcm: refused with status C000H" in first.output
    assert first.exit_code != 0
    assert "0 images stored, 0 refused, 1 files passed over, 2 done before" in second.output
    assert kept.endswith(good[-1000:])
