"""What the queries of HL7 version 3 have in common: parameters and their places, and what every answer tells of its query."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from lxml import etree

from xds.model.identifiers import AssigningAuthority, is_oid
from xds.model.metadata import Code
from xds.model.patient import IdentityQuery
from xds.wire.hl7v3 import (
    INTERACTIONS,
    Detail,
    DetailCode,
    InstanceIdentifier,
    Transmission,
    answer_to,
    attribute,
    child,
    children,
    coded,
    location,
    null,
    read_id,
    shown,
    valued,
    write_id,
    write_message,
)
from xds.wire.hl7v3_acknowledgement import Acknowledgement, is_rejected, write_acknowledgement_part
from xds.wire.hl7v3_person import authority_of
from xds.wire.xml import HL7V3

#: Codes of faults after which a query may not be what its schema allows.
_INCOMPLETE: Final = frozenset(
    {DetailCode.FORMAL_CONSTRAINT, DetailCode.ASSOCIATION_MISSING, DetailCode.ATTRIBUTE_MISSING, DetailCode.TOO_MANY_VALUES}
)


#: Children of a list of parameters that are none.
_NO_PARAMETERS: Final = frozenset({"realmCode", "typeId", "templateId", "id"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A query as it came: its wrapper, its id, itself as an element, and what is wrong with it."""

    transmission: Transmission
    query: etree._Element | None
    details: tuple[Detail, ...] = ()

    @property
    def is_wrong(self) -> bool:
        """Whether there is anything that forbids to answer it."""
        return any(detail.severity == "E" for detail in self.details)

    @property
    def query_id(self) -> InstanceIdentifier:
        """queryId; empty when there is none."""
        return read_id(child(self.query, "queryId"))

    @property
    def text(self) -> str:
        """The query as XML, as the audit trail keeps it."""
        return "" if self.query is None else copied(self.query)


def audited(transmission: Transmission, tag: InstanceIdentifier, text: str, event_type: Code) -> IdentityQuery:
    """What the audit trail keeps of a query of that id."""
    return IdentityQuery(
        source=transmission.sender.system,
        destination=transmission.receiver.system,
        message_id=transmission.message_id,
        tag=str(tag),
        text=text,
        event_type=event_type,
    )


@dataclass(frozen=True, slots=True)
class ResultQuantities:
    """How many matches there are, are in this answer, and are left; None: nobody counted them. `is_more`: some are left."""

    total: int | None
    current: int
    remaining: int | None
    is_more: bool = False


def copied(query: etree._Element) -> str:
    """A query as it was received, for its answer; parts that its schema requires and that it lacks are put in."""
    incomplete = [item for item in _parameters(query) if not _is_complete(item)]
    if incomplete or child(query, "statusCode") is None:
        query = deepcopy(query)
        _complete(query)
    return etree.tostring(query, encoding="unicode", with_tail=False)


def _parameters(query: etree._Element) -> list[etree._Element]:
    lists = (child(query, name) for name in ("matchCriterionList", "parameterList"))
    return [item for each in lists if each is not None for item in each if etree.QName(item).localname not in _NO_PARAMETERS]


def _is_complete(parameter: etree._Element) -> bool:
    return child(parameter, "value") is not None and child(parameter, "semanticsText") is not None


def _complete(query: etree._Element) -> None:
    query_id = child(query, "queryId")
    if child(query, "statusCode") is None and query_id is not None:
        query_id.addnext(etree.Element(f"{{{HL7V3}}}statusCode", code="new"))
    for item in _parameters(query):
        semantics = child(item, "semanticsText")
        if semantics is None:
            semantics = etree.SubElement(item, f"{{{HL7V3}}}semanticsText")
            semantics.text = etree.QName(item).localname
        if child(item, "value") is None:
            semantics.addprevious(etree.Element(f"{{{HL7V3}}}value", nullFlavor="NI"))


def parameters(query: etree._Element | None, name: str) -> list[tuple[etree._Element, list[etree._Element]]]:
    """Each parameter of that name with its values that are not null."""
    found = children(query, "parameterList", name)
    return [(item, [value for value in children(item, "value") if not attribute(value, "nullFlavor")]) for item in found]


def read_domains(query: etree._Element | None, name: str) -> tuple[list[AssigningAuthority], list[str], list[Detail]]:
    """The domains that a query wants identifiers of, the places of their values, and what is wrong with them.

    Errors: SYN101 (no root), SYN102 (a root that is no OID, an extension).
    """
    domains, places, details = [], [], []
    for item, values in parameters(query, name):
        if not values:
            place = f"{location(item, always=(name,))}/value"
            details.append(Detail(DetailCode.ATTRIBUTE_MISSING, f"{name} needs a value", place))
        for value in values:
            identifier, place = read_id(value), location(value, always=(name,))
            if not identifier.root and not identifier.name:
                details.append(Detail(DetailCode.ATTRIBUTE_MISSING, f"the value of {name} needs a root", place))
            elif (identifier.root and not is_oid(identifier.root)) or identifier.extension:
                text = f"the value of {name} must be an OID as root without extension, not {shown(str(identifier))}"
                details.append(Detail(DetailCode.DATA_TYPE, text, place))
            domains.append(authority_of(identifier))
            places.append(place)
    return domains, places, details


