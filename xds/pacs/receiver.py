"""Where a PACS sends what was asked for by C-MOVE: a listener apart from the archive's, which takes nothing but what is expected.

Spec: DICOM PS3.4 C.4.2 (C-MOVE and its C-STORE sub-operations), B.2.3 (statuses); PS3.8 7.1 (associations).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import structlog

from xds.model.foreign_images import Pulled
from xds.pacs.association import Association, Received
from xds.pacs.delivery import Delivery
from xds.pacs.handover import Neighbours
from xds.pacs.objects import part_10
from xds.pacs.pdus import MAX_PDU, AssociationError
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
from xds.wire.dimse_classes import VERIFICATION, is_storage_class

_log = structlog.get_logger()

_STOP_SECONDS: Final = 5.0
#: Threads that wait for connections, when there are not many of those.
_WAITING: Final = 2


@dataclass(slots=True, eq=False)
class _Expected:
    """What somebody waits for, and what of it has come."""

    uids: Container[str]
    delivery: Delivery
    claimed: set[str] = field(default_factory=set)


class MoveReceiver:
    """Listens for the images that were asked for. Only the given AE titles may connect."""

    def __init__(
        self,
        ae_title: str,
        host: str,
        port: int,
        callers: Sequence[str],
        *,
        seconds: float = 60.0,
        associations: int = 16,
        others: Path | None = None,
    ) -> None:
        """`port` 0 takes a free one; `seconds` ends silent connections.

        With `others`, a directory that they share, one of several processes listens for all of them.
        """
        self.ae_title = ae_title
        self._address = (host, port)
        self._callers = frozenset(callers)
        self._seconds = seconds
        self._most = associations
        self._lock = threading.Lock()
        self._expected: list[_Expected] = []
        self._open: dict[Association, threading.Thread] = {}
        self._listener: socket.socket | None = None
        self._is_stopped = False
        self._acceptors: set[threading.Thread] = set()
        self._waiting = 0
        self._others = Neighbours(others, seconds, self._take_over) if others is not None else None

    def start(self) -> int:
        """Listen, and return the port. Errors: OSError when it is taken."""
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._listener = socket.create_server(self._address, family=family, backlog=64)
        with self._lock:
            for _ in range(_WAITING):
                self._wait(self._listener)
        return int(self._listener.getsockname()[1])

    def stop(self) -> None:
        """Take nothing more. Idempotent."""
        with self._lock:
            listener, self._listener = self._listener, None
            self._is_stopped = True
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        if self._others is not None:
            self._others.close()
        with self._lock:
            left = dict(self._open)
            threads = {*self._acceptors, *left.values()}
        for association in left:
            association.end()
        for thread in threads:
            thread.join(_STOP_SECONDS)

    @contextmanager
    def expecting(self, sop_instance_uids: Container[str], delivery: Delivery) -> Iterator[None]:
        """Meanwhile these instances are taken, each once, and delivered there."""
        if self._others is not None:
            self._others.open()
        expected = _Expected(sop_instance_uids, delivery)
        with self._lock:
            self._expected.append(expected)
        try:
            yield
        finally:
            with self._lock:
                self._expected.remove(expected)

    # ---- connections

    def _wait(self, listener: socket.socket) -> None:
        """Have a thread more wait for connections. The lock is held. Errors: RuntimeError when there are too many threads."""
        thread = threading.Thread(target=self._accept, args=(listener,), name="dicom-move", daemon=True)
        thread.start()
        self._waiting += 1
        self._acceptors.add(thread)

    def _accept(self, listener: socket.socket) -> None:
        """Take connections, and converse over each: to begin another thread first would take as long as to find an image."""
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                return
            with self._lock, suppress(RuntimeError):
                self._waiting -= 1
                if not self._waiting:
                    self._wait(listener)
            self._take(connection, str(address[0]))
            with self._lock:
                if self._waiting >= _WAITING:
                    self._acceptors.remove(threading.current_thread())
                    return
                self._waiting += 1

    def _take(self, connection: socket.socket, address: str) -> None:
        try:
            association = Association(connection, address, self._seconds)
        except OSError:
            connection.close()
            return
        if self._note(association, threading.current_thread()):
            self._run(association, partial(self._welcome, association))
        else:
            association.close()

    def _begin(self, association: Association, converse: Callable[[], None]) -> bool:
        """Have a thread of its own for an association; False when there are too many."""
        thread = threading.Thread(target=self._run, args=(association, converse), name="dicom-move", daemon=True)
        is_noted = self._note(association, thread)
        if is_noted:
            thread.start()
        return is_noted

    def _note(self, association: Association, thread: threading.Thread) -> bool:
        """Count one more that is open; False when there are too many, or none is taken any more."""
        with self._lock:
            if self._is_stopped or len(self._open) >= self._most:
                return False
            self._open[association] = thread
            return True

    def _run(self, association: Association, converse: Callable[[], None]) -> None:
        try:
            converse()
        except ConnectionError as problem:
            # It broke, or what is expected could not be looked up.
            reason = str(problem) if isinstance(problem, AssociationError) else type(problem).__name__
            _log.info("dicom_move.association_ended", reason=reason)
        finally:
            with self._lock:
                del self._open[association]
            association.close()

    def _welcome(self, association: Association) -> None:
        if association.accept(self._negotiate):
            self._converse(association)

    def _converse(self, association: Association) -> None:
        while (received := association.receive()) is not None:
            if received.message.command != Command.C_STORE:
                status = Status.SUCCESS if received.message.command == Command.C_ECHO else Status.UNRECOGNISED
                _answer(association, received, status)
                continue
            delivery = self._claimed(received.message.sop_instance, association.calling)
            if delivery is None and self._others is not None and self._others.hand_over(association, received):
                return
            _store(association, received, delivery)

    def _take_over(self, association: Association, received: Received) -> bool:
        """Go on with an association that another process got, if what comes now is expected here."""
        delivery = self._claimed(received.message.sop_instance, association.calling)
        if delivery is None:
            return False

        def converse() -> None:
            _store(association, received, delivery)
            self._converse(association)

        return self._begin(association, converse)

    def _negotiate(self, request: AssociationRequest) -> tuple[AssociationAnswer, bytes] | Reject:
        if request.calling not in self._callers:
            return Reject.CALLING_TITLE
        return _agreed(request)

    def _claimed(self, uid: str, calling: str) -> Delivery | None:
        """Who expects an instance, and does so no more. Of two sources with the same object each one's own is meant."""
        with self._lock:
            expected = list(self._expected)
        # Which instances these are may have to be read first.
        waiting = [each for each in expected if uid in each.uids]
        with self._lock:
            waiting = [each for each in waiting if uid not in each.claimed]
            chosen = next((each for each in waiting if each.delivery.ae_title == calling), waiting[0] if waiting else None)
            if chosen is None:
                return None
            chosen.claimed.add(uid)
            return chosen.delivery


