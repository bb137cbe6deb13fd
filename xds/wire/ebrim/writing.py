"""From registry objects to ebRIM, in one canonical form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final
from uuid import NAMESPACE_OID, uuid5

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
)
from xds.model.vocabulary import FOLDER_NODE, SUBMISSION_SET_NODE, AvailabilityStatus, ObjectType
from xds.wire.ebrim.reading import KEPT_VALUES
from xds.wire.xml import LCM, RIM

_ELEMENTS: Final = {
    ObjectKind.DOCUMENT_ENTRY: "ExtrinsicObject",
    ObjectKind.SUBMISSION_SET: "RegistryPackage",
    ObjectKind.FOLDER: "RegistryPackage",
    ObjectKind.ASSOCIATION: "Association",
}
_OF_CLASSIFICATION: Final = ObjectType.CLASSIFICATION.value
_OF_EXTERNAL_IDENTIFIER: Final = ObjectType.EXTERNAL_IDENTIFIER.value
_OF_ASSOCIATION: Final = ObjectType.ASSOCIATION.value
_OF_REGISTRY_PACKAGE: Final = ObjectType.REGISTRY_PACKAGE.value
_END_TAGS: Final = {kind: f"</rim:{name}>" for kind, name in _ELEMENTS.items()}
_LABELS: Final[dict[type[RegistryObject], str]] = {SubmissionSet: SUBMISSION_SET_NODE, Folder: FOLDER_NODE}


#: Characters that need care in text and attributes; the second half are those that XML cannot carry at all.
_SPECIAL: Final = re.compile('[&<>"\t\n\r]|[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')
_REPLACEMENTS: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


def escape(text: str) -> str:
    """Text for an attribute value or for element content; characters that XML cannot carry become U+FFFD."""
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda found: _REPLACEMENTS.get(found[0], "\ufffd"), text)


#: Most of what stands in metadata stands in those of many documents.
_escape: Final = lru_cache(maxsize=4096)(escape)


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


def parts_of(fragments: Iterable[Fragment]) -> list[bytes]:
    """The whole elements of stored objects, one after the other, in pieces."""
    return [part for item in fragments for part in (start_tag(item.kind, item.status, item.home), item.xml)]


def write_object(obj: RegistryObject, new_uuid: Callable[[], str] | None = None) -> bytes:
    """An object in the form in which it is stored and answered: all that follows `<rim:X status="…"`.

    `lid` and version are always written (a first version is 1, and its logical id is its own id), `status` and `home` never:
    they stand in the start tag. A package without its label gets it. `new_uuid`: classifications and external identifiers with
    a symbolic id are written with a UUID of its, and all of them as those of the object that they stand in.

    Spec: ITI TF-2 3.18.4.1.2.6 (what an answer must hold); ebRIM 3.0 (order of the children).
    """
    return _render(obj, obj.lid or obj.id, obj.version or 1, new_uuid).encode()


def write_submission(submission: Submission) -> bytes:
    """An `lcm:SubmitObjectsRequest` that declares its own namespaces. `lid` and version are written only where they are set."""
    parts = [f'<lcm:SubmitObjectsRequest xmlns:lcm="{LCM}" xmlns:rim="{RIM}"><rim:RegistryObjectList>'.encode()]
    for obj in submission.objects():
        kind = _KINDS.get(type(obj), ObjectKind.FOLDER)
        parts += (start_tag(kind, obj.status, obj.home), _render(obj, obj.lid, obj.version).encode())
    parts.append(b"</rim:RegistryObjectList></lcm:SubmitObjectsRequest>")
    return b"".join(parts)


def _render(obj: RegistryObject, lid: str | None, version: int | None, new_uuid: Callable[[], str] | None = None) -> str:
    kind = _KINDS.get(type(obj), ObjectKind.FOLDER)
    identifier = escape(obj.id)
    parts = [f' id="{identifier}"']
    if lid is not None:
        parts.append(f' lid="{identifier if lid == obj.id else escape(lid)}"')
    object_type = obj.object_type
    if isinstance(obj, DocumentEntry):
        if obj.mime_type is not None:
            parts.append(f' mimeType="{_escape(obj.mime_type)}"')
    elif isinstance(obj, Association):
        object_type = _OF_ASSOCIATION
        parts.append(
            f' associationType="{_escape(obj.association_type)}" sourceObject="{escape(obj.source)}" '
            f'targetObject="{escape(obj.target)}"'
        )
    else:
        object_type = _OF_REGISTRY_PACKAGE
    parts.append(f' objectType="{_escape(object_type)}">' if object_type is not None else ">")
    parts += [write_slot(slot) for slot in obj.slots]
    if obj.name:
        parts.append(f"<rim:Name>{_strings(obj.name)}</rim:Name>")
    if obj.description:
        parts.append(f"<rim:Description>{_strings(obj.description)}</rim:Description>")
    if version is not None:
        parts.append(f'<rim:VersionInfo versionName="{version}"/>')
    parts += _parts(obj, identifier, new_uuid)
    parts.append(_END_TAGS[kind])
    return "".join(parts)


def _parts(obj: RegistryObject, owner: str, new_uuid: Callable[[], str] | None) -> list[str]:
    """What stands inside an object. `owner`: its id as it is written."""
    classifications, identifiers = _with_label(obj), obj.external_identifiers
    if new_uuid is None:
        written = [_classification(item, escape(item.id), _escape(item.classified_object)) for item in classifications]
        return written + [_external_identifier(item, escape(item.id), _escape(item.registry_object)) for item in identifiers]
    written = [_classification(item, _own_id(item.id) or new_uuid(), owner) for item in classifications]
    return written + [_external_identifier(item, _own_id(item.id) or new_uuid(), owner) for item in identifiers]


def _own_id(identifier: str) -> str | None:
    """The id of a part as it is written when it is one that stays."""
    return escape(identifier) if identifier.startswith("urn:uuid:") else None


def _with_label(obj: RegistryObject) -> tuple[Classification, ...]:
    node = _LABELS.get(type(obj))
    if node is None or any(item.node == node for item in obj.classifications):
        return obj.classifications
    label = Classification(f"urn:uuid:{uuid5(NAMESPACE_OID, obj.id + node)}", obj.id, node=node)
    return (label, *obj.classifications)


def write_slot(slot: Slot) -> str:
    """A `rim:Slot`."""
    values = "</rim:Value><rim:Value>".join([escape(value) for value in slot.values])
    inside = f"<rim:Value>{values}</rim:Value>" if slot.values else ""
    return f'<rim:Slot name="{_escape(slot.name)}"><rim:ValueList>{inside}</rim:ValueList></rim:Slot>'


def _repeated_slot(slot: Slot) -> str:
    """A slot of a code or of an author, which come again in many objects. Long ones do not, and would fill the memory."""
    return _kept_slot(slot.name, slot.values) if len(slot.values) <= KEPT_VALUES else write_slot(slot)


@lru_cache(maxsize=4096)
def _kept_slot(name: str, values: tuple[str, ...]) -> str:
    return write_slot(Slot(name, values))


def _strings(strings: tuple[LocalizedString, ...]) -> str:
    return "".join([_localized_string(item) for item in strings])


def _localized_string(item: LocalizedString) -> str:
    lang = f' xml:lang="{_escape(item.lang)}"' if item.lang is not None else ""
    charset = f' charset="{_escape(item.charset)}"' if item.charset is not None else ""
    return f'<rim:LocalizedString{lang}{charset} value="{_escape(item.value)}"/>'


def _classification(item: Classification, identifier: str, owner: str) -> str:
    """A Classification. `identifier` and `owner` are its id and its object's as they are written."""
    content = _code(item) if _is_plain_code(item) else _content(item)
    return f'<rim:Classification id="{identifier}" classifiedObject="{owner}"{content}</rim:Classification>'


