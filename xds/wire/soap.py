"""SOAP 1.2 messages with WS-Addressing 1.0: the records that transactions exchange, and reading and writing envelopes.

Spec: ITI TF-2 Appendix V; SOAP 1.2 part 1 section 5, part 2 section 7.5; WS-Addressing 1.0 core and SOAP binding.

Tolerated when reading: no `wsa:ReplyTo`, no `wsa:MessageID` (the answer then has no `wsa:RelatesTo`), headers in any order and
without `mustUnderstand`, white space around addresses and identifiers, a WS-Security header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from xds.ports import Staging
from xds.wire.pieces import Pieces, around
from xds.wire.xml import SOAP12, WSA, parse

ANONYMOUS = f"{WSA}/anonymous"
NONE = f"{WSA}/none"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"

_SOAP = f"{{{SOAP12}}}"
_WSA = f"{{{WSA}}}"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_OUR_ROLES = frozenset({"", f"{SOAP12}/role/ultimateReceiver", f"{SOAP12}/role/next"})
_ADDRESSING_HEADERS = ("Action", "MessageID", "To", "From", "ReplyTo", "FaultTo", "RelatesTo")
_UNDERSTOOD = frozenset({*(_WSA + name for name in _ADDRESSING_HEADERS), f"{{{WSSE}}}Security"})
#: Text of the partner that is repeated in an answer is cut to this many characters.
_ECHO = 256


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
    """What a transaction receives: the one child of the Body, with the parts and every header block meant for us."""

    body: etree._Element
    addressing: Addressing
    parts: Mapping[str, ReceivedPart] = field(default_factory=dict)
    headers: tuple[etree._Element, ...] = ()


@dataclass(frozen=True, slots=True)
class SoapReply:
    """What a transaction answers: the body's child as bytes in pieces, and parts for its `xop:Include` elements.

    `finished` is called once, with True after the last byte was handed over, with False when the reader went away.
    """

    body: Pieces
    parts: Sequence[SentPart] = ()
    finished: Callable[[bool], None] | None = None


class SoapFault(Exception):
    """A SOAP 1.2 fault.

    `code` is the local name of a SOAP fault code (Sender, Receiver, MustUnderstand, VersionMismatch);
    `subcode` is `(namespace, local name)`, `subsubcode` the one inside it; `http_status` the status it travels with;
    `not_understood` the header names in Clark notation; `detail` well-formed XML in which the prefix `wsa` is bound.
    """

    def __init__(
        self,
        code: str,
        reason: str,
        *,
        subcode: tuple[str, str] | None = None,
        subsubcode: tuple[str, str] | None = None,
        http_status: int | None = None,
        not_understood: tuple[str, ...] = (),
        detail: str = "",
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.subcode = subcode
        self.subsubcode = subsubcode
        self.http_status = http_status or {"Sender": 400, "VersionMismatch": 415}.get(code, 500)
        self.not_understood = not_understood
        self.detail = detail


class Envelope(NamedTuple):
    """An envelope read: its addressing, the one child of its Body, and every header block meant for us."""

    addressing: Addressing
    body: etree._Element
    headers: tuple[etree._Element, ...]


def read_envelope(root: etree._Element) -> Envelope:
    """Read a SOAP 1.2 envelope: a request, or an answer.

    Spec: SOAP 1.2 part 1 sections 2.4, 2.6, 5; WS-Addressing SOAP binding section 6.
    Errors: SoapFault, as the standards name it for each defect.
    """
    header, body = _header_and_body(root)
    blocks = [block for block in header if block.get(f"{_SOAP}role", "") in _OUR_ROLES]
    strange = tuple(dict.fromkeys(b.tag for b in blocks if b.tag not in _UNDERSTOOD and _must_understand(b)))
    if strange:
        raise SoapFault("MustUnderstand", "a header block that must be understood is not", not_understood=strange)
    content = _children(body)
    if len(content) != 1:
        raise SoapFault("Sender", f"the Body has {len(content)} elements, it must have one")
    return Envelope(_addressing(blocks), content[0], tuple(blocks))


def message_id_of(root: etree._Element) -> str | None:
    """The wsa:MessageID of a message that may otherwise be wrong, so that a fault can relate to it."""
    return _text(root.find(f"{_SOAP}Header/{_WSA}MessageID"))


def _children(element: etree._Element) -> list[etree._Element]:
    return [child for child in element if isinstance(child.tag, str)]


def _header_and_body(root: etree._Element) -> tuple[list[etree._Element], etree._Element]:
    if root.tag != f"{_SOAP}Envelope":
        if etree.QName(root).localname == "Envelope":
            raise SoapFault("VersionMismatch", "the envelope is not of SOAP 1.2")
        raise SoapFault("Sender", "the message is not a SOAP envelope")
    content = _children(root)
    header = _children(content.pop(0)) if content and content[0].tag == f"{_SOAP}Header" else []
    if [child.tag for child in content] != [f"{_SOAP}Body"]:
        raise SoapFault("Sender", "the envelope must hold one Body after an optional Header, and nothing else")
    return header, content[0]


def _must_understand(block: etree._Element) -> bool:
    value = block.get(f"{_SOAP}mustUnderstand", "false").strip()
    if value not in ("0", "1", "false", "true"):
        raise SoapFault("Sender", "a mustUnderstand attribute is not a boolean")
    return value in ("1", "true")


def _addressing(blocks: Sequence[etree._Element]) -> Addressing:
    found: dict[str, etree._Element] = {}
    for block in blocks:
        name = block.tag.removeprefix(_WSA)
        if name not in _ADDRESSING_HEADERS:
            continue
        if name in found and name != "RelatesTo":
            raise _invalid_header(name, "InvalidCardinality", f"there is more than one wsa:{name}")
        found.setdefault(name, block)
    action = _text(found.get("Action"))
    if not action:
        raise header_required("Action")
    return Addressing(
        action=action,
        message_id=_text(found.get("MessageID")),
        to=_text(found.get("To")),
        reply_to=_address(found, "ReplyTo"),
        fault_to=_address(found, "FaultTo"),
        relates_to=_text(found.get("RelatesTo")),
    )


def _text(element: etree._Element | None) -> str | None:
    return (element.text or "").strip() or None if element is not None else None


def _address(found: Mapping[str, etree._Element], name: str) -> str | None:
    reference = found.get(name)
    if reference is None:
        return None
    address = _text(reference.find(f"{_WSA}Address"))
    if address is None:
        raise _invalid_header(name, "MissingAddressInEPR", f"wsa:{name} has no wsa:Address")
    return address


def _invalid_header(name: str, why: str, reason: str) -> SoapFault:
    return SoapFault(
        "Sender",
        reason,
        subcode=(WSA, "InvalidAddressingHeader"),
        subsubcode=(WSA, why),
        detail=f"<wsa:ProblemHeaderQName>wsa:{name}</wsa:ProblemHeaderQName>",
    )


def require_anonymous(addressing: Addressing) -> None:
    """Insist on an answer over the same connection.

    Spec: WS-Addressing SOAP binding 6.4.1.
    Errors: SoapFault with `wsa:OnlyAnonymousAddressSupported`.
    """
    for name, address in (("ReplyTo", addressing.reply_to), ("FaultTo", addressing.fault_to)):
        if address not in (None, ANONYMOUS):
            raise _invalid_header(name, "OnlyAnonymousAddressSupported", f"wsa:{name} must be the anonymous address")


def is_asynchronous(addressing: Addressing) -> bool:
    """Whether the answer is not to come over the same connection."""
    return addressing.reply_to not in (None, ANONYMOUS)


def require_elsewhere(addressing: Addressing, permits: Callable[[str], bool]) -> None:
    """Insist that a message whose answer goes elsewhere can be related to, and that reply and faults go where `permits` says.

    Spec: WS-Addressing core 3.4; WS-Addressing SOAP binding 6.4.1.
    Errors: SoapFault with `wsa:MessageAddressingHeaderRequired`, `wsa:InvalidAddress`, `wsa:OnlyNonAnonymousAddressSupported`.
    """
    if addressing.message_id is None:
        raise header_required("MessageID")
    for name, address in (("ReplyTo", addressing.reply_to), ("FaultTo", addressing.fault_to)):
        if address == ANONYMOUS:
            reason = f"wsa:{name} must not be the anonymous address when the reply goes elsewhere"
            raise _invalid_header(name, "OnlyNonAnonymousAddressSupported", reason)
        if address not in (None, NONE) and not permits(address):
            raise _invalid_header(name, "InvalidAddress", f"wsa:{name} is none of the addresses that this server replies to")


def duplicate_message_id() -> SoapFault:
    """The fault for a wsa:MessageID that another message had. Spec: WS-Addressing SOAP binding 6.4.1."""
    return _invalid_header("MessageID", "DuplicateMessageID", "another message had this wsa:MessageID")


def header_required(name: str) -> SoapFault:
    """The fault for an absent addressing header. Spec: WS-Addressing SOAP binding 6.4.2."""
    return SoapFault(
        "Sender",
        f"a required header is missing: wsa:{name}",
        subcode=(WSA, "MessageAddressingHeaderRequired"),
        detail=f"<wsa:ProblemHeaderQName>wsa:{name}</wsa:ProblemHeaderQName>",
    )


def action_not_supported(action: str) -> SoapFault:
    """The fault for a wsa:Action that this address does not serve. Spec: WS-Addressing SOAP binding 6.4.2."""
    said = escape(action[:_ECHO])
    return SoapFault(
        "Sender",
        "the wsa:Action is not supported at this address",
        subcode=(WSA, "ActionNotSupported"),
        detail=f"<wsa:ProblemAction><wsa:Action>{said}</wsa:Action></wsa:ProblemAction>",
    )


def reference_parameters(headers: Sequence[etree._Element], name: str) -> str:
    """The reference parameters of the `wsa:ReplyTo` or `wsa:FaultTo` among these headers, as a reply must carry them.

    Spec: WS-Addressing SOAP binding 3.3, 3.4.
    """
    written = []
    for block in headers:
        for parameter in block.iterfind(f"{_WSA}ReferenceParameters/*") if block.tag == _WSA + name else ():
            # Written and read again, a copy keeps the namespaces that its values need.
            copy = parse(etree.tostring(parameter, with_tail=False))
            copy.set(f"{_WSA}IsReferenceParameter", "true")
            written.append(etree.tostring(copy, encoding="unicode"))
    return "".join(written)


def write_envelope(body: Pieces, addressing: Addressing, more_headers: str = "") -> Pieces:
    """An envelope around the Body's child, which comes as ready XML in pieces with its own namespace declarations.

    `more_headers` are header blocks as ready XML.
    """
    header = [f'<wsa:Action s:mustUnderstand="true">{escape(addressing.action)}</wsa:Action>']
    if addressing.message_id is not None:
        header.append(f"<wsa:MessageID>{escape(addressing.message_id)}</wsa:MessageID>")
    if addressing.to is not None:
        header.append(f"<wsa:To>{escape(addressing.to)}</wsa:To>")
    for name, address in (("ReplyTo", addressing.reply_to), ("FaultTo", addressing.fault_to)):
        if address is not None:
            header.append(f"<wsa:{name}><wsa:Address>{escape(address)}</wsa:Address></wsa:{name}>")
    if addressing.relates_to is not None:
        header.append(f"<wsa:RelatesTo>{escape(addressing.relates_to)}</wsa:RelatesTo>")
    return around(_opening("".join(header) + more_headers), body, b"</s:Body></s:Envelope>")


def _opening(header: str) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="{SOAP12}" xmlns:wsa="{WSA}">'
        f"<s:Header>{header}</s:Header><s:Body>"
    ).encode()


def write_fault(
    fault: SoapFault,
    *,
    message_id: str | None = None,
    relates_to: str | None = None,
    to: str | None = None,
    more_headers: str = "",
) -> bytes:
    """A whole envelope with a fault. `more_headers` are header blocks as ready XML.

    Spec: SOAP 1.2 part 1 sections 5.4, 5.4.7 (Upgrade), 5.4.8 (NotUnderstood); WS-Addressing SOAP binding section 6.
    """
    header = [f'<wsa:Action s:mustUnderstand="true">{fault_action(fault)}</wsa:Action>']
    if message_id is not None:
        header.append(f"<wsa:MessageID>{escape(message_id)}</wsa:MessageID>")
    if to is not None:
        header.append(f"<wsa:To>{escape(to)}</wsa:To>")
    if relates_to is not None:
        header.append(f"<wsa:RelatesTo>{escape(relates_to)}</wsa:RelatesTo>")
    header.append(more_headers)
    if fault.code == "VersionMismatch":
        header.append('<s:Upgrade><s:SupportedEnvelope qname="s:Envelope"/></s:Upgrade>')
    for tag in fault.not_understood:
        name = etree.QName(tag)
        prefix, declaration = ("n:", f" xmlns:n={quoteattr(name.namespace)}") if name.namespace else ("", "")
        header.append(f'<s:NotUnderstood qname="{prefix}{name.localname}"{declaration}/>')
    detail = f"<s:Detail>{fault.detail}</s:Detail>" if fault.detail else ""
    body = (
        f"<s:Fault><s:Code><s:Value>s:{fault.code}</s:Value>{_subcode(fault)}</s:Code>"
        f'<s:Reason><s:Text xml:lang="en">{escape(fault.reason)}</s:Text></s:Reason>{detail}</s:Fault>'
    )
    return b"".join((_opening("".join(header)), body.encode(), b"</s:Body></s:Envelope>"))


def fault_action(fault: SoapFault) -> str:
    """The wsa:Action of a fault. Spec: WS-Addressing SOAP binding section 6."""
    return f"{WSA}/fault" if fault.subcode is not None and fault.subcode[0] == WSA else f"{WSA}/soap/fault"


def _subcode(fault: SoapFault) -> str:
    inner = ""
    for code in (fault.subsubcode, fault.subcode):
        if code is not None:
            value = f"<s:Value xmlns:c={quoteattr(code[0])}>c:{code[1]}</s:Value>"
            inner = f"<s:Subcode>{value}{inner}</s:Subcode>"
    return inner


def read_fault(root: etree._Element, http_status: int = 500) -> SoapFault | None:
    """The fault that an envelope holds; None when it holds something else. Nothing is asked of its headers."""
    body = root.find(f"{_SOAP}Body/{_SOAP}Fault")
    if body is None:
        return None
    code = body.find(f"{_SOAP}Code")
    subcode = code.find(f"{_SOAP}Subcode") if code is not None else None
    subsubcode = subcode.find(f"{_SOAP}Subcode") if subcode is not None else None
    value = _qualified_name(code)
    texts = body.findall(f"{_SOAP}Reason/{_SOAP}Text")
    english = [text for text in texts if text.get(_XML_LANG, "").lower().startswith("en")]
    chosen = (english or texts)[:1]
    detail = body.find(f"{_SOAP}Detail")
    inner = [etree.tostring(child, with_tail=False) for child in detail] if detail is not None else []
    return SoapFault(
        value[1] if value is not None else "Receiver",
        ("".join(map(str, chosen[0].itertext())).strip() if chosen else "") or "no reason given",
        subcode=_qualified_name(subcode),
        subsubcode=_qualified_name(subsubcode),
        http_status=http_status,
        detail=b"".join(inner).decode("ascii"),
    )


def _qualified_name(code: etree._Element | None) -> tuple[str, str] | None:
    """The QName in a code's Value, its prefix resolved where it stands."""
    value = code.find(f"{_SOAP}Value") if code is not None else None
    text = _text(value)
    if value is None or text is None:
        return None
    prefix, colon, local = text.rpartition(":")
    return value.nsmap.get(prefix if colon else None) or "", local
