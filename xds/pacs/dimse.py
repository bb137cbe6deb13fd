"""A PACS over DICOM: C-FIND, and C-GET or C-MOVE.

Spec: DICOM PS3.4 C.4.1 (C-FIND), C.4.2 (C-MOVE), C.4.3 (C-GET), C.5.3 (storage roles of C-GET).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import AE, StoragePresentationContexts, _config, build_role, evt
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from xds.model.foreign_images import FoundInstance, InstanceOutline, Pulled, PullError, PullProblem, StudySummary
from xds.pacs.attributes import INSTANCE, OUTLINED, SERIES, STUDY, found_instance, outline, summary
from xds.pacs.delivery import Delivery, taken
from xds.pacs.partner import Partner, Places
from xds.pacs.receiver import MoveReceiver
from xds.wire.dicom import EXPLICIT_LITTLE, IMPLICIT_LITTLE, DicomError
from xds.wire.dicom_header import read_header
from xds.wire.dicom_json import read_item
from xds.wire.dicom_json_reading import text_of
from xds.wire.dicom_values import write_file_meta

_config.LOG_HANDLER_LEVEL = "none"
_config.STORE_RECV_CHUNKED_DATASET = True

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
#: Presentation contexts of one association, of which one is for the query. Spec: PS3.8 9.3.2.2.
_CLASSES_AT_ONCE: Final = 127 // len(_SYNTAXES)
_USUAL_CLASSES: Final = tuple(str(context.abstract_syntax) for context in StoragePresentationContexts[:127])
#: Answers of one C-FIND.
_MOST: Final = 100_000
_PENDING: Final = (0xFF00, 0xFF01)
#: C-GET and C-MOVE: one or more sub-operations failed. Which, the objects that did not arrive tell.
_SOME_FAILED: Final = 0xB000


class DimseArchive:
    """A PACS over DICOM. With `receiver` its images come by C-MOVE, else by C-GET. One object serves all threads."""

    def __init__(self, partner: Partner, receiver: MoveReceiver | None = None) -> None:
        self._partner = partner
        self._receiver = receiver
        self._places = Places(partner.associations, partner.patience)

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
        wanted = set(sop_classes)
        if whole_series:
            questions = [_identifier("SERIES", keys)]
        else:
            questions = [_identifier("IMAGE", {**keys, "00080018": uid}) for uid in sop_classes]
        by = self._move if self._receiver is not None else self._get
        classes = tuple(dict.fromkeys(sop_classes.values()))
        delivery = Delivery(self._partner.seconds + self._partner.patience)
        thread = threading.Thread(
            target=self._deliver, args=(by, questions, classes, wanted, delivery), name=f"pull-{self.name}", daemon=True
        )
        thread.start()
        for uid, file in delivery.files():
            if uid not in wanted:
                file.unlink(missing_ok=True)
                continue
            with file.open("rb") as stream:
                syntax = read_header(iter(lambda: stream.read(4096), b""), until=0x00080000).transfer_syntax
            yield Pulled(uid, syntax, taken(file))

    # ---- C-FIND

    def _study(self, study_instance_uid: str) -> Mapping[str, Any] | None:
        found = self._find("STUDY", STUDY, {"0020000D": study_instance_uid})
        return next((item for item in found if text_of(item, "0020000D") == study_instance_uid), None)

    def _find(self, level: str, keys: Mapping[str, str], wanted: Mapping[str, str]) -> list[Mapping[str, Any]]:
        identifier = _identifier(level, {**dict.fromkeys(keys, ""), **wanted})
        found: list[Mapping[str, Any]] = []
        with self._association([(StudyRootQueryRetrieveInformationModelFind, None)]) as association:
            answers = _sent(lambda: association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind))
            for status, answer in answers:
                code = _status(status, association)
                if code in _PENDING and answer is not None:
                    found.append(_item(answer))
                    if len(found) > _MOST:
                        raise PullError(PullProblem.BROKEN, f"more than {_MOST} answers to one query")
                elif code not in (0, *_PENDING):
                    raise PullError(PullProblem.REFUSED, f"C-FIND status {code:04X}")
        return found

    # ---- C-GET and C-MOVE, each in a thread of its own

    def _deliver(
        self,
        by: Callable[[Sequence[Dataset], Sequence[str], Delivery], None],
        questions: Sequence[Dataset],
        classes: Sequence[str],
        wanted: set[str],
        delivery: Delivery,
    ) -> None:
        try:
            expecting = self._receiver.expecting(wanted, delivery) if self._receiver is not None else _nothing()
            with expecting:
                by(questions, classes, delivery)
        except PullError as problem:
            delivery.end(problem)
        except OSError as problem:
            delivery.end(PullError(PullProblem.UNREACHABLE, type(problem).__name__))
        else:
            delivery.end()

    def _get(self, questions: Sequence[Dataset], classes: Sequence[str], delivery: Delivery) -> None:
        def store(event: Any) -> int:
            path = event.request._dataset_path
            try:
                event.request._dataset_file.close()
                return 0x0000 if delivery.put(str(event.request.AffectedSOPInstanceUID), path) else 0xA700
            finally:
                path.unlink(missing_ok=True)

        model = StudyRootQueryRetrieveInformationModelGet
        for start in range(0, len(classes), _CLASSES_AT_ONCE):
            some = classes[start : start + _CLASSES_AT_ONCE]
            contexts: list[tuple[Any, str | Sequence[str] | None]] = [(model, None)]
            contexts += [(uid, syntax) for uid in some for syntax in _SYNTAXES]
            if "" in some:
                # Nobody knows what they are: every usual class, each in whatever syntax the source likes.
                some = _USUAL_CLASSES
                contexts = [(model, None), *((uid, _SYNTAXES) for uid in some)]
            with self._association(contexts, roles=some, handlers=[(evt.EVT_C_STORE, store)]) as association:
                _ask(association, questions, partial(association.send_c_get, query_model=model), delivery)

    def _move(self, questions: Sequence[Dataset], _classes: Sequence[str], delivery: Delivery) -> None:
        assert self._receiver is not None
        model, title = StudyRootQueryRetrieveInformationModelMove, self._receiver.ae_title
        with self._association([(model, None)]) as association:
            _ask(association, questions, partial(association.send_c_move, move_aet=title, query_model=model), delivery)

    @contextmanager
    def _association(
        self,
        contexts: Sequence[tuple[Any, str | Sequence[str] | None]],
        *,
        roles: Sequence[str] = (),
        handlers: Sequence[Any] = (),
    ) -> Iterator[Any]:
        partner = self._partner
        unit = AE(ae_title=partner.calling_ae_title)
        unit.acse_timeout = unit.dimse_timeout = unit.network_timeout = unit.connection_timeout = partner.seconds
        unit.maximum_pdu_size = 128 * 1024
        for sop_class, syntax in contexts:
            unit.add_requested_context(sop_class, *([syntax] if syntax else []))
        with self._places.one():
            association = unit.associate(
                partner.host,
                partner.port,
                ae_title=partner.ae_title,
                ext_neg=[build_role(uid, scp_role=True) for uid in roles],
                evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once), *handlers],
            )
            if not association.is_established:
                refused = association.is_rejected or association.acceptor.primitive is not None
                raise PullError(PullProblem.REFUSED if refused else PullProblem.UNREACHABLE, "no DICOM association")
            try:
                yield association
            finally:
                if association.is_established:
                    association.release()


def _ask(
    association: Any,
    questions: Sequence[Dataset],
    send: Callable[[Dataset], Iterator[tuple[Dataset, Any]]],
    delivery: Delivery,
) -> None:
    """Ask one after the other. What one of them is refused for does not keep the others from being asked. Errors: PullError."""
    refused: PullError | None = None
    for question in questions:
        for status, _ in _sent(partial(send, question)):
            code = _status(status, association)
            if delivery.is_abandoned:
                association.abort()
                return
            if code not in (0, _SOME_FAILED, *_PENDING):
                refused = PullError(PullProblem.REFUSED, f"status {code:04X}")
    if refused is not None:
        raise refused


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _sent(send: Callable[[], Iterator[tuple[Dataset, Any]]]) -> Iterator[tuple[Dataset, Any]]:
    """The answers. Errors: PullError when the source did not accept what the request needs."""
    try:
        yield from send()
    except (ValueError, RuntimeError) as problem:
        raise PullError(PullProblem.REFUSED, "the source does not offer this service") from problem


def _status(status: Dataset, association: Any) -> int:
    if "Status" not in status:
        timed_out = not association.is_aborted or association.acceptor.primitive is None
        raise PullError(PullProblem.TIMEOUT if timed_out else PullProblem.UNREACHABLE, "the association broke")
    return int(status.Status)


def _identifier(level: str, keys: Mapping[str, str]) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for key, value in keys.items():
        vr = {**STUDY, **SERIES, **INSTANCE}[key]
        identifier.add_new(int(key, 16), vr, [] if vr == "SQ" else value or None)
    return identifier


def _item(answer: Dataset) -> Mapping[str, Any]:
    octets = encode(answer, True, True) or b""
    try:
        header = read_header((write_file_meta("", "", IMPLICIT_LITTLE) + octets,))
        return read_item(header.elements, lambda _path: "")
    except DicomError as problem:
        raise PullError(PullProblem.BROKEN, "an answer to C-FIND cannot be read") from problem


def _send_at_once(event: evt.Event) -> None:
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
