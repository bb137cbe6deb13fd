"""Registry objects as ebRIM 3.0: DocumentEntry, SubmissionSet, Folder and Association on the wire and in the store.

Reading goes once over the tree; writing joins strings. What is written is always valid ebRIM in one canonical form, because the
Registry stores it as it is and answers queries by joining it.

Tolerated deviations, when reading:

| received | read as |
|---|---|
| a label, code or identifier in the list beside its object | put inside the object that it names |
| `rim:ObjectRef` in the list of submitted objects | ignored |
| Name or Description without a LocalizedString | absent |
| Classification without `nodeRepresentation` | empty text |
| `status` that is neither Approved nor Deprecated | absent (the Registry decides it) |
| empty `home` | absent |
| `versionName` that is not a number | absent |
| white space around the text of a Value | dropped |
| other `objectType` of packages, associations, classifications and identifiers | written as the standard's |

Spec: ITI TF-3 4.2.1.2, 4.2.3.1; ebRIM 3.0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Final
from uuid import NAMESPACE_OID, uuid5

from lxml import etree

from xds.model.fragments import Fragment, ObjectKind
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
from xds.model.vocabulary import FOLDER_NODE, SUBMISSION_SET_NODE, AvailabilityStatus, ObjectType, SlotName
from xds.wire.xml import LCM, RIM, parse, schema_errors

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
_ELEMENTS: Final = {
    ObjectKind.DOCUMENT_ENTRY: "ExtrinsicObject",
    ObjectKind.SUBMISSION_SET: "RegistryPackage",
    ObjectKind.FOLDER: "RegistryPackage",
    ObjectKind.ASSOCIATION: "Association",
}
_LABELS: Final[dict[type[RegistryObject], str]] = {SubmissionSet: SUBMISSION_SET_NODE, Folder: FOLDER_NODE}

#: Characters that need care in text and attributes; the second half are those that XML cannot carry at all.
_SPECIAL: Final = re.compile('[&<>"\t\n\r]|[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')
_REPLACEMENTS: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def escape(text: str) -> str:
    """Text for an attribute value or for element content; characters that XML cannot carry become U+FFFD."""
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda found: _REPLACEMENTS.get(found[0], "\ufffd"), text)


# --- reading ---------------------------------------------------------------------------------------------------------


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


def read_fragments(fragments: Iterable[Fragment]) -> list[RegistryObject]:
    """Stored objects as objects again, in their order."""
    element = parse(f'<rim:RegistryObjectList xmlns:rim="{RIM}">'.encode() + join(fragments) + b"</rim:RegistryObjectList>")
    return read_objects(element)[0]


def _put_inside(objects: list[RegistryObject], beside: list[Classification | ExternalIdentifier]) -> list[str]:
    """Move what stands beside the objects into those that it names, and report what names none of them."""
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
    return kind(*(getattr(package, name) for name in RegistryObject.__slots__))


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
    return Association(*_read_common(element), get("associationType", ""), get("sourceObject", ""), get("targetObject", ""))


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
        get("id", ""),
        get("objectType"),
        get("lid"),
        get("home") or None,
        _STATUSES.get(get("status")),
        version,
        tuple(slots),
        name,
        description,
        tuple(classifications),
        tuple(identifiers),
    )


def _read_values(slot: etree._Element) -> tuple[str, ...]:
    return tuple([(value.text or "").strip(_BLANKS) for values in slot for value in values])


def _read_text(element: etree._Element) -> tuple[LocalizedString, ...]:
    return tuple([LocalizedString(item.get("value", ""), item.get(_LANG), item.get("charset")) for item in element])


def _read_classification(element: etree._Element) -> Classification:
    slots: list[Slot] = []
    name: tuple[LocalizedString, ...] = ()
    description: tuple[LocalizedString, ...] = ()
    for child in element:
        tag = child.tag
        if tag == _SLOT:
            slots.append(Slot(child.get("name", ""), _read_values(child)))
        elif tag == _NAME:
            name = _read_text(child)
        elif tag == _DESCRIPTION:
            description = _read_text(child)
    get = element.get
    return Classification(
        get("id", ""),
        get("classifiedObject", ""),
        get("classificationScheme"),
        get("classificationNode"),
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
    return ExternalIdentifier(get("id", ""), get("registryObject", ""), get("identificationScheme", ""), get("value", ""), name)


# --- writing ---------------------------------------------------------------------------------------------------------


def kind_of(obj: RegistryObject) -> ObjectKind:
    """The kind of a registry object. Errors: KeyError for a package without label."""
    return _KINDS[type(obj)]


_KINDS: Final[dict[type[RegistryObject], ObjectKind]] = {
    DocumentEntry: ObjectKind.DOCUMENT_ENTRY,
    SubmissionSet: ObjectKind.SUBMISSION_SET,
    Folder: ObjectKind.FOLDER,
    Association: ObjectKind.ASSOCIATION,
}


@lru_cache(maxsize=256)
def start_tag(kind: ObjectKind, status: AvailabilityStatus | None, home: str | None = None) -> bytes:
    """`<rim:X status="…" home="…"`: what stands before the stored form of an object."""
    text = f"<rim:{_ELEMENTS[kind]}"
    if status is not None:
        text += f' status="{status}"'
    if home is not None:
        text += f' home="{escape(home)}"'
    return text.encode()


def complete(fragment: Fragment) -> bytes:
    """The whole element of a stored object. The prefix `rim` must be bound around it."""
    return start_tag(fragment.kind, fragment.status, fragment.home) + fragment.xml


def join(fragments: Iterable[Fragment]) -> bytes:
    """The whole elements of stored objects, one after the other."""
    return b"".join([part for item in fragments for part in (start_tag(item.kind, item.status, item.home), item.xml)])


def write_object(obj: RegistryObject) -> bytes:
    """An object in the form in which it is stored and answered: all that follows `<rim:X status="…"`.

    `lid` and version are always written (a first version is 1, and its logical id is its own id), `status` and `home` never:
    they stand in the start tag. A package without its label gets it.

    Spec: ITI TF-2 3.18.4.1.2.6 (what an answer must hold); ebRIM 3.0 (order of the children).
    """
    return _render(obj, obj.lid or obj.id, obj.version or 1).encode()


def write_submission(submission: Submission) -> bytes:
    """An `lcm:SubmitObjectsRequest` that declares its own namespaces. `lid` and version are written only where they are set."""
    parts = [f'<lcm:SubmitObjectsRequest xmlns:lcm="{LCM}" xmlns:rim="{RIM}"><rim:RegistryObjectList>'.encode()]
    for obj in submission.objects():
        kind = _KINDS.get(type(obj), ObjectKind.FOLDER)
        parts += (start_tag(kind, obj.status, obj.home), _render(obj, obj.lid, obj.version).encode())
    parts.append(b"</rim:RegistryObjectList></lcm:SubmitObjectsRequest>")
    return b"".join(parts)


def _render(obj: RegistryObject, lid: str | None, version: int | None) -> str:
    kind = _KINDS.get(type(obj), ObjectKind.FOLDER)
    parts = [f' id="{escape(obj.id)}"']
    if lid is not None:
        parts.append(f' lid="{escape(lid)}"')
    object_type = obj.object_type
    if isinstance(obj, DocumentEntry):
        if obj.mime_type is not None:
            parts.append(f' mimeType="{escape(obj.mime_type)}"')
    elif isinstance(obj, Association):
        object_type = ObjectType.ASSOCIATION
        parts.append(
            f' associationType="{escape(obj.association_type)}" sourceObject="{escape(obj.source)}" '
            f'targetObject="{escape(obj.target)}"'
        )
    else:
        object_type = ObjectType.REGISTRY_PACKAGE
    parts.append(f' objectType="{escape(object_type)}">' if object_type is not None else ">")
    parts += [_slot(slot) for slot in obj.slots]
    if obj.name:
        parts.append(f"<rim:Name>{_strings(obj.name)}</rim:Name>")
    if obj.description:
        parts.append(f"<rim:Description>{_strings(obj.description)}</rim:Description>")
    if version is not None:
        parts.append(f'<rim:VersionInfo versionName="{version}"/>')
    parts += [_classification(item) for item in _with_label(obj)]
    parts += [_external_identifier(item) for item in obj.external_identifiers]
    parts.append(f"</rim:{_ELEMENTS[kind]}>")
    return "".join(parts)


def _with_label(obj: RegistryObject) -> tuple[Classification, ...]:
    node = _LABELS.get(type(obj))
    if node is None or any(item.node == node for item in obj.classifications):
        return obj.classifications
    label = Classification(f"urn:uuid:{uuid5(NAMESPACE_OID, obj.id + node)}", obj.id, node=node)
    return (label, *obj.classifications)


def _slot(slot: Slot) -> str:
    values = "".join([f"<rim:Value>{escape(value)}</rim:Value>" for value in slot.values])
    return f'<rim:Slot name="{escape(slot.name)}"><rim:ValueList>{values}</rim:ValueList></rim:Slot>'


def _strings(strings: tuple[LocalizedString, ...]) -> str:
    return "".join([_localized_string(item) for item in strings])


def _localized_string(item: LocalizedString) -> str:
    lang = f' xml:lang="{escape(item.lang)}"' if item.lang is not None else ""
    charset = f' charset="{escape(item.charset)}"' if item.charset is not None else ""
    return f'<rim:LocalizedString{lang}{charset} value="{escape(item.value)}"/>'


def _classification(item: Classification) -> str:
    scheme = f' classificationScheme="{escape(item.scheme)}"' if item.scheme is not None else ""
    node = f' classificationNode="{escape(item.node)}"' if item.node is not None else ""
    code = (
        f' nodeRepresentation="{escape(item.node_representation)}"' if item.scheme is not None or item.node_representation else ""
    )
    name = f"<rim:Name>{_strings(item.name)}</rim:Name>" if item.name else ""
    description = f"<rim:Description>{_strings(item.description)}</rim:Description>" if item.description else ""
    return (
        f'<rim:Classification id="{escape(item.id)}" classifiedObject="{escape(item.classified_object)}"{scheme}{node}{code}'
        f' objectType="{ObjectType.CLASSIFICATION.value}">{"".join([_slot(slot) for slot in item.slots])}{name}{description}'
        "</rim:Classification>"
    )


def _external_identifier(item: ExternalIdentifier) -> str:
    name = f"<rim:Name>{_strings(item.name)}</rim:Name>" if item.name else ""
    return (
        f'<rim:ExternalIdentifier id="{escape(item.id)}" registryObject="{escape(item.registry_object)}" '
        f'identificationScheme="{escape(item.scheme)}" value="{escape(item.value)}" '
        f'objectType="{ObjectType.EXTERNAL_IDENTIFIER.value}">{name}</rim:ExternalIdentifier>'
    )


# --- reading and changing what is stored ----------------------------------------------------------------------------


def read_stored(fragment: Fragment) -> RegistryObject:
    """A stored object as it was registered. Errors: XmlError when the store is damaged."""
    element = parse(f'<rim:RegistryObjectList xmlns:rim="{RIM}">'.encode() + complete(fragment) + b"</rim:RegistryObjectList>")
    return read_objects(element)[0][0]


def with_last_update_time(stored: bytes, dtm: str) -> bytes:
    """The stored form of a Folder with this `lastUpdateTime`. Spec: ITI TF-3 4.2.3.4.6."""
    slot = _slot(Slot(SlotName.LAST_UPDATE_TIME.value, (dtm,))).encode()
    begin = stored.index(b">") + 1
    end_of_slots = stored.index(b"<rim:VersionInfo", begin)
    old = stored.find(b'<rim:Slot name="lastUpdateTime">', begin, end_of_slots)
    if old < 0:
        return stored[:begin] + slot + stored[begin:]
    return stored[:old] + slot + stored[stored.index(b"</rim:Slot>", old) + len(b"</rim:Slot>") :]


def with_patient_id(stored: bytes, scheme: str, cx: str) -> bytes:
    """The stored form of an object with another patientId (after a merge); `scheme` is the identificationScheme of its patientId.

    Errors: ValueError when the object has no external identifier of that scheme.
    """
    mark = f'identificationScheme="{escape(scheme)}" value="'.encode()
    begin = stored.index(mark) + len(mark)
    return stored[:begin] + escape(cx).encode() + stored[stored.index(b'"', begin) :]