def _is_plain_code(item: Classification) -> bool:
    """Whether it says what a code says, and nothing else."""
    is_code = item.scheme is not None and item.node is None and not item.description
    return is_code and len(item.slots) == 1 and len(item.slots[0].values) == 1 and len(item.name) == 1


def _code(item: Classification) -> str:
    slot, name = item.slots[0], item.name[0]
    return _plain_code(
        item.scheme or "", item.node_representation, slot.name, slot.values[0], name.value, name.lang, name.charset
    )


@lru_cache(maxsize=4096)
def _plain_code(
    scheme: str, code: str, slot: str, coding_scheme: str, display: str, lang: str | None, charset: str | None
) -> str:
    """The content of a code, whose parts are plain strings so that it is found again: the same ones come all day."""
    slots, name = (Slot(slot, (coding_scheme,)),), (LocalizedString(display, lang, charset),)
    return _content(Classification("", "", scheme, None, code, slots, name))


def _content(item: Classification) -> str:
    """What follows the ids of a Classification: the rest of its start tag, and its children."""
    scheme = f' classificationScheme="{_escape(item.scheme)}"' if item.scheme is not None else ""
    node = f' classificationNode="{_escape(item.node)}"' if item.node is not None else ""
    has_code = item.scheme is not None or item.node_representation
    code = f' nodeRepresentation="{escape(item.node_representation)}"' if has_code else ""
    name = f"<rim:Name>{_strings(item.name)}</rim:Name>" if item.name else ""
    description = f"<rim:Description>{_strings(item.description)}</rim:Description>" if item.description else ""
    slots = "".join([_repeated_slot(slot) for slot in item.slots])
    return f'{scheme}{node}{code} objectType="{_OF_CLASSIFICATION}">{slots}{name}{description}'


def _external_identifier(item: ExternalIdentifier, identifier: str, owner: str) -> str:
    """An ExternalIdentifier. `identifier` and `owner` are its id and its object's as they are written."""
    name = f"<rim:Name>{_strings(item.name)}</rim:Name>" if item.name else ""
    return (
        f'<rim:ExternalIdentifier id="{identifier}" registryObject="{owner}" '
        f'identificationScheme="{_escape(item.scheme)}" value="{escape(item.value)}" '
        f'objectType="{_OF_EXTERNAL_IDENTIFIER}">{name}</rim:ExternalIdentifier>'
    )
