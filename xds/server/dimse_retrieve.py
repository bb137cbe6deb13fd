"""C-GET and C-MOVE: what was selected goes out by C-STORE, over the same association or over one to a configured destination.

Each instance goes as it is stored when the receiver takes that; otherwise it is converted, decoded or encoded on the way. What
the requestor may not see is not selected at all.

Spec: DICOM PS3.4 C.4.2 (C-MOVE), C.4.3 (C-GET), C.6; RAD TF-2 4.16.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Final

import structlog

from xds.actors import imaging_audit
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.imaging_renditions import Obtained
from xds.actors.imaging_retrieval import Give, Selection
from xds.model.caller import Caller
from xds.model.imaging import Instance
from xds.model.imaging_query import ImagingQuery, Level
from xds.pacs.association import Association, AssociationRejectedError, Received, connect
from xds.pacs.pdus import AssociationError
from xds.pacs.sender import STORED, batches
from xds.pixels.jobs import PixelError
from xds.server.dimse_find import REFUSED, UNIQUE_KEYS, Identifier, IdentifierError, is_relational, read_identifier, refused
from xds.wire.dicom import EXPLICIT_LITTLE, IMPLICIT_LITTLE, DicomError
from xds.wire.dicom_header import MAX_HEADER
from xds.wire.dimse import Command, Field, Message, Status, data_set_start, response_to
from xds.wire.dimse_classes import QUERY_RETRIEVE
from xds.wire.dimse_identifiers import write_identifier

#: Pairs of SOP class and transfer syntax that are proposed in one association, each once as stored and once plain.
_KINDS: Final = 60
_PAGE: Final = 1000

_Item = tuple[Selection, Instance]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Destination:
    """An application that images may be sent to."""

    ae_title: str
    host: str
    port: int


@dataclass(slots=True)
class _Work:
    """What is to be sent, and what became of it so far."""

    left: dict[_Item, None]
    #: Ends what is fetched for it before anybody looked at it closer.
    ahead: ExitStack
    completed: int = 0
    warnings: int = 0
    failed: list[str] = field(default_factory=list)
    sent: list[tuple[Selection, Obtained]] = field(default_factory=list)
    is_cancelled: bool = False

    def numbers(self, *, is_last: bool) -> dict[Field, int]:
        """The counts of a response; the last one has nothing that remains. Spec: PS3.7 9.1.3.1, 9.1.4.1."""
        counts = {} if is_last else {Field.REMAINING: len(self.left)}
        counts |= {Field.COMPLETED: self.completed, Field.FAILED: len(self.failed), Field.WARNING: self.warnings}
        return {name: min(number, 0xFFFF) for name, number in counts.items()}

    def note(self, item: _Item, status: int) -> None:
        """Count what a receiver answered."""
        if status == Status.SUCCESS:
            self.completed += 1
        elif status in STORED:
            self.warnings += 1
        else:
            self.failed.append(item[1].sop_instance_uid)

    def give_up(self) -> None:
        """Nothing of what is left can be sent."""
        self.failed += [instance.sop_instance_uid for _, instance in self.left]
        self.left.clear()

    @property
    def status(self) -> Status:
        """How it ended."""
        if self.is_cancelled:
            return Status.CANCELLED
        if not self.failed and not self.warnings:
            return Status.SUCCESS
        return Status.SUB_OPERATIONS_FAILED if self.completed or self.warnings else Status.NO_SUB_OPERATIONS


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
        work = self._selected(association, received, caller)
        if work is None:
            return
        with work.ahead:
            self._source.retrieval.begin(work.left, caller, imaging_audit.C_MOVE, caller.node or "")
            try:
                self._send(_Order(association, received), work, association, tuple(work.left))
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
        work = self._selected(association, received, caller)
        if work is None:
            return
        order = _Order(association, received, (caller.node or "", received.message.message_id))
        receiver = Caller(destination.host, node=destination.ae_title)
        with work.ahead:
            self._source.retrieval.begin(work.left, receiver, imaging_audit.C_MOVE, caller.node or "")
            try:
                for batch in batches(tuple(work.left), _kind, _KINDS):
                    self._send_elsewhere(order, work, destination, batch)
            finally:
                self._finish(work, receiver)
        self._conclude(association, received, work)

    # ---- what is asked for

    def _selected(self, association: Association, received: Received, caller: Caller) -> _Work | None:
        """What is to be sent; None when the request was refused."""
        request, sop_class = received.message, received.context.abstract_syntax
        with ExitStack() as ahead:
            try:
                octets = received.octets()
                if sop_class not in QUERY_RETRIEVE:
                    refusal = response_to(request, Status.CLASS_NOT_SUPPORTED)
                else:
                    identifier = read_identifier(octets, received, is_relational=is_relational(association, sop_class))
                    items = dict.fromkeys(self._instances(identifier, caller, ahead))
                    return _Work(items, ahead.pop_all())
            except REFUSED as problem:
                refusal = refused(request, problem)
        association.send(received.context_id, refusal)
        return None

    def _instances(self, identifier: Identifier, caller: Caller, ahead: ExitStack) -> Iterator[_Item]:
        """What is fetched before it was read which instances there are is ended with `ahead`. Errors: IdentifierError."""
        if not identifier.uids(identifier.level):
            tag = UNIQUE_KEYS[identifier.level]
            raise IdentifierError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) says what is to be sent", tag)
        patients, _, series, instances = (frozenset(identifier.uids(level)) for level in UNIQUE_KEYS)
        studies = identifier.uids(Level.STUDY)
        # Of one study or series as a whole its source is asked before it was read which instances it has.
        is_whole = len(studies) == 1 and len(series) < 2 and not (patients or instances)
        for study in studies or self._studies(identifier, caller):
            selection = self._source.retrieval.select(caller, study, _only(series), _only(instances), ahead=is_whole)
            if selection is None or (patients and selection.study.patient.patient_id not in patients):
                continue
            if selection.ahead is not None:
                ahead.callback(selection.ahead.close)
                selection.ahead.go_on()
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

    def _send_elsewhere(self, order: _Order, work: _Work, destination: Destination, batch: Sequence[_Item]) -> None:
        """Send a batch, which is what comes next in `work`, over an association of its own."""
        if work.is_cancelled or not work.left:
            return
        try:
            receiver = connect(destination.host, destination.port, self._seconds)
        except OSError:
            _log.warning("dimse.destination_away", destination=destination.ae_title)
            work.give_up()
            return
        try:
            receiver.request(self._ae_title, destination.ae_title, _kinds(batch))
            self._send(order, work, receiver, batch)
            receiver.release()
        except _ReceiverError as problem:
            _log.warning("dimse.destination_failed", destination=destination.ae_title, reason=str(problem))
            work.give_up()
        except AssociationRejectedError as problem:
            _log.warning("dimse.destination_failed", destination=destination.ae_title, reason=str(problem))
            work.give_up()
        finally:
            receiver.close()

    def _send(self, order: _Order, work: _Work, receiver: Association, batch: Sequence[_Item]) -> None:
        """Send these instances, and tell the requestor after each how far it is. Errors: AssociationError, _ReceiverError."""
        request = order.received.message
        with closing(self._in_turn(batch)) as turns:
            for item, give in turns:
                if work.is_cancelled or order.association.is_cancelled(request.message_id):
                    work.is_cancelled = True
                    return
                del work.left[item]
                try:
                    status = self._store(order, work, receiver, item, give)
                except AssociationError as problem:
                    work.failed.append(item[1].sop_instance_uid)
                    if receiver is order.association:
                        raise
                    raise _ReceiverError(str(problem)) from None
                work.note(item, status)
                if work.left:
                    pending = response_to(request, Status.PENDING, counts=work.numbers(is_last=False))
                    order.association.send(order.received.context_id, pending)

    def _in_turn(self, batch: Sequence[_Item]) -> Generator[tuple[_Item, Give], None, None]:
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

    def _store(self, order: _Order, work: _Work, receiver: Association, item: _Item, give: Give) -> int:
        """One sub-operation; its status. Errors: AssociationError."""
        selection, instance = item
        contexts = _contexts(receiver, instance.sop_class_uid, is_own=receiver is order.association)
        try:
            obtained = give(tuple(contexts)) if contexts else None
        except (KeyError, OSError, PixelError, DicomError) as problem:
            _log.error("dimse.instance_unavailable", error=type(problem).__name__)
            obtained = None
        if obtained is None:
            return Status.PROCESSING_FAILURE
        work.sent.append((selection, obtained))
        request = order.store(receiver, instance)
        try:
            receiver.send(contexts[obtained.transfer_syntax_uid], request, data_set(obtained.chunks()))
        except (KeyError, PixelError, DicomError) as problem:
            raise AssociationError(f"an instance broke while it was sent ({type(problem).__name__})") from None
        finally:
            obtained.release()
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

    def _finish(self, work: _Work, receiver: Caller) -> None:
        complete = not (work.left or work.failed)
        self._source.retrieval.finish(work.sent, complete, receiver, imaging_audit.C_MOVE)

    def _conclude(self, association: Association, received: Received, work: _Work) -> None:
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


def _kinds(batch: Sequence[_Item]) -> list[tuple[str, tuple[str, ...]]]:
    """What is proposed to a destination: each class as it is stored, as far as that is known, and plain."""
    known = (instance for _, instance in batch if instance.transfer_syntax_uid)
    stored = dict.fromkeys((instance.sop_class_uid, (instance.transfer_syntax_uid,)) for instance in known)
    classes = dict.fromkeys(instance.sop_class_uid for _, instance in batch)
    return [*stored, *((uid, (EXPLICIT_LITTLE, IMPLICIT_LITTLE)) for uid in classes)]


def _kind(item: _Item) -> tuple[str, str]:
    return item[1].sop_class_uid, item[1].transfer_syntax_uid


def _only(uids: frozenset[str]) -> str | None:
    return next(iter(uids)) if len(uids) == 1 else None
