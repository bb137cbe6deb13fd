"""The package works from its wheel: whatever stands beside the code in a checkout is inside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_SOURCE = ("*.egg-info", "build", "dist", "results", "__pycache__", ".*")


def run(*command: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel of this checkout is installed, without what it depends on."""
    folder = tmp_path_factory.mktemp("packaging")
    source, wheels, target = folder / "source", folder / "wheels", folder / "installed"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(source), folder=folder)
    (wheel,) = wheels.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--no-deps", "--no-index", "--target", str(target), str(wheel), folder=folder)
    return target


def python(installed: Path, code: str) -> str:
    """Run code that imports the installed package, in a folder without the checkout."""
    return run(sys.executable, "-c", code, folder=installed.parent, PYTHONPATH=str(installed)).strip()


def test_the_wheel_is_what_is_imported(installed: Path) -> None:
    assert Path(python(installed, "import xds; print(xds.__file__)")).is_relative_to(installed)


@pytest.mark.parametrize("kind", ["wsdl", "schemas"])
def test_contracts_are_inside(installed: Path, kind: str) -> None:
    code = (
        "from xds.resources import folder\n"
        f"print(*sorted(item.name for item in folder({kind!r}).iterdir() if item.suffix in ('.wsdl', '.xsd')))"
    )
    listing = python(installed, code)
    assert listing.split() == sorted(path.name for path in (ROOT / kind).iterdir() if path.suffix in {".wsdl", ".xsd"})


def test_steps_between_versions_of_the_tables_are_inside(installed: Path) -> None:
    code = (
        "from xds.store.migrations import SCHEMA_VERSION, script, scripts\n"
        "assert len(list(scripts().walk_revisions())) == SCHEMA_VERSION\n"
        "print(script('sqlite', None).count('CREATE TABLE'))"
    )
    assert int(python(installed, code)) > 20


def test_a_message_is_validated(installed: Path) -> None:
    code = (
        "from xds.wire.xml import parse, schema_errors\n"
        'element = parse(b\'<rs:RegistryResponse xmlns:rs="urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0" status="urn:x:y"/>\')\n'
        "print(schema_errors(element, 'rs.xsd'))"
    )
    assert python(installed, code) == "[]"


def test_pages_words_and_style_are_inside(installed: Path) -> None:
    code = (
        "from importlib.resources import files\n"
        "from xds.portal.language import LANGUAGES, texts\n"
        "print(*[texts(language)('page.title') for language in LANGUAGES], sep='|')\n"
        "portal = files('xds.portal')\n"
        "print(portal.joinpath('templates', 'root.html').is_file(), portal.joinpath('static', 'portal.css').is_file())"
    )
    assert python(installed, code).splitlines() == ["Affinity domain|Domaine d'affinité", "True True"]


def test_the_manual_is_inside(installed: Path) -> None:
    shown = run(sys.executable, "-m", "xds", "docs", folder=installed.parent, PYTHONPATH=str(installed))
    assert {line.split("\t")[0] for line in shown.splitlines()} == {path.stem for path in (ROOT / "xds" / "docs").glob("*.md")}


def test_the_command_is_declared(installed: Path) -> None:
    (declared,) = installed.glob("xds-*.dist-info/entry_points.txt")
    assert "xds = xds.cli:main" in declared.read_text("utf-8")
