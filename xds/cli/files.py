"""Files that a command reads or writes."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from xds.cli.outcome import Refused, Usage

_CHUNK = 1 << 20
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
#: What this field calls its formats, where Python's table says nothing or something else.
_EXTENSIONS = {"application/dicom": ".dcm", "application/pdf": ".pdf", "text/xml": ".xml", "text/plain": ".txt"}


def chunks_of(path: Path) -> Callable[[], Iterator[bytes]]:
    """A function that reads the file from its beginning, in chunks of at most 1 MiB."""

    def read() -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    return read


def content(path: Path) -> bytes:
    """The whole file. Errors: Usage when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Usage(f"cannot read {path}: {error.strerror}") from error


def status(path: Path) -> os.stat_result:
    """Size and times of a file. Errors: Usage when it is not there, or nobody may read it."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno())
    except OSError as error:
        raise Usage(f"cannot read {path}: {error.strerror}") from error


def require_dicom(path: Path) -> None:
    """Errors: Usage when this is no file of DICOM, or nobody may read it."""
    try:
        with path.open("rb") as file:
            is_dicom = file.read(132)[128:] == b"DICM"
    except OSError as error:
        raise Usage(f"cannot read {path}: {error.strerror}") from error
    if not is_dicom:
        raise Usage(f"{path}: no DICOM file: the prefix DICM is absent")


def save(path: Path, data: bytes) -> None:
    """Write a file. Errors: Usage when that place does not take it."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise Usage(f"cannot write {path}: {error.strerror}") from error


def mime_type_of(path: Path) -> str:
    """The MIME type that a file's name suggests."""
    known = {extension: mime for mime, extension in _EXTENSIONS.items()}
    return known.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def write(directory: Path, unique_id: str, mime_type: str, data: Iterable[bytes]) -> Path:
    """Write what was retrieved under a name made of its unique id; an incomplete file never has that name.

    Errors: Refused when the disk does not take it.
    """
    plain = mime_type.partition(";")[0].strip().lower()
    extension = _EXTENSIONS.get(plain) or mimetypes.guess_extension(plain) or ".bin"
    path = directory / (_UNSAFE.sub("_", unique_id).strip(".")[:150] + extension)
    partial = path.with_name(path.name + ".part")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for chunk in data:
                file.write(chunk)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise Refused(f"cannot write {path}: {error.strerror}") from error
    return path
