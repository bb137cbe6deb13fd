"""Blobs as files of one directory: `objects/ab/<sha256>` for what is committed, `staging/` for what is still arriving.

What is durable when: a staged file is fsynced before it gets its name below `objects`, and the directories that hold the name
are fsynced before `commit` returns. So a name never stands for half a blob, and a returned key survives a power cut.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import mmap
import os
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from xds.open_file import CHUNK, OpenFile
from xds.store.blobs.direct import ROOM, WORTH_IT, Rooms, write_all, write_past_cache

#: Digits of a key that name its directory: 256 of them are soon there, and a million files in each would still be found at once.
_PREFIX = 2
#: After so many directories that were made one by one, the others are made together.
_MANY_DIRECTORIES = 8
#: Octets that are worth another thread, and after which the disk may begin.
_LARGE_WRITE = 128 << 10
_FLUSH_EVERY = 32 << 20
#: So many blobs at a time are made durable by one process, and large ones hashed.
_ASIDE = 16

_KEY = re.compile(r"[0-9a-f]{64}\Z")


class LocalBlobStore:
    """A `xds.ports.BlobStore` on a local disk. Several processes may share the directory."""

    def __init__(self, directory: Path, *, writing: bool = True) -> None:
        """Create the directory when it is not there, and remove what broken uploads of dead processes left in `staging`.

        Without `writing` neither happens: the store is only read.
        """
        self._objects = directory / "objects"
        self._staging = directory / "staging"
        self._durable = bytearray(16**_PREFIX)
        self._made = 0
        #: Does beside an upload what needs neither this thread nor the interpreter's lock.
        self.aside = ThreadPoolExecutor(_ASIDE, thread_name_prefix="blobs")
        self.rooms = Rooms()
        if not writing:
            return
        for path in (self._objects, self._staging):
            path.mkdir(parents=True, exist_ok=True)
        _sync_directory(directory.parent)
        _sync_directory(directory)
        self._sweep_staging()

    def stage(self, *, sha1: bool = True) -> LocalStaging:
        """Begin a blob. Errors: OSError when the disk is full or has no file left."""
        return LocalStaging(self, self._staging, sha1=sha1)

    def open(self, key: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The octets in chunks of at most 1 MiB, the file opened before this returns and closed after the last chunk.

        Errors: KeyError when there is no such blob.
        """
        try:
            file = io.FileIO(self._name(key), "rb")
        except FileNotFoundError:
            raise KeyError(key) from None
        return OpenFile(file, offset, length)

    def file(self, key: str) -> Path | None:
        """Where the blob lies. Errors: KeyError when there is no such blob."""
        path = self._path(key)
        if not path.is_file():
            raise KeyError(key)
        return path

    def size(self, key: str) -> int:
        """Octets of the blob. Errors: KeyError when there is no such blob."""
        try:
            return os.stat(self._name(key)).st_size
        except FileNotFoundError:
            raise KeyError(key) from None

    def committed_at(self, key: str) -> datetime:
        """When the blob was committed last. Errors: KeyError when there is no such blob."""
        try:
            return datetime.fromtimestamp(self._path(key).stat().st_mtime, UTC)
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
            with _locked_directory(path.parent, fcntl.LOCK_EX) as directory:
                if unless_committed_since is not None and path.stat().st_mtime >= unless_committed_since.timestamp():
                    return False
                path.unlink()
                os.fsync(directory)
        except FileNotFoundError:
            return False
        return True

    def keys(self) -> Iterator[str]:
        """Every committed blob, in no particular order."""
        for directory in os.scandir(self._objects):
            for entry in os.scandir(directory.path):
                yield entry.name

    def publish(self, staged: str, key: str, size: int) -> None:
        """Give a staged file, already fsynced, its name below `objects`, and make the name durable.

        The directory is locked against `delete` meanwhile, so that a blob that is committed once more is not swept away.
        """
        name = self._name(key)
        self._make_directory(key)
        with _locked_directory(os.path.dirname(name), fcntl.LOCK_SH) as directory:
            try:
                os.link(staged, name)
            except FileExistsError:
                if os.stat(name).st_size == size:
                    os.utime(name)
                else:
                    # The hash in the name proves that the file on disk is damaged and that this one is right.
                    os.replace(staged, name)
            os.fsync(directory)
        _remove(staged)

    def _path(self, key: str) -> Path:
        return Path(self._name(key))

    def _name(self, key: str) -> str:
        # A text, because paths cost as much as the calls that they are for.
        if not _KEY.match(key):
            raise KeyError(key)
        return f"{self._objects}/{key[:_PREFIX]}/{key}"

    def _make_directory(self, key: str) -> None:
        # A name is only as durable as the directory above it. Whoever finds that cannot know whether the one that made it has
        # synced it yet, so each process does so once, before it first relies on it.
        number = int(key[:_PREFIX], 16)
        if not self._durable[number]:
            (self._objects / key[:_PREFIX]).mkdir(exist_ok=True)
            _sync_directory(self._objects)
            self._durable[number] = True
            self._made += 1
            if self._made == _MANY_DIRECTORIES:
                self.aside.submit(self._make_all)

    def _make_all(self) -> None:
        """Each new directory has its blob wait for the disk once more: a store that fills gets all of them at once."""
        for number in range(len(self._durable)):
            (self._objects / f"{number:0{_PREFIX}x}").mkdir(exist_ok=True)
        _sync_directory(self._objects)
        self._durable[:] = b"\1" * len(self._durable)

    def _sweep_staging(self) -> None:
        for entry in os.scandir(self._staging):
            try:
                file = io.FileIO(entry.path, "rb")
            except FileNotFoundError:
                continue
            with file:
                if _lock_now(file.fileno()):
                    Path(entry.path).unlink(missing_ok=True)


