"""Runs `xds` commands inside the test process, for their output and exit code."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from xds.cli import main


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """The table on standard output."""
        return [line.split("\t") for line in self.out.splitlines()]


class Commands:
    """`xds(...)` runs one command."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._captured = captured

    def __call__(self, *arguments: str) -> Outcome:
        self._captured.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["xds", *arguments])
        try:
            main()
            code = 0
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 0
        out, err = self._captured.readouterr()
        return Outcome(code, out, err)
