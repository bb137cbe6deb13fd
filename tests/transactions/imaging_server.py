"""The transactions of the Imaging Document Source on a real HTTP server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests.archive import IDENTITY, Archive, open_archive
from xds.actors.domain import Domain
from xds.model.audit import AuditEvent
from xds.server.http import HttpApplication
from xds.server.launcher import HttpServer
from xds.server.limits import Limits
from xds.store import audit
from xds.transactions import (
    rad55_wado_uri,
    rad69_retrieve_imaging_document_set,
    rad107_wado_rs,
    rad108_store_instances,
    rad129_qido_rs,
)

MODULES: list[Any] = [rad55_wado_uri, rad69_retrieve_imaging_document_set, rad107_wado_rs, rad108_store_instances, rad129_qido_rs]


@dataclass
class ImagingServer:
    """An archive and the address of its server."""

    archive: Archive
    url: str


def _page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """What answers at all other addresses."""
    start_response("404 Not Found", [("Content-Type", "text/html")])
    return [b"<p>no such page</p>"]


@contextmanager
def serving(directory: Path) -> Iterator[ImagingServer]:
    """Serve an empty archive on a free port."""
    with open_archive(directory) as archive:
        domain = cast(Domain, SimpleNamespace(identity=IDENTITY, imaging_document_source=archive.source))
        limits = Limits(threads=8, uploads=4)
        app = HttpApplication(domain, MODULES, stage=archive.blobs.stage, limits=limits, fallback=_page)
        server = HttpServer(app, "127.0.0.1", 0, limits=limits)
        port = server.start()
        try:
            yield ImagingServer(archive, f"http://127.0.0.1:{port}")
        finally:
            server.stop()


@contextmanager
def hidden(server: ImagingServer, patient: str) -> Iterator[None]:
    """Meanwhile nobody may see the studies of that patient of the affinity domain (empty: of nobody known)."""
    server.archive.access.hidden.add(patient)
    try:
        yield
    finally:
        server.archive.access.hidden.discard(patient)


def audited(server: ImagingServer, transaction: str, study: str, at_least: int = 1) -> list[AuditEvent]:
    """The events of a transaction about a study, the newest first. They are written after the client has its answer."""
    until = time.monotonic() + 60
    while True:
        with server.archive.database.read() as connection:
            found = [event for _, event in audit.find(connection, limit=1000) if event.event_type.code == transaction]
        about = [event for event in found if any(item.id == study for item in event.objects)]
        if len(about) >= at_least or time.monotonic() > until:
            return about
        time.sleep(0.01)
