"""Actors are tested on every database."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def on_every_back_end(back_end: str) -> None:
    """Runs each test of this folder once for each back end."""
