"""Where a PACS sends what was asked for by C-MOVE: a listener apart from the archive's, which takes nothing but what is expected.

Spec: DICOM PS3.4 C.4.2 (C-MOVE and its C-STORE sub-operations), B.2.3 (statuses).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import Verification

from xds.pacs.delivery import Delivery

_config.LOG_HANDLER_LEVEL = "none"
_config.STORE_RECV_CHUNKED_DATASET = True
_config.UNRESTRICTED_STORAGE_SERVICE = True

_SUCCESS: Final = 0x0000
_OUT_OF_RESOURCES: Final = 0xA700
_NOT_EXPECTED: Final = 0x0124  # refused: not authorized. Spec: PS3.7 C.5.10.


class MoveReceiver:
    """Listens for the images that were asked for. Only the given AE titles may connect."""

    def __init__(
        self, ae_title: str, host: str, port: int, callers: Sequence[str], *, seconds: float = 60.0, associations: int = 16
    ) -> None:
        """`port` 0 takes a free one; `seconds` ends silent connections."""
        self.ae_title = ae_title
        self._address = (host, port)
        self._lock = threading.Lock()
        self._expected: dict[str, list[Delivery]] = {}
        unit = AE(ae_title=ae_title)
        unit.maximum_pdu_size = 128 * 1024
        unit.maximum_associations = associations
        unit.require_calling_aet = list(callers)
        unit.acse_timeout = unit.dimse_timeout = unit.network_timeout = seconds
        unit.add_supported_context(Verification)
        self._unit = unit
        self._server: Any = None

    def start(self) -> int:
        """Listen, and return the port. Errors: OSError when it is taken."""
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store), (evt.EVT_CONN_OPEN, _send_at_once)]
        self._server = self._unit.start_server(self._address, block=False, evt_handlers=handlers)
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Take nothing more. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()

    @contextmanager
    def expecting(self, sop_instance_uids: Iterable[str], delivery: Delivery) -> Iterator[None]:
        """Meanwhile these instances are taken, and delivered there."""
        uids = tuple(sop_instance_uids)
        with self._lock:
            for uid in uids:
                self._expected.setdefault(uid, []).append(delivery)
        try:
            yield
        finally:
            with self._lock:
                for uid in uids:
                    left = [item for item in self._expected.get(uid, ()) if item is not delivery]
                    if left:
                        self._expected[uid] = left
                    else:
                        self._expected.pop(uid, None)

    def _store(self, event: Any) -> int:
        request = event.request
        uid = str(request.AffectedSOPInstanceUID)
        with self._lock:
            wanted = list(self._expected.get(uid, ()))
        if not wanted or request._dataset_path is None:
            return _NOT_EXPECTED
        request._dataset_file.close()
        # Two that wait for the same instance are different sources with the same object, or one asked twice: each gets it.
        taken = [delivery.put(uid, request._dataset_path) for delivery in wanted]
        return _SUCCESS if any(taken) else _OUT_OF_RESOURCES


def _send_at_once(event: evt.Event) -> None:
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
