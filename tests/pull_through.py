"""An affinity domain whose images stay in the PACS of an establishment; its jobs run when a test says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.databases import url_of
from tests.ports import free_port
from xds.actors.imaging_intake import SETTLE_INSTANCES
from xds.actors.imaging_polling import POLL_SOURCE
from xds.app import App, build
from xds.model.identifiers import new_oid
from xds.model.imaging import StoredStudy
from xds.server.http import HttpApplication
from xds.server.launcher import HttpServer
from xds.server.limits import Limits
from xds.server.worker import Worker
from xds.settings import Settings

#: Retrieve Location UID of the PACS.
LOCATION = "1.2.3.777"
DOMAIN = "1.2.3.100"


@dataclass
class PullingDomain:
    """The domain and the address of its server."""

    app: App
    url: str

    def poll(self, name: str = "pacs") -> int:
        """One round of questions, and the manifests that follow from it; how many studies had changed."""
        polling = self.app.sources.polling
        assert polling is not None
        changed = polling.round(name)
        self.publish()
        return changed

    def publish(self) -> None:
        """Do the jobs of the next hour."""
        later = datetime.now(UTC) + timedelta(hours=1)
        kinds = self.app.job_handlers.keys() - {POLL_SOURCE, SETTLE_INSTANCES}
        Worker(self.app.database, self.app.job_handlers, lambda: later, kinds=kinds).run_due()

    def study(self, uid: str) -> StoredStudy | None:
        """A study as it is registered."""
        return self.app.domain.imaging_document_source.study(uid)

    def cached(self) -> list[Path]:
        """The objects in the cache."""
        return sorted((self.app.settings.server.data / "pulled" / "objects").glob("*/*.dcm"))

    def blobs(self) -> int:
        """How many blobs there are: manifests, and nothing else where nothing is archived."""
        return len(list(self.app.blobs.keys()))


def settings_for(directory: Path, pacs: list[dict[str, Any]], **imaging: Any) -> Settings:
    """Settings of a domain with these PACSs."""
    given: dict[str, Any] = {
        "domain": {"assigning_authority": DOMAIN, "repository_unique_id": new_oid(), "home_community_id": new_oid()},
        "server": {"data": directory},
        "database": {"url": url_of(directory)},
        "registry": {"require_known_patient": False},
        "pacs": pacs,
        "imaging": {"settle_seconds": 0, "cache_check_seconds": 0, "move_port": free_port(), **imaging},
    }
    return Settings.model_validate(given)


def pacs_of(dicom_port: int, dicomweb: str = "", **settings: Any) -> dict[str, Any]:
    """The settings of a PACS on the loopback."""
    return {
        "name": "pacs",
        "ae_title": "ORTHANC",
        "host": "127.0.0.1",
        "port": dicom_port,
        "dicomweb": dicomweb,
        "repository_unique_id": LOCATION,
        "assigning_authority": DOMAIN,
        "query": "c-find",
        "silence_seconds": 30,
        "look_back_days": 20000,
        **settings,
    }


@contextmanager
def pulling(settings: Settings) -> Iterator[PullingDomain]:
    """Serve a domain on a free port; nothing is asked before the test says so."""
    settings.server.data.mkdir(parents=True, exist_ok=True)
    port = free_port()
    app = build(settings, f"http://127.0.0.1:{port}")
    receiver = app.sources.receiver
    limits = Limits(threads=16, uploads=4)
    server = HttpServer(
        HttpApplication(app.domain, app.transactions, stage=app.domain.document_repository.stage, limits=limits),
        "127.0.0.1",
        port,
        limits=limits,
    )
    try:
        if receiver is not None:
            receiver.start()
        server.start()
        yield PullingDomain(app, f"http://127.0.0.1:{port}")
    finally:
        server.stop()
        if receiver is not None:
            receiver.stop()
        app.close()
