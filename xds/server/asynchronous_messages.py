"""The messages of the Asynchronous Web Services Exchange: what is kept of a request, and how its answer is written.

Spec: WS-Addressing 1.0 core 3.4 (Formulating a Reply Message).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from datetime import datetime

from xds.ports import BlobStore
from xds.store.asynchronous import Endpoint, Reply, Request, StoredPart
from xds.transactions.client import outgoing_of
from xds.transactions.transaction import Transaction
from xds.wire.mtom import Outgoing
from xds.wire.pieces import Pieces
from xds.wire.soap import (
    NONE,
    Addressing,
    Envelope,
    ReceivedPart,
    SoapFault,
    SoapReply,
    fault_action,
    reference_parameters,
    write_envelope,
    write_fault,
)


class CommittedStaging:
    """A part that is a blob already, as the transaction expects a part."""

    def __init__(self, blobs: BlobStore, part: StoredPart) -> None:
        self._blobs = blobs
        self._part = part

    @property
    def size(self) -> int:
        """Octets."""
        return self._part.size

    @property
    def sha1(self) -> str:
        """Their hash."""
        return self._part.sha1

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Errors: io.UnsupportedOperation, always."""
        raise io.UnsupportedOperation("the part is complete")

    def open(self) -> Iterator[bytes]:
        """The octets in chunks. Errors: KeyError."""
        return self._blobs.open(self._part.blob)

    def commit(self) -> str:
        """The key: it is durable, and kept by the request until its execution is."""
        return self._part.blob

    def discard(self) -> None:
        """Nothing: it belongs to the request."""


def digest_of(path: str, envelope: bytes, parts: Mapping[str, ReceivedPart], *, is_mtom: bool) -> str:
    """What tells a message from another that has its wsa:MessageID."""
    told = sorted((part.content_id, part.content_type, part.staging.size, part.staging.sha1) for part in parts.values())
    return hashlib.sha256(repr((path, hashlib.sha256(envelope).digest(), told, is_mtom)).encode()).hexdigest()


def stored_part(part: ReceivedPart) -> StoredPart:
    """A part that has become durable. Errors: OSError."""
    return StoredPart(part.content_id, part.content_type, part.staging.commit(), part.staging.size, part.staging.sha1)


def endpoint_of(read: Envelope, header: str, address: str | None) -> Endpoint:
    """The address in the header ReplyTo or FaultTo, with its reference parameters."""
    return Endpoint(address or NONE, reference_parameters(read.headers, header))


def _envelope(request: Request, transaction: Transaction, reply: SoapReply) -> Pieces:
    to = request.reply_to
    addressing = Addressing(
        action=transaction.reply_action or "",
        message_id=request.reply_message_id,
        to=to.address,
        relates_to=request.message_id,
    )
    return write_envelope(reply.body, addressing, to.parameters)


def package(request: Request, transaction: Transaction, reply: SoapReply) -> Outgoing:
    """An answer ready to be sent, in the packaging of its request."""
    envelope = _envelope(request, transaction, reply)
    return outgoing_of(envelope, reply.parts, transaction.reply_action or "", is_mtom=request.is_mtom)


def reply_of(request: Request, transaction: Transaction, reply: SoapReply, now: datetime) -> Reply | None:
    """An answer without parts as it waits for its delivery; None when nobody wants it."""
    envelope = b"".join(_envelope(request, transaction, reply)).decode()
    return _to_send(request, request.reply_to, transaction.reply_action or "", envelope, now)


def fault_reply(request: Request, fault: SoapFault, now: datetime) -> Reply | None:
    """A fault as it waits for its delivery; None when nobody wants it."""
    to = request.fault_to
    envelope = write_fault(
        fault,
        message_id=request.reply_message_id,
        relates_to=request.message_id,
        to=to.address,
        more_headers=to.parameters,
    )
    return _to_send(request, to, fault_action(fault), envelope.decode(), now)


def _to_send(request: Request, to: Endpoint, action: str, envelope: str, now: datetime) -> Reply | None:
    if to.address == NONE:
        return None
    return Reply(
        path=request.path,
        action=request.action,
        address=to.address,
        reply_action=action,
        envelope=envelope,
        is_mtom=request.is_mtom,
        caller=request.caller,
        digest=request.digest,
        since=now,
    )
