"""Takes the replies to requests that this side sent with a `wsa:ReplyTo` of its own: a WSGI application.

Spec: ITI TF-2 Appendix V.5; WS-Addressing 1.0 core 3.4.

Whoever sends such a request says before that it expects a reply, and waits for the future that it gets:

    reply = listener.expect(message_id, transaction)
    post_soap(endpoint, transaction, body, reply_to=address, message_id=message_id)
    answer = reply.result(timeout)
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any, Final

from xds.ports import Staging
from xds.server.limits import BodyError, Limits, RequestBody
from xds.transactions.client import SoapAnswer, TemporaryStaging, UnusableAnswerError
from xds.transactions.transaction import Transaction
from xds.wire import mtom
from xds.wire.soap import SoapFault, read_envelope, read_fault
from xds.wire.xml import XmlError, in_charset, parse

#: How many answered requests are remembered: a reply that comes twice is taken twice, and counts once.
_REMEMBERED: Final = 10_000


class ReplyListener:
    """One object serves all threads. Replies reach the process that expects them, and are not kept when it ends."""

    def __init__(self, *, stage: Callable[[], Staging] = TemporaryStaging, limits: Limits | None = None) -> None:
        """`stage` takes the parts of replies."""
        self._stage = stage
        self._limits = limits or Limits()
        self._expected: dict[str, tuple[Transaction, Future[SoapAnswer]]] = {}
        self._answered: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def expect(self, message_id: str, transaction: Transaction) -> Future[SoapAnswer]:
        """The reply to the message, once it comes: an answer, whose parts the caller discards, or a fault.

        Errors: raised by the future: SoapFault, UnusableAnswerError.
        """
        future: Future[SoapAnswer] = Future()
        with self._lock:
            self._expected[message_id] = transaction, future
        return future

    def forget(self, message_id: str) -> None:
        """Nobody waits for this reply any more. Idempotent."""
        with self._lock:
            self._expected.pop(message_id, None)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Take one reply (PEP 3333)."""
        try:
            status, text = self._take(environ)
        except BodyError as error:
            status, text = HTTPStatus(error.status), error.reason
        except SoapFault as fault:
            status, text = HTTPStatus.BAD_REQUEST, fault.reason
        except (mtom.MtomError, XmlError) as error:
            status, text = HTTPStatus.BAD_REQUEST, f"the message cannot be read: {error}"
        body = f"{text}\n".encode() if text else b""
        headers = [("Content-Type", "text/plain; charset=UTF-8")] if body else []
        start_response(f"{status.value} {status.phrase}", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def _take(self, environ: dict[str, Any]) -> tuple[HTTPStatus, str]:
        if environ["REQUEST_METHOD"] != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, "replies are sent by POST"
        kind = mtom.parse_content_type(environ.get("CONTENT_TYPE", ""))
        text = environ.get("CONTENT_LENGTH") or ("" if environ.get("HTTP_TRANSFER_ENCODING") else "0")
        if text and not (text.isascii() and text.isdigit()):
            return HTTPStatus.BAD_REQUEST, "Content-Length is not a number"
        is_package = kind.media_type == "multipart/related"
        limit = self._limits.package if is_package else self._limits.envelope
        body = RequestBody(environ["wsgi.input"], int(text) if text else None, limit)
        if is_package:
            package = mtom.read_package(body, kind, self._stage, self._limits.mtom)
            return self._correlate(package)
        if kind.media_type == "application/soap+xml":
            return self._correlate(mtom.Package(body.readall(), kind, {}))
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a reply is a SOAP 1.2 message"

    def _correlate(self, package: mtom.Package) -> tuple[HTTPStatus, str]:
        answer: SoapAnswer | None = None
        try:
            root = parse(in_charset(package.root, package.root_type.charset))
            fault = read_fault(root)
            envelope = read_envelope(root)
            message_id = envelope.addressing.relates_to or ""
            expected = self._claim(message_id)
            if expected is None:
                known = message_id in self._answered
                return (HTTPStatus.ACCEPTED, "") if known else (HTTPStatus.NOT_FOUND, "nobody expects a reply to that message")
            transaction, future = expected
            if not future.set_running_or_notify_cancel():
                return HTTPStatus.ACCEPTED, ""
            if fault is not None:
                future.set_exception(fault)
            elif envelope.addressing.action != transaction.reply_action:
                future.set_exception(UnusableAnswerError(f"the reply has not the wsa:Action {transaction.reply_action}"))
            else:
                answer = SoapAnswer(envelope.body, package.parts, envelope.addressing)
                future.set_result(answer)
            return HTTPStatus.ACCEPTED, ""
        finally:
            if answer is None:
                for part in package.parts.values():
                    part.staging.discard()

    def _claim(self, message_id: str) -> tuple[Transaction, Future[SoapAnswer]] | None:
        with self._lock:
            expected = self._expected.pop(message_id, None)
            if expected is not None:
                self._answered[message_id] = None
                if len(self._answered) > _REMEMBERED:
                    self._answered.popitem(last=False)
            return expected
