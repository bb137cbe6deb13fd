"""Two servers on one database deliver to one subscriber: one of them at a time, in order, also when it is killed.

Spec: ITI TF-2 3.10.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from select import select as select_ready

import pytest
from sqlalchemy import select, update

from tests.databases import url_of
from tests.flows.test_identity_crash import Connection, cx, running, wait_for
from tests.running import RunningServer
from xds.actors.pix_notifications import LEASE
from xds.store.database import open_database
from xds.store.schema.operations import job

NAME = "HELD|PIX"


class Subscriber:
    """Takes notifications; it answers none while it holds them. `held` are the ports from which one was sent that waits."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.held: set[int] = set()
        self.most_held = 0
        self._answering = threading.Event()
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()

    def answer(self) -> None:
        self._answering.set()

    def _listen(self) -> None:
        while True:
            with suppress(OSError):
                connection, (_, port) = self._listener.accept()
                if not self._closing:
                    self._threads.append(threading.Thread(target=self._take, args=(connection, port)))
                    self._threads[-1].start()
                    continue
                connection.close()
            if self._closing:
                return

    def _take(self, connection: socket.socket, port: int) -> None:
        data = b""
        with connection, suppress(OSError):
            while not data.endswith(b"\x1c\r"):
                piece = connection.recv(65536)
                if not piece:
                    return
                data += piece
            segments = data[1:-2].decode().split("\r")
            self.told.append(next(item for item in segments if item.startswith("PID")).split("|")[3].partition("^")[0])
            self.held.add(port)
            self.most_held = max(self.most_held, len(self.held))
            try:
                while not self._answering.is_set():
                    if select_ready([connection], [], [], 0.1)[0]:
                        # Whoever sent it has given up waiting, or died.
                        return
            finally:
                self.held.discard(port)
            number = segments[0].split("|")[9]
            answer = f"MSH|^~\\&|B|B|XDS|XDS|20260301080000||ACK^A31^ACK|1|P|2.5\rMSA|AA|{number}"
            connection.sendall(b"\x0b" + answer.encode() + b"\x1c\r")

    def close(self) -> None:
        self._closing = True
        self._answering.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(60)


def sender(subscriber: Subscriber, servers: list[RunningServer]) -> RunningServer | None:
    """The server whose notification the subscriber holds now."""
    ports = set(subscriber.held)
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]" for line in lines if int(line[1].rpartition(":")[2], 16) in ports}
    for server in servers:
        assert server.process is not None
        descriptors = Path(f"/proc/{server.process.pid}/fd")
        for item in os.listdir(descriptors):
            with suppress(OSError):
                if os.readlink(descriptors / item) in sockets:
                    return server
    return None


def feed(server: RunningServer, number: int) -> None:
    with closing(Connection(server)) as connection:
        answer = connection.ask(
            f"MSH|^~\\&|ADT|HOSP_A|PIX|XDS|20260301080000||ADT^A01|F{number}|P|2.3.1",
            "EVN|A01|20260301080000",
            f"PID|||{cx('HOSP_A', f'P{number}')}||MARTIN{number}^LUCIE||194{number}0{1 + number}14|F",
            "PV1||O",
        )
        assert answer[1][1] == "AA"


@pytest.mark.usefixtures("back_end")
def test_one_host_delivers_at_a_time_and_another_goes_on_when_it_is_killed(tmp_path: Path) -> None:
    held, free = Subscriber(), Subscriber()
    free.answer()
    config = tmp_path / "xds.toml"
    config.write_text(
        "".join(
            f'[[identity.subscribers]]\nname = "{name}"\nendpoint = "mllp://127.0.0.1:{each.port}"\ndomains = ["HOSP_A"]\n'
            for name, each in ((NAME, held), ("FREE|PIX", free))
        )
    )
    url = url_of(tmp_path)
    shared = {"DATABASE__URL": url.replace("+psycopg", "")}
    with (
        closing(held),
        closing(free),
        running(tmp_path / "one", config=config, **shared) as one,
        running(tmp_path / "other", config=config, **shared) as other,
        closing(open_database(url)) as database,
    ):
        feed(one, 1)
        wait_for(lambda: bool(held.held))
        for number in (2, 3):
            feed(other, number)
            wait_for(lambda expected=number: len(set(free.told)) == expected)
        # Both have looked for work meanwhile, and have left alone what the first one is at.
        assert (set(held.told), list(dict.fromkeys(free.told))) == ({"P1"}, ["P1", "P2", "P3"])
        found: list[RunningServer | None] = []
        # A host that waited long for the answer has given up, and begins again in a moment.
        wait_for(lambda: found.append(sender(held, [one, other])) or found[-1] is not None)
        killed = found[-1]
        assert killed is not None
        killed.kill()
        killed.stop()
        wait_for(lambda: not held.held)
        with database.read() as connection:
            lease = connection.execute(select(job.c.run_at).where(job.c.key == NAME)).scalar_one()
        assert lease - time.time() * 1000 <= LEASE.total_seconds() * 1000
        held.answer()
        # The lease ends.
        database.write(lambda connection: connection.execute(update(job).where(job.c.key == NAME).values(run_at=0)) and None)
        wait_for(lambda: "P3" in held.told)
        assert held.told == sorted(held.told)
        assert (held.told.count("P1") >= 2, list(dict.fromkeys(held.told)), held.most_held) == (True, ["P1", "P2", "P3"], 1)
