"""C-ECHO and C-STORE against the real listener. Spec: DICOM PS3.4 B, PS3.7 9.1; RAD TF-2 4.8."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from tests.archive import Archive, image, open_archive, packaged
from tests.programs import program
from tests.server.dicom_peers import serving
from xds.server.dimse import DimseServer
from xds.store import audit
from xds.wire.dicom_header import read_header

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with open_archive(tmp_path) as opened:
        yield opened


@pytest.fixture
def port(archive: Archive) -> Iterator[int]:
    server = DimseServer(archive.source, "XDS", port=0, idle_seconds=60)
    yield server.start()
    server.stop(30)


def stored_bytes(archive: Archive, study_uid: str) -> dict[str, bytes]:
    """What the archive holds of a study, by SOP Instance UID."""
    stored = archive.source.study(study_uid)
    assert stored is not None
    return {
        instance.sop_instance_uid: b"".join(archive.blobs.open(instance.blob))
        for series in stored.study.series
        for instance in series.instances
    }


def send(port: int, dataset: Dataset) -> Dataset:
    unit = AE("MODALITY1")
    unit.requested_contexts = [build_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)]
    association = unit.associate("127.0.0.1", port, ae_title="XDS")
    assert association.is_established
    try:
        return association.send_c_store(dataset)
    finally:
        association.release()


def test_echo(port: int) -> None:
    unit = AE("MODALITY1")
    unit.add_requested_context("1.2.840.10008.1.1")
    association = unit.associate("127.0.0.1", port)
    assert association.send_c_echo().Status == 0
    association.release()


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm", "MR_small_bigendian.dcm"],
)
def test_storescu_stores_every_transfer_syntax_unchanged(archive: Archive, port: int, name: str) -> None:
    path = str(get_testdata_file(name))
    option = {
        "MR_small_RLE.dcm": "-xr",
        "MR_small_jpeg_ls_lossless.dcm": "-xt",
        "MR_small_jp2klossless.dcm": "-xv",
        "MR_small_bigendian.dcm": "-xb",
    }.get(name, "-xe")
    command = [program("storescu"), option, "-aet", "STORESCU", "-aec", "XDS", "127.0.0.1", str(port), path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    sent = pydicom.dcmread(path)
    kept = pydicom.dcmread(BytesIO(stored_bytes(archive, sent.StudyInstanceUID)[sent.SOPInstanceUID]))
    assert kept.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
    assert kept.PixelData == sent.PixelData
    stored = archive.source.study(sent.StudyInstanceUID)
    assert stored is not None
    assert stored.study.source == "STORESCU"


def test_the_arrival_is_audited_with_the_calling_ae_title(archive: Archive, port: int) -> None:
    dataset = pydicom.dcmread(BytesIO(packaged("CT_small.dcm")))
    assert send(port, dataset).Status == 0
    with archive.database.read() as connection:
        ((_, event),) = audit.find(connection)
    assert event.event_id.code == "110104"
    assert [item.alternative_user_id for item in event.participants] == ["AETITLES=MODALITY1", "AETITLES=XDS"]
    assert event.objects[0].id == "1CT1^^^&1.2.3.500&ISO"
    assert event.objects[1].id == dataset.StudyInstanceUID


def test_private_storage_classes_are_taken(archive: Archive, port: int) -> None:
    dataset = pydicom.dcmread(BytesIO(image(SOPClassUID="1.3.12.2.1107.5.9.1")))
    assert send(port, dataset).Status == 0


def answered(port: int, sop_class: str, uid: str, transfer_syntax: str, octets: bytes) -> int:
    """The status of a C-STORE of these octets, which need be no data set that pynetdicom would send."""
    unit = AE("MODALITY1")
    unit.requested_contexts = [build_context(sop_class, transfer_syntax)]
    association = unit.associate("127.0.0.1", port)
    request = C_STORE()
    request.MessageID = 1
    request.AffectedSOPClassUID = sop_class
    request.AffectedSOPInstanceUID = uid
    request.DataSet = BytesIO(octets)
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    association.release()
    assert answer is not None
    return int(answer.Status)


def test_a_data_set_of_another_class_is_refused(archive: Archive, port: int) -> None:
    """0xA900: the data set does not match the SOP class of the request."""
    dataset = pydicom.dcmread(BytesIO(packaged("CT_small.dcm")))
    octets = encode(dataset, False, True) or b""
    uid, transfer_syntax = dataset.SOPInstanceUID, dataset.file_meta.TransferSyntaxUID
    assert answered(port, "1.2.840.10008.5.1.4.1.1.4", uid, transfer_syntax, octets) == 0xA900
    assert archive.source.study(dataset.StudyInstanceUID) is None


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm"])
def test_an_object_that_is_cut_off_in_its_pixels_is_refused(archive: Archive, port: int, name: str) -> None:
    octets = packaged(name)
    header = read_header((octets,))
    sent = pydicom.dcmread(BytesIO(octets), stop_before_pixels=True)
    cut = octets[header.data_set : -1000]
    assert answered(port, sent.SOPClassUID, sent.SOPInstanceUID, header.transfer_syntax, cut) == 0xC000
    assert archive.source.study(sent.StudyInstanceUID) is None


def test_an_object_without_study_uid_is_not_understood(archive: Archive, port: int) -> None:
    dataset = pydicom.dcmread(BytesIO(image(StudyInstanceUID="")))
    answer = send(port, dataset)
    assert answer.Status == 0xC000
    assert "Study Instance UID" in answer.ErrorComment


def test_another_patient_in_the_same_study_is_refused(archive: Archive, port: int) -> None:
    first = pydicom.dcmread(BytesIO(packaged("CT_small.dcm")))
    second = pydicom.dcmread(BytesIO(image(SOPInstanceUID="1.2.3.4.5", PatientID="SOMEBODY ELSE")))
    assert send(port, first).Status == 0
    assert send(port, second).Status == 0xC001
    assert len(stored_bytes(archive, first.StudyInstanceUID)) == 1


def test_a_pdu_of_gigabytes_ends_the_connection_and_not_the_server(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFF0) + b"x" * 1000)
        connection.settimeout(60)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(4096):
                pass
    test_echo(port)


def test_connections_without_a_request_occupy_nothing(archive: Archive) -> None:
    """A load balancer asks by connecting, a port scanner says something else: neither may use up the associations."""
    server = DimseServer(archive.source, "XDS", port=0, max_associations=3, idle_seconds=300)
    port = server.start()
    for said in (b"", b"", b"GET / HTTP/1.0\r\n\r\n", struct.pack(">BBL", 4, 0, 4) + b"data") * 2:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(said)
    end = time.monotonic() + 60
    unit = AE("MODALITY1")
    unit.add_requested_context("1.2.840.10008.1.1")
    while not (association := unit.associate("127.0.0.1", port)).is_established:
        assert time.monotonic() < end, "every association is taken"
        time.sleep(0.05)
    association.release()
    started = time.monotonic()
    server.stop(120)
    assert time.monotonic() - started < 60


def test_associations_of_which_nothing_was_agreed_occupy_nothing(archive: Archive) -> None:
    with serving(archive, max_associations=1) as port:
        for _ in range(3):
            unit = AE("MODALITY1")
            unit.add_requested_context("1.2.840.10008.1.9")
            _until(lambda unit=unit: _is_accepted(unit, port))
        unit = AE("MODALITY1")
        unit.add_requested_context("1.2.840.10008.1.1")
        _until(lambda: _is_accepted(unit, port))


def _is_accepted(unit: AE, port: int) -> bool:
    """Whether an association is not refused; it is over when this returns."""
    association = unit.associate("127.0.0.1", port)
    is_accepted = not association.is_rejected
    if association.is_established:
        association.release()
    return is_accepted


def test_a_connection_that_breaks_leaves_no_file(archive: Archive, port: int, tmp_path: Path) -> None:
    staged = tmp_path / "blobs" / "staging"
    dataset = pydicom.dcmread(BytesIO(packaged("CT_small.dcm")))
    unit = AE("MODALITY1")
    unit.requested_contexts = [build_context(CT, dataset.file_meta.TransferSyntaxUID)]
    association = unit.associate("127.0.0.1", port)
    transport = association.dul.socket
    command = Dataset()
    command.AffectedSOPClassUID = CT
    command.CommandField = 1
    command.MessageID = 1
    command.Priority = 0
    command.CommandDataSetType = 1
    command.AffectedSOPInstanceUID = dataset.SOPInstanceUID
    for control, data in ((3, encode(command, True, True) or b""), (0, b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100")):
        value = struct.pack(">LBB", len(data) + 2, association.accepted_contexts[0].context_id, control) + data
        transport.send(struct.pack(">BBL", 4, 0, len(value)) + value)
    _until(lambda: any(staged.iterdir()))
    association.abort()
    _until(lambda: not any(staged.iterdir()))
    assert archive.source.newest(10) == ()


@pytest.mark.parametrize("is_released", [True, False])
def test_the_file_that_is_made_for_a_next_object_goes_with_the_association(
    archive: Archive, port: int, tmp_path: Path, *, is_released: bool
) -> None:
    staged = tmp_path / "blobs" / "staging"
    dataset = pydicom.dcmread(BytesIO(packaged("CT_small.dcm")))
    unit = AE("MODALITY1")
    unit.requested_contexts = [build_context(CT, dataset.file_meta.TransferSyntaxUID)]
    association = unit.associate("127.0.0.1", port)
    for _ in range(3):
        assert association.send_c_store(dataset).Status == 0
    _until(lambda: len(list(staged.iterdir())) == 1)
    assert archive.source.newest(10)[0].study.instance_count == 1
    if is_released:
        association.release()
    else:
        association.abort()
    _until(lambda: not any(staged.iterdir()))


def _until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
