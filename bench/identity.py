"""How many feeds and PIX queries a second the server takes over MLLP: `python -m bench.identity 1000000`.

The register is made by `bench.identity_register`; the load comes from a process of its own, over kept connections, each with some
messages under way at a time. Both share the processors with the server: the figures are lower bounds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import select
import shutil
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.databases import chosen
from bench.identity_register import AFFINITY, HOSPITALS, fill, identifier, somebody
from tests.running import RunningServer
from xds.model.patient import Demographics

_START, _END = b"\x0b", b"\x1c\r"
# Messages made beforehand for each second of load, more than the server takes: making a feed costs a fifth of serving it.
_MADE = {"feeds": 2_000, "queries": 20_000}


@dataclass(frozen=True, slots=True)
class Result:
    """Outcome of one run; times in milliseconds. `server` is what the server took of a processor for a message."""

    rate: float
    p50: float
    p95: float
    p99: float
    failures: int
    server: float

    def __str__(self) -> str:
        failed = f"  FAILURES {self.failures}" if self.failures else ""
        times = f"p50 {self.p50:6.2f}   p95 {self.p95:6.2f}   p99 {self.p99:6.2f} ms"
        return f"{self.rate:7.0f}/s   {times}   (server {self.server:4.2f} ms CPU){failed}"


def _pid(person: Demographics, cx: str) -> str:
    (name,), (place,) = person.names, person.addresses
    address = f"{place.street}^^{place.city}^^{place.postal_code}^{place.country}"
    told = f"{name.family}^{name.given}^^^^^L||{person.birth_date}|{person.sex}|||{address}||{person.telephones[0]}"
    return f"PID|||{cx}||{told}"


def _adt(event: str, number: str, hospital: int, cx: str, person: Demographics) -> bytes:
    sender = HOSPITALS[hospital].namespace
    return "\r".join(
        (
            f"MSH|^~\\&|ADT|{sender}|XDS|XDS|20260301080000||ADT^{event}^ADT_A01|{number}|P|2.3.1",
            f"EVN|{event}|20260301080000",
            _pid(person, cx),
            "PV1||O",
        )
    ).encode()


def _cx(hospital: int, value: str) -> str:
    return f"{value}^^^{HOSPITALS[hospital].namespace}&{HOSPITALS[hospital].oid}&ISO^PI"


def feeds(people: int, run: int) -> Iterator[bytes]:
    """Six of ten messages tell of somebody new, two of somebody whom another hospital knows, two correct a telephone number."""
    chance = random.Random(run)
    new = 500_000_000 + run * 10_000_000
    for count in range(10**9):
        number, kind = f"M{run}-{count}", chance.random()
        if kind < 0.6:
            new += 1
            hospital, value = identifier(new)
            yield _adt("A01", number, hospital, _cx(hospital, value), somebody(new))
        elif kind < 0.8:
            known = chance.randint(1, people)
            hospital = (known + 1 + count % 7) % len(HOSPITALS)
            yield _adt("A04", number, hospital, _cx(hospital, f"{run}{known:09d}"), somebody(known))
        else:
            known = chance.randint(1, people)
            hospital, value = identifier(known)
            person = somebody(known)
            changed = Demographics(
                person.names, person.birth_date, person.sex, person.addresses, (f"06{chance.randint(10**7, 10**8 - 1)}",)
            )
            yield _adt("A08", number, hospital, _cx(hospital, value), changed)


def queries(people: int, run: int) -> Iterator[bytes]:
    """ITI-9 for people drawn at random, for their identifier in the affinity domain."""
    chance = random.Random(run)
    for count in range(10**9):
        hospital, value = identifier(chance.randint(1, people))
        yield "\r".join(
            (
                f"MSH|^~\\&|VIEWER|CLINIC|XDS|XDS|20260301090000||QBP^Q23^QBP_Q21|Q{run}-{count}|P|2.5",
                f"QPD|IHE PIX Query|T{count}|{_cx(hospital, value)}|^^^{AFFINITY.namespace}&{AFFINITY.oid}&ISO",
                "RCP|I",
            )
        ).encode()


@dataclass(frozen=True, slots=True)
class Load:
    """What one process sends: so many connections, each with so many messages under way, for so many seconds.

    `made` messages are made before the first is sent: the load should cost little while it is measured.
    """

    port: int
    connections: int
    depth: int
    seconds: float
    warm: float
    made: int


class _Connection:
    def __init__(self, port: int, messages: Iterator[bytes], depth: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._messages = messages
        self.begun: deque[float] = deque()
        self._rest = b""
        self.send(depth)

    def send(self, number: int) -> None:
        """Send so many messages together."""
        frames = b"".join(_START + next(self._messages) + _END for _ in range(number))
        now = time.perf_counter()
        self.begun.extend(now for _ in range(number))
        self.socket.sendall(frames)

    def receive(self) -> list[bytes]:
        """The answers that came. Errors: ConnectionError."""
        data = self.socket.recv(1 << 17)
        if not data:
            raise ConnectionError("the server closed the connection")
        *answers, self._rest = (self._rest + data).split(_END)
        return answers


def drive(load: Load, make: Callable[[int, int], Iterator[bytes]], people: int, run: int) -> tuple[list[float], int]:
    """Send, and give the times of the answers in seconds, and how many were no success."""
    made = make(people, run)
    ready = deque(next(made) for _ in range(load.made))
    source = iter(lambda: ready.popleft() if ready else next(made), None)
    poll = select.epoll()
    connections = {}
    for _ in range(load.connections):
        connection = _Connection(load.port, source, load.depth)
        connections[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
    begin = time.perf_counter()
    measured, deadline = begin + load.warm, begin + load.warm + load.seconds
    times: list[float] = []
    failures = 0
    while (now := time.perf_counter()) < deadline:
        for descriptor, _ in poll.poll(5):
            connection = connections[descriptor]
            answers = connection.receive()
            now = time.perf_counter()
            for answer in answers:
                taken = now - connection.begun.popleft()
                if now > measured:
                    times.append(taken)
                failures += b"\rMSA|AA|" not in answer
            connection.send(len(answers))
    return times, failures


def _drive(arguments: tuple[Load, Callable[[int, int], Iterator[bytes]], int, int]) -> tuple[list[float], int]:
    return drive(*arguments)


def _processor_seconds(parent: int) -> float:
    """What a process and its children have taken of a processor."""
    found = 0.0
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for process in (str(parent), *children):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        found += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def measure(server: int, make: Callable[[int, int], Iterator[bytes]], people: int, load: Load, run: int) -> Result:
    """Load from a process of its own; `server` is the server's process."""
    before = _processor_seconds(server)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map(_drive, [(load, make, people, run)])
    spent = (_processor_seconds(server) - before) * 1000
    times = sorted(taken for some, _ in found for taken in some)
    p50, p95, p99 = (times[min(len(times) - 1, int(len(times) * share))] * 1000 for share in (0.5, 0.95, 0.99))
    answers = len(times) * (load.seconds + load.warm) / load.seconds
    return Result(len(times) / load.seconds, p50, p95, p99, sum(failures for _, failures in found), spent / max(answers, 1))


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.identity", description=__doc__)
    parser.add_argument("people", type=int, nargs="+", help="sizes of the register")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--warm", type=float, default=3, help="seconds before the measurement begins")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--depth", type=int, default=2, help="messages under way on each connection")
    parser.add_argument("--processes", type=int, default=1, help="server processes")
    parser.add_argument("--database", default="", metavar="URL", help="`postgresql`, or the URL of one (default: SQLite)")
    parser.add_argument("--register", type=Path, help="a data directory that holds such a register already; it is changed")
    parser.add_argument("--only", choices=("feeds", "queries"), nargs="+", default=("feeds", "queries"))
    arguments = parser.parse_args()
    for people in arguments.people:
        directory = tempfile.TemporaryDirectory(prefix="xds-identity-", ignore_cleanup_errors=True)
        with directory as made, chosen(arguments.database) as databases:
            _measure(arguments, people, Path(made), databases.fresh(f"identity{people}"))
    return 0


