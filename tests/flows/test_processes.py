"""`xds serve --processes N`: one address, several processes, and what happens when one of them dies."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.builders import ASSIGNING_AUTHORITY, submission
from tests.flows.partners import feed, mllp
from tests.running import RunningServer
from xds.pacs.association import connect
from xds.transactions import iti42_register_document_set as iti42
from xds.wire.dicom import IMPLICIT_LITTLE
from xds.wire.dimse import Command, Field, Message, Status
from xds.wire.dimse_classes import VERIFICATION

SETTINGS = {"DOMAIN__ASSIGNING_AUTHORITY": ASSIGNING_AUTHORITY, "REGISTRY__REQUIRE_KNOWN_PATIENT": "false"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path_factory.mktemp("several") / "data", "--processes", "2", **SETTINGS).start()
    yield running
    assert running.stop() == 0


def children(server: RunningServer) -> list[int]:
    """The server processes, the one with all listeners first."""
    assert server.process is not None
    pid = server.process.pid
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    # Not by their numbers, which begin anew when they are used up.
    return sorted(found, key=started)


def started(pid: int) -> int:
    """When a process was started, in ticks since the machine was. Spec: proc(5), field 22 of stat."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return 0


def eventually(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def register(server: RunningServer) -> bool:
    return iti42.send(submission(), endpoint=f"{server.http}/services/registry").succeeded


def is_answered(server: RunningServer) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{server.http}/health/ready", timeout=60).status_code == 200
    return False


def counted(server: RunningServer) -> float:
    metrics = httpx.get(f"{server.http}/metrics", timeout=60).text
    found = re.search(r'^xds_requests_total\{outcome="ok",transaction="ITI-42"\} (\S+)$', metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


def places(process: int) -> set[str]:
    """The processors that the threads of a process may use. Spec: proc(5), Cpus_allowed_list of status."""
    tasks = Path(f"/proc/{process}/task").glob("*/status")
    return {line.split()[1] for task in tasks for line in task.read_text().splitlines() if line.startswith("Cpus_allowed_list:")}


def test_feeds_keep_to_the_processor_of_their_process_where_each_has_one(server: RunningServer) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    for process, own in zip(children(server), allowed, strict=False):
        alone = places(process) & set(map(str, allowed))
        assert alone == ({str(own)} if len(allowed) == 2 else set())


def test_all_of_them_write_and_their_metrics_are_one(server: RunningServer) -> None:
    before = counted(server)
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: register(server), range(40)))
    eventually(lambda: counted(server) == before + 40)


def test_a_process_that_dies_is_replaced_and_others_answer_meanwhile(server: RunningServer) -> None:
    first, second = children(server)
    os.kill(second, signal.SIGKILL)
    eventually(lambda: second not in children(server) and len(children(server)) == 2)
    assert first in children(server)
    eventually(lambda: is_answered(server))
    # Each request is a connection of its own, so that all of them are asked.
    assert all(is_answered(server) for _ in range(20))
    assert register(server)


def test_the_first_one_comes_back_with_all_listeners_at_their_ports(server: RunningServer) -> None:
    first = children(server)[0]
    host, _, port = server.mllp.rpartition(":")
    os.kill(first, signal.SIGKILL)

    def listens(address: tuple[str, int]) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=60):
            return True
        return False

    eventually(lambda: first not in children(server))
    eventually(lambda: len(children(server)) == 2)
    assert listens((host, int(port)))
    assert listens(server.dicom[1:])


def test_requests_in_flight_are_finished_at_the_end(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "data", "--processes", "2", **SETTINGS).start()
    with ThreadPoolExecutor(8) as threads:
        registered = [threads.submit(register, server) for _ in range(30)]
        eventually(lambda: sum(each.done() for each in registered) >= 6)
        assert server.stop() == 0
    outcomes = [future.exception() or future.result() for future in registered]
    assert outcomes.count(True) >= 6
    assert all(outcome is True or isinstance(outcome, ConnectionError) for outcome in outcomes)


def test_they_end_with_their_parent(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "data", "--processes", "2").start()
    orphans = children(server)
    server.kill()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans))
    assert not is_answered(server)
    server.stop()


def test_a_port_that_another_server_shares_is_taken(server: RunningServer, tmp_path: Path) -> None:
    port = server.http.rpartition(":")[2]
    second = RunningServer(tmp_path / "data", "--processes", "2", "--http-port", port)
    with pytest.raises(AssertionError, match="no ready line"):
        second.start()
    assert second.stop() == 2


def test_what_keeps_the_first_one_from_starting_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = RunningServer(tmp_path / "data", "--processes", "2", "--mllp-port", str(taken.getsockname()[1]))
        with pytest.raises(AssertionError, match="no ready line"):
            server.start()
        assert server.stop() == 2
    assert "cannot start" in (server.data / "server.log").read_text("utf-8")


def test_what_waits_is_shown_once_for_all_processes(server: RunningServer) -> None:
    lines = httpx.get(f"{server.http}/metrics", timeout=60).text.splitlines()
    for name in (
        'xds_jobs_given_up{kind="sweep-blobs"}',
        'xds_studies{state="unresolved"}',
        'xds_identity_reviews{kind="candidate"}',
    ):
        assert [line for line in lines if line.startswith(name)] == [f"{name} 0.0"]


def test_hl7_v2_and_dicom_are_counted_too(server: RunningServer) -> None:
    def all_counted() -> bool:
        lines = httpx.get(f"{server.http}/metrics", timeout=60).text
        wanted = (("ITI-8", "ok"), ("ITI-9", "fault"), ("C-ECHO", "ok"))
        return all(f'xds_requests_total{{outcome="{outcome}",transaction="{name}"}}' in lines for name, outcome in wanted)

    patient = f"C1^^^&{ASSIGNING_AUTHORITY}&ISO"
    feed(server, patient)
    header = "MSH|^~\\&|EHR|HOSP|PIX|REG|20260115||QBP^Q23^QBP_Q21|7|P|2.5"
    assert mllp(server, header, f"QPD|IHE PIX Query|t1|UNKNOWN^^^&{ASSIGNING_AUTHORITY}&ISO", "RCP|I")[1][1] == "AE"
    title, host, port = server.dicom
    association = connect(host, port, 60)
    association.request("TEST", title, [(VERIFICATION, (IMPLICIT_LITTLE,))])
    number = association.context_of(VERIFICATION)
    assert number is not None
    request = Message(Command.C_ECHO, {Field.AFFECTED_SOP_CLASS: VERIFICATION, Field.MESSAGE_ID: 1}, False)
    association.send(number, request)
    assert association.response(request).message.number(Field.STATUS) == Status.SUCCESS
    association.release()
    eventually(all_counted)
