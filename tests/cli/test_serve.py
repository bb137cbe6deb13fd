"""`xds serve`: ready line, logs, demo region, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import httpx
import psutil
import pytest
from structlog.testing import capture_logs

from tests.cli.commands import Commands
from tests.running import RunningServer
from xds import config
from xds.cli.serve import _tell_who_can_reach_it

#: What is written when a client has its answer already.
OF_REQUESTS = {"http.request"}
LOCAL = "A0001^^^&2.999.10&ISO"


def log_of(server: RunningServer) -> list[dict[str, object]]:
    """The log, in which every line must be a JSON object."""
    return [json.loads(line) for line in (server.data / "server.log").read_text("utf-8").splitlines()]


def event_of(line: dict[str, object]) -> str:
    return str(line["event"])


def get(url: str) -> str:
    return httpx.get(url, timeout=60).raise_for_status().text


def test_ready_line_log_and_end(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "data").start()
    assert server.ready["event"] == "ready"
    assert server.http.startswith("http://127.0.0.1:")
    assert server.mllp.startswith("127.0.0.1:")
    assert server.dicom[:2] == ("XDS", "127.0.0.1")
    assert "demo" not in server.ready
    assert get(f"{server.http}/health/ready")
    assert "Affinity domain" in get(f"{server.http}/")
    assert "default-src" not in get(f"{server.http}/static/portal.css")
    assert server.stop() == 0
    log = log_of(server)
    assert any(item["event"] == "open" and "loopback only" in str(item["note"]) for item in log)
    assert [event for event in map(event_of, log) if event not in OF_REQUESTS][-2:] == ["stopping", "stopped"]
    assert all({"level", "timestamp"} <= item.keys() for item in log)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_address_that_no_partner_can_come_to_is_told(host: str) -> None:
    with capture_logs() as log:
        _tell_who_can_reach_it(config.load(None, {"server.host": host}))
        _tell_who_can_reach_it(config.load(None, {"server.host": host, "server.public_url": "http://xds.example"}))
    assert [item["event"] for item in log] == ["open", "public_url", "open"]
    assert f"send partners to {host}: set server.public_url" in log[1]["note"]


def test_interrupt_ends_it_as_well(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "data").start()
    assert server.process is not None
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(120) == 0
    server.stop()


def test_ctrl_c_ends_several_processes_too(tmp_path: Path) -> None:
    """A terminal sends it to all of them; only the parent heeds it, and tells the others."""
    server = RunningServer(tmp_path / "data", "--processes", "2").start()
    assert server.process is not None
    children = psutil.Process(server.process.pid).children()
    assert len(children) == 2
    for child in children:
        child.send_signal(signal.SIGINT)
    assert get(f"{server.http}/health/live")
    for process in (*children, server.process):
        process.send_signal(signal.SIGINT)
    assert server.process.wait(120) == 0
    server.stop()
    events = [event for event in map(event_of, log_of(server)) if event not in OF_REQUESTS]
    assert events[-2:] == ["stopping", "stopped"]
    assert [event for event in events if event.startswith("process.")] == []


def test_a_taken_port_is_wrong_usage(xds: Commands, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = RunningServer(tmp_path / "data", "--mllp-port", str(taken.getsockname()[1]))
        with pytest.raises(AssertionError, match="no ready line"):
            server.start()
        assert server.stop() == 2
        told = (
            f"cannot start: MLLP cannot listen at port {taken.getsockname()[1]} of 127.0.0.1: Address already in use; --mllp-port"
        )
    assert told in (server.data / "server.log").read_text("utf-8")


@pytest.mark.parametrize("name", ["http", "dicom"])
def test_each_port_is_named(tmp_path: Path, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        server = RunningServer(tmp_path / "data", f"--{name}-port", port)
        with pytest.raises(
            AssertionError, match=f"cannot start: {name.upper()} cannot listen at port {port} of 127.0.0.1: Address"
        ):
            server.start()
        assert server.stop() == 2


def test_two_servers_do_not_share_an_embedded_database(xds: Commands, tmp_path: Path) -> None:
    ports = ("--http-port", "0", "--mllp-port", "0", "--dicom-port", "0")
    with RunningServer(tmp_path / "data") as server:
        assert server.process is not None
        refused = xds("serve", "--data", str(tmp_path / "data"), *ports)
        assert refused.code == 2
        assert f"another server uses the data directory {tmp_path / 'data'} (process {server.process.pid})" in refused.err
        assert "--data" in refused.err
        server.kill()
        server.stop()
    with RunningServer(tmp_path / "data") as server:
        assert server.ready


def test_a_data_directory_that_is_none(xds: Commands, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for data in (tmp_path / "file", tmp_path / "file" / "below"):
        refused = xds("serve", "--data", str(data))
        assert refused.code == 2
        assert f"the data directory {data} cannot be used: it is no directory; --data chooses another" in refused.err


def test_demo_region_is_loaded_once_and_completed_after_an_interruption(xds: Commands, tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", "--demo") as server:
        assert server.ready["demo"] == "loaded"
        assert server.process is not None
        used = psutil.Process(server.process.pid).cpu_times()
        assert used.user + used.system < 60
        found = xds("send", "iti18", "FindDocuments", "--to", server.http, "--local", LOCAL, "--pix", server.mllp, "--json")
        objects = json.loads(found.out)["objects"]
        assert sorted(item["title"] for item in objects) == [
            "CT Chest",
            "Discharge summary",
            "MR Knee",
            "Report: CT of the chest",
            "Report: MR of the knee",
        ]
        portal = get(f"{server.http}/")
    (loaded,) = [item for item in log_of(server) if item["event"] == "demo region loaded"]
    assert (loaded["messages"], loaded["images"], loaded["documents"]) == (75, 38, 15)

    with RunningServer(tmp_path / "data", "--demo") as again:
        assert again.ready["demo"] == "present"
        assert _counts(get(f"{again.http}/")) == _counts(portal)


def test_duplicate_record_is_merged_and_the_corrected_report_replaces_the_first(xds: Commands, tmp_path: Path) -> None:
    with RunningServer(tmp_path / "data", "--demo") as server:
        query = ("send", "iti09", "--to", server.mllp, "--domain", "XDS", "--patient")
        assert xds(*query, "A0006^^^&2.999.10&ISO").rows != []
        # The number of the record that was merged is not known any more.
        assert xds(*query, "A9001^^^&2.999.10&ISO").code == 1
        replaced = ("--local", "A0001^^^&2.999.10&ISO", "--pix", server.mllp, "XDSDocumentEntryStatus=Deprecated")
        found = xds("send", "iti18", "FindDocuments", "--to", server.http, *replaced)
        assert [row[1] for row in found.rows] == ["Report: MR of the knee"]


def _counts(page: str) -> list[str]:
    return [line.strip() for line in page.splitlines() if "<dt>" in line]
