"""Metadata in is metadata out: what was submitted as XML, registered, queried and read again says the same.

Spec: ITI TF-3 4.2.3; ITI TF-2 3.18.4.1.2.6, 3.42.4.1.3. The Registry's own are ids of sub-objects, logicalID, version, status and
lastUpdateTime; everything else belongs to the source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.actors.registry_fixtures import BOTH, Registry, open_registry
from tests.builders import association, document_entry, folder, submission, submission_set
from tests.wire.test_ebrim import VALUE, XML_TEXT
from xds.model.metadata import (
    Association,
    Author,
    Code,
    DocumentEntry,
    LocalizedString,
    RegistryObject,
    Slot,
    Submission,
)
from xds.model.vocabulary import AssociationType, SlotName, StoredQueryId
from xds.wire.ebrim import read_submission, write_submission
from xds.wire.xml import parse

Kind = TypeVar("Kind", bound=RegistryObject)

#: Texts that are kept as they are at every place: not blank, without white space around them.
TEXT = VALUE.filter(str.strip)
#: The same without the delimiters of HL7.
WORD = TEXT.map(lambda text: "".join(character for character in text if character not in "^&|~\\")).map(str.strip).filter(bool)
CODE = st.builds(Code, TEXT, st.sampled_from(["1.2.3", "2.16.840.1.113883.6.1"]), TEXT)
AUTHOR = st.builds(
    Author,
    st.none() | st.builds("{}^{}^{}^^^^^^&1.2.3&ISO".format, WORD, WORD, WORD),
    st.lists(WORD, min_size=1, max_size=2).map(tuple),
    st.lists(WORD, max_size=2).map(tuple),
    st.lists(WORD, max_size=2).map(tuple),
    st.sampled_from([(), ("^^Internet^a@b.example",), ("^PRS^PH^^^^+31 42 1123 4567",)]),
)
#: Metadata of the source's own: any slot whose name is a URN outside of IHE.
EXTRA = st.dictionaries(
    st.from_regex(r"urn:x-own:[a-z]{1,12}", fullmatch=True), st.lists(TEXT, min_size=1, max_size=3).map(tuple), max_size=3
).map(lambda slots: tuple(Slot(name, values) for name, values in slots.items()))
LABELS = st.lists(
    st.builds(LocalizedString, XML_TEXT, st.sampled_from([None, "fr-FR", "en"]), st.sampled_from([None, "UTF-8"])), max_size=3
).map(tuple)
TIME = st.sampled_from(["2024", "202402", "2024022913", "20240229130501"])

DOCUMENT: dict[str, st.SearchStrategy[Any]] = {
    "authors": st.lists(AUTHOR, max_size=3).map(tuple),
    "class_code": CODE,
    "type_code": CODE,
    "format_code": CODE,
    "practice_setting_code": CODE,
    "healthcare_facility_type_code": CODE,
    "confidentiality_codes": st.lists(CODE, min_size=1, max_size=3, unique_by=str).map(tuple),
    "event_codes": st.lists(CODE, max_size=3, unique_by=str).map(tuple),
    "creation_time": TIME,
    "service_start_time": st.none() | TIME,
    "service_stop_time": st.none(),
    "language_code": st.sampled_from(["fr", "en-US", "de-CH"]),
    "legal_authenticator": st.none() | st.builds("^{}^{}".format, WORD, WORD),
    "reference_ids": st.none() | st.lists(st.builds("{}^^^&1.2.3&ISO^urn:x".format, WORD), min_size=1, max_size=3).map(tuple),
    "source_patient_info": st.none() | st.builds("PID-5|{}^{}".format, WORD, WORD).map(lambda line: (line, "PID-8|F")),
    "mime_type": st.sampled_from(["application/pdf", "text/xml", "text/goofy"]),
    "extra_slots": EXTRA,
}
PACKAGE: dict[str, st.SearchStrategy[Any]] = {
    "authors": st.lists(AUTHOR, max_size=2).map(tuple),
    "content_type_code": CODE,
    "submission_time": TIME,
    "intended_recipients": st.none() | st.builds("{}|^{}^{}".format, WORD, WORD, WORD).map(lambda text: (text,)),
    "extra_slots": EXTRA,
}
FOLDER: dict[str, st.SearchStrategy[Any]] = {
    "code_list": st.lists(CODE, min_size=1, max_size=3, unique_by=str).map(tuple),
    "extra_slots": EXTRA,
}


@st.composite
def submissions(draw: Any) -> Submission:
    """One or two documents, a folder or none, and a signature with a reason, all with whatever a source may say."""

    def said(item: Kind) -> Kind:
        title = item.name if isinstance(item, Association) else draw(LABELS)
        # A Folder has a title (Table 4.2.3.4-1).
        named = title if any(text.value.strip() for text in title) else item.name
        return replace(item, name=named, description=draw(LABELS))

    def drawn(strategies: dict[str, st.SearchStrategy[Any]]) -> dict[str, Any]:
        return {name: draw(strategy) for name, strategy in strategies.items()}

    documents = [said(document_entry(id=f"D{number}", **drawn(DOCUMENT))) for number in range(draw(st.integers(1, 2)))]
    folders = [said(folder(id="F", **drawn(FOLDER)))] if draw(st.booleans()) else []
    signatures = [association(AssociationType.SIGNS, "D1", "D0", documentation=draw(CODE))] if len(documents) > 1 else []
    package = said(submission_set(**drawn(PACKAGE)))
    return submission(documents, folders=folders, submission_set=package, others=[said(item) for item in signatures])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    opened = open_registry(tmp_path_factory.mktemp("registry"))
    yield opened
    opened.database.close()


def plain(item: RegistryObject, names: dict[str, str]) -> RegistryObject:
    """The object with what is the Registry's own taken out, and objects called by the names of `names`."""
    classifications = tuple(replace(part, id="", classified_object="") for part in item.classifications)
    identifiers = tuple(replace(part, id="", registry_object="") for part in item.external_identifiers)
    slots = tuple(slot for slot in item.slots if slot.name != SlotName.LAST_UPDATE_TIME)
    changes: dict[str, Any] = (
        {"source": names[item.source], "target": names[item.target]} if isinstance(item, Association) else {}
    )
    return replace(
        item,
        id=names[item.id],
        lid=None,
        version=None,
        status=None,
        slots=slots,
        classifications=classifications,
        external_identifiers=identifiers,
        **changes,
    )


