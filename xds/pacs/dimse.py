"""A PACS over DICOM: C-FIND, and C-GET or C-MOVE.

Objects are given on while they arrive: nothing is held of them but the PDU at hand.

Spec: DICOM PS3.4 C.4.1 (C-FIND), C.4.2 (C-MOVE), C.4.3 (C-GET), C.5.3 (storage roles of C-GET).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from typing import Any, Final

from pynetdicom.presentation import StoragePresentationContexts

from xds.model.foreign_images import FoundInstance, InstanceOutline, Pulled, PullError, PullProblem, StudySummary
from xds.model.series_classes import distinct_classes
from xds.pacs.association import Association, Received
from xds.pacs.attributes import INSTANCE, OUTLINED, SERIES, STUDY, found_instance, outline, summary
from xds.pacs.delivery import Delivery
from xds.pacs.keeping import Associations, Kinds, Lease, Wanted
from xds.pacs.objects import part_10, told
from xds.pacs.partner import Partner
from xds.pacs.receiver import MoveReceiver
from xds.wire.dicom import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from xds.wire.dicom_association import MOST_CONTEXTS
from xds.wire.dicom_json import read_item
from xds.wire.dicom_json_reading import text_of
from xds.wire.dimse import Command, Field, Message, Status, read_data_set, response_to
from xds.wire.dimse_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE

#: What an object may be stored in: the source chooses the one that it has.
_SYNTAXES: Final = (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.4.102",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)
#: What an association is for. Whatever is fetched on one, queries may follow on the same: it is kept for both.
_FIND: Final = (STUDY_ROOT_FIND, (IMPLICIT_LITTLE,))
_GET: Final = (STUDY_ROOT_GET, (IMPLICIT_LITTLE,))
_MOVE: Final = (STUDY_ROOT_MOVE, (IMPLICIT_LITTLE,))
#: Presentation contexts of one association, of which two are for these. Spec: PS3.8 9.3.2.2.
_CLASSES_AT_ONCE: Final = (MOST_CONTEXTS - 2) // len(_SYNTAXES)
_USUAL_CLASSES: Final = tuple(str(context.abstract_syntax) for context in StoragePresentationContexts[: MOST_CONTEXTS - 2])
_TO_FIND: Final = Wanted((_FIND,))
_TO_MOVE: Final = Wanted((_FIND, _MOVE))
#: Answers of one C-FIND.
_MOST: Final = 100_000
_PENDING: Final = frozenset({Status.PENDING, Status.PENDING_KEYS_IGNORED})
#: How a retrieval may end: when some sub-operations failed, the objects that did not arrive tell which.
_ENDED: Final = frozenset({Status.SUCCESS, Status.SUB_OPERATIONS_FAILED})


class DimseArchive:
    """A PACS over DICOM. With `receiver` its images come by C-MOVE, else by C-GET. One object serves all threads."""

    def __init__(self, partner: Partner, receiver: MoveReceiver | None = None) -> None:
        self._partner = partner
        self._receiver = receiver
        self._associations = Associations(partner)

    def close(self) -> None:
        """Release the associations that are kept. Idempotent."""
        self._associations.close()

    @property
    def name(self) -> str:
        """Its name in the settings."""
        return self._partner.name

    def studies(self, first_date: str, last_date: str) -> Iterator[StudySummary]:
        """The studies of these days."""
        for item in self._find("STUDY", STUDY, {"00080020": f"{first_date}-{last_date}"}):
            found = summary(item)
            if found is not None:
                yield found

    def study(self, study_instance_uid: str) -> StudySummary | None:
        """One study; None when it has none."""
        found = self._study(study_instance_uid)
        return summary(found) if found else None

    def instances(self, study_instance_uid: str, series_instance_uid: str | None = None) -> Iterator[FoundInstance]:
        """The instances of a study, or of one of its series."""
        study = self._study(study_instance_uid)
        if study is None:
            return
        wanted = {"0020000D": study_instance_uid}
        if series_instance_uid:
            wanted["0020000E"] = series_instance_uid
        for series in self._find("SERIES", SERIES, wanted):
            keys = {"0020000D": study_instance_uid, "0020000E": text_of(series, "0020000E")}
            for item in self._find("IMAGE", INSTANCE, keys):
                yield found_instance(study, series, item)

    def outline(self, study_instance_uid: str, series_instance_uid: str) -> Iterator[InstanceOutline]:
        """The instances of a series in few words."""
        keys = {"0020000D": study_instance_uid, "0020000E": series_instance_uid}
        return map(outline, self._find("IMAGE", OUTLINED, keys))

    def fetch(
        self, study_instance_uid: str, series_instance_uid: str, sop_classes: Mapping[str, str], *, whole_series: bool
    ) -> Iterator[Pulled]:
        """The objects as they arrive."""
        keys = {"0020000D": study_instance_uid, "0020000E": series_instance_uid}
        if whole_series:
            questions = [_identifier("SERIES", keys)]
        else:
            questions = [_identifier("IMAGE", {**keys, "00080018": uid}) for uid in sop_classes]
        if self._receiver is not None:
            return self._move(self._receiver, questions, sop_classes)
        return self._get(questions, sop_classes)

    # ---- C-FIND

    def _study(self, study_instance_uid: str) -> Mapping[str, Any] | None:
        found = self._find("STUDY", STUDY, {"0020000D": study_instance_uid})
        return next((item for item in found if text_of(item, "0020000D") == study_instance_uid), None)

    def _find(self, level: str, keys: Mapping[str, str], wanted: Mapping[str, str]) -> list[Mapping[str, Any]]:
        identifier = _identifier(level, {**dict.fromkeys(keys, ""), **wanted})
        found: list[Mapping[str, Any]] = []
        with self._associations.lease(_TO_FIND) as lease:
            request, answer = lease.ask(partial(_sent, Command.C_FIND, STUDY_ROOT_FIND, identifier))
            while True:
                lease.association.check_response(request, answer)
                status = answer.message.number(Field.STATUS)
                if status in _PENDING:
                    found.append(_item(answer))
                    if len(found) > _MOST:
                        raise PullError(PullProblem.BROKEN, f"more than {_MOST} answers to one query")
                elif status == Status.SUCCESS:
                    return found
                else:
                    raise PullError(PullProblem.REFUSED, f"C-FIND status {status:04X}")
                answer = lease.association.response(request)

    # ---- C-GET

    def _get(self, questions: Sequence[bytes], sop_classes: Mapping[str, str]) -> Iterator[Pulled]:
        classes = distinct_classes(sop_classes)
        for start in range(0, len(classes), _CLASSES_AT_ONCE):
            refused: PullError | None = None
            with self._associations.lease(_wanted_kinds(classes[start : start + _CLASSES_AT_ONCE])) as lease:
                for question in questions:
                    # What one of them is refused for does not keep the others from being asked.
                    status = yield from _got(lease, question, sop_classes)
                    refused = refused or _refusal(status)
            if refused is not None:
                raise refused

    # ---- C-MOVE

    def _move(self, receiver: MoveReceiver, questions: Sequence[bytes], wanted: Mapping[str, str]) -> Iterator[Pulled]:
        delivery = Delivery(self._partner.ae_title, self._partner.seconds + self._partner.patience)
        move = partial(_sent, Command.C_MOVE, STUDY_ROOT_MOVE, MOVE_DESTINATION=receiver.ae_title)
        requests = [partial(move, question) for question in questions]
        if not requests:
            return
        with (
            receiver.expecting(wanted, delivery),
            self._associations.lease(_TO_MOVE) as lease,
        ):
            lease.send(requests[0])
            # The answers to C-MOVE come here while the objects arrive there.
            thread = threading.Thread(target=_follow, args=(lease, requests, delivery), name=f"move-{self.name}", daemon=True)
            thread.start()
            is_over = False
            try:
                yield from delivery.objects()
                is_over = True
            finally:
                if not is_over:
                    lease.end()
                thread.join()


@lru_cache
def _wanted_kinds(classes: tuple[str, ...]) -> Wanted:
    """What an association needs to get objects of these classes on it."""
    kinds: Kinds = [(uid, (syntax,)) for uid in classes for syntax in _SYNTAXES]
    if "" in classes:
        # Nobody knows what they are: every usual class, each in whatever syntax the source likes.
        classes = _USUAL_CLASSES
        kinds = [(uid, _SYNTAXES) for uid in classes]
    return Wanted((_FIND, _GET, *kinds), dict.fromkeys(classes, (False, True)))


def _sent(command: Command, model: str, identifier: bytes, association: Association, **fields: str) -> Message:
    """A request that was sent. Errors: PullError when the source did not accept what it needs; AssociationError."""
    number = association.context_of(model)
    if number is None:
        raise PullError(PullProblem.REFUSED, "the source does not offer this service")
    stated: dict[Field, int | str] = {
        Field.AFFECTED_SOP_CLASS: model,
        Field.MESSAGE_ID: association.next_message_id(),
        Field.PRIORITY: 0,
        **{Field[name]: value for name, value in fields.items()},
    }
    request = Message(command, dict(stated), True)
    association.send(number, request, (identifier,))
    return request


def _got(lease: Lease, question: bytes, wanted: Mapping[str, str]) -> Generator[Pulled, None, int]:
    """Ask by C-GET, take what comes, and give the status in the end."""

    send = partial(_sent, Command.C_GET, STUDY_ROOT_GET, question)
    request, answer = lease.ask(send)
    association = lease.association
    for received in chain((answer,), iter(association.receive, None)):
        message = received.message
        if message.command == Command.C_STORE:
            chunks = part_10(received)
            if message.sop_instance in wanted:
                yield Pulled(message.sop_instance, received.context.transfer_syntax, chunks)
            for _ in chunks:
                pass
            association.send(received.context_id, response_to(message, Status.SUCCESS))
            continue
        for _ in received.data:
            # The list of what failed: what did not arrive is known.
            pass
        if not message.is_response or message.message_id != request.message_id:
            raise PullError(PullProblem.BROKEN, "another message in place of a response")
        if message.number(Field.STATUS) not in _PENDING:
            return message.number(Field.STATUS)
    raise PullError(PullProblem.UNREACHABLE, "the source ended the association")


def _follow(lease: Lease, requests: Sequence[Callable[[Association], Message]], delivery: Delivery) -> None:
    """Wait for the answers to C-MOVE, and tell the delivery when all is over. The first request has been sent already."""
    refused: PullError | None = None
    try:
        with told():
            for number, send in enumerate(requests):
                if number:
                    lease.send(send)
                request, answer = lease.answer(send)
                lease.association.check_response(request, answer)
                while (status := _status(answer)) in _PENDING:
                    answer = lease.association.response(request)
                refused = refused or _refusal(status)
    except PullError as problem:
        refused = problem
    delivery.end(refused)


def _status(answer: Received) -> int:
    for _ in answer.data:
        pass
    return answer.message.number(Field.STATUS)


def _refusal(status: int) -> PullError | None:
    return None if status in _ENDED else PullError(PullProblem.REFUSED, f"status {status:04X}")


def _identifier(level: str, keys: Mapping[str, str]) -> bytes:
    """A question in implicit little endian, which everybody understands. Spec: PS3.5 10.1; PS3.4 C.4.1.1.3."""
    vrs = {**STUDY, **SERIES, **INSTANCE}
    elements = {0x00080052: (level, "CS")} | {int(key, 16): (value, vrs[key]) for key, value in keys.items()}
    found = bytearray()
    for tag in sorted(elements):
        value, vr = elements[tag]
        octets = value.encode()
        octets += (b"\0" if vr == "UI" else b" ") * (len(octets) % 2)
        found += struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(octets)) + octets
    return bytes(found)


def _item(answer: Received) -> Mapping[str, Any]:
    return read_item(read_data_set(answer.octets(), answer.context.transfer_syntax), lambda _path: "")