def _measure(arguments: argparse.Namespace, people: int, directory: Path, url: str) -> None:
    data = arguments.register or directory / "data"
    if arguments.register is None:
        begin = time.perf_counter()
        fill(data, people, url=url)
        print(f"  {people} people generated in {time.perf_counter() - begin:.0f} s", flush=True)
    settings = {
        "DOMAIN__ASSIGNING_AUTHORITY": AFFINITY.oid or "",
        "SERVER__LOG_LEVEL": "warning",
        "DATABASE__URL": url,
    }
    with RunningServer(data, "--processes", str(arguments.processes), config=None, **settings) as server:
        port = int(str(server.ready["mllp"]).rpartition(":")[2])
        process = server.process.pid if server.process else 0
        # Messages of an earlier run on a register that is kept would be no news.
        run = int(time.time()) % 1000
        for name, make in (("feeds", feeds), ("queries", queries)):
            if name in arguments.only:
                depth = arguments.depth if name == "feeds" else arguments.depth * 4
                messages = int(_MADE[name] * (arguments.seconds + arguments.warm))
                load = Load(port, arguments.connections, depth, arguments.seconds, arguments.warm, messages)
                result = measure(process, make, people, load, run)
                print(f"  {f'{name}, {people} people':28} {result}", flush=True)
    size = sum(item.stat().st_size for item in Path(data).glob("xds.sqlite*"))
    print(f"  database {size / 1e9:.1f} GB", flush=True)
    if arguments.register is None:
        shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
