"""One running node: every listener and the worker, above one composed domain."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from xds.actors.pix_notifications import NOTIFY_SUBSCRIBER
from xds.app import App, build, utc_now
from xds.open_file import OpenFile
from xds.pacs.receiver import MoveReceiver
from xds.pacs_settings import SOURCE_JOBS
from xds.portal import create_portal, identity_blueprint
from xds.server.asynchronous import AsynchronousExchange
from xds.server.dimse import DimseServer
from xds.server.dimse_destination import Destination
from xds.server.http import HttpApplication, StartResponse, caller_from_environ
from xds.server.launcher import HttpServer
from xds.server.limits import Limits
from xds.server.listener import Listener, Shared
from xds.server.metrics import Counted, Metrics
from xds.server.mllp import MllpServer
from xds.server.worker import Worker
from xds.settings import DestinationSettings, PacsSettings, ServerSettings, Settings
from xds.store import jobs
from xds.transactions.transaction import Wire
from xds.wire.reply_addresses import ReplyAddresses

#: How many answers of asynchronous requests are made and delivered at a time.
COURIERS = 4
#: The longest wait before a PIX Consumer that was away is tried again: when it is back it must not be in the dark for long.
SUBSCRIBER_WAITS = timedelta(minutes=5)

#: How long the ready line waits for the database to be in memory.
WARMING_SECONDS = 30.0

#: Largest request bodies by path, in octets: documents and images are large, queries are not.
BODY_LIMITS = {
    "/services/registry": 64 << 20,
    "/services/repository": 32 << 30,
    "/services/imaging-source": 16 << 20,
    "/dicomweb": 32 << 30,
}


@dataclass(frozen=True, slots=True)
class Among:
    """A node among several that answer HTTP at one address, HL7 v2 and DICOM at others. Only the first has the workers.

    `number` is this one's, from 0; `endpoints` are those of the first, as far as they are known; `mllp` and `dicom` listen for
    all of them.
    """

    port: int
    mllp: Shared
    dicom: Shared
    number: int
    endpoints: Mapping[str, object]


class Node:
    """Starts and stops what the settings ask for."""

    def __init__(self, settings: Settings, among: Among | None = None) -> None:
        self._settings = settings
        self._among = among
        self._app: App | None = None
        self._serve: HttpApplication | None = None
        self._running: list[HttpServer | MllpServer | DimseServer | MoveReceiver | Worker] = []
        self._endpoints: dict[str, object] = {}

    def start(self) -> dict[str, object]:
        """Listen, and return the endpoints of the ready line. Errors: OSError for a taken address or a closed directory."""
        server = self._settings.server
        with ExitStack() as unless_started:
            unless_started.callback(self.stop)
            if self._among is not None:
                # Whoever listens at a shared address is given requests at once.
                self._compose(_http_address(server.host, self._among.port))
                self._listen(self._among.port, shared=True)
            else:
                # The port comes first: absolute URLs in manifests need it, and with port 0 nobody knows it before.
                self._compose(_http_address(server.host, self._listen(server.http_port, shared=False)))
            unless_started.pop_all()
        return self._endpoints

    def warm_up(self) -> None:
        """Bring the database into memory; requests are answered meanwhile. Returns after a while also when it takes longer."""
        if self._app is not None:
            self._app.database.warm_up(WARMING_SECONDS)

    def stop(self) -> None:
        """Stop listening, finish the requests in flight and the job in hand, close the stores."""
        while self._running:
            self._running.pop(0).stop()
        if self._app is not None:
            self._app.close()

    def _listen(self, port: int, *, shared: bool) -> int:
        http = HttpServer(self._wsgi, self._settings.server.host, port, limits=Limits(bodies=BODY_LIMITS), reuse_port=shared)
        port = listening("http", self._settings.server, http.start)
        # Stopped first: what is in flight needs everything else.
        self._running.insert(0, http)
        return port

    def _compose(self, address: str) -> None:
        app = self._app = build(self._settings, address)
        metrics = Metrics(_counted(app))
        exchange = self._exchange(app)
        app.domain.imaging_document_source.intake.resume()
        self._endpoints = {"http": address}
        if self._among is None or self._among.number == 0:
            self._endpoints |= self._start_others(app, exchange, metrics)
        else:
            self._endpoints |= self._among.endpoints
            self._started("mllp", self._mllp(app, metrics))
            self._started("dicom", self._dimse(app, metrics))
        portal = create_portal(
            [module.TRANSACTION for module in app.transactions],
            lambda: self._endpoints,
            app.domain.identity,
            app.counts,
            identity_blueprint(app.domain.pix_manager.desk, caller_from_environ),
        )
        self._serve = HttpApplication(
            app.domain,
            app.transactions,
            stage=app.domain.document_repository.stage,
            limits=Limits(bodies=BODY_LIMITS),
            metrics=metrics,
            checks={"database": app.is_ready},
            fallback=portal,
            asynchronous=exchange,
        )

    def _start_others(self, app: App, exchange: AsynchronousExchange, metrics: Metrics) -> dict[str, object]:
        """Everything beside HTTP: MLLP, DICOM, and the workers. Gives the endpoints."""
        server = self._settings.server
        mllp, dimse = self._mllp(app, metrics), self._dimse(app, metrics)
        endpoints = {
            "mllp": f"{server.host}:{self._started('mllp', mllp)}",
            "dicom": f"{server.ae_title}@{server.host}:{self._started('dicom', dimse)}",
        }
        handlers = {**app.job_handlers, **dimse.handlers}
        worker = Worker(app.database, handlers, utc_now, kinds=handlers.keys() - {NOTIFY_SUBSCRIBER} - SOURCE_JOBS)
        # Neither must PIX Consumers that are away.
        notifier = Worker(
            app.database,
            app.job_handlers,
            utc_now,
            kinds={NOTIFY_SUBSCRIBER},
            threads=_notifiers(self._settings),
            longest_wait=SUBSCRIBER_WAITS,
        )
        # Partners that are slow to take their answers must not keep other work waiting.
        courier = Worker(
            app.database, exchange.handlers, utc_now, kinds=exchange.handlers.keys(), poll_seconds=2, threads=COURIERS
        )
        exchange.wake = courier.wake
        if app.is_alone:
            # What a server that was killed had in hand would wait until its lease ends.
            app.database.write(lambda connection: jobs.take_back(connection, utc_now()))
        for each in (worker, courier, notifier, *self._sources(app, endpoints)):
            each.start()
            self._running.append(each)
        return {**endpoints}

    def _sources(self, app: App, endpoints: dict[str, str]) -> list[Worker]:
        """The listener for what PACSs send by C-MOVE is started; the worker that asks them is given."""
        sources, server = app.sources, self._settings.server
        if sources.polling is None:
            return []
        if sources.receiver is not None:
            endpoints["dicom_move"] = f"{sources.receiver.ae_title}@{server.host}:{sources.receiver.start()}"
            self._running.append(sources.receiver)
        sources.polling.start()
        # A PACS that is slow must not keep other work waiting, nor other PACSs.
        threads = min(len(sources.archives), COURIERS)
        return [Worker(app.database, app.job_handlers, utc_now, kinds=SOURCE_JOBS, threads=threads)]

    def _mllp(self, app: App, metrics: Metrics) -> MllpServer:
        server, among = self._settings.server, self._among
        return MllpServer(
            app.domain,
            app.transactions,
            server.host,
            server.mllp_port,
            served=metrics.served,
            listener=Listener(among.mllp, among.number) if among else None,
        )

    def _dimse(self, app: App, metrics: Metrics) -> DimseServer:
        server, among = self._settings.server, self._among
        return DimseServer(
            app.domain.imaging_document_source,
            server.ae_title,
            server.host,
            server.dicom_port,
            destinations=_destinations(self._settings),
            served=metrics.served,
            listener=Listener(among.dicom, among.number) if among else None,
        )

    def _exchange(self, app: App) -> AsynchronousExchange:
        return AsynchronousExchange(
            app.database,
            app.blobs,
            app.domain,
            [module for module in app.transactions if module.TRANSACTION.wire is Wire.SOAP],
            ReplyAddresses(self._settings.server.reply_to),
            utc_now,
            give_up_after=timedelta(hours=self._settings.server.reply_hours),
            inline_limit=Limits().inline,
        )

    def _started(self, name: str, listener: MllpServer | DimseServer) -> int:
        port = listening(name, self._settings.server, listener.start)
        self._running.append(listener)
        return port

    def _wsgi(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes | OpenFile]:
        if self._serve is None:
            start_response("503 Service Unavailable", [("Retry-After", "1"), ("Content-Length", "0")])
            return [b""]
        return self._serve(environ, start_response)


def _counted(app: App) -> tuple[Counted, ...]:
    """What is looked up for `/metrics`."""
    drifts = app.domain.imaging_document_source.reconciler.drifts
    return (
        Counted("xds_manifests_adrift", "Published manifests that differ from their studies, by how they do", "drift", drifts),
        Counted("xds_jobs", "Jobs that wait or are at work", "kind", partial(app.jobs, given_up=False)),
        Counted("xds_jobs_given_up", "Jobs that failed for good", "kind", partial(app.jobs, given_up=True)),
        Counted("xds_studies", "Stored studies, by where they stand", "state", app.studies),
        Counted("xds_identity_reviews", "Cases that wait for the identity desk", "kind", app.reviews),
    )


_Listener = TypeVar("_Listener")
_ERROR_NUMBER = re.compile(r"\[Errno (-?\d+)\]")


def listening(name: str, server: ServerSettings, start: Callable[[], _Listener]) -> _Listener:
    """What `start` gives, which listens at the port of that name (http, mllp, dicom).

    Errors: OSError that says which port cannot be had, why, and what chooses another.
    """
    try:
        return start()
    except OSError as error:
        # The library of the HTTP server puts the errors of the system into the text of its own.
        number = error.errno or next((int(found) for found in _ERROR_NUMBER.findall(str(error))), 0)
        # Those below 0 are about names of hosts.
        reason = os.strerror(number) if number > 0 else "this name of a host has no address" if number else str(error)
        port = getattr(server, f"{name}_port")
        raise OSError(
            f"{name.upper()} cannot listen at port {port} of {server.host}: {reason}; --{name}-port and --host choose others"
        ) from error


def _destinations(settings: Settings) -> Iterator[Destination]:
    """Whom images may be sent to."""
    partners: tuple[PacsSettings | DestinationSettings, ...] = (*settings.pacs, *settings.destinations)
    for each in partners:
        yield Destination(each.ae_title, each.host, each.port)


def _notifiers(settings: Settings) -> int:
    """One thread for each subscriber: all of them may be away at once."""
    return max(1, min(len(settings.identity.subscribers), COURIERS * 4))


def _http_address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
