"""ITI-46 out, and the client sides of ITI-44, ITI-45 and ITI-47, over HTTP.

Spec: ITI TF-2 3.46; 3.44, 3.45, 3.47.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zeep
from lxml import etree

from tests.flows import zeep_identity
from tests.hl7v3 import HL7, message, official_errors, patient
from tests.identity import AFFINITY, HOSPITAL_A, HOSPITAL_B, MARIE, Region, at
from tests.ports import free_port
from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.demographics_query import (
    Comparison,
    DateRange,
    DemographicsQuery,
    IdentifierPattern,
    NamePattern,
    TextPattern,
)
from xds.model.identifiers import AssigningAuthority
from xds.model.patient import Demographics, FeedKind, IdentityFeed, PersonName
from xds.resources import wsdl_path
from xds.server.http import HttpApplication
from xds.server.launcher import HttpServer
from xds.server.limits import Limits
from xds.store.blobs.local import LocalBlobStore
from xds.transactions import (
    iti44_patient_identity_feed_v3,
    iti45_pix_v3_query,
    iti46_pix_v3_update_notification,
    iti47_patient_demographics_query_v3,
    iti47_query_cancellation,
    iti47_query_continuation,
)
from xds.transactions.client import NoAnswerError, UnusableAnswerError, post_soap
from xds.transactions.table import MODULES
from xds.wire.hl7v3_acknowledgement import write_accept_acknowledgement
from xds.wire.hl7v3_feed import read_feed
from xds.wire.soap import SoapFault, SoapReply, SoapRequest

CONSUMER = "/services/pix-consumer"
NOW = datetime(2026, 1, 15, 10, tzinfo=UTC)


class Consumer:
    """A PIX Consumer that keeps what it is told."""

    TRANSACTION = replace(iti46_pix_v3_update_notification.TRANSACTION, path=CONSUMER)

    def __init__(self) -> None:
        self.told: list[etree._Element] = []
        self.answer: bytes | None = None

    def respond(self, request: SoapRequest, domain: Domain, caller: Caller) -> SoapReply:
        self.told.append(request.body)
        received = read_feed(request.body)
        return SoapReply([self.answer or write_accept_acknowledgement(received.transmission, received.details, now=NOW)])


class Place:
    """A region and a consumer behind one HTTP port."""

    def __init__(self, directory: Path) -> None:
        self.region = Region(directory, supplier={"page_size": 50, "max_results": 100})
        self.consumer = Consumer()
        blobs = LocalBlobStore(directory / "blobs")
        modules: list[Any] = [item for item in MODULES if (item.TRANSACTION.action or "").startswith(HL7)]
        app = HttpApplication(self.region.domain, [*modules, self.consumer], stage=blobs.stage, limits=Limits())
        self.server = HttpServer(app, "127.0.0.1", free_port())
        self.url = f"http://127.0.0.1:{self.server.start()}"

    def feed(self, value: str, person: Demographics = MARIE, authority: AssigningAuthority = HOSPITAL_A, **more: Any) -> Any:
        feed = IdentityFeed(
            FeedKind.ADD, "HOSP_A|ADT", more.pop("message_id", value), (at(authority, value),), person, destination="CITY|XDS"
        )
        return iti44_patient_identity_feed_v3.send(replace(feed, **more), endpoint=f"{self.url}/services/pix-manager", now=NOW)

    def search(self, query: DemographicsQuery, **more: Any) -> Any:
        return iti47_patient_demographics_query_v3.send(
            query, endpoint=f"{self.url}/services/pdq-supplier", source="CITY|CONSUMER", destination="CITY|XDS", **more
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.server.stop()
    place.region.close()


class TestNotification:
    def notify(self, place: Place, **more: Any) -> Any:
        identifiers = (at(HOSPITAL_A, "A-1"), at(HOSPITAL_A, "A-2"), at(HOSPITAL_B, "B-1"))
        return iti46_pix_v3_update_notification.send(
            identifiers, f"{place.url}{CONSUMER}", source="|2.999.1", destination="|2.999.9", now=NOW, **more
        )

    def test_a_consumer_is_told(self, place: Place, shared: Path) -> None:
        answer = self.notify(place, message_id="N-1")
        assert (answer.is_accepted, answer.message_id) == (True, "2.999.1^N-1")
        (told,) = place.consumer.told
        assert told.tag == f"{{{HL7}}}PRPA_IN201302UV02"
        assert official_errors(shared, told) == []
        received = read_feed(told)
        assert received.details == ()
        assert received.feed is not None
        assert received.feed.identifiers == (at(HOSPITAL_A, "A-1"), at(HOSPITAL_A, "A-2"), at(HOSPITAL_B, "B-1"))
        assert (received.feed.source, received.feed.destination) == ("|2.999.1", "|2.999.9")
        (role,) = told.iter(f"{{{HL7}}}asOtherIDs")
        assert role.find(f"{{{HL7}}}scopingOrganization/{{{HL7}}}id").get("root") == HOSPITAL_B.oid

    def test_the_name_of_the_patient_is_told(self, place: Place, shared: Path) -> None:
        """ITI TF-2 3.46.4.1.2.2: Person.name and Patient.id must be non-null, without any other trait."""
        place.region.feed(
            at(HOSPITAL_A, "A-1"), demographics=Demographics((PersonName("Lefèvre", "Marie-Hélène", use="L"),), "19620314", "F")
        )
        names = place.region.domain.demographics_supplier.names_of(at(HOSPITAL_A, "A-1"))
        self.notify(place, names=names)
        (told,) = place.consumer.told
        assert official_errors(shared, told) == []
        (person,) = told.iter(f"{{{HL7}}}patientPerson")
        assert [item.tag.partition("}")[2] for item in person] == ["name", "asOtherIDs"]
        assert "".join(person[0].itertext()) == "Marie-HélèneLefèvre"
        assert place.region.domain.demographics_supplier.names_of(at(HOSPITAL_A, "nobody")) == ()

    def test_the_same_notification_has_the_same_id(self, place: Place) -> None:
        sources = ("|2.999.1", "CITY|XDS")
        for source in sources:
            for _ in range(2):
                iti46_pix_v3_update_notification.send(
                    (at(HOSPITAL_A, "A-1"),), f"{place.url}{CONSUMER}", source=source, destination="|X", message_id="N-2"
                )
        ids = [item.find(f"{{{HL7}}}id").get("root") for item in place.consumer.told]
        assert (ids[0], ids[2]) == (ids[1], ids[3])
        assert ids[0] != ids[2]

    def test_a_refusal_is_told(self, place: Place) -> None:
        place.consumer.answer = (
            f'<MCCI_IN000002UV01 xmlns="{HL7}" ITSVersion="XML_1.0"><acknowledgement><typeCode code="CE"/>'
            '<acknowledgementDetail typeCode="E"><code code="INTERR"/><text>full</text></acknowledgementDetail></acknowledgement>'
            "</MCCI_IN000002UV01>"
        ).encode()
        answer = self.notify(place)
        assert (answer.is_accepted, answer.code, [item.text for item in answer.details]) == (False, "CE", ["full"])

    def test_an_answer_that_is_none(self, place: Place) -> None:
        place.consumer.answer = f'<MCCI_IN000002UV01 xmlns="{HL7}"/>'.encode()
        with pytest.raises(UnusableAnswerError):
            self.notify(place)

    def test_nobody_listens(self, place: Place) -> None:
        place.server.stop()
        with pytest.raises(NoAnswerError):
            self.notify(place, timeout=60)

    def test_another_client_calls_the_contract(self, place: Place) -> None:
        client = zeep.Client(str(wsdl_path("pix-consumer.wsdl")), settings=zeep.Settings(strict=True))
        service = client.create_service("{urn:ihe:iti:pixv3:2007}PIXConsumer_Binding_Soap12", f"{place.url}{CONSUMER}")

        parts = zeep_identity.message("PRPA_IN201302UV02", zeep_identity.patient("Z-1", "Zeep"))
        answer = service.PIXConsumer_PRPA_IN201302UV02(**parts)
        assert zeep_identity.kind_of(answer) == "CA"
        assert read_feed(place.consumer.told[-1]).feed is not None


class TestClients:
    def test_a_feed_and_a_query(self, place: Place) -> None:
        assert place.feed("A-1").is_accepted
        assert place.feed("B-1", authority=HOSPITAL_B, source="HOSP_B|ADT").is_accepted
        answer = iti45_pix_v3_query.send(
            at(HOSPITAL_A, "A-1"), (), endpoint=f"{place.url}/services/pix-manager", source="C|C", destination="C|XDS"
        )
        assert (answer.status, answer.acknowledged.is_accepted) == ("OK", True)
        assert {item.authority.oid for item in answer.identifiers} >= {AFFINITY.oid}
        unknown = iti45_pix_v3_query.send(
            at(HOSPITAL_A, "A-404"),
            (AssigningAuthority(oid="1.9.9"),),
            endpoint=f"{place.url}/services/pix-manager",
            source="C|C",
            destination="C|XDS",
        )
        assert (unknown.status, unknown.identifiers) == ("AE", ())
        assert [item.code for item in unknown.acknowledged.details] == ["204", "204"]

    def test_a_merge(self, place: Place) -> None:
        place.feed("A-1")
        place.feed("A-2", Demographics((PersonName("Martin"),)))
        merged = place.feed("A-1", kind=FeedKind.MERGE, subsumed=(at(HOSPITAL_A, "A-2"),), message_id="M")
        assert merged.is_accepted
        again = place.feed("A-1", kind=FeedKind.MERGE, subsumed=(at(HOSPITAL_A, "A-2"),), message_id="N")
        assert (again.code, [item.code for item in again.details]) == ("CE", ["204"])

    def test_a_search_with_pages(self, place: Place) -> None:
        for number in range(5):
            name = PersonName("Page", f"Given{chr(97 + number) * 8}")
            place.feed(f"P-{number}", Demographics((name,), f"19{30 + 9 * number}0{1 + number}11", "F"))
        query = DemographicsQuery(names=((NamePattern(TextPattern("Page", Comparison.PREFIX)),),), sexes=("F",))
        first = place.search(query, limit=2)
        assert (first.status, len(first.matches), first.quantities.total, first.quantities.is_more) == ("OK", 2, 5, True)
        where = {"endpoint": f"{place.url}/services/pdq-supplier", "source": "CITY|CONSUMER", "destination": "CITY|XDS"}
        second = iti47_query_continuation.send(first, **where)
        third = iti47_query_continuation.send(second, limit=3, **where)
        assert [len(item.matches) for item in (second, third)] == [2, 1]
        keys = {item.identifiers[0].key for answer in (first, second, third) for item in answer.matches}
        assert len(keys) == 5
        assert not third.quantities.is_more
        assert iti47_query_cancellation.send(first, **where).is_accepted
        ended = iti47_query_continuation.send(first, start=1, **where)
        assert [item.code for item in ended.acknowledged.details] == ["204"]

    def test_every_criterion_goes_out_and_every_trait_comes_back(self, place: Place) -> None:
        person = replace(
            MARIE,
            telephones=("02 38 00 00 01",),
            mother_maiden_name="Dubois",
            national_identifiers=(at(AssigningAuthority(oid="2.16.840.1.113883.4.1"), "100-09-1234"),),
            multiple_birth=True,
            birth_order=2,
        )
        place.feed("A-1", person)
        query = DemographicsQuery(
            identifiers=((IdentifierPattern("A-1", HOSPITAL_A),),),
            names=((NamePattern(TextPattern("lefaivre", Comparison.FUZZY), TextPattern("marie", Comparison.FUZZY)),),),
            birth_dates=(DateRange("19620101", "19621231"),),
            sexes=("F",),
            telephones=((TextPattern("0238000001"),),),
            mothers_maiden_names=(TextPattern("Dubois"),),
            domains=(AssigningAuthority(oid=HOSPITAL_A.oid), AssigningAuthority(oid=AFFINITY.oid)),
            minimum_score=10,
        )
        answer = place.search(query, limit=5)
        (match,) = answer.matches
        assert {item.authority.oid for item in match.identifiers} == {HOSPITAL_A.oid, AFFINITY.oid}
        found = match.demographics
        assert (found.names, found.birth_date, found.sex, found.telephones) == (
            person.names,
            person.birth_date,
            "F",
            person.telephones,
        )
        assert found.national_identifiers == person.national_identifiers
        assert 10 <= (match.score or 0) <= 100


class TestHostileMessages:
    """What is no message of HL7 v3 at all is a fault of SOAP. Spec: ITI TF-2 Appendix V."""

    def post(self, place: Place, body: bytes, module: Any = iti44_patient_identity_feed_v3) -> Any:
        return post_soap(f"{place.url}{module.TRANSACTION.path}", module.TRANSACTION, body)

    @pytest.mark.parametrize(
        "body",
        [
            b'<PRPA_IN201302UV02 xmlns="urn:hl7-org:v3"/>',
            b'<PRPA_IN201301UV02 xmlns="urn:hl7-org:v2"/>',
            b"<PRPA_IN201301UV02/>",
            b'<!DOCTYPE x [<!ENTITY a "b">]><PRPA_IN201301UV02 xmlns="urn:hl7-org:v3">&a;</PRPA_IN201301UV02>',
            b'<PRPA_IN201301UV02 xmlns="urn:hl7-org:v3">&a;</PRPA_IN201301UV02>',
            b'<PRPA_IN201301UV02 xmlns="urn:hl7-org:v3">',
            b'<PRPA_IN201301UV02 xmlns="urn:hl7-org:v3"/><PRPA_IN201301UV02 xmlns="urn:hl7-org:v3"/>',
            b'<PRPA_IN201301UV02 xmlns="urn:hl7-org:v3">' + b"<subject>" * 300 + b"</subject>" * 300 + b"</PRPA_IN201301UV02>",
            b'<PRPA_IN201301UV02 xmlns="urn:hl7-org:v3" ' + b" ".join(b'a%d="1"' % n for n in range(400)) + b"/>",
        ],
    )
    def test_fault(self, place: Place, body: bytes) -> None:
        with pytest.raises(SoapFault) as caught:
            self.post(place, body)
        assert caught.value.code == "Sender"

    def test_a_thousand_identifiers_are_read(self, place: Place) -> None:
        ids = "".join(f'<id root="1.2.250.1.71.{number}" extension="1"/>' for number in range(1000))
        answer = self.post(place, message("PRPA_IN201301UV02", patient(ids)))
        assert answer.body.tag == f"{{{HL7}}}MCCI_IN000002UV01"

    def test_text_that_looks_like_markup_stays_text(self, place: Place, shared: Path) -> None:
        person = Demographics((PersonName("]]><x a='\"&amp;", "O'Brien & <Sons>"),), "19700101", "M")
        assert place.feed("A<&\"'1", person, message_id="1.2^<M&>").is_accepted
        query = DemographicsQuery(identifiers=((IdentifierPattern("A<&\"'1", HOSPITAL_A),),))
        (match,) = place.search(query).matches
        assert match.demographics.names == person.names
        assert "A<&\"'1" in [item.value for item in match.identifiers]
