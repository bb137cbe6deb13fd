"""Messages for the load: realistic metadata, built once, made unique by replacing marks in the bytes."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import replace

from xds.model.metadata import (
    Association,
    Classification,
    DocumentEntry,
    ExternalIdentifier,
    LocalizedString,
    Slot,
    Submission,
    SubmissionSet,
)
from xds.model.vocabulary import (
    DCM,
    DICOM_UIDS,
    EXTERNAL_IDENTIFIER_NAMES,
    KEY_OBJECT_SELECTION,
    STABLE,
    SUBMISSION_SET_NODE,
    AssociationType,
    DocumentEntryScheme,
    ReferenceIdType,
    SubmissionSetScheme,
)
from xds.wire import ebrim

#: Marks in the templates; each has a fixed place and is replaced by a fresh value for each message.
SERIAL = "2.25.77000000000000000000"
PATIENT = "PATIENT-MARK"
AUTHORITY = "AUTHORITY-MARK"


def _code(number: int, scheme: str, code: str, coding_scheme: str, display: str) -> Classification:
    slots = (Slot("codingScheme", (coding_scheme,)),)
    return Classification(f"c{number}", "Document01", scheme, None, code, slots, (LocalizedString(display),))


def _identifier(number: int, owner: str, scheme: DocumentEntryScheme | SubmissionSetScheme, value: str) -> ExternalIdentifier:
    return ExternalIdentifier(f"{owner}e{number}", owner, scheme, value, (LocalizedString(EXTERNAL_IDENTIFIER_NAMES[scheme]),))


def _author(owner: str, scheme: str) -> Classification:
    slots = (
        Slot("authorPerson", ("10003456^Durand^Marie^^^Dr^^^&1.2.250.1.71.4.2.1&ISO",)),
        Slot("authorInstitution", ("Centre hospitalier^^^^^&1.2.250.1.71.4.2.2&ISO^^^^450000013",)),
        Slot("authorRole", ("Radiologue",)),
        Slot("authorSpecialty", ("Radiodiagnostic",)),
    )
    return Classification(f"{owner}a", owner, scheme, None, "", slots)


def document_entry() -> DocumentEntry:
    """A manifest's DocumentEntry of about 6 kB of ebRIM."""
    scheme = DocumentEntryScheme
    slots = (
        Slot("creationTime", ("20260110091500",)),
        Slot("languageCode", ("fr-FR",)),
        Slot("serviceStartTime", ("20260110090000",)),
        Slot("serviceStopTime", ("20260110091000",)),
        Slot("sourcePatientId", ("IPP0004567^^^&1.2.250.1.71.4.2.2.7&ISO",)),
        Slot(
            "sourcePatientInfo",
            ("PID-3|IPP0004567^^^&1.2.250.1.71.4.2.2.7&ISO", "PID-5|MARTIN^Claire^^^", "PID-7|19610412", "PID-8|F"),
        ),
        Slot("hash", ("da39a3ee5e6b4b0d3255bfef95601890afd80709",)),
        Slot("size", ("21044",)),
        Slot("repositoryUniqueId", ("1.2.250.1.71.4.9.1",)),
        Slot(
            "urn:ihe:iti:xds:2013:referenceIdList",
            (
                f"{SERIAL}.9^^^^{ReferenceIdType.STUDY_INSTANCE_UID}",
                f"ACC20260110^^^&1.2.250.1.71.4.2.2.8&ISO^{ReferenceIdType.ACCESSION}",
            ),
        ),
    )
    codes = (
        _author("Document01", scheme.AUTHOR),
        _code(1, scheme.CLASS_CODE, "IMAGES", "1.3.6.1.4.1.19376.1.2.6.1", "Images"),
        _code(2, scheme.CONFIDENTIALITY_CODE, "N", "2.16.840.1.113883.5.25", "Normal"),
        _code(3, scheme.EVENT_CODE, "CT", DCM, "Computed Tomography"),
        _code(4, scheme.EVENT_CODE, "51185008", "2.16.840.1.113883.6.96", "Thorax"),
        _code(5, scheme.FORMAT_CODE, KEY_OBJECT_SELECTION, DICOM_UIDS, "Key Object Selection Document"),
        _code(6, scheme.HEALTHCARE_FACILITY_TYPE_CODE, "22232009", "2.16.840.1.113883.6.96", "Hospital"),
        _code(7, scheme.PRACTICE_SETTING_CODE, "394914008", "2.16.840.1.113883.6.96", "Radiology"),
        _code(8, scheme.TYPE_CODE, "18748-4", "2.16.840.1.113883.6.1", "Diagnostic imaging study"),
    )
    identifiers = (
        _identifier(1, "Document01", scheme.PATIENT_ID, f"{PATIENT}^^^&{AUTHORITY}&ISO"),
        _identifier(2, "Document01", scheme.UNIQUE_ID, f"{SERIAL}.1"),
    )
    return DocumentEntry(
        "Document01",
        STABLE,
        slots=slots,
        name=(LocalizedString("Scanner thoracique", "fr-FR"),),
        description=(LocalizedString("Scanner du thorax sans injection"),),
        classifications=codes,
        external_identifiers=identifiers,
        mime_type="application/dicom",
    )


