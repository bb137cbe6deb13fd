"""HL7 v3 messages written by hand, so that no mistake of ours meets its twin, and answers taken apart."""

from __future__ import annotations

import functools
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxml import etree

from tests.identity import CALLER, Region
from xds.transactions import (
    iti44_patient_identity_feed_v3,
    iti45_pix_v3_query,
    iti47_patient_demographics_query_v3,
    iti47_query_cancellation,
    iti47_query_continuation,
)
from xds.wire.soap import Addressing, SoapRequest
from xds.wire.xml import parse

HL7 = "urn:hl7-org:v3"
HOSPITAL_A = "1.2.250.1.71.1"
HOSPITAL_B = "1.2.250.1.71.2"
_RESPONDERS: dict[str, Any] = {
    "PRPA_IN201301UV02": iti44_patient_identity_feed_v3,
    "PRPA_IN201302UV02": iti44_patient_identity_feed_v3,
    "PRPA_IN201304UV02": iti44_patient_identity_feed_v3,
    "PRPA_IN201309UV02": iti45_pix_v3_query,
    "PRPA_IN201305UV02": iti47_patient_demographics_query_v3,
    "QUQI_IN000003UV01": iti47_query_continuation,
    "QUQI_IN000003UV01_Cancel": iti47_query_cancellation,
}
#: How the parts of a wrapper look, by name; a test replaces or leaves out what it is about.
WRAPPER = {
    "id": '<id root="{id}"/>',
    "creationTime": '<creationTime value="20260115100000"/>',
    "interactionId": '<interactionId root="2.16.840.1.113883.1.6" extension="{interaction}"/>',
    "processingCode": '<processingCode code="P"/>',
    "processingModeCode": '<processingModeCode code="T"/>',
    "acceptAckCode": '<acceptAckCode code="AL"/>',
    "receiver": '<receiver typeCode="RCV"><device classCode="DEV" determinerCode="INSTANCE"><id root="2.999.1"/></device>'
    "</receiver>",
    "sender": '<sender typeCode="SND"><device classCode="DEV" determinerCode="INSTANCE"><id root="{device}"/>'
    '<asAgent classCode="AGNT"><representedOrganization classCode="ORG" determinerCode="INSTANCE"><id root="{organization}"/>'
    "</representedOrganization></asAgent></device></sender>",
    "acknowledgement": "",
}
NAME = "<name use='L'><given>Marie-Hélène</given><family>Lefèvre</family></name>"
PERSON = f'{NAME}<administrativeGenderCode code="F"/><birthTime value="19620314"/>'


def message(
    interaction: str, act: str, *, organization: str = "2.999.3", device: str = "2.999.2", message_id: str = "", **parts: str
) -> bytes:
    """A message; keyword arguments replace parts of its wrapper."""
    wrapper = "".join((WRAPPER | parts).values())
    for key, value in (
        ("id", message_id or str(uuid.uuid4())),
        ("interaction", interaction.removesuffix("_Cancel")),
        ("organization", organization),
        ("device", device),
    ):
        wrapper = wrapper.replace(f"{{{key}}}", value)
    trigger = interaction.replace("_IN", "_TE")
    inner = f'<controlActProcess classCode="CACT" moodCode="EVN"><code code="{trigger}"/>{act}</controlActProcess>' if act else ""
    return f'<{interaction} xmlns="{HL7}" ITSVersion="XML_1.0">{wrapper}{inner}</{interaction}>'.encode()


def ii(value: str, root: str = HOSPITAL_A, tag: str = "id") -> str:
    """An identifier."""
    return f'<{tag} root="{root}" extension="{value}"/>'


def patient(ids: str, person: str = PERSON, *, prior: str = "") -> str:
    """A subject around a patient; `prior` are the ids of the role that a merge subsumes."""
    if prior:
        prior = (
            '<replacementOf typeCode="RPLC"><priorRegistration classCode="REG" moodCode="EVN"><statusCode code="obsolete"/>'
            f'<subject1 typeCode="SBJ"><priorRegisteredRole classCode="PAT">{prior}</priorRegisteredRole></subject1>'
            "</priorRegistration></replacementOf>"
        )
    provider = (
        f'<providerOrganization classCode="ORG" determinerCode="INSTANCE"><id root="{HOSPITAL_A}"/>'
        '<contactParty classCode="CON"/></providerOrganization>'
    )
    return (
        '<subject typeCode="SUBJ"><registrationEvent classCode="REG" moodCode="EVN"><id nullFlavor="NA"/>'
        f'<statusCode code="active"/><subject1 typeCode="SBJ"><patient classCode="PAT">{ids}<statusCode code="active"/>'
        f'<patientPerson classCode="PSN" determinerCode="INSTANCE">{person}</patientPerson>{provider}</patient></subject1>'
        f'<custodian typeCode="CST"><assignedEntity classCode="ASSIGNED"><id root="{HOSPITAL_A}"/></assignedEntity>'
        f"</custodian>{prior}</registrationEvent></subject>"
    )


