"""`xds serve`: the affinity domain, in one process or in several."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import structlog
import typer

from xds import config, logs
from xds.cli.guide import guide_text
from xds.cli.outcome import NoAnswer, Usage
from xds.cli.starting import data_directory
from xds.cli.stores import read_settings
from xds.settings import Settings

if TYPE_CHECKING:
    from xds.node import Node
    from xds.server.processes import StartError

#: Objects that may come into being, more than go, before the collector looks for those that hold one another.
_NEW_OBJECTS: Final = 50_000


def serve(
    config_file: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings. Default: xds.toml in the working directory, if any."),
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Data directory. Default: .data")] = None,
    host: Annotated[str | None, typer.Option(help="Address of all listeners. Default: 127.0.0.1")] = None,
    http_port: Annotated[int | None, typer.Option(help="HTTP. Default: 8080; 0 picks a free one.")] = None,
    mllp_port: Annotated[int | None, typer.Option(help="HL7 v2 over MLLP. Default: 2575; 0 picks a free one.")] = None,
    dicom_port: Annotated[int | None, typer.Option(help="DICOM. Default: 11112; 0 picks a free one.")] = None,
    processes: Annotated[
        int | None, typer.Option(help="Server processes that share the ports. Default: 1; as many as there are processors.")
    ] = None,
    demo: Annotated[bool | None, typer.Option("--demo", help="Load a small region of synthetic patients first.")] = None,
    guide: Annotated[
        bool | None,
        typer.Option("--guide/--no-guide", help="Say where everything is. Default: on a terminal.", show_default=False),
    ] = None,
) -> None:
    """Start the affinity domain: registry, repository, image archive, PIX manager.

    When everything listens (and the demo region is loaded), one line of JSON on standard output tells where; of a large database
    it comes up to 30 s later, when that is in memory. Logs go to
    standard error, one JSON object a line. SIGTERM or Ctrl-C finishes the requests in flight.

    **Examples**

    `xds serve --demo` everything with demo content, for this machine only

    `xds serve --data /srv/xds --config /etc/xds.toml` a real one

    `xds serve --data $(mktemp -d) --http-port 0 --mllp-port 0 --dicom-port 0` for a test
    """
    ports = {"http_port": http_port, "mllp_port": mllp_port, "dicom_port": dicom_port}
    given = {"data": data, "host": host, **ports, "processes": processes, "demo": demo}
    settings = read_settings(config_file, {f"server.{key}": value for key, value in given.items() if value is not None})
    idle = config.without_effect(settings)
    if idle:
        raise Usage(f"this version does not act on {', '.join(idle)} yet; take it out of the configuration to start without it")
    logs.configure(settings.server.log_level)
    run = _run if settings.server.processes == 1 else _run_in_processes
    with data_directory(settings):
        run(settings, guide=sys.stdout.isatty() if guide is None else guide)


def _run(settings: Settings, *, guide: bool) -> None:
    from xds.node import Node
    from xds.server.processes import StartError, signals

    log = structlog.get_logger()
    signalled = signals()
    serving = _Serving(settings, lambda: Node(settings), is_first=True, is_last=True)
    try:
        serving.start()
    except StartError as error:
        raise _outcome(error) from error
    _tell_who_can_reach_it(settings)
    stopping = threading.Event()

    def announce() -> None:
        endpoints = serving.complete()
        if not stopping.is_set():
            _announce(endpoints, guide)

    threading.Thread(target=announce, daemon=True).start()
    os.read(signalled, 1)
    stopping.set()
    log.info("stopping")
    serving.stop()
    log.info("stopped")


def _run_in_processes(settings: Settings, *, guide: bool) -> None:
    log = structlog.get_logger()
    with tempfile.TemporaryDirectory(prefix="xds-metrics-") as counted:
        # Before anything imports the library that reads it.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = counted
        from prometheus_client.multiprocess import mark_process_dead

        from xds.node import Among, Node, listening
        from xds.server.listener import Shared
        from xds.server.processes import Processes, StartError, reserve, signals

        server = settings.server
        signalled = signals()
        try:
            held = listening("http", server, lambda: reserve(server.host, server.http_port))
            mllp = listening("mllp", server, lambda: Shared.among(server.host, server.mllp_port, server.processes))
            dicom = listening("dicom", server, lambda: Shared.among(server.host, server.dicom_port, server.processes))
        except OSError as error:
            raise Usage(f"cannot start: {_told(error)}") from error
        port = held.getsockname()[1]

        def make(number: int, told: Mapping[str, Any]) -> _Serving:
            # Ctrl-C reaches everybody at the terminal; it is for the parent, which tells the others by SIGTERM.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            among = Among(port, mllp, dicom, number, told)
            known = _with_ports(settings, told)
            is_last = number == server.processes - 1
            return _Serving(known, lambda: Node(known, among), is_first=number == 0 and not told, is_last=is_last)

        processes = Processes(server.processes, make, signalled, ended=mark_process_dead)
        # What was loaded until here is the same in all of them: the collector must not touch, and so copy, it.
        _spare_collector()
        try:
            endpoints = processes.start()
        except StartError as error:
            raise _outcome(error) from error
        if endpoints is not None:
            _tell_who_can_reach_it(settings)
            _announce(endpoints, guide)
            processes.run()
        log.info("stopping")
        processes.stop()
        held.close()
        mllp.listening.close()
        dicom.listening.close()
    log.info("stopped")


class _Serving:
    """A node, and the demo region where the first node of all has to load it.

    The last one brings the database into memory: all of them serve meanwhile.
    """

    def __init__(self, settings: Settings, make: Callable[[], Node], *, is_first: bool, is_last: bool) -> None:
        self._make = make
        self._loads_demo = is_first and settings.server.demo
        self._warms_up = is_last
        self._node: Node | None = None
        self._endpoints: dict[str, object] = {}

    def start(self) -> None:
        """Errors: StartError."""
        from sqlalchemy.exc import DatabaseError

        from xds.server.processes import StartError
        from xds.store.database import DatabaseUnavailableError, DatabaseUrlError, SchemaError

        self._node = self._make()
        try:
            self._endpoints = dict(self._node.start())
        except config.ConfigError as error:
            raise StartError(str(error)) from error
        except DatabaseUnavailableError as error:
            raise StartError(str(error), is_absent=True) from error
        except (DatabaseUrlError, SchemaError, OSError) as error:
            raise StartError(f"cannot start: {_told(error)}") from error
        except DatabaseError as error:
            raise StartError(f"cannot start: the database cannot be used: {error.orig}") from error
        # What is there now stays. Going through all of it took the collector 80 ms, in which every request waited.
        _spare_collector()

    def complete(self) -> dict[str, object]:
        """Load the demo region, if that is asked for, and warm up; gives the endpoints."""
        if self._loads_demo:
            self._endpoints["demo"] = _load_demo(self._endpoints)
        if self._warms_up and self._node is not None:
            self._node.warm_up()
        return self._endpoints

    def stop(self) -> None:
        if self._node is not None:
            self._node.stop()


def _spare_collector() -> None:
    """Keep the collector away from what is there already, and from requests while few of their objects outlive them.

    Looking through every 700 of them, as Python does by itself, took 7 % of a registration.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 20)


