"""RAD-129 QIDO-RS with dicomweb-client and by hand. Spec: DICOM PS3.18 10.6; RAD TF-2 4.129."""

from __future__ import annotations

from collections.abc import Iterator
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from lxml import etree
from pydicom import Dataset

from tests.archive import image
from tests.transactions.imaging_server import ImagingServer, audited, hidden, serving

STUDIES = ("1.2.3.1", "1.2.3.2", "1.2.3.3")


def _instance(study: int, series: int, number: int, **attributes: Any) -> bytes:
    uid = f"1.2.3.{study}"
    named = {
        "StudyInstanceUID": uid,
        "SeriesInstanceUID": f"{uid}.{series}",
        "SOPInstanceUID": f"{uid}.{series}.{number}",
        "SeriesNumber": series,
        "InstanceNumber": number,
    }
    return image(**(named | attributes))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImagingServer]:
    """Three studies of two patients: CT with two series, MR, and a CT of one instance."""
    directory: Path = tmp_path_factory.mktemp("qido")
    with serving(directory) as started:
        first = {
            "PatientName": "Dupré^Élise",
            "PatientID": "A1",
            "StudyDate": "20260301",
            "StudyTime": "101500",
            "AccessionNumber": "ACC1",
            "StudyDescription": "Thorax",
            "ReferringPhysicianName": "House^Gregory",
            "StudyID": "S1",
        }
        for series, number in ((1, 1), (1, 2), (2, 1)):
            started.archive.store(_instance(1, series, number, **first))
        second = first | {"StudyDate": "20260302", "AccessionNumber": "ACC2", "StudyTime": "0830", "Modality": "MR"}
        started.archive.store(_instance(2, 1, 1, **second, BodyPartExamined="HEAD"))
        third = {"PatientName": "Dupont^Jean", "PatientID": "B_1", "StudyDate": "20250101", "AccessionNumber": "ACC%3"}
        started.archive.store(_instance(3, 1, 1, **third, ReferringPhysicianName=""))
        started.archive.patients.links[("1.2.3.500", "A1")] = "P1"
        yield started


@pytest.fixture
def client(server: ImagingServer) -> DICOMwebClient:
    return DICOMwebClient(f"{server.url}/dicomweb")


