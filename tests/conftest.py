"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from tests.databases import back_end, free_postgresql_urls, postgresql_server, postgresql_urls  # noqa: F401 - fixtures
from tests.object_servers import moto, swift  # noqa: F401 - fixtures

# The same examples in every run, and no time that a machine with much else to do would not keep.
hypothesis.settings.register_profile(
    "steady", derandomize=True, database=None, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("steady")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of samples and official schemas beside the project; tests that need it skip without it, and fail in CI."""
    if not SHARED.is_dir():
        if os.environ.get("CI"):
            pytest.fail("the shared samples are absent, and CI must not skip")
        pytest.skip("NEEDS ../shared: samples and official schemas are not beside this checkout")
    return SHARED


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """What a test makes of the log is undone: it may have sent it to a stream that ends with the test."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