def submission() -> Submission:
    """One SubmissionSet with one DocumentEntry."""
    scheme = SubmissionSetScheme
    content_type = Classification(
        "s1",
        "SubmissionSet01",
        scheme.CONTENT_TYPE_CODE,
        None,
        "Imaging",
        (Slot("codingScheme", ("1.2.250.1.71.4.9.2",)),),
        (LocalizedString("Imaging"),),
    )
    label = Classification("s2", "SubmissionSet01", None, SUBMISSION_SET_NODE)
    submission_set = SubmissionSet(
        "SubmissionSet01",
        slots=(Slot("submissionTime", ("20260110091600",)),),
        classifications=(_author("SubmissionSet01", scheme.AUTHOR), content_type, label),
        external_identifiers=(
            _identifier(1, "SubmissionSet01", scheme.PATIENT_ID, f"{PATIENT}^^^&{AUTHORITY}&ISO"),
            _identifier(2, "SubmissionSet01", scheme.UNIQUE_ID, f"{SERIAL}.2"),
            _identifier(3, "SubmissionSet01", scheme.SOURCE_ID, "1.2.250.1.71.4.9.3"),
        ),
    )
    member = Association(
        "as01",
        slots=(Slot("SubmissionSetStatus", ("Original",)),),
        association_type=AssociationType.HAS_MEMBER,
        source="SubmissionSet01",
        target="Document01",
    )
    return Submission.of(submission_set, document_entry(), member)


def envelope(action: str, body: bytes) -> bytes:
    """A SOAP 1.2 request as an independent client would write it."""
    return (
        b'<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        b'xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header><a:Action s:mustUnderstand="1">'
        + action.encode()
        + b"</a:Action>"
        b"<a:MessageID>urn:uuid:" + str(uuid.uuid4()).encode() + b"</a:MessageID><a:ReplyTo><a:Address>"
        b"http://www.w3.org/2005/08/addressing/anonymous</a:Address></a:ReplyTo>"
        b'<a:To s:mustUnderstand="1">http://127.0.0.1/bench</a:To></s:Header><s:Body>' + body + b"</s:Body></s:Envelope>"
    )


