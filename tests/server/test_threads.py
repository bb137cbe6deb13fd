"""Which thread serves next, and how long it stays with its client."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.server.connection.wire import GET, PATH, SAYING, Wire, post
from tests.server.echo import KEEP, NAMESPACE, Echo, running
from xds.server.limits import Limits
from xds.server.threads import LastIdleFirst
from xds.store.database import turns
from xds.wire.soap import Addressing, write_envelope


class Workers:
    """Threads that note who got what."""

    def __init__(self, number: int) -> None:
        self.queue = LastIdleFirst()
        self.served: list[tuple[str, object]] = []
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._work, name=str(each), daemon=True) for each in range(number)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_until_idle(self, number: int) -> None:
        deadline = time.monotonic() + 60
        while self.queue.idle != number:
            assert time.monotonic() < deadline, f"{self.queue.idle} threads are idle, not {number}"
            time.sleep(0.002)

    def wait_until_served(self, number: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.served) >= number, 60)

    def stop(self) -> None:
        for _ in self._threads:
            self.queue.put(None)
        for thread in self._threads:
            thread.join(60)

    def _work(self) -> None:
        while (item := self.queue.get()) is not None:
            with self._changed:
                self.served.append((threading.current_thread().name, item))
                self._changed.notify_all()


def test_the_thread_that_became_idle_last_is_the_next_to_work() -> None:
    workers = Workers(3)
    workers.start()
    workers.wait_until_idle(3)
    for number in range(5):
        workers.queue.put(number + 1)
        workers.wait_until_served(number + 1)
        workers.wait_until_idle(3)
    assert len({name for name, _item in workers.served}) == 1
    workers.stop()


def test_what_waits_is_served_in_its_order() -> None:
    workers = Workers(1)
    for item in (1, 2, 3):
        workers.queue.put(item)
    workers.start()
    workers.wait_until_served(3)
    assert [item for _name, item in workers.served] == [1, 2, 3]
    workers.stop()


def test_a_thread_leaves_its_client_when_others_need_it(tmp_path: Path) -> None:
    """More clients than threads, all of which go on at once: everybody is answered."""
    with running(tmp_path, Echo(), limits=Limits(threads=2, uploads=1)) as port:
        clients = [Wire(port) for _ in range(6)]
        for _ in range(20):
            for client in clients:
                client.send(GET)
            assert [client.answer() for client in clients] == [200] * 6
        for client in clients:
            client.socket.close()


@pytest.mark.parametrize("kept_back", [10, len(SAYING) + 20], ids=["body", "header"])
def test_a_client_that_keeps_others_waiting_has_no_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_back: int) -> None:
    """Whether it is in the middle of its header or of its body."""
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 60)
    data = post(PATH, "Content-Type: application/soap+xml", f"Content-Length: {len(SAYING)}") + SAYING
    with running(tmp_path, Echo()) as port, Wire(port) as slow, Wire(port) as other:
        slow.send(data[:-kept_back])
        assert other.send(GET).answer() == 200
        assert slow.send(data[-kept_back:]).answer() == 200


def test_a_reader_that_stops_has_no_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 60)
    body = f'<Keep xmlns="{NAMESPACE}" make="50000000"/>'.encode()
    data = b"--B\r\n\r\n" + b"".join(write_envelope([body], Addressing(KEEP.action or ""))) + b"\r\n--B--"
    with running(tmp_path, Echo()) as port, Wire(port) as slow, Wire(port) as other:
        slow.send(post(PATH, "Content-Type: multipart/related; boundary=B", f"Content-Length: {len(data)}"), data)
        assert slow.socket.recv(1000).startswith(b"HTTP/1.1 200")
        assert other.send(GET).answer() == 200
