"""Commands whose modules are imported when they are called: no command waits for the libraries of another one."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group


class Later(TyperCommand):
    """A command, or a group of them, of which the list of commands knows only this much.

    `target` is `module:name` in this package: a function, a `typer.Typer`, or a group. `summary` is what its help begins with.
    """

    def __init__(self, name: str, target: str, summary: str) -> None:
        super().__init__(name, help=summary)
        self.summary = summary
        self._title, self._target = name, target

    def loaded(self) -> Any:
        """The command itself."""
        module, _, name = self._target.partition(":")
        found = getattr(import_module(f"{__package__}.{module}"), name)
        if isinstance(found, TyperGroup):
            return found
        around = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False)
        if isinstance(found, typer.Typer):
            around.add_typer(found, name=self._title)
        else:
            around.command(self._title)(found)
        return get_group(around).commands[self._title]

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Where a call begins: from here on it is the command itself."""
        return self.loaded().make_context(*arguments, **named)


def with_commands(group: object, commands: Iterable[Later]) -> TyperGroup:
    """The group, with these commands in this order."""
    whole = cast(TyperGroup, group)
    for command in commands:
        whole.add_command(command)
    return whole
