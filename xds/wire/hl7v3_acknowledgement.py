"""Acknowledgements of HL7 version 3: of acceptance (MCCI_IN000002UV01) and within an application's answer.

Spec: ITI TF-2 O.1.3; HL7 V3 2008 MCCI_MT000200UV01, MCCI_MT000300UV01.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from lxml import etree

from xds.wire.hl7v3 import (
    ACKNOWLEDGEMENT,
    Detail,
    DetailCode,
    Transmission,
    answer_to,
    child,
    children,
    code,
    coded,
    content,
    read_id,
    text,
    write_id,
    write_message,
)

_DETAIL_CODES: Final = "2.16.840.1.113883.5.1100"

#: Faults of the wrapper: the message is rejected, and was not looked at any further.
_OF_THE_WRAPPER: Final = frozenset(
    {DetailCode.UNSUPPORTED_INTERACTION, DetailCode.UNSUPPORTED_PROCESSING_ID, DetailCode.UNSUPPORTED_PROCESSING_MODE}
)


class Acknowledgement(StrEnum):
    """acknowledgement/typeCode: of acceptance (CA, CE, CR) or of the application (AA, AE, AR)."""

    COMMIT_ACCEPT = "CA"
    COMMIT_ERROR = "CE"
    COMMIT_REJECT = "CR"
    ACCEPT = "AA"
    ERROR = "AE"
    REJECT = "AR"


class UnusableError(ValueError):
    """A message of a partner that cannot be used. The text says why, and quotes nothing."""


def is_rejected(details: Iterable[Detail]) -> bool:
    """Whether these faults are such of the wrapper that the message is rejected (CR, AR) instead of being in error (CE, AE)."""
    return any(detail.code in _OF_THE_WRAPPER for detail in details)


def write_acknowledgement_part(request: Transmission, kind: Acknowledgement, details: Sequence[Detail]) -> str:
    """The element acknowledgement."""
    written = "".join(
        f'<acknowledgementDetail typeCode="{detail.severity}">{coded("code", detail.code, _system(detail.code))}'
        f"{text('text', detail.text)}{text('location', detail.location) if detail.location else ''}</acknowledgementDetail>"
        for detail in details
    )
    target = f"<targetMessage>{write_id(request.id)}</targetMessage>"
    return f"<acknowledgement>{coded('typeCode', kind)}{target}{written}</acknowledgement>"


def _system(detail_code: str) -> str | None:
    return None if detail_code == DetailCode.UNKNOWN_KEY else _DETAIL_CODES


def write_accept_acknowledgement(request: Transmission, details: Sequence[Detail], *, now: datetime) -> bytes:
    """MCCI_IN000002UV01: the message is accepted, or these details say why it is not. Spec: ITI TF-2 O.1.3."""
    kind = Acknowledgement.COMMIT_ACCEPT
    if any(detail.severity == "E" for detail in details):
        kind = Acknowledgement.COMMIT_REJECT if is_rejected(details) else Acknowledgement.COMMIT_ERROR
    part = write_acknowledgement_part(request, kind, details)
    return write_message(answer_to(request, ACKNOWLEDGEMENT), part, now=now, accept_ack="NE")


# ------------------------------------------------------------------ reading


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What a partner answered. `code` is acknowledgement/typeCode, `message_id` the id of the message it is about."""

    code: str
    message_id: str
    details: tuple[Detail, ...] = ()

    @property
    def is_accepted(self) -> bool:
        """True for CA and AA."""
        return self.code in (Acknowledgement.COMMIT_ACCEPT, Acknowledgement.ACCEPT)


def read_acknowledgement(root: etree._Element) -> Acknowledged:
    """The acknowledgement in an answer. Errors: UnusableError when there is none."""
    element = child(root, "acknowledgement")
    if element is None:
        raise UnusableError("the answer has no acknowledgement")
    details = (
        Detail(
            code(item, "code"),
            content(child(item, "text")),
            content(child(item, "location")) or None,
            item.get("typeCode") or "E",
        )
        for item in children(element, "acknowledgementDetail")
    )
    return Acknowledged(code(element, "typeCode"), str(read_id(child(element, "targetMessage", "id"))), tuple(details))
