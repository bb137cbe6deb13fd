"""A bucket on each server, and one whose connections can be cut."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.gate import Gate
from tests.store.servers import ObjectServer
from xds.store.blobs.s3 import S3BlobStore


@pytest.fixture(params=["moto", pytest.param("swift", marks=pytest.mark.swift)])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """Each server, with its credentials in the environment."""
    found: ObjectServer = request.getfixturevalue(request.param)
    for name, value in found.environment().items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def bucket(server: ObjectServer) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    server.client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def store(server: ObjectServer, bucket: str, tmp_path: Path) -> S3BlobStore:
    return S3BlobStore(server.location(bucket), tmp_path / "spool")


@pytest.fixture
def gate(server: ObjectServer) -> Iterator[Gate]:
    with Gate(server.port) as gate:
        yield gate


@pytest.fixture
def gated(server: ObjectServer, bucket: str, gate: Gate, tmp_path: Path) -> S3BlobStore:
    """The same bucket behind the gate."""
    return S3BlobStore(server.location(bucket, port=gate.port), tmp_path / "spool")
