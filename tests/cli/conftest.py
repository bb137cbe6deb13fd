"""Commands, and a server for those that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.commands import Commands
from tests.running import RunningServer

AUTHORITY = "1.2.840.1"
REPOSITORY = "1.2.840.3"
IMAGING_SOURCE = "1.2.840.4"


@pytest.fixture
def xds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    """Runs a command."""
    return Commands(monkeypatch, capsys)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """An empty affinity domain that publishes studies at once."""
    with RunningServer(
        tmp_path_factory.mktemp("server"),
        DOMAIN__ASSIGNING_AUTHORITY=AUTHORITY,
        DOMAIN__REPOSITORY_UNIQUE_ID=REPOSITORY,
        DOMAIN__IMAGING_SOURCE_UNIQUE_ID=IMAGING_SOURCE,
        IMAGING__SETTLE_SECONDS="0",
    ) as running:
        yield running
