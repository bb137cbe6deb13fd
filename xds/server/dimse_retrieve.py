"""C-GET and C-MOVE: what was selected goes out by C-STORE, over the same association or over one to a configured destination.

Each instance goes as it is stored when the receiver takes that; otherwise it is converted, decoded or encoded on the way. What
the requestor may not see is not selected at all.

Spec: DICOM PS3.4 C.4.2 (C-MOVE), C.4.3 (C-GET), C.6; RAD TF-2 4.16.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import Final

import structlog

from xds.actors import imaging_audit
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.imaging_renditions import Obtained
from xds.actors.imaging_retrieval import Give
from xds.actors.imaging_selection import Selection
from xds.model.caller import Caller
from xds.model.foreign_images import PullError
from xds.model.imaging import Instance
from xds.model.imaging_query import ImagingQuery, Level
from xds.pacs.association import Association, Received
from xds.pacs.pdus import AssociationError
from xds.pacs.sender import batches
from xds.pixels.jobs import PixelError
from xds.server.dimse_destination import Destination, Elsewhere, Kind
from xds.server.dimse_find import REFUSED, UNIQUE_KEYS, Identifier, IdentifierError, is_relational, read_identifier, refused
from xds.server.dimse_work import Item, Work
from xds.wire.dicom import EXPLICIT_LITTLE, IMPLICIT_LITTLE, DicomError
from xds.wire.dicom_header import MAX_HEADER
from xds.wire.dimse import Command, Field, Message, Status, data_set_start, response_to
from xds.wire.dimse_classes import QUERY_RETRIEVE
from xds.wire.dimse_identifiers import write_identifier

#: Pairs of SOP class and transfer syntax that are proposed in one association, each once as stored and once plain.
_KINDS: Final = 60
_PAGE: Final = 1000

#: A SOP class, and the transfer syntax in which its source holds it; empty when that is not known.
_Kind = tuple[str, str]

_log = structlog.get_logger()


class RetrieveService:
    """Answers C-GET and C-MOVE requests. One object serves all threads."""

    def __init__(
        self,
        source: ImagingDocumentSource,
        ae_title: str,
        destinations: Mapping[str, Destination] | None = None,
        *,
        seconds: float = 60.0,
    ) -> None:
        """`destinations` are those of C-MOVE by their AE titles; `seconds` is how long one may keep silent."""
        self._source = source
        self._ae_title = ae_title
        self._destinations = destinations or {}
        self._seconds = seconds

    def get(self, association: Association, received: Received, caller: Caller) -> None:
        """C-GET. Errors: AssociationError."""
        work = self._selected(association, received, caller, caller)
        if work is None:
            return
        order = _Order(association, received)
        with closing(work):
            try:
                self._send_first(order, work, association)
                self._send(order, work, association, tuple(work.left))
            finally:
                self._finish(work, caller)
        self._conclude(association, received, work)

    def move(self, association: Association, received: Received, caller: Caller) -> None:
        """C-MOVE. Errors: AssociationError."""
        destination = self._destinations.get(received.message.text(Field.MOVE_DESTINATION))
        if destination is None:
            for _ in received.data:
                pass
            why = "the Move Destination is not configured here"
            association.send(received.context_id, response_to(received.message, Status.UNKNOWN_DESTINATION, why))
            return
        receiver = Caller(destination.host, node=destination.ae_title)
        with closing(Elsewhere(destination, self._ae_title, self._seconds)) as elsewhere:
            work = self._selected(association, received, caller, receiver, lambda held: elsewhere.begin(_kinds(held)))
            if work is None:
                return
            order = _Order(association, received, (caller.node or "", received.message.message_id))
            with closing(work):
                try:
                    self._move(order, work, elsewhere)
                finally:
                    self._finish(work, receiver)
        self._conclude(association, received, work)

    def _move(self, order: _Order, work: Work, elsewhere: Elsewhere) -> None:
        if work.ahead is not None:
            if not elsewhere.is_open:
                # Whoever else wants what is fetched does not wait for the destination.
                work.ahead.go_on()
            self._send_elsewhere(work, elsewhere, (), partial(self._send_first, order, work))
        while work.left and not work.is_cancelled:
            batch = next(batches(tuple(work.left), _kind, _KINDS))
            self._send_elsewhere(work, elsewhere, _kinds(map(_kind, batch)), partial(self._send, order, work, batch=batch))

    # ---- what is asked for

    def _selected(
        self,
        association: Association,
        received: Received,
        caller: Caller,
        receiver: Caller,
        asking: Callable[[Iterable[_Kind]], object] = lambda _: None,
    ) -> Work | None:
        """What is to be sent to a receiver; None when the request was refused.

        `asking` is told what a source is about to be asked for, when that is done before it was read which instances it has.
        """
        request, sop_class = received.message, received.context.abstract_syntax
        announce = partial(
            self._source.retrieval.begin, receiver=receiver, event_type=imaging_audit.C_MOVE, requestor=caller.node or ""
        )
        try:
            octets = received.octets()
            if sop_class not in QUERY_RETRIEVE:
                refusal = response_to(request, Status.CLASS_NOT_SUPPORTED)
            else:
                identifier = read_identifier(octets, received, is_relational=is_relational(association, sop_class))
                whole = _whole(identifier)
                if whole is None:
                    return Work(tuple(self._instances(identifier, caller)), announce)
                selection = self._source.retrieval.select(caller, *whole, ahead=True, asking=asking)
                return Work(() if selection is None else _Items(selection), announce, selection)
        except REFUSED as problem:
            refusal = refused(request, problem)
        association.send(received.context_id, refusal)
        return None

    def _instances(self, identifier: Identifier, caller: Caller) -> Iterator[Item]:
        """Errors: IdentifierError."""
        if not identifier.uids(identifier.level):
            tag = UNIQUE_KEYS[identifier.level]
            raise IdentifierError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) says what is to be sent", tag)
        patients, _, series, instances = (frozenset(identifier.uids(level)) for level in UNIQUE_KEYS)
        for study in identifier.uids(Level.STUDY) or self._studies(identifier, caller):
            selection = self._source.retrieval.select(caller, study, _only(series), _only(instances))
            if selection is None or (patients and selection.study.patient.patient_id not in patients):
                continue
            for series_uid, instance in selection.instances():
                if (not series or series_uid in series) and (not instances or instance.sop_instance_uid in instances):
                    yield selection, instance

    def _studies(self, identifier: Identifier, caller: Caller) -> Iterator[str]:
        """The studies of a patient, or those that hold the series or instances. Spec: PS3.4 C.4.2.2.1, C.4.2.3.2."""
        matchings = tuple(item for item in identifier.matchings if item.tag in UNIQUE_KEYS.values())
        asked = "&".join(f"{item.tag:08X}={','.join(item.values)}" for item in matchings)
        offset, more = 0, True
        while more:
            query = ImagingQuery(Level.STUDY, matchings, (), _PAGE, offset)
            answer = self._source.query(query, caller, "", imaging_audit.C_FIND, asked)
            yield from (match.study_instance_uid for match in answer.matches)
            more, offset = answer.more, offset + _PAGE

    # ---- sending

    def _send_elsewhere(
        self, work: Work, elsewhere: Elsewhere, kinds: Iterable[Kind], send: Callable[[Association], None]
    ) -> None:
        """Send something over an association for these kinds."""
        try:
            receiver = elsewhere.association(kinds)
        except OSError as problem:
            reason = str(problem) if isinstance(problem, AssociationError) else type(problem).__name__
            _log.warning("dimse.destination_away", destination=elsewhere.ae_title, reason=reason)
            work.give_up()
            return
        try:
            send(receiver)
        except _BrokenInstanceError:
            # The others go over another association.
            elsewhere.drop()
        except _ReceiverError as problem:
            _log.warning("dimse.destination_failed", destination=elsewhere.ae_title, reason=str(problem))
            elsewhere.drop()
            work.give_up()

    def _send_first(self, order: _Order, work: Work, receiver: Association) -> None:
        """What came first of what is fetched ahead goes on as it comes. Errors: as those of `_send`."""
        if work.selection is None or work.ahead is None:
            return
        with self._source.retrieval.begun(work.selection) as begun:
            if begun is not None:
                instance, give = begun
                self._send_one(order, work, receiver, (work.selection, instance), give)

    def _send(self, order: _Order, work: Work, receiver: Association, batch: Sequence[Item]) -> None:
        """Send these instances. Errors: AssociationError, _ReceiverError, _BrokenInstanceError."""
        with closing(self._in_turn(batch)) as turns:
            for item, give in turns:
                if work.is_cancelled:
                    return
                self._send_one(order, work, receiver, item, give)

    def _send_one(self, order: _Order, work: Work, receiver: Association, item: Item, give: Give) -> None:
        """Send an instance, and tell the requestor how far it is. Errors: as those of `_send`."""
        request = order.received.message
        if order.association.is_cancelled(request.message_id):
            work.is_cancelled = True
            return
        work.take(item)
        try:
            status = self._store(order, work, receiver, item, give)
        except (AssociationError, _BrokenInstanceError) as problem:
            work.failed.append(item[1].sop_instance_uid)
            if receiver is order.association:
                raise AssociationError(str(problem)) from None
            if isinstance(problem, _BrokenInstanceError):
                raise
            raise _ReceiverError(str(problem)) from None
        work.note(item, status)
        if work.left:
            pending = response_to(request, Status.PENDING, counts=work.numbers(is_last=False))
            order.association.send(order.received.context_id, pending)

    def _in_turn(self, batch: Sequence[Item]) -> Generator[tuple[Item, Give], None, None]:
        """Study after study, what sources outside hold as it arrives; those of the further studies are fetched meanwhile."""
        retrieval, is_first = self._source.retrieval, True
        studies = [(study, [instance for _, instance in items]) for study, items in groupby(batch, itemgetter(0))]
        for study, instances in studies:
            with closing(retrieval.one_by_one(study, instances)) as turns:
                for instance, give in turns:
                    if is_first:
                        for _, others in studies[1:]:
                            retrieval.fetch(others)()
                        is_first = False
                    yield (study, instance), give

    def _store(self, order: _Order, work: Work, receiver: Association, item: Item, give: Give) -> int:
        """One sub-operation; its status. Errors: AssociationError, _BrokenInstanceError."""
        selection, instance = item
        contexts = _contexts(receiver, instance.sop_class_uid, is_own=receiver is order.association)
        try:
            obtained = give(tuple(contexts)) if contexts else None
            first, octets = _begun(obtained) if obtained is not None else (b"", iter(()))
        except (KeyError, OSError, PixelError, DicomError) as problem:
            _log.error("dimse.instance_unavailable", error=type(problem).__name__)
            obtained = None
        if obtained is None:
            return Status.PROCESSING_FAILURE
        work.sent.append((selection, obtained))
        request = order.store(receiver, instance)
        try:
            receiver.send(contexts[obtained.transfer_syntax_uid], request, octets, first=first)
        except (KeyError, PullError, PixelError, DicomError) as problem:
            raise _BrokenInstanceError(f"an instance broke while it was sent ({type(problem).__name__})") from None
        finally:
            obtained.release()
        # The receiver has the first one to look at meanwhile.
        work.look()
        while True:
            answer = receiver.receive()
            if answer is None:
                raise AssociationError("the receiver released the association in place of an answer")
            if answer.message.command == Command.C_CANCEL:
                work.is_cancelled = answer.message.message_id == order.received.message.message_id
            elif answer.message.is_response and answer.message.message_id == request.message_id:
                return answer.message.number(Field.STATUS)
            else:
                raise AssociationError("another message in place of the answer to a C-STORE")

    # ---- the end

    def _finish(self, work: Work, receiver: Caller) -> None:
        self._source.retrieval.finish(work.sent, work.is_complete, receiver, imaging_audit.C_MOVE)

    def _conclude(self, association: Association, received: Received, work: Work) -> None:
        """The last response, with what failed. Spec: PS3.4 C.4.2.1.4.2, C.4.2.1.5."""
        numbers = work.numbers(is_last=not work.is_cancelled)
        response = response_to(received.message, work.status, counts=numbers)
        if not work.failed:
            association.send(received.context_id, response)
            return
        failed = {"00080058": {"vr": "UI", "Value": work.failed}}
        octets = write_identifier(failed, received.context.transfer_syntax)
        association.send(received.context_id, Message(response.command, response.fields, True), (octets,))


class _ReceiverError(Exception):
    """The association to the destination ended."""


class _BrokenInstanceError(Exception):
    """An instance ended in the middle: no more can be said on the association over which it was sent."""


@dataclass(frozen=True, slots=True)
class _Order:
    """A C-GET or C-MOVE request, and whom to tell of it. `originator`: AE title and Message ID of a C-MOVE."""

    association: Association
    received: Received
    originator: tuple[str, int] | None = None

    def store(self, receiver: Association, instance: Instance) -> Message:
        """The C-STORE request for an instance."""
        fields: dict[Field, int | str] = {
            Field.AFFECTED_SOP_CLASS: instance.sop_class_uid,
            Field.AFFECTED_SOP_INSTANCE: instance.sop_instance_uid,
            Field.MESSAGE_ID: receiver.next_message_id(),
            Field.PRIORITY: self.received.message.number(Field.PRIORITY),
        }
        if self.originator is not None:
            fields[Field.MOVE_ORIGINATOR], fields[Field.MOVE_ORIGINATOR_ID] = self.originator
        return Message(Command.C_STORE, fields, True)


def data_set(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The data set of a Part 10 file. Errors: DicomError."""
    held = b""
    for chunk in chunks:
        held += chunk
        start = data_set_start(held)
        if start is not None:
            yield held[start:] if start else held
            yield from chunks
            return
        if len(held) > MAX_HEADER:
            break
    raise DicomError("the meta information of the file does not end")


