"""How a command ends: exit codes, and errors as one plain sentence on standard error."""

from __future__ import annotations

import http.client
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

REFUSED = 1
USAGE = 2
NO_ANSWER = 3


class Refused(Exception):
    """The partner answered no; its words were shown already, or are the text."""


class Usage(Exception):
    """The command was given something it cannot use."""


class NoAnswer(Exception):
    """The partner could not be reached or did not answer in time."""


@contextmanager
def answering() -> Iterator[None]:
    """Turn what is no success into exit codes: the three outcomes, and what this machine refuses."""
    try:
        yield
    except Refused as error:
        _leave(str(error), REFUSED)
    except Usage as error:
        _leave(str(error), USAGE)
    except (NoAnswer, ConnectionError, TimeoutError) as error:
        _leave(f"no answer: {error}", NO_ANSWER)
    except OSError as error:
        # Of this machine: a disk that is full, most often that of the output.
        _leave(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error), REFUSED)


def why_no_answer(error: BaseException) -> str:
    """In plain words why an exchange failed; what is behind an error of ours tells more than it does."""
    cause = error.__cause__ or error
    for kinds, words in _WORDS:
        if isinstance(cause, kinds):
            return words
    return (cause.strerror if isinstance(cause, OSError) else None) or str(error)


_WORDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((socket.gaierror,), "this name of a host has no address"),
    ((ConnectionRefusedError,), "nothing listens there; is the server running?"),
    ((TimeoutError,), "it was silent for too long (--timeout)"),
    ((http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError), "it closed the connection without an answer"),
    ((http.client.IncompleteRead,), "its answer ends too early"),
    ((http.client.HTTPException,), "what answers there does not speak HTTP"),
)


def _leave(text: str, code: int) -> NoReturn:
    if text:
        print(f"xds: {text}", file=sys.stderr)
    sys.exit(code)
