"""Sends files by C-STORE, octet for octet as they are: nothing of them is decoded, and a broken one costs itself alone.

Spec: DICOM PS3.4 B (Storage), as its user; RAD TF-2 4.8 (Modality Images Stored).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from xds.pacs.association import Association, connect
from xds.wire.dicom import DicomError
from xds.wire.dicom_association import MOST_CONTEXTS
from xds.wire.dicom_header import read_header
from xds.wire.dicom_study import is_uid
from xds.wire.dimse import Command, Field, Message

#: C-STORE statuses with which the peer has the object: a success or a warning. Spec: PS3.4 Table B.2-1.
STORED: Final = frozenset({0x0000, 0xB000, 0xB006, 0xB007})
_CHUNK: Final = 256 * 1024

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A file that can be sent: what it holds, and where its data set begins."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: int

    def octets(self) -> Iterator[bytes]:
        """Its data set, in pieces."""
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.data_set)
            while chunk := file.read(_CHUNK):
                yield chunk


def read_endpoint(endpoint: str) -> tuple[str, str, int]:
    """AE title, host and port of `TITLE@host:port`. Errors: ValueError."""
    title, _, address = endpoint.rpartition("@")
    host, _, port = address.rpartition(":")
    if not title or not host or not port.isdigit():
        raise ValueError(f"a DICOM endpoint is written TITLE@host:port, not {endpoint!r}")
    return title, host, int(port)


def read_file(path: Path) -> DicomFile:
    """Look into a Part 10 file. Errors: DicomError when it is none, or names no object; OSError."""
    with path.open("rb", buffering=0) as file:
        header = read_header(iter(lambda: file.read(_CHUNK), b""), until=0x00080019)
    sop_class = header.elements.text(0x00080016) or header.meta.text(0x00020002)
    uid = header.elements.text(0x00080018) or header.meta.text(0x00020003)
    if not is_uid(sop_class) or not is_uid(uid):
        raise DicomError("no SOP Class UID (0008,0016) or SOP Instance UID (0008,0018)")
    return DicomFile(path, sop_class, uid, header.transfer_syntax, header.data_set)


def send_files(
    files: Sequence[DicomFile], host: str, port: int, *, calling: str, called: str, seconds: float = 60.0
) -> Iterator[tuple[DicomFile, int | None]]:
    """Send files in order; of each its C-STORE status, None when the peer takes no such object in its transfer syntax.

    Errors: OSError when the peer cannot be reached, AssociationError when it ends the association.
    """
    for batch in batches(files, _kind, MOST_CONTEXTS):
        kinds = dict.fromkeys((each.sop_class_uid, (each.transfer_syntax_uid,)) for each in batch)
        association = connect(host, port, seconds)
        try:
            association.request(calling, called, list(kinds))
            contexts = {
                (context.abstract_syntax, context.transfer_syntax): number for number, context in association.contexts.items()
            }
            for each in batch:
                number = contexts.get((each.sop_class_uid, each.transfer_syntax_uid))
                yield each, None if number is None else _send(association, number, each)
            association.release()
        finally:
            association.close()


def _send(association: Association, context_id: int, file: DicomFile) -> int:
    fields: dict[Field, int | str] = {
        Field.AFFECTED_SOP_CLASS: file.sop_class_uid,
        Field.AFFECTED_SOP_INSTANCE: file.sop_instance_uid,
        Field.MESSAGE_ID: association.next_message_id(),
        Field.PRIORITY: 0,
    }
    request = Message(Command.C_STORE, fields, True)
    association.send(context_id, request, file.octets())
    return association.response(request).message.number(Field.STATUS)


def batches(items: Sequence[Item], kind: Callable[[Item], Hashable], most: int) -> Iterator[Sequence[Item]]:
    """In order, each of at most so many kinds: one association has contexts for them."""
    start, kinds = 0, set[Hashable]()
    for number, item in enumerate(items):
        kinds.add(kind(item))
        if len(kinds) > most:
            yield items[start:number]
            start, kinds = number, {kind(item)}
    if start < len(items):
        yield items[start:]


def _kind(file: DicomFile) -> Hashable:
    return file.sop_class_uid, file.transfer_syntax_uid
