"""ITI-44 and ITI-45: identity feeds and PIX queries in HL7 v3.

Spec: ITI TF-2 3.44, 3.45, Appendix O.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hl7v3 import (
    HL7,
    HOSPITAL_A,
    HOSPITAL_B,
    NAME,
    PERSON,
    WRAPPER,
    Answer,
    ask,
    feed,
    ii,
    message,
    official_errors,
    parameter,
    patient,
    pix,
    query,
)
from tests.identity import AFFINITY, CALLER, CONFIGURED, Region, at
from tests.identity import HOSPITAL_A as AUTHORITY_A
from tests.identity import HOSPITAL_B as AUTHORITY_B
from xds.model.audit import EventAction
from xds.transactions import iti08_patient_identity_feed as iti08
from xds.wire import hl7v2
from xds.wire.xml import parse

ADD, REVISE, MERGE, PIX = "PRPA_IN201301UV02", "PRPA_IN201302UV02", "PRPA_IN201304UV02", "PRPA_IN201309UV02"
PATIENT_ID = f"/{ADD}/controlActProcess/subject/registrationEvent/subject1/patient/id"
PRIOR_ID = f"/{MERGE}/controlActProcess/subject/registrationEvent/replacementOf/priorRegistration/subject1/priorRegisteredRole/id"
PARAMETERS = f"/{PIX}/controlActProcess/queryByParameter/parameterList"


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    region = Region(tmp_path)
    yield region
    region.close()


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Region]:
    region = Region(tmp_path, domains=CONFIGURED, unknown_domains="refuse")
    yield region
    region.close()


def refused(answer: Answer) -> tuple[str, list[tuple[str, str]]]:
    assert answer.name == "MCCI_IN000002UV01"
    return answer.kind, answer.details


class TestFeed:
    @pytest.mark.parametrize("interaction", [ADD, REVISE])
    def test_accepted(self, region: Region, shared: Path, interaction: str) -> None:
        answer = feed(region, ii("A-1"), interaction=interaction, message_id="11111111-2222-4333-8444-555555555555")
        assert refused(answer) == ("CA", [])
        assert official_errors(shared, answer.root) == []
        assert region.affinity(at(AUTHORITY_A, "A-1")).authority == AFFINITY
        (person,) = region.pix.persons(CALLER)
        (stated,) = person.stated
        assert (stated.source, stated.demographics.names[0].given) == ("2.999.3|2.999.2", "Marie-Hélène")
        target = answer.root.find(f"{{{HL7}}}acknowledgement/{{{HL7}}}targetMessage/{{{HL7}}}id")
        assert target.get("root") == "11111111-2222-4333-8444-555555555555"

    def test_the_answer_goes_back_to_the_sender(self, region: Region) -> None:
        root = feed(region, ii("A-1")).root
        path = f"{{{HL7}}}device/{{{HL7}}}id"
        assert root.find(f"{{{HL7}}}receiver/{path}").get("root") == "2.999.2"
        assert root.find(f"{{{HL7}}}sender/{path}").get("root") == "2.999.1"
        assert root.find(f"{{{HL7}}}interactionId").get("extension") == "MCCI_IN000002UV01"

    def test_identifiers_of_other_roles_are_the_patients(self, region: Region) -> None:
        other = (
            f'<asOtherIDs classCode="PAT">{ii("B-1", HOSPITAL_B)}<scopingOrganization classCode="ORG" determinerCode="INSTANCE">'
            f'<id root="{HOSPITAL_B}"/></scopingOrganization></asOtherIDs>'
        )
        assert feed(region, ii("A-1"), PERSON + other).kind == "CA"
        assert region.others(at(AUTHORITY_A, "A-1"), AUTHORITY_B) == ["B-1"]

    def test_a_social_security_number_is_a_trait(self, region: Region) -> None:
        ssn = (
            '<asOtherIDs classCode="CIT"><id root="2.16.840.1.113883.4.1" extension="100-09-1234"/><scopingOrganization '
            'classCode="ORG" determinerCode="INSTANCE"><id root="2.16.840.1.113883.4.1"/></scopingOrganization></asOtherIDs>'
        )
        feed(region, ii("A-1"), PERSON + ssn)
        (person,) = region.pix.persons(CALLER)
        assert {item.authority.oid for item in person.identifiers} == {HOSPITAL_A, AFFINITY.oid}
        assert [item.value for item in person.stated[0].demographics.national_identifiers] == ["100-09-1234"]

    def test_a_resent_feed_is_answered_again_without_a_second_effect(self, region: Region) -> None:
        for _ in range(2):
            assert feed(region, ii("A-1"), message_id="11111111-2222-4333-8444-555555555555").kind == "CA"
        assert len(region.audited()) == 1

    def test_two_messages_of_one_id_in_two_roots(self, region: Region) -> None:
        for root, value in (("2.999.7", "A-1"), ("2.999.8", "A-2")):
            person = PERSON.replace("Lefèvre", value)
            assert feed(region, ii(value), person, id=f'<id root="{root}" extension="1"/>').kind == "CA"
        assert len(region.audited()) == 2

    def test_merge(self, region: Region) -> None:
        feed(region, ii("A-1"))
        feed(region, ii("A-2"), "<name><family>Martin</family></name>")
        assert refused(feed(region, ii("A-1"), interaction=MERGE, prior=ii("A-2"))) == ("CA", [])
        assert region.affinity(at(AUTHORITY_A, "A-2")) == region.affinity(at(AUTHORITY_A, "A-1"))
        assert refused(feed(region, ii("A-1"), interaction=MERGE, prior=ii("A-2"))) == ("CE", [("204", PRIOR_ID)])
        path = PATIENT_ID.replace(ADD, REVISE)
        assert refused(feed(region, ii("A-2"), interaction=REVISE)) == ("CE", [("204", path)])

    def test_a_merge_is_audited_as_two_events(self, region: Region) -> None:
        feed(region, ii("A-1"))
        feed(region, ii("A-2"), "<name><family>Martin</family></name>")
        feed(region, ii("A-1"), interaction=MERGE, prior=ii("A-2"))
        *_, deleted, updated = region.audited()
        assert (deleted.action, updated.action) == (EventAction.DELETE, EventAction.UPDATE)
        assert {item.event_type.code for item in (deleted, updated)} == {"ITI-44"}
        assert [item.objects[0].id.partition("^")[0] for item in (deleted, updated)] == ["A-2", "A-1"]

    @pytest.mark.parametrize(
        ("ids", "prior", "expected"),
        [
            (ii("A-1"), ii("A-1"), [("204", PRIOR_ID)]),
            (ii("A-1"), ii("A-9"), [("204", PRIOR_ID)]),
            (ii("A-1"), ii("A-2", HOSPITAL_B), [("SYN102", PRIOR_ID)]),
            (ii("A-1"), "<id nullFlavor='NI'/>", [("SYN101", PRIOR_ID)]),
            (ii("A-1"), f'<id root="{HOSPITAL_A}"/>', [("SYN101", PRIOR_ID), ("SYN101", PRIOR_ID)][:1]),
            (ii("A-1"), ii("A-2") + ii("A-3"), [("SYN112", PRIOR_ID + "[2]"), ("204", PRIOR_ID + "[1]")]),
        ],
    )
    def test_a_merge_that_cannot_be(self, region: Region, ids: str, prior: str, expected: list[tuple[str, str]]) -> None:
        feed(region, ii("A-1"))
        assert refused(feed(region, ids, interaction=MERGE, prior=prior)) == ("CE", expected)

    def test_a_merge_without_and_with_two_prior_patients(self, region: Region) -> None:
        feed(region, ii("A-1"))
        assert refused(feed(region, ii("A-1"), interaction=MERGE)) == ("CE", [("SYN101", PRIOR_ID)])
        act = patient(ii("A-1"), prior=ii("A-2"))
        twice = act[act.index("<replacementOf") : act.index("</replacementOf>") + len("</replacementOf>")]
        answer = ask(region, message(MERGE, act.replace(twice, twice * 2)))
        assert ("SYN110", PRIOR_ID.partition("/priorReg")[0] + "[2]") in answer.details
        assert answer.kind == "CE"

    def test_a_replacement_in_a_feed_that_is_no_merge(self, region: Region) -> None:
        answer = feed(region, ii("A-1"), prior=ii("A-2"))
        assert refused(answer) == ("CE", [("SYN110", PATIENT_ID.partition("/subject1")[0] + "/replacementOf")])
        assert list(region.pix.persons(CALLER)) == []

    @pytest.mark.parametrize(
        ("ids", "person", "expected"),
        [
            ("", PERSON, [("SYN101", PATIENT_ID)]),
            ("<id nullFlavor='NI'/>", PERSON, [("SYN101", PATIENT_ID)]),
            (f'<id root="{HOSPITAL_A}"/>', PERSON, [("SYN101", PATIENT_ID)]),
            ('<id root="3f2504e0-4f89-11d3-9a0c-0305e82c3301" extension="1"/>', PERSON, [("SYN102", PATIENT_ID)]),
            (
                ii("A-1"),
                f"<name><family>{'Y' * 10_001}</family></name>",
                [("SYN102", PATIENT_ID.removesuffix("id") + "patientPerson")],
            ),
            (
                ii("A-1") + f'<id root="{HOSPITAL_A}"/>',
                f"{NAME}<administrativeGenderCode code='X'/><birthTime value='19621399'/>",
                [
                    ("SYN101", PATIENT_ID + "[2]"),
                    ("SYN102", PATIENT_ID.removesuffix("id") + "patientPerson/birthTime"),
                    ("SYN103", PATIENT_ID.removesuffix("id") + "patientPerson/administrativeGenderCode"),
                ],
            ),
        ],
    )
    def test_content_that_cannot_be_stored(
        self, region: Region, shared: Path, ids: str, person: str, expected: list[tuple[str, str]]
    ) -> None:
        answer = feed(region, ids, person)
        assert refused(answer) == ("CE", expected)
        assert official_errors(shared, answer.root) == []
        assert list(region.pix.persons(CALLER)) == []

    def test_two_patients_in_one_message(self, region: Region) -> None:
        answer = ask(region, message(ADD, patient(ii("A-1")) + patient(ii("A-2"))))
        assert refused(answer) == ("CE", [("SYN110", f"/{ADD}/controlActProcess/subject[2]")])
        assert list(region.pix.persons(CALLER)) == []

    @pytest.mark.parametrize(
        ("act", "expected"),
        [
            ("", [("SYN100", f"/{ADD}/controlActProcess")]),
            ("<languageCode code='de'/>", [("SYN100", f"/{ADD}/controlActProcess/subject/registrationEvent")]),
            (
                "<subject typeCode='SUBJ'><registrationEvent/></subject>",
                [("SYN100", f"/{ADD}/controlActProcess/subject/registrationEvent/subject1/patient")],
            ),
        ],
    )
    def test_without_a_patient(self, region: Region, act: str, expected: list[tuple[str, str]]) -> None:
        assert refused(ask(region, message(ADD, act))) == ("CE", expected)

    def test_authorities_of_the_configuration(self, configured: Region) -> None:
        by_name = '<id extension="A-1" assigningAuthorityName="HOSP_A"/>'
        sender = WRAPPER["sender"].replace('root="{device}"', 'root="2.9" assigningAuthorityName="ADT"')
        sender = sender.replace('root="{organization}"', 'root="2.8" assigningAuthorityName="HOSP_A"')
        assert feed(configured, by_name, sender=sender).kind == "CA"
        assert configured.affinity(at(AUTHORITY_A, "A-1"))
        assert refused(feed(configured, ii("A-1"))) == ("CE", [("SYN103", PATIENT_ID)])
        answer = feed(configured, ii("A-1") + ii("1", "1.9.9"), sender=sender)
        assert refused(answer) == ("CE", [("204", PATIENT_ID + "[2]")])
        contradictory = '<id root="4.3.2.1" extension="1" assigningAuthorityName="HOSP_A"/>'
        assert feed(configured, contradictory, sender=sender).kind == "CE"


class TestWrapper:
    @pytest.mark.parametrize(
        "name", ["id", "creationTime", "interactionId", "processingCode", "processingModeCode", "acceptAckCode"]
    )
    def test_a_part_is_missing(self, region: Region, shared: Path, name: str) -> None:
        answer = feed(region, ii("A-1"), **{name: ""})
        assert refused(answer) == ("CE", [("SYN101", f"/{ADD}/{name}")])
        assert official_errors(shared, answer.root) == []

    @pytest.mark.parametrize("name", ["receiver", "sender"])
    def test_a_partner_is_missing(self, region: Region, shared: Path, name: str) -> None:
        answer = feed(region, ii("A-1"), **{name: ""})
        assert refused(answer) == ("CE", [("SYN100", f"/{ADD}/{name}")])
        assert official_errors(shared, answer.root) == []

    def test_two_receivers(self, region: Region) -> None:
        answer = feed(region, ii("A-1"), receiver=WRAPPER["receiver"] * 2)
        assert refused(answer) == ("CE", [("SYN110", f"/{ADD}/receiver[2]")])

    @pytest.mark.parametrize(
        ("name", "xml", "code"),
        [
            ("interactionId", f'<interactionId root="2.16.840.1.113883.1.6" extension="{REVISE}"/>', "NS200"),
            ("interactionId", f'<interactionId root="2.999" extension="{ADD}"/>', "NS200"),
            ("processingCode", '<processingCode code="X"/>', "NS202"),
            ("processingModeCode", '<processingModeCode code="X"/>', "NS250"),
        ],
    )
    def test_what_is_not_supported_is_rejected(self, region: Region, name: str, xml: str, code: str) -> None:
        assert refused(feed(region, ii("A-1"), **{name: xml})) == ("CR", [(code, f"/{ADD}/{name}")])
        assert list(region.pix.persons(CALLER)) == []

    def test_everything_that_is_wrong_is_told_at_once(self, region: Region) -> None:
        answer = feed(region, ii("A-1"), id="", sender="", processingCode='<processingCode code="X"/>')
        assert [code for code, _ in answer.details] == ["SYN101", "SYN100", "NS202"]
        assert answer.kind == "CR"

    def test_what_cannot_be_read_hides_nothing_that_is_refused(self, configured: Region) -> None:
        person = f"{NAME}<administrativeGenderCode code='X'/>"
        gender = PATIENT_ID.removesuffix("id") + "patientPerson/administrativeGenderCode"
        answer = feed(configured, ii("1", "1.9.9") + f'<id root="{HOSPITAL_A}"/>' + ii("A-1"), person)
        unread = [("SYN101", PATIENT_ID + "[2]"), ("SYN103", gender)]
        assert refused(answer) == ("CE", [*unread, ("204", PATIENT_ID + "[1]"), ("SYN103", PATIENT_ID + "[3]")])

    def test_an_answer_to_a_query_keeps_its_form(self, region: Region, shared: Path) -> None:
        answer = ask(region, pix(ii("A-1", tag="value"), processingCode='<processingCode code="X"/>'))
        assert (answer.name, answer.kind, answer.status) == ("PRPA_IN201310UV02", "AR", "QE")
        assert official_errors(shared, answer.root) == []

    @pytest.mark.parametrize(
        "change",
        [
            ('<patient classCode="PAT">', '<patient classCode="PAT"><nonsense/>'),
            ('value="19620314"', 'value="14.3.1962"'),
            ('extension="A-1"', 'extension="A-1" colour="red"'),
            (f'root="{HOSPITAL_A}" extension', 'root="1.2.03.4" extension'),
            (f'root="{HOSPITAL_A}" extension', 'root="1..2" extension'),
            (f'root="{HOSPITAL_A}" extension', 'root="urn:oid:1.2" extension'),
            (WRAPPER["processingCode"], WRAPPER["processingCode"] * 2),
            (
                '<processingCode code="P"/><processingModeCode code="T"/>',
                '<processingModeCode code="T"/><processingCode code="P"/>',
            ),
        ],
    )
    def test_a_message_that_breaks_its_schema(self, region: Region, shared: Path, change: tuple[str, str]) -> None:
        data = message(ADD, patient(ii("A-1"))).decode()
        assert change[0] in data
        answer = ask(region, data.replace(*change).encode())
        assert answer.kind == "CE"
        assert {code for code, _ in answer.details} == {"SYN113"}
        assert official_errors(shared, answer.root) == []
        assert list(region.pix.persons(CALLER)) == []

    @pytest.mark.parametrize("root", ["urn:oid:1.2.3", "1.2.03", "19000230"])
    def test_an_id_that_is_none_comes_back_all_the_same(self, region: Region, shared: Path, root: str) -> None:
        answer = feed(region, ii("A-1"), message_id=root)
        assert answer.kind == "CE"
        target = answer.root.find(f"{{{HL7}}}acknowledgement/{{{HL7}}}targetMessage/{{{HL7}}}id")
        assert (target.get("root"), target.get("extension")) == (None, root)
        assert official_errors(shared, answer.root) == []

    def test_a_message_with_many_errors_gets_a_short_answer(self, region: Region) -> None:
        answer = feed(region, "".join(f'<id root="{number}..1" extension="1"/>' for number in range(500)))
        assert len(answer.details) == 21
        assert "more errors" in answer.texts[-1]


class TestQuery:
    """The cases of ITI TF-2 3.45.4.2.3."""

    @pytest.fixture
    def linked(self, region: Region) -> Region:
        region.feed(at(AUTHORITY_A, "A-1"), at(AUTHORITY_B, "B-1"), at(AUTHORITY_B, "B-2"))
        return region

    def ask(self, region: Region, *domains: str, value: str = "A-1", root: str = HOSPITAL_A) -> Answer:
        return ask(region, pix(ii(value, root, "value"), *domains))

    def test_found(self, linked: Region, shared: Path) -> None:
        answer = self.ask(linked, HOSPITAL_B)
        assert (answer.name, answer.kind, answer.status, answer.details) == ("PRPA_IN201310UV02", "AA", "OK", [])
        assert answer.ids == [(HOSPITAL_B, "B-1"), (HOSPITAL_B, "B-2")]
        assert len(answer.patients) == 1
        # ITI TF-2 Table 3.45.4.2.2.2-1: both Person.name and Patient.id must be non-null, and there is no other trait.
        (person,) = answer.root.iter(f"{{{HL7}}}patientPerson")
        assert [item.tag.partition("}")[2] for item in person] == ["name"]
        assert "".join(person[0].itertext()) == "Marie-HélèneLefèvre"
        assert answer.root.find(f".//{{{HL7}}}providerOrganization/{{{HL7}}}id").get("root") == HOSPITAL_B
        assert official_errors(shared, answer.root) == []

    def test_every_identifier_has_its_authority_with_every_name(self, linked: Region) -> None:
        answer = self.ask(linked, HOSPITAL_B)
        (first, *_) = answer.root.iter(f"{{{HL7}}}patient")
        assert {item.get("assigningAuthorityName") for item in first.iterfind(f"{{{HL7}}}id")} == {"HOSP_B"}

    def test_in_all_domains_but_the_queried_one(self, linked: Region, shared: Path) -> None:
        answer = self.ask(linked)
        assert sorted(answer.ids) == sorted(
            [(AFFINITY.oid, linked.affinity(at(AUTHORITY_A, "A-1")).value), (HOSPITAL_B, "B-1"), (HOSPITAL_B, "B-2")]
        )
        scopes = answer.root.iterfind(f".//{{{HL7}}}asOtherIDs/{{{HL7}}}scopingOrganization/{{{HL7}}}id")
        assert len([item.get("root") for item in scopes]) == 1
        assert official_errors(shared, answer.root) == []

    def test_known_but_not_in_the_domain(self, configured: Region, shared: Path) -> None:
        configured.feed(at(AUTHORITY_A, "A-1"))
        answer = self.ask(configured, HOSPITAL_B)
        assert (answer.kind, answer.status, answer.patients) == ("AA", "NF", [])
        assert official_errors(shared, answer.root) == []

    def test_unknown_identifier(self, configured: Region, shared: Path) -> None:
        answer = self.ask(configured, HOSPITAL_B)
        assert (answer.kind, answer.status) == ("AE", "AE")
        assert answer.details == [("204", f"{PARAMETERS}/patientIdentifier/value")]
        assert official_errors(shared, answer.root) == []

    def test_all_unknown_domains_are_told(self, configured: Region, shared: Path) -> None:
        configured.feed(at(AUTHORITY_A, "A-1"))
        answer = self.ask(configured, "1.9.8", HOSPITAL_B, "1.9.9")
        assert (answer.kind, answer.status, answer.patients) == ("AE", "AE", [])
        assert answer.details == [("204", f"{PARAMETERS}/dataSource[{number}]/value") for number in (1, 3)]
        answer = self.ask(configured, "1.9.8", root="1.9.7")
        assert answer.details == [
            ("204", f"{PARAMETERS}/patientIdentifier/value"),
            ("204", f"{PARAMETERS}/dataSource[1]/value"),
        ]
        assert official_errors(shared, answer.root) == []

    def test_the_query_comes_back_as_it_was(self, linked: Region) -> None:
        data = pix(ii("A-1", tag="value"), HOSPITAL_B)
        asked = parse(data).find(f"{{{HL7}}}controlActProcess/{{{HL7}}}queryByParameter")
        answer = ask(linked, data)
        echoed = answer.root.find(f"{{{HL7}}}controlActProcess/{{{HL7}}}queryByParameter")
        assert [(item.tag, dict(item.attrib), item.text) for item in echoed.iter()] == [
            (item.tag, dict(item.attrib), item.text) for item in asked.iter()
        ]
        query_id = asked.find(f"{{{HL7}}}queryId").get("root")
        assert answer.root.find(f".//{{{HL7}}}queryAck/{{{HL7}}}queryId").get("root") == query_id

    def test_a_query_that_lacks_what_its_schema_requires_comes_back_with_it(self, linked: Region, shared: Path) -> None:
        data = pix(ii("A-1", tag="value"), HOSPITAL_B).decode()
        for lack in (
            '<statusCode code="new"/>',
            *(f"<semanticsText>{name}</semanticsText>" for name in ("dataSource", "patientIdentifier")),
        ):
            assert lack in data
            data = data.replace(lack, "")
        answer = ask(linked, data.encode())
        assert (answer.kind, answer.status) == ("AA", "OK")
        assert official_errors(shared, answer.root) == []

    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ("", [("SYN101", "patientIdentifier/value")]),
            (parameter("patientIdentifier", "<value nullFlavor='NI'/>"), [("SYN101", "patientIdentifier/value")]),
            (parameter("patientIdentifier", f"<value root='{HOSPITAL_A}'/>"), [("SYN101", "patientIdentifier/value")]),
            (
                parameter("patientIdentifier", ii("1", tag="value"), ii("2", tag="value")),
                [("SYN112", "patientIdentifier/value[2]")],
            ),
            (parameter("patientIdentifier", ii("1", tag="value")) * 2, [("SYN110", "patientIdentifier[2]")]),
            (
                parameter("dataSource", ii("1", tag="value")) + parameter("patientIdentifier", ii("1", tag="value")),
                [("SYN102", "dataSource[1]/value")],
            ),
            (
                parameter("dataSource") + parameter("patientIdentifier", ii("1", tag="value")),
                [("SYN101", "dataSource[1]/value")],
            ),
        ],
    )
    def test_content_that_cannot_be_understood(
        self, configured: Region, shared: Path, parameters: str, expected: list[tuple[str, str]]
    ) -> None:
        answer = ask(configured, message(PIX, query(parameters)))
        assert (answer.kind, answer.status) == ("AE", "QE")
        assert answer.details == [(code, f"{PARAMETERS}/{place}") for code, place in expected]
        assert official_errors(shared, answer.root) == []

    def test_without_a_query_and_without_its_id(self, configured: Region, shared: Path) -> None:
        answer = ask(configured, message(PIX, "<languageCode code='de'/>"))
        assert answer.details == [("SYN100", f"/{PIX}/controlActProcess/queryByParameter")]
        assert official_errors(shared, answer.root) == []
        asked = query(parameter("patientIdentifier", ii("1", tag="value")))
        start, end = asked.index("<queryId"), asked.index("<statusCode")
        answer = ask(configured, message(PIX, asked[:start] + asked[end:]))
        assert answer.details == [("SYN101", f"/{PIX}/controlActProcess/queryByParameter/queryId")]
        assert official_errors(shared, answer.root) == []

    def test_a_deferred_answer_is_not_given(self, linked: Region) -> None:
        asked = query(parameter("patientIdentifier", ii("A-1", tag="value")), head='<responsePriorityCode code="D"/>')
        answer = ask(linked, message(PIX, asked))
        assert answer.details == [("SYN103", f"/{PIX}/controlActProcess/queryByParameter/responsePriorityCode")]
        assert answer.status == "QE"

    def test_audit(self, linked: Region) -> None:
        self.ask(linked, HOSPITAL_B)
        event = linked.audited()[-1]
        assert (event.event_id.code, event.event_type.code, event.action) == ("110112", "ITI-45", EventAction.EXECUTE)
        who, asked = event.objects
        assert who.id.startswith("A-1^^^")
        assert "queryByParameter" in asked.query
        assert [item.user_id for item in event.participants] == ["2.999.3|2.999.2", "|2.999.1"]

    def test_what_one_face_is_told_the_other_one_answers(self, region: Region) -> None:
        feed(region, ii("A-1") + ii("B-1", HOSPITAL_B))
        text = (
            "MSH|^~\\&|ADT|HOSP_A|XDS|R|20260115||ADT^A01|1|P|2.3.1\rPID|||A-2^^^&1.2.250.1.71.1&ISO~B-2^^^&1.2.250.1.71.2&ISO||X"
        )
        assert iti08.respond(hl7v2.read(text.encode()), region.domain, CALLER).get("MSA-1") == "AA"
        assert self.ask(region, HOSPITAL_B, value="A-2").ids == [(HOSPITAL_B, "B-2")]
