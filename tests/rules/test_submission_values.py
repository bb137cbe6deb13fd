"""Values that look right and are not, and unusual ones that are. Spec: ITI TF-3 4.2.3.1, Table 4.2.3.1.7-2."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import document_entry, folder, submission, uuid_for
from xds.model.errors import ErrorCode
from xds.model.metadata import Author, DocumentEntry, LocalizedString, Slot
from xds.model.vocabulary import STABLE, DocumentEntryScheme
from xds.rules.submission import check

ACCESSION, ORDER, STUDY = (f"urn:ihe:iti:xds:{name}" for name in ("2013:accession", "2013:order", "2016:studyInstanceUID"))


def attributes_at_fault(entry: DocumentEntry) -> list[str]:
    """What is named in the errors, all of which must be errors of metadata."""
    errors = check(submission([entry]), registering=True)
    assert {error.code for error in errors} <= {ErrorCode.REGISTRY_METADATA_ERROR}
    return [error.context.split(": ")[1] for error in errors]


def author(institution: str = "Hospital", person: str = "") -> dict[str, Any]:
    return {"authors": (Author(person, (institution,), (), (), ()),)}


def telecommunication(text: str) -> dict[str, Any]:
    return {"authors": (Author("1^Doe", (), (), (), (text,)),)}


def extra(name: str) -> dict[str, Any]:
    return {"extra_slots": (Slot(name, ("value",)),)}


def patient_info(*values: str) -> dict[str, Any]:
    return {"source_patient_info": values}


@pytest.mark.parametrize(
    "attributes",
    [
        {"hash": "AB" * 20},
        {"creation_time": "20240229"},
        {"mime_type": "text/plain; charset=utf-8"},
        {"mime_type": "application/vnd.acme.x+xml"},
        # ITI TF-3 4.2.3.2.13: "language identifiers as described by the IETF", RFC 5646.
        *(
            {"language_code": tag}
            for tag in ("zh-Hant-TW", "sl-rozaj-biske", "es-419", "FR", "x-own", "i-klingon", "en-a-ext-x-1")
        ),
        # ITI TF-3 4.2.3.2.26: "From the perspective of all other actors, the uniqueId should be considered an opaque string."
        *({"unique_id": text} for text in ("документ", "1.2.3^Report 7", "a&b<c>", "x" * 128)),
        {"title": "🩺" * 127},
        {"legal_authenticator": "11375^Welby^Marcus^J^Jr. MD^Dr^^^&1.2.840.113619.6.197&ISO"},
        {"reference_ids": (f"1^^^&1.2.3&ISO^{ORDER}", f"1.2.3^^^^{STUDY}", f"1^^^HOSP^{ACCESSION}", f"2^^^^{ACCESSION}")},
        author("Hospital^^^^^&1.2.3.9.1789&ISO^^^^45"),
        author("Hospital^^^^^^^^^1.2.3.4"),
        author("Hospital^^^^^^^^^"),
        patient_info("PID-3|A^^^&1.2&ISO~B^^^&1.3&ISO", "PID-5|Doe^Jane~Roe^Jane", "PID-5|D", "PID-7|1970", "PID-39|x"),
        patient_info("PID-3|", "PID-3|A^^^&1.2&ISO^PI", "PID-3|A^^^HOSPITAL", "PID-7|"),
        *(
            telecommunication(text)
            for text in ("^^Internet^a@b.c", "^NET^Internet^a@b.c^", "^PRS^PH^^31^42^1^2", "^^PH^^^^1^^^^^^")
        ),
        # ITI TF-3 4.2.3.2.12: an OID URN; it is the OID that has 64 characters at most.
        {"home": "urn:oid:2.999." + "1" * 58},
        extra("urn:acme:a%20b/c?x=1#y"),
        extra("urn:x"),
    ],
    ids=str,
)
def test_unusual_values_that_are_right(attributes: dict[str, Any]) -> None:
    assert attributes_at_fault(document_entry(**attributes)) == []


@pytest.mark.parametrize(
    ("attribute", "attributes"),
    [
        ("hash", {"hash": "a" * 39}),
        ("size", {"size": "-1"}),
        ("size", {"size": "١٢"}),
        ("creationTime", {"creation_time": "20230229"}),
        ("creationTime", {"creation_time": "２０２３"}),
        *(
            ("languageCode", {"language_code": tag})
            for tag in ("e", "a-DE", "en-", "de-419-DE", "english-tongue-code", "en-é", "x")
        ),
        # ITI TF-3 4.2.3.2.27: "Shall have only a single value."
        ("URI", {"extra_slots": (Slot("URI", ("a", "b")),)}),
        *(("uniqueId", {"unique_id": text}) for text in ("", " ", " 1.2.3", "1.2.3\t", "x" * 129)),
        ("mimeType", {"mime_type": "text/é"}),
        ("mimeType", {"mime_type": "text/plain; charset=é"}),
        ("repositoryUniqueId", {"repository_unique_id": "1.02.3"}),
        ("sourcePatientId", {"source_patient_id": "L1"}),
        ("sourcePatientId", {"source_patient_id": "L1^^^&1.2.3&ISO^PI"}),
        ("legalAuthenticator", {"legal_authenticator": "1^Welby^^^^^^^HOSP"}),
        ("legalAuthenticator", {"legal_authenticator": "1^Welby^^^^^^^HOSP&1.2&ISO"}),
        ("urn:ihe:iti:xds:2013:referenceIdList", {"reference_ids": (f"1^^^^{ORDER}",)}),
        ("urn:ihe:iti:xds:2013:referenceIdList", {"reference_ids": ("1^^^&1.2.3&ISO",)}),
        ("author.authorInstitution", author("Hospital^L")),
        ("author.authorInstitution", author("Hospital^^^^^^^^^45")),
        ("author.authorInstitution", author("Hospital^^^^^HOSP&1.2&ISO^^^^45")),
        ("sourcePatientInfo", patient_info("PID-40|x")),
        ("sourcePatientInfo", patient_info("PID-7|1970~1971")),
        # ITI TF-3 Table 4.2.3.1.7-2, Field: "the Document Sharing data type is used to represent the value".
        *(("sourcePatientInfo", patient_info(f"PID-7|{date}")) for date in ("1970-01-01", "01.01.1970", "1970 01")),
        *(
            ("sourcePatientInfo", patient_info(f"PID-3|{cx}"))
            for cx in ("A", "A^^^", "^^^&1.2&ISO", "A^^^&x&ISO", "A^^^&1.2&ISO~B")
        ),
        # ITI TF-3 Table 4.2.3.1.7-2, XTN: "No other fields shall be specified."
        *(
            ("author.authorTelecommunication", telecommunication(text))
            for text in ("^^Internet^a@b.c^1", "^^Internet^a@b.c^^^2", "x^^PH^^^^1", "^^PH^a^^^1", "^^PH^^^^1^2^3", "^^PH^^1^2")
        ),
        ("urn:ihe:iti:xds:2013:referenceIdList", {"reference_ids": (f"no uid^^^^{STUDY}",)}),
        ("sourcePatientInfo", patient_info("PID-8|F", "PID-8|M")),
        *(("homeCommunityId", {"home": home}) for home in ("2.999", "urn:oid:", "urn:oid:02.1", "urn:oid:2.999." + "1" * 59)),
        ("Slot", extra("urn:acme:a b")),
        ("Slot", extra("urn:acmé:a")),
        ("Slot", extra("urn:ihe:mine")),
        # ITI TF-3 4.2.3.2.24: "any string of length less than 128 characters".
        ("title", {"title": "x" * 128}),
        ("id", {"id": ""}),
        ("id", {"id": "urn:uuid:ABCDEF00-0000-4000-8000-000000000001"}),
    ],
    ids=str,
)
def test_values_that_only_look_right(attribute: str, attributes: dict[str, Any]) -> None:
    assert attribute in attributes_at_fault(document_entry(**attributes))


def test_each_title_has_its_limit() -> None:
    entry = replace(document_entry(), name=(LocalizedString("short", "en"), LocalizedString("x" * 128, "fr")))
    assert attributes_at_fault(entry) == ["title"]


@pytest.mark.parametrize("wrong", ["urn:uuid:nonsense", "urn:uuid:ABCDEF00-0000-4000-8000-000000000001"])
def test_ids_of_parts_are_uuids_in_lower_case_or_symbols(wrong: str) -> None:
    entry = document_entry()
    code, identifier = entry.classifications[0], entry.external_identifiers[0]
    codes = (replace(code, id=wrong), *entry.classifications[1:])
    assert attributes_at_fault(replace(entry, classifications=codes)) == ["id of Classification"]
    identifiers = (replace(identifier, id=wrong), *entry.external_identifiers[1:])
    assert attributes_at_fault(replace(entry, external_identifiers=identifiers)) == ["id of ExternalIdentifier"]


@pytest.mark.parametrize("shared", [uuid_for(2), "part"])
def test_parts_may_share_an_id(shared: str) -> None:
    entry = document_entry()
    same = tuple(replace(item, id=shared) for item in entry.classifications)
    assert attributes_at_fault(replace(entry, classifications=same)) == []


def test_an_author_is_no_code() -> None:
    entry = document_entry()
    named = tuple(
        replace(item, node_representation="author") if item.scheme == DocumentEntryScheme.AUTHOR else item
        for item in entry.classifications
    )
    assert attributes_at_fault(replace(entry, classifications=named)) == ["author"]


def test_external_identifiers_have_the_names_of_the_standard() -> None:
    entry = document_entry(object_type=STABLE)
    other = replace(entry.external_identifiers[0], name=(LocalizedString("patientId"),))
    (error,) = check(
        submission([replace(entry, external_identifiers=(other, *entry.external_identifiers[1:]))]), registering=True
    )
    assert "must have the Name XDSDocumentEntry.patientId; received 'patientId'" in error.context


def test_an_example_of_the_standard_has_a_blank_in_the_name_of_an_identifier() -> None:
    """Spec: ITI TF-3 4.2.3.2.16."""
    entry = document_entry()
    spaced = tuple(replace(item, name=(LocalizedString(f"{item.name[0].value} "),)) for item in entry.external_identifiers)
    assert attributes_at_fault(replace(entry, external_identifiers=spaced)) == []


def test_a_classification_has_a_scheme_or_a_node() -> None:
    """Spec: ITI TF-3 4.2.3.1.10: "Classification elements in ebRIM use one of two attributes"."""
    entry = document_entry()
    both = replace(entry.classifications[-1], node=STABLE)
    assert attributes_at_fault(replace(entry, classifications=(*entry.classifications[:-1], both))) == ["classificationNode"]


@pytest.mark.parametrize("title", [None, "", "  "])
def test_a_folder_has_a_title(title: str | None) -> None:
    message = submission(1, folders=[folder(title=title)])
    assert [error.context.split(": ")[1] for error in check(message, registering=True)] == ["title"]
