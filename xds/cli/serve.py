"""`xds serve`: the affinity domain in one process."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import structlog
import typer

from xds import config, logs
from xds.cli.guide import guide_text
from xds.cli.outcome import NoAnswer, Usage
from xds.settings import Settings


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
    demo: Annotated[bool | None, typer.Option("--demo", help="Load a small region of synthetic patients first.")] = None,
    guide: Annotated[
        bool | None,
        typer.Option("--guide/--no-guide", help="Say where everything is. Default: on a terminal.", show_default=False),
    ] = None,
) -> None:
    """Start the affinity domain: registry, repository, image archive, PIX manager.

    When everything listens (and the demo region is loaded), one line of JSON on standard output tells where. Logs go to
    standard error, one JSON object a line. SIGTERM or Ctrl-C finishes the requests in flight.

    **Examples**

    `xds serve --demo` everything with demo content, for this machine only

    `xds serve --data /srv/xds --config /etc/xds.toml` a real one

    `xds serve --data $(mktemp -d) --http-port 0 --mllp-port 0 --dicom-port 0` for a test
    """
    given = {"data": data, "host": host, "http_port": http_port, "mllp_port": mllp_port, "dicom_port": dicom_port, "demo": demo}
    settings = read_settings(config_file, {f"server.{key}": value for key, value in given.items() if value is not None})
    idle = config.without_effect(settings)
    if idle:
        raise Usage(f"this version does not act on {', '.join(idle)} yet; take it out of the configuration to start without it")
    logs.configure(settings.server.log_level)
    _run(settings, guide=sys.stdout.isatty() if guide is None else guide)


def read_settings(config_file: Path | None, overrides: Mapping[str, object]) -> Settings:
    """The settings in force. Errors: Usage."""
    try:
        return config.load(config_file, overrides)
    except config.ConfigError as error:
        raise Usage(str(error)) from error


def _run(settings: Settings, *, guide: bool) -> None:
    from xds.node import Node  # not at the head: `xds --help` need not load the server
    from xds.store.database import DatabaseUnavailableError, DatabaseUrlError, SchemaError

    log = structlog.get_logger()
    signalled = _signals()
    node = Node(settings)
    try:
        endpoints = dict(node.start())
    except config.ConfigError as error:
        raise Usage(str(error)) from error
    except (DatabaseUrlError, SchemaError) as error:
        raise Usage(f"cannot start: {error}") from error
    except DatabaseUnavailableError as error:
        raise NoAnswer(str(error)) from error
    except OSError as error:
        raise Usage(
            f"cannot start: {error}; other ports and another data directory are chosen by flags, see xds serve --help"
        ) from error
    if config.exposed(settings):
        log.warning("open", note=f"no TLS is configured: anybody who reaches {settings.server.host} can read and write")
    else:
        log.info("open", note="the embedded default is open, on loopback only: any program on this machine can read and write")
    threading.Thread(target=_announce, args=(settings, endpoints, guide), daemon=True).start()
    os.read(signalled, 1)
    log.info("stopping")
    node.stop()
    log.info("stopped")


def _signals() -> int:
    """The end of a pipe from which an octet can be read for every SIGTERM and SIGINT from now on.

    A pipe, because a handler may interrupt the main thread while it holds whatever lock a condition would need.
    """
    reader, writer = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: os.write(writer, b"."))
    return reader


def _announce(settings: Settings, endpoints: dict[str, object], guide: bool) -> None:
    if settings.server.demo:
        endpoints["demo"] = _load_demo(endpoints)
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