def query(parameters: str, *, head: str = '<responsePriorityCode code="I"/>', query_id: str = "", rest: str = "") -> str:
    """A queryByParameter."""
    query_id = query_id or str(uuid.uuid4())
    return (
        f'<queryByParameter><queryId root="{query_id}"/><statusCode code="new"/>{head}{rest}'
        f"<parameterList>{parameters}</parameterList></queryByParameter>"
    )


def parameter(name: str, *values: str) -> str:
    """A parameter with values as XML."""
    return f"<{name}>{''.join(values)}<semanticsText>{name}</semanticsText></{name}>"


def pix(patient_id: str, *domains: str, **parts: str) -> bytes:
    """A PIX query with a patientIdentifier/value as XML and domains as OIDs."""
    sources = "".join(parameter("dataSource", f'<value root="{domain}"/>') for domain in domains)
    return message("PRPA_IN201309UV02", query(sources + parameter("patientIdentifier", patient_id)), **parts)


@dataclass(frozen=True)
class Answer:
    """An answer of a transaction."""

    root: etree._Element

    @property
    def name(self) -> str:
        return etree.QName(self.root).localname

    def codes(self, *path: str) -> list[str]:
        """The code attributes at the end of a way down."""
        return [item.get("code") for item in self.root.iterfind("/".join(f"{{{HL7}}}{step}" for step in path))]

    @property
    def kind(self) -> str:
        (found,) = self.codes("acknowledgement", "typeCode")
        return found

    @property
    def status(self) -> str:
        (found,) = self.codes("controlActProcess", "queryAck", "queryResponseCode")
        return found

    @property
    def details(self) -> list[tuple[str, str]]:
        """Code and location of each acknowledgementDetail."""
        found = self.root.iterfind(f"{{{HL7}}}acknowledgement/{{{HL7}}}acknowledgementDetail")
        return [(item.find(f"{{{HL7}}}code").get("code"), item.findtext(f"{{{HL7}}}location") or "") for item in found]

    @property
    def texts(self) -> list[str]:
        return [item.text for item in self.root.iter(f"{{{HL7}}}text")]

    @property
    def patients(self) -> list[etree._Element]:
        return list(self.root.iter(f"{{{HL7}}}patient"))

    @property
    def ids(self) -> list[tuple[str, str]]:
        """(root, extension) of every identifier of every patient, in their order."""
        roles = (f"{{{HL7}}}id", f"{{{HL7}}}patientPerson/{{{HL7}}}asOtherIDs/{{{HL7}}}id")
        found = (item for each in self.patients for role in roles for item in each.iterfind(role))
        return [(item.get("root"), item.get("extension")) for item in found if item.get("extension")]

    @property
    def quantities(self) -> list[int | None]:
        """Total, current, remaining."""
        names = ("resultTotalQuantity", "resultCurrentQuantity", "resultRemainingQuantity")
        values = (self.root.find(f".//{{{HL7}}}{name}").get("value") for name in names)
        return [int(value) if value else None for value in values]

    @property
    def message_id(self) -> str:
        return str(self.root.find(f"{{{HL7}}}id").get("root"))


def ask(region: Region, data: bytes, *, module: Any = None) -> Answer:
    """Let the transaction of a message answer it."""
    root = parse(data)
    responder = module or _RESPONDERS[etree.QName(root).localname]
    reply = responder.respond(SoapRequest(root, Addressing("urn:any")), region.domain, CALLER)
    return Answer(etree.fromstring(b"".join(reply.body)))


def feed(
    region: Region, ids: str, person: str = PERSON, *, interaction: str = "PRPA_IN201301UV02", prior: str = "", **parts: str
) -> Answer:
    """Tell of a patient."""
    return ask(region, message(interaction, patient(ids, person, prior=prior), **parts))


@functools.cache
def _schema(path: Path) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(path)))


def official_errors(shared: Path, root: etree._Element) -> list[str]:
    """What the schemas of HL7 find wrong with a message."""
    name = etree.QName(root).localname.removesuffix("_Cancel")
    schema = _schema(shared / "official-schemas" / "hl7v3" / "multicacheschemas" / f"{name}.xsd")
    # Through text, so that nothing of another document comes along.
    return [] if schema.validate(etree.fromstring(etree.tostring(root))) else [str(item.message) for item in schema.error_log]
