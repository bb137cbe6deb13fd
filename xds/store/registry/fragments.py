"""Fragments at rest: zstd against a dictionary of typical ebRIM, so that a DocumentEntry of 5 kB takes a few hundred octets.

The first octet of what is stored names the dictionary. A released dictionary never changes: data depend on it for ever.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from importlib.resources import files
from typing import Final

import zstandard

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