def query_details(root: etree._Element, query: etree._Element | None) -> list[Detail]:
    """What is wrong with the head of a query. Spec: ITI TF-2 3.45.4.1.2.2, 3.47.4.1.2.2.

    Errors: SYN100 (no query, no parameters), SYN101 (no queryId), SYN103 (a response that is not immediate and at once).
    """
    if query is None:
        place = f"{location(root)}/controlActProcess/queryByParameter"
        return [Detail(DetailCode.ASSOCIATION_MISSING, "queryByParameter is required", place)]
    details = []
    if not str(read_id(child(query, "queryId"))):
        details.append(Detail(DetailCode.ATTRIBUTE_MISSING, "queryId is required", f"{location(query)}/queryId"))
    if child(query, "parameterList") is None:
        text = "parameterList is required"
        details.append(Detail(DetailCode.ASSOCIATION_MISSING, text, f"{location(query)}/parameterList"))
    for name, allowed in (("responsePriorityCode", "I"), ("responseModalityCode", "R"), ("statusCode", "new")):
        element = child(query, name)
        given = attribute(element, "code")
        if element is not None and given not in ("", allowed):
            text = f"{name} must be {allowed}, not {shown(given)}"
            details.append(Detail(DetailCode.UNKNOWN_CODE, text, location(element)))
    return details


def write_answer(
    asked: Asked,
    interaction: str,
    subjects: Sequence[str] = (),
    details: Sequence[Detail] = (),
    *,
    now: datetime,
    quantities: ResultQuantities | None = None,
    query_id: InstanceIdentifier | None = None,
    message_id: InstanceIdentifier | None = None,
    query: str = "",
) -> bytes:
    """An answer with an application acknowledgement: what was found (none means NF), or the faults.

    `query_id` and `query` (as it was copied into its first answer) are those of the query when the message that is answered is
    not the query itself. A query that lacks what its schema requires is not copied into the answer, which would lack it, too.
    Spec: ITI TF-2 3.45.4.2, 3.47.4.2.
    """
    errors = [detail for detail in details if detail.severity == "E"]
    kind, response, status = Acknowledgement.ACCEPT, "OK" if subjects else "NF", "deliveredResponse"
    if errors:
        kind = Acknowledgement.REJECT if is_rejected(errors) else Acknowledgement.ERROR
        response, status = ("QE" if _is_of_syntax(errors) else "AE"), "aborted"
    elif quantities is not None and quantities.is_more:
        status = "waitContinuedQueryResponse"
    trigger = interaction.replace("_IN", "_TE")
    copy = "" if any(detail.code in _INCOMPLETE for detail in errors) else query or asked.text
    act = (
        f'<controlActProcess classCode="CACT" moodCode="EVN">{coded("code", trigger, INTERACTIONS)}{"".join(subjects)}'
        f"<queryAck>{write_id(query_id or asked.query_id, 'queryId')}{coded('statusCode', status)}"
        f"{coded('queryResponseCode', response)}{_quantities(quantities)}</queryAck>{copy}</controlActProcess>"
    )
    parts = write_acknowledgement_part(asked.transmission, kind, details) + act
    transmission = answer_to(asked.transmission, interaction)
    if message_id is not None:
        transmission = replace(transmission, id=message_id)
    return write_message(transmission, parts, now=now, accept_ack="NE")


def _is_of_syntax(errors: Sequence[Detail]) -> bool:
    """Whether a query could not be understood (QE), rather than not be answered (AE)."""
    return any(detail.code not in (DetailCode.UNKNOWN_KEY, DetailCode.INTERNAL) for detail in errors)


def _quantities(quantities: ResultQuantities | None) -> str:
    if quantities is None:
        return ""
    pairs = (
        ("resultTotalQuantity", quantities.total),
        ("resultCurrentQuantity", quantities.current),
        ("resultRemainingQuantity", quantities.remaining),
    )
    return "".join(null(name, "NI") if value is None else valued(name, value) for name, value in pairs)


def query_of(root: etree._Element) -> etree._Element | None:
    """The queryByParameter of a message."""
    return child(root, "controlActProcess", "queryByParameter")


def parameter(name: str, values: Sequence[str], semantics: str) -> str:
    """A parameter with its values as ready XML."""
    return f"<{name}>{''.join(values)}<semanticsText>{semantics}</semanticsText></{name}>"


def write_query(transmission: Transmission, query: str, *, now: datetime) -> bytes:
    """A query message around its queryByParameter."""
    trigger = transmission.interaction.replace("_IN", "_TE")
    act = f'<controlActProcess classCode="CACT" moodCode="EVN">{coded("code", trigger, INTERACTIONS)}{query}</controlActProcess>'
    return write_message(transmission, act, now=now)


def response_code(root: etree._Element) -> str:
    """queryResponseCode of an answer; empty when it has none."""
    return attribute(child(root, "controlActProcess", "queryAck", "queryResponseCode"), "code")
