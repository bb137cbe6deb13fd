"""One instance on its way from a source, shared by all who want it: they read what has arrived, and wait for the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from xds.actors.imaging_waiting import about_to_wait
from xds.model.foreign_images import PullError, PullProblem
from xds.store.pull_cache import CachedObject, CacheKey, PullCache

_CHUNK: Final = 1024 * 1024
_MARK: Final = "pull:"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an instance is to be had: source, study, series, instance."""

    location: str
    study: str
    series: str
    instance: str

    @property
    def key(self) -> str:
        """The same as a text that no other place has, and no blob."""
        return key_of(self.location, self.study, self.series, self.instance)

    @property
    def cache_key(self) -> CacheKey:
        """What the cache knows it by: with all others of its series."""
        return CacheKey(f"{self.location}/{self.study}/{self.series}", self.instance)


def key_of(location: str, study: str, series: str, instance: str) -> str:
    """The key of a place."""
    return f"{_MARK}{study}/{series}/{instance}/{location}"


def place_of(key: str) -> Place | None:
    """The place of a key; None for the key of a blob."""
    if not key.startswith(_MARK):
        return None
    study, series, instance, location = key.removeprefix(_MARK).split("/", 3)
    return Place(location, study, series, instance)


class Arrival:
    """One instance. The thread that fetches it writes, any number of readers follow."""

    __slots__ = (
        "_cache",
        "_condition",
        "_digest",
        "_is_pinned",
        "_listeners",
        "_object",
        "_path",
        "_place",
        "_readers",
        "_written",
        "problem",
        "transfer_syntax_uid",
    )

    def __init__(
        self,
        place: Place | None,
        digest: Callable[[], str],
        cache: PullCache | None,
        condition: threading.Condition | None = None,
    ) -> None:
        """`digest` is that of what its source says of it now, asked for when it is put into the cache.

        Those that are fetched together share a `condition`.
        """
        self._place = place
        self._digest = digest
        self._cache = cache
        self._condition = condition or threading.Condition()
        self._listeners: list[Callable[[Arrival], None]] = []
        self._written = 0
        self._path: Path | None = None
        self._object: CachedObject | None = None
        self._readers = 0
        self._is_pinned = False
        self.transfer_syntax_uid = ""
        self.problem: PullError | None = None

    @classmethod
    def failed(cls, problem: PullError) -> Arrival:
        """One that cannot be had."""
        arrival = cls(None, str, None)
        arrival.problem = problem
        return arrival

    @classmethod
    def complete_in(cls, cache: PullCache, found: CachedObject) -> Arrival:
        """One that is in the cache, for one reader."""
        arrival = cls(None, str, cache)
        arrival._finish(found)
        return arrival.shared()

    @property
    def place(self) -> Place:
        """Where it is to be had."""
        assert self._place is not None
        return self._place

    @property
    def is_begun(self) -> bool:
        """True when octets may be read, or none will come."""
        return bool(self.transfer_syntax_uid) or self.problem is not None

    @property
    def is_ended(self) -> bool:
        """True when nothing more will come."""
        return self._object is not None or self.problem is not None

    # ---- the one who fetches

    def receive(self, chunks: Iterable[bytes], transfer_syntax_uid: str) -> None:
        """Write what arrives, and put it into the cache. Errors: PullError, OSError; the readers are told of them."""
        assert self._cache is not None
        path = self._cache.new_file()
        try:
            with path.open("wb", buffering=0) as file:
                self._begin(path, transfer_syntax_uid)
                for chunk in chunks:
                    self._write(file, chunk)
            found = self._cache.keep(self.place.cache_key, path, transfer_syntax_uid, self._digest())
            self._finish(found)
            self._cache.unpin(found.path)
        except PullError as problem:
            self.fail(problem)
            raise
        finally:
            path.unlink(missing_ok=True)
            # Whatever happened, nobody waits for ever; what has ended stays as it is.
            self.fail(PullError(PullProblem.BROKEN, "it did not arrive whole"))

    def _begin(self, path: Path, transfer_syntax_uid: str) -> None:
        with self._condition:
            self._path = path
            self.transfer_syntax_uid = transfer_syntax_uid
            self._tell()

    def _write(self, file: object, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            view = view[file.write(view) :]  # type: ignore[attr-defined]
        with self._condition:
            self._written += len(chunk)
            self._condition.notify_all()

    def _finish(self, found: CachedObject) -> None:
        with self._condition:
            self._object = found
            self._path = found.path
            self._written = found.size
            self.transfer_syntax_uid = found.transfer_syntax_uid
            if self._readers:
                self._pin()
            self._tell()

    def fail(self, problem: PullError) -> None:
        """It will not come, or not whole. What has ended stays as it is."""
        with self._condition:
            if not self.is_ended:
                self.problem = problem
            self._tell()

    def _tell(self) -> None:
        listeners, self._listeners = self._listeners, []
        self._condition.notify_all()
        for listener in listeners:
            listener(self)

    # ---- those who read

    def shared(self) -> Arrival:
        """The same for one reader more, who releases it."""
        with self._condition:
            self._readers += 1
            if self._object is not None:
                self._pin()
        return self

    def release(self) -> None:
        """One reader needs it no more."""
        with self._condition:
            self._readers -= 1
            if self._readers <= 0 and self._is_pinned and self._object is not None and self._cache is not None:
                self._is_pinned = False
                self._cache.unpin(self._object.path)

    def _pin(self) -> None:
        if not self._is_pinned and self._object is not None and self._cache is not None:
            self._is_pinned = True
            self._cache.pin(self._object.path)

    def tell(self, listener: Callable[[Arrival], None]) -> None:
        """Call this once when it begins or has failed; at once when it has already."""
        with self._condition:
            if not self.is_begun:
                self._listeners.append(listener)
                return
        listener(self)

    def _await(self, is_ready: Callable[[], bool]) -> None:
        with self._condition:
            if is_ready():
                return
        about_to_wait()
        with self._condition:
            self._condition.wait_for(is_ready)

    def begun(self) -> str:
        """Wait for the first octets; the transfer syntax that it comes in. Errors: PullError."""
        self._await(lambda: self.is_begun)
        with self._condition:
            if self.problem is not None:
                raise self.problem
            return self.transfer_syntax_uid

    def complete(self) -> CachedObject:
        """Wait until it is here. Errors: PullError."""
        self._await(lambda: self.is_ended)
        with self._condition:
            if self._object is None:
                assert self.problem is not None
                raise self.problem
            return self._object

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """The octets from one on, as far as they are here and then as they arrive. Errors: PullError, also after some octets."""
        self.begun()
        with self._condition:
            path = self._path
        assert path is not None
        try:
            return self._follow(path.open("rb", buffering=0), start)
        except FileNotFoundError:
            # It is just being moved into the cache.
            path = self.complete().path
        try:
            return self._follow(path.open("rb", buffering=0), start)
        except FileNotFoundError:
            raise PullError(PullProblem.BUSY, "it was removed from the cache") from None

    def _follow(self, file: BinaryIO, start: int) -> Iterator[bytes]:
        position = start
        with file as stream:
            stream.seek(start)
            while True:
                self._await(lambda at=position: self._written > at or self.is_ended)  # type: ignore[misc]
                with self._condition:
                    available, problem, ended = self._written, self.problem, self.is_ended
                if problem is not None:
                    raise problem
                while position < available and (chunk := stream.read(min(_CHUNK, available - position))):
                    position += len(chunk)
                    yield chunk
                if ended and position >= available:
                    return
                if ended:
                    raise PullError(PullProblem.BROKEN, "it is shorter in the cache than it was")
