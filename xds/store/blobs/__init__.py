"""Blob stores behind `xds.ports.BlobStore`, chosen by the address of the storage."""

from __future__ import annotations

from pathlib import Path

from xds.ports import BlobStore
from xds.store.blobs.local import LocalBlobStore
from xds.store.blobs.s3_location import read_location


def open_blob_store(url: str, directory: Path, *, writing: bool = True) -> BlobStore:
    """The store at this address: `directory` for an empty one, else `s3://bucket/prefix?endpoint=…&region=…`.

    A remote store spools what arrives below `directory`. One that is opened for writing is tried out first, so that a wrong
    address, wrong credentials or an unfit server are told at start and not by the first document.

    Errors: OSError when it cannot be used.
    """
    if not url:
        return LocalBlobStore(directory, writing=writing)
    from xds.store.blobs.s3 import S3BlobStore  # here, because the library is not small and seldom needed

    store = S3BlobStore(read_location(url), directory / "spool")
    if writing:
        store.try_out()
    return store
