"""What becomes of documents when the identity of their patient changes: merges, corrections, and images of unclear origin.

Spec: ITI TF-2 3.8.4 (ITI-8), 3.9 (ITI-9), 3.18.4.1.2.3.8, 3.42.4.1.3; Appendix E.1.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from io import BytesIO
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.archive import image
from tests.builders import document_entry, folder, submission
from tests.flows.conftest import AUTHORITY
from tests.flows.partners import APPROVED, ask, mllp, provide, retrieve, store
from tests.running import RunningServer
from xds.model.errors import ErrorCode
from xds.model.metadata import DocumentEntry, Folder, RegistryObject, SubmissionSet
from xds.model.stored_queries import ReturnType
from xds.model.vocabulary import StoredQueryId
from xds.transactions import iti42_register_document_set as iti42

HOSPITALS = {"HOSP_C": "1.2.250.1.72.1", "HOSP_D": "1.2.250.1.72.2"}
CONTENT = b"a document whose patient will change"

_numbers = itertools.count(1)


def local(hospital: str) -> str:
    """A fresh identifier of a hospital, as CX of a feed."""
    return f"{hospital[-1]}{next(_numbers)}^^^{hospital}&{HOSPITALS[hospital]}&ISO"


def adt(server: RunningServer, event: str, identifier: str, person: str, *more: str) -> list[list[str]]:
    """A feed of the hospital that issued the identifier; `person` is PID-5 to PID-8 and so on."""
    hospital = identifier.split("^")[3].partition("&")[0]
    return mllp(
        server,
        f"MSH|^~\\&|ADT|{hospital}|PIX|XDS|20260301080000||ADT^{event}|{hospital}-{next(_numbers)}|P|2.3.1||||||UNICODE UTF-8",
        f"EVN|{event}|20260301080000",
        f"PID|||{identifier}||{person}",
        *(more or ("PV1||O",)),
    )


def accepted(answer: list[list[str]]) -> None:
    assert answer[1][1] == "AA", answer


def others(server: RunningServer, identifier: str) -> set[str]:
    """What a PIX query for every domain answers, as CX."""
    answer = mllp(
        server,
        f"MSH|^~\\&|VIEWER|CLINIC|PIX|XDS|20260301090000||QBP^Q23^QBP_Q21|Q{next(_numbers)}|P|2.5",
        f"QPD|IHE PIX Query|tag|{identifier}",
        "RCP|I",
    )
    assert answer[2][2] == "OK", answer
    return set(answer[4][3].split("~"))


def affinity(server: RunningServer, identifier: str) -> str:
    """The affinity domain's identifier of a patient, as metadata have it."""
    (found,) = [item for item in others(server, identifier) if f"&{AUTHORITY}&" in item]
    return found.replace("^^^XDS&", "^^^&")


def publish(server: RunningServer, patient_id: str) -> DocumentEntry:
    """A document in a folder for a patient."""
    entry = document_entry(patient_id=patient_id, hash=None, size=None, repository_unique_id=None)
    case = folder(patient_id=patient_id)
    provide(server, submission([entry], folders=[case], patient_id=patient_id), {entry.id: CONTENT})
    return entry


def everything(server: RunningServer, patient_id: str) -> tuple[RegistryObject, ...]:
    """GetAll."""
    status = {f"XDS{kind}Status": APPROVED for kind in ("DocumentEntry", "SubmissionSet", "Folder")}
    return ask(server, StoredQueryId.GET_ALL, patientId=f"'{patient_id}'", **status).objects


def found(server: RunningServer, patient_id: str) -> dict[str, DocumentEntry]:
    """FindDocuments, by uniqueId; ObjectRef must agree."""
    slots: dict[str, Any] = {"XDSDocumentEntryPatientId": f"'{patient_id}'", "XDSDocumentEntryStatus": APPROVED}
    objects = ask(server, StoredQueryId.FIND_DOCUMENTS, **slots).objects
    references = ask(server, StoredQueryId.FIND_DOCUMENTS, ReturnType.OBJECT_REF, **slots).references
    assert sorted(references) == sorted(item.id for item in objects)
    return {str(item.unique_id): item for item in objects if isinstance(item, DocumentEntry)}


def patient_ids(objects: tuple[RegistryObject, ...]) -> set[str]:
    return {item.patient_id for item in objects if hasattr(item, "patient_id")}


def test_a_merge_in_the_affinity_domain_moves_the_view_and_not_the_rows(server: RunningServer) -> None:
    old, new = (f"{name}^^^&{AUTHORITY}&ISO" for name in ("MERGE-OLD", "MERGE-NEW"))
    for identifier in (old, new):
        accepted(
            mllp(
                server,
                f"MSH|^~\\&|MPI|REGION|PIX|XDS|20260301080000||ADT^A01|M{next(_numbers)}|P|2.3.1",
                "EVN|A01|20260301080000",
                f"PID|||{identifier}||{identifier[:9]}^Paul||19510203|M",
                "PV1||O",
            )
        )
    entries = {str(publish(server, identifier).unique_id) for identifier in (old, new)}
    merge = (
        f"MSH|^~\\&|MPI|REGION|PIX|XDS|20260301100000||ADT^A40^ADT_A39|M{next(_numbers)}|P|2.3.1",
        "EVN|A40|20260301100000",
        f"PID|||{new}||MERGE-NEW^Paul",
        f"MRG|{old}",
    )
    accepted(mllp(server, *merge))
    merged = found(server, new)
    assert merged.keys() == entries
    assert patient_ids(everything(server, new)) == {new}
    kinds = Counter(type(item) for item in everything(server, new))
    assert (kinds[SubmissionSet], kinds[DocumentEntry], kinds[Folder]) == (2, 2, 2)
    assert found(server, old) == {}
    assert everything(server, old) == ()
    (entry, *_) = merged.values()
    assert retrieve(server, str(entry.repository_unique_id), *entries) == dict.fromkeys(entries, CONTENT)
    refused = iti42.send(submission(1, patient_id=old), endpoint=f"{server.http}/services/registry")
    assert [error.code for error in refused.errors] == [ErrorCode.UNKNOWN_PATIENT_ID]
    again = mllp(server, merge[0].replace("|M", "|N", 1), *merge[1:])
    assert (again[1][1], again[2][0]) == ("AE", "ERR")


