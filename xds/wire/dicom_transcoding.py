"""Part 10 files in another transfer syntax, as far as no pixel has to be decoded.

Inflating and deflating goes through a stream. Between implicit and explicit little endian the whole object is read by pydicom,
which knows the value representations; therefore only below a size. Compressed pixels are never touched: a codec inside the server
process is a single point of failure.

Spec: DICOM PS3.5 A.1, A.2, A.5.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Final

from pydicom import config, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError

from xds.wire.dicom import DEFLATED_LITTLE, EXPLICIT_LITTLE, IMPLICIT_LITTLE, DicomError
from xds.wire.dicom_header import Header, inflate, read_header
from xds.wire.dicom_values import write_file_meta

#: Octets of an object that may be held in memory for a conversion, and to which a deflated one may grow.
MAX_CONVERSION: Final = 64 * 1024 * 1024
_PLAIN: Final = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED_LITTLE})

# What pydicom would warn of is not ours to repair, and its warnings quote values of patients.
config.settings.reading_validation_mode = config.IGNORE
config.settings.writing_validation_mode = config.IGNORE

#: What pydicom raises for data sets that it cannot digest.
REFUSED_BY_PYDICOM: Final = (
    BytesLengthException,
    InvalidDicomError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    NotImplementedError,
    RecursionError,
)


def can_convert(source: str, target: str, size: int) -> bool:
    """Whether an object of that transfer syntax and size in octets can be given in the target syntax."""
    return source == target or (source in _PLAIN and target in _PLAIN and size <= MAX_CONVERSION)


def convert(open_file: Callable[[], Iterator[bytes]], target: str) -> Iterator[bytes]:
    """The Part 10 file in the target transfer syntax, in pieces. `open_file` gives its octets from the start.

    Errors: DicomError, while iterating as well, when the file is broken, grows beyond the limit, or cannot be converted.
    """
    header = read_header(open_file(), until=0x00080019)
    source = header.transfer_syntax
    if source not in _PLAIN or target not in _PLAIN:
        raise DicomError(f"transfer syntax {source} cannot be converted to {target}")
    yield write_file_meta(header.meta.text(0x00020002), header.meta.text(0x00020003), target)
    explicit = _explicit(open_file, header) if target != IMPLICIT_LITTLE else _implicit(open_file, header)
    yield from _deflated(explicit) if target == DEFLATED_LITTLE else explicit


def _after(chunks: Iterable[bytes], position: int) -> Iterator[bytes]:
    for chunk in chunks:
        if position >= len(chunk):
            position -= len(chunk)
            continue
        yield chunk[position:] if position else chunk
        position = 0


def _explicit(open_file: Callable[[], Iterator[bytes]], header: Header) -> Iterator[bytes]:
    data_set = _after(open_file(), header.data_set)
    if header.transfer_syntax == EXPLICIT_LITTLE:
        return data_set
    if header.transfer_syntax == DEFLATED_LITTLE:
        return inflate(data_set, MAX_CONVERSION)
    return iter((_rewritten(open_file(), implicit=False),))


def _implicit(open_file: Callable[[], Iterator[bytes]], header: Header) -> Iterator[bytes]:
    if header.transfer_syntax == IMPLICIT_LITTLE:
        return _after(open_file(), header.data_set)
    if header.transfer_syntax == EXPLICIT_LITTLE:
        return iter((_rewritten(open_file(), implicit=True),))
    meta = write_file_meta(header.meta.text(0x00020002), header.meta.text(0x00020003), EXPLICIT_LITTLE)
    return iter((_rewritten((meta, *inflate(_after(open_file(), header.data_set), MAX_CONVERSION)), implicit=True),))


def _deflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    size = 0
    for chunk in chunks:
        piece = deflater.compress(chunk)
        size += len(piece)
        yield piece
    rest = deflater.flush()
    yield rest + b"\0" * ((size + len(rest)) % 2)


def _rewritten(chunks: Iterable[bytes], *, implicit: bool) -> bytes:
    """The data set alone, read and written again by pydicom."""
    octets = b"".join(chunks)
    if len(octets) > MAX_CONVERSION:
        raise DicomError(f"the object is larger than {MAX_CONVERSION} octets")
    try:
        dataset = dcmread(BytesIO(octets))
        del dataset.file_meta
        written = BytesIO()
        dataset.save_as(written, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    except REFUSED_BY_PYDICOM as problem:
        raise DicomError(f"the data set cannot be written in another syntax ({type(problem).__name__})") from None
    octets = written.getvalue()
    return octets[132:] if octets[128:132] == b"DICM" else octets
