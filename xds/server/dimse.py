"""The DICOM listener: C-ECHO, and C-STORE of every storage class in every transfer syntax.

pynetdicom speaks the protocol. Data sets are written to a file while they arrive and are never decoded; of several transfer
syntaxes the sender's first is taken, which is the one it has. Limits that pynetdicom does not have stand before it: the length of
a PDU (it would buffer what the peer announces, up to 4 GiB), the size of a data set, TCP_NODELAY, `poll` in place of `select`.

Spec: DICOM PS3.7 9.1.1 (C-STORE), 9.1.5 (C-ECHO); PS3.4 B (Storage) and Table B.2-1 (statuses); PS3.8 9.3 (PDUs).
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import Verification
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.model.caller import Caller
from xds.model.imaging import Addition
from xds.store.database import DatabaseUnavailableError
from xds.wire.dicom import DicomError, read_header
from xds.wire.dicom_study import read_study
from xds.wire.dicom_values import write_file_meta

SUCCESS: Final = 0x0000
PROCESSING_FAILURE: Final = 0x0110
OUT_OF_RESOURCES: Final = 0xA700
DATA_SET_DOES_NOT_MATCH: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000
OTHER_PATIENT: Final = 0xC001

#: Octets of a PDU that are asked for, and that are borne from peers that do not listen (association requests may be longer).
MAX_PDU: Final = 128 * 1024
LONGEST_PDU: Final = 1024 * 1024
#: Octets of one data set.
MAX_DATA_SET: Final = 8 * 1024 * 1024 * 1024
_CHUNK: Final = 1024 * 1024
_DISK_IS_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_log = structlog.get_logger()

# Its own log lines would quote what peers send.
_config.LOG_HANDLER_LEVEL = "none"
_config.UNRESTRICTED_STORAGE_SERVICE = True
_config.STORE_RECV_CHUNKED_DATASET = True


class _Socket(AssociationSocket):  # type: ignore[misc]
    """The connection of an association, with a limit on what is read at once."""

    @property
    def ready(self) -> bool:
        connection = self.socket
        if connection is None or not self._is_connected:
            return False
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        try:
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            self.event_queue.put("Evt17")  # transport connection closed
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        if nr_bytes > LONGEST_PDU:
            raise OSError(errno.EMSGSIZE, "the PDU is longer than the limit")
        received = bytearray(nr_bytes)
        view = memoryview(received)
        done = 0
        while done < nr_bytes:
            number = self.socket.recv_into(view[done:])
            if not number:
                break
            done += number
        view.release()
        del received[done:]
        return received


class _Request(RequestHandler):  # type: ignore[misc]
    def _create_association(self) -> Any:
        association = super()._create_association()
        # The association has announced this connection to its state machine already: only the reading changes.
        association.dul.socket.__class__ = _Socket
        return association


class _Listener(ThreadedAssociationServer):  # type: ignore[misc]
    request_queue_size = 64

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, request_handler=_Request, **settings)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address


class DimseServer:
    """Listens for DICOM associations and stores what arrives."""

    def __init__(
        self,
        source: ImagingDocumentSource,
        ae_title: str,
        host: str = "127.0.0.1",
        port: int = 11112,
        *,
        max_associations: int = 32,
        idle_seconds: float = 60.0,
        max_data_set: int = MAX_DATA_SET,
        ssl_context: ssl.SSLContext | None = None,
        stored: Callable[[Addition], None] | None = None,
    ) -> None:
        """`port` 0 takes a free one. `idle_seconds` ends silent connections, `max_data_set` is in octets.

        `stored` is told of each instance after its answer is decided (metrics).
        """
        self._source = source
        self._address = (host, port)
        self._max_data_set = max_data_set
        self._ssl_context = ssl_context
        self._stored = stored
        unit = AE(ae_title=ae_title)
        unit.maximum_pdu_size = MAX_PDU
        unit.maximum_associations = max_associations
        unit.acse_timeout = unit.dimse_timeout = unit.network_timeout = idle_seconds
        unit.add_supported_context(Verification)
        self._unit = unit
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Listen, and return the port. Errors: OSError when it is taken."""
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda _event: SUCCESS),
            (evt.EVT_PDU_RECV, self._check_size),
            (evt.EVT_CONN_CLOSE, _connection_closed),
        ]
        listener = self._unit.make_server(
            self._address, ssl_context=self._ssl_context, evt_handlers=handlers, server_class=_Listener
        )
        self._unit._servers.append(listener)  # shutdown() expects to find it there
        self._listener = listener
        self._thread = threading.Thread(target=listener.serve_forever, args=(0.1,), name="dimse", daemon=True)
        self._thread.start()
        return int(listener.server_address[1])

    def stop(self, seconds: float = 10.0) -> None:
        """Take no more associations, let those that are open end for so many seconds, then abort them. Idempotent."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.shutdown()
        until = time.monotonic() + seconds
        while listener.active_associations and time.monotonic() < until:
            time.sleep(0.02)
        for association in listener.active_associations:
            association.abort()
        if self._thread is not None:
            self._thread.join(seconds)

    def _check_size(self, event: Any) -> None:
        message = event.assoc.dimse.message
        file = getattr(message, "_data_set_file", None)
        if file is not None and not file.closed and file.tell() > self._max_data_set:
            _log.warning("dimse.data_set_too_large", limit=self._max_data_set)
            event.assoc.abort()

    def _store(self, event: Any) -> Dataset:
        caller = Caller(
            address=str(event.assoc.requestor.address),
            node=str(event.assoc.requestor.ae_title).strip(),
        )
        try:
            status, comment = self._keep(event, caller)
        except DicomError as problem:
            status, comment = CANNOT_UNDERSTAND, str(problem)
        except DatabaseUnavailableError as problem:
            status, comment = OUT_OF_RESOURCES, "the database does not answer now"
            _log.error("dimse.database_unavailable", reason=str(problem))
        except OSError as problem:
            full = problem.errno in _DISK_IS_FULL
            status, comment = (OUT_OF_RESOURCES, "no space left") if full else (PROCESSING_FAILURE, "storage failed")
            _log.error("dimse.storage_failed", error=os.strerror(problem.errno or 0))
        except Exception as problem:
            # The edge: what goes wrong with us becomes a status, and the log gets no more than the kind of error.
            status, comment = PROCESSING_FAILURE, "internal error"
            _log.error("dimse.failed", error=type(problem).__name__)
        return _status(status, comment)

    def _keep(self, event: Any, caller: Caller) -> tuple[int, str]:
        request = event.request
        path: Path | None = request._dataset_path
        if path is None:
            return CANNOT_UNDERSTAND, "the request has no data set"
        sop_class, sop_instance = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
        header = read_header(_chunks(path, 0), until=0x00080000)
        staging = self._source.stage()
        try:
            staging.write(write_file_meta(sop_class, sop_instance, str(event.context.transfer_syntax)))
            for chunk in _chunks(path, header.data_set):
                staging.write(chunk)
            study = read_study(staging.open(), source=caller.node or "", size=staging.size)
            instance = study.series[0].instances[0]
            if (instance.sop_class_uid, instance.sop_instance_uid) != (sop_class, sop_instance):
                return DATA_SET_DOES_NOT_MATCH, "SOP Class or Instance UID differs from the request"
            addition = self._source.store_instance(staging, study, caller)
        finally:
            staging.discard()
        if self._stored is not None:
            self._stored(addition)
        if addition is Addition.CONFLICT:
            return OTHER_PATIENT, "the study belongs to another Patient ID"
        return SUCCESS, ""


def _chunks(path: Path, position: int) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        file.seek(position)
        while chunk := file.read(_CHUNK):
            yield chunk


def _connection_closed(event: Any) -> None:
    """Ends what pynetdicom would leave: a thread that waits for a request to come, a data set that is not complete."""
    association = event.assoc
    if association.requestor.primitive is None:
        # Without a request there is no association to end: a port scan or a health check would occupy one for `idle_seconds`.
        association.dul.to_user_queue.put(None)
    message = association.dimse.message
    file = getattr(message, "_data_set_file", None)
    if file is not None:
        file.close()
        Path(file.name).unlink(missing_ok=True)


def _status(status: int, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status = status
    if comment:
        answer.ErrorComment = comment[:64]
    return answer
