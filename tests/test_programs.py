"""Programs are told from others of the same name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.programs import found


def test_a_program_of_dcmtk_is_told_from_another_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for directory, says in (("environment", "usage: sender [options]"), ("system", "\\$dcmtk: sender v3.6.7 \\$")):
        script = tmp_path / directory / "sender"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\necho "{says}"\n')
        script.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "environment"), str(tmp_path / "system")]))
    assert found("sender") == str(tmp_path / "system" / "sender")
    assert found("sender", "") == str(tmp_path / "environment" / "sender")
    assert found("receiver") is None
