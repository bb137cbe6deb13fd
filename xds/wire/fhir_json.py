"""FHIR resources as JSON: reading what came from outside, and writing.

Tolerated: a byte order mark.

Spec: FHIR R4 2.6.2; RFC 8259. Decimals keep their digits.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from xds.wire.fhir_structure import Element

#: Digits of one number.
_MAX_DIGITS: Final = 40


class JsonError(ValueError):
    """The octets are no JSON object that this software reads. The message says which rule is broken and quotes nothing."""


def read_json(data: bytes) -> Element:
    """The object. Errors: JsonError."""
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonError(f"the octet at {error.start} is not UTF-8") from None
    try:
        found = json.loads(text, object_pairs_hook=_object, parse_int=_integer, parse_float=_decimal, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise JsonError(f"not JSON at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise JsonError("objects and lists are nested too deep") from None
    if not isinstance(found, dict):
        raise JsonError("a resource is an object")
    return found


def write_json(resource: Element, *, pretty: bool = False) -> bytes:
    """The resource in UTF-8."""
    separators = None if pretty else (",", ":")
    return json.dumps(resource, ensure_ascii=False, separators=separators, indent=2 if pretty else None).encode()


def _object(pairs: Sequence[tuple[str, Any]]) -> Element:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonError("a name stands twice in one object")
    return found


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise JsonError("a number has too many digits")
    return int(text)


def _decimal(text: str) -> Decimal:
    if len(text) > _MAX_DIGITS:
        raise JsonError("a number has too many digits")
    return Decimal(text)


def _no_constant(text: str) -> None:
    raise JsonError(f"{text} is no number of JSON")