def _store(association: Association, received: Received, delivery: Delivery | None) -> None:
    """Give an object to who expects it, and tell the source what became of it."""
    status = Status.NOT_AUTHORISED
    if delivery is not None:
        pulled = Pulled(received.message.sop_instance, received.context.transfer_syntax, part_10(received))
        status = Status.SUCCESS if delivery.offer(pulled) else Status.OUT_OF_RESOURCES
    _answer(association, received, status)


def _answer(association: Association, received: Received, status: Status) -> None:
    for _ in received.data:
        # What nobody wants is read all the same: the answer comes after the data set.
        pass
    association.send(received.context_id, response_to(received.message, status))


@lru_cache(maxsize=16)
def _agreed(request: AssociationRequest) -> tuple[AssociationAnswer, bytes]:
    """The answer to a request. A source asks for more than a hundred presentation contexts, and for the same ones each time."""
    contexts = tuple(_answered(context) for context in request.contexts)
    answer = AssociationAnswer(request.called, request.calling, contexts, MAX_PDU)
    return answer, write_answer(answer)


def _answered(context: ProposedContext) -> AnsweredContext:
    offered = next(iter(context.transfer_syntaxes), "")
    if context.abstract_syntax != VERIFICATION and not is_storage_class(context.abstract_syntax):
        return AnsweredContext(context.context_id, ContextResult.ABSTRACT_SYNTAX, offered)
    result = ContextResult.ACCEPTED if offered else ContextResult.TRANSFER_SYNTAXES
    return AnsweredContext(context.context_id, result, offered)