def _contexts(receiver: Association, sop_class: str, *, is_own: bool) -> dict[str, int]:
    """Presentation contexts of a class by their transfer syntaxes. Over the requestor's association it must take the role."""
    if is_own and not receiver.roles.get(sop_class, (True, False))[1]:
        return {}
    found = ((number, item) for number, item in receiver.contexts.items() if item.abstract_syntax == sop_class)
    return {item.transfer_syntax: number for number, item in found}


def _kinds(held: Iterable[_Kind]) -> list[Kind]:
    """What is proposed to a destination: each class as it is stored, as far as that is known, and plain."""
    kinds = tuple(held)
    stored = dict.fromkeys((sop_class, (syntax,)) for sop_class, syntax in kinds if syntax)
    return [*stored, *((uid, (EXPLICIT_LITTLE, IMPLICIT_LITTLE)) for uid in dict.fromkeys(uid for uid, _ in kinds))]


def _kind(item: Item) -> _Kind:
    return item[1].sop_class_uid, item[1].transfer_syntax_uid


def _whole(identifier: Identifier) -> tuple[str, str | None] | None:
    """The study, or the series of it, that was asked for as a whole: its source is asked before it was read which instances it
    has. None for all else."""
    patients, studies, series, instances = (identifier.uids(level) for level in UNIQUE_KEYS)
    if len(studies) != 1 or len(series) > 1 or patients or instances or not identifier.uids(identifier.level):
        return None
    return studies[0], next(iter(series), None)


@dataclass(frozen=True, slots=True)
class _Items:
    """Everything of a selection, looked up when it is asked for."""

    selection: Selection

    def __iter__(self) -> Iterator[Item]:
        return ((self.selection, instance) for _, instance in self.selection.instances())


def _begun(obtained: Obtained) -> tuple[bytes, Iterator[bytes]]:
    """How the data set of what is still arriving begins, to be sent at once, and the rest of it. Errors: DicomError."""
    octets = data_set(obtained.chunks())
    if obtained.size is not None:
        return b"", octets
    head = next(octets, b"")
    # Its last fragment must have something to bring.
    end = max(len(head) - 1, 0) // 2 * 2
    return head[:end], chain((head[end:],), octets)


def _only(uids: frozenset[str]) -> str | None:
    return next(iter(uids)) if len(uids) == 1 else None
