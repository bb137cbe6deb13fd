"""The `xds` command."""

import io
import sys

#: Exit code of a command that Ctrl-C ended, as shells have it: 128 and the number of the signal.
_INTERRUPTED = 130


def main() -> None:
    """Entry point."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # In a locale that lacks a sign, its code is shown: a name or a manual page must not end in a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        from xds.cli.commands import run  # here, so that the package does not import its own modules while they import it
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    run()
