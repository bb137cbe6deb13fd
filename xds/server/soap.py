"""SOAP 1.2 on spyne: the only module that imports it.

spyne keeps the table of services and carries the call. Everything that the standards of IHE say beyond it is decided by the
protocol class here: parsing, envelope, WS-Addressing, mustUnderstand, faults and their HTTP status, dispatch by path and
wsa:Action. MTOM stands before and after it: spyne sees the envelope alone.

Spec: ITI TF-2 Appendix V; SOAP 1.2 part 2 section 7; WS-Addressing 1.0 SOAP binding.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from lxml import etree

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.identifiers import new_uuid_urn
from xds.ports import Staging
from xds.server import spyne_shim
from xds.server.answering import SoapTransaction, own_failure
from xds.server.asynchronous import AsynchronousExchange
from xds.server.limits import BodyError, Limits, RequestBody
from xds.server.memory import SMALL, LargeMessages, TooMuchError
from xds.server.soap_exchange import Exchange, Operation, SoapAnswer, packaged
from xds.store.database import turns
from xds.transactions.transaction import Transaction
from xds.wire import mtom
from xds.wire.pieces import Pieces
from xds.wire.soap import (
    Addressing,
    SoapFault,
    action_not_supported,
    is_asynchronous,
    message_id_of,
    read_envelope,
    require_anonymous,
    write_envelope,
    write_fault,
)
from xds.wire.xml import CharsetError, XmlError, in_charset, parse

spyne_shim.install()
with warnings.catch_warnings():
    # spyne 2.14.0 carries a copy of six and imports cgi: both warn when they are imported, and never again.
    warnings.simplefilter("ignore", ImportWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    import spyne.const
    from spyne import AnyXml, Application, Fault, MethodContext, ServiceBase, rpc
    from spyne.protocol.soap import Soap12
    from spyne.server import ServerBase

# spyne collects garbage of the whole process every second, and logs whole messages that it could not read.
spyne.const.MIN_GC_INTERVAL = float("inf")
logging.getLogger("spyne").setLevel(logging.CRITICAL + 1)

_NAMESPACE = "urn:xds:services"


class _SpyneFault(Fault):  # type: ignore[misc]
    """A fault on its way through spyne."""

    def __init__(self, fault: SoapFault) -> None:
        super().__init__("Client" if fault.code == "Sender" else "Server", fault.reason)
        self.soap_fault = fault


class _Context(MethodContext):  # type: ignore[misc]
    """One exchange on its way through spyne, without what costs more than the way itself.

    spyne checks the name of every attribute that is set, and tells listeners of every step: there are none.
    """

    __setattr__ = object.__setattr__

    def fire_event(self, event: str, *args: Any, **named: Any) -> None:
        """Nobody listens."""


class _IheSoap12(Soap12):  # type: ignore[misc]
    """The protocol as IHE wants it. Method names and their order of calls are spyne's."""

    def generate_method_contexts(self, ctx: Any) -> list[Any]:
        """The context itself: spyne's own copies it for each of several methods of one name, of which there are none here."""
        (ctx.descriptor,) = self.get_call_handles(ctx)
        return [ctx]

    def create_in_document(self, ctx: Any, charset: str | None = None) -> None:
        exchange: Exchange = ctx.udc
        if exchange.refusal is not None:
            raise _SpyneFault(exchange.refusal)
        try:
            ctx.in_document = parse(exchange.root)
        except XmlError as error:
            raise _SpyneFault(_unreadable(error)) from None

    def decompose_incoming_envelope(self, ctx: Any, message: Any = None) -> None:
        exchange: Exchange = ctx.udc
        try:
            addressing, body, exchange.headers = read_envelope(ctx.in_document)
        except SoapFault as fault:
            exchange.message_id = message_id_of(ctx.in_document)
            raise _SpyneFault(fault) from None
        exchange.message_id = addressing.message_id
        try:
            if exchange.offered is not None and is_asynchronous(addressing):
                exchange.offered.check(addressing)
                exchange.asynchronous = exchange.offered
            else:
                require_anonymous(addressing)
                exchange.root = b""
            exchange.addressing = addressing
            exchange.operation = operation = exchange.operations.get(addressing.action)
            if operation is None:
                raise action_not_supported(addressing.action)
            _check_body(body, operation.module.TRANSACTION)
        except SoapFault as fault:
            raise _SpyneFault(fault) from None
        ctx.in_header_doc = list(exchange.headers)
        ctx.in_body_doc = body
        ctx.method_request_string = f"{{{_NAMESPACE}}}{operation.name}"

    def deserialize(self, ctx: Any, message: Any) -> None:
        ctx.in_object = ctx.in_body_doc

    def serialize(self, ctx: Any, message: Any) -> None:
        if ctx.out_error is None:
            ctx.out_document = ctx.out_object[0]

    def create_out_string(self, ctx: Any, charset: str | None = None) -> None:
        exchange: Exchange = ctx.udc
        if ctx.out_error is not None:
            exchange.fault = fault = _fault_of(ctx.out_error)
            ctx.out_string = [write_fault(fault, message_id=new_uuid_urn(), relates_to=exchange.message_id)]
            return
        if exchange.asynchronous is not None:
            ctx.out_string = []
            return
        assert exchange.operation is not None
        assert exchange.reply is not None
        addressing = Addressing(
            action=exchange.operation.module.TRANSACTION.reply_action or "",
            message_id=new_uuid_urn(),
            relates_to=exchange.message_id,
        )
        ctx.out_string = write_envelope(exchange.reply.body, addressing)