def test_a_merge_in_a_hospital_joins_what_its_duplicates_have(server: RunningServer) -> None:
    """The hospital opened a second record for a man whose first one it did not find."""
    first, second = local("HOSP_C"), local("HOSP_C")
    accepted(adt(server, "A04", first, "Moreau^Luc||19480709|M"))
    accepted(adt(server, "A04", second, "Moreau^Lucien||1948|M"))
    before = [affinity(server, identifier) for identifier in (first, second)]
    assert before[0] != before[1]
    entries = {str(publish(server, identifier).unique_id) for identifier in before}
    accepted(adt(server, "A40", first, "Moreau^Luc||19480709|M", f"MRG|{second}"))
    after = affinity(server, first)
    assert after in before
    (subsumed,) = set(before) - {after}
    assert found(server, after).keys() == entries
    assert patient_ids(everything(server, after)) == {after}
    assert found(server, subsumed) == {}


def test_a_correction_links_and_the_next_one_separates(server: RunningServer) -> None:
    """A08 changes what the PIX Manager concludes; documents stay with the identifier under which each was published."""
    here, there = local("HOSP_C"), local("HOSP_D")
    accepted(adt(server, "A01", here, "Petit^Anne||19700402|F"))
    accepted(adt(server, "A01", there, "Petit^Lucienne||19550110|F"))
    assert there not in others(server, here)
    entries = {identifier: str(publish(server, affinity(server, identifier)).unique_id) for identifier in (here, there)}
    accepted(adt(server, "A08", there, "Petit^Anne||19700402|F"))
    assert there in others(server, here)
    assert affinity(server, here) == affinity(server, there)
    assert found(server, affinity(server, here)).keys() == set(entries.values())
    accepted(adt(server, "A08", there, "Petit^Annette||19810312|F"))
    assert there not in others(server, here)
    assert found(server, affinity(server, here)).keys() == {entries[here]}
    assert found(server, affinity(server, there)).keys() == {entries[there]}


def ct(**attributes: Any) -> Dataset:
    uids = {name: generate_uid(None) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
    return pydicom.dcmread(BytesIO(image(**(uids | attributes))))


def wait_for_documents(server: RunningServer, patient_id: str, seconds: float = 120) -> dict[str, DocumentEntry]:
    end = time.monotonic() + seconds
    slots: dict[str, Any] = {"XDSDocumentEntryPatientId": f"'{patient_id}'", "XDSDocumentEntryStatus": APPROVED}
    while not ask(server, StoredQueryId.FIND_DOCUMENTS, **slots).objects:
        assert time.monotonic() < end, "the study was not published in time"
        time.sleep(0.2)
    return found(server, patient_id)


def test_images_that_name_their_issuer_by_its_namespace_alone(server: RunningServer) -> None:
    """Issuer of Patient ID (0010,0021) is what older modalities send; the feed told which authority that is."""
    identifier = local("HOSP_D")
    accepted(adt(server, "A01", identifier, "Roux^Zoé||19990909|F"))
    store(server, ct(PatientID=identifier.partition("^")[0], IssuerOfPatientID="HOSP_D"))
    (entry,) = wait_for_documents(server, affinity(server, identifier)).values()
    assert entry.source_patient_id == identifier.replace("^^^HOSP_D&", "^^^&")


def test_images_of_a_foreign_issuer_never_reach_a_namesake_of_the_affinity_domain(server: RunningServer) -> None:
    """Two authorities may issue the same number: an issuer that nobody knows is not the affinity domain."""
    number = "77"
    mine = f"{number}^^^&{AUTHORITY}&ISO"
    accepted(
        mllp(
            server,
            f"MSH|^~\\&|MPI|REGION|PIX|XDS|20260301080000||ADT^A01|M{next(_numbers)}|P|2.3.1",
            "EVN|A01|20260301080000",
            f"PID|||{mine}||Blanc^Noé||20100101|M",
            "PV1||O",
        )
    )
    same = {"PatientID": number, "PatientName": "Blanc^Noe", "PatientBirthDate": "20100101", "PatientSex": "M"}
    store(server, ct(**same, IssuerOfPatientID="ELSEWHERE"))
    own = ct(**same)
    store(server, own)
    (entry,) = wait_for_documents(server, mine).values()
    time.sleep(1)
    assert found(server, mine) == {entry.unique_id: entry}
    assert any(str(own.StudyInstanceUID) in reference for reference in entry.reference_ids)
