"""Blobs as files of one directory: `objects/abc/<sha256>` for what is committed, `staging/` for what is still arriving.

What is durable when: a staged file moves to `pending/`, where its name tells its key, and is fsynced with that name before it has
one below `objects`; see `xds.store.blobs.pending` for what follows. So a name below `objects` never stands for half a blob, and a
returned key survives a power cut.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from xds.store.blobs.directories import lock_now, locked_directory, sync_directory
from xds.store.blobs.pending import PendingNames

#: Octets of one chunk that is read. Larger ones cost a page fault for every page, smaller ones more system calls.
CHUNK = 256 * 1024

#: Digits of a key that name its directory: 4096 of them are soon there, and stay searchable with 100 million blobs.
_PREFIX = 3
#: After so many directories that were made one by one, the others are made together.
_MANY_DIRECTORIES = 32
#: Octets that are worth another thread, and after which the disk may begin.
_LARGE_WRITE = 128 << 10
_FLUSH_EVERY = 32 << 20
_ASIDE = 8

_KEY = re.compile(r"[0-9a-f]{64}\Z")


class LocalBlobStore:
    """A `xds.ports.BlobStore` on a local disk. Several processes may share the directory."""

    def __init__(self, directory: Path, *, writing: bool = True) -> None:
        """Create the directory when it is not there, remove what broken uploads of dead processes left in `staging`, and give
        the blobs their names that a loss of power took.

        Without `writing` nothing of that happens: the store is only read.
        """
        self._objects = directory / "objects"
        self._staging = directory / "staging"
        self._durable = bytearray(0x1000)
        self._made = 0
        #: Does beside a large upload what needs neither this thread nor the interpreter's lock.
        self.aside = ThreadPoolExecutor(_ASIDE, thread_name_prefix="blobs")
        self._writing = writing
        pending = directory / "pending"
        if writing:
            for path in (self._objects, self._staging, pending):
                path.mkdir(parents=True, exist_ok=True)
            sync_directory(directory.parent)
            sync_directory(directory)
        self._pending = PendingNames(pending)
        if writing:
            self._sweep_staging()
            self._name_pending()

    def stage(self, *, sha1: bool = True) -> LocalStaging:
        """Begin a blob. Errors: OSError when the disk is full or has no file left."""
        return LocalStaging(self, self._staging, sha1=sha1)

    def open(self, key: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The octets in chunks of at most 1 MiB, the file opened before this returns and closed after the last chunk.

        Errors: KeyError when there is no such blob.
        """
        try:
            file = io.FileIO(self._readable(key), "rb")
        except FileNotFoundError:
            raise KeyError(key) from None
        return Chunks(file, offset, length)

    def file(self, key: str) -> Path | None:
        """Where the blob lies. Errors: KeyError when there is no such blob."""
        path = self._readable(key)
        if not path.is_file():
            raise KeyError(key)
        return path

    def size(self, key: str) -> int:
        """Octets of the blob. Errors: KeyError when there is no such blob."""
        try:
            return self._readable(key).stat().st_size
        except FileNotFoundError:
            raise KeyError(key) from None

    def committed_at(self, key: str) -> datetime:
        """When the blob was committed last. Errors: KeyError when there is no such blob."""
        try:
            return datetime.fromtimestamp(self._readable(key).stat().st_mtime, UTC)
        except FileNotFoundError:
            raise KeyError(key) from None

    def delete(self, key: str, *, unless_committed_since: datetime | None = None) -> bool:
        """Remove the blob and tell whether this removed it.

        With `unless_committed_since` a blob stays that was committed (also: committed once more) at that time or later.
        """
        try:
            path = self._path(key)
        except KeyError:
            return False
        try:
            with locked_directory(path.parent, fcntl.LOCK_EX) as directory:
                if unless_committed_since is not None and path.stat().st_mtime >= unless_committed_since.timestamp():
                    return False
                path.unlink()
                os.fsync(directory)
                self._pending.forget(key)
        except FileNotFoundError:
            return False
        return True

    def keys(self) -> Iterator[str]:
        """Every committed blob, in no particular order."""
        for directory in os.scandir(self._objects):
            for entry in os.scandir(directory.path):
                yield entry.name

    @contextmanager
    def naming(self, key: str) -> Iterator[PendingNames]:
        """Keep others from removing this blob while it gets its names; yields where the first of them are. Errors: OSError."""
        self._make_directory(key)
        with locked_directory(self._path(key).parent, fcntl.LOCK_SH):
            yield self._pending

    def name(self, pending: Path, key: str, size: int) -> None:
        """Give a file that is durable by a name in `pending` its name below `objects`, inside of `naming`. Errors: OSError."""
        path = self._path(key)
        try:
            os.link(pending, path)
        except FileExistsError:
            if path.stat().st_size != size:
                # The hash in the name proves that the file on disk is damaged and that this one is right.
                os.replace(pending, path)
                sync_directory(path.parent)
                return
            # Whose name that is may not have been durable yet; this file is, until the name is.
            os.utime(path)
        self._pending.settle(pending, path.parent)

    def _name_pending(self) -> None:
        """Name again what a process that is no more, or a loss of power, left in `pending`."""
        for key, pending in self._pending.left():
            try:
                file = io.FileIO(pending, "rb")
            except FileNotFoundError:
                continue
            with file:
                # What is locked is being committed right now.
                if lock_now(file.fileno()):
                    self._name_again(pending, key, file)

    def _name_again(self, pending: Path, key: str, file: io.FileIO) -> None:
        is_named = _is_same(file, self._path(key))
        if not is_named:
            if hashlib.file_digest(file, "sha256").hexdigest() != key:
                # The power went before it was durable: nobody was told that it is here.
                pending.unlink(missing_ok=True)
                return
            os.fsync(file.fileno())
        # It may be removed meanwhile, or its name be durable by the process that it comes from.
        with self.naming(key), suppress(FileNotFoundError):
            if is_named:
                # It was committed then, and is not committed once more.
                self._pending.settle(pending, self._path(key).parent)
            else:
                self.name(pending, key, os.fstat(file.fileno()).st_size)

    def _path(self, key: str) -> Path:
        if not _KEY.match(key):
            raise KeyError(key)
        return self._objects / key[:_PREFIX] / key

    def _readable(self, key: str) -> Path:
        path = self._path(key)
        if not self._writing and not path.exists():
            # Who only reads may come before the one who names again what a loss of power left.
            return next(iter(self._pending.named(key)), path)
        return path

    def _make_directory(self, key: str) -> None:
        # A name is only as durable as the directory above it. Whoever finds that cannot know whether the one that made it has
        # synced it yet, so each process does so once, before it first relies on it.
        number = int(key[:_PREFIX], 16)
        if not self._durable[number]:
            (self._objects / key[:_PREFIX]).mkdir(exist_ok=True)
            sync_directory(self._objects)
            self._durable[number] = True
            self._made += 1
            if self._made == _MANY_DIRECTORIES:
                self.aside.submit(self._make_all)

    def _make_all(self) -> None:
        """Each new directory has its blob wait for the disk once more: a store that fills gets all of them at once."""
        for number in range(len(self._durable)):
            (self._objects / f"{number:0{_PREFIX}x}").mkdir(exist_ok=True)
        sync_directory(self._objects)
        self._durable[:] = b"\1" * len(self._durable)

    def _sweep_staging(self) -> None:
        for entry in os.scandir(self._staging):
            try:
                file = io.FileIO(entry.path, "rb")
            except FileNotFoundError:
                continue
            with file:
                if lock_now(file.fileno()):
                    Path(entry.path).unlink(missing_ok=True)


