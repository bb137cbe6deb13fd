"""Finds the files that stand beside the code: WSDLs, XML Schemas and conformance cases.

In a checkout (and in an editable installation) they are folders beside `xds/`; a wheel carries them as packages
inside `xds/`, see `package_dir` in setup.cfg.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent

#: Kinds of resources: the folder's name in a checkout.
KINDS = ("wsdl", "schemas", "conformance")


def folder(kind: str) -> Path:
    """The folder of one kind of resources.

    Errors: ValueError for an unknown kind, FileNotFoundError when neither a checkout nor a wheel holds it.
    """
    if kind not in KINDS:
        raise ValueError(f"kind of resource {kind!r} is not one of {', '.join(KINDS)}")
    for candidate in (_PACKAGE / f"_{kind}", _PACKAGE.parent / kind):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"the installation lacks its folder {kind}")


def resource(kind: str, name: str) -> Path:
    """A file directly inside the folder of its kind.

    Errors: ValueError for an unknown kind or a name that is not a plain file name, FileNotFoundError when it is absent.
    """
    if not name or name != Path(name).name or name.startswith(".") or "\\" in name or "\0" in name:
        raise ValueError("a resource is named by its plain file name")
    path = folder(kind) / name
    if not path.is_file():
        raise FileNotFoundError(f"the installation lacks {kind}/{name}")
    return path


def schema_path(name: str) -> Path:
    """An XML Schema, for instance `xdsb.xsd`. Errors: as `resource`."""
    return resource("schemas", name)


def wsdl_path(name: str) -> Path:
    """A WSDL, for instance `registry.wsdl`. Errors: as `resource`."""
    return resource("wsdl", name)
