"""An instance in another form than the stored one: another transfer syntax, single frames, a picture.

Another way of writing elements is made here; pixels are decoded and encoded by processes of their own (`xds.pixels`).

Spec: DICOM PS3.18 8.7.3.5 (transfer syntaxes), 10.4.1.1.3 (rendered), 10.4.1.1.5 (frames); PS3.5 10 (transfer syntaxes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from xds.actors.imaging_holdings import Holdings
from xds.actors.imaging_metadata import MIME_TYPE
from xds.model.imaging import Instance
from xds.model.rendering import Rendering
from xds.pixels.jobs import DECODED, ENCODED, PixelError
from xds.pixels.pool import Made, Pool
from xds.wire.dicom import DEFLATED_LITTLE, EXPLICIT_LITTLE, IMPLICIT_LITTLE, DicomError
from xds.wire.dicom_frames import frame_chunks, stored_frames
from xds.wire.dicom_transcoding import can_convert, convert

#: Transfer syntaxes that no codec writes.
_NATIVE: Final = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED_LITTLE})


def _nothing() -> None:
    """Nothing is to be released."""


@dataclass(frozen=True, slots=True)
class Obtained:
    """One instance ready to go out as a Part 10 file. `size` is None while nobody knows it before it is written.

    `chunks()` raise DicomError or PixelError when the object is broken after all. `release` it in the end.
    """

    instance: Instance
    transfer_syntax_uid: str
    size: int | None
    chunks: Callable[[], Iterator[bytes]]
    release: Callable[[], None] = field(default=_nothing)


@dataclass(frozen=True, slots=True)
class StoredFrames:
    """Frames as they are stored: of each its octets and how to read them. `release` them in the end."""

    parts: tuple[tuple[int, Callable[[], Iterator[bytes]]], ...]
    release: Callable[[], None]


class Renditions:
    """Makes them, from blobs or from what sources outside give. One object serves all threads."""

    def __init__(self, holdings: Holdings, pixels: Pool) -> None:
        self._holdings = holdings
        self._pixels = pixels

    def made(self, instance: Instance, transfer_syntaxes: Sequence[str], *, at_once: bool = True) -> Obtained | None:
        """The instance in one of these transfer syntaxes, none of which is its own; None when none is possible.

        With `at_once` it is made before this returns. Errors: KeyError when the blob is gone.
        """
        stored = instance.transfer_syntax_uid
        # What is least work first: the list states no preference (RAD TF-2 4.69.4.1.2).
        for target in sorted(
            transfer_syntaxes, key=lambda one: (not can_convert(stored, one, instance.size), one not in _NATIVE)
        ):
            if can_convert(stored, target, instance.size):
                make = self._convert
            elif stored in DECODED and target in ENCODED:
                make = self._transcode
            else:
                continue
            if not at_once:
                return Obtained(instance, target, None, partial(_streamed, make, instance, target))
            try:
                made = make(instance, target)
            except (DicomError, PixelError):
                continue
            return Obtained(instance, target, made.size, made.chunks, made.release)
        return None

    def _convert(self, instance: Instance, target: str) -> Made:
        with self._pixels.new_file() as path:
            with path.open("wb") as file:
                for chunk in convert(lambda: self._holdings.open(instance.blob), target):
                    file.write(chunk)
            return Made(path, path.stat().st_size, MIME_TYPE, target)

    def _transcode(self, instance: Instance, target: str) -> Made:
        with self._at_hand(instance) as source:
            return self._pixels.transcode(source, target)

    def frames(self, instance: Instance, numbers: Sequence[int]) -> Made:
        """Frames (from 1), decoded, one after the other. Errors: PixelError; KeyError when the blob is gone."""
        with self._at_hand(instance) as source:
            return self._pixels.frames(source, numbers)

    def stored_frames(self, instance: Instance, numbers: Sequence[int]) -> StoredFrames | None:
        """Frames (from 1) as they are stored; None when they are no octets of their own. Errors: DicomError; KeyError."""
        path, release = self._holdings.file(instance.blob), _nothing
        if path is None:
            path = self._pixels.spool(self._holdings.open(instance.blob))
            release = partial(path.unlink, missing_ok=True)
        try:
            found = stored_frames(path)
        except DicomError:
            release()
            raise
        if found is None or any(number > len(found) for number in numbers):
            release()
            return None
        frames = [found[number - 1] for number in numbers]
        return StoredFrames(tuple((frame.size, partial(frame_chunks, path, frame)) for frame in frames), release)

    def render(self, instance: Instance, how: Rendering) -> Made:
        """An image that a browser can show. Errors: PixelError; KeyError when the blob is gone."""
        with self._at_hand(instance) as source:
            return self._pixels.render(source, how)

    def anonymous(self, instance: Instance, target: str, key: str) -> Made:
        """The image without whose it is. Errors: PixelError; KeyError when the blob is gone."""
        with self._at_hand(instance) as source:
            return self._pixels.anonymize(source, target, key)

    @contextmanager
    def _at_hand(self, instance: Instance) -> Iterator[Path]:
        """The object as a file that another process can read."""
        path = self._holdings.file(instance.blob)
        if path is not None:
            yield path
            return
        with self._pixels.spooled(self._holdings.open(instance.blob)) as spooled:
            yield spooled


def _streamed(make: Callable[[Instance, str], Made], instance: Instance, target: str) -> Iterator[bytes]:
    made = make(instance, target)
    try:
        yield from made.chunks()
    finally:
        made.release()
