"""What the real object stores of the tests have in common: a process or several on loopback, and a way to look inside."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import boto3
import pytest
from botocore.config import Config

from xds.store.blobs.s3 import Location


@dataclass(frozen=True, slots=True)
class ObjectServer:
    """An S3 server that runs. `directory` holds its files, if it has any."""

    endpoint: str
    access_key: str
    secret_key: str
    directory: Path | None = None

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return int(self.endpoint.rpartition(":")[2])

    def environment(self) -> dict[str, str]:
        """The credentials as AWS tools expect them."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def location(self, bucket: str, *, port: int | None = None) -> Location:
        """A place in it, perhaps behind another port."""
        return Location(bucket, "some/prefix", f"http://127.0.0.1:{port or self.port}", "us-east-1")

    def url(self, bucket: str, *, port: int | None = None) -> str:
        """The same as the setting `storage.url` says it."""
        return f"s3://{bucket}/some/prefix?endpoint=http://127.0.0.1:{port or self.port}&region=us-east-1"

    def client(self) -> Any:
        """Another S3 client: the second opinion, and the hand that damages things."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(request_checksum_calculation="when_required", response_checksum_validation="when_required"),
        )


def await_port(port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = 120) -> None:
    """Wait until somebody listens. Errors: AssertionError with the log when the process does not come so far."""
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{process.args} does not listen; log:\n{log.read_text('utf-8', 'replace')[-3000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that these tests started."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(60)


def absent(what: str) -> NoReturn:
    """Leave a group of tests out, loudly; in CI that is a failure."""
    message = f"NEEDS {what}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
