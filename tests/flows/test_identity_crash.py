"""Feeds under `kill -9`: no acknowledged message is lost, no merge is there by half; and a subscriber who is away."""

from __future__ import annotations

import os
import random
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.flows.test_processes import children
from tests.running import RunningServer
from xds.store.database import open_database
from xds.store.patients import Patients

HOSPITALS = {"HOSP_A": "1.2.250.1.72.1", "HOSP_B": "1.2.250.1.72.2"}
AFFINITY = "1.2.250.1.72.9"
SOURCES = 6
ACKNOWLEDGED_BEFORE_THE_KILL = 60
FAMILIES = ("MARTIN", "BERNARD", "THOMAS", "PETIT", "ROBERT", "RICHARD", "DURAND", "DUBOIS", "MOREAU", "LAURENT")
GIVENS = ("LUCIE", "HUGO", "AGATHE", "PIERRE", "NADIA", "OSCAR", "SOLENE", "YVES", "CAMILLE", "BRUNO")


def running(data: Path, **more: str) -> RunningServer:
    return RunningServer(data, DOMAIN__ASSIGNING_AUTHORITY=AFFINITY, **more)


class Connection:
    """A kept MLLP connection."""

    def __init__(self, server: RunningServer) -> None:
        host, _, port = str(server.ready["mllp"]).rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        self._rest = b""

    def ask(self, *segments: str) -> list[list[str]]:
        """Send a message; the fields of the answer's segments. Errors: ConnectionError, OSError."""
        self._socket.sendall(b"\x0b" + "\r".join(segments).encode() + b"\x1c\r")
        while b"\x1c\r" not in self._rest:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError
            self._rest += data
        frame, _, self._rest = self._rest.partition(b"\x1c\r")
        return [segment.split("|") for segment in frame[1:].decode().split("\r") if segment]

    def close(self) -> None:
        self._socket.close()


def cx(hospital: str, value: str) -> str:
    return f"{value}^^^{hospital}&{HOSPITALS[hospital]}&ISO"


