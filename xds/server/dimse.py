"""The DICOM listener: associations, each in a thread of its own, and what serves their messages.

An association costs nothing while it keeps still, and connections that never ask for one occupy none. Of several transfer
syntaxes for an object the sender's first is taken, which is the one it has.

Spec: DICOM PS3.7 9.1.5 (C-ECHO), PS3.8 7.1 and 9.1 (associations), PS3.7 D.3 (negotiation).
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Final

import structlog

from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.performed_steps import FORGET_STEP
from xds.actors.storage_commitment import REPORT_COMMITMENT
from xds.model.caller import Caller
from xds.pacs.association import Association, Received
from xds.pacs.pdus import MAX_PDU, AssociationError
from xds.server.dimse_commitment import CommitmentService
from xds.server.dimse_destination import Destination
from xds.server.dimse_find import FindService, extended_answer
from xds.server.dimse_notifications import NotificationService
from xds.server.dimse_retrieve import RetrieveService
from xds.server.dimse_store import MAX_DATA_SET, StoreService
from xds.server.listener import Listener, listen
from xds.server.metrics import Served, unnoted
from xds.store.jobs import Job
from xds.wire.dicom import EXPLICIT_LITTLE
from xds.wire.dicom_association import (
    AnsweredContext,
    AssociationAnswer,
    AssociationRequest,
    ContextResult,
    ProposedContext,
    Reject,
    write_answer,
)
from xds.wire.dimse import Command, Status, response_to
from xds.wire.dimse_classes import QUERY_RETRIEVE, SERVICES, VERIFICATION, is_storage_class, service_syntax

#: Connections that have not asked for an association yet, beside those that have one.
_UNDECIDED: Final = 128
#: Threads that wait for connections, when there are not many of those.
_WAITING: Final = 2
#: How long a server that stops waits for associations whose message is being served.
_LOOK_SECONDS: Final = 0.02

Serve = Callable[[Association, Received, Caller], None]

_log = structlog.get_logger()


class DimseServer:
    """Listens for DICOM associations and serves them."""

    def __init__(
        self,
        source: ImagingDocumentSource,
        ae_title: str,
        host: str = "127.0.0.1",
        port: int = 11112,
        *,
        max_associations: int = 256,
        idle_seconds: float = 60.0,
        max_data_set: int = MAX_DATA_SET,
        ssl_context: ssl.SSLContext | None = None,
        served: Served = unnoted,
        destinations: Iterable[Destination] = (),
        listener: Listener | None = None,
    ) -> None:
        """`port` 0 takes a free one. `idle_seconds` ends silent connections, `max_data_set` is in octets.

        `destinations` are where C-MOVE may send to. `served` is told of every request that was answered.
        `listener` takes the place of `host` and `port`, where several processes share them.
        """
        self._ae_title = ae_title
        self._address = (host, port)
        self._max_associations = max_associations
        self._seconds = idle_seconds
        self._ssl_context = ssl_context
        partners = {each.ae_title: each for each in destinations}
        retrieve = RetrieveService(source, ae_title, partners, seconds=idle_seconds)
        commitment = CommitmentService(source.commitment, ae_title, partners, seconds=idle_seconds)
        notifications = NotificationService(source.steps, source.changed)
        #: The jobs that need associations, by their kinds.
        self.handlers: Mapping[str, Callable[[Job], str | None]] = {
            REPORT_COMMITMENT: commitment.report,
            FORGET_STEP: lambda _job: None,
        }
        self._served = served
        self._store = StoreService(source, max_data_set=max_data_set)
        self._services: Mapping[int, Serve] = {
            Command.C_ECHO: _echo,
            Command.C_FIND: FindService(source, ae_title).serve,
            Command.C_GET: retrieve.get,
            Command.C_MOVE: retrieve.move,
            Command.N_ACTION: commitment.serve,
            Command.N_CREATE: notifications.create,
            Command.N_SET: notifications.set,
            Command.C_STORE: self._store.serve,
        }
        self._given = listener
        self._listener: Listener | None = None
        self._lock = threading.Lock()
        #: Of the threads that wait for connections one is next.
        self._next = threading.Lock()
        self._acceptors: set[threading.Thread] = set()
        self._waiting = 0
        self._is_released = False
        self._open: set[Association] = set()
        self._established = 0
        self._stopping = threading.Event()

    def start(self) -> int:
        """Listen, and return the port. Errors: OSError when it is taken."""
        self._listener = self._given or Listener(listen(*self._address))
        with self._lock:
            for _ in range(_WAITING):
                self._wait(self._listener)
        return self._listener.port

    def stop(self, seconds: float = 10.0) -> None:
        """Take no more associations, let those that serve a message finish it for so many seconds, end them all. Idempotent."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._stopping.set()
        listener.close()
        until = time.monotonic() + seconds
        while self._busy() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        with self._lock:
            left = tuple(self._open)
            threads = tuple(self._acceptors)
        for association in left:
            association.end()
        for thread in threads:
            thread.join(max(until - time.monotonic(), 1.0))

    def _busy(self) -> bool:
        with self._lock:
            left = list(self._open)
        for association in left:
            if association.is_waiting or not association.contexts:
                association.end()
        return any(not association.is_waiting for association in left)

    # ---- connections

    def _wait(self, listener: Listener) -> None:
        """Have a thread more wait for connections. The lock is held. Errors: RuntimeError when there are too many threads."""
        thread = threading.Thread(target=self._accept, args=(listener,), name="dimse", daemon=True)
        thread.start()
        self._waiting += 1
        self._acceptors.add(thread)

    def _accept(self, listener: Listener) -> None:
        """Take connections, and converse over each: to begin another thread first would take a tenth of the time to an image."""
        is_needed = True
        while is_needed:
            with self._next:
                accepted = listener.accept()
            with self._lock, suppress(RuntimeError):
                self._waiting -= 1
                engaged = len(self._open)
                if accepted is not None and not self._waiting:
                    self._wait(listener)
            if accepted is not None:
                self._take(*accepted, listener, engaged)
            with self._lock:
                is_needed = accepted is not None and self._waiting < _WAITING and not self._stopping.is_set()
                self._waiting += is_needed
                if not is_needed:
                    self._leave(listener)

    def _leave(self, listener: Listener) -> None:
        """This thread waits for no more connections; the last that waited gives up the listener. The lock is held."""
        self._acceptors.discard(threading.current_thread())
        if self._stopping.is_set() and not self._waiting and not self._is_released:
            self._is_released = True
            listener.release()

    def _take(self, connection: socket.socket, address: str, listener: Listener, engaged: int) -> None:
        listener.engaged(engaged + 1)
        if engaged >= self._max_associations + _UNDECIDED:
            connection.close()
        else:
            self._connected(connection, address, listener)

    def _connected(self, connection: socket.socket, address: str, listener: Listener) -> None:
        try:
            if self._ssl_context is not None:
                connection.settimeout(self._seconds)
                connection = self._ssl_context.wrap_socket(connection, server_side=True)
            association = Association(connection, address, self._seconds)
        except OSError:
            connection.close()
            listener.engaged(len(self._open))
            return
        with self._lock:
            self._open.add(association)
        try:
            self._converse(association)
        except AssociationError as problem:
            _log.info("dimse.association_ended", reason=str(problem))
        except Exception as problem:
            # The edge: what goes wrong with us ends this association alone, and the log gets no more than the kind of error.
            _log.error("dimse.failed", error=type(problem).__name__)
            association.abort()
        finally:
            with self._lock:
                self._open.remove(association)
                listener.engaged(len(self._open))
            association.close()

    def _converse(self, association: Association) -> None:
        is_counted = False

        def negotiate(request: AssociationRequest) -> tuple[AssociationAnswer, bytes] | Reject:
            nonlocal is_counted
            answer = self._negotiate(request)
            is_counted = not isinstance(answer, Reject)
            return answer

        try:
            if not association.accept(negotiate):
                return
            caller = Caller(association.address, node=association.calling)
            while (received := association.receive()) is not None:
                self._serve(association, received, caller)
                if self._stopping.is_set():
                    association.abort()
                    return
        finally:
            self._store.ended()
            if is_counted:
                with self._lock:
                    self._established -= 1

    def _serve(self, association: Association, received: Received, caller: Caller) -> None:
        message = received.message
        if message.is_response or message.command == Command.C_CANCEL:
            # A request can be cancelled at the moment at which it is answered.
            return
        serve = self._services.get(message.command)
        if serve is not None:
            start = time.monotonic()
            serve(association, received, caller)
            self._served(
                Command(message.command).name.replace("_", "-"), _outcome(association.answered), time.monotonic() - start
            )
            return
        for _ in received.data:
            pass
        association.send(received.context_id, response_to(message, Status.UNRECOGNISED, "this service is not provided"))

    # ---- negotiation

    def _negotiate(self, request: AssociationRequest) -> tuple[AssociationAnswer, bytes] | Reject:
        agreed = _agreed(request)
        with self._lock:
            if self._established >= self._max_associations or self._stopping.is_set():
                return Reject.TOO_MANY
            self._established += 1
        return agreed


