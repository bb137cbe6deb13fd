"""Messages of ITI-42 that break one rule each, as octets, with the code that the standard has for it.

What builders cannot build is here: attributes that are absent, elements at the wrong place, values that only XML can hold.
Spec: ITI TF-2 3.42.4.1.3; ITI TF-3 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.actors.registry_fixtures import Registry, open_registry
from tests.builders import PATIENT_ID, document_entry, folder, submission
from tests.transactions.test_iti42_iti18 import register
from xds.model.errors import ErrorCode
from xds.model.metadata import Author
from xds.model.vocabulary import FOLDER_NODE, SUBMISSION_SET_NODE
from xds.wire.ebrim import write_submission

RME = ErrorCode.REGISTRY_METADATA_ERROR
UNRESOLVED = ErrorCode.UNRESOLVED_REFERENCE
OTHER_PATIENT = "P2^^^&amp;1.2.3.4.5&amp;ISO"
PATIENT = re.escape(PATIENT_ID.replace("&", "&amp;"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Nothing of what is refused is stored, so that one registry serves all."""
    opened = open_registry(tmp_path_factory.mktemp("registry"))
    opened.announce("P2^^^&1.2.3.4.5&ISO")
    yield opened
    opened.database.close()


def message() -> str:
    entry = document_entry(authors=(Author("1^Doe", ("Hosp",), ("Role",), (), ()),), event_codes=())
    return write_submission(submission([entry], folders=[folder()])).decode()


def slot(name: str, *values: str) -> str:
    inside = "".join(f"<rim:Value>{value}</rim:Value>" for value in values)
    return f'<rim:Slot name="{name}"><rim:ValueList>{inside}</rim:ValueList></rim:Slot>'


def of(element: str, scheme: str) -> str:
    """A pattern of the start tag of that classification or identifier, up to the attribute's value."""
    return rf'(<rim:{element}\b[^>]*(?:classificationScheme|identificationScheme)="urn:uuid:{scheme}[^"]*")'


SLOT_OF_HASH = r'<rim:Slot name="hash">.*?</rim:Slot>'
CLASS_CODE = r"<rim:Classification\b[^>]*urn:uuid:41a5887f.*?</rim:Classification>"
ENTRY_ID = r"<rim:ExternalIdentifier\b[^>]*urn:uuid:2e82c1f6.*?</rim:ExternalIdentifier>"
ENTRY = r"(<rim:ExtrinsicObject\b[^>]*?)"
MEMBER = r'(<rim:Association\b[^>]*targetObject="Document01")'

