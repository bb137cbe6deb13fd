"""A real `xds serve` process on free loopback ports, for tests that need the whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class RunningServer:
    """Starts `xds serve` on a data directory and waits for its ready line; ends it with SIGTERM.

    The log goes to `<data>/server.log`. Keyword arguments become `XDS__…` environment variables,
    with `__` between section and key: `RunningServer(path, DOMAIN__ASSIGNING_AUTHORITY="1.2.3")`.
    """

    def __init__(self, data: Path, *arguments: str, config: Path | None = None, **settings: str) -> None:
        self.data = data
        self._command = [sys.executable, "-m", "xds", "serve", "--data", str(data)]
        self._command += ["--http-port", "0", "--mllp-port", "0", "--dicom-port", "0"]
        if config:
            self._command += ["--config", str(config)]
        self._command += arguments
        self._environment = os.environ | {f"XDS__{name}": value for name, value in settings.items()}
        self.process: subprocess.Popen[str] | None = None
        self.ready: dict[str, Any] = {}

    def start(self, seconds: float = 300) -> Self:
        """Start and wait. Errors: AssertionError with the log when the ready line does not come."""
        self.data.mkdir(parents=True, exist_ok=True)
        self.ready = {}
        log = self.data / "server.log"
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=self._environment
            )
        watchdog = threading.Timer(seconds, self.process.kill)
        watchdog.start()
        try:
            assert self.process.stdout is not None
            for line in self.process.stdout:
                if line.startswith("{"):
                    self.ready = json.loads(line)
                    break
        finally:
            watchdog.cancel()
        if self.ready.get("event") != "ready":
            self.kill()
            self.process.stdout.close()
            raise AssertionError(f"no ready line; log:\n{log.read_text()[-4000:]}")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        return self

    def kill(self) -> None:
        """End it at once, as a crash would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)

    def stop(self, seconds: float = 120) -> int:
        """Ask it to end and return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    @property
    def http(self) -> str:
        """The base URL without a trailing slash."""
        return str(self.ready["http"]).rstrip("/")

    @property
    def mllp(self) -> str:
        """host:port."""
        return str(self.ready["mllp"])

    @property
    def dicom(self) -> tuple[str, str, int]:
        """(AE title, host, port)."""
        title, _, address = str(self.ready["dicom"]).partition("@")
        host, _, port = address.rpartition(":")
        return title, host, int(port)

    def resident_memory(self) -> int:
        """Resident memory of the process in bytes."""
        assert self.process is not None
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
