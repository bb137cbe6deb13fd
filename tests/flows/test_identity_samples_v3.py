"""HL7 v3 messages of other products and of IHE's examples: sent to a region of their own as their stories go, or read.

Spec: ITI TF-2 3.44, 3.45, 3.47.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests.hl7v3 import HL7, Answer, ask, official_errors
from tests.identity import CALLER, Region, at
from xds.model.identifiers import AssigningAuthority
from xds.model.patient import Demographics, PersonName
from xds.transactions import iti47_query_cancellation
from xds.wire.hl7v3_acknowledgement import read_acknowledgement
from xds.wire.hl7v3_pdq_answer import read_demographics_answer, read_quantities
from xds.wire.hl7v3_pix import read_pix_answer
from xds.wire.hl7v3_queries import response_code
from xds.wire.soap import SoapFault
from xds.wire.xml import SOAP12, parse

IPF = "vectors/identity/v3/oehf+ipf"
MOHAWK = "vectors/identity/v3/MohawkMEDIC+client-registry"
GOOD_HEALTH = "1.2.840.114350.1.13.99998.8734"
HIMSS = "1.3.6.1.4.1.21367.2005.1.1"

#: Every sample, and what its test is.
FEEDS = {
    f"{IPF}/A01_Response.xml": "CA",
    f"{IPF}/A04_Response.xml": "CA",
    f"{IPF}/A08_Response.xml": "CA",
    f"{IPF}/PIX_FEED_REG_Maximal_Request.xml": "CA",
    f"{IPF}/PIX_FEED_REV_Maximal_Request.xml": "CA",
    f"{IPF}/PIXv3_FEED_REG_Maximal_Request.xml": "CA",
    f"{IPF}/prpa-valid.xml": "CA",
    f"{IPF}/prpa-invalid.xml": "CE",
    f"{IPF}/iti44-multipatient-request-1.xml": "CE",
    f"{MOHAWK}/03_PatientRegistryRecordAdded2.xml": "CA",
    f"{MOHAWK}/04_PatientRegistryRecordRevised2.xml": "CA",
    f"{MOHAWK}/05_PatientRegistryDuplicatesResolved.xml": "CA",
}
MERGES = {
    # The prior identifier and the surviving one are of different domains (ITI TF-2 3.44.4.2.2: of the same one).
    f"{IPF}/PIX_FEED_MERGE_Maximal_Request.xml": "CE",
}
PIX_QUERIES = (f"{IPF}/NistPixpdq_Mesa10501-04_Example_01.xml", f"{IPF}/NistPixpdq_Mesa10502-03~UnknownId_Example_01.xml")
DEMOGRAPHICS_QUERIES = (
    f"{IPF}/01_PDQQuery1.xml",
    f"{IPF}/PDQ_connectathon2011_namespaces_issue.xml",
    f"{IPF}/PDQ_unused_global_namespace_issue.xml",
    f"{IPF}/PDQ_with_PID4.xml",
    f"{IPF}/iti55-sample-request.xml",
)
ANSWERS = {
    f"{IPF}/Ack.xml": ("CA", "", 0),
    f"{IPF}/02_PDQQuery1Response.xml": ("AA", "OK", 7),
    f"{IPF}/07_PIXQuery1Response.xml": ("CA", "OK", 1),
    f"{IPF}/PDQ_Maximal_Query_Response.xml": ("AA", "OK", 1),
    f"{IPF}/PDQ_connectathon2011_namespaces_issue_Response.xml": ("AA", "OK", 2),
    f"{IPF}/PDQ_with_PID4_Response.xml": ("AA", "OK", 2),
    f"{IPF}/PDQv3_Response.xml": ("AA", "OK", 7),
    f"{IPF}/PIXv3_QUERY_Response.xml": ("CA", "OK", 1),
    f"{IPF}/iti55-sample-response.xml": ("AA", "OK", 2),
    f"{IPF}/type-nons-good.xml": ("AA", "OK", 1),
    f"{IPF}/type-ns-wrong.xml": ("AA", "OK", 1),
}
#: An interaction of Canada's own realm.
OTHER = f"{MOHAWK}/Record_Client_Request.xml"


def body(path: Path) -> bytes:
    """The message in a file, without its envelope."""
    root = parse(path.read_bytes())
    if root.tag == f"{{{SOAP12}}}Envelope":
        root = root.find(f"{{{SOAP12}}}Body")[0]
    return etree.tostring(root)


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    region = Region(tmp_path)
    yield region
    region.close()


def test_each_sample_is_used_below(shared: Path) -> None:
    used = {*FEEDS, *MERGES, *PIX_QUERIES, *DEMOGRAPHICS_QUERIES, *ANSWERS, OTHER}
    there = {path.relative_to(shared).as_posix() for path in (shared / "vectors" / "identity" / "v3").rglob("*.xml")}
    assert used == there


def sent(region: Region, shared: Path, name: str) -> Answer:
    answer = ask(region, body(shared / name))
    assert official_errors(shared, answer.root) == []
    return answer


@pytest.mark.parametrize("name", [*FEEDS, *MERGES])
def test_feed(region: Region, shared: Path, name: str) -> None:
    data = body(shared / name)
    root = parse(data)
    for role in ("patient", "priorRegisteredRole"):
        ids = [item for element in root.iter(f"{{{HL7}}}{role}") for item in element.iterfind(f"{{{HL7}}}id")]
        if root.tag.endswith(("302UV02", "304UV02")):
            # Whom a revision or a merge is about is known before.
            for item in ids:
                authority = AssigningAuthority(item.get("assigningAuthorityName"), item.get("root"))
                region.feed(at(authority, item.get("extension")), demographics=Demographics((PersonName("Known"),)))
    before = len(region.audited())
    answer = sent(region, shared, name)
    assert answer.kind == (FEEDS | MERGES)[name], answer.texts
    if answer.kind == "CA":
        assert len(region.audited()) > before


def test_what_a_maximal_feed_tells(region: Region, shared: Path) -> None:
    assert sent(region, shared, f"{IPF}/PIX_FEED_REG_Maximal_Request.xml").kind == "CA"
    (person,) = region.pix.persons(CALLER)
    stated = person.stated[0].demographics
    assert [(item.family, item.given, item.further_given, item.suffix, item.prefix, item.use) for item in stated.names] == [
        ("WASHINGTON", "MARY", "ROSE", "II", "Dr.", "L"),
        ("DEAN", "ANNE", "", "", "", "M"),
    ]
    assert (stated.birth_date, stated.sex, stated.deceased) == ("19771208", "F", False)
    assert (stated.telephones, stated.work_telephones, stated.emails) == (
        ("012-0001", "012-0003"),
        ("012-0002",),
        ("marywash@gmx.de",),
    )
    assert [(item.street, item.city, item.postal_code) for item in stated.addresses] == [
        ("5", "CHICAGO", "60523"),
        ("1 SECOND ADDRESS", "CHICAGO", "60555"),
    ]
    assert (stated.mother_maiden_name, stated.birth_place, stated.language) == ("JOHN", "Chicago", "eng")
    assert (stated.marital_status, stated.religion) == ("M", "1022")
    assert [item.value for item in stated.national_identifiers] == ["100-09-1234"]
    fed = {item.value for item in person.identifiers}
    assert {"PIX10515W3", "PIX10515W4", "PIX10515W5", "100-09-123456"} <= fed


def test_the_story_of_ihes_examples(region: Region, shared: Path) -> None:
    """A patient is added and revised, another one is added, and the two are resolved into one."""
    authority = AssigningAuthority(oid=GOOD_HEALTH)
    assert sent(region, shared, f"{MOHAWK}/03_PatientRegistryRecordAdded2.xml").kind == "CA"
    assert sent(region, shared, f"{MOHAWK}/04_PatientRegistryRecordRevised2.xml").kind == "CA"
    region.feed(at(authority, "34827G234"), demographics=Demographics((PersonName("Deane"),)))
    region.feed(at(authority, "34827G409"), demographics=Demographics((PersonName("Dean", "James"),)))
    assert sent(region, shared, f"{MOHAWK}/05_PatientRegistryDuplicatesResolved.xml").kind == "CA"
    assert region.affinity(at(authority, "34827G234")) == region.affinity(at(authority, "34827G409"))


@pytest.mark.parametrize("name", PIX_QUERIES)
def test_pix_query(region: Region, shared: Path, name: str) -> None:
    """Before anybody is known: both the identifier and the domain are told; and then the identifiers."""
    answer = sent(region, shared, name)
    assert (answer.kind, answer.status) == ("AE", "AE")
    assert {code for code, _ in answer.details} == {"204"}
    root = parse(body(shared / name))
    asked = root.find(f".//{{{HL7}}}patientIdentifier/{{{HL7}}}value")
    wanted = [item.get("root") for item in root.iterfind(f".//{{{HL7}}}dataSource/{{{HL7}}}value")]
    authority = AssigningAuthority(asked.get("assigningAuthorityName"), asked.get("root"))
    others = [at(AssigningAuthority(oid=domain), "OTHER") for domain in wanted or ["2.999.5"]]
    region.feed(at(authority, asked.get("extension")), *others)
    answer = sent(region, shared, name)
    assert (answer.kind, answer.status) == ("AA", "OK")
    assert {(item.authority.oid, item.value) for item in others} <= set(answer.ids)


@pytest.mark.parametrize("name", DEMOGRAPHICS_QUERIES)
def test_demographics_query(region: Region, shared: Path, name: str) -> None:
    """The domains that it asks for are known; whoever it is about is not."""
    data = body(shared / name)
    for item in parse(data).iterfind(f".//{{{HL7}}}otherIDsScopingOrganization/{{{HL7}}}value"):
        region.feed(at(AssigningAuthority(oid=item.get("root")), "SOMEBODY"), demographics=Demographics((PersonName("X"),)))
    answer = sent(region, shared, name)
    assert (answer.kind, answer.status, answer.patients) == ("AA", "NF", []), answer.texts


@pytest.mark.parametrize("name", ANSWERS)
def test_answer(shared: Path, name: str) -> None:
    root = parse(body(shared / name))
    kind, status, number = ANSWERS[name]
    assert (read_acknowledgement(root).code, response_code(root)) == (kind, status)
    if root.tag.endswith("PRPA_IN201310UV02"):
        assert len(read_pix_answer(root)) > 0
    elif root.tag.endswith("PRPA_IN201306UV02"):
        matches = read_demographics_answer(root)
        assert len(matches) == number
        assert all(match.identifiers and match.demographics.names for match in matches)
        quantities = read_quantities(root)
        assert quantities is None or quantities.total is not None


def test_an_interaction_that_is_not_ours(region: Region, shared: Path) -> None:
    """The service says so in a fault before any transaction sees it; read as a cancellation, it is a fault as well."""

    with pytest.raises(SoapFault, match="must hold QUQI_IN000003UV01_Cancel"):
        ask(region, body(shared / OTHER), module=iti47_query_cancellation)
