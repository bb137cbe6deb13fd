"""The `xds` command."""


def main() -> None:
    """Entry point."""
    from xds.cli.commands import run  # here, so that the package does not import its own modules while they import it

    run()
