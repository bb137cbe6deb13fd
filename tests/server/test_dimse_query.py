"""C-FIND, C-GET and C-MOVE with dcmtk and pynetdicom. Spec: DICOM PS3.4 C; RAD TF-2 4.14, 4.16."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from tests.archive import Archive, image, open_archive, packaged
from tests.ports import free_port, port_of_nobody
from tests.server.dicom_peers import received, run, serving
from tests.transactions import imaging_server
from xds.pacs.association import connect
from xds.server.dimse_destination import Destination
from xds.store import audit
from xds.wire.dicom import EXPLICIT_LITTLE
from xds.wire.dicom_header import read_header
from xds.wire.dicom_study import read_study
from xds.wire.dimse import Command, Field, Message, Status, data_set_start, response_to
from xds.wire.dimse_classes import STUDY_ROOT_GET as STUDY_GET
from xds.wire.dimse_identifiers import write_identifier

STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
PATIENT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
CT_STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with open_archive(tmp_path) as opened:
        yield opened


def find(port: int, sop_class: str = STUDY_FIND, *, extended: bytes = b"", **keys: Any) -> list[tuple[int, Dataset | None]]:
    """Every response to a C-FIND by pynetdicom: status and identifier."""
    unit = AE("WORKSTATION")
    unit.add_requested_context(sop_class)
    negotiation = []
    if extended:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = sop_class, extended
        negotiation.append(item)
    association = unit.associate("127.0.0.1", port, ae_title="XDS", ext_neg=negotiation)
    assert association.is_established
    identifier = Dataset()
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    try:
        return [(status.Status, found) for status, found in association.send_c_find(identifier, sop_class)]
    finally:
        association.release()


def matches(port: int, *arguments: Any, **keys: Any) -> list[Dataset]:
    """The identifiers of the pending responses; the last one must say success."""
    *pending, (last, _) = find(port, *arguments, **keys)
    assert last == 0
    assert all(status in (0xFF00, 0xFF01) for status, _ in pending)
    return [found for _, found in pending if found is not None]


def test_findscu_finds_studies_by_name_date_and_modality(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.store(packaged("MR_small.dcm"))
    keys = ["QueryRetrieveLevel=STUDY", "PatientName=compressed*", "StudyDate=20040101-20040630", "ModalitiesInStudy=CT"]
    keys += ["StudyInstanceUID", "NumberOfStudyRelatedInstances"]
    with serving(archive) as port:
        done = run("findscu", "-S", "-aec", "XDS", "127.0.0.1", str(port), *[part for key in keys for part in ("-k", key)])
    assert done.returncode == 0
    assert re.findall(r"\(0020,000d\) UI \[([0-9.]+)", done.stderr + done.stdout) == [CT_STUDY]


def test_every_level_of_both_roots(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.store(image(SOPInstanceUID="1.2.3.4", InstanceNumber=2))
    with serving(archive) as port:
        (patient,) = matches(port, PATIENT_FIND, QueryRetrieveLevel="PATIENT", PatientID="1CT1", PatientName="", PatientSex="")
        (study,) = matches(port, PATIENT_FIND, QueryRetrieveLevel="STUDY", PatientID="1CT1", StudyInstanceUID="")
        (series,) = matches(
            port,
            QueryRetrieveLevel="SERIES",
            StudyInstanceUID=study.StudyInstanceUID,
            SeriesInstanceUID="",
            Modality="",
            NumberOfSeriesRelatedInstances="",
        )
        images = matches(
            port,
            QueryRetrieveLevel="IMAGE",
            StudyInstanceUID=study.StudyInstanceUID,
            SeriesInstanceUID=series.SeriesInstanceUID,
            SOPInstanceUID="",
            InstanceNumber="",
            Rows=None,
            KVP="",
        )
    assert (str(patient.PatientName), patient.PatientSex) == ("CompressedSamples^CT1", "O")
    assert (series.Modality, series.NumberOfSeriesRelatedInstances) == ("CT", 2)
    assert {item.SOPInstanceUID for item in images} >= {"1.2.3.4"}
    assert {(item.Rows, str(item.KVP)) for item in images} == {(128, "120")}
    assert {item.RetrieveAETitle for item in images} == {"XDS"}


def test_queries_are_hierarchical_unless_relational_is_negotiated(archive: Archive) -> None:
    """PS3.4 C.4.1.2.1: a single value in the unique key of every level above."""
    archive.store(packaged("CT_small.dcm"))
    with serving(archive) as port:
        ((status, _),) = find(port, QueryRetrieveLevel="SERIES", SeriesInstanceUID="")
        assert status == 0xA900
        assert len(matches(port, extended=b"\1", QueryRetrieveLevel="SERIES", SeriesInstanceUID="")) == 1
        ((status, _),) = find(port, QueryRetrieveLevel="PATIENT", PatientID="")
        assert status == 0xA900
        ((status, _),) = find(port, QueryRetrieveLevel="STUDY", StudyDate="yesterday")
        assert status == 0xA900


def test_series_by_the_request_that_they_belong_to(archive: Archive) -> None:
    """Spec: PS3.4 C.2.2.2.6."""

    def request(step: str) -> Sequence:
        item = Dataset()
        item.ScheduledProcedureStepID, item.RequestedProcedureID = step, ""
        return Sequence([item])

    for number, step in enumerate(("SPS1", "SPS2"), 1):
        of_request = request(step)
        of_request[0].RequestedProcedureID = f"RP{number}"
        uids = {"StudyInstanceUID": "1.2.9", "SeriesInstanceUID": f"1.2.9.{number}", "SOPInstanceUID": f"1.2.9.{number}.1"}
        archive.store(image(RequestAttributesSequence=of_request, **uids))
    with serving(archive) as port:
        keys = {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "1.2.9", "SeriesInstanceUID": ""}
        (found,) = matches(port, **keys, RequestAttributesSequence=request("SPS2"))
        assert found.SeriesInstanceUID == "1.2.9.2"
        assert found.RequestAttributesSequence[0].RequestedProcedureID == "RP2"
        assert len(matches(port, **keys, RequestAttributesSequence=request("SPS*"))) == 2
        assert matches(port, **keys, RequestAttributesSequence=request("SPS")) == []
        assert len(matches(port, **keys, RequestAttributesSequence=Sequence())) == 2


def test_keys_that_are_not_matched_are_said_so(archive: Archive) -> None:
    """Pending FF01: an optional key was not supported."""
    archive.store(packaged("CT_small.dcm"))
    with serving(archive) as port:
        responses = find(port, QueryRetrieveLevel="STUDY", StudyInstanceUID="", PatientComments="something")
    assert [status for status, _ in responses] == [0xFF01, 0]


def test_names_in_their_character_set(archive: Archive) -> None:
    archive.store(image(PatientName="Müller^Jérôme", SpecificCharacterSet="ISO_IR 100"))
    with serving(archive) as port:
        for term in ("ISO_IR 100", "ISO_IR 192"):
            (found,) = matches(
                port, QueryRetrieveLevel="STUDY", SpecificCharacterSet=term, PatientName="müller*", StudyInstanceUID=""
            )
            assert found.SpecificCharacterSet == term
            assert str(found.PatientName) == "Müller^Jérôme"
        (found,) = matches(port, QueryRetrieveLevel="STUDY", PatientName="MULLER^JEROME", StudyInstanceUID="")
        assert (found.SpecificCharacterSet, str(found.PatientName)) == ("ISO_IR 192", "Müller^Jérôme")


def test_a_query_is_cancelled(archive: Archive) -> None:
    for number in range(40):
        archive.store(image(StudyInstanceUID=f"1.2.3.{number}", SOPInstanceUID=f"1.2.3.{number}.1"))
    unit = AE("WORKSTATION")
    unit.add_requested_context(STUDY_FIND)
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", ""
    with serving(archive) as port:
        association = unit.associate("127.0.0.1", port)
        association.send_c_cancel(1, query_model=STUDY_FIND)
        statuses = [status.Status for status, _ in association.send_c_find(identifier, STUDY_FIND, msg_id=2)]
        association.release()
        assert statuses.count(0xFF00) == 40, "the cancellation of another request ends nothing"


def test_the_access_rule_holds_and_queries_are_audited(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.access.hidden.add("")
    with serving(archive) as port:
        assert matches(port, QueryRetrieveLevel="STUDY", StudyInstanceUID="") == []
        done = run("getscu", "-S", "-aec", "XDS", "127.0.0.1", str(port), *_study_keys())
    assert done.returncode == 0
    archive.database.flush()
    with archive.database.read() as connection:
        events = [event for _, event in audit.find(connection)]
    assert [event.event_id.code for event in events if event.event_type.code == "RAD-14"] == ["110112"]


def _study_keys(study: str = CT_STUDY) -> list[str]:
    return ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]


def test_getscu_gets_a_study_as_it_was_stored(archive: Archive, tmp_path: Path) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.store(image(SOPInstanceUID="1.2.3.4"))
    (tmp_path / "out").mkdir()
    with serving(archive) as port:
        done = run("getscu", "-v", "-S", "-aec", "XDS", "-od", str(tmp_path / "out"), "127.0.0.1", str(port), *_study_keys())
    assert done.returncode == 0, done.stderr
    found = received(tmp_path / "out")
    assert set(found) == {"1.2.3.4", pydicom.dcmread(BytesIO(packaged("CT_small.dcm"))).SOPInstanceUID}
    assert pydicom.dcmread(found["1.2.3.4"]).PixelData == pydicom.dcmread(BytesIO(packaged("CT_small.dcm"))).PixelData
    archive.database.flush()
    with archive.database.read() as connection:
        sent = [event for _, event in audit.find(connection) if event.event_type.code == "RAD-16"]
    assert [event.event_id.code for event in sent] == ["110104", "110102"]
    for event in sent:
        assert dict(event.objects[-1].details)["ContainsSOPClass"] == "1.2.840.10008.5.1.4.1.1.2=2"
    assert [item.is_requestor for item in sent[1].participants] == [False, True]


def test_compressed_images_are_decoded_for_those_who_take_no_others(archive: Archive, tmp_path: Path) -> None:
    """getscu proposes uncompressed transfer syntaxes alone unless it is told otherwise."""
    archive.store(packaged("MR_small_RLE.dcm"))
    (tmp_path / "out").mkdir()
    original = pydicom.dcmread(BytesIO(packaged("MR_small_RLE.dcm")))
    with serving(archive) as port:
        keys = _study_keys(str(original.StudyInstanceUID))
        done = run("getscu", "-S", "-aec", "XDS", "-od", str(tmp_path / "out"), "127.0.0.1", str(port), *keys)
    assert done.returncode == 0, done.stderr
    (path,) = received(tmp_path / "out").values()
    got = pydicom.dcmread(path)
    assert got.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert (got.pixel_array == original.pixel_array).all()


def test_movescu_moves_to_configured_destinations_alone(archive: Archive, tmp_path: Path) -> None:
    archive.store(packaged("CT_small.dcm"))
    archive.store(packaged("MR_small_RLE.dcm"))
    (tmp_path / "out").mkdir()
    port_back = free_port()
    with serving(archive, [Destination("VIEWER", "127.0.0.1", port_back)]) as port:
        common = ["-P", "-aec", "XDS", "-aet", "ANYBODY", "-od", str(tmp_path / "out"), "--port", str(port_back), "+xa"]
        keys = ["-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=1CT1"]
        done = run("movescu", *common, "-aem", "VIEWER", "127.0.0.1", str(port), *keys)
        assert done.returncode == 0, done.stderr
        assert len(received(tmp_path / "out")) == 1
        archive.database.flush()
        with archive.database.read() as connection:
            sent = [event for _, event in audit.find(connection) if event.event_type.code == "RAD-16"]
        assert [event.event_id.code for event in sent] == ["110104", "110102"]
        roles = [(item.user_id, item.role.code if item.role else None, item.is_requestor) for item in sent[1].participants]
        assert roles[1:] == [("VIEWER", "110152", False), ("ANYBODY", None, True)]
        refused = run("movescu", "-v", *common, "-aem", "NOBODY", "127.0.0.1", str(port), *keys)
    assert "MoveDestinationUnknown" in refused.stderr


def move(port: int, destination: str, **keys: Any) -> list[tuple[Dataset, Dataset | None]]:
    unit = AE("WORKSTATION")
    unit.add_requested_context(STUDY_MOVE)
    association = unit.associate("127.0.0.1", port)
    identifier = Dataset()
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    try:
        return list(association.send_c_move(identifier, destination, STUDY_MOVE))
    finally:
        association.release()


def test_a_partial_failure_names_what_failed(archive: Archive) -> None:
    """B000 with the Failed SOP Instance UID List; counts in every response."""
    archive.store(packaged("CT_small.dcm"))
    archive.store(image(SOPInstanceUID="1.2.3.4"))
    archive.store(image(SOPInstanceUID="1.2.3.5"))
    unit = AE("VIEWER")
    unit.add_supported_context("1.2.840.10008.5.1.4.1.1.2")
    port_back = free_port()

    def store(event: evt.Event) -> int:
        return 0xA700 if event.request.AffectedSOPInstanceUID == "1.2.3.4" else 0

    receiver = unit.start_server(("127.0.0.1", port_back), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        with serving(archive, [Destination("VIEWER", "127.0.0.1", port_back)]) as port:
            responses = move(port, "VIEWER", QueryRetrieveLevel="STUDY", StudyInstanceUID=CT_STUDY)
    finally:
        receiver.shutdown()
    *pending, (last, identifier) = responses
    assert [status.NumberOfRemainingSuboperations for status, _ in pending] == [2, 1]
    assert (last.Status, last.NumberOfCompletedSuboperations, last.NumberOfFailedSuboperations) == (0xB000, 2, 1)
    assert identifier is not None
    assert identifier.FailedSOPInstanceUIDList == "1.2.3.4"


def test_a_destination_that_is_away(archive: Archive) -> None:
    archive.store(packaged("CT_small.dcm"))
    with port_of_nobody() as nobody, serving(archive, [Destination("VIEWER", "127.0.0.1", nobody)]) as port:
        ((last, _),) = move(port, "VIEWER", QueryRetrieveLevel="STUDY", StudyInstanceUID=CT_STUDY)
        assert (last.Status, last.NumberOfFailedSuboperations) == (0xA702, 1)
        ((last, _),) = move(port, "VIEWER", QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.3")
        assert (last.Status, last.NumberOfCompletedSuboperations) == (0, 0)
        ((last, _),) = move(port, "VIEWER", QueryRetrieveLevel="STUDY", StudyInstanceUID="")
        assert last.Status == 0xA900


def _objects() -> list[Path]:
    found = []
    for path in sorted((Path(pydicom.data.__file__).parent / "test_files").rglob("*.dcm")):
        try:
            read_study((path.read_bytes(),))
            read_header((path.read_bytes(),))
        except ValueError:
            continue
        found.append(path)
    return found


def test_all_of_pydicoms_objects_come_back_as_they_went_in(tmp_path: Path) -> None:
    """Data sets byte by byte, in their transfer syntax: in by C-STORE, out by C-GET and WADO-RS. Broken files are no objects."""
    kept: dict[str, bytes] = {}
    with imaging_server.serving(tmp_path) as server, serving(server.archive) as port:
        for path in _objects():
            octets = path.read_bytes()
            header = read_header((octets,))
            syntax, sop_class = header.transfer_syntax, header.elements.text(0x00080016)
            study, series, uid = (header.elements.text(tag) for tag in (0x0020000D, 0x0020000E, 0x00080018))
            if _store(port, sop_class, uid, syntax, octets[header.data_set :]) != 0:
                continue
            # A deflated one of odd length is filled up on its way (PS3.5 A.5).
            kept[uid] = octets[header.data_set :] + b"\0" * ((len(octets) - header.data_set) % 2)
            assert _get(port, study, uid, sop_class, syntax) == kept[uid], path.name
            whole = _fetched(server.url, f"/dicomweb/studies/{study}/series/{series}/instances/{uid}")
            assert whole[data_set_start(whole) :] == kept[uid], path.name
    assert len(kept) > 30


def _fetched(url: str, path: str) -> bytes:
    """An instance by WADO-RS as it is stored."""
    connection = HTTPConnection(url.removeprefix("http://"))
    connection.request("GET", path, headers={"Accept": "application/dicom; transfer-syntax=*"})
    octets = connection.getresponse().read()
    connection.close()
    return octets


def _store(port: int, sop_class: str, uid: str, syntax: str, data_set: bytes) -> int:
    """C-STORE of these very octets; the status."""
    association = connect("127.0.0.1", port, 60)
    try:
        association.request("SENDER", "XDS", [(sop_class, (syntax,))])
        fields: dict[Field, int | str] = {Field.AFFECTED_SOP_CLASS: sop_class, Field.AFFECTED_SOP_INSTANCE: uid}
        request = Message(Command.C_STORE, {**fields, Field.MESSAGE_ID: 1, Field.PRIORITY: 0}, True)
        association.send(1, request, (data_set,))
        status = association.response(request).message.number(Field.STATUS)
        association.release()
        return status
    finally:
        association.close()


def _get(port: int, study: str, uid: str, sop_class: str, syntax: str) -> bytes:
    """The data set of an instance by C-GET, which takes this transfer syntax alone."""
    association = connect("127.0.0.1", port, 60)
    try:
        kinds = [(STUDY_GET, (EXPLICIT_LITTLE,)), (sop_class, (syntax,))]
        association.request("VIEWER", "XDS", kinds, {sop_class: (False, True)})
        request = Message(Command.C_GET, {Field.AFFECTED_SOP_CLASS: STUDY_GET, Field.MESSAGE_ID: 1, Field.PRIORITY: 0}, True)
        keys = {"00080052": {"vr": "CS", "Value": ["STUDY"]}, "0020000D": {"vr": "UI", "Value": [study]}}
        association.send(1, request, (write_identifier(keys, EXPLICIT_LITTLE),))
        found = b""
        while (received := association.receive()) is not None:
            if received.message.is_response:
                if received.message.number(Field.STATUS) == Status.PENDING:
                    continue
                break
            octets = received.octets(1 << 30)
            found = octets if received.message.sop_instance == uid else found
            association.send(received.context_id, response_to(received.message, Status.SUCCESS))
        association.release()
        return found
    finally:
        association.close()
