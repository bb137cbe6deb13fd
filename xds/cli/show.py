"""`xds transactions`, `xds config`, `xds docs`."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xds.cli.outcome import Usage
from xds.cli.printing import AsJson, print_table

if TYPE_CHECKING:
    from xds.transactions.transaction import Transaction


def transactions(as_json: AsJson = False) -> None:
    """List the IHE transactions that the server answers, and where."""
    if as_json:
        print(json.dumps([_facts(item) for item in _table()], ensure_ascii=False, indent=2))
        return
    print_table(
        ("Transaction", "Name", "Actor", "Wire", "Where"),
        [(item.id, item.name, item.responder, item.wire.value, item.path or ", ".join(item.triggers)) for item in _table()],
    )


def _table() -> list[Transaction]:
    from xds.transactions.table import MODULES

    return [module.TRANSACTION for module in MODULES]


def _facts(item: Transaction) -> dict[str, object]:
    return {
        "id": item.id,
        "name": item.name,
        "responder": item.responder,
        "wire": item.wire.value,
        "path": item.path,
        "action": item.action,
        "triggers": list(item.triggers),
    }


def config(
    config_file: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings. Default: xds.toml in the working directory, if any."),
    ] = None,
    describe: Annotated[bool, typer.Option("--describe", help="Print what every setting means, as Markdown.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show every setting in force and where it came from. Passwords are masked.

    **Examples**

    `XDS__SERVER__HTTP_PORT=9090 xds config` shows that the environment wins over the file

    `xds config --describe` prints the reference of all settings
    """
    from xds import config as settings

    if describe:
        print(settings.describe(), end="")
        return
    try:
        origins = settings.provenance(config_file)
    except settings.ConfigError as error:
        raise Usage(str(error)) from error
    if as_json:
        print(
            json.dumps({item.key: {"value": item.value, "source": item.source} for item in origins}, ensure_ascii=False, indent=2)
        )
        return
    print_table(("Setting", "Value", "Source"), [(item.key, item.value, item.source) for item in origins])


def docs(page: Annotated[str | None, typer.Argument(help="Name of a page; without it, the list of pages.")] = None) -> None:
    """Read the manual, which is part of the installation.

    **Examples**

    `xds docs` lists the pages; `xds docs configuration` shows one
    """
    folder = files("xds").joinpath("docs")
    names = sorted(item.name.removesuffix(".md") for item in folder.iterdir() if item.name.endswith(".md"))
    if page is None:
        titles = (
            (name, folder.joinpath(f"{name}.md").read_text(encoding="utf-8").splitlines()[0].lstrip("# ")) for name in names
        )
        print_table(("Page", "What it is"), list(titles))
        return
    if page not in names:
        raise Usage(f"there is no page {page!r}; the pages are {', '.join(names)}")
    text = folder.joinpath(f"{page}.md").read_text(encoding="utf-8")
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(text))
    else:
        print(text, end="")
