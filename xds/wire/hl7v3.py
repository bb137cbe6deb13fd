"""HL7 version 3 messages: their transmission wrappers, acknowledgements, and the errors that these carry.

An interaction is an element named like it (`PRPA_IN201301UV02`). What is wrong with a message is told in an acknowledgement with
one `acknowledgementDetail` for each fault: its code, its text, and where in the message it lies as an XPath.

Tolerated deviations: attributes that the schema fixes (classCode, moodCode, determinerCode) absent or other; any trigger event
code; any acceptAckCode, versionCode and processingModeCode of HL7; a sender or receiver without `asAgent`; `ITSVersion` absent.

Spec: ITI TF-2 Appendix O; HL7 V3 2008 MCCI_MT000100UV01, 200, 300.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from xml.sax import saxutils

from lxml import etree

from xds.model.identifiers import to_dtm
from xds.model.patient import IdentityProblem, IdentityProblemKind
from xds.wire.xml import HL7V3, schema_faults

#: Root of interaction ids and trigger events.
INTERACTIONS: Final = "2.16.840.1.113883.1.6"
ACKNOWLEDGEMENT: Final = "MCCI_IN000002UV01"
_SCHEMA: Final = "hl7v3.xsd"
_PROCESSING_CODES: Final = frozenset("PTD")
_PROCESSING_MODES: Final = frozenset("AIRT")
#: Schema errors that are told one by one.
_MOST_SCHEMA_ERRORS: Final = 20


class DetailCode(StrEnum):
    """Codes of acknowledgementDetail. Spec: HL7 AcknowledgementDetailCode; 204 is IHE's, of HL7 v2 table 0357."""

    ASSOCIATION_MISSING = "SYN100"
    ATTRIBUTE_MISSING = "SYN101"
    DATA_TYPE = "SYN102"
    UNKNOWN_CODE = "SYN103"
    TOO_MANY_ASSOCIATIONS = "SYN110"
    TOO_MANY_VALUES = "SYN112"
    FORMAL_CONSTRAINT = "SYN113"
    UNSUPPORTED_INTERACTION = "NS200"
    UNSUPPORTED_PROCESSING_ID = "NS202"
    UNSUPPORTED_PROCESSING_MODE = "NS250"
    UNKNOWN_KEY = "204"
    INTERNAL = "INTERR"


_CODES: Final = {
    IdentityProblemKind.REQUIRED_MISSING: DetailCode.ATTRIBUTE_MISSING,
    IdentityProblemKind.UNKNOWN_IDENTIFIER: DetailCode.UNKNOWN_KEY,
    IdentityProblemKind.UNKNOWN_DOMAIN: DetailCode.UNKNOWN_KEY,
    # There is no code for a sender without the right to a domain: it is not among the values for that domain.
    IdentityProblemKind.NOT_ISSUER: DetailCode.UNKNOWN_CODE,
    IdentityProblemKind.INVALID: DetailCode.DATA_TYPE,
    # Nor is there one for a partner who asks too much: the application does not process it.
    IdentityProblemKind.TOO_MANY: DetailCode.INTERNAL,
    IdentityProblemKind.INTERNAL: DetailCode.INTERNAL,
}


@dataclass(frozen=True, slots=True)
class Detail:
    """One acknowledgementDetail. `text` is free of patient data that the sender did not send; `severity` is E or W."""

    code: str
    text: str
    location: str | None = None
    severity: str = "E"


@dataclass(frozen=True, slots=True)
class InstanceIdentifier:
    """HL7 II; absent parts are empty."""

    root: str = ""
    extension: str = ""
    name: str = ""

    @property
    def full(self) -> str:
        """Its authority, by the name where it has no root, and its value."""
        return "^".join(filter(None, (self.root or self.name, self.extension)))

    def __str__(self) -> str:
        return f"{self.root}^{self.extension}" if self.root and self.extension else self.root or self.extension


@dataclass(frozen=True, slots=True)
class Party:
    """A sending or receiving device and the organization that it acts for."""

    device: InstanceIdentifier = InstanceIdentifier()
    organization: InstanceIdentifier = InstanceIdentifier()

    @property
    def system(self) -> str:
        """`organization|device`, as `facility|application` of HL7 v2: the assigningAuthorityName of each id, or the id."""
        return f"{self.organization.name or self.organization}|{self.device.name or self.device}"


def party_of(system: str) -> Party:
    """The party that `system` names: OIDs become ids, names stand in the assigningAuthorityName of an id without root."""
    organization, _, device = system.partition("|")
    return Party(_named(device), _named(organization))


def _named(text: str) -> InstanceIdentifier:
    root, _, extension = text.partition("^")
    return InstanceIdentifier(root, extension) if root[:1].isdigit() else InstanceIdentifier(name=text)


@dataclass(frozen=True, slots=True)
class Transmission:
    """What the wrapper of a message says. `interaction` is the name of its element."""

    interaction: str
    id: InstanceIdentifier = InstanceIdentifier()
    processing_code: str = "P"
    sender: Party = Party()
    receiver: Party = Party()

    @property
    def message_id(self) -> str:
        """The id as one text."""
        return str(self.id)


