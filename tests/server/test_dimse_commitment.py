"""Storage commitment, procedure steps and availability notifications with pynetdicom as the modality.

Spec: DICOM PS3.4 F.7, J, R; RAD TF-2 4.6, 4.7, 4.10, 4.49.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from tests.archive import Archive, open_archive, packaged
from tests.ports import free_port
from xds.actors.imaging_document_source import PUBLISH_STUDY
from xds.actors.storage_commitment import REPORT_COMMITMENT
from xds.server.dimse import DimseServer
from xds.server.dimse_destination import Destination
from xds.server.worker import Worker
from xds.store import jobs

CT = "1.2.840.10008.5.1.4.1.1.2"
COMMITMENT = "1.2.840.10008.1.20.1"
WELL_KNOWN = "1.2.840.10008.1.20.1.1"
STEP = "1.2.840.10008.3.1.2.3.3"
AVAILABILITY = "1.2.840.10008.5.1.4.33"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with open_archive(tmp_path) as opened:
        yield opened


@pytest.fixture
def back() -> int:
    return free_port()


@pytest.fixture
def server(archive: Archive, back: int) -> Iterator[DimseServer]:
    served = DimseServer(archive.source, "XDS", port=0, idle_seconds=60, destinations=[Destination("CT1", "127.0.0.1", back)])
    served.port = served.start()  # type: ignore[attr-defined]
    yield served
    served.stop(30)


class Modality:
    """Asks for commitment and keeps what it is told."""

    def __init__(self, answer: int = 0) -> None:
        self.reports: list[tuple[int, Dataset]] = []
        self.answer = answer
        self.told = threading.Event()

    def report(self, event: evt.Event) -> tuple[int, None]:
        self.reports.append((event.event_type, event.event_information))
        return self.answer, None

    def sent(self, event: evt.Event) -> None:
        """Something went out; after a report that is its answer, before which the association must not be released."""
        if self.reports:
            self.told.set()

    def ask(self, port: int, *uids: str, title: str = "CT1") -> int:
        """The status of the request; after one that succeeds the association is open until the report was answered."""
        unit = AE(title)
        unit.add_requested_context(StorageCommitmentPushModel)
        handlers: list[tuple[evt.EventType, Callable[..., object]]] = [
            (evt.EVT_N_EVENT_REPORT, self.report),
            (evt.EVT_DATA_SENT, self.sent),
        ]
        association = unit.associate("127.0.0.1", port, ae_title="XDS", evt_handlers=handlers)  # type: ignore[arg-type]
        request = Dataset()
        request.TransactionUID = "1.2.3.9"
        request.ReferencedSOPSequence = [Dataset() for _ in uids]
        for item, uid in zip(request.ReferencedSOPSequence, uids, strict=True):
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, uid
        answer, _ = association.send_n_action(request, 1, COMMITMENT, WELL_KNOWN)
        if answer.Status == 0:
            assert self.told.wait(60)
        association.release()
        return int(answer.Status)


def waiting(archive: Archive, kind: str) -> list[str]:
    with archive.database.read() as connection:
        rows = connection.exec_driver_sql(f"SELECT key FROM job WHERE kind = '{kind}'").fetchall()
    return [str(row[0]) for row in rows]


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does after its answer."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_what_is_held_is_committed_over_the_same_association(archive: Archive, server: DimseServer) -> None:
    archive.store(packaged("CT_small.dcm"))
    uid = str(pydicom.dcmread(BytesIO(packaged("CT_small.dcm"))).SOPInstanceUID)
    modality = Modality()
    assert modality.ask(server.port, uid) == 0  # type: ignore[attr-defined]
    ((kind, report),) = modality.reports
    assert (kind, report.TransactionUID, report.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) == (1, "1.2.3.9", uid)
    until(lambda: waiting(archive, REPORT_COMMITMENT) == [])


def test_what_is_not_held_is_reported_with_its_reason(archive: Archive, server: DimseServer) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.store(packaged("MR_small.dcm"))
    ct, mr = (str(pydicom.dcmread(BytesIO(packaged(name))).SOPInstanceUID) for name in ("CT_small.dcm", "MR_small.dcm"))
    modality = Modality()
    modality.ask(server.port, ct, mr, "1.2.3.4")  # type: ignore[attr-defined]
    ((kind, report),) = modality.reports
    assert kind == 2
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [ct]
    failed = {item.ReferencedSOPInstanceUID: item.FailureReason for item in report.FailedSOPSequence}
    assert failed == {mr: 0x0119, "1.2.3.4": 0x0112}


def test_a_report_that_was_not_taken_comes_over_another_association(archive: Archive, server: DimseServer, back: int) -> None:
    """The request is a job: it outlives the association, and a crash."""
    modality = Modality(answer=0x0110)
    modality.ask(server.port, "1.2.3.4")  # type: ignore[attr-defined]
    modality.answer = 0
    until(lambda: waiting(archive, REPORT_COMMITMENT) == ["CT1|1.2.3.9"])
    unit = AE("CT1")
    unit.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    receiver = unit.start_server(("127.0.0.1", back), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, modality.report)])
    try:
        archive.clock.advance(minutes=1)
        assert Worker(archive.database, server.handlers, archive.clock).run_due() == 1
    finally:
        receiver.shutdown()
    assert [kind for kind, _ in modality.reports] == [2, 2]
    assert waiting(archive, REPORT_COMMITMENT) == []


def test_a_request_without_objects_is_refused(server: DimseServer, archive: Archive) -> None:
    modality = Modality()
    assert modality.ask(server.port) == 0x0120  # type: ignore[attr-defined]
    assert waiting(archive, REPORT_COMMITMENT) == []


def step(status: str, *instances: str) -> Dataset:
    found = Dataset()
    found.PerformedProcedureStepStatus = status
    if status == "IN PROGRESS":
        scheduled = Dataset()
        scheduled.StudyInstanceUID = "1.2.3"
        found.ScheduledStepAttributesSequence = [scheduled]
    if instances:
        series = Dataset()
        series.ReferencedImageSequence = [Dataset() for _ in instances]
        for item, uid in zip(series.ReferencedImageSequence, instances, strict=True):
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, uid
        found.PerformedSeriesSequence = [series]
    return found


def test_a_completed_procedure_step_has_its_study_published(archive: Archive, server: DimseServer) -> None:
    unit = AE("CT1")
    unit.add_requested_context(STEP)
    association = unit.associate("127.0.0.1", server.port, ext_neg=[build_role(STEP, scu_role=True)])  # type: ignore[attr-defined]
    assert association.send_n_set(step("COMPLETED"), STEP, "1.2.3.7")[0].Status == 0x0112
    assert association.send_n_create(step("COMPLETED"), STEP, "1.2.3.7")[0].Status == 0x0106
    assert association.send_n_create(step(""), STEP, "1.2.3.7")[0].Status == 0x0120
    assert association.send_n_create(step("IN PROGRESS"), STEP, "1.2.3.7")[0].Status == 0
    assert association.send_n_create(step("IN PROGRESS"), STEP, "1.2.3.7")[0].Status == 0x0111
    assert waiting(archive, PUBLISH_STUDY) == []
    assert association.send_n_set(step("COMPLETED", "1.2.3.4"), STEP, "1.2.3.7")[0].Status == 0
    assert waiting(archive, PUBLISH_STUDY) == ["1.2.3"]
    ended = association.send_n_set(step("COMPLETED"), STEP, "1.2.3.7")[0]
    association.release()
    assert (ended.Status, ended.ErrorID) == (0x0110, 0xA506)


def test_an_availability_notification_has_its_study_published(archive: Archive, server: DimseServer) -> None:
    unit = AE("PACS")
    unit.add_requested_context(AVAILABILITY)
    association = unit.associate("127.0.0.1", server.port)  # type: ignore[attr-defined]
    notification = Dataset()
    notification.StudyInstanceUID = "1.2.3"
    assert association.send_n_create(notification, AVAILABILITY, None)[0].Status == 0
    notification.StudyInstanceUID = ""
    assert association.send_n_create(notification, AVAILABILITY, "1.2.3.8")[0].Status == 0x0120
    association.release()
    assert waiting(archive, PUBLISH_STUDY) == ["1.2.3"]
    with archive.database.read() as connection:
        assert jobs.payload_of(connection, (PUBLISH_STUDY,), "1.2.3") == {"reason": "availability"}
