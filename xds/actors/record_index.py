"""The index of a patient's record, made on demand: what documents and images there are, newest first.

It lists Approved stable entries whose confidentiality codes are all among those of the on-demand entry, so that it tells nobody
more than its own codes allow, and is the same whoever asks.

Spec: ITI TF-1 10.2.6.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol
from uuid import NAMESPACE_OID, uuid5

from xds.model.identifiers import read_cx
from xds.model.metadata import Code, DocumentEntry
from xds.model.on_demand import IndexedDocument, ProducedDocument, RecordIndex
from xds.model.vocabulary import RECORD_INDEX, RECORD_INDEX_FORMATS, SlotName
from xds.wire.record_index import write_cda, write_text

#: formatCode of an on-demand entry whose document is such an index. Its mimeType chooses the form.
FORMAT: Final = Code(RECORD_INDEX, RECORD_INDEX_FORMATS, "Index of a patient's record")
CDA: Final = "text/xml"
TEXT: Final = "text/plain"

#: Documents in one index at most.
LONGEST: Final = 5000

_WRITERS: Final = {CDA: write_cda, TEXT: write_text}


class DocumentsOfPatient(Protocol):
    """Where the entries come from."""

    def of_patient(self, patient_id: str, limit: int) -> Sequence[DocumentEntry]:
        """Approved stable entries of a patient (CX), at most `limit`."""


class RecordIndexProducer:
    """Implements `xds.ports.OnDemandProducer`."""

    def __init__(self, documents: DocumentsOfPatient) -> None:
        self._documents = documents

    def accepts(self, entry: DocumentEntry) -> bool:
        """True for an on-demand entry with the format of an index in a form that can be written."""
        return entry.format_code is not None and _is_index(entry) and entry.mime_type in _WRITERS

    def produce(self, entry: DocumentEntry) -> ProducedDocument:
        """The index as of now. As long as what it lists does not change it has the same uniqueId and the same octets."""
        index = self._index(entry)
        write = _WRITERS[entry.mime_type or CDA]
        state = hashlib.sha256(write(index)).hexdigest()
        index = replace(index, unique_id=f"2.25.{uuid5(NAMESPACE_OID, f'{entry.unique_id} {state}').int}")
        return ProducedDocument(index.unique_id, entry.mime_type or CDA, write(index))

    def _index(self, entry: DocumentEntry) -> RecordIndex:
        patient = read_cx(entry.patient_id or "")
        if patient is None or not entry.confidentiality_codes:
            raise ValueError("a registered DocumentEntry has a patientId and a confidentialityCode")
        allowed = {(code.code, code.scheme) for code in entry.confidentiality_codes}
        listed = [
            _line(item)
            for item in self._documents.of_patient(entry.patient_id or "", LONGEST)
            if not _is_index(item) and {(code.code, code.scheme) for code in item.confidentiality_codes} <= allowed
        ]
        listed.sort(key=lambda item: (item.time.ljust(14, "0"), item.unique_id), reverse=True)
        fields = _patient_fields(entry)
        return RecordIndex(
            unique_id=entry.unique_id or "",
            title=entry.title or FORMAT.display,
            code=entry.type_code or FORMAT,
            confidentiality=entry.confidentiality_codes[0],
            language=entry.slot_value(SlotName.LANGUAGE_CODE) or "en",
            patient=patient,
            custodian=entry.repository_unique_id or "",
            time=listed[0].time if listed else None,
            documents=tuple(listed),
            name=fields.get("PID-5"),
            birth_date=fields.get("PID-7"),
            sex=fields.get("PID-8"),
        )


def _is_index(entry: DocumentEntry) -> bool:
    code = entry.format_code
    return code is not None and (code.code, code.scheme) == (FORMAT.code, FORMAT.scheme)


def _line(entry: DocumentEntry) -> IndexedDocument:
    code = entry.type_code
    author = entry.authors[0] if entry.authors else None
    names = (author.person or "").split("^") if author else []
    person = " ".join(part for part in (*names[2:3], *names[1:2]) if part)
    institution = author.institutions[0].partition("^")[0] if author and author.institutions else ""
    return IndexedDocument(
        time=entry.service_start_time or entry.creation_time or "",
        kind=code.display or code.code if code else "",
        title=entry.title or "",
        author=", ".join(part for part in (person, institution) if part),
        mime_type=entry.mime_type or "",
        unique_id=entry.unique_id or "",
    )


def _patient_fields(entry: DocumentEntry) -> Mapping[str, str]:
    """The first value of each field of sourcePatientInfo."""
    fields: dict[str, str] = {}
    for text in entry.slot(SlotName.SOURCE_PATIENT_INFO):
        name, _, value = text.partition("|")
        fields.setdefault(name, value)
    return fields
