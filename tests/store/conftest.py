"""Real object stores, each started once for the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.store.moto import running_moto
from tests.store.servers import ObjectServer
from tests.store.swift import running_swift


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """moto's S3 server."""
    with running_moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """OpenStack Swift with its S3 API."""
    with running_swift(tmp_path_factory.mktemp("swift")) as server:
        yield server
