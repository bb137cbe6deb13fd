"""`python -m xds` is the `xds` command."""

from xds.cli import main

main()