def http_post(path: str, content_type: str, body: bytes) -> bytes:
    """One HTTP/1.1 request on a kept connection."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


SOAP = "application/soap+xml; charset=UTF-8"
_MTOM = 'multipart/related; boundary="bench"; type="application/xop+xml"; start="<root@bench>"; start-info="application/soap+xml"'
_ROOT = (
    b'--bench\r\nContent-Type: application/xop+xml; charset=UTF-8; type="application/soap+xml"\r\n'
    b"Content-Transfer-Encoding: binary\r\nContent-ID: <root@bench>\r\n\r\n"
)
_CLOSING = b"\r\n--bench--\r\n"
_PART = b"\r\n--bench\r\nContent-Type: application/dicom\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <part@bench>\r\n\r\n"


def mtom(path: str, root: bytes, part: bytes | None = None) -> bytes:
    """One MTOM request with at most one part beside the envelope."""
    middle = _PART + part if part is not None else b""
    return http_post(path, _MTOM, _ROOT + root + middle + _CLOSING)


def mtom_around(path: str, root: bytes, size: int) -> tuple[bytes, bytes]:
    """What stands before and after a part of `size` octets in an MTOM request."""
    before = _ROOT + root + _PART
    whole = http_post(path, _MTOM, before)
    length = len(before) + size + len(_CLOSING)
    return whole.replace(b"Content-Length: %d" % len(before), b"Content-Length: %d" % length, 1), _CLOSING


_SERIALS = itertools.count(uuid.uuid4().int % 10**8 * 10**9)


def unique(template: bytes, patient: str) -> bytes:
    """The template with fresh unique ids, for this patient."""
    serial = f"{SERIAL[:7]}{next(_SERIALS):018d}"
    return template.replace(SERIAL.encode(), serial.encode()).replace(PATIENT.encode(), patient.encode())


def registration(authority: str) -> bytes:
    """Template of an ITI-42 envelope."""
    body = ebrim.write_submission(submission()).replace(AUTHORITY.encode(), authority.encode())
    return envelope("urn:ihe:iti:2007:RegisterDocumentSet-b", body)


def provision(authority: str) -> bytes:
    """Template of an ITI-41 root part, whose document is the MIME part `part@bench`."""
    whole = submission()
    entry = whole.document_entries[0]
    kept = tuple(slot for slot in entry.slots if slot.name not in ("hash", "size", "repositoryUniqueId"))
    whole = replace(whole, document_entries=(replace(entry, slots=kept),))
    body = ebrim.write_submission(whole).replace(AUTHORITY.encode(), authority.encode())
    return envelope(
        "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b",
        b'<x:ProvideAndRegisterDocumentSetRequest xmlns:x="urn:ihe:iti:xds-b:2007">' + body + b'<x:Document id="Document01">'
        b'<p:Include xmlns:p="http://www.w3.org/2004/08/xop/include" href="cid:part@bench"/></x:Document>'
        b"</x:ProvideAndRegisterDocumentSetRequest>",
    )


def _stored_query(
    identifier: str, return_type: str, action: str = "urn:ihe:iti:2007:RegistryStoredQuery", **parameters: str
) -> bytes:
    slots = "".join(
        f'<r:Slot name="${name}"><r:ValueList><r:Value>{value}</r:Value></r:ValueList></r:Slot>'
        for name, value in parameters.items()
    )
    body = (
        '<q:AdhocQueryRequest xmlns:q="urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0" '
        'xmlns:r="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0">'
        f'<q:ResponseOption returnComposedObjects="true" returnType="{return_type}"/>'
        f'<r:AdhocQuery id="{identifier}">{slots}</r:AdhocQuery></q:AdhocQueryRequest>'
    )
    return envelope(action, body.encode())


def find_documents(patient: str, authority: str, return_type: str = "LeafClass") -> bytes:
    """A FindDocuments envelope for the approved manifests of one patient."""
    return _stored_query(
        "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d",
        return_type,
        XDSDocumentEntryPatientId=f"'{patient}^^^&amp;{authority}&amp;ISO'",
        XDSDocumentEntryStatus="('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')",
        XDSDocumentEntryFormatCode=f"('{KEY_OBJECT_SELECTION}^^{DICOM_UIDS}')",
    )


def find_documents_of(patients: Sequence[str], authority: str) -> bytes:
    """A FindDocumentsForMultiplePatients envelope (ITI-51) for references to the approved images of several patients."""
    wanted = ",".join(f"'{patient}^^^&amp;{authority}&amp;ISO'" for patient in patients)
    return _stored_query(
        "urn:uuid:3d1bdb10-39a2-11de-89c2-2f44d94eaa9f",
        "ObjectRef",
        "urn:ihe:iti:2009:MultiPatientStoredQuery",
        XDSDocumentEntryPatientId=f"({wanted})",
        XDSDocumentEntryStatus="('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')",
        XDSDocumentEntryClassCode="('IMAGES^^1.3.6.1.4.1.19376.1.2.6.1')",
    )


def get_documents(unique_id: str) -> bytes:
    """A GetDocuments envelope for one document."""
    wanted = f"('{unique_id}')"
    return _stored_query("urn:uuid:5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4", "LeafClass", XDSDocumentEntryUniqueId=wanted)


def retrieve(repository_unique_id: str, unique_id: str) -> bytes:
    """A RetrieveDocumentSet envelope for one document."""
    body = (
        '<x:RetrieveDocumentSetRequest xmlns:x="urn:ihe:iti:xds-b:2007"><x:DocumentRequest>'
        f"<x:RepositoryUniqueId>{repository_unique_id}</x:RepositoryUniqueId>"
        f"<x:DocumentUniqueId>{unique_id}</x:DocumentUniqueId></x:DocumentRequest></x:RetrieveDocumentSetRequest>"
    )
    return envelope("urn:ihe:iti:2007:RetrieveDocumentSet", body.encode())