# ------------------------------------------------------------------ finding


def child(element: etree._Element | None, *names: str) -> etree._Element | None:
    """The first element on that way down; None when there is none."""
    for name in names:
        if element is None:
            return None
        element = element.find(f"{{{HL7V3}}}{name}")
    return element


def children(element: etree._Element | None, *names: str) -> list[etree._Element]:
    """Every element at the end of that way down: the first of each step but the last."""
    *way, last = names
    start = child(element, *way)
    return [] if start is None else start.findall(f"{{{HL7V3}}}{last}")


def attribute(element: etree._Element | None, name: str) -> str:
    """An attribute without white space around it; empty when it or the element is absent."""
    return "" if element is None else (element.get(name) or "").strip()


def code(element: etree._Element | None, *names: str) -> str:
    """The code attribute at the end of that way down."""
    return attribute(child(element, *names), "code")


def content(element: etree._Element | None) -> str:
    """The text of an element and what is in it, without white space around it."""
    return "" if element is None else "".join(map(str, element.itertext())).strip()


def read_id(element: etree._Element | None) -> InstanceIdentifier:
    """An II; empty when it is absent or null."""
    if element is None:
        return InstanceIdentifier()
    return InstanceIdentifier(*(attribute(element, name) for name in ("root", "extension", "assigningAuthorityName")))


def shown(received: str) -> str:
    """What was received, for a text about it: short and in quotation marks."""
    return f"'{received[:60]}'"


def location(element: etree._Element, *, always: Iterable[str] = ()) -> str:
    """The XPath of an element in its message, without prefixes. What repeats is counted, and what is named in `always`."""
    numbered = frozenset(always)
    steps = []
    here: etree._Element | None = element
    while here is not None and etree.QName(here).namespace == HL7V3:
        name, parent = etree.QName(here).localname, here.getparent()
        siblings = [here] if parent is None else parent.findall(here.tag)
        steps.append(f"{name}[{siblings.index(here) + 1}]" if len(siblings) > 1 or name in numbered else name)
        here = parent
    return "/" + "/".join(reversed(steps))


# ------------------------------------------------------------------ reading wrappers


def _party(element: etree._Element | None) -> Party:
    device = child(element, "device")
    return Party(read_id(child(device, "id")), read_id(child(device, "asAgent", "representedOrganization", "id")))


def read_transmission(root: etree._Element) -> Transmission:
    """The wrapper of a message, whatever is wrong with it."""
    return Transmission(
        interaction=etree.QName(root).localname,
        id=read_id(child(root, "id")),
        processing_code=code(root, "processingCode"),
        sender=_party(child(root, "sender")),
        receiver=_party(child(root, "receiver")),
    )


def message_details(root: etree._Element) -> list[Detail]:
    """What is wrong with a message by its schema and its wrapper, before its content is looked at.

    Spec: ITI TF-2 O.1.
    Errors: SYN113 (schema), SYN100 and SYN101 (parts of the wrapper), SYN110 (several receivers), NS200 (interactionId),
    NS202 (processingCode), NS250 (processingModeCode).
    """
    faults = schema_faults(root, _SCHEMA)
    found = [
        Detail(DetailCode.FORMAL_CONSTRAINT, text, location(element) if element is not None else None) for text, element in faults
    ]
    if len(found) > _MOST_SCHEMA_ERRORS:
        more = f"and {len(found) - _MOST_SCHEMA_ERRORS} more errors"
        return [*found[:_MOST_SCHEMA_ERRORS], Detail(DetailCode.FORMAL_CONSTRAINT, more)]
    return found or list(_wrapper_details(root))


def _wrapper_details(root: etree._Element) -> Iterator[Detail]:
    here = location(root)
    for name in ("id", "creationTime", "interactionId", "processingCode", "processingModeCode", "acceptAckCode"):
        element = child(root, name)
        if not any(attribute(element, part) for part in ("root", "extension", "value", "code")):
            yield Detail(DetailCode.ATTRIBUTE_MISSING, f"{name} is required", f"{here}/{name}")
    for name in ("receiver", "sender"):
        if read_id(child(root, name, "device", "id")) == InstanceIdentifier():
            yield Detail(DetailCode.ASSOCIATION_MISSING, f"{name}/device/id is required", f"{here}/{name}")
    if root.tag != f"{{{HL7V3}}}{ACKNOWLEDGEMENT}" and child(root, "controlActProcess") is None:
        yield Detail(DetailCode.ASSOCIATION_MISSING, "controlActProcess is required", f"{here}/controlActProcess")
    if len(children(root, "receiver")) > 1:
        yield Detail(DetailCode.TOO_MANY_ASSOCIATIONS, "there must be one receiver", f"{here}/receiver[2]")
    stated = read_id(child(root, "interactionId"))
    interaction = etree.QName(root).localname
    if str(stated) and (stated.root, stated.extension.removesuffix("_Cancel")) != (
        INTERACTIONS,
        interaction.removesuffix("_Cancel"),
    ):
        text = f"the interactionId must be {interaction} of {INTERACTIONS}, as the element, not {shown(str(stated))}"
        yield Detail(DetailCode.UNSUPPORTED_INTERACTION, text, f"{here}/interactionId")
    if (given := code(root, "processingCode")) not in _PROCESSING_CODES | {""}:
        text = f"the processingCode must be P, T or D, not {shown(given)}"
        yield Detail(DetailCode.UNSUPPORTED_PROCESSING_ID, text, f"{here}/processingCode")
    if (given := code(root, "processingModeCode")) not in _PROCESSING_MODES | {""}:
        text = f"the processingModeCode must be T (current processing), not {shown(given)}"
        yield Detail(DetailCode.UNSUPPORTED_PROCESSING_MODE, text, f"{here}/processingModeCode")