class _Transport(ServerBase):  # type: ignore[misc]
    """How exchanges come to spyne. Its WSGI application would read and write HTTP, which was done or is done elsewhere."""

    transport = "urn:xds:exchange"

    def answer(self, exchange: Exchange) -> tuple[int, Pieces]:
        """The HTTP status and the envelope of the answer."""
        context = _Context(self, MethodContext.SERVER)
        context.udc = exchange
        self.generate_contexts(context)
        if context.in_error is None:
            self.get_in_object(context)
        if context.in_error is None:
            self.get_out_object(context)
        self.get_out_string(context)
        status = HTTPStatus.OK if context.out_error is None else _fault_of(context.out_error).http_status
        envelope: Pieces = context.out_string
        context.close()
        # Its parts refer to it: without this, the message it holds stays until the collector finds them.
        context.__dict__.clear()
        return status, envelope


def _fault_of(error: Any) -> SoapFault:
    if isinstance(error, _SpyneFault):
        return error.soap_fault
    # spyne's own faults stand for a service table that is wrong, and may quote what they were given.
    return SoapFault("Receiver", "the request could not be processed")


def _check_body(body: etree._Element, transaction: Transaction) -> None:
    if transaction.body is not None and body.tag != transaction.body:
        raise SoapFault(
            "Sender",
            f"the Body of {transaction.action} must hold {etree.QName(transaction.body).localname} "
            f"of {etree.QName(transaction.body).namespace}, not {etree.QName(body).localname[:64]}",
        )


def _unreadable(error: XmlError) -> SoapFault:
    return SoapFault("Sender", f"the envelope cannot be read: {error}")


def _too_much() -> SoapFault:
    return SoapFault("Receiver", "too many large messages at this moment", http_status=503)


def _service(path: str, operations: Iterable[Operation]) -> type:
    def method(name: str) -> Any:
        def call(ctx: Any, body: Any) -> Any:
            try:
                return ctx.udc.call(body)
            except SoapFault as fault:
                raise _SpyneFault(fault) from None

        # spyne tells methods apart by the name of the function.
        call.__name__ = call.__qualname__ = name
        return rpc(AnyXml, _returns=AnyXml, _body_style="bare", _operation_name=name)(call)

    members = {operation.name: method(operation.name) for operation in operations}
    service: type = type(ServiceBase)(_name_of(path), (ServiceBase,), members)
    return service


def _name_of(path: str) -> str:
    return re.sub(r"\W+", "_", path).strip("_") or "root"


