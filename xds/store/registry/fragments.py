"""Fragments at rest: zstd against a dictionary of typical ebRIM, so that a DocumentEntry of 5 kB takes a few hundred octets.

The first octet of what is stored names the dictionary. A released dictionary never changes: data depend on it for ever.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from importlib.resources import files
from typing import Final

import zstandard

from xds.model.fragments import Fragment, ObjectKind
from xds.model.identifiers import uuid_urn
from xds.model.vocabulary import AvailabilityStatus

_DICTIONARY: Final = 1
_LEVEL: Final = 3


class _PerThread(threading.local):
    """Compression contexts, which threads must not share."""

    def __init__(self) -> None:
        dictionary = _dictionary()
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL, dict_data=dictionary, write_checksum=False)
        self.decompressor = zstandard.ZstdDecompressor(dict_data=dictionary)


@lru_cache(1)
def _dictionary() -> zstandard.ZstdCompressionDict:
    text = (files("xds.store.registry") / f"fragment_dictionary_{_DICTIONARY}.txt").read_bytes()
    dictionary = zstandard.ZstdCompressionDict(text, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    dictionary.precompute_compress(level=_LEVEL)
    return dictionary


_contexts = _PerThread()


def pack(xml: bytes) -> bytes:
    """A fragment in the form in which it is stored."""
    return bytes((_DICTIONARY,)) + _contexts.compressor.compress(xml)


def unpack(stored: bytes) -> bytes:
    """The inverse of `pack`. Errors: ValueError for an unknown dictionary, zstandard.ZstdError for damaged data."""
    if stored[0] != _DICTIONARY:
        raise ValueError(f"a fragment names the unknown dictionary {stored[0]}")
    return _contexts.decompressor.decompress(memoryview(stored)[1:])


def size_of(stored: bytes) -> int:
    """How many octets `unpack` gives. Errors: zstandard.ZstdError for damaged data."""
    return zstandard.frame_content_size(memoryview(stored)[1:])


class PackedFragment(Fragment):
    """A fragment as it is stored: its id is written and its `xml` unpacked each time they are asked for.

    So an answer of thousands of objects needs the memory of a few at a time.
    """

    __slots__ = ("_packed", "_uuid")
    _packed: bytes
    _uuid: bytes

    def __init__(self, kind: ObjectKind, uuid: bytes, status: AvailabilityStatus, packed: bytes, home: str | None) -> None:
        set_ = object.__setattr__
        set_(self, "kind", kind)
        set_(self, "status", status)
        set_(self, "home", home)
        set_(self, "_uuid", uuid)
        set_(self, "_packed", packed)

    @property
    def id(self) -> str:
        """The entryUUID."""
        return uuid_urn(self._uuid)

    @property
    def xml(self) -> bytes:
        """What follows the start tag's `status` attribute; nothing when it was not fetched."""
        return unpack(self._packed) if self._packed else b""

    @property
    def size(self) -> int:
        """Octets of `xml`, which need not be unpacked for that."""
        return size_of(self._packed) if self._packed else 0
