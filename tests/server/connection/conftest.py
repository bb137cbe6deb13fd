"""A server whose port is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.connection.wire import LIMITS
from tests.server.echo import Echo, running


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running(tmp_path_factory.mktemp("wire"), Echo(), limits=LIMITS) as port:
        yield port
