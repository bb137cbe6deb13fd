"""A real PostgreSQL server of the test's own, from the packaged programs: on loopback alone, in a directory that is thrown away.

The server that a distribution starts by itself is never touched.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from tests.ports import free_port

#: Where Debian and its descendants keep the programs, beside those on the path.
PACKAGED = Path("/usr/lib/postgresql")

#: Everything durable as in production, and nothing that others could reach.
SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "logging_collector": "off",
}


def program_directory() -> Path | None:
    """The folder of `initdb` and `postgres`, of the newest version that is installed; None when there is none."""
    found = shutil.which("postgres")
    if found and (Path(found).parent / "initdb").exists():
        return Path(found).parent
    versions = sorted(
        (path for path in PACKAGED.glob("*/bin") if (path / "postgres").exists() and (path / "initdb").exists()),
        key=lambda path: float(path.parent.name),
    )
    return versions[-1] if versions else None


class PostgresqlServer:
    """One server with its data in a temporary directory, ended in the end. `settings` go before `SERVER_SETTINGS`."""

    def __init__(self, programs: Path, **settings: str) -> None:
        # Not below the temporary directories of pytest, which it closes to every other user.
        self._temporary = tempfile.TemporaryDirectory(prefix="xds-postgresql-", ignore_cleanup_errors=True)
        self.directory = Path(self._temporary.name)
        self.port = free_port()
        self._programs = programs
        self._settings = SERVER_SETTINGS | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of one of its databases."""
        return f"postgresql+psycopg://xds@127.0.0.1:{self.port}/{database}"

    def start(self) -> Self:
        """Start it, for the first time or again, and wait until it answers."""
        data = self.directory / "data"
        if not data.exists():
            self._give_to_server(self.directory)
            options = ["--username=xds", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
            self._run(["initdb", f"--pgdata={data}", *options])
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(["postgres", "-D", str(data), "-p", str(self.port), *options]),
                stdout=log,
                stderr=log,
                cwd=self.directory,
                **self._identity(),  # type: ignore[call-overload]
            )
        self._wait()
        return self

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT breaks the connections off in good order, SIGQUIT is the crash."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(60)

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements outside of transactions."""
        with psycopg.connect(self._conninfo(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def create_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def empty(self, url: str) -> None:
        """Remove all rows from a database, which is faster than making another; keys begin at 1 again."""
        self.execute(_EMPTY, database=url.rpartition("/")[2])

    def _conninfo(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=xds dbname={database} connect_timeout=30"

    def _wait(self) -> None:
        deadline = time.monotonic() + 120
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"PostgreSQL did not start:\n{(self.directory / 'server.log').read_text()}") from None
                time.sleep(0.05)
            else:
                return

    def _command(self, command: Sequence[str]) -> list[str]:
        return [str(self._programs / command[0]), *command[1:]]

    def _run(self, command: Sequence[str]) -> None:
        done = subprocess.run(
            self._command(command),
            capture_output=True,
            text=True,
            cwd=self.directory,
            check=False,
            **self._identity(),  # type: ignore[call-overload]
        )
        assert done.returncode == 0, done.stderr

    def _identity(self) -> dict[str, object]:
        """PostgreSQL refuses to run as root; the package has made a user for it."""
        if os.geteuid() != 0:
            return {}
        user = pwd.getpwnam("postgres")
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def _give_to_server(self, directory: Path) -> None:
        if os.geteuid() != 0:
            return
        user = pwd.getpwnam("postgres")
        os.chown(directory, user.pw_uid, user.pw_gid)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        self._temporary.cleanup()


#: The version of the tables belongs to them and stays.
_EMPTY = """
DO $$
DECLARE name text; has_rows boolean;
BEGIN
    FOR name IN SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'schema%' LOOP
        EXECUTE 'SELECT EXISTS (SELECT 1 FROM ' || name || ')' INTO has_rows;
        IF has_rows THEN EXECUTE 'DELETE FROM ' || name; END IF;
    END LOOP;
    FOR name IN SELECT quote_ident(sequencename) FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL LOOP
        EXECUTE 'ALTER SEQUENCE ' || name || ' RESTART';
    END LOOP;
END $$
"""