class LocalStaging:
    """A `xds.ports.Staging`: a file that is locked while it is being written, so that a sweep can tell it from a stale one.

    The beginning is gathered in memory, where there is room; what has an end there is hashed while it is written, anything
    longer is hashed and written as it arrives from then on.
    """

    def __init__(self, store: LocalBlobStore, directory: Path, *, sha1: bool = True) -> None:
        self._store = store
        self._sha1 = hashlib.sha1(usedforsecurity=False) if sha1 else None
        self._sha256 = hashlib.sha256()
        self._size = self._hashed = self._flushed = 0
        self._is_whole = False
        self._key: str | None = None
        #: What the disk does meanwhile.
        self._flushing: Future[None] | None = None
        #: What is not in the file yet: all of the blob so far, or nothing.
        self._room: mmap.mmap | None = None
        while True:
            self._path = f"{directory}/{os.urandom(16).hex()}"
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
        self._hash_gathered()
        return self._sha1.hexdigest()

    @property
    def key(self) -> str:
        """What `commit` returns for the octets so far."""
        self._hash_gathered()
        return self._sha256.hexdigest()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. Errors: OSError when the disk is full; ValueError after `begin_commit`, `commit` or `discard`."""
        if self._is_whole:
            raise ValueError("the blob is closed: nothing can be added to it")
        with memoryview(data) as octets:
            end = self._size + len(octets)
            room = self._room_for(end)
            if room is None:
                self._append(octets)
            else:
                room[self._size : end] = octets
            self._size = end
        if self._size - self._flushed >= _FLUSH_EVERY:
            self._flush()

    def _room_for(self, size: int) -> mmap.mmap | None:
        if self._room is None and not self._size:
            # Not before: a connection may have begun the next blob and stay idle.
            self._room = self._store.rooms.take()
        return self._room if size <= ROOM else None

    def _append(self, octets: memoryview) -> None:
        try:
            if self._room is not None:
                self._hash_gathered()
                write_all(self._file.fileno(), memoryview(self._room)[: self._size])
                self._give_room()
            write_all(self._file.fileno(), octets)
        except OSError:
            # What reached the file is no longer what was hashed.
            self.discard()
            raise
        self._hash(octets)

    def _give_room(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            self._store.rooms.give(room)

    def _hash_gathered(self) -> None:
        if self._room is not None and self._hashed < self._size:
            self._hash(memoryview(self._room)[self._hashed : self._size])

    def _hash(self, octets: memoryview) -> None:
        hashing = None
        if self._sha1 is not None:
            if len(octets) >= _LARGE_WRITE:
                hashing = self._store.aside.submit(self._sha1.update, octets)
            else:
                self._sha1.update(octets)
        self._sha256.update(octets)
        self._hashed += len(octets)
        if hashing is not None:
            hashing.result()

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

    def begin_commit(self) -> None:
        """Have the disk finish the blob, to which nothing is added any more, while the caller does something else. Idempotent.

        Errors: OSError when the disk failed before; ValueError after `commit` or `discard`.
        """
        descriptor = self._file.fileno()
        if not self._is_whole:
            self._await_flush()
            self._is_whole = True
            self._flushing = self._store.aside.submit(self._finish, descriptor)

    def _finish(self, descriptor: int) -> None:
        if self._room is not None:
            write = write_past_cache if self._size >= WORTH_IT else write_all
            write(descriptor, memoryview(self._room)[: self._size])
        os.fsync(descriptor)

    def open(self) -> Iterator[bytes]:
        """The octets written so far, in chunks of at most 1 MiB. Errors: KeyError when the blob was discarded."""
        if self._key is not None:
            return self._store.open(self._key)
        if self._room is not None:
            # A copy, because the room may soon be another's.
            gathered = self._room[: self._size]
            return (gathered[start : start + CHUNK] for start in range(0, self._size, CHUNK))
        try:
            return OpenFile(io.FileIO(self._path, "rb"), 0, self._size)
        except FileNotFoundError:
            raise KeyError(os.path.basename(self._path)) from None

    def commit(self) -> str:
        """Make the blob durable under its content hash and return its key. Idempotent.

        Errors: OSError when the disk refuses; ValueError after `discard`.
        """
        if self._key is None:
            self.begin_commit()
            self._hash_gathered()
            self._await_flush()
            self._give_room()
            key = self._sha256.hexdigest()
            self._store.publish(self._path, key, self._size)
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
            self._give_room()
            self._is_whole = True
            _remove(self._path)
            self._file.close()


def _remove(name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked_directory(path: str | Path, kind: int) -> Iterator[int]:
    # Each caller opens the directory itself: a lock belongs to the open file, so it also works between threads.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, kind)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock_now(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
