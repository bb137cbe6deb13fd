"""Blobs as objects of an S3 bucket: `objects/<sha256>`, beside them small objects that keep commits and deletions apart.

What is durable when: the server's answer to a put is its promise, and `commit` looks at the size afterwards. Each request is
signed together with the SHA-256 of its octets, so that a server does not take octets that were changed on the way.

A blob that nobody refers to may be committed once more at the moment in which it is swept. No S3 server deletes on condition, so
whoever deletes a blob, or relies on one that is there already, first creates `locks/<sha256>`, which succeeds for one at a time.
A blob that is committed once more is not sent again: `commits/<sha256>` is written anew and keeps the time.
"""

from __future__ import annotations

import errno
import random
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError

from xds.store.blobs.s3_connection import connected
from xds.store.blobs.s3_errors import FAILURES, as_os_errors, is_missing, is_unsatisfiable_range, os_error
from xds.store.blobs.s3_location import Location
from xds.store.blobs.s3_staging import S3Staging
from xds.store.blobs.spool import Spool

if TYPE_CHECKING:  # the library has these names for type checkers alone
    from obstore import GetResult, ObjectMeta

#: Octets of one chunk that is read, and the most that is handed on at once.
CHUNK = 256 * 1024
LARGEST_CHUNK = 1 << 20
#: Octets of one request that writes. What is larger goes up in parts of this size (S3 allows 10 000), some at a time.
PART = 8 << 20
PARTS = 9_000
PARTS_AT_A_TIME = 3

#: How often a broken download goes on without a single octet in between.
RESUMES = 3
#: A lock is held for a few small requests; who dies meanwhile leaves it. Seconds.
LOCK_HELD, LOCK_ABANDONED, LOCK_AWAITED = 60, 150, 200
#: Last-Modified has whole seconds.
TICK = timedelta(seconds=1)

_KEY = re.compile(r"[0-9a-f]{64}\Z")


