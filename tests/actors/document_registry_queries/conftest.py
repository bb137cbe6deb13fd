"""A registry for queries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actors.document_registry_queries.asking import OTHER_PATIENT, THIRD_PATIENT
from tests.actors.registry_fixtures import Registry, open_registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = open_registry(tmp_path)
    opened.announce(OTHER_PATIENT, THIRD_PATIENT)
    yield opened
    opened.database.close()
