"""A PACS in a thread, which ends its associations as a test wants it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.archive import image
from xds.pacs.association import Association
from xds.pacs.pdus import MAX_PDU, AssociationError
from xds.wire.dicom import EXPLICIT_LITTLE
from xds.wire.dicom_association import (
    AnsweredContext,
    AssociationAnswer,
    AssociationRequest,
    ContextResult,
    Pdu,
    Reject,
    write_answer,
)
from xds.wire.dicom_header import read_header
from xds.wire.dimse import Command, Field, Message, Status, response_to

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
STUDY = "1.2.90"
SECONDS = 60


class _Counted(Association):
    """Makes room for the next as soon as it is to be released."""

    freed: Callable[[Association], None]

    def _send(self, head: bytes, body: memoryview | None = None) -> None:
        if head[0] == Pdu.RELEASE_RP:
            self.freed(self)
        super()._send(head, body)


class Peer:
    """Answers C-FIND with nothing, and C-GET with one image. `most` is how many associations it bears."""

    def __init__(self, most: int = 100) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._most = most
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        #: Open ones, in their order; and how many there ever were, and were refused.
        self.open: list[Association] = []
        self.accepted = 0
        self.refused = 0
        #: How many were ended in order by the other side.
        self.released = 0
        #: Done in place of the next answer, once, on an association that has answered so many before, or more.
        self.instead: Callable[[Association], None] | None = None
        self.after = 1
        self.changed = threading.Condition(self._lock)
        thread = threading.Thread(target=self._listen)
        self._threads.append(thread)
        thread.start()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until that is so."""
        with self.changed:
            assert self.changed.wait_for(condition, SECONDS)

    def stop(self) -> None:
        """End everything."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            left = list(self.open)
        for association in left:
            association.end()
        for thread in self._threads:
            thread.join(SECONDS)

    def _listen(self) -> None:
        while True:
            try:
                connection, address = self._listening.accept()
            except OSError:
                return
            association = _Counted(connection, str(address[0]), SECONDS)
            association.freed = self._freed
            thread = threading.Thread(target=self._converse, args=(association,))
            self._threads.append(thread)
            thread.start()

    def _converse(self, association: Association) -> None:
        try:
            with suppress(AssociationError):
                if association.accept(self._negotiate):
                    with self.changed:
                        self.open.append(association)
                        self.changed.notify_all()
                    self._serve(association)
        finally:
            self._freed(association)
            association.close()

    def _freed(self, association: Association) -> None:
        with self.changed:
            if association in self.open:
                self.open.remove(association)
            self.changed.notify_all()

    def _negotiate(self, request: AssociationRequest) -> tuple[AssociationAnswer, bytes] | Reject:
        with self._lock:
            if len(self.open) >= self._most:
                self.refused += 1
                return Reject.TOO_MANY
            self.accepted += 1
        contexts = tuple(
            AnsweredContext(each.context_id, ContextResult.ACCEPTED, each.transfer_syntaxes[0]) for each in request.contexts
        )
        answer = AssociationAnswer(request.called, request.calling, contexts, MAX_PDU, request.roles)
        return answer, write_answer(answer)

    def _serve(self, association: Association) -> None:
        answered = 0
        while (received := association.receive()) is not None:
            received.octets()
            instead = self.instead if answered >= self.after else None
            if instead is not None:
                self.instead = None
                instead(association)
                return
            if received.message.command == Command.C_GET:
                self._give(association)
            association.send(received.context_id, response_to(received.message, Status.SUCCESS))
            answered += 1
        with self.changed:
            self.released += 1
            self.changed.notify_all()

    def _give(self, association: Association) -> None:
        """One image, as whichever class there is a context for."""
        sop_class = CT if association.context_of(CT) is not None else MR
        uid = uid_of(sop_class)
        octets = image(StudyInstanceUID=STUDY, SeriesInstanceUID=f"{STUDY}.1", SOPInstanceUID=uid, SOPClassUID=sop_class)
        number = next(
            number
            for number, context in association.contexts.items()
            if (context.abstract_syntax, context.transfer_syntax) == (sop_class, EXPLICIT_LITTLE)
        )
        fields: dict[Field, int | str] = {
            Field.AFFECTED_SOP_CLASS: sop_class,
            Field.AFFECTED_SOP_INSTANCE: uid,
            Field.MESSAGE_ID: association.next_message_id(),
            Field.PRIORITY: 0,
        }
        message = Message(Command.C_STORE, fields, True)
        association.send(number, message, (octets[read_header([octets]).data_set :],))
        association.response(message)


def uid_of(sop_class: str) -> str:
    """That of the image of this class."""
    return f"{STUDY}.1.{sop_class.rpartition('.')[2]}"


@contextmanager
def peer(most: int = 100) -> Iterator[Peer]:
    """A PACS that is ended in the end."""
    started = Peer(most)
    try:
        yield started
    finally:
        started.stop()