def detail_of(problem: IdentityProblem, place: str | None, received: str = "") -> Detail:
    """A problem of an actor, at its place in the message, with what was received there."""
    return Detail(_CODES[problem.kind], f"{problem.text}: {shown(received)}" if received else problem.text, place)


# ------------------------------------------------------------------ writing

#: An OID, a UUID, or a name that HL7 reserved: what a root may be.
_UNIQUE_ID: Final = re.compile(
    r"([0-2](\.(0|[1-9][0-9]*))*|[0-9a-zA-Z]{8}(-[0-9a-zA-Z]{4}){3}-[0-9a-zA-Z]{12}|[A-Za-z][A-Za-z0-9-]*)\Z"
)
#: What XML cannot carry; other wire forms can.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def escape(words: str) -> str:
    """A text as element content."""
    return saxutils.escape(_FORBIDDEN.sub("", words))


def quoteattr(words: str) -> str:
    """A text as an attribute value with its quotation marks."""
    return saxutils.quoteattr(_FORBIDDEN.sub("", words))


def null(name: str, flavor: str) -> str:
    """An element without a value."""
    return f'<{name} nullFlavor="{flavor}"/>'


def coded(name: str, value: str, system: str | None = None) -> str:
    """An element with a code."""
    return f"<{name} code={quoteattr(value)}{'' if system is None else f' codeSystem={quoteattr(system)}'}/>"


def valued(name: str, value: object) -> str:
    """An element with a value attribute: a number, a time, a flag (`true`, `false`)."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name} value={quoteattr(text)}/>"


def text(name: str, words: str) -> str:
    """An element with text."""
    return f"<{name}>{escape(words)}</{name}>"


def write_id(identifier: InstanceIdentifier, name: str = "id") -> str:
    """An II; null (NI) when it is empty. What cannot be a root comes back as an extension, if that is free."""
    if identifier.root and not _UNIQUE_ID.match(identifier.root):
        identifier = InstanceIdentifier("", identifier.extension or identifier.root, identifier.name)
    if identifier == InstanceIdentifier():
        return null(name, "NI")
    parts = (("root", identifier.root), ("extension", identifier.extension), ("assigningAuthorityName", identifier.name))
    return f"<{name}{''.join(f' {key}={quoteattr(value)}' for key, value in parts if value)}/>"


def _write_party(name: str, kind: str, party: Party) -> str:
    agent = ""
    if party.organization != InstanceIdentifier():
        agent = (
            '<asAgent classCode="AGNT"><representedOrganization classCode="ORG" determinerCode="INSTANCE">'
            f"{write_id(party.organization)}</representedOrganization></asAgent>"
        )
    return (
        f'<{name} typeCode="{kind}"><device classCode="DEV" determinerCode="INSTANCE">'
        f"{write_id(party.device)}{agent}</device></{name}>"
    )


def write_message(transmission: Transmission, parts: str, *, now: datetime, accept_ack: str = "AL") -> bytes:
    """A message around its parts: acknowledgement and controlActProcess as ready XML."""
    interaction = transmission.interaction
    processing_code = transmission.processing_code if transmission.processing_code in _PROCESSING_CODES else "P"
    return (
        f'<{interaction} xmlns="{HL7V3}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ITSVersion="XML_1.0">'
        f"{write_id(transmission.id)}{valued('creationTime', to_dtm(now) + '+0000')}"
        f"{write_id(InstanceIdentifier(INTERACTIONS, interaction.removesuffix('_Cancel')), 'interactionId')}"
        f"{coded('processingCode', processing_code)}{coded('processingModeCode', 'T')}{coded('acceptAckCode', accept_ack)}"
        f"{_write_party('receiver', 'RCV', transmission.receiver)}{_write_party('sender', 'SND', transmission.sender)}"
        f"{parts}</{interaction}>"
    ).encode()


def new_id() -> InstanceIdentifier:
    """A fresh id of a message or a query."""
    return InstanceIdentifier(str(uuid.uuid4()))


def answer_to(request: Transmission, interaction: str) -> Transmission:
    """The wrapper of an answer: whoever was asked answers whoever asked."""
    return Transmission(interaction, new_id(), request.processing_code, request.receiver, request.sender)