def _with_ports(settings: Settings, endpoints: Mapping[str, Any]) -> Settings:
    """The settings with the ports of these endpoints, where they are known."""
    ports = {f"{name}_port": int(str(endpoints[name]).rpartition(":")[2]) for name in ("mllp", "dicom") if name in endpoints}
    return settings.model_copy(update={"server": settings.server.model_copy(update=ports)})


def _told(error: Exception) -> str:
    """What an error says, without the number that Python puts before it."""
    return str(error).removeprefix(f"[Errno {error.errno}] ") if isinstance(error, OSError) else str(error)


def _outcome(error: StartError) -> Exception:
    return NoAnswer(str(error)) if error.is_absent else Usage(str(error))


def _tell_who_can_reach_it(settings: Settings) -> None:
    log = structlog.get_logger()
    if config.exposed(settings):
        log.warning("open", note=f"no TLS is configured: anybody who reaches {settings.server.host} can read and write")
    else:
        log.info("open", note="the embedded default is open, on loopback only: any program on this machine can read and write")
    if settings.server.host in {"0.0.0.0", "::"} and not settings.server.public_url:
        log.warning("public_url", note=f"manifests and WSDLs send partners to {settings.server.host}: set server.public_url")


def _announce(endpoints: Mapping[str, object], guide: bool) -> None:
    print(json.dumps({"event": "ready", **endpoints}, ensure_ascii=False), flush=True)
    if guide:
        print(guide_text(endpoints), flush=True)


def _load_demo(endpoints: Mapping[str, object]) -> str:
    """Load the demo region into the server that runs: `loaded`, `present` or `incomplete`."""
    from xds.demo.load import DemoError, load

    log = structlog.get_logger()
    try:
        loaded = load(endpoints)
    except (DemoError, OSError) as error:
        log.error("demo region incomplete", problem=str(error))
        return "incomplete"
    if loaded is None:
        return "present"
    log.info("demo region loaded", **loaded)
    return "loaded"
