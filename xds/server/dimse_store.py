"""C-STORE: every storage class in every transfer syntax, written through while it arrives and never decoded.

Spec: DICOM PS3.7 9.1.1; PS3.4 B.2.3 (statuses).
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import structlog

from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.imaging_intake import Described
from xds.model.caller import Caller
from xds.model.imaging import Addition
from xds.pacs.association import Association, Received
from xds.pacs.pdus import AssociationError
from xds.ports import Staging
from xds.store.database import DatabaseUnavailableError
from xds.wire.dicom import DicomError
from xds.wire.dicom_header import read_header
from xds.wire.dicom_study import is_uid
from xds.wire.dicom_values import write_file_meta
from xds.wire.dimse import Status, response_to

#: Octets of one data set.
MAX_DATA_SET: Final = 8 * 1024 * 1024 * 1024
#: Octets of a piece that is written as it is, and of smaller ones that are written together.
_LARGE: Final = 64 * 1024
_GATHERED: Final = 128 * 1024
#: So many of those are written before their object is described; fewer are described while the disk writes them.
_MANY_PIECES: Final = 32
#: Octets of the data set in which its header mostly ends, and of a piece of those.
_BEGINNING: Final = 64 * 1024
_PIECE: Final = 16 * 1024
_DISK_IS_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_log = structlog.get_logger()


class _TooLargeError(Exception):
    """A data set is longer than the limit."""


class _LongHeaderError(Exception):
    """The header ends after what is at hand."""


class _Own(threading.local):
    """What the thread of an association keeps from one object to the next: room for octets, and the file of the next object."""

    def __init__(self) -> None:
        # Fresh memory would cost a page fault for every page of every object.
        self.room = memoryview(bytearray(_GATHERED))
        self.answered = 0
        self.next: Staging | None = None


class StoreService:
    """Answers C-STORE requests. One object serves all threads, each of which has one association."""

    def __init__(self, source: ImagingDocumentSource, *, max_data_set: int = MAX_DATA_SET) -> None:
        """`max_data_set` is in octets."""
        self._intake = source.intake
        self._max_data_set = max_data_set
        self._own = _Own()

    def serve(self, association: Association, received: Received, caller: Caller) -> None:
        """Store one object and answer. Errors: AssociationError."""
        try:
            status, comment = self._keep(received, caller)
        except DicomError as problem:
            status, comment = Status.CANNOT_UNDERSTAND, str(problem)
        except DatabaseUnavailableError as problem:
            status, comment = Status.OUT_OF_RESOURCES, "the database does not answer now"
            _log.error("dimse.database_unavailable", reason=str(problem))
        except AssociationError:
            raise
        except _TooLargeError:
            association.abort()
            raise AssociationError("a data set is longer than the limit") from None
        except OSError as problem:
            full = problem.errno in _DISK_IS_FULL
            status, comment = (
                (Status.OUT_OF_RESOURCES, "no space left") if full else (Status.PROCESSING_FAILURE, "storage failed")
            )
            _log.error("dimse.storage_failed", error=os.strerror(problem.errno or 0))
        for _ in received.data:
            # What could not be kept is read all the same: the answer comes after the data set.
            pass
        association.send(received.context_id, response_to(received.message, status, comment))
        self._prepare()

    def ended(self) -> None:
        """The association of this thread has ended. Idempotent."""
        staging, self._own.next = self._own.next, None
        if staging is not None:
            staging.discard()

    def _prepare(self) -> None:
        """Make the file of the next object while the peer reads the answer; who has sent two objects sends a third."""
        self._own.answered += 1
        if self._own.answered > 1 and self._own.next is None:
            # Whatever is wrong, the next object meets it too, if there is one.
            with suppress(OSError):
                self._own.next = self._intake.stage()

    def _stage(self) -> Staging:
        staging, self._own.next = self._own.next, None
        return staging or self._intake.stage()

    def _keep(self, received: Received, caller: Caller) -> tuple[Status, str]:
        message = received.message
        sop_class, sop_instance = message.sop_class, message.sop_instance
        if not message.has_data_set:
            return Status.CANNOT_UNDERSTAND, "the request has no data set"
        if not is_uid(sop_class) or not is_uid(sop_instance):
            return Status.CANNOT_UNDERSTAND, "the request names no SOP Class and Instance UID"
        staging = self._stage()
        try:
            meta = write_file_meta(sop_class, sop_instance, received.context.transfer_syntax)
            staging.write(meta)
            beginning, described = b"", None
            for number, octets in enumerate(self._gathered(received.data)):
                staging.write(octets)
                if number == 0:
                    beginning = bytes(octets[:_BEGINNING])
                elif number == _MANY_PIECES:
                    # Not all of it, only to find out that it is no object.
                    described = self._described(_pieces(meta, beginning), caller)
            self._intake.arrived(staging)
            described = described or self._described(_pieces(meta, beginning), caller)
            if described is None:
                described = self._intake.describe(read_header(staging.open()), caller)
            return self._take(staging, described, (sop_class, sop_instance))
        finally:
            staging.discard()

    def _described(self, beginning: Iterator[bytes], caller: Caller) -> Described | None:
        """The instance, when its header ends in this beginning of its file. Errors: DicomError."""
        try:
            return self._intake.describe(read_header(beginning), caller)
        except _LongHeaderError:
            return None

    def _gathered(self, pieces: Iterator[memoryview]) -> Iterator[memoryview]:
        """The octets in pieces that are worth a call, each valid until the next is asked for."""
        room = self._own.room
        size = filled = 0
        for piece in pieces:
            size += len(piece)
            if size > self._max_data_set:
                _log.warning("dimse.data_set_too_large", limit=self._max_data_set)
                raise _TooLargeError
            if filled and (len(piece) >= _LARGE or filled + len(piece) > len(room)):
                yield room[:filled]
                filled = 0
            if len(piece) >= _LARGE:
                yield piece
            else:
                room[filled : filled + len(piece)] = piece
                filled += len(piece)
        if filled:
            yield room[:filled]

    def _take(self, staging: Staging, described: Described, uids: tuple[str, str]) -> tuple[Status, str]:
        if described.uids != uids:
            return Status.DOES_NOT_MATCH, "SOP Class or Instance UID differs from the request"
        addition = self._intake.store(staging, described)
        if addition is Addition.CONFLICT:
            return Status.OTHER_PATIENT, "the study belongs to another Patient ID"
        return Status.SUCCESS, ""


def _pieces(meta: bytes, data_set: bytes) -> Iterator[bytes]:
    """The beginning of a file, for who must not read on. Errors: _LongHeaderError."""
    yield meta
    for start in range(0, len(data_set), _PIECE):
        yield data_set[start : start + _PIECE]
    raise _LongHeaderError
