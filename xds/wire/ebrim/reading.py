"""From ebRIM to registry objects. What is tolerated stands at the head of the package."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Final

from lxml import etree

from xds.model.metadata import (
    Association,
    Classification,
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
from xds.model.vocabulary import FOLDER_NODE, SUBMISSION_SET_NODE, AvailabilityStatus
from xds.wire.xml import LCM, RIM, schema_errors

#: Values of a slot that is remembered at most.
KEPT_VALUES: Final = 8

_SLOT: Final = f"{{{RIM}}}Slot"
_NAME: Final = f"{{{RIM}}}Name"
_DESCRIPTION: Final = f"{{{RIM}}}Description"
_VERSION_INFO: Final = f"{{{RIM}}}VersionInfo"
_CLASSIFICATION: Final = f"{{{RIM}}}Classification"
_EXTERNAL_IDENTIFIER: Final = f"{{{RIM}}}ExternalIdentifier"
_EXTRINSIC_OBJECT: Final = f"{{{RIM}}}ExtrinsicObject"
_REGISTRY_PACKAGE: Final = f"{{{RIM}}}RegistryPackage"
_ASSOCIATION: Final = f"{{{RIM}}}Association"
_OBJECT_REF: Final = f"{{{RIM}}}ObjectRef"
_REGISTRY_OBJECT_LIST: Final = f"{{{RIM}}}RegistryObjectList"
_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"
_BLANKS: Final = " \t\r\n"

_STATUSES: Final[dict[str | None, AvailabilityStatus]] = {str(status): status for status in AvailabilityStatus}


def read_submission(element: etree._Element) -> tuple[Submission | None, list[str]]:
    """The objects of an `lcm:SubmitObjectsRequest`, and what is wrong with its form, in words.

    The submission is None when the message does not follow the schema and cannot be read.
    Problems beside a submission are breaches of structure that the schema cannot see.

    Spec: ITI TF-2 3.42.4.1.2; ITI TF-3 4.2.1.4.
    """
    problems = schema_errors(element, "xdsb.xsd")
    if problems:
        return None, problems
    if element.tag != f"{{{LCM}}}SubmitObjectsRequest":
        return None, [f"SubmitObjectsRequest: element: must be lcm:SubmitObjectsRequest; received '{element.tag}'"]
    objects_list = element.find(_REGISTRY_OBJECT_LIST)
    if objects_list is None:
        return None, ["SubmitObjectsRequest: RegistryObjectList: must be present; received none"]
    objects, _, problems = read_objects(objects_list)
    return Submission.of(*objects), problems


def read_objects(objects_list: Iterable[etree._Element]) -> tuple[list[RegistryObject], list[str], list[str]]:
    """Children of a `rim:RegistryObjectList`: the objects in their order, the ids of its ObjectRefs, and problems in words."""
    objects: list[RegistryObject] = []
    references: list[str] = []
    problems: list[str] = []
    beside: list[Classification | ExternalIdentifier] = []
    for child in objects_list:
        tag = child.tag
        reader = _READERS.get(tag)
        if reader is not None:
            objects.append(reader(child))
            if tag == _REGISTRY_PACKAGE and child.find(_REGISTRY_OBJECT_LIST) is not None:
                rule = "must be absent: members are named by HasMember"
                problems.append(f"RegistryPackage {child.get('id', '')}: RegistryObjectList: {rule}; received one")
        elif tag == _OBJECT_REF:
            references.append(child.get("id", ""))
        elif tag == _CLASSIFICATION:
            beside.append(_read_classification(child))
        elif tag == _EXTERNAL_IDENTIFIER:
            beside.append(_read_external_identifier(child))
        elif isinstance(tag, str):
            name = etree.QName(child).localname
            problems.append(
                f"RegistryObjectList {child.get('id', '')}: element: has no meaning in XDS metadata; received '{name}'"
            )
    if beside:
        problems += _put_inside(objects, beside)
    return [_labelled(item) if type(item) is UnlabelledPackage else item for item in objects], references, problems


def _put_inside(objects: list[RegistryObject], beside: list[Classification | ExternalIdentifier]) -> list[str]:
    """Move what stands beside the objects into those that it names, and report what names none of them, or is no label.

    Spec: ITI TF-3 4.2.1.5 (a list may hold the labels of packages), 4.2.3.1.2, 4.2.3.1.3 (codes and identifiers are embedded).
    """
    places = {item.id: place for place, item in reversed(list(enumerate(objects)))}
    problems = []
    for part in beside:
        is_classification = isinstance(part, Classification)
        owner = part.classified_object if isinstance(part, Classification) else part.registry_object
        place = places.get(owner)
        if place is None:
            kind, attribute = (
                ("Classification", "classifiedObject") if is_classification else ("ExternalIdentifier", "registryObject")
            )
            problems.append(f"{kind} {part.id}: {attribute}: must name an object of the submission; received '{owner[:100]}'")
            continue
        if not isinstance(part, Classification) or part.node is None:
            rule = "must stand inside the object that it names"
            problems.append(f"{type(part).__name__} {part.id}: place: {rule}; received beside '{owner[:100]}'")
        target = objects[place]
        if isinstance(part, Classification):
            objects[place] = replace(target, classifications=(*target.classifications, part))
        else:
            objects[place] = replace(target, external_identifiers=(*target.external_identifiers, part))
    return problems


def _labelled(package: RegistryObject) -> RegistryObject:
    """The package as what its label says it is."""
    nodes = [item.node for item in package.classifications if item.node]
    kind = SubmissionSet if SUBMISSION_SET_NODE in nodes else Folder if FOLDER_NODE in nodes else None
    if kind is None:
        return package
    return kind(
        package.id,
        package.object_type,
        package.lid,
        package.home,
        package.status,
        package.version,
        package.slots,
        package.name,
        package.description,
        package.classifications,
        package.external_identifiers,
    )


#: The fields of RegistryObject in their order.
_Common = tuple[
    str,
    str | None,
    str | None,
    str | None,
    AvailabilityStatus | None,
    int | None,
    tuple[Slot, ...],
    tuple[LocalizedString, ...],
    tuple[LocalizedString, ...],
    tuple[Classification, ...],
    tuple[ExternalIdentifier, ...],
]


def _read_document_entry(element: etree._Element) -> DocumentEntry:
    return DocumentEntry(*_read_common(element), element.get("mimeType"))


def _read_package(element: etree._Element) -> UnlabelledPackage:
    return UnlabelledPackage(*_read_common(element))


def _read_association(element: etree._Element) -> Association:
    get = element.get
    return Association(
        *_read_common(element),
        get("associationType", "").strip(_BLANKS),
        get("sourceObject", "").strip(_BLANKS),
        get("targetObject", "").strip(_BLANKS),
    )


_READERS: Final[dict[str, Callable[[etree._Element], RegistryObject]]] = {
    _EXTRINSIC_OBJECT: _read_document_entry,
    _REGISTRY_PACKAGE: _read_package,
    _ASSOCIATION: _read_association,
}


def _read_common(element: etree._Element) -> _Common:
    slots: list[Slot] = []
    classifications: list[Classification] = []
    identifiers: list[ExternalIdentifier] = []
    name: tuple[LocalizedString, ...] = ()
    description: tuple[LocalizedString, ...] = ()
    version: int | None = None
    for child in element:
        tag = child.tag
        if tag == _SLOT:
            slots.append(Slot(child.get("name", ""), _read_values(child)))
        elif tag == _CLASSIFICATION:
            classifications.append(_read_classification(child))
        elif tag == _EXTERNAL_IDENTIFIER:
            identifiers.append(_read_external_identifier(child))
        elif tag == _NAME:
            name = _read_text(child)
        elif tag == _DESCRIPTION:
            description = _read_text(child)
        elif tag == _VERSION_INFO:
            text = child.get("versionName", "")
            version = int(text) if text.isdecimal() and len(text) < 10 else None
    get = element.get
    return (
        get("id", "").strip(_BLANKS),
        _uri(get("objectType")),
        _uri(get("lid")),
        _uri(get("home")) or None,
        _STATUSES.get(_uri(get("status"))),
        version,
        tuple(slots),
        name,
        description,
        tuple(classifications),
        tuple(identifiers),
    )


def _uri(value: str | None) -> str | None:
    """The value of an attribute of type xs:anyURI that may be absent: white space around it does not belong to it."""
    return None if value is None else value.strip(_BLANKS)


def _read_values(slot: etree._Element) -> tuple[str, ...]:
    if len(slot) == 1:
        values = slot[0]
        if len(values) == 1:
            return ((values[0].text or "").strip(_BLANKS),)
    return tuple([(value.text or "").strip(_BLANKS) for values in slot for value in values])


def _read_text(element: etree._Element) -> tuple[LocalizedString, ...]:
    if len(element) == 1:
        attributes = element[0].items()
        if len(attributes) == 1 and attributes[0][0] == "value":
            return _text(attributes[0][1])
    return tuple([LocalizedString(item.get("value", ""), item.get(_LANG), item.get("charset")) for item in element])


@lru_cache(maxsize=4096)
def _text(value: str) -> tuple[LocalizedString, ...]:
    """A text without language, as the names of codes and identifiers are: the same ones come all day."""
    return (LocalizedString(value),)


_kept_slot: Final = lru_cache(maxsize=4096)(Slot)


def _repeated_slot(name: str, values: tuple[str, ...]) -> Slot:
    """A slot of a code or of an author, which come as often. Long ones do not, and would fill the memory."""
    return _kept_slot(name, values) if len(values) <= KEPT_VALUES else Slot(name, values)


def _read_classification(element: etree._Element) -> Classification:
    slots: list[Slot] = []
    name: tuple[LocalizedString, ...] = ()
    description: tuple[LocalizedString, ...] = ()
    for child in element:
        tag = child.tag
        if tag == _SLOT:
            slots.append(_repeated_slot(child.get("name", ""), _read_values(child)))
        elif tag == _NAME:
            name = _read_text(child)
        elif tag == _DESCRIPTION:
            description = _read_text(child)
    get = element.get
    return Classification(
        get("id", "").strip(_BLANKS),
        get("classifiedObject", "").strip(_BLANKS),
        _uri(get("classificationScheme")),
        _uri(get("classificationNode")),
        get("nodeRepresentation", ""),
        tuple(slots),
        name,
        description,
    )


def _read_external_identifier(element: etree._Element) -> ExternalIdentifier:
    name: tuple[LocalizedString, ...] = ()
    for child in element:
        if child.tag == _NAME:
            name = _read_text(child)
    get = element.get
    return ExternalIdentifier(
        get("id", "").strip(_BLANKS),
        get("registryObject", "").strip(_BLANKS),
        get("identificationScheme", "").strip(_BLANKS),
        get("value", ""),
        name,
    )
