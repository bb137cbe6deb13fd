"""Registry objects as ebRIM. Spec: ITI TF-3 4.2.1.2, 4.2.3.1."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.builders import (
    PATIENT_ID,
    association,
    document_entry,
    folder,
    has_member,
    label,
    submission,
    submission_set,
    uuid_for,
)
from xds.model.fragments import Fragment, ObjectKind
from xds.model.metadata import (
    Association,
    Classification,
    Code,
    DocumentEntry,
    ExternalIdentifier,
    Folder,
    LocalizedString,
    RegistryObject,
    Slot,
    Submission,
    SubmissionSet,
    UnlabelledPackage,
)
from xds.model.vocabulary import (
    FOLDER_NODE,
    STABLE,
    SUBMISSION_SET_NODE,
    AssociationType,
    AvailabilityStatus,
    FolderScheme,
    ObjectType,
    SlotName,
    SubmissionSetScheme,
)
from xds.wire.ebrim import (
    complete,
    escape,
    kind_of,
    parts_of,
    read_objects,
    read_stored,
    read_submission,
    start_tag,
    with_last_update_time,
    with_patient_id,
    write_object,
    write_submission,
)
from xds.wire.xml import LCM, RIM, parse

FIXED = settings(derandomize=True, deadline=None, database=None)


def in_list(*elements: bytes) -> etree._Element:
    """A RegistryObjectList around these elements."""
    return parse(f'<rim:RegistryObjectList xmlns:rim="{RIM}">'.encode() + b"".join(elements) + b"</rim:RegistryObjectList>")


def fragment(obj: RegistryObject) -> Fragment:
    return Fragment(kind_of(obj), obj.id, obj.status or AvailabilityStatus.APPROVED, write_object(obj), obj.home)


def read_back(obj: RegistryObject) -> RegistryObject:
    objects, _, problems = read_objects(in_list(complete(fragment(obj))))
    assert problems == []
    return objects[0]


def submitted(text: str) -> etree._Element:
    """An lcm:SubmitObjectsRequest around this text, which uses the prefix rim."""
    return parse(
        f'<lcm:SubmitObjectsRequest xmlns:lcm="{LCM}" xmlns:rim="{RIM}"><rim:RegistryObjectList>{text}'
        "</rim:RegistryObjectList></lcm:SubmitObjectsRequest>".encode()
    )


# --- what is written is read again ------------------------------------------------------------------------------------

XML_TEXT = st.text(
    st.one_of(
        st.sampled_from("&<>\"'\t\n\r|^~]é\u2028\U0001f600"),
        st.characters(codec="utf-8", exclude_characters="\ufffe\uffff", exclude_categories=("Cs", "Cc")),
    ),
    max_size=40,
)
#: Around values of slots, and of attributes of type xs:anyURI, white space has no meaning.
VALUE = XML_TEXT.map(lambda text: text.strip(" \t\r\n"))
SLOTS = st.lists(st.builds(Slot, XML_TEXT, st.lists(VALUE, max_size=4).map(tuple)), max_size=8).map(tuple)
LABELS = st.lists(
    st.builds(LocalizedString, XML_TEXT, st.sampled_from([None, "fr-FR", "en"]), st.sampled_from([None, "UTF-8"])), max_size=2
).map(tuple)
CLASSIFICATIONS = st.lists(
    st.builds(Classification, VALUE, VALUE, VALUE, st.none(), XML_TEXT, SLOTS, LABELS, LABELS), max_size=3
).map(tuple)
IDENTIFIERS = st.lists(st.builds(ExternalIdentifier, VALUE, VALUE, VALUE, XML_TEXT, LABELS), max_size=3).map(tuple)
COMMON = {
    "id": VALUE,
    "lid": VALUE.filter(bool),
    "status": st.sampled_from(AvailabilityStatus),
    "version": st.integers(1, 10_000),
    "slots": SLOTS,
    "name": LABELS,
    "description": LABELS,
    "classifications": CLASSIFICATIONS,
    "external_identifiers": IDENTIFIERS,
}


@FIXED
@given(st.builds(DocumentEntry, **COMMON, object_type=st.one_of(st.none(), VALUE), home=VALUE.filter(bool), mime_type=XML_TEXT))
def test_any_document_entry_survives_the_wire(entry: DocumentEntry) -> None:
    assert read_back(entry) == entry


@FIXED
@given(
    st.builds(
        Association,
        **COMMON,
        object_type=st.just(ObjectType.ASSOCIATION.value),
        association_type=VALUE,
        source=VALUE,
        target=VALUE,
    )
)
def test_any_association_survives_the_wire(item: Association) -> None:
    assert read_back(item) == item


@FIXED
@given(st.builds(Folder, **COMMON, object_type=st.just(ObjectType.REGISTRY_PACKAGE.value)))
def test_any_folder_survives_the_wire_and_gets_its_label(package: Folder) -> None:
    received = read_back(package)
    added, *others = received.classifications
    assert added.node == FOLDER_NODE
    assert replace(received, classifications=tuple(others)) == package


@FIXED
@given(VALUE.filter(bool), st.lists(VALUE, min_size=1, max_size=30))
def test_any_text_in_a_submission_keeps_the_schema(title: str, values: list[str]) -> None:
    entry = document_entry(title=title, comments=title, extra_slots=(Slot("urn:example:any", tuple(values)),))
    sent = submission([entry])
    received, problems = read_submission(parse(write_submission(sent)))
    assert problems == []
    assert received == sent


@pytest.mark.parametrize("sent", [submission(1), submission(3, folders=2), submission(0, folders=1)])
def test_a_submission_is_read_as_it_was_written(sent: Submission) -> None:
    assert read_submission(parse(write_submission(sent))) == (sent, [])


def test_characters_that_xml_cannot_carry_are_replaced() -> None:
    assert escape("a\x00b\x1fc\ud800d\uffff") == "a\ufffdb\ufffdc\ufffdd\ufffd"
    assert escape("plain") == "plain"


# --- canonical form ---------------------------------------------------------------------------------------------------


def test_what_leaves_is_complete() -> None:
    """Query answers hold lid, version, and objectType of every part. Spec: ITI TF-2 3.18.4.1.2.6."""
    element = in_list(complete(fragment(document_entry())))[0]
    assert element.get("lid") == element.get("id") == "Document01"
    assert element.get("status") == AvailabilityStatus.APPROVED
    assert [child.get("versionName") for child in element.iter(f"{{{RIM}}}VersionInfo")] == ["1"]
    for name, expected in (("Classification", ObjectType.CLASSIFICATION), ("ExternalIdentifier", ObjectType.EXTERNAL_IDENTIFIER)):
        assert {child.get("objectType") for child in element.iter(f"{{{RIM}}}{name}")} == {expected.value}


def test_children_stand_in_the_order_of_the_schema() -> None:
    element = in_list(complete(fragment(document_entry(comments="c"))))[0]
    names = list(dict.fromkeys(etree.QName(child).localname for child in element))
    assert names == ["Slot", "Name", "Description", "VersionInfo", "Classification", "ExternalIdentifier"]


def test_a_stored_object_is_read_as_it_was_registered() -> None:
    for obj in (document_entry(home="urn:oid:1.2.3"), folder(), association("urn:x", "a", "b", id="c")):
        found = read_stored(fragment(obj))
        assert found == replace(obj, lid=obj.id, version=1, status=AvailabilityStatus.APPROVED, object_type=found.object_type)


def test_an_empty_home_is_none() -> None:
    sent = etree.tostring(submitted(complete(fragment(document_entry(home="urn:oid:1"))).decode()))
    found, problems = read_submission(parse(sent.replace(b'home="urn:oid:1"', b'home=""')))
    assert problems == []
    assert found is not None
    assert found.document_entries[0].home is None


def test_the_stored_form_holds_neither_status_nor_home() -> None:
    entry = document_entry(status=AvailabilityStatus.DEPRECATED, home="urn:oid:1.2.3")
    stored = write_object(entry)
    assert stored.startswith(b' id="Document01" lid="Document01"')
    assert b"Deprecated" not in stored
    assert b"urn:oid:1.2.3" not in stored
    assert start_tag(ObjectKind.DOCUMENT_ENTRY, AvailabilityStatus.DEPRECATED, "urn:oid:1.2.3") == (
        b'<rim:ExtrinsicObject status="urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated" home="urn:oid:1.2.3"'
    )
    assert read_back(entry).status is AvailabilityStatus.DEPRECATED
    assert read_back(entry).home == "urn:oid:1.2.3"


def test_fragments_are_joined_in_their_order() -> None:
    objects = submission(2, folders=1).objects()
    read, _, _ = read_objects(in_list(*parts_of(map(fragment, objects))))
    assert [item.id for item in read] == [item.id for item in objects]
    assert [type(item) for item in read] == [type(item) for item in objects]


def test_a_label_that_is_missing_is_always_the_same() -> None:
    package = submission_set(labelled=False)
    assert write_object(package) == write_object(package)
    assert re.search(
        f'id="urn:uuid:[0-9a-f-]{{36}}" classifiedObject="{package.id}" classificationNode="', write_object(package).decode()
    )


def test_a_submission_leaves_version_and_logical_id_to_the_registry() -> None:
    written = write_submission(submission(1))
    assert b"lid=" not in written
    assert b"VersionInfo" not in written


# --- changing what is stored -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [None, "20200101000000"])
def test_last_update_time_is_put_in_or_replaced(before: str | None) -> None:
    trap = Classification("c", "Folder01", scheme=FolderScheme.CODE, slots=(Slot("lastUpdateTime", ("1999",)),))
    package = folder(last_update_time=before, extra_slots=(Slot("urn:a:b", ("x",)),))
    package = replace(package, classifications=(*package.classifications, trap))
    stored = with_last_update_time(write_object(package), "20240506070809")
    element = in_list(start_tag(ObjectKind.FOLDER, AvailabilityStatus.APPROVED) + stored)
    received = read_objects(element)[0][0]
    assert isinstance(received, Folder)
    assert received.last_update_time == "20240506070809"
    assert len([slot for slot in received.slots if slot.name == SlotName.LAST_UPDATE_TIME]) == 1
    assert received.classifications == package.classifications
    assert received.slot("urn:a:b") == ("x",)


def test_patient_id_is_replaced_after_a_merge() -> None:
    package = submission_set()
    stored = with_patient_id(write_object(package), SubmissionSetScheme.PATIENT_ID, "P2&<^^^&1.2.3&ISO")
    received = read_objects(in_list(start_tag(ObjectKind.SUBMISSION_SET, None) + stored))[0][0]
    assert isinstance(received, SubmissionSet)
    assert received.patient_id == "P2&<^^^&1.2.3&ISO"
    assert (received.unique_id, received.source_id) == (package.unique_id, package.source_id)
    with pytest.raises(ValueError, match="subsection not found"):
        with_patient_id(stored, FolderScheme.PATIENT_ID, PATIENT_ID)


# --- tolerated deviations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("node", "kind"), [(SUBMISSION_SET_NODE, SubmissionSet), (FOLDER_NODE, Folder)])
@pytest.mark.parametrize("nested", [True, False])
def test_the_label_may_stand_inside_the_package_or_beside_it(node: str, kind: type[RegistryObject], nested: bool) -> None:
    text = f'<rim:Classification id="c" classifiedObject="p" classificationNode="{node}"/>'
    package = f'<rim:RegistryPackage id="p">{text}</rim:RegistryPackage>' if nested else f'{text}<rim:RegistryPackage id="p"/>'
    received, problems = read_submission(submitted(package))
    assert problems == []
    assert received is not None
    (obj,) = received.objects()
    assert type(obj) is kind
    assert obj.classifications == (Classification("c", "p", node=node),)


def test_a_package_without_label_is_kept_to_be_reported() -> None:
    received, problems = read_submission(submitted('<rim:RegistryPackage id="p"/>'))
    assert problems == []
    assert received is not None
    assert [type(item) for item in received.objects()] == [UnlabelledPackage]


def test_an_identifier_beside_its_object_belongs_to_it_and_is_reported() -> None:
    """Spec: ITI TF-3 4.2.3.1.3: it "must also be embedded within the referenced object"."""
    text = '<rim:ExternalIdentifier id="e" registryObject="d" identificationScheme="urn:uuid:1" value="v"/>'
    received, problems = read_submission(submitted(f'{text}<rim:ExtrinsicObject id="d" objectType="{STABLE}"/>'))
    assert problems == ["ExternalIdentifier e: place: must stand inside the object that it names; received beside 'd'"]
    assert received is not None
    assert received.document_entries[0].external_identifiers == (ExternalIdentifier("e", "d", "urn:uuid:1", "v"),)


def test_what_stands_beside_and_names_no_object_is_a_problem() -> None:
    text = (
        f'<rim:Classification id="c" classifiedObject="nobody" classificationNode="{FOLDER_NODE}"/>'
        '<rim:ExternalIdentifier id="e" registryObject="nothing" identificationScheme="urn:uuid:1" value="v"/>'
    )
    received, problems = read_submission(submitted(text))
    assert received == Submission(())
    assert problems == [
        "Classification c: classifiedObject: must name an object of the submission; received 'nobody'",
        "ExternalIdentifier e: registryObject: must name an object of the submission; received 'nothing'",
    ]


def test_object_refs_are_ignored_and_returned_apart() -> None:
    received, problems = read_submission(submitted('<rim:ObjectRef id="urn:uuid:1"/>'))
    assert (received, problems) == (Submission(()), [])
    assert read_objects(in_list(b'<rim:ObjectRef id="urn:uuid:1"/>')) == ([], ["urn:uuid:1"], [])


def test_an_element_without_meaning_is_a_problem() -> None:
    _, _, problems = read_objects(in_list(b'<rim:Organization id="o"/>'))
    assert problems == ["RegistryObjectList o: element: has no meaning in XDS metadata; received 'Organization'"]


def test_the_other_deviations_that_are_tolerated() -> None:
    text = (
        f'<rim:ExtrinsicObject id="d" objectType="{STABLE}" status="urn:oasis:names:tc:ebxml-regrep:StatusType:Submitted">'
        '<rim:Slot name="size"><rim:ValueList><rim:Value>\n  4\n </rim:Value></rim:ValueList></rim:Slot>'
        '<rim:Slot name="size"><rim:ValueList/></rim:Slot>'
        '<rim:Name/><rim:Description/><rim:VersionInfo versionName="1.1"/>'
        '<rim:Classification id="c" classifiedObject="d" classificationScheme="urn:uuid:2"/></rim:ExtrinsicObject>'
    )
    received, problems = read_submission(submitted(text))
    assert problems == []
    assert received is not None
    (entry,) = received.document_entries
    assert entry.slots == (Slot("size", ("4",)), Slot("size", ()))
    assert (entry.name, entry.description, entry.version, entry.status, entry.lid) == ((), (), None, None, None)
    assert entry.classifications == (Classification("c", "d", scheme="urn:uuid:2"),)


# --- messages that cannot be read --------------------------------------------------------------------------------------


def test_a_message_against_the_schema_is_refused_with_every_fault() -> None:
    received, problems = read_submission(submitted("<rim:ExtrinsicObject/><rim:RegistryPackage/>"))
    assert received is None
    assert len(problems) == 2
    assert all("'id'" in problem for problem in problems)


def test_a_value_over_256_characters_is_refused() -> None:
    entry = document_entry(extra_slots=(Slot("urn:a:b", ("x" * 257,)),))
    received, problems = read_submission(parse(write_submission(submission([entry]))))
    assert received is None
    assert "256" in problems[0]


def test_another_message_is_refused() -> None:
    assert read_submission(parse(f'<rim:RegistryObjectList xmlns:rim="{RIM}"/>'.encode()))[0] is None


def test_builders_make_what_they_are_asked_for() -> None:
    """The other tests rely on these."""
    item = association(AssociationType.RPLC, "a", uuid_for(1), documentation=Code("c", "s"))
    assert item.classifications[0].code == Code("c", "s", "c")
    assert has_member(submission_set(), document_entry()).submission_set_status == "Original"
    assert label("x", FOLDER_NODE).classified_object == "x"
    with pytest.raises(TypeError, match="unknown attributes: nonsense"):
        document_entry(nonsense=1)
