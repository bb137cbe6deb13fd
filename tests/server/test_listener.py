"""One address, several processes: each connection is taken once, and who stops takes nothing with it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.ports import free_port
from xds.server import listener
from xds.server.listener import Listener, Shared, listen


@pytest.fixture
def shared() -> Iterator[Shared]:
    among = Shared.among("127.0.0.1", 0, 2)
    yield among
    among.listening.close()


class Accepting:
    """A process, as far as accepting goes."""

    def __init__(self, listening: Shared | socket.socket, number: int = 0) -> None:
        self.listener = Listener(listening, number)
        self.taken: list[int] = []
        self.one_more = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._run)

    def start(self) -> Accepting:
        self.thread.start()
        return self

    def _run(self) -> None:
        while (accepted := self.listener.accept()) is not None:
            connection, address = accepted
            assert address == "127.0.0.1"
            assert connection.getblocking()
            self.taken.append(connection.getpeername()[1])
            connection.close()
            self.one_more.release()
        self.listener.release()

    def stop(self) -> None:
        self.listener.close()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is courteous is so for longer than a machine with much to do takes."""
    monkeypatch.setattr(listener, "_COURTESY_SECONDS", 60)


@pytest.mark.usefixtures("slow")
def test_who_has_fewer_connections_takes_the_next(shared: Shared) -> None:
    busy, idle = Accepting(shared, 0), Accepting(shared, 1)
    busy.listener.engaged(3)
    idle.listener.engaged(2)
    busy.start()
    idle.start()
    with socket.create_connection(("127.0.0.1", busy.listener.port), timeout=60) as connection:
        assert idle.one_more.acquire(timeout=60)
        assert idle.taken == [connection.getsockname()[1]]
    idle.stop()
    busy.stop()
    assert not busy.taken


def test_what_others_leave_is_taken_all_the_same(shared: Shared) -> None:
    """Another process may be about to end, or have ended without a word."""
    left = Accepting(shared, 0).start()
    left.listener.engaged(3)
    with socket.create_connection(("127.0.0.1", left.listener.port), timeout=60) as connection:
        assert left.one_more.acquire(timeout=60)
        assert left.taken == [connection.getsockname()[1]]
    left.stop()
    # The socket listens on, for whoever comes next.
    with socket.create_connection(("127.0.0.1", left.listener.port), timeout=60):
        pass


def test_an_address_of_its_own_is_given_up_in_the_end() -> None:
    alone = Accepting(listen("127.0.0.1", free_port())).start()
    port = alone.listener.port
    with socket.create_connection(("127.0.0.1", port), timeout=60):
        assert alone.one_more.acquire(timeout=60)
    alone.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=60)
