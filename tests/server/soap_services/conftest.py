"""A server with SOAP services."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.echo import Echo, running
from tests.server.soap_services.asking import Service
from xds.server.limits import Limits
from xds.server.metrics import Metrics
from xds.wire.mtom import MtomLimits


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("echo")
    limits = Limits(threads=4, uploads=3, envelope=100_000, inline=1000, mtom=MtomLimits(root=100_000, part=1 << 20, parts=5))
    echo = Echo()
    metrics = Metrics()
    with running(directory, echo, limits=limits, metrics=metrics) as port:
        yield Service(port, echo, directory, metrics)


@pytest.fixture
def service(shared_service: Service) -> Service:
    shared_service.finished().clear()
    shared_service.echo.callers.clear()
    shared_service.echo.seen.clear()
    return shared_service
