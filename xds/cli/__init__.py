"""The `xds` command."""

import sys

#: Exit code of a command that Ctrl-C ended, as shells have it: 128 and the number of the signal.
_INTERRUPTED = 130


def main() -> None:
    """Entry point."""
    try:
        # Here, so that the package does not import its own modules while they import it.
        from xds.cli import output
        from xds.cli.commands import run

        output.prepare()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    run()
