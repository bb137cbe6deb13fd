"""Answers of the HTTP server: what they consist of, the short ones of its own, and how they are handed over (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

from xds.open_file import OpenFile, read, unread

#: In the environ of a server that takes an `OpenFile` for a chunk.
SENDS_FILES = "xds.sends_files"

_TEXT = "text/plain; charset=UTF-8"


def nothing(complete: bool) -> None:
    """For an answer that nobody waits for."""


@dataclass(slots=True)
class Answer:
    """An answer on its way out. `route` is what the log shows: never the part of a path that may name a patient."""

    status: str
    headers: list[tuple[str, str]]
    chunks: Iterable[bytes | OpenFile]
    route: str
    transaction: str = ""
    outcome: str = "ok"
    finished: Callable[[bool], None] = nothing


class Sending:
    """The answer's chunks as PEP 3333 wants them, and files for a server that takes them. `close` tells all who wait, once."""

    def __init__(self, answer: Answer, ended: Callable[[int, bool], None], *, is_head: bool, sends_files: bool) -> None:
        """`ended` is told how many octets were handed over, and whether those were all."""
        self._answer = answer
        self._ended = ended
        self._chunks = iter(() if is_head else unread(answer.chunks) if sends_files else read(answer.chunks))
        self._sent = 0
        self._is_complete = False
        self._is_closed = False

    def __iter__(self) -> Iterator[bytes | OpenFile]:
        return self

    def __next__(self) -> bytes | OpenFile:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            self._is_complete = True
            raise
        self._sent += len(chunk)
        return chunk

    def close(self) -> None:
        """Called by the server when the last octet was sent, or when it cannot be."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            for chunks in (self._chunks, self._answer.chunks):
                close = getattr(chunks, "close", None)
                if close is not None:
                    close()
        finally:
            try:
                self._answer.finished(self._is_complete)
            finally:
                self._ended(self._sent, self._is_complete)


@lru_cache(maxsize=64)
def status_line(status: int) -> str:
    """`400` -> `400 Bad Request`."""
    return f"{status} {HTTPStatus(status).phrase}"


def outcome_of(status: int) -> str:
    """What the metrics call an answer of that status."""
    return "ok" if status < 400 else "fault" if status < 500 else "failure"


def first_segment(path: str) -> str:
    """What a log may show of a path that is not ours: what follows may be a patient's identifier."""
    return "/" + path.lstrip("/").partition("/")[0][:64]


def content_type_header(value: str) -> list[tuple[str, str]]:
    """The header field, if there is a type."""
    return [("Content-Type", value)] if value else []


def whole(status: int, content_type: str, body: bytes, route: str) -> Answer:
    """An answer of these octets."""
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    return Answer(status_line(status), headers, [body], route, outcome=outcome_of(status))


def plain(status: int, text: str, route: str) -> Answer:
    """An answer of one line of text."""
    return whole(status, _TEXT, f"{text}\n".encode(), route)


def allowed(route: str, methods: str) -> Answer:
    """For OPTIONS: the methods that a path knows. Spec: RFC 9110 9.3.7."""
    return Answer(status_line(204), [("Allow", methods)], (), route)


def not_allowed(route: str, allowed: str, why: str = "the method is not allowed here") -> Answer:
    """For a method that a path does not know; `allowed` are those that it knows."""
    answer = plain(405, why, route)
    answer.headers.append(("Allow", allowed))
    return answer


def busy(route: str, why: str = "too many uploads at this moment") -> Answer:
    """For a request that may succeed soon."""
    answer = plain(503, why, route)
    answer.headers.append(("Retry-After", "5"))
    return answer
