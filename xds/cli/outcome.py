"""How a command ends: exit codes, and errors as one plain sentence on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

DONE = 0
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
    """Turn the three outcomes that are not success into their exit codes."""
    try:
        yield
    except Refused as error:
        _leave(str(error), REFUSED)
    except Usage as error:
        _leave(str(error), USAGE)
    except (NoAnswer, ConnectionError, TimeoutError) as error:
        _leave(f"nobody answered: {error}", NO_ANSWER)


def _leave(text: str, code: int) -> NoReturn:
    if text:
        print(f"xds: {text}", file=sys.stderr)
    sys.exit(code)
