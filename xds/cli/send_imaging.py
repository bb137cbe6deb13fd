"""`xds send rad08`, `rad55`, `rad69`, `rad107`: images into an archive and out of it."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import typer

from xds.cli import exchange, files, web
from xds.cli.exchange import AsXml, DicomTo, DryRun, HttpTo, Timeout, talking
from xds.cli.outcome import Refused, Usage
from xds.cli.printing import AsJson
from xds.cli.send_repository import save
from xds.model.retrieval import DocumentRequest, ImagingDocumentRequest
from xds.pacs.sender import STORED, read_endpoint, read_file, send_files
from xds.transactions import rad55_wado_uri as rad55_transaction
from xds.transactions import rad69_retrieve_imaging_document_set as rad69_transaction
from xds.transactions import rad107_wado_rs as rad107_transaction
from xds.transactions.client import TemporaryStaging
from xds.wire.dicom import DicomError
from xds.wire.dicom_header import read_header
from xds.wire.dicomweb import MultipartError, read_media_type, read_multipart
from xds.wire.xdsi import write_imaging_retrieve_request

_CHUNK = 1 << 20
_SOP_INSTANCE_UID = 0x00080018
_DICOM = "application/dicom"
#: What is asked for when nothing is said: every transfer syntax that this field uses, as they are kept.
_ANY_SYNTAX = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.4.100",
    "1.2.840.10008.1.2.4.102",
    "1.2.840.10008.1.2.4.103",
)

Study = Annotated[str, typer.Option(metavar="UID", help="Study Instance UID.")]
SeriesUid = Annotated[str, typer.Option(metavar="UID", help="Series Instance UID.")]
Syntaxes = Annotated[
    list[str] | None, typer.Option("--transfer-syntax", metavar="UID", help="Acceptable transfer syntax. Default: any usual one.")
]


def rad08(
    given: Annotated[list[Path], typer.Argument(metavar="FILE…", help="DICOM files.")],
    calling: Annotated[str, typer.Option(help="AE title to call as.")] = "XDS_SCU",
    to: DicomTo = exchange.DEFAULT_DICOM,
    as_json: AsJson = False,
    timeout: Timeout = 60,
) -> None:
    """Store images as a modality does: C-STORE (RAD-8).

    **Examples**

    `xds send rad08 ct/*.dcm --to XDS@127.0.0.1:11112`
    """
    try:
        title, host, port = read_endpoint(to)
    except ValueError as error:
        raise Usage(str(error)) from error
    for path in given:
        files.require_dicom(path)
    try:
        images = [read_file(path) for path in given]
    except DicomError as error:
        raise Usage(str(error)) from error
    with talking(to):
        outcomes = list(send_files(images, host, port, calling=calling, called=title, seconds=timeout))
    rows = [
        (image.sop_instance_uid, "stored" if status in STORED else "refused", "" if status is None else f"{status:04X}H")
        for image, status in outcomes
    ]
    facts = [dict(zip(("sop_instance_uid", "outcome", "status"), row, strict=True)) for row in rows]
    answer = exchange.Answer(("Image", "Outcome", "Status"), rows, facts, lambda: "")
    exchange.show(answer, exchange.form(as_json, as_wire=False))
    if not all(status in STORED for _, status in outcomes):
        raise Refused("some images were refused")


def rad69(
    instances: Annotated[list[str], typer.Argument(metavar="UID…", help="SOP Instance UIDs, all of one series.")],
    study: Study,
    series: SeriesUid,
    repository: Annotated[str, typer.Option(metavar="OID", help="Retrieve Location UID, as the manifest states it.")],
    home: Annotated[str | None, typer.Option(metavar="URN", help="homeCommunityId, when the metadata state one.")] = None,
    transfer_syntax: Syntaxes = None,
    output: exchange.OutputDirectory = Path(),
    to: HttpTo = exchange.DEFAULT_HTTP,
    as_json: AsJson = False,
    as_xml: AsXml = False,
    dry_run: DryRun = False,
    timeout: Timeout = 60,
) -> None:
    """Retrieve images by their UIDs (RAD-69). `xds fetch` takes them from a manifest.

    **Examples**

    `xds send rad69 1.2.3.4 --study 1.2 --series 1.2.3 --repository 2.999.4 -o images`
    """
    requests = [ImagingDocumentRequest(study, series, DocumentRequest(repository, instance, home)) for instance in instances]
    syntaxes = transfer_syntax or list(_ANY_SYNTAX)
    if dry_run:
        print(exchange.pretty(write_imaging_retrieve_request(requests, syntaxes)))
        return
    retrieve_images(requests, syntaxes, to, output, exchange.form(as_json, as_xml), timeout)


def retrieve_images(
    requests: list[ImagingDocumentRequest],
    syntaxes: list[str] | None,
    to: str,
    output: Path,
    wanted: exchange.Form,
    timeout: float,
) -> None:
    """Get images by RAD-69 into files. Errors: Refused, NoAnswer, Usage."""
    endpoint = exchange.service(to, rad69_transaction.TRANSACTION)
    with talking(endpoint):
        answer = rad69_transaction.send(requests, syntaxes or list(_ANY_SYNTAX), endpoint=endpoint, timeout=timeout)
    save(answer, output, wanted)


def rad55(
    study: Study,
    series: SeriesUid,
    instance: Annotated[str, typer.Option(metavar="UID", help="SOP Instance UID.")],
    content_type: Annotated[str, typer.Option(help="What form is wanted.")] = _DICOM,
    output: exchange.OutputDirectory = Path(),
    to: HttpTo = exchange.DEFAULT_HTTP,
    dry_run: DryRun = False,
    timeout: Timeout = 60,
) -> None:
    """Retrieve one image by WADO-URI (RAD-55).

    **Examples**

    `xds send rad55 --study 1.2 --series 1.2.3 --instance 1.2.3.4 -o images`
    """
    endpoint = exchange.service(to, rad55_transaction.TRANSACTION)
    asked = {"requestType": "WADO", "studyUID": study, "seriesUID": series, "objectUID": instance, "contentType": content_type}
    url = f"{endpoint}?{urlencode(asked)}"
    if dry_run:
        print(f"GET {url}")
        return
    with web.get(url, {"Accept": content_type}, timeout) as response:
        kind = response.getheader("Content-Type", _DICOM)
        print(files.write(output, instance, kind, iter(lambda: response.read(_CHUNK), b"")))


def rad107(
    study: Study,
    series: Annotated[str | None, typer.Option(metavar="UID", help="One series of it.")] = None,
    instance: Annotated[str | None, typer.Option(metavar="UID", help="One instance of that series.")] = None,
    transfer_syntax: Annotated[str, typer.Option(metavar="UID", help="Transfer syntax; * is as they are kept.")] = "*",
    output: exchange.OutputDirectory = Path(),
    to: HttpTo = exchange.DEFAULT_HTTP,
    dry_run: DryRun = False,
    timeout: Timeout = 60,
) -> None:
    """Retrieve a study, a series or an instance by WADO-RS (RAD-107).

    **Examples**

    `xds send rad107 --study 1.2 -o images`
    """
    if instance and not series:
        raise Usage("an --instance is one of a --series")
    endpoint = exchange.service(to, rad107_transaction.TRANSACTION)
    path = "".join(f"/{level}/{uid}" for level, uid in (("studies", study), ("series", series), ("instances", instance)) if uid)
    accept = accepting([transfer_syntax])
    if dry_run:
        print(f"GET {endpoint}{path}\nAccept: {accept}")
        return
    for _, written in fetch_web(f"{endpoint}{path}", {"Accept": accept}, output, timeout):
        print(written)


def accepting(transfer_syntaxes: Iterable[str]) -> str:
    """The Accept of WADO-RS for instances in one of these; `*` is as they are kept. Spec: DICOM PS3.18 8.7.3.5."""
    return ", ".join(f'multipart/related; type="{_DICOM}"; transfer-syntax={uid}' for uid in transfer_syntaxes)


def fetch_web(url: str, headers: Mapping[str, str], output: Path, timeout: float) -> Iterator[tuple[str, Path]]:
    """Get the instances of a WADO-RS resource into files: the SOP Instance UID of each, and where it is.

    Errors: Refused, NoAnswer.
    """
    with web.get(url, headers, timeout) as response:
        kind = read_media_type(response.getheader("Content-Type", ""))
        if kind.name != "multipart/related":
            raise Refused(f"the answer is {kind.name or 'of no type'}, not multipart/related")
        yield from _parts(response, kind.parameters.get("boundary", ""), output)


def _parts(response: http.client.HTTPResponse, boundary: str, output: Path) -> Iterator[tuple[str, Path]]:
    try:
        for fields, staging in read_multipart(response, boundary, TemporaryStaging):
            try:
                uid = _sop_instance_uid(staging.open())
                yield uid, files.write(output, uid, fields.get("content-type", ""), staging.open())
            finally:
                staging.discard()
    except MultipartError as error:
        print(f"error: {error}", file=sys.stderr)
        raise Refused("the answer is incomplete") from error


def _sop_instance_uid(chunks: Iterable[bytes]) -> str:
    """SOP Instance UID of a Part 10 file. Errors: Refused when it is none."""
    try:
        return read_header(chunks).elements.text(_SOP_INSTANCE_UID)
    except DicomError as error:
        raise Refused(f"the partner sent something that is no DICOM file: {error}") from error