class S3BlobStore:
    """A `xds.ports.BlobStore` in a bucket. Any number of processes and machines may share it.

    Credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, a web identity, or the
    metadata service of the machine), never from the address.
    """

    def __init__(self, location: Location, directory: Path) -> None:
        """`directory` is where uploads are spooled; it is made when it is needed. Nothing is sent yet."""
        self._directory = directory
        self._name = str(location)
        with as_os_errors(self._name):
            self._store = connected(location)

    def try_out(self) -> None:
        """Write, write once more on condition, delete.

        Errors: OSError when the store cannot be used, or does not honour `If-None-Match: *`, without which a sweep could remove
        what is being committed.
        """
        name = f"probes/{uuid.uuid4().hex}"
        self._create(name, b"")
        if self._create(name, b""):
            raise OSError(
                errno.ENOTSUP, f"{self._name}: the server does not honour If-None-Match: * and is not fit for documents"
            )
        self._remove(name)

    def stage(self, *, sha1: bool = True) -> S3Staging:
        """Begin a blob. What its SHA-1 takes is little beside the network: it is always made."""
        return S3Staging(self, Spool(self._directory))

    def open(self, key: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The octets in chunks of at most 1 MiB; the first answer has come before this returns.

        A download that breaks goes on where it was. Errors: KeyError when there is no such blob; OSError.
        """
        if length == 0:
            self.size(key)
            return iter(())
        answer = self._get(_object(key), offset, length)
        return self._chunks(_object(key), answer) if answer is not None else iter(())

    def file(self, key: str) -> Path | None:
        """No blob of a bucket is a local file."""
        return None

    def size(self, key: str) -> int:
        """Octets of the blob. Errors: KeyError when there is no such blob; OSError."""
        return self._there(key)["size"]

    def committed_at(self, key: str) -> datetime:
        """When the blob was committed last, by the server's clock. Errors: KeyError when there is no such blob; OSError."""
        there = self._there(key)
        renewed = self._head(f"commits/{key}")
        return max(there["last_modified"], renewed["last_modified"]) if renewed else there["last_modified"]

    def delete(self, key: str, *, unless_committed_since: datetime | None = None) -> bool:
        """Remove the blob and tell whether this removed it. Errors: OSError, also when somebody else holds on to it for long."""
        if not _KEY.match(key):
            return False
        with self._alone(key) as until:
            try:
                committed = self.committed_at(key)
            except KeyError:
                return False
            if unless_committed_since is not None and committed + TICK > unless_committed_since:
                return False
            if time.monotonic() > until:
                raise TimeoutError(errno.ETIMEDOUT, f"{self._name}: too slow to delete safely")
            self._remove(f"objects/{key}")
            self._remove(f"commits/{key}")
        return True

    def keys(self) -> Iterator[str]:
        """Every committed blob, in no particular order, a page of the listing at a time. Errors: OSError."""
        with as_os_errors(self._name):
            for page in obstore.list(self._store, prefix="objects", chunk_size=1000):
                for item in page:
                    name = item["path"].removeprefix("objects/")
                    if _KEY.match(name):
                        yield name

    def publish(self, spool: Spool, key: str) -> None:
        """Make the spooled octets durable under their key. Errors: OSError; then the same may be tried again."""
        while not (self._put_new(spool, key) or self._renew(spool, key)):
            # It was there and has been deleted meanwhile.
            continue
        if self.size(key) != spool.size:
            raise OSError(errno.EIO, f"{self._name}: the server has another size than what was sent")

    # ---- writing

    def _put_new(self, spool: Spool, key: str) -> bool:
        """Store a blob that is not there; false when it is there."""
        if spool.size <= PART:
            return self._create(_object(key), b"".join(spool.open()))
        # Uploads in parts know no condition; two at once write the same.
        if self._head(_object(key)) is not None:
            return False
        self._write(spool, key)
        return True

    def _renew(self, spool: Spool, key: str) -> bool:
        """Rely on a blob that is there, if its size is right, and make it young; false when it is gone."""
        with self._alone(key):
            there = self._head(_object(key))
            if there is None:
                return False
            with as_os_errors(self._name):
                obstore.put(self._store, f"commits/{key}", b"")
        if there["size"] != spool.size:
            # The hash in the name proves that what is there is damaged and that this is right.
            self._write(spool, key)
        return True

    def _write(self, spool: Spool, key: str) -> None:
        part = max(PART, -(-spool.size // PARTS))
        with as_os_errors(self._name):
            if spool.size <= PART:
                obstore.put(self._store, _object(key), b"".join(spool.open()), use_multipart=False)
            else:
                obstore.put(
                    self._store,
                    _object(key),
                    spool.open(),
                    use_multipart=True,
                    chunk_size=part,
                    max_concurrency=PARTS_AT_A_TIME,
                )

    def _create(self, name: str, data: bytes) -> bool:
        """Create an object; false when it is there, which may be the work of this very call, repeated after a lost answer."""
        with as_os_errors(self._name):
            try:
                obstore.put(self._store, name, data, mode="create")
            except AlreadyExistsError:
                return False
        return True

    def _remove(self, name: str) -> None:
        with as_os_errors(self._name), suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    @contextmanager
    def _alone(self, key: str) -> Iterator[float]:
        """Hold the lock of a key; yields until when (monotonic) nobody else takes it for abandoned. Errors: OSError."""
        name, token = f"locks/{key}", uuid.uuid4().bytes
        taken = first_seen = time.monotonic()
        other: bytes | None = None
        while not self._create(name, token):
            now = time.monotonic()
            holder = self._content(name)
            if holder == token:
                # Created after all: only the answer was lost, and the request was repeated.
                break
            if holder != other:
                other, first_seen = holder, now
            elif holder is not None and now - first_seen > LOCK_ABANDONED:
                self._remove(name)
            if now - taken > LOCK_AWAITED:
                raise TimeoutError(errno.ETIMEDOUT, f"{self._name}: a blob is locked for long")
            time.sleep(random.uniform(0.01, 0.1))
        until = time.monotonic() + LOCK_HELD
        try:
            yield until
        finally:
            # Later it may be somebody else's already.
            if time.monotonic() < until:
                self._remove(name)

    # ---- reading

    def _there(self, key: str) -> ObjectMeta:
        there = self._head(_object(key))
        if there is None:
            raise KeyError(key)
        return there

    def _head(self, name: str) -> ObjectMeta | None:
        with as_os_errors(self._name):
            try:
                return obstore.head(self._store, name)
            except FileNotFoundError:
                return None

    def _content(self, name: str) -> bytes | None:
        with as_os_errors(self._name):
            try:
                return bytes(obstore.get(self._store, name).bytes())
            except FileNotFoundError:
                return None

    def _get(self, name: str, offset: int, length: int | None) -> GetResult | None:
        """An answer that has begun; None when the blob ends before `offset`. Errors: KeyError; OSError."""
        with as_os_errors(self._name):
            try:
                if length is not None:
                    return obstore.get(self._store, name, options={"range": (offset, offset + length)})
                return obstore.get(self._store, name, options={"range": {"offset": offset}} if offset else {})
            except FAILURES as error:
                if is_unsatisfiable_range(error):
                    return None
                if is_missing(error):
                    raise KeyError(name.rpartition("/")[2]) from None
                raise

    def _chunks(self, name: str, answer: GetResult) -> Iterator[bytes]:
        position, end = answer.range
        stream = iter(answer.stream(CHUNK))
        broken = 0
        while position < end:
            try:
                data = memoryview(next(stream))
            except (*FAILURES, StopIteration) as error:
                broken += 1
                again = self._get(name, position, end - position) if broken <= RESUMES else None
                if again is None:
                    raise os_error(error, self._name) from None
                stream = iter(again.stream(CHUNK))
                continue
            broken = 0
            position += len(data)
            for start in range(0, len(data), LARGEST_CHUNK):
                yield data[start : start + LARGEST_CHUNK].tobytes()


def _object(key: str) -> str:
    if not _KEY.match(key):
        raise KeyError(key)
    return f"objects/{key}"
