"""WSDLs, schemas and conformance cases are found in a checkout, and setup.cfg puts them into the wheel."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from xds.resources import KINDS, folder, resource, schema_path, wsdl_path

ROOT = Path(__file__).resolve().parents[1]


def _options() -> configparser.ConfigParser:
    options = configparser.ConfigParser()
    options.read(ROOT / "setup.cfg", encoding="utf-8")
    return options


def test_every_package_of_the_checkout_is_in_the_wheel() -> None:
    """The list stands in setup.cfg because `find:` cannot add the folders of resources."""
    listed = set(_options()["options"]["packages"].split())
    present = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "xds").rglob("__init__.py")}
    assert listed - {f"xds._{kind}" for kind in KINDS} == present


@pytest.mark.parametrize("kind", KINDS)
def test_every_resource_is_in_the_wheel(kind: str) -> None:
    options = _options()
    files = [path.name for path in (ROOT / kind).glob("*") if path.is_file()] if (ROOT / kind).is_dir() else []
    mapped = f"xds._{kind} = {kind}" in options["options"]["package_dir"]
    assert mapped == bool(files)
    if mapped:
        patterns = options["options.package_data"][f"xds._{kind}"].split()
        assert [name for name in files if not any(Path(name).match(pattern) for pattern in patterns)] == []


def test_a_checkout_is_read_one_level_above_the_package() -> None:
    assert wsdl_path("registry.wsdl") == ROOT / "wsdl" / "registry.wsdl"
    assert schema_path("rim.xsd") == ROOT / "schemas" / "rim.xsd"


def test_unknown_kinds_and_names_are_refused() -> None:
    with pytest.raises(ValueError, match="not one of"):
        folder("secrets")
    with pytest.raises(FileNotFoundError, match=r"schemas/none\.xsd"):
        resource("schemas", "none.xsd")
    for name in ("", "..", "../setup.cfg", "a/b", "/etc/passwd", "a\\b", ".hidden", "a\0"):
        with pytest.raises(ValueError, match="plain file name"):
            resource("schemas", name)
