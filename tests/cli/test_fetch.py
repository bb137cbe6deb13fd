"""`xds fetch --web`: which service is asked, and with which headers. The images themselves: `test_clients`."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pydicom import dcmread

from tests.cli.commands import Commands
from xds.demo.content import STUDIES
from xds.demo.images import images

STUDY = STUDIES[0]
PATIENT = ("--patient", "1^^^&1.2.3&ISO", "--source-patient", "2^^^&1.2.4&ISO", "--location", "1.2.5")


class Service(ThreadingHTTPServer):
    """A WADO-RS service that has nothing; it keeps what it was asked, and with which headers."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.headers: list[Message] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.paths.append(self.path)
                service.headers.append(self.headers)
                self.send_error(404)

            def log_message(self, *_arguments: object) -> None:
                pass

        service = self
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as made:
        thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def manifest(xds: Commands, folder: Path, *options: str) -> str:
    """The path of a manifest of the study."""
    files = []
    for number, image in enumerate(images(STUDY)):
        files.append(str(folder / f"{number}.dcm"))
        image.save_as(files[-1])
    saved = str(folder / "manifest.kos")
    made = xds("publish", *files, *PATIENT, *options, "--save", saved, "--dry-run")
    assert made.code == 0, made.err
    return saved


def series() -> list[str]:
    """Where the series of the study are below a service."""
    found = {f"/studies/{image.StudyInstanceUID}/series/{image.SeriesInstanceUID}" for image in images(STUDY)}
    assert len(found) > 1
    return sorted(found)


def asked(xds: Commands, *arguments: str) -> list[str]:
    """The addresses that would be asked."""
    shown = xds("fetch", *arguments, "--web", "--dry-run")
    assert shown.code == 0, shown.err
    return sorted(line.removeprefix("GET ") for line in shown.out.splitlines() if line.startswith("GET "))


def test_the_service_that_is_named_goes_before_what_the_manifest_says(xds: Commands, tmp_path: Path, service: Service) -> None:
    path = manifest(xds, tmp_path, "--retrieve-url", "https://elsewhere.example/rs")
    assert asked(xds, path) == [f"https://elsewhere.example/rs{each}" for each in series()]
    assert asked(xds, path, "--to", "https://pacs.example/rs/") == [f"https://pacs.example/rs{each}" for each in series()]
    assert asked(xds, path, "--to", "https://pacs.example") == [f"https://pacs.example/dicomweb{each}" for each in series()]
    fetched = xds("fetch", path, "--web", "--to", service.address, "-o", str(tmp_path))
    assert fetched.code == 1
    assert "404" in fetched.err
    assert len(service.paths) == 1
    assert service.paths[0].removeprefix("/dicomweb") in series()


def test_a_manifest_without_address_needs_the_service_to_be_named(xds: Commands, tmp_path: Path) -> None:
    path = manifest(xds, tmp_path)
    refused = xds("fetch", path, "--web", "--dry-run")
    assert refused.code == 2
    assert "--to" in refused.err
    assert asked(xds, path, "--to", "https://pacs.example") == [f"https://pacs.example/dicomweb{each}" for each in series()]


def test_an_address_that_is_none_is_wrong_usage(xds: Commands, tmp_path: Path) -> None:
    assert xds("fetch", manifest(xds, tmp_path), "--web", "--to", "pacs.example").code == 2


def test_the_manifest_is_named_in_every_request(xds: Commands, tmp_path: Path, service: Service) -> None:
    """As a DRIMbox wants it: 400 without."""
    path = manifest(xds, tmp_path, "--retrieve-url", service.address)
    uid = str(dcmread(path).SOPInstanceUID)
    assert xds("fetch", path, "--web", "-o", str(tmp_path)).code == 1
    assert [headers["KOS-SOPInstanceUID"] for headers in service.headers] == [uid]
    shown = xds("fetch", path, "--web", "--dry-run").out.splitlines()
    assert shown.count(f"KOS-SOPInstanceUID: {uid}") == len(series())


def test_transfer_syntaxes_are_asked_for(xds: Commands, tmp_path: Path) -> None:
    path = manifest(xds, tmp_path, "--retrieve-url", "https://elsewhere.example/rs")
    some = ("--transfer-syntax", "1.2.840.10008.1.2.1", "--transfer-syntax", "1.2.840.10008.1.2.4.80")
    shown = xds("fetch", path, "--web", "--dry-run", *some).out.splitlines()
    kind = 'multipart/related; type="application/dicom"; transfer-syntax='
    assert f"Accept: {kind}1.2.840.10008.1.2.1, {kind}1.2.840.10008.1.2.4.80" in shown


def test_there_is_no_message_of_wado_rs_to_be_shown(xds: Commands, tmp_path: Path) -> None:
    refused = xds("fetch", manifest(xds, tmp_path), "--web", "--xml")
    assert refused.code == 2
    assert "--xml" in refused.err
    assert xds("fetch", manifest(xds, tmp_path), "--json", "--xml").code == 2