CASES: dict[str, tuple[str, str, ErrorCode]] = {
    # Slots
    "slot without ValueList": (SLOT_OF_HASH, '<rim:Slot name="hash"/>', RME),
    "slot with an empty ValueList": (SLOT_OF_HASH, slot("hash"), RME),
    "slot with an empty value": (SLOT_OF_HASH, slot("hash", ""), RME),
    "slot without name": (r'<rim:Slot name="hash">', "<rim:Slot>", RME),
    "slot twice": (SLOT_OF_HASH, slot("hash", "a" * 40) * 2, RME),
    "digits of another script": (r'<rim:Slot name="size">.*?</rim:Slot>', slot("size", "٣"), RME),
    "number with a sign": (r'<rim:Slot name="size">.*?</rim:Slot>', slot("size", "+5"), RME),
    "time with an offset": (r'<rim:Slot name="creationTime">.*?</rim:Slot>', slot("creationTime", "20240101120000+0100"), RME),
    "time of another form": (r'<rim:Slot name="creationTime">.*?</rim:Slot>', slot("creationTime", "2024-01-01"), RME),
    "language with an underscore": (r'<rim:Slot name="languageCode">.*?</rim:Slot>', slot("languageCode", "en_US"), RME),
    "slot of a SubmissionSet in an entry": (SLOT_OF_HASH, slot("submissionTime", "2024") + slot("hash", "a" * 40), RME),
    "slot of metadata update": (SLOT_OF_HASH, slot("AssociationPropagation", "no") + slot("hash", "a" * 40), RME),
    "extra metadata in capital letters": (SLOT_OF_HASH, slot("hash", "a" * 40) + slot("URN:example:x", "v"), RME),
    # Classifications
    "code without nodeRepresentation": (of("Classification", "41a5887f") + r'([^>]*) nodeRepresentation="[^"]*"', r"\1\2", RME),
    "code without classifiedObject": (r'(<rim:Classification\b[^>]*?) classifiedObject="Document01"', r"\1", RME),
    "code without display name": (rf"({CLASS_CODE[: -len('.*?</rim:Classification>')]}.*?)<rim:Name>.*?</rim:Name>", r"\1", RME),
    "code without codingScheme": (rf"({CLASS_CODE[: -len('.*?</rim:Classification>')]}.*?)<rim:Slot.*?</rim:Slot>", r"\1", RME),
    "scheme in capital letters": (r"urn:uuid:41a5887f", "urn:uuid:41A5887F", RME),
    "scheme as node": (r'classificationScheme="(urn:uuid:41a5887f[^"]*)"', r'classificationNode="\1"', RME),
    "no classification at all": (CLASS_CODE, "", RME),
    # ITI TF-3 4.2.3.1.2: "the Classification must also be embedded within the referenced object".
    "code beside its entry": (rf"(<rim:ExtrinsicObject.*?)({CLASS_CODE})(.*?</rim:ExtrinsicObject>)", r"\1\3\2", RME),
    "author with two persons": (slot("authorPerson", "1^Doe").replace("^", r"\^"), slot("authorPerson", "1^Doe", "2^Roe"), RME),
    "author with an unknown slot": ('<rim:Slot name="authorRole">', '<rim:Slot name="authorTitle">', RME),
    # Labels
    "folder labelled as SubmissionSet": (FOLDER_NODE, SUBMISSION_SET_NODE, RME),
    "SubmissionSet labelled as folder": (SUBMISSION_SET_NODE, FOLDER_NODE, RME),
    "package of limited metadata": (SUBMISSION_SET_NODE, "urn:uuid:5003a9db-8d8d-49e6-bf0c-990e34ac7707", RME),
    # Identifiers
    "identifier without value": (r'(<rim:ExternalIdentifier\b[^>]*?) value="[^"]*"', r"\1", RME),
    "identifier without registryObject": (r'(<rim:ExternalIdentifier\b[^>]*?) registryObject="[^"]*"', r"\1", RME),
    "identifier without id": (r'(<rim:ExternalIdentifier\b[^>]*?) id="[^"]*"', r"\1", RME),
    "no identifier": (ENTRY_ID, "", RME),
    "identifier beside its entry": (rf"({ENTRY_ID})(.*?</rim:ExtrinsicObject>)", r"\2\1", RME),
    # Objects
    "entry without id": (ENTRY + r' id="Document01"', r"\1", RME),
    "entry without mimeType": (ENTRY + r' mimeType="[^"]*"', r"\1", RME),
    "entry without objectType": (ENTRY + r' objectType="[^"]*"', r"\1", RME),
    "entry with an attribute of nobody": (r"<rim:ExtrinsicObject ", '<rim:ExtrinsicObject colour="red" ', RME),
    "entry with the id of the SubmissionSet": ('"Document01"', '"SubmissionSet01"', RME),
    "uuid in capital letters": ('"Document01"', '"urn:uuid:ABCDEF00-0000-4000-8000-000000000001"', RME),
    "uuid that is none": ('"Document01"', '"urn:uuid:1"', RME),
    "empty id": ('"Document01"', '""', RME),
    "object without meaning": ("</rim:RegistryObjectList>", '<rim:Service id="s"/></rim:RegistryObjectList>', RME),
    "objects inside a package": ("</rim:RegistryPackage>", "<rim:RegistryObjectList/></rim:RegistryPackage>", RME),
    "element of another namespace": ("</rim:ExtrinsicObject>", '<x xmlns="urn:x"/></rim:ExtrinsicObject>', RME),
    "children in the wrong order": ("</rim:ExtrinsicObject>", slot("urn:a:b", "x") + "</rim:ExtrinsicObject>", RME),
    # Associations
    "association without type": (r'(<rim:Association\b[^>]*?) associationType="[^"]*"', r"\1", RME),
    "association without source": (r'(<rim:Association\b[^>]*?) sourceObject="[^"]*"', r"\1", RME),
    "association without target": (r'(<rim:Association\b[^>]*?) targetObject="[^"]*"', r"\1", RME),
    "association of a short type": ("urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember", "HasMember", RME),
    "SubmissionSetStatus in small letters": ("<rim:Value>Original</rim:Value>", "<rim:Value>original</rim:Value>", RME),
    "SubmissionSetStatus of what is registered": ("<rim:Value>Original</rim:Value>", "<rim:Value>Reference</rim:Value>", RME),
    "no SubmissionSetStatus": (slot("SubmissionSetStatus", "Original"), "", RME),
    "member that nobody is": (
        MEMBER,
        '<rim:Association id="a" associationType="urn:ihe:iti:2007:AssociationType:RPLC"'
        ' sourceObject="Document01" targetObject="nobody"/>'
        r"\1",
        UNRESOLVED,
    ),
    # Patients and unique ids
    "entry of another patient": (
        of("ExternalIdentifier", "58a6f841") + f'([^>]*value="){PATIENT}',
        rf"\1\2{OTHER_PATIENT}",
        ErrorCode.PATIENT_ID_DOES_NOT_MATCH,
    ),
    "folder of another patient": (
        of("ExternalIdentifier", "f64ffdf0") + f'([^>]*value="){PATIENT}',
        rf"\1\2{OTHER_PATIENT}",
        ErrorCode.PATIENT_ID_DOES_NOT_MATCH,
    ),
    "nobody's identifier": (PATIENT, "P9^^^&amp;1.2.3.4.5&amp;ISO", ErrorCode.UNKNOWN_PATIENT_ID),
    "the number of another authority": (PATIENT, "P1^^^&amp;1.2.3.4.6&amp;ISO", ErrorCode.UNKNOWN_PATIENT_ID),
}
#: Cases that change every occurrence.
EVERYWHERE = {
    "entry with the id of the SubmissionSet",
    "uuid in capital letters",
    "uuid that is none",
    "empty id",
    "nobody's identifier",
    "the number of another authority",
}


