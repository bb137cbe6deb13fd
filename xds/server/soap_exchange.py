"""One SOAP request and its answer, from the dispatch to the packaging, whatever carries it in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from lxml import etree

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.open_file import OpenFile
from xds.server.answering import SoapTransaction, answer_of, own_failure
from xds.server.asynchronous import AsynchronousExchange
from xds.store.database import turns
from xds.transactions.transaction import Transaction
from xds.wire import mtom
from xds.wire.inline import SIMPLE, write_inline
from xds.wire.pieces import Pieces, length_of
from xds.wire.soap import Addressing, Envelope, ReceivedPart, SoapFault, SoapReply, SoapRequest


@dataclass(slots=True)
class SoapAnswer:
    """An answer ready to send; the acknowledgement of a request that is answered elsewhere has neither type nor octets.

    `finished` must be called once, also when `chunks` was not exhausted.
    """

    status: int
    content_type: str
    length: int
    chunks: Iterator[bytes | OpenFile]
    finished: Callable[[bool], None]
    transaction: Transaction | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One transaction of a service. `name` is how spyne knows it."""

    name: str
    module: SoapTransaction


@dataclass(slots=True)
class Exchange:
    """One request and its answer, carried through spyne as its user-defined context."""

    operations: Mapping[str, Operation]
    domain: Domain
    caller: Caller
    inline_limit: int
    offered: AsynchronousExchange | None
    #: Set when this request is to be accepted, and answered later.
    asynchronous: AsynchronousExchange | None = None
    root: bytes = b""
    parts: Mapping[str, ReceivedPart] = field(default_factory=dict)
    is_mtom: bool = False
    refusal: SoapFault | None = None
    message_id: str | None = None
    addressing: Addressing | None = None
    headers: tuple[etree._Element, ...] = ()
    operation: Operation | None = None
    reply: SoapReply | None = None
    fault: SoapFault | None = None

    def call(self, body: etree._Element) -> SoapReply | None:
        """Let the transaction answer; None when the answer goes elsewhere. Errors: SoapFault, also for a failure of our own."""
        assert self.operation is not None
        assert self.addressing is not None
        if self.asynchronous is not None:
            turns.end()
            transaction = self.operation.module.TRANSACTION
            try:
                path = transaction.path or ""
                read = Envelope(self.addressing, body, self.headers)
                self.asynchronous.accept(path, self.root, read, self.parts, self.caller, is_mtom=self.is_mtom)
            except SoapFault:
                raise
            except Exception as error:
                raise own_failure(error, transaction.id) from None
            return None
        request = SoapRequest(body, self.addressing, self.parts, self.headers)
        caller = replace(self.caller, reply_to=self.addressing.reply_to)
        limit = None if self.is_mtom else self.inline_limit
        self.reply = answer_of(self.operation.module, request, self.domain, caller, inline_limit=limit)
        return self.reply

    def discard(self) -> None:
        """Forget the parts that no actor committed."""
        for part in self.parts.values():
            part.staging.discard()


def packaged(exchange: Exchange, status: int, pieces: Pieces) -> SoapAnswer:
    """The answer in the packaging of the request. Spec: ITI TF-2 V.3.6."""
    reply = exchange.reply if exchange.fault is None else None
    is_accepted = exchange.asynchronous is not None and exchange.fault is None
    parts = reply.parts if reply is not None else ()
    if is_accepted:
        status, outgoing = HTTPStatus.ACCEPTED, mtom.Outgoing("", 0, iter(()))
    elif exchange.is_mtom:
        outgoing = mtom.write_package(pieces, parts)
    elif parts:
        outgoing = write_inline(pieces, parts)
    else:
        length = length_of(pieces)
        outgoing = mtom.Outgoing(SIMPLE, length, mtom.together(pieces, length))
    fault = exchange.fault

    def finished(complete: bool) -> None:
        try:
            exchange.discard()
        finally:
            if reply is not None and reply.finished is not None:
                reply.finished(complete)

    return SoapAnswer(
        status=status,
        content_type=outgoing.content_type,
        length=outgoing.length,
        chunks=outgoing.chunks,
        finished=finished,
        transaction=exchange.operation.module.TRANSACTION if exchange.operation is not None else None,
        outcome="ok" if fault is None else "failure" if fault.code == "Receiver" else "fault",
    )