@dataclass
class Attempt:
    """A person whom two hospitals feed, and a duplicate of hers that the first one merges: as far as it was acknowledged."""

    number: str
    acknowledged: list[str] = field(default_factory=list)

    def send(self, connection: Connection) -> None:
        """Errors: OSError when the server dies."""
        digits = sum(map(ord, self.number)) + int(self.number.split("-")[1])
        family, given = FAMILIES[digits % 10], GIVENS[digits // 10 % 10]
        person = (
            f"{family}^{given}||19{30 + digits % 60}0{1 + digits % 9}1{digits % 9}|F|||{digits} RUE HAUTE^^ORLEANS^^45000^FRA"
        )
        for step, event, hospital, value, *merged in (
            ("A", "A01", "HOSP_A", f"{self.number}A"),
            ("B", "A04", "HOSP_B", f"{self.number}B"),
            ("D", "A01", "HOSP_A", f"{self.number}D"),
            ("M", "A40", "HOSP_A", f"{self.number}A", f"{self.number}D"),
        ):
            answer = connection.ask(
                f"MSH|^~\\&|ADT|{hospital}|PIX|XDS|20260301080000||ADT^{event}|{self.number}{step}|P|2.3.1",
                f"EVN|{event}|20260301080000",
                f"PID|||{cx(hospital, value)}||{person}",
                f"MRG|{cx(hospital, merged[0])}" if merged else "PV1||O",
            )
            assert answer[1][1] == "AA", answer
            self.acknowledged.append(step)


def feed_until_it_dies(server: RunningServer, seed: int, attempts: list[Attempt], acknowledged: threading.Semaphore) -> None:
    with suppress(OSError), closing(Connection(server)) as connection:
        for count in range(10_000):
            attempt = Attempt(f"{seed}-{count}-")
            attempts.append(attempt)
            attempt.send(connection)
            acknowledged.release()


def known(connection: Connection, hospital: str, value: str) -> list[str] | None:
    """The other identifiers of a person as a PIX query tells them; None when the identifier is not known."""
    answer = connection.ask(
        f"MSH|^~\\&|VIEWER|CLINIC|PIX|XDS|20260301090000||QBP^Q23^QBP_Q21|Q{random.random()}|P|2.5",
        f"QPD|IHE PIX Query|tag|{cx(hospital, value)}|^^^HOSP_A&{HOSPITALS['HOSP_A']}&ISO~^^^XDS&{AFFINITY}&ISO",
        "RCP|I",
    )
    if answer[1][1] == "AE":
        return None
    return [item.split("^")[0] for item in answer[-1][3].split("~")] if answer[-1][0] == "PID" else []


def check(connection: Connection, attempt: Attempt) -> None:
    """Whatever was acknowledged is there, and nothing by half. Errors: AssertionError."""
    one, duplicate = f"{attempt.number}A", f"{attempt.number}D"
    for step, hospital in (("A", "HOSP_A"), ("B", "HOSP_B")):
        if step in attempt.acknowledged:
            told = known(connection, hospital, f"{attempt.number}{step}")
            assert told is not None, f"{attempt.number}{step} was acknowledged and is lost"
            # Whoever is known has exactly one identifier of the affinity domain in use.
            assert len([item for item in told if item.startswith("P")]) == 1, told
    assert duplicate not in (known(connection, "HOSP_A", one) or []) or "M" not in attempt.acknowledged
    if known(connection, "HOSP_A", duplicate) is not None:
        assert "M" not in attempt.acknowledged, f"the merge of {attempt.number} was acknowledged and is lost"
    elif "D" in attempt.acknowledged:
        # What was subsumed is as unknown as what never was, but nothing can be said of it.
        answer = connection.ask(
            f"MSH|^~\\&|ADT|HOSP_A|PIX|XDS|20260301080000||ADT^A08|{attempt.number}L|P|2.3.1",
            "EVN|A08|20260301080000",
            f"PID|||{cx('HOSP_A', duplicate)}||X",
            "PV1||O",
        )
        assert answer[1][1] == "AE", f"{duplicate} was acknowledged and is lost"


@pytest.mark.parametrize("processes", ["1", "2"])
def test_no_acknowledged_feed_is_lost_and_no_merge_is_there_by_half(tmp_path: Path, processes: str) -> None:
    """With two processes candidates are looked up before the turn to write, once both have written some times."""
    for round_number in range(2):
        attempts: list[Attempt] = []
        acknowledged = threading.Semaphore(0)
        with running(tmp_path, SERVER__PROCESSES=processes) as server:
            sources = [
                threading.Thread(
                    target=feed_until_it_dies, args=(server, 100 * (round_number + 1) + number, attempts, acknowledged)
                )
                for number in range(SOURCES)
            ]
            for source in sources:
                source.start()
            for _ in range(ACKNOWLEDGED_BEFORE_THE_KILL):
                assert acknowledged.acquire(timeout=120), "the server does not acknowledge"
            assert server.process is not None
            # The parent replaces nobody meanwhile.
            server.process.send_signal(signal.SIGSTOP)
            for victim in children(server) if processes != "1" else ():
                os.kill(victim, signal.SIGKILL)
            server.kill()
            for source in sources:
                source.join(60)
            server.stop()
        with running(tmp_path) as server, closing(Connection(server)) as connection:
            for attempt in attempts:
                check(connection, attempt)
    consistent(tmp_path)


def consistent(data: Path) -> None:
    """In the tables themselves: every record has a cluster, a statement and an identifier; every merge has its survivor."""
    database = open_database(f"sqlite:///{data / 'xds.sqlite'}")
    with database.read() as connection:
        patients = Patients(connection)
        keys = range(1, patients.last_person() + 1)
        clusters = patients.cluster_of(keys)
        identities = patients.identities(list(keys))
        assert set(clusters) == set(keys) == set(patients.statements(list(keys))) == {item.person_key for item in identities}
        for item in identities:
            if item.subsumed_by is not None:
                survivor = patients.identity(item.domain_key, item.subsumed_by)
                assert survivor is not None
                assert clusters[survivor.person_key] == clusters[item.person_key]
    database.close()


class Subscriber:
    """A PIX Consumer that notes what it is told: once, however often it is sent."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, daemon=True)

    @property
    def told(self) -> list[str]:
        """PID-3 of each notification, in their order."""
        return list(self._told.values())

    def start(self) -> None:
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # The server may have given up long before somebody answers here.
            with connection, suppress(OSError):
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        data = b""
        while piece := connection.recv(65536):
            data += piece
            if data.endswith(b"\x1c\r"):
                segments = data[1:-2].decode().split("\r")
                number = segments[0].split("|")[9]
                self._told.setdefault(number, next(item for item in segments if item.startswith("PID")).split("|")[3])
                answer = f"MSH|^~\\&|B|B|XDS|XDS|20260301080000||ACK^A31^ACK|1|P|2.5\rMSA|AA|{number}"
                connection.sendall(b"\x0b" + answer.encode() + b"\x1c\r")
                data = b""

    def close(self) -> None:
        # A thread that waits in accept() is not woken by closing the socket alone.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._thread.ident is not None:
            self._thread.join(30)


def waiting_for(data: Path, subscriber: str) -> int:
    """How many notifications wait for a subscriber, by the server's own tables."""
    with closing(sqlite3.connect(f"file:{data / 'xds.sqlite'}?mode=ro", uri=True, timeout=60)) as database:
        statement = "SELECT count(*) FROM identity_notification WHERE subscriber = ?"
        return int(database.execute(statement, (subscriber,)).fetchone()[0])


def test_a_dead_subscriber_neither_blocks_nor_loses(tmp_path: Path) -> None:
    """One subscriber answers and one does not: feeds and the first go on; the second gets everything when it is back."""
    alive, dead = Subscriber(), Subscriber()
    alive.start()
    data, config = tmp_path / "data", tmp_path / "xds.toml"
    config.write_text(
        "".join(
            f'[[identity.subscribers]]\nname = "{name}|PIX"\nendpoint = "mllp://127.0.0.1:{each.port}"\ndomains = ["HOSP_A"]\n'
            for name, each in (("ALIVE", alive), ("DEAD", dead))
        )
    )
    with closing(alive), closing(dead), running(data, config=config) as server, closing(Connection(server)) as connection:
        for number in range(5):
            Attempt(f"7-{number}-").send(connection)
        wait_for(lambda: not waiting_for(data, "ALIVE|PIX"))
        assert len(alive.told) >= 10
        assert dead.told == []
        assert waiting_for(data, "DEAD|PIX") == len(alive.told)
        dead.start()
        wait_for(lambda: not waiting_for(data, "DEAD|PIX"))
        assert dead.told == alive.told


def wait_for(condition: Callable[[], bool], seconds: float = 600) -> None:
    """Errors: AssertionError. A subscriber that does not answer is waited for half a minute, and tried again ever later."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)
