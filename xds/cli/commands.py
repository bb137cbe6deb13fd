"""The tree of commands, and what every one of them has in common."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.main import get_command

import xds
from xds.cli.later import Later, with_commands
from xds.cli.outcome import answering

_app = typer.Typer(
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
    "**Exit codes**: 0 done, 1 the partner or the check said no, 2 wrong usage, 3 nobody answered, "
    "141 the reader of the output went away.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"xds {xds.__version__}")
        raise typer.Exit


@_app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Options before any command."""


#: A command is added here: its name, where its function is, and the first sentence of its docstring.
_COMMANDS = (
    Later("serve", "serve:serve", "Start the affinity domain: registry, repository, image archive, PIX manager."),
    Later(
        "publish",
        "publish:publish",
        "Announce images that stay where they are: makes a manifest of them and provides it (RAD-68).",
    ),
    Later("fetch", "fetch:fetch", "Get the images that a manifest announces."),
    Later("transactions", "show:transactions", "List the IHE transactions that the server answers, and where."),
    Later("config", "show:config", "Show every setting in force and where it came from. Passwords are masked."),
    Later("docs", "show:docs", "Read the manual, which is part of the installation."),
    Later("send", "send:group", "Send one transaction to any server and show its answer."),
    Later("import", "import_dicom:app", "Bring existing holdings into a running server."),
    Later("identity", "identity:app", "Who is who: review of links, weights, domains."),
    Later("admin", "admin:app", "Care of what is stored."),
)

root = with_commands(get_command(_app), _COMMANDS)


def run() -> None:
    """Runs the command and turns its outcome into the exit code."""
    try:
        with answering():
            root()
    finally:
        # What a full disk or a reader who went away makes of the rest is an outcome like any, and no traceback.
        with answering():
            sys.stdout.flush()
