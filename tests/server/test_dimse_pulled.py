"""C-GET and C-MOVE of what a source outside holds: it goes out as it comes.

Spec: DICOM PS3.4 C.4.2, C.4.3; RAD TF-2 4.16 (Retrieve Images).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from sqlalchemy import Connection

from tests.actors.test_imaging_pull import CT, SERIES, STUDY, Source, fetching, octets, registered, source_of
from tests.archive import IDENTITY, ChosenPatients, CrossReference, PartnerRepository, SteppedClock, image
from tests.databases import fresh_database
from tests.ports import free_port
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.actors.imaging_pull import PullThrough
from xds.model.foreign_images import Pulled
from xds.model.imaging import Series
from xds.pacs.dimse import DimseArchive
from xds.pacs.partner import Partner
from xds.pacs.receiver import MoveReceiver
from xds.pixels.pool import Pool
from xds.server.dimse import DimseServer
from xds.server.dimse_destination import Destination
from xds.store import imaging, imaging_arrivals
from xds.store.blobs import LocalBlobStore
from xds.store.database import Database
from xds.store.pull_cache import PullCache
from xds.wire.dicom import EXPLICIT_LITTLE, IMPLICIT_LITTLE

STUDY_ROOT_GET, STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.2.2"
WHOLE = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": STUDY}
OTHER = "1.2.61"
SECONDS = 60


@dataclass
class Domain:
    """A listener whose images are held outside. `viewer` is where C-MOVE may send them."""

    port: int
    viewer: int
    access: ChosenPatients
    directory: Path
    database: Database

    def pins(self) -> list[Path]:
        """What is kept in the cache for somebody who waits."""
        return list(self.directory.glob("pulled/arriving-*/*.pin"))


@contextmanager
def serving(directory: Path, source: Source, studies: Sequence[str] = (STUDY,)) -> Iterator[Domain]:
    database, access, clock = fresh_database(directory), ChosenPatients(), SteppedClock()
    cache = PullCache(directory / "pulled", 100 << 20, timedelta(hours=1), clock)

    def work(connection: Connection) -> None:
        for study in studies:
            for number in (1, 2, 3):
                one = registered(number)
                instance = replace(one.series[0].instances[0], sop_instance_uid=f"{study}.1.{number}")
                one = replace(one, study_instance_uid=study, series=(Series(f"{study}.1", "CT", (instance,), 1),))
                imaging_arrivals.add_instance(connection, imaging_arrivals.arriving(one, b"{}"), datetime.now(UTC))

    database.write(work)
    pull = PullThrough(database, {"pacs": source}, cache, lambda *_: True)
    given = IDENTITY, CrossReference(), PartnerRepository().provide, access, clock, Pool(directory / "pixels")
    archive = ImagingDocumentSource(database, LocalBlobStore(directory / "blobs"), *given, pull=pull)
    viewer = free_port()
    server = DimseServer(archive, "XDS", port=0, idle_seconds=60, destinations=[Destination("VIEWER", "127.0.0.1", viewer)])
    try:
        yield Domain(server.start(), viewer, access, directory, database)
    finally:
        server.stop(30)
        for thread in fetching():
            thread.join(SECONDS)
        archive.close()
        pull.close()
        database.close()


@contextmanager
def reading(domain: Domain, how: str) -> Iterator[DimseArchive]:
    """Somebody who asks it by C-GET or C-MOVE."""
    receiver = MoveReceiver("VIEWER", "127.0.0.1", domain.viewer, ["XDS"]) if how == "c-move" else None
    if receiver is not None:
        receiver.start()
    reader = DimseArchive(Partner("us", "XDS", "127.0.0.1", domain.port, calling_ae_title="VIEWER"), receiver)
    try:
        yield reader
    finally:
        reader.close()
        if receiver is not None:
            receiver.stop()


def asked(reader: DimseArchive) -> Iterator[Pulled]:
    """The series, as a whole."""
    return reader.fetch(STUDY, SERIES, {f"{SERIES}.{number}": CT for number in (1, 2, 3)}, whole_series=True)


def number_of(pulled: Pulled) -> int:
    """That of an object, which is read to its end and is what the source has."""
    number = int(pulled.sop_instance_uid.rpartition(".")[2])
    assert pydicom.dcmread(BytesIO(b"".join(pulled.chunks))) == pydicom.dcmread(BytesIO(octets(number)))
    return number


def got(port: int, syntax: str = EXPLICIT_LITTLE, **keys: str | list[str]) -> tuple[int | None, list[str], list[str]]:
    """By C-GET: the last status (None: the association ended), the instances that came whole, and those that are told to have
    failed."""
    came: list[str] = []

    def store(event: evt.Event) -> int:
        assert event.context.transfer_syntax == syntax
        came.append(str(event.dataset.SOPInstanceUID))
        return 0

    unit = AE("VIEWER")
    unit.add_requested_context(STUDY_ROOT_GET)
    unit.add_requested_context(CT, syntax)
    association = unit.associate(
        "127.0.0.1", port, ae_title="XDS", ext_neg=[build_role(CT, scp_role=True)], evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    assert association.is_established
    identifier = Dataset()
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    *_, (status, failed) = association.send_c_get(identifier, STUDY_ROOT_GET)
    association.release()
    return status.get("Status"), came, missing_of(failed)


def moved(port: int, **keys: str) -> tuple[int, list[str]]:
    """By C-MOVE: the last status, and the instances that are told to have failed."""
    unit = AE("VIEWER")
    unit.add_requested_context(STUDY_ROOT_MOVE)
    association = unit.associate("127.0.0.1", port, ae_title="XDS")
    assert association.is_established
    identifier = Dataset()
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    *_, (status, failed) = association.send_c_move(identifier, "VIEWER", STUDY_ROOT_MOVE)
    association.release()
    return status.Status, missing_of(failed)


def missing_of(failed: Dataset | None) -> list[str]:
    missing = [] if failed is None else failed.FailedSOPInstanceUIDList
    return [missing] if isinstance(missing, str) else list(missing)


@contextmanager
def viewing(domain: Domain) -> Iterator[list[str]]:
    """The destination of C-MOVE, and what comes there whole."""
    came: list[str] = []

    def store(event: evt.Event) -> int:
        came.append(str(event.dataset.SOPInstanceUID))
        return 0

    unit = AE("VIEWER")
    unit.add_supported_context(CT, [EXPLICIT_LITTLE])
    server = unit.start_server(("127.0.0.1", domain.viewer), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield came
    finally:
        server.shutdown()


@pytest.mark.parametrize("how", ["c-get", "c-move"])
def test_what_comes_first_goes_first(tmp_path: Path, how: str) -> None:
    source = source_of(3, 1, 2, gate=1)
    with serving(tmp_path, source) as domain, reading(domain, how) as reader:
        objects = asked(reader)
        # The others are not there yet.
        assert number_of(next(objects)) == 3
        source.gate.release(2)
        assert [number_of(each) for each in objects] == [1, 2]
        assert len(source.fetches) == 1
        # Who asks again is given what was kept.
        assert sorted(number_of(each) for each in asked(reader)) == [1, 2, 3]
        assert len(source.fetches) == 1
    assert not domain.pins()


def test_an_object_that_breaks_is_told_and_the_others_are_sent(tmp_path: Path) -> None:
    with serving(tmp_path, source_of(2, 3, 1, breaks_in=f"{SERIES}.1")) as domain:
        status, came, failed = got(domain.port, QueryRetrieveLevel="STUDY", StudyInstanceUID=STUDY)
        assert (status, came, failed) == (0xB000, [f"{SERIES}.2", f"{SERIES}.3"], [f"{SERIES}.1"])
        until = time.monotonic() + SECONDS
        while domain.pins() and time.monotonic() < until:
            time.sleep(0.02)
        assert not domain.pins()


@pytest.mark.parametrize("how", ["c-get", "c-move"])
def test_the_first_object_goes_on_while_it_comes(tmp_path: Path, how: str) -> None:
    source = source_of(2, 1, 3, held_in=f"{SERIES}.2")
    with serving(tmp_path, source) as domain, reading(domain, how) as reader:
        objects = asked(reader)
        first = next(objects)
        begun = next(first.chunks) + next(first.chunks)
        # The rest of it has not left the source.
        assert not source.rest.is_set()
        source.rest.set()
        came = pydicom.dcmread(BytesIO(begun + b"".join(first.chunks)))
        assert came == pydicom.dcmread(BytesIO(octets(2)))
        assert sorted(number_of(each) for each in objects) == [1, 3]
        assert len(source.fetches) == 1


def test_a_first_object_that_breaks_on_its_way_ends_the_association(tmp_path: Path) -> None:
    """DICOM PS3.8 7.3: half a data set cannot be taken back otherwise."""
    source = source_of(1, 2, 3, breaks_in=f"{SERIES}.1")
    with serving(tmp_path, source) as domain:
        assert got(domain.port, **WHOLE) == (None, [], [])
        source.breaks_in = ""
        status, came, failed = got(domain.port, **WHOLE)
        assert (status, sorted(came), failed) == (0, [f"{SERIES}.{number}" for number in (1, 2, 3)], [])


def test_where_a_first_object_breaks_on_its_way_the_others_go_over_another_association(tmp_path: Path) -> None:
    with serving(tmp_path, source_of(1, 2, 3, breaks_in=f"{SERIES}.1")) as domain, viewing(domain) as came:
        assert moved(domain.port, **WHOLE) == (0xB000, [f"{SERIES}.1"])
        assert sorted(came) == [f"{SERIES}.2", f"{SERIES}.3"]


def test_a_first_object_of_another_patient_goes_to_nobody(tmp_path: Path) -> None:
    source = source_of(1, 2, 3)
    source.objects[f"{SERIES}.1"] = octets(1, patient="P2")
    with serving(tmp_path, source) as domain:
        status, came, failed = got(domain.port, **WHOLE)
        assert (status, sorted(came), failed) == (0xB000, [f"{SERIES}.2", f"{SERIES}.3"], [f"{SERIES}.1"])


def test_a_first_object_that_was_rejected_goes_to_nobody(tmp_path: Path) -> None:
    with serving(tmp_path, source_of(1, 2, 3)) as domain:
        domain.database.write(lambda connection: imaging.reject(connection, STUDY, [f"{SERIES}.1"], "113001"))
        status, came, failed = got(domain.port, **WHOLE)
        assert (status, sorted(came), failed) == (0, [f"{SERIES}.2", f"{SERIES}.3"], [])


def test_what_the_reader_does_not_take_as_it_comes_is_converted(tmp_path: Path) -> None:
    with serving(tmp_path, source_of(1, 2, 3)) as domain:
        status, came, failed = got(domain.port, IMPLICIT_LITTLE, **WHOLE)
        assert (status, sorted(came), failed) == (0, [f"{SERIES}.{number}" for number in (1, 2, 3)], [])


def test_a_destination_that_is_away_gets_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, source_of(1, 2, 3)) as domain:
        status, failed = moved(domain.port, **WHOLE)
        assert (status, sorted(failed)) == (0xA702, [f"{SERIES}.{number}" for number in (1, 2, 3)])


def test_others_do_not_wait_for_a_destination_that_keeps_still(tmp_path: Path) -> None:
    source = source_of(1, 2, 3)
    with serving(tmp_path, source) as domain, socket.create_server(("127.0.0.1", domain.viewer)) as viewer:
        ended: list[tuple[int, list[str]]] = []
        mover = threading.Thread(target=lambda: ended.append(moved(domain.port, **WHOLE)))
        mover.start()
        still, _ = viewer.accept()
        with still:
            status, came, _ = got(domain.port, **WHOLE)
            assert (status, len(came)) == (0, 3)
        mover.join(SECONDS)
        assert [(status, len(failed)) for status, failed in ended] == [(0xA702, 3)]
        assert len(source.fetches) == 1


def test_of_several_instances_no_other_is_fetched(tmp_path: Path) -> None:
    source = source_of(1, 2, 3)
    wanted = [f"{SERIES}.1", f"{SERIES}.3"]
    with serving(tmp_path, source) as domain:
        keys = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "SOPInstanceUID": wanted}
        status, came, _ = got(domain.port, QueryRetrieveLevel="IMAGE", **keys)
        assert (status, sorted(came)) == (0, wanted)
        assert source.fetches == [tuple(wanted)]


def test_who_may_not_have_it_makes_the_source_do_nothing(tmp_path: Path) -> None:
    source = source_of(1, 2, 3)
    with serving(tmp_path, source) as domain:
        domain.access.hidden.add("")
        assert got(domain.port, QueryRetrieveLevel="STUDY", StudyInstanceUID=STUDY) == (0, [], [])
        assert not source.fetches


class TwoStudies(Source):
    """A source that gives what was asked for alone."""

    def fetch(
        self, study_instance_uid: str, series_instance_uid: str, sop_classes: Mapping[str, str], *, whole_series: bool
    ) -> Iterator[Pulled]:
        of_series = {uid: content for uid, content in self.objects.items() if uid.startswith(f"{series_instance_uid}.")}
        own = Source(of_series, fetches=self.fetches, gate=self.gate)
        yield from own.fetch(study_instance_uid, series_instance_uid, sop_classes, whole_series=whole_series)


def test_several_studies_are_fetched_at_once_and_sent_one_after_the_other(tmp_path: Path) -> None:
    objects = {
        f"{study}.1.{number}": image(
            StudyInstanceUID=study,
            SeriesInstanceUID=f"{study}.1",
            SOPInstanceUID=f"{study}.1.{number}",
            PatientID="P1",
            SOPClassUID=CT,
        )
        for study in (STUDY, OTHER)
        for number in (1, 2, 3)
    }
    source = TwoStudies(objects, gate=threading.Semaphore(6))
    with serving(tmp_path, source, (STUDY, OTHER)) as domain:
        status, came, _ = got(domain.port, QueryRetrieveLevel="STUDY", StudyInstanceUID=[STUDY, OTHER])
        assert (status, came[:3], came[3:]) == (0, [*objects][:3], [*objects][3:])
        assert len(source.fetches) == 2
