"""The client side of every SOAP transaction: one request with its parts, one answer with its parts, both streamed.

Spec: ITI TF-2 Appendix V; WS-Addressing 1.0.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import ssl
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import overload
from urllib.parse import urlsplit

from lxml import etree

from xds.open_file import OpenFile, read
from xds.ports import Staging
from xds.transactions.transaction import Transaction
from xds.wire import mtom
from xds.wire.inline import SIMPLE, write_inline
from xds.wire.pieces import Pieces, length_of
from xds.wire.soap import (
    ANONYMOUS,
    Addressing,
    ReceivedPart,
    SentPart,
    SoapFault,
    read_envelope,
    read_fault,
    write_envelope,
)
from xds.wire.xml import XmlError, in_charset, parse

_READ = 256 << 10


class NoAnswerError(ConnectionError):
    """The partner could not be reached, did not answer in time, or broke off."""


class UnusableAnswerError(ConnectionError):
    """The partner answered, but not this request, or not in SOAP 1.2."""


class TemporaryStaging:
    """A `xds.ports.Staging` in an unnamed temporary file: gone with this object, whatever happens. It cannot be committed."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by discard, or with this object
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._size = 0

    @property
    def size(self) -> int:
        """Octets written so far."""
        return self._size

    @property
    def sha1(self) -> str:
        """SHA-1 of the octets so far, lower-case hex."""
        return self._sha1.hexdigest()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. Errors: OSError when the disk is full."""
        with memoryview(data) as octets:
            done = 0
            while done < len(octets):
                done += self._file.write(octets[done:])
            self._sha1.update(octets)
            self._size += done

    def open(self) -> Iterator[bytes]:
        """The octets in chunks. Errors: ValueError after `discard`."""
        position = 0
        while data := os.pread(self._file.fileno(), min(_READ, self._size - position), position):
            position += len(data)
            yield data

    def commit(self) -> str:
        """Errors: io.UnsupportedOperation, always."""
        raise io.UnsupportedOperation("a temporary file cannot be committed")

    def discard(self) -> None:
        """Forget it. Idempotent."""
        self._file.close()

    def __del__(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class SoapAnswer:
    """The one child of the answer's Body, its parts by Content-ID, and its addressing."""

    body: etree._Element
    parts: Mapping[str, ReceivedPart]
    addressing: Addressing

    def discard(self) -> None:
        """Forget the parts that were not committed."""
        for part in self.parts.values():
            part.staging.discard()


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The partner has accepted a request, and will send the answer to its reply address, related to this wsa:MessageID."""

    message_id: str


@overload
def post_soap(
    endpoint: str,
    transaction: Transaction,
    body: bytes | Sequence[bytes],
    parts: Sequence[SentPart] = (),
    *,
    timeout: float = 60,
    stage: Callable[[], Staging] = TemporaryStaging,
    ssl_context: ssl.SSLContext | None = None,
    chunked: bool = False,
    limits: mtom.MtomLimits | None = None,
) -> SoapAnswer: ...


@overload
def post_soap(
    endpoint: str,
    transaction: Transaction,
    body: bytes | Sequence[bytes],
    parts: Sequence[SentPart] = (),
    *,
    timeout: float = 60,
    stage: Callable[[], Staging] = TemporaryStaging,
    ssl_context: ssl.SSLContext | None = None,
    chunked: bool = False,
    limits: mtom.MtomLimits | None = None,
    reply_to: str,
    fault_to: str | None = None,
    message_id: str | None = None,
) -> Acknowledgement: ...


def post_soap(
    endpoint: str,
    transaction: Transaction,
    body: bytes | Sequence[bytes],
    parts: Sequence[SentPart] = (),
    *,
    timeout: float = 60,
    stage: Callable[[], Staging] = TemporaryStaging,
    ssl_context: ssl.SSLContext | None = None,
    chunked: bool = False,
    limits: mtom.MtomLimits | None = None,
    reply_to: str | None = None,
    fault_to: str | None = None,
    message_id: str | None = None,
) -> SoapAnswer | Acknowledgement:
    """Send one request and read its answer, or have the answer sent to `reply_to` (faults to `fault_to`, if given).

    `body` is ready XML with its own namespace declarations, `timeout` in seconds counts for each wait on the network,
    `stage` takes the parts of the answer, `chunked` sends without Content-Length. Whoever waits at `reply_to` knows the answer by
    the `message_id`.

    Spec: ITI TF-2 Appendix V.3, V.5 (Asynchronous Web Services Exchange); the packaging is the transaction's.
    Errors: SoapFault from the partner; NoAnswerError, UnusableAnswerError (both ConnectionError); ValueError for a bad endpoint.
    """
    if transaction.action is None:
        raise ValueError(f"{transaction.id} is not a SOAP transaction")
    message_id = message_id or uuid.uuid4().urn
    addressing = Addressing(transaction.action, message_id, endpoint, reply_to=reply_to or ANONYMOUS, fault_to=fault_to)
    envelope = write_envelope([body] if isinstance(body, bytes) else body, addressing)
    outgoing = _outgoing(transaction, envelope, parts)
    headers = {"Content-Type": outgoing.content_type, "Accept": "application/soap+xml, multipart/related"}
    headers |= {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(outgoing.length)}
    connection, path = _connection(endpoint, timeout, ssl_context)
    try:
        response = _exchange(connection, path, outgoing.chunks, headers, chunked=chunked)
        if reply_to is not None and response.status == HTTPStatus.ACCEPTED:
            return Acknowledgement(message_id)
        answer = _read(response, stage, limits or mtom.MtomLimits())
    except (http.client.HTTPException, OSError) as error:
        if isinstance(error, UnusableAnswerError):
            raise
        raise NoAnswerError(f"no answer from {urlsplit(endpoint).netloc}: {type(error).__name__}") from error
    finally:
        connection.close()
    with ExitStack() as unless_usable:
        unless_usable.callback(answer.discard)
        if reply_to is not None:
            raise UnusableAnswerError("the answer came over the connection, not to the reply address")
        _check(answer, transaction, message_id)
        unless_usable.pop_all()
    return answer


def post_reply(
    address: str,
    make: Callable[[], mtom.Outgoing],
    *,
    timeout: float = 60,
    connect_timeout: float = 10,
    ssl_context: ssl.SSLContext | None = None,
) -> None:
    """Send an answer to the address that its request asked for. `make` gives it, once there is a connection to send it over.

    Time-outs are in seconds; no redirection is followed.

    Spec: WS-Addressing SOAP binding section 5.
    Errors: NoAnswerError, also for any HTTP status but success; ValueError for a bad address; whatever `make` raises.
    """
    connection, path = _connection(address, connect_timeout, ssl_context)
    netloc = urlsplit(address).netloc
    try:
        try:
            connection.connect()
        except OSError as error:
            raise NoAnswerError(f"{netloc} cannot be reached: {type(error).__name__}") from error
        connection.sock.settimeout(timeout)
        outgoing = make()
        headers = {"Content-Type": outgoing.content_type, "Content-Length": str(outgoing.length)}
        try:
            response = _exchange(connection, path, outgoing.chunks, headers, chunked=False)
        except (http.client.HTTPException, OSError) as error:
            raise NoAnswerError(f"no answer from {netloc}: {type(error).__name__}") from error
        if not 200 <= response.status < 300:
            raise NoAnswerError(f"{netloc} did not take the reply: HTTP {response.status}")
    finally:
        connection.close()


def outgoing_of(envelope: Pieces, parts: Sequence[SentPart], action: str, *, is_mtom: bool) -> mtom.Outgoing:
    """A message in its packaging. Spec: ITI TF-2 V.3."""
    if is_mtom:
        return mtom.write_package(envelope, parts, action=action)
    content_type = f'{SIMPLE}; action="{action}"'
    if parts:
        return replace(write_inline(envelope, parts), content_type=content_type)
    length = length_of(envelope)
    return mtom.Outgoing(content_type, length, mtom.together(envelope, length))


def _outgoing(transaction: Transaction, envelope: Pieces, parts: Sequence[SentPart]) -> mtom.Outgoing:
    if parts and not transaction.mtom:
        raise ValueError(f"{transaction.id} carries no parts")
    return outgoing_of(envelope, parts, transaction.action or "", is_mtom=transaction.mtom)


def _connection(endpoint: str, timeout: float, context: ssl.SSLContext | None) -> tuple[http.client.HTTPConnection, str]:
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("an endpoint is an absolute http or https URL")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    if url.scheme == "http":
        return http.client.HTTPConnection(url.hostname, url.port, timeout=timeout), path
    return http.client.HTTPSConnection(url.hostname, url.port, timeout=timeout, context=context), path


def _exchange(
    connection: http.client.HTTPConnection,
    path: str,
    chunks: Iterator[bytes | OpenFile],
    headers: Mapping[str, str],
    *,
    chunked: bool,
) -> http.client.HTTPResponse:
    try:
        connection.request("POST", path, body=read(chunks), headers=dict(headers), encode_chunked=chunked)
    except (BrokenPipeError, ConnectionResetError):
        if connection.sock is None:
            raise
        # The partner may have refused early, and said why before it closed.
    return connection.getresponse()


def _read(response: http.client.HTTPResponse, stage: Callable[[], Staging], limits: mtom.MtomLimits) -> SoapAnswer:
    kind = mtom.parse_content_type(response.getheader("Content-Type", ""))
    parts: Mapping[str, ReceivedPart] = {}
    with ExitStack() as unless_read:
        try:
            if kind.media_type == "multipart/related":
                package = mtom.read_package(response, kind, stage, limits)
                root, parts, kind = package.root, package.parts, package.root_type
                unless_read.callback(_discard, parts)
            elif kind.media_type == "application/soap+xml":
                root = response.read(limits.root + 1)
                if len(root) > limits.root:
                    raise UnusableAnswerError(f"the answer is larger than {limits.root} octets")
                if response.length:
                    raise http.client.IncompleteRead(root, response.length)
            else:
                raise UnusableAnswerError(
                    f"HTTP {response.status} without a SOAP 1.2 message ({kind.media_type or 'no content type'})"
                )
            element = parse(in_charset(root, kind.charset))
        except (mtom.MtomError, XmlError) as error:
            raise UnusableAnswerError(f"HTTP {response.status} with an answer that cannot be read: {error}") from None
        fault = read_fault(element, response.status)
        if fault is not None:
            raise fault
        if response.status != 200:
            raise UnusableAnswerError(f"HTTP {response.status} with a SOAP message that is no fault")
        answer = _answer(element, parts)
        unless_read.pop_all()
    return answer


def _answer(element: etree._Element, parts: Mapping[str, ReceivedPart]) -> SoapAnswer:
    try:
        addressing, body, _ = read_envelope(element)
    except SoapFault as fault:
        raise UnusableAnswerError(f"the answer is not a proper SOAP 1.2 message: {fault.reason}") from None
    return SoapAnswer(body, parts, addressing)


def _discard(parts: Mapping[str, ReceivedPart]) -> None:
    for part in parts.values():
        part.staging.discard()


def _check(answer: SoapAnswer, transaction: Transaction, message_id: str) -> None:
    addressing = answer.addressing
    if addressing.relates_to not in (None, message_id):
        raise UnusableAnswerError("the answer relates to another request (wsa:RelatesTo)")
    if transaction.reply_action is not None and addressing.action != transaction.reply_action:
        raise UnusableAnswerError(f"the answer has the wsa:Action {addressing.action[:200]}, not {transaction.reply_action}")
