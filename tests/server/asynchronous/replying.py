"""A server with partners that may have their answers sent to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import func, select

from tests.archive import SteppedClock
from tests.databases import fresh_database
from tests.server.echo import KEEP, NAMESPACE, SAY, Echo, identity
from tests.server.reply_partner import Partner
from xds.actors.domain import Domain
from xds.server.asynchronous import AsynchronousExchange
from xds.server.http import HttpApplication
from xds.server.launcher import HttpServer
from xds.server.limits import Limits
from xds.server.worker import Worker
from xds.store import asynchronous
from xds.store.blobs.local import LocalBlobStore
from xds.store.database import Database
from xds.store.schema.asynchronous import asynchronous_blob
from xds.store.schema.operations import audit_event, job, setting
from xds.transactions.client import Acknowledgement, post_soap
from xds.wire.reply_addresses import ReplyAddresses
from xds.wire.soap import SoapReply, SoapRequest
from xds.wire.xml import WSA

TABLES = (job, setting, audit_event, asynchronous_blob)
INVALID = (WSA, "InvalidAddressingHeader")


def say(text: str = "hello") -> bytes:
    return f'<Say xmlns="{NAMESPACE}">{text}</Say>'.encode()


class Writing(Echo):
    """Its first transaction writes: each execution leaves a row. Some texts make it fail after that."""

    database: Database
    times = 0

    def say(self, request: SoapRequest, domain: Domain, caller: Any) -> SoapReply:
        self.times += 1
        row = {"name": f"execution {self.times}", "value": caller.reply_to or ""}
        self.database.write(lambda connection: connection.execute(setting.insert().values(row)))
        text = request.body.text or ""
        if text.startswith("full") and self.times <= int(text[4:]):
            raise OSError("no space")
        return super().say(request, domain, caller)


@dataclass
class Service:
    """A server with its stores; its worker runs when a test says so."""

    database: Database
    blobs: LocalBlobStore
    exchange: AsynchronousExchange
    worker: Worker
    clock: SteppedClock
    echo: Writing
    partner: Partner
    url: str

    def rows(self) -> int:
        """How many executions of the writing transaction were kept."""
        with self.database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(setting)).scalar_one())

    def kinds(self) -> list[str]:
        """The jobs there are."""
        with self.database.read() as connection:
            return [kind.removeprefix("asynchronous-") for kind in connection.execute(select(job.c.kind)).scalars()]

    def needed(self) -> frozenset[str]:
        """The blobs that accepted requests still need."""
        with self.database.read() as connection:
            return asynchronous.referenced(connection, list(self.blobs.keys()))

    def reset(self) -> None:
        """Forget everything."""
        self.database.write(lambda connection: [connection.execute(table.delete()) for table in TABLES])
        for key in list(self.blobs.keys()):
            self.blobs.delete(key)
        self.exchange._addresses = ReplyAddresses([self.partner.url])
        self.echo.times = 0
        for record in (self.echo.callers, self.echo.finished, self.echo.seen, self.partner.deliveries):
            record.clear()
        self.partner.refuse = 0
        if self.partner.is_away:
            self.partner.start()

    def send(self, text: str = "hello", **addressing: Any) -> Acknowledgement:
        addressing.setdefault("reply_to", self.partner.url)
        acknowledgement: Acknowledgement = post_soap(self.url, SAY, say(text), **addressing)
        return acknowledgement


@contextmanager
def serving(directory: Path, partner: Partner, reply_to: list[str]) -> Iterator[Service]:
    database = fresh_database(directory)
    blobs = LocalBlobStore(directory / "blobs")
    clock = SteppedClock()
    echo = Writing()
    echo.database = database
    domain = cast(Domain, SimpleNamespace(identity=identity()))
    keep = SimpleNamespace(TRANSACTION=_safe(KEEP), respond=echo.keep)
    modules = [SimpleNamespace(TRANSACTION=SAY, respond=echo.say), keep]
    limits = Limits(threads=8, uploads=4, inline=1000)
    exchange = AsynchronousExchange(
        database, blobs, domain, modules, ReplyAddresses(reply_to), clock, give_up_after=timedelta(hours=1), inline_limit=1000
    )
    worker = Worker(database, exchange.handlers, clock, kinds=exchange.handlers.keys())
    app = HttpApplication(domain, modules, stage=blobs.stage, limits=limits, asynchronous=exchange)
    server = HttpServer(app, "127.0.0.1", 0, limits=limits)
    port = server.start()
    try:
        yield Service(database, blobs, exchange, worker, clock, echo, partner, f"http://127.0.0.1:{port}{SAY.path}")
    finally:
        echo.gate.set()
        server.stop()
        database.close()


def _safe(transaction: Any) -> Any:
    return replace(transaction, safe=True)
