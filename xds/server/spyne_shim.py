"""Lets spyne 2.14.0 be imported by Python 3.12 and later.

Its copy of six finds `six.moves` by a finder in the form of Python 2, which Python 3.12 no longer asks. This asks it.
From Python 3.13 on, spyne needs the distribution `legacy-cgi` besides.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_SIX = "spyne.util.six"


class _Moves(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds what the finder of six knows."""

    def __init__(self, importer: Any) -> None:
        self._importer = importer

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._importer.known_modules:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=self._importer.is_package(fullname))

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module: ModuleType = self._importer.load_module(spec.name)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It was executed when six loaded it."""


def install() -> None:
    """Call this before spyne is imported. Does nothing on Python 3.11, or the second time."""
    if sys.version_info >= (3, 12) and _SIX not in sys.modules:
        _install()


def _install() -> None:
    package = importlib.util.find_spec("spyne")
    if package is None or package.origin is None:
        return
    spec = importlib.util.spec_from_file_location(_SIX, Path(package.origin).parent / "util" / "six.py")
    assert spec is not None
    assert spec.loader is not None
    six = sys.modules[_SIX] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(six)
    sys.meta_path.append(_Moves(vars(six)["_importer"]))
