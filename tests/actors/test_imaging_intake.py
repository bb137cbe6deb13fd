"""An instance becomes durable by its file and its row, both or neither. Spec: nothing acknowledged is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from tests.archive import MODALITY, Archive, image, open_archive, packaged
from xds.actors.imaging_intake import SETTLE_INSTANCES
from xds.actors.imaging_triggers import PUBLISH_STUDY
from xds.model.caller import Caller
from xds.model.imaging import Addition
from xds.server.worker import Worker
from xds.store import audit
from xds.store.blobs.local import LocalStaging


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
        statement = f"SELECT count(*) FROM job WHERE kind = '{SETTLE_INSTANCES}'"
        return int(connection.exec_driver_sql(statement).scalar_one())


def settle(archive: Archive) -> None:
    """What the worker does after a restart."""
    archive.clock.advance(hours=1)
    handlers = {SETTLE_INSTANCES: archive.source.intake.settle}
    Worker(archive.database, handlers, archive.clock, kinds={SETTLE_INSTANCES}).run_due()


class PowerCut(Exception):
    """Nothing runs any more."""


def cut_off(archive: Archive, monkeypatch: pytest.MonkeyPatch, uid: str, *, has_file: bool) -> None:
    """Send an instance; the row becomes durable, the file does or does not, and then the power fails."""
    commit = LocalStaging.commit

    def then_dark(self: LocalStaging) -> str:
        commit(self)
        if not has_file:
            archive.blobs.delete(self.key)
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(LocalStaging, "commit", then_dark)
        with pytest.raises(PowerCut):
            archive.store(image(SOPInstanceUID=uid))
    until = time.monotonic() + 60
    while uid not in instances(archive) and time.monotonic() < until:
        time.sleep(0.01)


def test_one_job_looks_after_all_instances_of_a_study(archive: Archive) -> None:
    for uid in ("1.2.3.4", "1.2.3.5", "1.2.3.6"):
        assert archive.store(image(SOPInstanceUID=uid)) is Addition.NEW
    assert unsettled(archive) == 1
    settle(archive)
    assert (len(instances(archive)), unsettled(archive)) == (3, 0)


def test_a_study_that_grows_is_looked_after_further(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.store(image(SOPInstanceUID="1.2.3.4"))
    archive.clock.advance(minutes=15)
    cut_off(archive, monkeypatch, "1.2.3.5", has_file=False)
    archive.clock.advance(seconds=10)
    handlers = {SETTLE_INSTANCES: archive.source.intake.settle}
    Worker(archive.database, handlers, archive.clock, kinds={SETTLE_INSTANCES}).run_due()
    # It came ten seconds ago: its file may still be on the way.
    assert (len(instances(archive)), unsettled(archive)) == (2, 1)
    settle(archive)
    assert (instances(archive), unsettled(archive)) == (["1.2.3.4"], 0)


def test_a_file_that_the_disk_refuses_leaves_no_row(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: LocalStaging) -> str:
        raise OSError(28, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(LocalStaging, "commit", refuse)
        with pytest.raises(OSError, match="no space left"):
            archive.store(image(SOPInstanceUID="1.2.3.4"))
    assert instances(archive) == []
    assert archive.store(image(SOPInstanceUID="1.2.3.4")) is Addition.NEW


def test_a_row_whose_file_was_lost_with_the_power_is_forgotten(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(archive, monkeypatch, "1.2.3.4", has_file=False)
    assert (instances(archive), unsettled(archive)) == (["1.2.3.4"], 1)
    settle(archive)
    assert (instances(archive), unsettled(archive)) == ([], 0)


def test_a_process_that_begins_has_them_looked_at_soon(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.store(image(SOPInstanceUID="1.2.3.4"))
    archive.clock.advance(hours=1)
    handlers = {
        SETTLE_INSTANCES: archive.source.intake.settle,
        PUBLISH_STUDY: lambda job: archive.source.publish(job.key),
    }
    worker = Worker(archive.database, handlers, archive.clock, kinds=handlers.keys())
    worker.run_due()
    cut_off(archive, monkeypatch, "1.2.3.5", has_file=False)
    archive.clock.advance(seconds=1)
    archive.source.intake.resume()
    archive.clock.advance(seconds=40)
    assert worker.run_due() == 2  # the file, and the manifest of what is left
    assert (instances(archive), unsettled(archive)) == (["1.2.3.4"], 0)


def test_a_row_whose_file_is_there_stays(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(archive, monkeypatch, "1.2.3.4", has_file=True)
    settle(archive)
    assert (instances(archive), unsettled(archive)) == (["1.2.3.4"], 0)


def test_what_lost_its_file_and_is_sent_again_stays(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(archive, monkeypatch, "1.2.3.4", has_file=False)
    assert archive.store(image(SOPInstanceUID="1.2.3.4")) is Addition.IDENTICAL
    settle(archive)
    assert instances(archive) == ["1.2.3.4"]


def test_a_file_that_was_lost_later_is_no_reason_to_forget_an_instance(archive: Archive) -> None:
    archive.store(image(SOPInstanceUID="1.2.3.4"))
    settle(archive)
    stored = archive.source.study(STUDY)
    assert stored is not None
    archive.blobs.delete(stored.study.series[0].instances[0].blob)
    archive.store(image(SOPInstanceUID="1.2.3.5"))
    settle(archive)
    assert instances(archive) == ["1.2.3.4", "1.2.3.5"]


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


def test_what_instances_of_a_series_share_is_their_own(archive: Archive) -> None:
    """However alike they are: by whom it was sent, and what it says of its study, is said of each instance."""
    other = Caller("192.0.2.7", node="CT2")
    archive.store(image(SOPInstanceUID="1.2.3.4"))
    archive.store(image(SOPInstanceUID="1.2.3.5"))
    archive.clock.advance(seconds=3)
    archive.store(image(SOPInstanceUID="1.2.3.6", StudyDescription="another"), other)
    archive.store(image(SOPInstanceUID="1.2.3.7", SeriesInstanceUID="1.2.9", Modality="MR"))
    stored = archive.source.study(STUDY)
    assert stored is not None
    assert [len(series.instances) for series in stored.study.series] == [1, 3]
    assert [series.modality for series in stored.study.series] == ["MR", "CT"]
    with archive.database.read() as connection:
        events = [event for _, event in audit.find(connection)][::-1]
    assert [event.participants[0].network_access_point for event in events] == [MODALITY.address] * 2 + [
        other.address,
        MODALITY.address,
    ]
    first = events[0].occurred
    assert [(event.occurred - first).total_seconds() for event in events] == [0, 0, 3, 3]
    archive.store(image(SOPInstanceUID="1.2.3.8", StudyDescription="a third"))
    stored = archive.source.study(STUDY)
    assert stored is not None
    assert (stored.study.description, stored.study.source) == ("a third", MODALITY.node)