@lru_cache(maxsize=16)
def _agreed(request: AssociationRequest) -> tuple[AssociationAnswer, bytes]:
    """The answer to a request. Who retrieves asks for many presentation contexts, and for the same ones each time."""
    roles = {uid: role for uid, role in request.roles.items() if is_storage_class(uid)}
    contexts = tuple(
        _answered(context, as_sender=not roles.get(context.abstract_syntax, (True, False))[1]) for context in request.contexts
    )
    extended = {uid: extended_answer(said) for uid, said in request.extended.items() if uid in QUERY_RETRIEVE}
    answer = AssociationAnswer(request.called, request.calling, contexts, MAX_PDU, roles, extended)
    return answer, write_answer(answer)


def _answered(context: ProposedContext, *, as_sender: bool) -> AnsweredContext:
    """What becomes of a proposed presentation context. What the requestor will receive is wanted plain: all can be given so."""
    offered, number = context.transfer_syntaxes, context.context_id
    if is_storage_class(context.abstract_syntax):
        chosen = EXPLICIT_LITTLE if EXPLICIT_LITTLE in offered and not as_sender else next(iter(offered), None)
    elif context.abstract_syntax not in SERVICES:
        return AnsweredContext(number, ContextResult.ABSTRACT_SYNTAX, next(iter(offered), ""))
    elif context.abstract_syntax == VERIFICATION:
        chosen = next(iter(offered), None)
    else:
        chosen = service_syntax(offered)
    if not chosen:
        return AnsweredContext(number, ContextResult.TRANSFER_SYNTAXES, next(iter(offered), ""))
    return AnsweredContext(number, ContextResult.ACCEPTED, chosen)


def _outcome(status: int) -> str:
    """What the metrics call an answer of that status. Spec: PS3.7 C.1 to C.6."""
    if status == Status.SUCCESS or status >> 12 == 0xB or status >> 8 in (0xFE, 0xFF):
        return "ok"
    return "failure" if status == Status.PROCESSING_FAILURE or status >> 8 == 0xA7 else "fault"


def _echo(association: Association, received: Received, _caller: Caller) -> None:
    association.send(received.context_id, response_to(received.message, Status.SUCCESS))
