"""Requests that were accepted and are answered later, and answers that wait for their delivery: jobs, with the blobs they need.

An accepted request is a job of the kind `REQUEST`. Once it was executed, its reply is a job of the kind `REPLY`; once nothing is
left to be sent, one of the kind `ANSWERED`, which remembers the message for `REMEMBERED` and does nothing. One message is
always exactly one of these jobs, and changes from one into the next in one transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select

from xds.model.caller import Caller
from xds.store import jobs
from xds.store.jobs import Job
from xds.store.locks import take
from xds.store.schema.asynchronous import asynchronous_blob

REQUEST: Final = "asynchronous-request"
REPLY: Final = "asynchronous-reply"
ANSWERED: Final = "asynchronous-answered"
KINDS: Final = (REQUEST, REPLY, ANSWERED)

#: How long a message is remembered after it was answered, so that sending it again has no second effect.
REMEMBERED: Final = timedelta(hours=24)

_BLOBS_PER_STATEMENT = 500


class LostError(RuntimeError):
    """The job is another worker's now."""


@dataclass(frozen=True, slots=True)
class StoredPart:
    """One MIME part of an accepted request. `blob` is the key of its octets, `sha1` their hash in lower-case hex."""

    content_id: str
    content_type: str
    blob: str
    size: int
    sha1: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an answer goes: a URL, and its reference parameters as ready header blocks."""

    address: str
    parameters: str


@dataclass(frozen=True, slots=True)
class Request:
    """An accepted request. `envelope` is the key of the blob that holds it, `digest` what tells it from another with its
    wsa:MessageID, `reply_message_id` the wsa:MessageID of its reply, whenever that is made."""

    path: str
    action: str
    message_id: str
    reply_to: Endpoint
    fault_to: Endpoint
    envelope: str
    parts: tuple[StoredPart, ...]
    is_mtom: bool
    caller: Caller
    digest: str
    reply_message_id: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to be sent to `address`: a whole envelope, in the packaging of its request, whose path and action are named."""

    path: str
    action: str
    address: str
    reply_action: str
    envelope: str
    is_mtom: bool
    caller: Caller
    digest: str
    since: datetime


def key_of(message_id: str) -> str:
    """The key of the job of a message: of one length, whatever the wsa:MessageID is."""
    return hashlib.sha256(message_id.encode()).hexdigest()


def digest_of(connection: Connection, key: str) -> str | None:
    """The digest of the message of that key; None when it is not known (any more)."""
    payload = jobs.payload_of(connection, KINDS, key)
    return None if payload is None else payload["digest"]


def accept(connection: Connection, key: str, request: Request) -> str:
    """Keep a request, unless there is one of that key already. Gives the digest of the one that is kept."""
    take(connection, (f"asynchronous {key}",))
    known = digest_of(connection, key)
    if known is not None:
        return known
    jobs.add(connection, REQUEST, key, _payload(request), request.since)
    blobs = {request.envelope, *(part.blob for part in request.parts)}
    connection.execute(insert(asynchronous_blob), [{"blob": blob, "message": key} for blob in blobs])
    return request.digest


def read_request(job: Job) -> Request:
    """The request that a job is about."""
    fields = _fields(job.payload)
    fields["parts"] = tuple(StoredPart(**part) for part in fields["parts"])
    return Request(**{**fields, **{name: Endpoint(**fields[name]) for name in ("reply_to", "fault_to")}})


def read_reply(job: Job) -> Reply:
    """The reply that a job is about."""
    return Reply(**_fields(job.payload))


def executed(connection: Connection, job: Job, digest: str, reply: Reply | None, now: datetime) -> None:
    """The request was executed: its job becomes that of the reply, or, when none is wanted, the memory of it.

    Errors: LostError, which must undo the transaction.
    """
    forget(connection, job)
    if reply is None:
        _remember(connection, job.key, digest, now)
    else:
        jobs.add(connection, REPLY, job.key, _payload(reply), now)


def answered(connection: Connection, job: Job, digest: str, now: datetime) -> None:
    """The reply was delivered. Errors: LostError."""
    forget(connection, job)
    _remember(connection, job.key, digest, now)


def forget(connection: Connection, job: Job) -> None:
    """The message is no longer known. Errors: LostError."""
    if not jobs.finish(connection, job):
        raise LostError
    connection.execute(delete(asynchronous_blob).where(asynchronous_blob.c.message == job.key))


def referenced(connection: Connection, blobs: Sequence[str]) -> frozenset[str]:
    """Those of these blobs that an accepted request still needs."""
    needed: set[str] = set()
    for start in range(0, len(blobs), _BLOBS_PER_STATEMENT):
        some = blobs[start : start + _BLOBS_PER_STATEMENT]
        statement = select(asynchronous_blob.c.blob).where(asynchronous_blob.c.blob.in_(some)).distinct()
        needed.update(connection.execute(statement).scalars())
    return frozenset(needed)


def _remember(connection: Connection, key: str, digest: str, now: datetime) -> None:
    jobs.add(connection, ANSWERED, key, {"digest": digest}, now + REMEMBERED)


def _payload(item: Request | Reply) -> Mapping[str, Any]:
    return {**asdict(item), "since": item.since.astimezone(UTC).isoformat()}


def _fields(payload: Mapping[str, Any]) -> dict[str, Any]:
    caller: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in payload["caller"].items()
    }
    return {**payload, "caller": Caller(**caller), "since": datetime.fromisoformat(payload["since"])}
