"""Images that do not say who issued their Patient ID: published once demographics leave no doubt, and never on a guess.

Spec: RAD TF-2 4.68.4.1.2.3.2 (sourcePatientId); DICOM PS3.3 C.7.1.1 (Issuer of Patient ID is optional).
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.archive import image
from tests.builders import fresh_uid
from tests.flows.conftest import AUTHORITY
from tests.flows.partners import APPROVED, ask, feed, mllp, store
from tests.running import RunningServer
from xds.actors.imaging_triggers import PUBLISH_STUDY
from xds.app import DATABASE_FILE
from xds.model.vocabulary import StoredQueryId

CLINIC, SPA = "1.2.250.1.71.31", "1.2.250.1.71.32"


def admit(server: RunningServer, identifier: str, name: str, birth_date: str = "19710203") -> None:
    feed(server, identifier, "A04", name, f"||{birth_date}|F")


def unissued(server: RunningServer, patient_id: str, name: str, birth_date: str = "19710203") -> str:
    """Store one image that names no issuer; its Study Instance UID."""
    study = generate_uid()

    def without_issuer(dataset: Dataset) -> None:
        dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate, dataset.PatientSex = patient_id, name, birth_date, "F"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = study, generate_uid(), generate_uid()

    store(server, pydicom.dcmread(BytesIO(image(without_issuer))))
    return study


def manifests(server: RunningServer, identifier: str, study: str, seconds: float) -> int:
    """How many manifests of the study there are for the patient of a local identifier, waiting for the first that long."""
    answer = mllp(
        server,
        f"MSH|^~\\&|VIEWER|CLINIC|PIX|XDS|20260301090000||QBP^Q23^QBP_Q21|{fresh_uid()}|P|2.5",
        f"QPD|IHE PIX Query|tag-1|{identifier}|^^^XDS&{AUTHORITY}&ISO",
        "RCP|I",
    )
    (patient,) = [segment for segment in answer if segment[0] == "PID"]
    value = patient[3].partition("^")[0]
    deadline = time.monotonic() + seconds
    while True:
        found = ask(
            server,
            StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID,
            XDSDocumentEntryPatientId=f"'{value}^^^&{AUTHORITY}&ISO'",
            XDSDocumentEntryStatus=APPROVED,
            XDSDocumentEntryReferenceIdList=f"('{study}^^^^urn:ihe:iti:xds:2016:studyInstanceUID')",
        )
        if found.objects or time.monotonic() > deadline:
            return len(found.objects)
        time.sleep(0.1)


def test_demographics_tell_whose_number_it_is(server: RunningServer) -> None:
    for authority, name in ((CLINIC, "Noir^Anna"), (SPA, "Blanc^Berthe")):
        admit(server, f"7001^^^&{authority}&ISO", name)
    study = unissued(server, "7001", "BLANC^BERTHE")
    assert manifests(server, f"7001^^^&{SPA}&ISO", study, 120) == 1
    assert manifests(server, f"7001^^^&{CLINIC}&ISO", study, 0) == 0


def test_a_number_alone_publishes_nothing(server: RunningServer) -> None:
    admit(server, f"7002^^^&{CLINIC}&ISO", "Vert^Chloe")
    other_day = unissued(server, "7002", "Vert^Chloe", "19720203")
    other_name = unissued(server, "7002", "Rouge^Chloe")
    right = unissued(server, "7002", "Vert^Chloe")
    assert manifests(server, f"7002^^^&{CLINIC}&ISO", right, 120) == 1
    assert [manifests(server, f"7002^^^&{CLINIC}&ISO", study, 0) for study in (other_day, other_name)] == [0, 0]


def test_a_feed_wakes_the_studies_that_wait(server: RunningServer) -> None:
    study = unissued(server, "7003", "Gris^Delphine")
    put_off(server, study)
    admit(server, f"7003^^^&{CLINIC}&ISO", "Gris^Delphine")
    assert manifests(server, f"7003^^^&{CLINIC}&ISO", study, 120) == 1


def put_off(server: RunningServer, study: str) -> None:
    """Wait until a study was found without a patient, and let the next regular attempt be hours away."""
    end = time.monotonic() + 120
    statement = "UPDATE job SET run_at = run_at + 36000000 WHERE kind = ? AND key = ? AND error IS NOT NULL"
    with closing(sqlite3.connect(server.data / DATABASE_FILE, timeout=60)) as database:
        while True:
            with database:
                if database.execute(statement, (PUBLISH_STUDY, study)).rowcount:
                    return
            assert time.monotonic() < end, "no attempt was made to publish the study"
            time.sleep(0.1)
