"""One address, several processes: each connection is taken once, and who stops takes nothing with it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from xds.server.dimse_listener import Listener, listen


@pytest.fixture
def shared() -> Iterator[socket.socket]:
    with listen("127.0.0.1", 0) as listening:
        yield listening


class Accepting:
    """A process, as far as accepting goes. `engaged` is asked before each attempt."""

    def __init__(self, listening: socket.socket, *, is_shared: bool = True) -> None:
        self.listener = Listener(listening, is_shared=is_shared)
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()
        self.taken: list[int] = []
        self.one_more = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while (accepted := self.listener.accept(self._engaged)) is not None:
            connection, address = accepted
            assert address == "127.0.0.1"
            self.taken.append(connection.getpeername()[1])
            assert connection.getblocking()
            connection.close()
            self.one_more.release()
        self.listener.release()

    def _engaged(self) -> int:
        self.is_asked.set()
        assert self.may_answer.wait(30)
        return len(self.taken)

    def stop(self) -> None:
        self.may_answer.set()
        self.listener.close()
        self.thread.join(30)
        assert not self.thread.is_alive()


def test_who_has_associations_lets_others_go_first(shared: socket.socket) -> None:
    busy, idle = Accepting(shared), Accepting(shared)
    idle.may_answer.set()
    with socket.create_connection(("127.0.0.1", busy.listener.port), timeout=30) as connection:
        assert idle.one_more.acquire(timeout=30)
        assert idle.taken == [connection.getsockname()[1]]
    idle.stop()
    # The other one found nothing; it takes the next, and the socket listens on.
    busy.may_answer.set()
    with socket.create_connection(("127.0.0.1", busy.listener.port), timeout=30) as connection:
        assert busy.one_more.acquire(timeout=30)
        assert busy.taken == [connection.getsockname()[1]]
    busy.stop()
    with socket.create_connection(shared.getsockname(), timeout=30):
        pass


def test_an_address_of_its_own_is_given_up_in_the_end() -> None:
    alone = Accepting(listen("127.0.0.1", 0), is_shared=False)
    port = alone.listener.port
    with socket.create_connection(("127.0.0.1", port), timeout=30):
        assert alone.one_more.acquire(timeout=30)
    assert not alone.is_asked.is_set()
    alone.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=30)
