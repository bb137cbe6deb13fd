"""The client side of DICOM storage: sends images as a modality or a PACS does.

Spec: DICOM PS3.4 B; RAD TF-2 4.8 (Modality Images Stored).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import FileDataset, dcmread
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, evt

#: A C-STORE status of these is a success or a warning: the image is stored. Spec: PS3.4 Table B.2-1.
_STORED = frozenset({0x0000, 0xB000, 0xB006, 0xB007})
#: Presentation context identifiers are the odd numbers of one octet. Spec: PS3.8 9.3.2.2.
_MOST_CONTEXTS = 128


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """What became of one image: its C-STORE status, or None when the partner takes no such image or transfer syntax."""

    sop_instance_uid: str
    status: int | None

    @property
    def stored(self) -> bool:
        """True when the partner has it."""
        return self.status in _STORED


def read_endpoint(endpoint: str) -> tuple[str, str, int]:
    """AE title, host and port of `TITLE@host:port`. Errors: ValueError."""
    title, _, address = endpoint.rpartition("@")
    host, _, port = address.rpartition(":")
    if not title or not host or not port.isdigit():
        raise ValueError(f"a DICOM endpoint is written TITLE@host:port, not {endpoint!r}")
    return title, host, int(port)


def store(
    images: Sequence[FileDataset | Path], endpoint: str, *, calling_ae_title: str = "XDS_SCU", timeout: float = 60.0
) -> Iterator[StoreOutcome]:
    """Send images over one association (or several, when they are of more than 128 kinds), and tell of each as it is answered.

    A path is read when its turn comes. `timeout` is in seconds.
    Errors: ConnectionError when there is no association, or it broke.
    """
    for batch in _batches(images):
        yield from _send(batch, endpoint, calling_ae_title, timeout)


def _send(images: Sequence[FileDataset | Path], endpoint: str, calling: str, timeout: float) -> Iterator[StoreOutcome]:
    title, host, port = read_endpoint(endpoint)
    unit = AE(ae_title=calling)
    unit.acse_timeout = unit.dimse_timeout = unit.network_timeout = unit.connection_timeout = timeout
    for sop_class, transfer_syntax in dict.fromkeys(map(_kind, images)):
        unit.add_requested_context(sop_class, transfer_syntax)
    association = unit.associate(host, port, ae_title=title, evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once)])
    if not association.is_established:
        raise ConnectionError(f"no DICOM association with {endpoint}")
    try:
        for image in images:
            dataset = dcmread(image) if isinstance(image, Path) else image
            try:
                answer = association.send_c_store(dataset)
            except ValueError:  # the partner accepted no presentation context for it
                yield StoreOutcome(str(dataset.SOPInstanceUID), None)
                continue
            if "Status" not in answer:
                raise ConnectionError(f"{endpoint} closed the association, or did not answer in {timeout:.0f} s")
            yield StoreOutcome(str(dataset.SOPInstanceUID), int(answer.Status))
    finally:
        if association.is_established:
            association.release()


def _send_at_once(event: evt.Event) -> None:
    """Without this, Nagle's algorithm holds back the last packet of every image for some 40 ms."""
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _kind(image: FileDataset | Path) -> tuple[str, str]:
    meta = read_file_meta_info(image) if isinstance(image, Path) else image.file_meta
    return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)


def _batches(images: Iterable[FileDataset | Path]) -> Iterator[list[FileDataset | Path]]:
    batch: list[FileDataset | Path] = []
    kinds: set[tuple[str, str]] = set()
    for image in images:
        kinds.add(_kind(image))
        if len(kinds) > _MOST_CONTEXTS:
            yield batch
            batch, kinds = [], {_kind(image)}
        batch.append(image)
    if batch:
        yield batch
