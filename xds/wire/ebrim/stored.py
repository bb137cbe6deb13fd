"""What the Registry stores: reading it back, and changing what may change after registration."""

from __future__ import annotations

from collections.abc import Iterable

from xds.model.fragments import Fragment
from xds.model.metadata import (
    RegistryObject,
    Slot,
)
from xds.model.vocabulary import SlotName
from xds.wire.ebrim.reading import read_objects
from xds.wire.ebrim.writing import escape, parts_of, write_slot
from xds.wire.xml import RIM, parse


def read_fragments(fragments: Iterable[Fragment]) -> list[RegistryObject]:
    """Stored objects as objects again, in their order."""
    element = parse(
        f'<rim:RegistryObjectList xmlns:rim="{RIM}">'.encode() + b"".join(parts_of(fragments)) + b"</rim:RegistryObjectList>"
    )
    return read_objects(element)[0]


def read_stored(fragment: Fragment) -> RegistryObject:
    """A stored object as it was registered. Errors: XmlError when the store is damaged."""
    return read_fragments([fragment])[0]


def with_last_update_time(stored: bytes, dtm: str) -> bytes:
    """The stored form of a Folder with this `lastUpdateTime`. Spec: ITI TF-3 4.2.3.4.6."""
    slot = write_slot(Slot(SlotName.LAST_UPDATE_TIME.value, (dtm,))).encode()
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
