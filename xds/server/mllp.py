"""HL7 v2 over MLLP: frames from sockets, one thread for each connection, dispatched by MSH-9.

Connections stay open and may be pipelined: frames are answered in the order in which they came, those that came together as far
as possible by one write. What stands between frames is skipped up to a limit.

Tolerated deviations: bytes between frames; a frame that ends with 0x1C alone; a frame that begins anew before it ended.

Spec: HL7 Minimal Lower Layer Protocol; ITI TF-2 C.2.1 (MLLP), C.2.3 (which errors are rejects).
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import structlog

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.ports import Clock
from xds.server.listener import Listener, listen
from xds.server.metrics import Served, unnoted
from xds.server.mllp_dispatcher import Dispatcher, trigger_of
from xds.store.database import placement, turns
from xds.wire import hl7v2
from xds.wire.hl7v2 import Condition, Fault, Message, Segment, UnreadableError
from xds.wire.hl7v2_answers import Acknowledgement, new_control_id, write_ack

START, END = b"\x0b", b"\x1c"
_FRAME_END = b"\x1c\r"
_BLANKS = b"\r\n\t \x00"
_RECEIVE = 65536
#: Answers wait for those to later queries that have arrived already, but no longer and no more than this (seconds, octets).
_MOST_DELAY = 0.005
_MOST_PENDING = 65536
#: How long a partner that was told why its connection ends may go on sending before the end.
_LINGER_SECONDS = 2.0
#: How many feeds of one connection are begun before the first is waited for.
_MOST_BEGUN = 16

#: What the metrics call an answer with that MSA-1.
_OUTCOMES = {b"AA": "ok", b"CA": "ok", b"AE": "fault", b"AR": "fault"}

_log = structlog.get_logger()


def _now() -> datetime:
    return datetime.now(UTC)


class FramingError(Exception):
    """The partner does not speak MLLP, or not within the limits. `fault` is what to tell it, if anything."""

    def __init__(self, reason: str, fault: Fault | None = None) -> None:
        super().__init__(reason)
        self.fault = fault


class FrameReader:
    """Finds frames in what a connection delivers. Limits are in octets."""

    def __init__(self, max_message: int, max_garbage: int) -> None:
        self._max_message = max_message
        self._max_garbage = max_garbage
        self._buffer = bytearray()
        self._garbage = 0
        self._searched = 0

    @property
    def is_waiting(self) -> bool:
        """True while a frame has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Every message that is complete with this data. Errors: FramingError."""
        if not self._buffer and data[:1] == START and data[-2:] == _FRAME_END and len(data) <= self._max_message:
            message = data[1:-2]
            if END not in message and START not in message:
                # What nearly always comes: one whole frame.
                yield message
                return
        self._buffer += data
        while True:
            self._skip_to_start()
            end = self._buffer.find(END, self._searched)
            if end > self._max_message or (end < 0 and len(self._buffer) > self._max_message):
                text = f"the message is longer than {self._max_message} octets"
                raise FramingError(text, Fault(Condition.INTERNAL, text))
            if end < 0:
                self._searched = len(self._buffer)
                return
            message = bytes(self._buffer[self._buffer.rfind(START, 0, end) + 1 : end])
            del self._buffer[: end + 1]
            self._searched = 0
            yield message

    def header(self) -> bytes:
        """The beginning of the frame that is too long, as far as it could be an MSH."""
        return bytes(self._buffer[1:2048]).split(b"\r", 1)[0]

    def _skip_to_start(self) -> None:
        start = self._buffer.find(START)
        skipped = self._buffer[: start if start >= 0 else len(self._buffer)]
        if not skipped:
            return
        self._garbage += len(skipped.translate(None, _BLANKS))
        del self._buffer[: len(skipped)]
        self._searched = 0
        if self._garbage > self._max_garbage:
            raise FramingError("too much between the frames")


def _certified_name(connection: socket.socket) -> str | None:
    if not isinstance(connection, ssl.SSLSocket):
        return None
    certificate: dict[str, Any] = connection.getpeercert() or {}
    names = [value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"]
    return str(names[0]) if names else None


class MllpServer:
    """A threaded MLLP server of the v2 transactions among `modules` (transaction files); times in seconds, sizes in octets."""

    def __init__(
        self,
        domain: Domain,
        modules: Iterable[ModuleType],
        host: str = "127.0.0.1",
        port: int = 2575,
        *,
        tls: ssl.SSLContext | None = None,
        max_connections: int = 256,
        max_message: int = 16 * 1024 * 1024,
        max_garbage: int = 4096,
        idle_seconds: float = 600.0,
        message_seconds: float = 120.0,
        listener: Listener | None = None,
        clock: Clock = _now,
        served: Served = unnoted,
    ) -> None:
        """`idle_seconds` may pass between two pieces of data, `message_seconds` between the beginning of a frame and its end.

        `listener` takes the place of `host` and `port`, where several processes share them. `served` is told of every answer.
        """
        self._served = served
        self._dispatch = Dispatcher(domain, modules, clock)
        self._address = (host, port)
        self._tls = tls
        self._limits = (max_message, max_garbage)
        self._idle_seconds = idle_seconds
        self._message_seconds = message_seconds
        self._given = listener
        self._free = threading.BoundedSemaphore(max_connections)
        self._listener: Listener | None = None
        self._acceptor: threading.Thread | None = None
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._stopping = False

    def start(self) -> int:
        """Listen, and return the port (a free one when 0 was asked for). Errors: OSError when the port is taken."""
        self._listener = self._given or Listener(listen(*self._address))
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), name="mllp-accept", daemon=True)
        self._acceptor.start()
        return self._listener.port

    def stop(self, seconds: float = 30.0) -> None:
        """Take no more connections, answer what is being processed, and close. Waits at most that long for each connection."""
        self._stopping = True
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        if self._acceptor is not None:
            self._acceptor.join(seconds)
        with self._lock:
            running = list(self._open.items())
        for connection, _ in running:
            # Not SSLSocket's own shutdown: that would end the encryption of the answer which is still to be sent.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RD)
        for _, thread in running:
            thread.join(seconds)

    def _accept(self, listener: Listener) -> None:
        while (accepted := listener.accept()) is not None:
            connection, address = accepted
            if not self._free.acquire(blocking=False):
                _log.warning("mllp.too_many_connections", address=address)
                connection.close()
                continue
            self._begin(connection, address, listener)
        listener.release()

    def _begin(self, connection: socket.socket, address: str, listener: Listener) -> None:
        if self._tls is not None:
            # The handshake waits for the partner: it happens in the connection's own thread.
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=self._serve, args=(connection, address, listener), name="mllp", daemon=True)
        with self._lock:
            self._open[connection] = thread
            listener.engaged(len(self._open))
        thread.start()

    def _serve(self, connection: socket.socket, address: str, listener: Listener) -> None:
        placement.keep()
        try:
            with closing(connection):
                connection.settimeout(self._idle_seconds)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                if isinstance(connection, ssl.SSLSocket):
                    connection.do_handshake()
                self._converse(connection, address)
        except (OSError, FramingError) as error:
            _log.info("mllp.closed", address=address, reason=type(error).__name__)
        finally:
            with self._lock:
                del self._open[connection]
                listener.engaged(len(self._open))
            self._free.release()

    def _converse(self, connection: socket.socket, address: str) -> None:
        caller = Caller(address=address, node=_certified_name(connection))
        reader = FrameReader(*self._limits)
        deadline: float | None = None
        while not self._stopping:
            data = connection.recv(_RECEIVE)
            if not data:
                return
            turn = _Turn(connection, self._dispatch, caller, self._served)
            is_told = False
            try:
                # One turn serves what came together: handing it over costs as much as a quarter of a query.
                with turns.taken():
                    for message in reader.feed(data):
                        turn.take(message)
                        deadline = None
            except FramingError as error:
                turn.finish()
                if error.fault:
                    turn.answers += START + _rejection(reader.header(), error.fault) + _FRAME_END
                    is_told = True
                raise
            finally:
                turn.finish()
                if turn.answers:
                    connection.sendall(turn.answers)
                if is_told:
                    _linger(connection)
            deadline = self._await(connection, deadline if reader.is_waiting else None, is_waiting=reader.is_waiting)

    def _await(self, connection: socket.socket, deadline: float | None, *, is_waiting: bool) -> float | None:
        """Let the next read wait as long as it may. Gives back until when the frame that has begun must be complete."""
        if not is_waiting:
            connection.settimeout(self._idle_seconds)
            return None
        now = time.monotonic()
        until = deadline or now + self._message_seconds
        if until <= now:
            raise FramingError("the message does not end in time")
        connection.settimeout(min(self._idle_seconds, until - now))
        return until


class _Turn:
    """The messages of one connection that came together, and their answers as far as they were not sent yet."""

    def __init__(self, connection: socket.socket, dispatch: Dispatcher, caller: Caller, served: Served) -> None:
        self._connection = connection
        self._dispatch = dispatch
        self._caller = caller
        self._served = served
        self._begun: deque[tuple[str, float, Callable[[], bytes]]] = deque()
        self._since = time.monotonic()
        self.answers = bytearray()

    def take(self, message: bytes) -> None:
        """Answer a message, or begin to: feeds that came together become durable together, and are answered then."""
        trigger, start = trigger_of(message), time.monotonic()
        if self._dispatch.may_begin(trigger):
            if self.answers:
                # A feed waits for the disk; nothing that was done before it waits with it.
                self._send()
            self._begun.append((trigger, start, self._dispatch.begin(message, self._caller)))
            if len(self._begun) >= _MOST_BEGUN:
                self.finish()
            return
        # What came first is done first, and seen by what follows.
        self.finish()
        if self.answers and not trigger.startswith("QBP^"):
            self._send()
        self._add(trigger, start, self._dispatch(message, self._caller))
        if len(self.answers) >= _MOST_PENDING or time.monotonic() - self._since >= _MOST_DELAY:
            self._send()
            self._since = time.monotonic()

    def finish(self) -> None:
        """Wait for what was begun."""
        while self._begun:
            trigger, start, answer = self._begun.popleft()
            self._add(trigger, start, answer())

    def _add(self, trigger: str, start: float, answer: bytes) -> None:
        self.answers += START + answer + _FRAME_END
        code = answer.find(b"\rMSA") + 5
        outcome = _OUTCOMES.get(answer[code : code + 2], "failure")
        self._served(self._dispatch.transaction_of(trigger), outcome, time.monotonic() - start)

    def _send(self) -> None:
        """Send what was answered so far. The partner may take it slowly: the turn ends before."""
        turns.end()
        self._connection.sendall(self.answers)
        self.answers.clear()


def _linger(connection: socket.socket) -> None:
    """Leave it to the partner to close: whoever still sends would find the connection broken in place of the last answer."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(_LINGER_SECONDS / 4)
        until = time.monotonic() + _LINGER_SECONDS
        while time.monotonic() < until and connection.recv(_RECEIVE):
            continue


def _rejection(header: bytes, fault: Fault) -> bytes:
    """A reject for a message of which only the beginning was read."""
    try:
        request = hl7v2.read(header)
    except UnreadableError as error:
        request = error.header or Message((Segment("MSH", ("|", "^~\\&")),))
    answer = write_ack(request, Acknowledgement.REJECT, (fault,), now=_now(), control_id=new_control_id())
    return hl7v2.write(answer)
