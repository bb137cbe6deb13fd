"""A registry for updates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actors.metadata_update.updating import OTHER_PATIENT
from tests.actors.registry_fixtures import Registry, open_registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = open_registry(tmp_path)
    opened.announce(OTHER_PATIENT)
    yield opened
    opened.database.close()
