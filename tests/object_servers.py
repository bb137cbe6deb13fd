"""Real object stores as fixtures, each started once for the session, and only when a test asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.store.servers import ObjectServer


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """moto's S3 server."""
    from tests.store.moto import running_moto  # here, so that other tests do not wait for what it imports

    with running_moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """OpenStack Swift with its S3 API."""
    from tests.store.swift import running_swift  # as above

    with running_swift(tmp_path_factory.mktemp("swift")) as server:
        yield server
