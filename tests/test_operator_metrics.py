"""What operators see of the work that waits: `/metrics` of a whole domain."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.databases import url_of
from xds import config
from xds.app import App, build
from xds.store import jobs
from xds.store.database import Connection

pytestmark = pytest.mark.usefixtures("back_end")

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    built = build(config.load(None, {"server.data": tmp_path, "database.url": url_of(tmp_path)}), "http://127.0.0.1")
    yield built
    built.close()


def test_jobs_are_counted_by_kind_and_apart_when_they_were_given_up(app: App) -> None:
    def ask(connection: Connection) -> None:
        for key in ("a", "b", "c"):
            jobs.add(connection, "notify-subscriber", key, {}, NOW)
        (first,) = jobs.claim(connection, NOW, 1, ["notify-subscriber"])
        jobs.fail(connection, first, None, "gone for good")
        (second,) = jobs.claim(connection, NOW + timedelta(seconds=1), 1, ["notify-subscriber"])
        assert second.key != first.key

    before = app.jobs(given_up=False).get("notify-subscriber", 0)
    app.database.write(ask)
    # One waits and one is at work.
    assert app.jobs(given_up=False)["notify-subscriber"] == before + 2
    assert app.jobs(given_up=True)["notify-subscriber"] == 1


def test_what_there_is_nothing_of_is_zero(app: App) -> None:
    assert set(app.job_handlers) <= set(app.jobs(given_up=True))
    assert app.studies() == dict.fromkeys(("received", "settled", "unresolved", "published", "withdrawn", "disputed"), 0)
    assert app.reviews() == {"duplicate": 0, "candidate": 0}
