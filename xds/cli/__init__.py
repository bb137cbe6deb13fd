"""The `xds` command."""


def main() -> None:
    """Entry point."""
