"""Asynchronous Web Services Exchange: requests that are accepted now and answered later, to an address of their own.

Spec: ITI TF-2 Appendix V.3, V.5; WS-Addressing 1.0 core 3.4 and SOAP binding 5, 6.4.1.

What happens to a request whose `wsa:ReplyTo` is not the anonymous address:

1. **Accepted.** Its addresses are among those that the operator configured (or say that no answer is wanted), its action and its
   body are served here. The envelope and the parts become durable blobs, then one job row refers to them, then HTTP 202 says that
   it will be done. Whatever is wrong before that is a fault on the connection: nothing was accepted, and nothing will follow.
   A message with the same wsa:MessageID and the same content is acknowledged again without effect, one with other content is
   refused; both for as long as the message is known, which is a day longer than its answer takes.
2. **Executed.** A worker lets the transaction answer. What the transaction writes, the end of the request's job and the new job
   that holds the reply are one SQL transaction (`Database.together`): after a crash either nothing of it has happened, and the
   request is executed, or all of it, and the reply is there. A submission is never executed twice.
   A transaction that is `safe`, a query or a retrieve, has nothing to protect and may have a large answer: that one is not kept,
   but made when there is a connection to send it over, and made again when sending fails.
3. **Delivered.** The reply is sent until its address takes it (any HTTP status 2xx), each time after a longer wait, and given up
   after a configured time, which is audited. It may arrive twice, when this server ends before it has noted the delivery; its
   wsa:MessageID is then the same.

A fault goes to `wsa:FaultTo`, or where the reply would have gone. What may pass, such as a full disk or an absent database, is
tried again; any other failure of our own is a fault like in a synchronous exchange.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError

from xds.actors.domain import Domain
from xds.model.audit import EXPORT, AuditEvent, AuditParticipant, EventAction, EventOutcome
from xds.model.caller import Caller
from xds.model.metadata import Code
from xds.open_file import OpenFile, read
from xds.ports import BlobStore, Clock
from xds.server.answering import SoapTransaction, answer_of
from xds.server.asynchronous_messages import (
    CommittedStaging,
    digest_of,
    endpoint_of,
    fault_reply,
    package,
    reply_of,
    stored_part,
)
from xds.server.worker import LONGEST_WAIT
from xds.store import asynchronous, audit, jobs
from xds.store.asynchronous import LostError, Reply, Request
from xds.store.database import Connection, Database
from xds.store.jobs import Job
from xds.transactions.client import NoAnswerError, outgoing_of, post_reply
from xds.transactions.transaction import Transaction
from xds.wire.mtom import Outgoing
from xds.wire.reply_addresses import ReplyAddresses
from xds.wire.soap import (
    NONE,
    Addressing,
    Envelope,
    ReceivedPart,
    SoapFault,
    SoapReply,
    SoapRequest,
    duplicate_message_id,
    read_envelope,
    require_anonymous,
    require_elsewhere,
)
from xds.wire.xml import parse

#: Failures that may pass.
_PASSING: Final = (OSError, DBAPIError)
#: How often a request is executed that fails or ends the process, before its sender gets a fault.
EXECUTIONS: Final = 10
#: How often the delivery of an answer is tried at least, however long it takes.
_LEAST_ATTEMPTS: Final = 3
#: The lease of a job that ended together with what it was for: the worker finds nothing left to end.
_ENDED: Final = 0
#: How often, in seconds, a delivery that goes on tells the other workers so.
_RENEW_EVERY: Final = 30.0

_SOURCE = Code("110153", "DCM", "Source Role ID")
_DESTINATION = Code("110152", "DCM", "Destination Role ID")

_log = structlog.get_logger()


class AsynchronousExchange:
    """Accepts requests, and gives workers the handlers that execute them and deliver what they answer."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        domain: Domain,
        transactions: Iterable[SoapTransaction],
        addresses: ReplyAddresses,
        clock: Clock,
        *,
        give_up_after: timedelta,
        inline_limit: int,
    ) -> None:
        """`transactions` are those of SOAP. A reply is given up `give_up_after` it was made; `inline_limit`: as in `Limits`."""
        self._database = database
        self._blobs = blobs
        self._domain = domain
        self._modules = {(module.TRANSACTION.path, module.TRANSACTION.action): module for module in transactions}
        self._addresses = addresses
        self._clock = clock
        self._give_up_after = give_up_after
        self._inline_limit = inline_limit
        #: Called when there is work to do.
        self.wake: Callable[[], None] = lambda: None

    @property
    def handlers(self) -> Mapping[str, Callable[[Job], str | None]]:
        """What a worker does with each kind of job."""
        return {
            asynchronous.REQUEST: _unless_lost(self._request),
            asynchronous.REPLY: _unless_lost(self._deliver),
            asynchronous.ANSWERED: lambda _job: None,
        }

    # ---- accepting

    def check(self, addressing: Addressing) -> None:
        """Refuse a message whose answer cannot be sent where it asks. Errors: SoapFault."""
        wanted = {addressing.reply_to, addressing.fault_to} - {None, NONE}
        if wanted and not self._addresses:
            require_anonymous(addressing)
        require_elsewhere(addressing, self._addresses.permits)

    def accept(
        self,
        path: str,
        envelope: bytes,
        read: Envelope,
        parts: Mapping[str, ReceivedPart],
        caller: Caller,
        *,
        is_mtom: bool,
    ) -> None:
        """Make a request durable that `check` did not refuse. Errors: SoapFault; OSError when the disk is full."""
        message_id = read.addressing.message_id or ""
        key = asynchronous.key_of(message_id)
        digest = digest_of(path, envelope, parts, is_mtom=is_mtom)
        with self._database.read() as connection:
            known = asynchronous.digest_of(connection, key)
        if known is None:
            elsewhere = endpoint_of(read, "ReplyTo", read.addressing.reply_to)
            request = Request(
                path=path,
                action=read.addressing.action,
                message_id=message_id,
                reply_to=elsewhere,
                fault_to=endpoint_of(read, "FaultTo", read.addressing.fault_to) if read.addressing.fault_to else elsewhere,
                envelope=self._store(envelope),
                parts=tuple(stored_part(part) for part in parts.values()),
                is_mtom=is_mtom,
                caller=replace(caller, reply_to=elsewhere.address),
                digest=digest,
                reply_message_id=uuid.uuid4().urn,
                since=self._clock(),
            )
            known = self._database.write(lambda connection: asynchronous.accept(connection, key, request))
            _log.info("asynchronous.accepted", message=key, path=path, parts=len(parts))
            self.wake()
        if known != digest:
            raise duplicate_message_id()

    def _store(self, octets: bytes) -> str:
        staging = self._blobs.stage()
        try:
            staging.write(octets)
            return staging.commit()
        finally:
            staging.discard()

    # ---- executing

    def _request(self, job: Job) -> str | None:
        request = asynchronous.read_request(job)
        module = self._modules[request.path, request.action]
        if module.TRANSACTION.safe:
            return self._answer_now(job, request, module)
        if job.attempts > EXECUTIONS:
            fault = SoapFault("Receiver", f"the request could not be processed in {EXECUTIONS} attempts")
            self._executed(job, request, fault_reply(request, fault, self._clock()))
        else:
            self._execute_once(job, request, module)
        return None

    def _execute_once(self, job: Job, request: Request, module: SoapTransaction) -> None:
        def body() -> Reply | None:
            try:
                reply = self._answer(request, module)
            except SoapFault as fault:
                return fault_reply(request, fault, self._clock())
            if reply.finished is not None:
                reply.finished(True)
            if reply.parts:
                raise ValueError(f"{module.TRANSACTION.id} is not safe, but answers with documents")
            return reply_of(request, module.TRANSACTION, reply, self._clock())

        def conclude(connection: Connection, reply: Reply | None) -> None:
            asynchronous.executed(connection, job, request.digest, reply, self._clock())

        self._database.together(body, conclude)
        job.lease = _ENDED

    def _executed(self, job: Job, request: Request, reply: Reply | None) -> None:
        now = self._clock()
        self._database.write(lambda connection: asynchronous.executed(connection, job, request.digest, reply, now))
        job.lease = _ENDED

    def _answer_now(self, job: Job, request: Request, module: SoapTransaction) -> str | None:
        """Execute a query or a retrieve, and send its answer in the same go."""
        address = request.reply_to.address
        if self._is_over(job, request.since + 2 * LONGEST_WAIT):
            # Attempts that end without an answer being refused, one after the other, end too.
            self._give_up(job, request, address, "making and sending it failed each time")
            return None
        made: list[SoapReply] = []

        def make() -> Outgoing:
            made.append(self._answer(request, module))
            outgoing = package(request, module.TRANSACTION, made[0])
            return replace(outgoing, chunks=self._held(job, outgoing.chunks))

        is_delivered = False
        try:
            if address == NONE:
                make()
            else:
                self._post(address, make)
                is_delivered = True
        except SoapFault as fault:
            self._executed(job, request, fault_reply(request, fault, self._clock()))
            return None
        except NoAnswerError as error:
            return self._failed(job, request, address, error)
        finally:
            for reply in made:
                if reply.finished is not None:
                    reply.finished(is_delivered)
        self._answered(job, request)
        return None

    def _answer(self, request: Request, module: SoapTransaction) -> SoapReply:
        """Errors: SoapFault, and what may pass."""
        envelope = read_envelope(parse(b"".join(self._blobs.open(request.envelope))))
        parts = {
            part.content_id: ReceivedPart(part.content_id, part.content_type, CommittedStaging(self._blobs, part))
            for part in request.parts
        }
        message = SoapRequest(envelope.body, envelope.addressing, parts, envelope.headers)
        limit = None if request.is_mtom else self._inline_limit
        return answer_of(module, message, self._domain, request.caller, inline_limit=limit, passing=_PASSING)

    def _held(self, job: Job, chunks: Iterator[bytes | OpenFile]) -> Iterator[bytes]:
        """The chunks, while this worker keeps others from the job. Errors: LostError."""
        until = time.monotonic() + _RENEW_EVERY
        for chunk in read(chunks):
            yield chunk
            if time.monotonic() > until:
                lease = self._database.write(lambda connection: jobs.renewed(connection, job, self._clock()))
                if lease is None:
                    raise LostError
                job.lease = lease
                until = time.monotonic() + _RENEW_EVERY

    # ---- delivering

    def _deliver(self, job: Job) -> str | None:
        reply = asynchronous.read_reply(job)
        envelope = [reply.envelope.encode()]
        try:
            self._post(reply.address, lambda: outgoing_of(envelope, (), reply.reply_action, is_mtom=reply.is_mtom))
        except NoAnswerError as error:
            return self._failed(job, reply, reply.address, error)
        self._answered(job, reply)
        return None

    def _post(self, address: str, make: Callable[[], Outgoing]) -> None:
        if not self._addresses.permits(address):
            raise NoAnswerError("the address is no longer one that replies may be sent to")
        post_reply(address, make)

    def _answered(self, job: Job, message: Request | Reply) -> None:
        now = self._clock()
        self._database.write(lambda connection: asynchronous.answered(connection, job, message.digest, now))
        job.lease = _ENDED
        _log.info("asynchronous.answered", message=job.key, path=message.path, attempts=job.attempts)

    def _failed(self, job: Job, message: Request | Reply, address: str, error: NoAnswerError) -> str | None:
        if not self._is_over(job, message.since):
            return str(error)
        self._give_up(job, message, address, str(error))
        return None

    def _is_over(self, job: Job, since: datetime) -> bool:
        """Whether an answer was tried often and long enough: a server that was down for days tries again, too."""
        return job.attempts >= _LEAST_ATTEMPTS and self._clock() - since > self._give_up_after

    def _give_up(self, job: Job, message: Request | Reply, address: str, reason: str) -> None:
        transaction = self._modules[message.path, message.action].TRANSACTION
        event = self._undelivered(transaction, address, message.caller, reason)

        def work(connection: Connection) -> None:
            asynchronous.forget(connection, job)
            audit.append(connection, event)

        self._database.write(work)
        job.lease = _ENDED
        _log.error("asynchronous.given_up", message=job.key, transaction=transaction.id, attempts=job.attempts, reason=reason)

    def _undelivered(self, transaction: Transaction, address: str, caller: Caller, reason: str) -> AuditEvent:
        """An answer that never left. What its transaction did is in the trail by itself. Spec: ITI TF-2 3.20."""
        source = AuditParticipant(f"{self._domain.identity.public_url}{transaction.path}", _SOURCE)
        destination = AuditParticipant(address, _DESTINATION, is_requestor=True, network_access_point=caller.address)
        return AuditEvent(
            event_id=EXPORT,
            action=EventAction.READ,
            outcome=EventOutcome.SERIOUS_FAILURE,
            event_type=Code(transaction.id, "IHE Transactions", transaction.name),
            occurred=self._clock(),
            participants=(source, destination),
            outcome_description=f"the asynchronous reply was given up: {reason}",
        )


def _unless_lost(handle: Callable[[Job], str | None]) -> Callable[[Job], str | None]:
    """The handler, for which nothing is left to do when its job has become another worker's."""

    def handle_unless_lost(job: Job) -> str | None:
        try:
            return handle(job)
        except LostError:
            _log.warning("asynchronous.lost", message=job.key)
            return None

    return handle_unless_lost