class LocalStaging:
    """A `xds.ports.Staging`: a file that is locked while it is being written, so that a sweep can tell it from a stale one."""

    def __init__(self, store: LocalBlobStore, directory: Path, *, sha1: bool = True) -> None:
        self._store = store
        self._sha1 = hashlib.sha1(usedforsecurity=False) if sha1 else None
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._key: str | None = None
        self._flushed = 0
        self._flushing: Future[None] | None = None
        while True:
            self._path = directory / uuid.uuid4().hex
            self._file = io.FileIO(self._path, "xb")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if os.fstat(self._file.fileno()).st_nlink:
                break
            # A process that started at this moment swept it between its creation and its lock.
            self._file.close()

    @property
    def size(self) -> int:
        """Octets written so far."""
        return self._size

    @property
    def sha1(self) -> str:
        """SHA-1 of the octets so far, lower-case hex."""
        if self._sha1 is None:
            late = hashlib.sha1(usedforsecurity=False)
            for chunk in self.open():
                late.update(chunk)
            return late.hexdigest()
        return self._sha1.hexdigest()

    @property
    def key(self) -> str:
        """What `commit` returns for the octets so far."""
        return self._sha256.hexdigest()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. Errors: OSError when the disk is full; ValueError after `commit` or `discard`."""
        with memoryview(data) as octets:
            hashing = None
            if self._sha1 is not None and len(octets) >= _LARGE_WRITE:
                hashing = self._store.aside.submit(self._sha1.update, octets)
            try:
                self._append(octets)
                self._sha256.update(octets)
            except OSError:
                # What reached the file is no longer what was hashed.
                self.discard()
                raise
            finally:
                if hashing is not None:
                    hashing.result()
            if hashing is None and self._sha1 is not None:
                self._sha1.update(octets)
            self._size += len(octets)
        if self._size - self._flushed >= _FLUSH_EVERY:
            self._flush()

    def _append(self, octets: memoryview) -> None:
        done = 0
        while done < len(octets):
            done += self._file.write(octets[done:])

    def _flush(self) -> None:
        """Let the disk begin with what was written, so that less is left to wait for in the end. Errors: as `commit`."""
        if self._flushing is None or self._flushing.done():
            self._await_flush()
            self._flushed = self._size
            self._flushing = self._store.aside.submit(os.fdatasync, self._file.fileno())

    def _await_flush(self) -> None:
        flushing, self._flushing = self._flushing, None
        if flushing is not None:
            try:
                flushing.result()
            except OSError:
                # The kernel reports a lost page once: a second attempt would succeed without the data.
                self.discard()
                raise

    def open(self) -> Iterator[bytes]:
        """The octets written so far, in chunks of at most 1 MiB. Errors: KeyError when the blob was discarded."""
        if self._key is not None:
            return self._store.open(self._key)
        try:
            return Chunks(io.FileIO(self._path, "rb"), 0, self._size)
        except FileNotFoundError:
            raise KeyError(self._path.name) from None

    def commit(self) -> str:
        """Make the blob durable under its content hash and return its key. Idempotent.

        Errors: OSError when the disk refuses, and then it is discarded; ValueError after `discard`.
        """
        if self._key is None:
            if self._file.closed:
                raise ValueError("the blob is closed: discarded")
            self._await_flush()
            key = self._sha256.hexdigest()
            try:
                with self._store.naming(key) as pending:
                    self._path = self._path.rename(pending.new(key))
                    pending.force(self._file.fileno())
                    self._store.name(self._path, key, self._size)
            except OSError:
                self.discard()
                raise
            self._key = key
            self._file.close()
        return self._key

    def discard(self) -> None:
        """Forget it, unless it was committed. Idempotent."""
        if not self._file.closed:
            if self._flushing is not None:
                # Its number must not become another file's meanwhile.
                wait((self._flushing,))
                self._flushing = None
            self._path.unlink(missing_ok=True)
            self._file.close()


class Chunks(Iterator[bytes]):
    """Chunks of an open file, which is closed after the last one, by `close`, or with the last reference to this."""

    def __init__(self, file: io.FileIO, offset: int, length: int | None) -> None:
        self._file = file
        self._offset = offset
        self._left = length

    def __next__(self) -> bytes:
        if self._file.closed:
            raise StopIteration
        wanted = CHUNK if self._left is None else min(CHUNK, self._left)
        data = os.pread(self._file.fileno(), wanted, self._offset) if wanted else b""
        if not data:
            self.close()
            raise StopIteration
        self._offset += len(data)
        if self._left is not None:
            self._left -= len(data)
        return data

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._file.close()

    def __del__(self) -> None:
        self._file.close()


def _is_same(file: io.FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