def called(objects: list[RegistryObject]) -> dict[str, str]:
    """A name of each object that does not depend on its id: uniqueId, or type and ends of an association."""
    names = {item.id: item.unique_id for item in objects if not isinstance(item, Association)}
    # In two rounds: memberships of memberships come after these.
    for item in [item for item in objects if isinstance(item, Association)] * 2:
        if {item.source, item.target} <= names.keys():
            names[item.id] = f"{item.association_type} {names[item.source]} {names[item.target]}"
    return names


@settings(deadline=None, database=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
@given(submissions())
def test_what_was_submitted_comes_back(registry: Registry, sent: Submission) -> None:
    received, problems = read_submission(parse(write_submission(sent)))
    assert received is not None
    assert problems == []
    registry.accept(received)
    package = f"'{sent.submission_set.unique_id}'"
    found = registry.ask(StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, XDSSubmissionSetUniqueId=package)
    documents = ",".join(f"'{item.id}'" for item in found if isinstance(item, DocumentEntry))
    related = registry.ask(StoredQueryId.GET_ASSOCIATIONS, uuid=f"({documents})", XDSAssociationStatus=BOTH)
    found += [item for item in related if item.id not in {other.id for other in found}]
    expected, names = list(sent.objects()), called(found)
    wanted = called(expected)
    assert {names[item.id]: plain(item, names) for item in found} == {wanted[item.id]: plain(item, wanted) for item in expected}
