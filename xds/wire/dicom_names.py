"""Attributes by the names that DICOMweb and command lines give them.

Spec: DICOM PS3.18 8.3.4.1: `{tag}` of eight hexadecimal digits or a `{keyword}`; several of them with dots for items inside
sequences.
"""

from __future__ import annotations

import re

from pydicom.datadict import dictionary_VR, tag_for_keyword

_TAG = re.compile(r"[0-9A-Fa-f]{8}\Z")


class UnknownAttributeError(ValueError):
    """No attribute has that name. The message quotes it: it is a name, no value."""


def path_of(name: str) -> tuple[int, ...]:
    """The tags of an attribute and of the sequences that it is in, the outermost first. Errors: UnknownAttributeError."""
    found = []
    for step in name.split("."):
        tag = int(step, 16) if _TAG.match(step) else tag_for_keyword(step)
        if tag is None:
            raise UnknownAttributeError(f"{name[:64]!r} is neither a tag nor the keyword of an attribute")
        found.append(tag)
    return tuple(found)


def tag_of(name: str) -> int:
    """The tag of an attribute; of a path into sequences, that of the outermost one. Errors: UnknownAttributeError."""
    return path_of(name)[0]


def vr_of(tag: int) -> str:
    """The value representation of an attribute by the dictionary; UN for one that is not in it."""
    try:
        return str(dictionary_VR(tag))[:2]
    except KeyError:
        return "UN"
