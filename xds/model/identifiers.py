"""Identifiers as IHE writes them: OIDs, UUID URNs, HL7 assigning authorities, CX patient identifiers, DTM times.

Reading is tolerant (a reader returns what is there); whether a value is *allowed* at its place is a matter of `xds.rules`.

Spec: ITI TF-3 Table 4.2.3.1.7-2; ITI TF-2 Appendix E.1 (CX, HD).
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+\Z")
_UUID_URN = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_DTM = re.compile(r"[0-9]{4}(?:[0-9]{2}){0,5}\Z")
_ESCAPE = re.compile(r"\\([FSRTE])\\")
_ESCAPED = {"F": "|", "S": "^", "R": "~", "T": "&", "E": "\\"}
_ESCAPES = str.maketrans({character: f"\\{letter}\\" for letter, character in _ESCAPED.items()})
#: The first hexadecimal digit of a UUID's fourth group, by a random one.
_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
#: Random UUIDs of one draw, more than a submission of one document needs.
_DRAWN_TOGETHER = 32
_DTM_MINIMUM = "00000101000000"


def is_oid(text: str) -> bool:
    """True for a dotted OID of at most 64 characters without leading zeros."""
    return len(text) <= 64 and _OID.match(text) is not None


def is_uuid_urn(text: str) -> bool:
    """True for `urn:uuid:` followed by a lower-case RFC 4122 UUID."""
    return _UUID_URN.match(text) is not None


def new_uuid_urn() -> str:
    """A fresh random `urn:uuid:` identifier."""
    return _random_urn(os.urandom(16).hex())


def _random_urn(digits: str) -> str:
    # Version 4, variant 10 (RFC 4122 4.4). The class of the library takes several times as long.
    return f"urn:uuid:{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


def new_uuid_urns() -> Iterator[str]:
    """Fresh random `urn:uuid:` identifiers, as many as are taken. Randomness for several costs what it costs for one."""
    while True:
        drawn = os.urandom(16 * _DRAWN_TOGETHER).hex()
        for start in range(0, len(drawn), 32):
            yield _random_urn(drawn[start : start + 32])


def new_oid() -> str:
    """A fresh OID below 2.25 (ITU-T X.667), which anybody may generate and which is valid as a DICOM UID."""
    return f"2.25.{uuid.uuid4().int}"


def uuid_bytes(urn: str) -> bytes:
    """The 16 bytes of a `urn:uuid:` identifier. Errors: ValueError when it is not one."""
    value = bytes.fromhex(urn.removeprefix("urn:uuid:").replace("-", ""))
    if len(value) != 16:
        raise ValueError("a UUID has 32 hexadecimal digits")
    return value


def uuid_urn(value: bytes) -> str:
    """The `urn:uuid:` form of 16 bytes."""
    digits = value.hex()
    return f"urn:uuid:{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def unescape_hl7(text: str) -> str:
    """Replace the delimiter escapes that XDS metadata may carry (`\\T\\` and its siblings)."""
    # In one pass: what an escape stands for is not read as a part of another one.
    return _ESCAPE.sub(lambda found: _ESCAPED[found[1]], text) if "\\" in text else text


def escape_hl7(text: str) -> str:
    """The inverse of `unescape_hl7`."""
    return text.translate(_ESCAPES)


@dataclass(frozen=True, slots=True)
class AssigningAuthority:
    """Who issues identifiers: HL7 HD. `namespace` and `oid` name the same authority when both are present."""

    namespace: str | None = None
    oid: str | None = None

    def __str__(self) -> str:
        return f"{self.namespace or ''}&{self.oid}&ISO" if self.oid else (self.namespace or "")


@dataclass(frozen=True, slots=True)
class PatientIdentifier:
    """A patient's identifier in one domain: HL7 CX reduced to what identifies.

    `value` is unescaped. `type_code` is CX.5, which XDS metadata does not carry.
    """

    value: str
    authority: AssigningAuthority
    type_code: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """(authority OID, value): what decides equality in a registry."""
        return (self.authority.oid or "", self.value)

    def to_cx(self) -> str:
        """The form of XDS metadata, `id^^^&OID&ISO`. Spec: ITI TF-3 Table 4.2.3.1.7-2."""
        return f"{escape_hl7(self.value)}^^^&{self.authority.oid or ''}&ISO"


@lru_cache(maxsize=4096)
def read_cx(text: str) -> PatientIdentifier | None:
    """Read an HL7 CX; None when it has no id or no authority at all."""
    # Remembered, because each step of a submission or a query reads the one of its patient again.
    parts = text.strip().split("^")
    if len(parts) < 4 or not parts[0]:
        return None
    namespace, _, rest = parts[3].partition("&")
    oid = rest.partition("&")[0]
    if not namespace and not oid:
        return None
    authority = AssigningAuthority(unescape_hl7(namespace) or None, oid or None)
    type_code = parts[4] if len(parts) > 4 and parts[4] else None
    return PatientIdentifier(unescape_hl7(parts[0]), authority, type_code)


def canonical_cx(text: str) -> str:
    """The one spelling of a CX under which the same identifier is found again; text that is no CX with an OID stays as it is."""
    identifier = read_cx(text)
    return identifier.to_cx() if identifier and identifier.authority.oid else text.strip()


def is_dtm(text: str) -> bool:
    """True for `YYYY[MM[DD[hh[mm[ss]]]]]` that is a real date and time. Spec: DTM, Table 4.2.3.1.7-2."""
    if not _DTM.match(text):
        return False
    try:
        datetime.strptime(text + _DTM_MINIMUM[len(text) :], "%Y%m%d%H%M%S")
    except ValueError:
        return False
    return True


def dtm_number(text: str) -> int:
    """A DTM as a 14 digit number, padded to the start of its interval, so that times of any precision compare.

    Errors: ValueError when the text has no leading digits of a DTM.
    """
    digits = text[:14]
    return int(digits + _DTM_MINIMUM[len(digits) :])


def to_dtm(moment: datetime) -> str:
    """An aware datetime as a DTM in UTC with a precision of seconds."""
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S")
