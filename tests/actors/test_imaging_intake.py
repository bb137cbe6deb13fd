"""An instance becomes durable by its file and its row, both or neither. Spec: nothing acknowledged is lost."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.archive import Archive, image, open_archive, packaged
from xds.actors.imaging_intake import SETTLE_INSTANCE
from xds.model.imaging import Addition
from xds.server.worker import Worker
from xds.store.blobs.local import LocalStaging
from xds.store.database import DatabaseUnavailableError


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with open_archive(tmp_path) as opened:
        yield opened


STUDY = str(pydicom.dcmread(BytesIO(packaged("CT_small.dcm"))).StudyInstanceUID)


def instances(archive: Archive) -> list[str]:
    stored = archive.source.study(STUDY)
    return [item.sop_instance_uid for series in stored.study.series for item in series.instances] if stored else []


def unsettled(archive: Archive) -> int:
    archive.database.flush()
    with archive.database.read() as connection:
        statement = f"SELECT count(*) FROM job WHERE kind = '{SETTLE_INSTANCE}'"
        return int(connection.exec_driver_sql(statement).scalar_one())


def settle(archive: Archive) -> None:
    """What the worker does after a restart."""
    archive.clock.advance(hours=1)
    handlers = {SETTLE_INSTANCE: archive.source.intake.settle}
    Worker(archive.database, handlers, archive.clock, kinds={SETTLE_INSTANCE}).run_due()


def test_what_was_stored_leaves_no_job(archive: Archive) -> None:
    assert archive.store(image(SOPInstanceUID="1.2.3.4")) is Addition.NEW
    assert unsettled(archive) == 0


def test_a_file_that_the_disk_refuses_leaves_no_row(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: LocalStaging) -> str:
        raise OSError(28, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(LocalStaging, "commit", refuse)
        with pytest.raises(OSError, match="no space left"):
            archive.store(image(SOPInstanceUID="1.2.3.4"))
    assert (instances(archive), unsettled(archive)) == ([], 0)
    assert archive.store(image(SOPInstanceUID="1.2.3.4")) is Addition.NEW


def test_a_row_whose_file_was_lost_with_the_power_is_forgotten(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row was durable, the file was not, nobody was told; then nothing ran any more."""
    commit = LocalStaging.commit

    def lost(self: LocalStaging) -> str:
        key = commit(self)
        archive.blobs.delete(key)
        return key

    def never(_work: Any) -> None:
        raise DatabaseUnavailableError("the power failed")

    with monkeypatch.context() as patch:
        patch.setattr(LocalStaging, "commit", lost)
        patch.setattr(archive.database, "write_later", never)
        with pytest.raises(DatabaseUnavailableError):
            archive.store(image(SOPInstanceUID="1.2.3.4"))
    assert (instances(archive), unsettled(archive)) == (["1.2.3.4"], 1)
    settle(archive)
    assert (instances(archive), unsettled(archive)) == ([], 0)


def test_a_row_whose_file_is_there_stays(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_work: Any) -> None:
        raise DatabaseUnavailableError("the power failed")

    with monkeypatch.context() as patch:
        patch.setattr(archive.database, "write_later", never)
        with pytest.raises(DatabaseUnavailableError):
            archive.store(image(SOPInstanceUID="1.2.3.4"))
    settle(archive)
    assert (instances(archive), unsettled(archive)) == (["1.2.3.4"], 0)


def test_what_was_acknowledged_is_not_given_up_for_what_was_not(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another content under the same UID: its file comes first, so a failure leaves the former one."""
    archive.store(image(SOPInstanceUID="1.2.3.4"))

    def refuse(_self: LocalStaging) -> str:
        raise OSError(28, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(LocalStaging, "commit", refuse)
        with pytest.raises(OSError, match="no space left"):
            archive.store(image(SOPInstanceUID="1.2.3.4", SeriesDescription="another"))
    stored = archive.source.study(STUDY)
    assert stored is not None
    assert archive.blobs.size(stored.study.series[0].instances[0].blob) > 0
    assert archive.store(image(SOPInstanceUID="1.2.3.4", SeriesDescription="another")) is Addition.REPLACED