def _found(server: ImagingServer, path: str, level: str = "0020000D", **parameters: Any) -> list[str]:
    answer = requests.get(f"{server.url}/dicomweb/{path}", params=parameters, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/dicom+json"
    return [item[level]["Value"][0] for item in answer.json()]


def test_studies_by_dicomweb_client(client: DICOMwebClient) -> None:
    found = client.search_for_studies(search_filters={"PatientID": "A1"}, fields=["StudyDescription", "InstitutionName"])
    assert [item["0020000D"]["Value"][0] for item in found] == ["1.2.3.2", "1.2.3.1"]
    study = found[1]
    assert study["00100010"]["Value"] == [{"Alphabetic": "Dupré^Élise"}]
    assert study["00080061"] == {"vr": "CS", "Value": ["CT"]}
    assert study["00201206"] == {"vr": "IS", "Value": [2]}
    assert study["00201208"] == {"vr": "IS", "Value": [3]}
    assert study["00081190"]["Value"] == ["http://127.0.0.1:8080/dicomweb/studies/1.2.3.1"]
    assert study["00081030"]["Value"] == ["Thorax"]
    assert study["00080056"]["Value"] == ["ONLINE"]


def test_series_and_instances_by_dicomweb_client(client: DICOMwebClient) -> None:
    series = client.search_for_series("1.2.3.1")
    assert [item["0020000E"]["Value"][0] for item in series] == ["1.2.3.1.1", "1.2.3.1.2"]
    assert [item["00201209"]["Value"] for item in series] == [[2], [1]]
    instances = client.search_for_instances("1.2.3.1", "1.2.3.1.1")
    assert [item["00080018"]["Value"][0] for item in instances] == ["1.2.3.1.1.1", "1.2.3.1.1.2"]
    assert instances[0]["00280010"] == {"vr": "US", "Value": [128]}
    assert instances[0]["00280100"] == {"vr": "US", "Value": [16]}
    everywhere = client.search_for_instances(search_filters={"SOPInstanceUID": "1.2.3.2.1.1"})
    assert everywhere[0]["00100020"]["Value"] == ["A1"]


@pytest.mark.parametrize(
    ("parameters", "studies"),
    [
        ({"PatientName": "DUPRE^ELISE"}, [2, 1]),
        ({"PatientName": "dup*"}, [2, 1, 3]),
        ({"PatientName": "Dupr?^*"}, [2, 1]),
        ({"00100010": "Dupont^Jean"}, [3]),
        ({"PatientName": "jean", "fuzzymatching": "true"}, [3]),
        ({"PatientName": "jean"}, []),
        ({"PatientID": "B_1"}, [3]),
        ({"PatientID": "B?1"}, [3]),
        ({"PatientID": "A_*"}, []),
        ({"AccessionNumber": "ACC%3"}, [3]),
        ({"AccessionNumber": "ACC%*"}, [3]),
        ({"StudyDate": "20260301"}, [1]),
        ({"StudyDate": "20260301-20260302"}, [2, 1]),
        ({"StudyDate": "20260302-"}, [2]),
        ({"StudyDate": "-20251231"}, [3]),
        ({"StudyDate": "20260301-", "StudyTime": "0800-0900"}, [2]),
        ({"StudyTime": "1015"}, [1]),
        ({"ModalitiesInStudy": "MR"}, [2]),
        ({"ModalitiesInStudy": "CT\\MR"}, [2, 1, 3]),
        ({"Modality": "MR"}, [2]),
        ({"StudyInstanceUID": "1.2.3.1,1.2.3.3"}, [1, 3]),
        ({"StudyInstanceUID": "1.2.3.1\\1.2.3.3"}, [1, 3]),
        ({"ReferringPhysicianName": "HOUSE*"}, [2, 1]),
        ({"SeriesInstanceUID": "1.2.3.1.2"}, [1]),
        ({"SOPInstanceUID": "1.2.3.1.2.1"}, [1]),
        ({"SeriesNumber": "2"}, [1]),
        ({"SeriesNumber": "two"}, []),
        ({"BodyPartExamined": "HEAD"}, [2]),
        ({"PatientID": ""}, [2, 1, 3]),
        ({"limit": "1"}, [2]),
        ({"limit": "1", "offset": "1"}, [1]),
        ({"offset": "5"}, []),
        ({"offset": "999999999999999999"}, []),
        ({"limit": "999999999999999999", "PatientID": "B_1"}, [3]),
        ({"limit": "0"}, []),
    ],
)
def test_matching(server: ImagingServer, parameters: dict[str, str], studies: list[int]) -> None:
    assert _found(server, "studies", **parameters) == [STUDIES[number - 1] for number in studies]


@pytest.mark.parametrize(
    ("name", "is_found"),
    [
        ("山田*", True),
        ("山田^太郎", True),
        ("やまだ*", True),
        ("=山田^太郎", True),
        ("=山田*", True),
        ("Yamada*=*=やまだ*", True),
        ("Suzuki*=山田*", False),
        ("Yamada*", True),
        ("山*郎", True),
        ("田*", False),
    ],
)
def test_a_name_is_found_in_each_of_its_scripts(server: ImagingServer, name: str, is_found: bool) -> None:
    """Spec: PS3.5 6.2.1.2, PS3.4 C.2.2.2.1."""
    with_groups = {"PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう", "SpecificCharacterSet": "ISO_IR 192", "PatientID": "JP"}
    server.archive.store(_instance(9, 1, 1, **with_groups))
    try:
        assert _found(server, "studies", PatientName=name) == (["1.2.3.9"] if is_found else [])
        answer = requests.get(f"{server.url}/dicomweb/studies", params={"PatientID": "JP"}, timeout=60)
        assert answer.json()[0]["00080005"]["Value"] == ["ISO_IR 192"]
    finally:
        server.archive.source.remove_instances("1.2.3.9", None, "test")


def test_series_of_all_studies(server: ImagingServer) -> None:
    assert _found(server, "series", "0020000E", Modality="CT", PatientID="A1") == ["1.2.3.1.1", "1.2.3.1.2"]
    assert _found(server, "studies/1.2.3.1/instances", "00080018") == ["1.2.3.1.1.1", "1.2.3.1.1.2", "1.2.3.1.2.1"]


def test_any_attribute_may_be_included(server: ImagingServer) -> None:
    answer = requests.get(
        f"{server.url}/dicomweb/studies/1.2.3.2/instances",
        params={"includefield": ["SliceThickness,00180060", "ManufacturerModelName"]},
        timeout=60,
    ).json()[0]
    assert answer["00180050"]["vr"] == "DS"
    assert answer["00180060"]["Value"] == [120]
    assert "00081090" in answer
    everything = requests.get(f"{server.url}/dicomweb/studies/1.2.3.2/instances", params={"includefield": "all"}, timeout=60)
    assert len(everything.json()[0]) > 100


def test_more_than_the_answer_holds_is_told(server: ImagingServer) -> None:
    answer = requests.get(f"{server.url}/dicomweb/studies", params={"limit": 2}, timeout=60)
    assert answer.headers["Warning"].startswith("299 ")
    assert "Warning" not in requests.get(f"{server.url}/dicomweb/studies", params={"limit": 3}, timeout=60).headers


@pytest.mark.parametrize(
    ("parameters", "series"),
    [
        ({"RequestAttributesSequence.ScheduledProcedureStepID": "SPS1"}, [1, 2]),
        ({"00400275.00400009": "SPS*", "00400275.00401001": "RP2"}, [2]),
        ({"RequestAttributesSequence.ScheduledProcedureStepID": "SPS3"}, []),
        # Of one item all must be true.
        ({"00400275.00400009": "SPS1", "00400275.00401001": "RP3"}, []),
        ({"PerformedProcedureStepStartDate": "20260301-"}, [2]),
        ({"PerformedProcedureStepStartTime": "0900-0959", "PerformedProcedureStepStartDate": "20260228"}, [1]),
        ({"RequestAttributesSequence.ScheduledProcedureStepID": ""}, [1, 2, 3]),
    ],
)
def test_series_by_the_request_and_the_step_that_they_belong_to(
    server: ImagingServer, parameters: dict[str, str], series: list[int]
) -> None:
    """Spec: PS3.18 Table 10.6.1-5 (series); PS3.4 C.2.2.2.6."""

    def request(step: str, procedure: str) -> Dataset:
        made = Dataset()
        made.ScheduledProcedureStepID, made.RequestedProcedureID = step, procedure
        return made

    steps = {
        1: {"PerformedProcedureStepStartDate": "20260228", "PerformedProcedureStepStartTime": "095930"},
        2: {"PerformedProcedureStepStartDate": "20260301"},
        3: {},
    }
    requests_of = {1: [request("SPS1", "RP1")], 2: [request("SPS1", "RP2"), request("SPS2", "RP3")], 3: []}
    for number, attributes in steps.items():
        sequence = {"RequestAttributesSequence": requests_of[number]} if requests_of[number] else {}
        server.archive.store(_instance(8, number, 1, **attributes, **sequence))
    try:
        found = _found(server, "studies/1.2.3.8/series", "0020000E", **parameters)
        assert found == [f"1.2.3.8.{number}" for number in series]
        everywhere = _found(server, "series", "0020000E", **parameters, StudyInstanceUID="1.2.3.8")
        assert everywhere == found
        page = _found(server, "studies/1.2.3.8/series", "0020000E", **parameters, limit="1", offset="1")
        assert page == found[1:2]
    finally:
        server.archive.source.remove_instances("1.2.3.8", None, "test")


def test_attributes_that_are_not_matched_are_told(server: ImagingServer) -> None:
    answer = requests.get(f"{server.url}/dicomweb/studies", params={"Manufacturer": "GE"}, timeout=60)
    assert answer.status_code == 200
    assert "00080070" in answer.headers["Warning"]


def test_everything_that_is_wrong_is_named(server: ImagingServer) -> None:
    parameters = {"StudyDate": "today", "NoSuchName": "1", "limit": "many", "includefield": "Nonsense", "fuzzymatching": "x"}
    answer = requests.get(f"{server.url}/dicomweb/studies", params=parameters, timeout=60)
    assert answer.status_code == 400
    for part in ("(0008,0020)", "NoSuchName", "limit", "Nonsense", "fuzzymatching"):
        assert part in answer.text


def test_json_that_is_refused_is_not_given(server: ImagingServer) -> None:
    accept = {"Accept": "application/dicom+json;q=0, */*"}
    assert requests.get(f"{server.url}/dicomweb/studies", headers=accept, timeout=60).status_code == 406


def test_matches_as_xml(server: ImagingServer) -> None:
    """Each is a document of its own. Spec: PS3.18 10.6.3.3, PS3.19 A.1."""
    accept = {"Accept": 'multipart/related; type="application/dicom+xml"'}
    answer = requests.get(f"{server.url}/dicomweb/studies", {"PatientID": "A1"}, headers=accept, timeout=60)
    assert answer.status_code == 200
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts: list[Any] = list(BytesParser().parsebytes(head + answer.content).get_payload())
    found = [
        etree.fromstring(part.get_payload(decode=True)).findtext("{*}DicomAttribute[@tag='0020000D']/{*}Value") for part in parts
    ]
    assert found == ["1.2.3.2", "1.2.3.1"]


def test_other_media_types_are_not_given(server: ImagingServer) -> None:
    answer = requests.get(f"{server.url}/dicomweb/studies", headers={"Accept": "text/html"}, timeout=60)
    assert answer.status_code == 406


def test_what_the_caller_may_not_see_is_not_found(server: ImagingServer) -> None:
    with hidden(server, "P1^^^&1.2.3.100&ISO"):
        assert _found(server, "studies") == ["1.2.3.3"]


def test_rejected_instances_are_not_found(server: ImagingServer) -> None:
    from xds.store import imaging

    server.archive.store(_instance(4, 1, 1, PatientID="C", StudyDate="20240101"))
    server.archive.database.write(lambda connection: imaging.reject(connection, "1.2.3.4", ["1.2.3.4.1.1"], "113001"))
    assert _found(server, "studies", PatientID="C") == []
    assert _found(server, "studies/1.2.3.4/instances", "00080018") == []


def test_a_query_is_audited(server: ImagingServer) -> None:
    before = len(audited(server, "RAD-129", "RAD-129", at_least=0))
    _found(server, "studies", AccessionNumber="ACC1", limit="7")
    events = audited(server, "RAD-129", "RAD-129", at_least=before + 1)
    while not (about := [event for event in events if any("limit=7" in (item.query or "") for item in event.objects)]):
        events = audited(server, "RAD-129", "RAD-129", at_least=len(events) + 1)
    assert [item.query for item in about[0].objects if item.role == "24"] == ["/studies?AccessionNumber=ACC1&limit=7"]
    assert [item.id for item in about[0].objects if item.role == "1"] == ["P1^^^&1.2.3.100&ISO"]


@pytest.mark.parametrize(
    ("dates", "times", "studies"),
    [
        ("20260301-20260302", "090000-093000", ["1.2.3.2", "1.2.3.1"]),
        ("20260301-20260302", "1015-0829", ["1.2.3.1"]),
        ("20260301-20260302", "101501-0830", ["1.2.3.2"]),
        ("20260302-", "0800-", ["1.2.3.2"]),
        ("-20260301", "-101500", ["1.2.3.1", "1.2.3.3"]),
        # Not open at the same ends: each for itself.
        ("20260301-", "-0900", ["1.2.3.2"]),
        ("20260301", "1000-1100", ["1.2.3.1"]),
    ],
)
def test_ranges_of_date_and_time_are_one_range_of_moments(
    server: ImagingServer, dates: str, times: str, studies: list[str]
) -> None:
    """From the first moment to the last, not the same hours of each day. Spec: PS3.4 C.2.2.2.5.4."""
    assert _found(server, "studies", StudyDate=dates, StudyTime=times) == studies


def test_fuzzy_words_are_told_apart_by_commas_too(server: ImagingServer) -> None:
    assert _found(server, "studies", PatientName="Dupré, Élise", fuzzymatching="true") == ["1.2.3.2", "1.2.3.1"]
