"""`xds fetch`: manifest -> images, by RAD-69 or WADO-RS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xds.cli import exchange, files
from xds.cli.exchange import AsXml, DryRun, Timeout
from xds.cli.outcome import Refused, Usage
from xds.cli.printing import AsJson
from xds.cli.send_imaging import Syntaxes, accepting, fetch_web, retrieve_images
from xds.model.imaging import Manifest, ReferencedInstance
from xds.model.retrieval import DocumentRequest, ImagingDocumentRequest
from xds.transactions import rad107_wado_rs
from xds.wire.dicom import DicomError
from xds.wire.kos import is_rejection, read_manifest
from xds.wire.xdsi import write_imaging_retrieve_request

#: The manifest that led to the images: a French DRIMbox gives none without it, and to all others it is a header like any.
_MANIFEST = "KOS-SOPInstanceUID"

To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="URL",
        help="The server (its usual path is added), or the full address of the service. Default: this machine, and with `--web` "
        "where the manifest points to.",
    ),
]


def fetch(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="A Key Object Selection document, as ITI-43 brings it.")],
    web: Annotated[bool, typer.Option("--web", help="By WADO-RS from the Retrieve URLs of the manifest, not by RAD-69.")] = False,
    transfer_syntax: Syntaxes = None,
    output: exchange.OutputDirectory = Path(),
    to: To = None,
    as_json: AsJson = False,
    as_xml: AsXml = False,
    dry_run: DryRun = False,
    timeout: Timeout = 60,
) -> None:
    """Get the images that a manifest announces.

    With `--web` every request names the manifest in the header `KOS-SOPInstanceUID`, which a French DRIMbox wants.

    **Examples**

    `xds fetch manifest.dcm -o images` asks the imaging document source of this machine (RAD-69)

    `xds fetch manifest.dcm -o images --web` goes where the manifest points to (WADO-RS)

    `xds fetch manifest.dcm -o images --web --to https://pacs.example/dicomweb` asks that service, whatever the manifest says
    """
    wanted = exchange.form(as_json, as_xml)
    if web and as_xml:
        raise Usage("--xml shows the message of RAD-69; WADO-RS (--web) has none")
    read = _read(manifest)
    if is_rejection(read.title):
        raise Refused(f"the document is a rejection note ({read.title.display}); what it names must not be fetched")
    if web:
        _fetch_web(read, to, transfer_syntax or ["*"], output, wanted, timeout, dry_run=dry_run)
        return
    requests = [_request(item) for item in read.references]
    if dry_run:
        print(exchange.pretty(write_imaging_retrieve_request(requests, transfer_syntax or [])))
        return
    retrieve_images(requests, transfer_syntax, to or exchange.DEFAULT_HTTP, output, wanted, timeout)


def _fetch_web(
    manifest: Manifest, to: str | None, syntaxes: list[str], output: Path, wanted: exchange.Form, timeout: float, *, dry_run: bool
) -> None:
    headers = {"Accept": accepting(syntaxes), _MANIFEST: manifest.sop_instance_uid}
    urls = _urls(manifest, to)
    if dry_run:
        for url in urls:
            print(f"GET {url}", *(f"{name}: {value}" for name, value in headers.items()), sep="\n")
        return
    documents = []
    for url in urls:
        for uid, path in fetch_web(url, headers, output, timeout):
            documents.append({"unique_id": uid, "size": str(path.stat().st_size), "file": str(path)})
            if wanted is exchange.Form.TABLE:
                # Each as it arrives.
                print(path)
    if wanted is exchange.Form.JSON:
        exchange.show(exchange.Answer((), (), {"documents": documents}, str), wanted)


def _read(path: Path) -> Manifest:
    try:
        manifest = read_manifest([files.content(path)])
    except DicomError as error:
        raise Usage(f"{path}: {error}") from error
    if not manifest.references:
        raise Usage(f"{path} refers to no images")
    return manifest


def _request(item: ReferencedInstance) -> ImagingDocumentRequest:
    if item.retrieve_location_uid is None:
        raise Usage("the manifest states no Retrieve Location UID, which RAD-69 needs; try --web")
    document = DocumentRequest(item.retrieve_location_uid, item.sop_instance_uid)
    return ImagingDocumentRequest(item.study_instance_uid, item.series_instance_uid, document)


def _urls(manifest: Manifest, to: str | None) -> list[str]:
    """One URL for each series, below the service that `to` names or below what the manifest states.

    The manifest states the base of the service, or the URL of the series itself.
    """
    asked = exchange.service(to, rad107_wado_rs.TRANSACTION) if to else None
    urls: dict[str, None] = {}
    for item in manifest.references:
        base = asked or item.retrieve_url
        if base is None:
            raise Usage("the manifest states no Retrieve URL; --to names the service, or leave --web out to use RAD-69")
        base = base.partition("/studies/")[0].rstrip("/")
        urls[f"{base}/studies/{item.study_instance_uid}/series/{item.series_instance_uid}"] = None
    return list(urls)
