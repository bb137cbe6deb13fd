"""Standard output, whose reader may go away before the command has ended: `xds transactions | head -1`."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: Exit code of a command whose output nobody reads to its end, as shells have it of programs that SIGPIPE ends.
READER_GONE: Final = 141


class _Output(io.FileIO):
    """The file of standard output.

    SIGPIPE itself stays ignored: it would end a command without a word when a partner closes its connection, too.
    """

    def write(self, octets: ReadableBuffer, /) -> int:
        """Errors: SystemExit when nobody reads any more. What is written after that goes nowhere."""
        try:
            return super().write(octets)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            raise SystemExit(READER_GONE) from None


def prepare() -> None:
    """Make the program end quietly when the reader of its output goes away, and no sign of its output impossible.

    In a locale that lacks a sign its code is shown: a name or a manual page must not end in a traceback.
    """
    given = sys.stdout
    if not isinstance(given, io.TextIOWrapper):
        return
    if given is not sys.__stdout__:
        given.reconfigure(errors="backslashreplace")
        return
    given.flush()
    file = _Output(given.fileno(), "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        # As Python has it without buffers (-u).
        file if given.write_through else io.BufferedWriter(file),
        encoding=given.encoding,
        errors="backslashreplace",
        line_buffering=given.line_buffering,
        write_through=given.write_through,
    )
