"""One region, asked in HL7 v2, HL7 v3 and FHIR, with messages written by hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tests import hl7v3
from tests.fhir import FhirService
from tests.identity import CALLER
from xds.transactions import (
    iti08_patient_identity_feed,
    iti09_pix_query,
    iti21_patient_demographics_query,
    iti30_patient_identity_management,
)
from xds.wire import hl7v2
from xds.wire.hl7v2 import Message
from xds.wire.hl7v2_identity import read_identifiers

#: OK, NF or AE, and the identifiers (OID, value).
Crossed = tuple[str, frozenset[tuple[str, str]]]

#: What answers which message, by type, or by type and event.
_RESPONDERS: dict[str, ModuleType] = {
    "ADT": iti08_patient_identity_feed,
    **dict.fromkeys(("ADT^A24", "ADT^A28", "ADT^A31", "ADT^A37", "ADT^A47"), iti30_patient_identity_management),
    "QBP^Q22": iti21_patient_demographics_query,
    "QBP^Q23": iti09_pix_query,
    "QCN^J01": iti21_patient_demographics_query,
}


class Faces(FhirService):
    """A FHIR service whose region answers the other wire forms, too."""

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory, **options)
        self._numbers = itertools.count(1)

    def v2(self, event: str, *segments: str, sender: str = "ADT|HOSP_A", version: str = "2.5", control_id: str = "") -> Message:
        """The answer to a message, `event` being MSH-9."""
        head = f"MSH|^~\\&|{sender}|XDS|REGION|20260115||{event}|{control_id or f'M{next(self._numbers)}'}|P|{version}"
        head += "||||||UNICODE UTF-8"
        kind, code = event.split("^")[:2]
        module = _RESPONDERS.get(f"{kind}^{code}") or _RESPONDERS[kind]
        answer: Message = module.respond(hl7v2.read("\r".join((head, *segments)).encode()), self.domain, CALLER)
        # As partners see it.
        return hl7v2.read(hl7v2.write(answer))

    def feed(self, event: str, *segments: str, **more: str) -> str:
        """MSA-1 of the answer to a feed."""
        return self.v2(f"ADT^{event}", "EVN||20260115", *segments, **more).get("MSA-1")

    def pdq(self, criteria: str, *, rcp: str = "I", dsc: str = "", tag: str = "T1", domains: str = "") -> Message:
        """The answer to a QBP^Q22."""
        continued = [f"DSC|{dsc}|I"] if dsc else []
        return self.v2("QBP^Q22^QBP_Q21", f"QPD|IHE PDQ Query|{tag}|{criteria}|||||{domains}", f"RCP|{rcp}", *continued)

    def pix(self, identifier: str, domains: str = "") -> Message:
        """The answer to a QBP^Q23."""
        return self.v2("QBP^Q23^QBP_Q21", f"QPD|IHE PIX Query|T1|{identifier}|{domains}", "RCP|I")

    def v3(self, data: bytes) -> hl7v3.Answer:
        """The answer to a message of HL7 v3."""
        return hl7v3.ask(self.region, data)

    def pdq_v3(self, *parameters: str, rest: str = "", query_id: str = "") -> hl7v3.Answer:
        """The answer to a PRPA_IN201305UV02."""
        head = '<responseModalityCode code="R"/><responsePriorityCode code="I"/>'
        asked = hl7v3.query("".join(parameters), head=head, rest=rest, query_id=query_id)
        return self.v3(hl7v3.message("PRPA_IN201305UV02", asked))

    def crossed(self, oid: str, value: str) -> Crossed:
        """What a PIX query tells, in whichever wire form: all of them must agree."""
        v2 = self.pix(f"{value}^^^&{oid}&ISO")
        found = [frozenset((item.authority.oid or "", item.value) for item in read_identifiers(v2, "PID-3", 1))]
        outcomes = [v2.get("QAK-2")]
        v3 = self.v3(hl7v3.pix(hl7v3.ii(value, oid, "value")))
        found.append(frozenset(v3.ids))
        outcomes.append(v3.status)
        fhir = self.client.get("/Patient/$ihe-pix", params={"sourceIdentifier": f"urn:oid:{oid}|{value}"})
        parameters = fhir.json().get("parameter", ())
        told = [item["valueIdentifier"] for item in parameters if item["name"] == "targetIdentifier"]
        # PIXm tells the other identifiers of the same domain, too; the older forms leave that domain out.
        told = [item for item in told if item["system"] != f"urn:oid:{oid}"]
        found.append(frozenset((item["system"].removeprefix("urn:oid:"), item["value"]) for item in told))
        outcomes.append("AE" if fhir.status_code >= 400 else "OK" if told else "NF")
        assert len(set(found)) == len(set(outcomes)) == 1, (oid, value, found, outcomes)
        return outcomes[0], found[0]

    def described(self, oid: str, value: str) -> frozenset[frozenset[tuple[str, str]]]:
        """The identifiers of each patient whom a demographics query by an identifier finds: all wire forms must agree."""
        v2 = self.pdq(f"@PID.3.1^{value}~@PID.3.4.2^{oid}~@PID.3.4.3^ISO")
        read = (read_identifiers(v2, "PID-3", number) for number in range(1, v2.count("PID") + 1))
        found = [frozenset(frozenset((item.authority.oid or "", item.value) for item in items) for items in read)]
        v3 = self.pdq_v3(hl7v3.parameter("livingSubjectId", hl7v3.ii(value, oid, "value")))
        each = (hl7v3.Answer(item.getparent()).ids for item in v3.patients)
        found.append(frozenset(frozenset(items) for items in each))
        entries = self.search(identifier=f"urn:oid:{oid}|{value}").get("entry", ())
        people = (item["resource"]["identifier"] for item in entries if item["search"]["mode"] == "match")
        found.append(
            frozenset(frozenset((item["system"].removeprefix("urn:oid:"), item["value"]) for item in items) for items in people)
        )
        assert len(set(found)) == 1, (oid, value, found)
        return found[0]


def values(answer: Message, path: str = "PID-3") -> list[list[str]]:
    """The ids in a field of each PID."""
    return [
        [item.split("^", 1)[0] for item in answer.field(path, number).split("~") if item]
        for number in range(1, answer.count("PID") + 1)
    ]


@contextmanager
def three_faces(directory: Path, **options: Any) -> Iterator[Faces]:
    """They are on a database in that directory."""
    faces = Faces(directory, **options)
    try:
        yield faces
    finally:
        faces.client.close()
        faces.region.close()
