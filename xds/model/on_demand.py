"""On-demand documents: an entry whose document is made when somebody retrieves it, and what is made.

Spec: ITI TF-1 10.2.6, 10.2.7; ITI TF-2 3.43.4.1.3, 3.61.
"""

from __future__ import annotations

from dataclasses import dataclass

from xds.model.identifiers import PatientIdentifier
from xds.model.metadata import Code, DocumentEntry


@dataclass(frozen=True, slots=True)
class OnDemandEntry:
    """A registered on-demand DocumentEntry with what the registry says today.

    `patient_id` is the CX of the surviving patient, `class_code` and `confidentiality` have the form `code^^scheme`,
    `latest_snapshot` is the entryUUID of the newest Approved snapshot.
    """

    entry: DocumentEntry
    patient_id: str
    class_code: str | None
    confidentiality: tuple[str, ...]
    latest_snapshot: str | None = None


@dataclass(frozen=True, slots=True)
class ProducedDocument:
    """A document that was made. The same `unique_id` always stands for the same octets."""

    unique_id: str
    mime_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """One line of the index of a patient's record. `time` is a DTM of any precision."""

    time: str
    kind: str
    title: str
    author: str
    mime_type: str
    unique_id: str


@dataclass(frozen=True, slots=True)
class RecordIndex:
    """An index of a patient's record. `time` is that of the newest document in it, absent when there is none; `code` is its type.

    `custodian` is the OID of the repository that makes it; `name`, `birth_date` and `sex` are HL7 v2 (PID-5, PID-7, PID-8).
    """

    unique_id: str
    title: str
    code: Code
    confidentiality: Code
    language: str
    patient: PatientIdentifier
    custodian: str
    time: str | None
    documents: tuple[IndexedDocument, ...]
    name: str | None = None
    birth_date: str | None = None
    sex: str | None = None
