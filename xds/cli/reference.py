"""The reference of all commands as Markdown, made from what `--help` says: `python -m xds.cli.reference`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from typer.core import TyperArgument, TyperGroup, TyperOption

from xds.cli.commands import root
from xds.cli.later import Later

_HEAD = """# Commands

What `xds COMMAND --help` says, on one page. Exit codes: 0 done, 1 the partner or the check said no, 2 wrong usage, 3 nobody
answered, 141 the reader of the output went away, as shells have it of programs that SIGPIPE ends. Into a pipe or a file, tables
go without headings, with a tab between columns.
"""


def reference() -> str:
    """Every command with its arguments, options and examples."""
    return "\n".join(chain([_HEAD], _commands(root, "xds"))).rstrip() + "\n"


def _commands(group: TyperGroup, path: str) -> Iterator[str]:
    for name, listed in group.commands.items():
        command = listed.loaded() if isinstance(listed, Later) else listed
        if isinstance(command, TyperGroup):
            yield from _commands(command, f"{path} {name}")
            continue
        arguments = [item for item in command.params if isinstance(item, TyperArgument)]
        options = [item for item in command.params if isinstance(item, TyperOption)]
        usage = " ".join([f"{path} {name}", *map(_argument, arguments)])
        yield f"## `{usage}`\n\n{_paragraphs(command.help or '')}\n"
        terms = [*((_argument(item), item.help) for item in arguments), *((_option(item), item.help) for item in options)]
        if terms:
            yield "| argument or option | meaning |\n|---|---|"
            yield from (f"| `{term.replace('|', chr(92) + '|')}` | {meaning or ''} |" for term, meaning in terms)
            yield ""


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _argument(item: TyperArgument) -> str:
    return item.metavar or str(item.name).upper()


def _option(item: TyperOption) -> str:
    names = ", ".join((*item.opts, *item.secondary_opts))
    return names if item.is_flag else f"{names} {item.metavar or 'VALUE'}"


if __name__ == "__main__":
    print(reference(), end="")
