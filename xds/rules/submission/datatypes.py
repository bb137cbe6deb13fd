"""The data types of metadata attributes: what a value must look like, as a rule in words and as a test.

Spec: ITI TF-3 Table 4.2.3.1.7-2.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from xds.model.vocabulary import ReferenceIdType

#: Longest Value of a Slot in characters (ebRIM LongName).
LONGEST_VALUE: Final = 256

_OID = r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+"
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+"


#: Kinds of CXi whose number means nothing without its authority.
_OF_AN_AUTHORITY: Final = frozenset({ReferenceIdType.REFERRAL, ReferenceIdType.ORDER, ReferenceIdType.ENCOUNTER})
#: A language tag that is well-formed by RFC 5646 section 2.1.
_LANGUAGE_TAG = (
    r"(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|[0-9]{3}))?(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"
    r"(?:-[a-wyz0-9](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?|x(?:-[a-z0-9]{1,8})+"
    r"|en-gb-oed|i-[a-z]{2,8}|sgn-(?:be-(?:fr|nl)|ch-de)|art-lojban|cel-gaulish|no-(?:bok|nyn)|zh-(?:guoyu|hakka|min|min-nan|xiang)"
)
_FIELDS_OF_PID: Final = 39


@dataclass(frozen=True, slots=True)
class DataType:
    """A data type: its rule in words, for whoever has to repair a message, and the test itself.

    `with_type_code` is the test of national profiles that name the kind of an identifier as well.
    """

    rule: str
    accepts: Callable[[str], bool]
    with_type_code: Callable[[str], bool] | None = None


def _matching(pattern: str, longest: int = LONGEST_VALUE) -> Callable[[str], bool]:
    match = re.compile(pattern).fullmatch
    return lambda value: len(value) <= longest and match(value) is not None


_oid = _matching(_OID, 64)
_dtm = re.compile(
    r"(?!0000)[0-9]{4}(?:(?:0[1-9]|1[0-2])(?:(?:0[1-9]|[12][0-9]|3[01])(?:(?:[01][0-9]|2[0-3])(?:[0-5][0-9](?:[0-5][0-9])?)?)?)?)?"
).fullmatch
_uid = _matching(r"[0-9]+(?:\.[0-9]+)*", 64)
_digits = re.compile("[0-9]+").fullmatch
_type_code = re.compile("[A-Z]{1,10}").fullmatch
_language_tag = re.compile(_LANGUAGE_TAG, re.IGNORECASE | re.ASCII).fullmatch
_cx_authority = re.compile(rf"&({_OID})&ISO").fullmatch


def is_dtm(text: str) -> bool:
    """True for `YYYY[MM[DD[hh[mm[ss]]]]]` that is a real date and time."""
    if _dtm(text) is None:
        return False
    return len(text) < 8 or text[6:8] < "29" or int(text[6:8]) <= monthrange(int(text[:4]), int(text[4:6]))[1]


#: Who writes documents, and where, is the same in many of them: what is long to judge and comes again is remembered.
_remembered: Final = lru_cache(maxsize=4096)


@_remembered
def _is_authority(text: str) -> bool:
    """`&OID&ISO` with an OID of at most 64 characters."""
    found = _cx_authority(text)
    return found is not None and len(found[1]) <= 64


def _is_cx(text: str) -> bool:
    parts = text.split("^")
    if len(parts) != 4 or not parts[0].strip() or parts[1] or parts[2]:
        return False
    return "&" not in parts[0] and "~" not in parts[0] and "|" not in parts[0] and _is_authority(parts[3])


def _is_local_cx(text: str) -> bool:
    if _is_cx(text):
        return True
    parts = text.split("^")
    by_namespace = len(parts) == 4 and bool(parts[0].strip()) and not parts[1] and not parts[2] and bool(parts[3].strip())
    return by_namespace and not any(character in text for character in "&~|")


def _is_cxi(text: str) -> bool:
    parts = text.split("^")
    if len(parts) != 5 or not parts[0].strip() or parts[1] or parts[2] or not parts[4]:
        return False
    authority, kind = parts[3], parts[4]
    if kind == ReferenceIdType.STUDY_INSTANCE_UID and not _uid(parts[0]):
        return False
    if not authority:
        return kind not in _OF_AN_AUTHORITY
    return "&" not in authority or _is_authority(authority)


@_remembered
def _is_xcn(text: str) -> bool:
    parts = text.split("^")
    if not any(part.strip() for part in parts[:3]):
        return False
    authority = parts[8] if len(parts) > 8 else ""
    return not authority or _is_authority(authority)


@_remembered
def _is_xon(text: str) -> bool:
    parts = text.split("^")
    if not parts[0].strip():
        return False
    authority, identifier = (parts[place] if len(parts) > place else "" for place in (5, 9))
    if any([*parts[1:5], *parts[6:9], *parts[10:]]) or (authority and not _is_authority(authority)):
        return False
    return bool(authority) or not identifier or _oid(identifier)


def _without(place: int, accepts: Callable[[str], bool]) -> Callable[[str], bool]:
    """A test that passes over one component, counted from 0, when a code of capital letters stands there."""

    def accepts_without(text: str) -> bool:
        parts = text.split("^")
        if len(parts) <= place or _type_code(parts[place]) is None:
            return False
        parts[place] = ""
        return accepts("^".join(parts[:place] if place == len(parts) - 1 else parts))

    return accepts_without


def _is_xtn(text: str) -> bool:
    first, use, equipment, address, country, area, number, extension, *more = [*text.split("^"), *[""] * 8]
    if first or any(more):
        return False
    if equipment == "Internet":
        return bool(address) and use in ("", "NET") and not any((country, area, number, extension))
    return bool(equipment and number) and not address


def _is_recipient(text: str, is_xon: Callable[[str], bool] = _is_xon) -> bool:
    parts = text.split("|")
    if len(parts) > 3 or not any(parts):
        return False
    checks: tuple[Callable[[str], bool], ...] = (is_xon, _is_xcn, _is_xtn)
    return all(not part or accepts(part) for part, accepts in zip(parts, checks, strict=False))


def _is_language_tag(text: str) -> bool:
    return len(text) <= LONGEST_VALUE and _language_tag(text) is not None


def _is_uri(text: str) -> bool:
    return text.split() == [text]


_is_xon_with_type_code: Final = _without(6, _is_xon)
_patient_field = re.compile(r"PID-([1-9][0-9]?)\|").match


def _is_patient_field(text: str) -> bool:
    found = _patient_field(text)
    if found is None or found[1] in ("2", "4", "12", "19") or int(found[1]) > _FIELDS_OF_PID:
        return False
    content = text[found.end() :]
    if found[1] == "3":
        return all(not item or _is_local_cx(item) or _has_type_code(item) for item in content.split("~"))
    return found[1] != "7" or not content or _digits(content.replace("~", "")) is not None


_has_type_code: Final = _without(4, _is_local_cx)

CX: Final = DataType("must be HL7 CX of the form id^^^&OID&ISO and nothing else", _is_cx, _without(4, _is_cx))
LOCAL_CX: Final = DataType(CX.rule, _is_local_cx, _has_type_code)
CXI: Final = DataType("must be HL7 CX of the form id^^^[&OID&ISO]^typecode", _is_cxi)
DTM: Final = DataType("must be a real date and time YYYY[MM[DD[hh[mm[ss]]]]]", is_dtm)
HASH: Final = DataType("must be a SHA-1 in 40 hexadecimal digits", _matching("[0-9A-Fa-f]{40}"))
IDENTIFIER: Final = DataType(
    "must be a unique identifier of at most 128 characters, without blanks around it",
    lambda text: 0 < len(text) <= 128 and text.strip() == text,
)
INTEGER: Final = DataType("must be a number of octets in decimal digits", _matching("[0-9]+"))
LANGUAGE: Final = DataType("must be a language tag of RFC 5646", _is_language_tag)
MIME_TYPE: Final = DataType("must be a MIME type of the form type/subtype", _matching(rf"{_TOKEN}/{_TOKEN}(?:\s*;[ -~]*)?"))
OID: Final = DataType("must be an OID of at most 64 digits and dots, without leading zeros", _oid)
OID_URN: Final = DataType(
    "must be urn:oid: followed by an OID of at most 64 digits and dots",
    lambda text: text.startswith("urn:oid:") and _oid(text.removeprefix("urn:oid:")),
)
PATIENT_FIELD: Final = DataType(
    "must be PID-n|value with n other than 2, 4, 12 and 19, PID-3 with id^^^&OID&ISO and PID-7 of digits", _is_patient_field
)
RECIPIENT: Final = DataType(
    "must be XON|XCN|XTN with at least one of them",
    _is_recipient,
    lambda text: _is_recipient(text, _is_xon_with_type_code),
)
TEXT: Final = DataType("must not be empty", lambda text: bool(text.strip()))
URI: Final = DataType("must be a URI of at most 256 characters", _is_uri)
XCN: Final = DataType("must be HL7 XCN with an id or a name, and &OID&ISO as its assigning authority when it has one", _is_xcn)
XON: Final = DataType(
    "must be HL7 XON with a name, and &OID&ISO in component 6 when component 10 is not an OID", _is_xon, _is_xon_with_type_code
)
XTN: Final = DataType(
    "must be HL7 XTN: ^^Internet^address, or type in component 3, number in 7, and nothing but 2, 5, 6, 8 beside them", _is_xtn
)


def one_of(*values: str) -> DataType:
    """The data type of an attribute with a fixed list of values."""
    allowed = frozenset(str(value) for value in values)
    return DataType(f"must be one of {', '.join(sorted(allowed))}", allowed.__contains__)