class SoapServices:
    """All SOAP services of the affinity domain, by path."""

    def __init__(
        self,
        domain: Domain,
        transactions: Iterable[SoapTransaction],
        *,
        stage: Callable[[], Staging],
        limits: Limits,
        asynchronous: AsynchronousExchange | None = None,
    ) -> None:
        """Without `asynchronous` every answer goes over the connection of its request.

        Errors: ValueError when two transactions of one path have the same wsa:Action.
        """
        self._asynchronous = asynchronous
        self._domain = domain
        self._stage = stage
        self._limits = limits
        self._large = LargeMessages(held=limits.held, worked_on=limits.worked_on, patience=limits.patience)
        self._operations: dict[str, dict[str, Operation]] = {}
        for module in transactions:
            transaction = module.TRANSACTION
            if transaction.path is None or transaction.action is None or transaction.reply_action is None:
                raise ValueError(f"{transaction.id} lacks path, action or reply_action")
            served = self._operations.setdefault(transaction.path, {})
            if transaction.action in served:
                raise ValueError(f"{transaction.path} has two transactions with the action {transaction.action}")
            # Some transactions have several messages, each with an operation of its own.
            name = f"{_name_of(transaction.path)}_{transaction.id}_{len(served) + 1}"
            served[transaction.action] = Operation(name, module)
        services = [_service(path, served.values()) for path, served in self._operations.items()] or [ServiceBase]
        self._spyne = _Transport(Application(services, _NAMESPACE, in_protocol=_IheSoap12(), out_protocol=_IheSoap12()))

    @property
    def paths(self) -> frozenset[str]:
        """The HTTP paths that are SOAP services."""
        return frozenset(self._operations)

    def transactions(self, path: str) -> tuple[Transaction, ...]:
        """What is served at a path."""
        return tuple(operation.module.TRANSACTION for operation in self._operations[path].values())

    def body_limit(self, content_type: str) -> int:
        """Octets that a request of this Content-Type may have."""
        is_package = content_type.lstrip().lower().startswith("multipart/related")
        return self._limits.package if is_package else self._limits.envelope

    def answer(self, environ: Mapping[str, Any], body: RequestBody, caller: Caller) -> SoapAnswer:
        """Answer one POST. Whatever goes wrong becomes a fault."""
        operations = self._operations[environ["PATH_INFO"]]
        exchange = Exchange(operations, self._domain, caller, self._limits.inline, self._asynchronous)
        holding = self._large.holding()
        try:
            kind, encoding = environ.get("CONTENT_TYPE", ""), environ.get("HTTP_CONTENT_ENCODING", "")
            self._receive(exchange, kind, encoding, body, holding.grow)
        except SoapFault as fault:
            exchange.refusal = fault
        except Exception as error:
            exchange.refusal = own_failure(error, None)
        try:
            return packaged(exchange, *self._answer(exchange))
        except Exception as error:
            exchange.discard()
            if exchange.reply is not None and exchange.reply.finished is not None:
                exchange.reply.finished(False)
            exchange.reply, exchange.is_mtom, exchange.asynchronous = None, False, None
            failure = own_failure(error, exchange.operation.module.TRANSACTION.id if exchange.operation else None)
            exchange.fault = failure
            return packaged(exchange, failure.http_status, [write_fault(failure, relates_to=exchange.message_id)])
        finally:
            holding.end()

    def _answer(self, exchange: Exchange) -> tuple[int, Pieces]:
        """The HTTP status and the envelope of the answer."""
        octets = len(exchange.root)
        if octets < SMALL:
            # From here to the answer nothing but the transaction itself may wait, and that ends the turn.
            with turns.taken():
                return self._spyne.answer(exchange)
        try:
            with self._large.turn(octets):
                try:
                    return self._spyne.answer(exchange)
                finally:
                    exchange.root, exchange.headers = b"", ()
        except TooMuchError:
            exchange.root, exchange.refusal = b"", _too_much()
            return self._spyne.answer(exchange)

    def _receive(
        self, exchange: Exchange, content_type: str, content_encoding: str, body: RequestBody, grow: Callable[[int], None]
    ) -> None:
        """Read the message into the exchange; `grow` is told of the octets of its envelope. Errors: SoapFault."""
        kind = mtom.parse_content_type(content_type)
        if content_encoding.strip().lower() not in ("", "identity"):
            raise SoapFault("Sender", "a Content-Encoding is not supported", http_status=415)
        if kind.media_type == "text/xml":
            raise SoapFault("VersionMismatch", "SOAP 1.2 is required: application/soap+xml or multipart/related")
        try:
            if kind.media_type == "application/soap+xml":
                exchange.root = body.whole(grow)
            elif kind.media_type == "multipart/related":
                package = mtom.read_package(body, kind, self._stage, self._limits.mtom, grow)
                exchange.root, exchange.parts, exchange.is_mtom = package.root, package.parts, True
                kind = package.root_type
                if kind.media_type not in ("application/xop+xml", "application/soap+xml"):
                    raise SoapFault("Sender", "the root part must be application/xop+xml", http_status=415)
            else:
                raise SoapFault("Sender", "the Content-Type must be application/soap+xml or multipart/related", http_status=415)
            exchange.root = in_charset(exchange.root, kind.charset)
        except CharsetError as error:
            raise SoapFault("Sender", str(error), http_status=415) from None
        except XmlError as error:
            raise _unreadable(error) from None
        except mtom.MtomError as error:
            raise SoapFault("Sender", f"the MTOM package cannot be read: {error}") from None
        except BodyError as error:
            raise SoapFault("Sender", error.reason, http_status=error.status) from None
        except TooMuchError as error:
            # What was read so far is held by the way that the error came.
            raise _too_much() from error.with_traceback(None)