def test_the_message_that_the_cases_break_is_right(registry: Registry) -> None:
    assert register(registry, message().encode()).succeeded


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("objectType", r'[^"]*7edca82f[^"]*'),
        ("associationType", "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember"),
        ("targetObject", "Document01"),
        ("classificationScheme", r'[^"]*41a5887f[^"]*'),
        ("identificationScheme", r'[^"]*2e82c1f6[^"]*'),
        ("classificationNode", FOLDER_NODE),
    ],
)
def test_white_space_around_a_uri_is_none_of_it(registry: Registry, attribute: str, value: str) -> None:
    """Their type is xs:anyURI, which collapses it; an example of the standard has a blank. Spec: ITI TF-3 4.2.2.2."""
    sent, count = re.subn(f'{attribute}="({value})"', rf'{attribute}=" \1\n"', message())
    assert count
    answer = register(registry, sent.encode())
    assert answer.succeeded, answer.errors


def test_what_two_checks_see_is_said_once(registry: Registry) -> None:
    pattern, replacement, _ = CASES["member that nobody is"]
    errors = register(registry, re.sub(pattern, replacement, message(), count=1).encode()).errors
    assert len(errors) == len(set(errors))


@pytest.mark.parametrize("case", CASES)
def test_what_breaks_one_rule_gets_its_code(registry: Registry, case: str) -> None:
    pattern, replacement, code = CASES[case]
    sent, count = re.subn(pattern, replacement, message(), count=0 if case in EVERYWHERE else 1, flags=re.DOTALL)
    assert count
    answer = register(registry, sent.encode())
    assert not answer.succeeded
    assert code in {error.code for error in answer.errors}, answer.errors
    assert all(error.context for error in answer.errors)
