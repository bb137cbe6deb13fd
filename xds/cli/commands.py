"""The tree of commands, and what every one of them has in common."""

from __future__ import annotations

from typing import Annotated

import typer

import xds
from xds.cli import admin, admin_imaging, fetch, identity, import_dicom, publish, send, serve, show
from xds.cli.outcome import answering

#: Modules that add commands to a group of another one.
_MORE = (admin_imaging,)

app = typer.Typer(
    name="xds",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="An IHE XDS-I.b affinity domain: server, clients of its transactions, and tools.\n\n"
    "**First steps**\n\n"
    "`xds serve --demo` starts everything with a small region of synthetic patients.\n\n"
    "`xds transactions` shows what the server answers; `xds send --help` how to try each of them.\n\n"
    "`xds docs` opens the manual.\n\n"
    "**Exit codes**: 0 done, 1 the partner or the check said no, 2 wrong usage, 3 nobody answered.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"xds {xds.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Options before any command."""


app.command("serve")(serve.serve)
app.add_typer(send.app, name="send")
app.command("publish")(publish.publish)
app.command("fetch")(fetch.fetch)
app.add_typer(import_dicom.app, name="import")
app.add_typer(identity.app, name="identity")
app.add_typer(admin.app, name="admin")
app.command("transactions")(show.transactions)
app.command("config")(show.config)
app.command("docs")(show.docs)


def run() -> None:
    """Runs the command and turns its outcome into the exit code."""
    with answering():
        app()
