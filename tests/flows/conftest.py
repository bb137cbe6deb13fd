"""A running server for the stories: started once for a module, on its own data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running import RunningServer

AUTHORITY = "1.3.6.1.4.1.21367.2005.13.20.1000"
IMAGING_SOURCE = "1.3.6.1.4.1.21367.13.80.110"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """An affinity domain with the identifiers that the samples use; studies are published after one second of silence."""
    settings = {
        "DOMAIN__ASSIGNING_AUTHORITY": AUTHORITY,
        "DOMAIN__IMAGING_SOURCE_UNIQUE_ID": IMAGING_SOURCE,
        "IMAGING__SETTLE_SECONDS": "1",
    }
    with RunningServer(tmp_path_factory.mktemp("server"), **settings) as running:
        yield running
