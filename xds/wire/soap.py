"""SOAP 1.2 messages with WS-Addressing 1.0.

Spec: ITI TF-2 Appendix V; WS-Addressing 1.0 SOAP binding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lxml import etree

from xds.ports import Staging


@dataclass(frozen=True, slots=True)
class Addressing:
    """WS-Addressing headers of a message; absent ones are None."""

    action: str
    message_id: str | None = None
    to: str | None = None
    reply_to: str | None = None
    fault_to: str | None = None
    relates_to: str | None = None


@dataclass(frozen=True, slots=True)
class ReceivedPart:
    """One MIME part beside the envelope, staged while it arrived. `content_id` is without angle brackets, percent-decoded."""

    content_id: str
    content_type: str
    staging: Staging


@dataclass(frozen=True, slots=True)
class SentPart:
    """One MIME part to send: exactly `size` octets come from `chunks()`."""

    content_id: str
    content_type: str
    size: int
    chunks: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class SoapRequest:
    """What a transaction receives: the one child of the Body, with the headers and parts around it."""

    body: etree._Element
    addressing: Addressing
    parts: Mapping[str, ReceivedPart] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SoapReply:
    """What a transaction answers: the body's child as bytes in pieces, and parts for its `xop:Include` elements.

    `finished` is called once, with True after the last byte was handed over, with False when the reader went away.
    """

    body: Sequence[bytes]
    parts: Sequence[SentPart] = ()
    finished: Callable[[bool], None] | None = None


class SoapFault(Exception):
    """A SOAP 1.2 fault.

    `code` is the local name of a SOAP fault code (Sender, Receiver, MustUnderstand, VersionMismatch);
    `subcode` is `(namespace, local name)`; `http_status` the status it travels with.
    """

    def __init__(
        self,
        code: str,
        reason: str,
        *,
        subcode: tuple[str, str] | None = None,
        http_status: int | None = None,
        not_understood: tuple[str, ...] = (),
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.subcode = subcode
        self.http_status = http_status or (500 if code == "Receiver" else 400)
        self.not_understood = not_understood
