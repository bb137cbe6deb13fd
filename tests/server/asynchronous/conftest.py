"""Servers whose answers go to a partner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.asynchronous.replying import Service, serving
from tests.server.reply_partner import Partner


@pytest.fixture(scope="module")
def partner() -> Iterator[Partner]:
    started = Partner().start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory: pytest.TempPathFactory, partner: Partner) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("service"), partner, [partner.url]) as started:
        yield started


@pytest.fixture
def service(shared_service: Service) -> Service:
    """The server on the embedded database, as if it were new."""
    shared_service.reset()
    return shared_service


@pytest.fixture
def durable(back_end: str, tmp_path: Path, partner: Partner) -> Iterator[Service]:
    """A server of its own on each back end."""
    with serving(tmp_path, partner, [partner.url]) as started:
        started.reset()
        yield started
