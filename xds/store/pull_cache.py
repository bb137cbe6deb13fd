"""Images fetched from sources outside, for a while: files in a directory, bounded in size, each with the day it expires.

An entry is two files: the object under a name of its own, and a description that names it. The description is written last and
put in place in one step, so that a process killed at any moment leaves an entry or none. Nothing is synced: an entry from before
the machine was started, whose octets may never have reached the disk, counts for nothing.

An object that somebody waits for has a second name, which tells every process that shares the directory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

from xds.ports import Clock

_DESCRIPTION: Final = ".json"
_OBJECT: Final = ".dcm"
_PIN: Final = ".pin"
#: Seconds that a file is spared after its last use: somebody may be about to open it.
_SPARED: Final = 60.0
#: How far the cache is emptied when it is full.
_EMPTIED_TO: Final = 0.9


class CacheKey(NamedTuple):
    """What an object is known by: its series, and its own name in it."""

    group: str
    name: str


@dataclass(frozen=True, slots=True)
class CachedObject:
    """A complete object in the cache. `digest` is that of what the source said of it when it was fetched."""

    path: Path
    size: int
    transfer_syntax_uid: str
    digest: str


@dataclass(frozen=True, slots=True)
class _Description:
    file: str
    size: int
    transfer_syntax_uid: str
    digest: str
    stored: float
    expires: float
    boot: str


class PullCache:
    """One object serves all threads; several processes may share the directory."""

    def __init__(self, directory: Path, size: int, keep: timedelta, clock: Clock) -> None:
        """At most `size` octets are kept, none longer than `keep`. Errors: OSError."""
        self._directory = directory / "objects"
        self._prefix = f"{self._directory}/"
        self._arriving = directory / f"arriving-{os.getpid()}"
        self._size = size
        self._keep = keep
        self._clock = clock
        self._boot = _boot()
        self._lock = threading.Lock()
        self._pins: Counter[Path] = Counter()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_leftovers(directory)
        self._directory.mkdir(exist_ok=True, mode=0o700)
        self._arriving.mkdir(exist_ok=True, mode=0o700)
        self._total = self._swept()
        #: How many objects this process has put in: whoever looked has seen all of them while this stays the same.
        self.kept = 0

    def close(self) -> None:
        """Remove what was still arriving; entries stay."""
        shutil.rmtree(self._arriving, ignore_errors=True)

    def new_file(self) -> Path:
        """Where an object is written while it arrives."""
        return self._arriving / f"{uuid.uuid4().hex}{_OBJECT}"

    def holds_any(self, group: str) -> bool:
        """Whether there is an entry of that group at all, whatever it is worth."""
        return bool(self._stems(_digest(group)))

    def held(self, group: str, names: Iterable[str]) -> frozenset[str]:
        """Those of these names in a group that there is an entry of, whatever it is worth. Costs a fraction of `find`."""
        asked = tuple(names)
        if len(asked) == 1:
            return frozenset(asked) if self._place(CacheKey(group, asked[0])).exists() else frozenset()
        place = _digest(group)
        stems = self._stems(place)
        return frozenset(name for name in asked if f"{place}-{_digest(name)}" in stems) if stems else frozenset()

    def _stems(self, place: str) -> set[str]:
        try:
            found = os.listdir(f"{self._prefix}{place[:2]}")
        except FileNotFoundError:
            return set()
        return {name.removesuffix(_DESCRIPTION) for name in found if name.startswith(place) and name.endswith(_DESCRIPTION)}

    def find(self, key: CacheKey, digest: str) -> CachedObject | None:
        """The object of that key, unless it has expired, or its source says something else of it now."""
        place = self._place(key)
        found = _read(place)
        if found is None:
            return None
        path = place.parent / found.file
        fresh = found.boot == self._boot and found.expires > self._clock().timestamp() and found.digest == digest
        try:
            fresh = fresh and path.stat().st_size == found.size
            if fresh:
                os.utime(path)
        except FileNotFoundError:
            fresh = False
        if not fresh:
            self.drop(key)
            return None
        return CachedObject(path, found.size, found.transfer_syntax_uid, found.digest)

    def keep(self, key: CacheKey, file: Path, transfer_syntax_uid: str, digest: str) -> CachedObject:
        """Take over a complete file that `new_file` named; one of the same key before it is gone. Errors: OSError.

        It is pinned: whoever waits for it must find it however full the cache is. The caller unpins it.
        """
        place = self._place(key)
        place.parent.mkdir(exist_ok=True, mode=0o700)
        size = file.stat().st_size
        former = _read(place)
        target = place.parent / f"{place.stem}-{uuid.uuid4().hex[:8]}{_OBJECT}"
        now = self._clock()
        expires = (now + self._keep).timestamp()
        description = _Description(target.name, size, transfer_syntax_uid, digest, now.timestamp(), expires, self._boot)
        written = self._arriving / f"{uuid.uuid4().hex}{_DESCRIPTION}"
        written.write_text(json.dumps(asdict(description)))
        file.replace(target)
        written.replace(place)
        with self._lock:
            self.kept += 1
            # Somebody may be about to open the former one; what stays without description goes at the next start.
            if former is not None and not _is_awaited(place.parent / former.file):
                (place.parent / former.file).unlink(missing_ok=True)
            self._pin(target)
            self._total += size
            is_full = self._total > self._size
        if is_full:
            self._make_room()
        return CachedObject(target, size, transfer_syntax_uid, digest)

    def drop(self, key: CacheKey) -> None:
        """Forget an entry. Idempotent."""
        place = self._place(key)
        found = _read(place)
        place.unlink(missing_ok=True)
        if found is not None:
            (place.parent / found.file).unlink(missing_ok=True)

    def pin(self, path: Path) -> None:
        """Keep this file until `unpin`, as often as it was pinned."""
        with self._lock:
            self._pin(path)

    def unpin(self, path: Path) -> None:
        """Undo one `pin`."""
        with self._lock:
            self._pins[path] -= 1
            if self._pins[path] <= 0:
                del self._pins[path]
                self._pin_of(path).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what has expired, and what is too much after all processes that share the directory have put in theirs."""
        before = self._total
        total = self._swept()
        with self._lock:
            self._total += total - before
        if total > self._size:
            self._make_room()

    def _pin(self, path: Path) -> None:
        self._pins[path] += 1
        if self._pins[path] == 1:
            # What was removed meanwhile needs no second name; a file system without them protects from this process alone.
            with suppress(OSError):
                self._pin_of(path).hardlink_to(path)

    def _pin_of(self, path: Path) -> Path:
        return self._arriving / f"{path.name}{_PIN}"

    @property
    def used(self) -> int:
        """Octets that the entries take now."""
        return sum(status.st_size for _, _, status in self._entries())

    def _place(self, key: CacheKey) -> Path:
        place = _digest(key.group)
        return self._directory / place[:2] / f"{place}-{_digest(key.name)}{_DESCRIPTION}"

    def _entries(self) -> Iterator[tuple[Path, _Description, os.stat_result]]:
        """Description, its content, and what the system says of the object of each entry."""
        for place in self._directory.glob(f"*/*{_DESCRIPTION}"):
            found = _read(place)
            if found is None:
                continue
            with suppress(FileNotFoundError):
                yield place, found, (place.parent / found.file).stat()

    def _swept(self) -> int:
        """Remove what nobody may have any more, and objects without description; the octets that are left."""
        now, total, named = self._clock().timestamp(), 0, set()
        spared_since = time.time() - _SPARED
        for place, found, status in list(self._entries()):
            is_over = found.expires <= now and status.st_nlink == 1 and status.st_mtime < spared_since
            if found.boot != self._boot or is_over or status.st_size != found.size:
                place.unlink(missing_ok=True)
                if is_over:
                    (place.parent / found.file).unlink(missing_ok=True)
            else:
                named.add(found.file)
                total += status.st_size
        for path in self._directory.glob(f"*/*{_OBJECT}"):
            # Another process may be about to describe a young one, or wait for one that was replaced.
            with suppress(FileNotFoundError):
                if path.name not in named and path.stat().st_ctime < spared_since and not _is_awaited(path):
                    path.unlink()
        return total

    def _make_room(self) -> None:
        """Remove what was used least recently."""
        with self._lock:
            entries = sorted(self._entries(), key=lambda entry: entry[2].st_mtime)
            total = sum(status.st_size for _, _, status in entries)
            spared_since = time.time() - _SPARED
            for place, found, status in entries:
                path = place.parent / found.file
                if total <= self._size * _EMPTIED_TO:
                    break
                if path in self._pins or status.st_nlink > 1:
                    continue
                if status.st_mtime > spared_since and total <= 2 * self._size:
                    continue
                place.unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                total -= status.st_size
            self._total = total


def _is_awaited(path: Path) -> bool:
    """Whether any process waits for that object."""
    try:
        return path.stat().st_nlink > 1
    except FileNotFoundError:
        return False


def _read(place: Path) -> _Description | None:
    try:
        return _Description(**json.loads(place.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


def _boot() -> str:
    """What tells one start of the machine from another; on systems that do not say, each process has its own."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return uuid.uuid4().hex


def _remove_leftovers(directory: Path) -> None:
    """What processes were receiving that are no more."""
    for path in directory.glob("arriving-*"):
        pid = path.name.partition("-")[2]
        if pid.isdecimal() and int(pid) != os.getpid() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)
