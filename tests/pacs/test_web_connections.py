"""HTTP connections that stay open for the next request, whatever the PACS does with them meanwhile.

Spec: RFC 9112 9.3 (persistence), 9.3.1 (requests that may be repeated).
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.archive import image
from xds.model.foreign_images import PullError, PullProblem
from xds.pacs.partner import Partner
from xds.pacs.web import WebArchive

SECONDS = 60.0
STUDY, CT = "1.2.95", "1.2.840.10008.5.1.4.1.1.2"
UIDS = (f"{STUDY}.1.1", f"{STUDY}.1.2")
OBJECTS = [image(StudyInstanceUID=STUDY, SeriesInstanceUID=f"{STUDY}.1", SOPInstanceUID=uid, SOPClassUID=CT) for uid in UIDS]

#: What a service does with a request; False ends the connection.
Act = Callable[[socket.socket], bool]


def body() -> bytes:
    return b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + each + b"\r\n" for each in OBJECTS) + b"--b--\r\n"


HEAD = b'HTTP/1.1 200 OK\r\nContent-Type: multipart/related; type="application/dicom"; boundary=b\r\n'


def answers(connection: socket.socket) -> bool:
    connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body()) + body())
    return True


def answers_in_chunks(connection: socket.socket) -> bool:
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body()) + body() + b"\r\n0\r\n\r\n")
    return True


def says_that_it_closes(connection: socket.socket) -> bool:
    connection.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body()) + body())
    return True


def closes_afterwards(connection: socket.socket) -> bool:
    answers(connection)
    return False


def has_nothing(connection: socket.socket) -> bool:
    connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n")
    return True


def goes_away(_connection: socket.socket) -> bool:
    return False


def breaks(connection: socket.socket) -> bool:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def gives_half(connection: socket.socket) -> bool:
    connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body()) + body()[: len(body()) // 4])
    return False


def keeps_silent(connection: socket.socket) -> bool:
    return bool(connection.recv(1))


class Service:
    """Does with each request what comes next."""

    def __init__(self, *acts: Act) -> None:
        self._acts = list(acts)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.accepted = 0
        self.asked = 0
        self.open: list[socket.socket] = []

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                with self._changed:
                    self.accepted += 1
                    self.open.append(connection)
                    self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                    self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            goes_on = True
            while goes_on and self._is_asked(connection):
                with self._changed:
                    self.asked += 1
                    act = self._acts.pop(0)
                goes_on = act(connection)
        with self._changed:
            self.open.remove(connection)
            connection.close()
            self._changed.notify_all()

    def _is_asked(self, connection: socket.socket) -> bool:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            octet = connection.recv(1)
            if not octet:
                return False
            head += octet
        return True

    def wait_until_closed(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: not self.open, SECONDS)

    def stop(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(SECONDS)
        self._listening.close()
        with self._changed:
            for connection in self.open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(SECONDS)


@contextmanager
def asked(*acts: Act, kept: float = 300) -> Iterator[tuple[Service, WebArchive]]:
    service = Service(*acts)
    address = f"http://127.0.0.1:{service.port}/rs"
    archive = WebArchive(Partner("pacs", "PACS", "127.0.0.1", 0, address, seconds=SECONDS, kept_seconds=kept))
    try:
        yield service, archive
    finally:
        archive.close()
        service.stop()


def get(archive: WebArchive) -> list[bytes]:
    found = archive.fetch(STUDY, f"{STUDY}.1", dict.fromkeys(UIDS, CT), whole_series=True)
    return [b"".join(pulled.chunks) for pulled in found]


@pytest.mark.parametrize("act", [answers, answers_in_chunks])
def test_one_connection_serves_one_request_after_the_other(act: Act) -> None:
    with asked(act, act, has_nothing, act) as (service, archive):
        assert [get(archive), get(archive), get(archive), get(archive)] == [OBJECTS, OBJECTS, [], OBJECTS]
        assert service.accepted == 1
        archive.close()
        service.wait_until_closed()


@pytest.mark.parametrize("act", [says_that_it_closes, closes_afterwards])
def test_a_connection_that_the_service_ends_is_not_used_again(act: Act) -> None:
    with asked(act, answers) as (service, archive):
        assert get(archive) == OBJECTS
        service.wait_until_closed()
        assert get(archive) == OBJECTS
        assert (service.accepted, service.asked) == (2, 2)


@pytest.mark.parametrize("act", [goes_away, breaks])
def test_one_that_breaks_before_it_answers_is_replaced(act: Act) -> None:
    with asked(answers, act, answers) as (service, archive):
        assert [get(archive), get(archive)] == [OBJECTS, OBJECTS]
        assert (service.accepted, service.asked) == (2, 3)


def test_it_is_replaced_once() -> None:
    with asked(answers, goes_away, goes_away, answers) as (service, archive):
        assert get(archive) == OBJECTS
        with pytest.raises(PullError) as raised:
            get(archive)
        assert raised.value.problem is PullProblem.UNREACHABLE
        assert (service.accepted, service.asked) == (2, 3)
        assert get(archive) == OBJECTS


def test_what_has_begun_is_not_asked_for_again() -> None:
    with asked(answers, gives_half) as (service, archive):
        assert get(archive) == OBJECTS
        with pytest.raises(PullError):
            get(archive)
        assert (service.accepted, service.asked) == (1, 2)


def test_a_silent_service_is_asked_once() -> None:
    with asked(answers, keeps_silent) as (service, archive):
        assert get(archive) == OBJECTS
        (kept,) = archive._connections._idle._kept
        kept.connection.settimeout(0.5)
        with pytest.raises(PullError) as raised:
            get(archive)
        assert raised.value.problem is PullProblem.TIMEOUT
        assert (service.accepted, service.asked) == (1, 2)


def test_who_goes_away_in_the_middle_leaves_no_connection() -> None:
    with asked(answers, answers) as (service, archive):
        found = archive.fetch(STUDY, f"{STUDY}.1", dict.fromkeys(UIDS, CT), whole_series=True)
        assert next(found).sop_instance_uid == UIDS[0]
        found.close()  # type: ignore[attr-defined]
        service.wait_until_closed()
        assert get(archive) == OBJECTS
        assert service.accepted == 2


@pytest.mark.parametrize("kept", [0, 0.05])
def test_none_is_kept_for_longer_than_it_may(kept: float) -> None:
    with asked(answers, answers, kept=kept) as (service, archive):
        for _ in range(2):
            assert get(archive) == OBJECTS
            service.wait_until_closed()
        assert service.accepted == 2
