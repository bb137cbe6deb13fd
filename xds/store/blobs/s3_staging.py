"""A blob on its way to a bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Protocol

from xds.store.blobs.spool import Spool


class Bucket(Protocol):
    """Where a staging goes: `xds.store.blobs.s3.S3BlobStore`."""

    def publish(self, spool: Spool, key: str) -> None:
        """Make the spooled octets durable under their key. Errors: OSError; then the same may be tried again."""

    def open(self, key: str) -> Iterator[bytes]:
        """The octets of a blob. Errors: KeyError when there is no such blob; OSError."""


class S3Staging:
    """A `xds.ports.Staging`: hashed and spooled while it arrives, sent to the bucket by `commit`."""

    def __init__(self, store: Bucket, spool: Spool) -> None:
        self._store = store
        self._spool = spool
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._key: str | None = None

    @property
    def size(self) -> int:
        """Octets written so far."""
        return self._spool.size

    @property
    def sha1(self) -> str:
        """SHA-1 of the octets so far, lower-case hex."""
        return self._sha1.hexdigest()

    @property
    def key(self) -> str:
        """What `commit` returns for the octets so far."""
        return self._sha256.hexdigest()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. Errors: OSError when the disk is full; ValueError after `commit` or `discard`."""
        self._require_open()
        with memoryview(data) as octets:
            try:
                self._spool.write(octets)
            except OSError:
                # What reached the spool is no longer what was hashed.
                self.discard()
                raise
            self._sha1.update(octets)
            self._sha256.update(octets)

    def open(self) -> Iterator[bytes]:
        """The octets written so far, in chunks of at most 1 MiB. Errors: KeyError when the blob was discarded; OSError."""
        if self._key is not None:
            return self._store.open(self._key)
        if self._spool.closed:
            raise KeyError("discarded")
        return self._spool.open()

    def commit(self) -> str:
        """Make the blob durable under its content hash and return its key. Idempotent, and may be tried again after an error.

        Errors: OSError when the store refuses or cannot be reached; ValueError after `discard`.
        """
        if self._key is None:
            self._require_open()
            key = self._sha256.hexdigest()
            self._store.publish(self._spool, key)
            self._key = key
            self._spool.close()
        return self._key

    def discard(self) -> None:
        """Forget it, unless it was committed. Idempotent."""
        self._spool.close()

    def _require_open(self) -> None:
        if self._spool.closed:
            raise ValueError("the blob is closed: committed or discarded")
