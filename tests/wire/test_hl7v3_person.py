"""Names, addresses, times and roles of HL7 v3.

Spec: ITI TF-2 Appendix E.2, 3.44.4.1.2; HL7 V3 data types R1.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.hl7v3 import official_errors
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Address, Demographics, FeedKind, IdentityFeed, PersonName
from xds.model.vocabulary import US_SOCIAL_SECURITY
from xds.transactions.iti44_patient_identity_feed_v3 import TRANSACTION
from xds.wire.hl7v3 import Detail, InstanceIdentifier, Transmission, party_of
from xds.wire.hl7v3_feed import IDENTITY_FEED_V3, read_feed, write_feed
from xds.wire.hl7v3_names import read_address, read_names, read_telecom
from xds.wire.hl7v3_person import read_date, read_demographics, read_patient_ids
from xds.wire.xml import HL7V3, parse, schema_errors

NOW = datetime(2026, 1, 15, tzinfo=UTC)
A = AssigningAuthority("HOSP_A", "1.2.3")


def element(xml: str) -> etree._Element:
    return parse(f'<r xmlns="{HL7V3}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">{xml}</r>'.encode())[0]


def names(*xml: str) -> tuple[PersonName, ...]:
    return read_names([element(item) for item in xml])


class TestNames:
    @pytest.mark.parametrize(
        ("xml", "expected"),
        [
            ("<name><family>Weber</family><given>Lena</given></name>", PersonName("Weber", "Lena")),
            ("<name use='L'><given>Lena</given><given>Maria Eva</given><family>Weber</family></name>",
             PersonName("Weber", "Lena", "Maria Eva", use="L")),
            ("<name use='A'><prefix>Dr.</prefix><given>L</given><family>W</family><suffix>jr.</suffix></name>",
             PersonName("W", "L", "", "jr.", "Dr.", "A")),
            ("<name use='C L'><family>W</family></name>", PersonName("W", use="I")),
            ("<name use='P'><family>W</family></name>", PersonName("W", use="S")),
            ("<name use='SRCH'><family> W </family></name>", PersonName("W")),
            ("<name><family>de</family><family>la Tour</family></name>", PersonName("de la Tour")),
            ("<name>Lena Weber</name>", PersonName("Lena Weber")),
            ("<name><given qualifier='CL'>Leni</given><given>Helena</given><family>W</family></name>", PersonName("W", "Helena")),
            ("<name><given qualifier='CL'>Leni</given></name>", PersonName("", "Leni")),
        ],
    )  # fmt: skip
    def test_read(self, xml: str, expected: PersonName) -> None:
        assert names(xml) == (expected,)

    def test_a_birth_name_beside_the_used_one_makes_two(self) -> None:
        found = names(
            "<name><given>Lena</given><family qualifier='BR'>Huber</family><family qualifier='SP'>Weber</family></name>"
        )
        assert found == (PersonName("Weber", "Lena"), PersonName("Huber", "Lena", use="M"))

    def test_a_birth_name_alone(self) -> None:
        assert names("<name use='L'><family qualifier='BR'>Huber</family></name>") == (PersonName("Huber", use="M"),)

    @pytest.mark.parametrize(
        "xml", ["<name nullFlavor='NA'/>", "<name><family/></name>", "<name/>", "<name use='SNDX'><family>W160</family></name>"]
    )
    def test_names_that_say_nothing(self, xml: str) -> None:
        assert names(xml) == ()

    def test_the_same_name_twice_is_one(self) -> None:
        assert len(names("<name><family>W</family></name>", "<name><family>W</family></name>")) == 1


class TestAddresses:
    @pytest.mark.parametrize(
        ("xml", "expected"),
        [
            ("<addr use='H'><streetAddressLine>4 rue X</streetAddressLine><streetAddressLine>Bat. 2</streetAddressLine>"
             "<city>Orléans</city><state>45</state><postalCode>45000</postalCode><country>FRA</country></addr>",
             Address("4 rue X", "Bat. 2", "Orléans", "45", "45000", "FRA", "H")),
            ("<addr use='WP'><houseNumber>4</houseNumber><streetName>rue X</streetName><unitID>12</unitID></addr>",
             Address("4 rue X", "12", use="O")),
            ("<addr use='BAD'><city>Nowhere</city></addr>", Address(city="Nowhere", use="BA")),
            ("<addr>4 rue X, Orléans</addr>", Address("4 rue X, Orléans")),
        ],
    )  # fmt: skip
    def test_read(self, xml: str, expected: Address) -> None:
        assert read_address(element(xml)) == expected

    @pytest.mark.parametrize("xml", ["<addr nullFlavor='UNK'/>", "<addr use='H'><city/></addr>"])
    def test_addresses_that_say_nothing(self, xml: str) -> None:
        assert read_address(element(xml)) is None


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("<t value='tel:+33(0)2-38;ext=1' use='HP'/>", ("telephone", "+33(0)2-38;ext=1")),
        ("<t value='tel:02%2038' use='WP'/>", ("work", "02 38")),
        ("<t value='02 38 00' use='MC'/>", ("telephone", "02 38 00")),
        ("<t value='mailto:a%40b@c.de'/>", ("email", "a@b@c.de")),
        ("<t value='a@b.de'/>", ("email", "a@b.de")),
        ("<t value='fax:02'/>", ("", "02")),
        ("<t value='http://x'/>", ("", "//x")),
        ("<t value='tel:'/>", ("", "")),
        ("<t nullFlavor='UNK'/>", ("", "")),
    ],
)
def test_telecommunication(xml: str, expected: tuple[str, str]) -> None:
    assert read_telecom(element(xml)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1962", "1962"),
        ("196203", "196203"),
        ("19620314", "19620314"),
        ("196203141530", "196203141530"),
        ("19620314153000.123+0100", "19620314153000"),
        ("19620314+0100", "19620314"),
        ("19620300", "196203"),
        ("19620000", "1962"),
        ("196200", "1962"),
        ("19621399", None),
        ("196", None),
        ("", None),
        ("1962-03-14", None),
    ],
)
def test_times(text: str, expected: str | None) -> None:
    assert read_date(text) == expected


class TestPerson:
    def test_everything(self) -> None:
        person = element(
            "<patientPerson><name use='L'><family>W</family></name><telecom value='tel:1' use='HP'/>"
            "<telecom value='tel:2' use='WP'/><telecom value='mailto:w@x.de'/><administrativeGenderCode code='UN'/>"
            "<birthTime value='19900415'/><deceasedInd value='true'/><deceasedTime value='2020'/><multipleBirthInd value='1'/>"
            "<multipleBirthOrderNumber value='2'/><addr><city>X</city></addr><maritalStatusCode code='M'/>"
            "<religiousAffiliationCode code='1022'/><personalRelationship><code code='MTH'/><relationshipHolder1>"
            "<name><family>Huber</family><family qualifier='BR'>Maier</family></name></relationshipHolder1>"
            "</personalRelationship><birthPlace><birthplace><name>Chicago</name></birthplace></birthPlace><languageCommunication>"
            "<languageCode code='de'/></languageCommunication><languageCommunication><languageCode code='fr'/>"
            "<preferenceInd value='true'/></languageCommunication></patientPerson>"
        )
        assert read_demographics(person) == (
            Demographics(
                names=(PersonName("W", use="L"),),
                birth_date="19900415",
                sex="O",
                addresses=(Address(city="X"),),
                telephones=("1",),
                work_telephones=("2",),
                emails=("w@x.de",),
                mother_maiden_name="Maier",
                multiple_birth=True,
                birth_order=2,
                death_time="2020",
                deceased=True,
                language="fr",
                marital_status="M",
                religion="1022",
                birth_place="Chicago",
            ),
            [],
        )

    @pytest.mark.parametrize(
        ("xml", "expected"),
        [
            ("code='M'", "M"),
            ("code='f'", "F"),
            ("code='UN'", "O"),
            ("code='U'", "U"),
            ("nullFlavor='UNK'", "U"),
            ("nullFlavor='NI'", None),
        ],
    )
    def test_gender(self, xml: str, expected: str | None) -> None:
        found, details = read_demographics(element(f"<p><administrativeGenderCode {xml}/></p>"))
        assert (found.sex, details) == (expected, [])

    def test_what_is_wrong_is_told_at_its_place(self) -> None:
        person = element(
            "<patientPerson><administrativeGenderCode code='X'/><birthTime value='19621399'/><deceasedTime value='7'/>"
            "</patientPerson>"
        )
        found, details = read_demographics(person)
        assert found == Demographics()
        assert [(detail.code, detail.location) for detail in details] == [
            ("SYN102", "/r/patientPerson/birthTime"),
            ("SYN103", "/r/patientPerson/administrativeGenderCode"),
            ("SYN102", "/r/patientPerson/deceasedTime"),
        ]

    def test_nobody(self) -> None:
        assert read_demographics(None) == (Demographics(), [])


class TestIdentifiers:
    def ids(self, xml: str) -> list[PatientIdentifier | Detail]:
        return [found for _, found in read_patient_ids(element(f"<patient>{xml}</patient>"))]

    def test_of_every_role(self) -> None:
        found = self.ids(
            "<id root='1.2.3' extension='1' assigningAuthorityName='HOSP_A'/><id nullFlavor='NI'/><id extension='2' "
            "assigningAuthorityName='X'/><patientPerson><id root='9.9' extension='no role'/>"
            "<asCitizen><id root='HOSP-9' extension='C'/></asCitizen><asOtherIDs><id root='1.2.4' extension='3'/>"
            "<id extension='4'/><scopingOrganization><id root='1.2.5'/></scopingOrganization></asOtherIDs></patientPerson>"
        )
        assert found == [
            PatientIdentifier("1", A),
            PatientIdentifier("2", AssigningAuthority("X")),
            PatientIdentifier("3", AssigningAuthority(oid="1.2.4")),
            PatientIdentifier("4", AssigningAuthority(oid="1.2.5")),
            PatientIdentifier("C", AssigningAuthority("HOSP-9")),
        ]

    @pytest.mark.parametrize(
        ("xml", "code"),
        [
            ("<id root='1.2.3'/>", "SYN101"),
            ("<id root='1.2.3' extension='  '/>", "SYN101"),
            ("<id root='3f2504e0-4f89-11d3-9a0c-0305e82c3301' extension='1'/>", "SYN102"),
        ],
    )
    def test_that_are_none(self, xml: str, code: str) -> None:
        (found,) = self.ids(xml)
        assert isinstance(found, Detail)
        assert (found.code, found.location) == (code, "/r/patient/id")


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).map(str.strip).filter(bool)
CODES = st.from_regex(r"[A-Z0-9]{1,6}", fullmatch=True)
PERSONS = st.builds(
    Demographics,
    names=st.lists(
        st.builds(
            PersonName, WORDS, WORDS, suffix=WORDS, prefix=WORDS, use=st.sampled_from([None, "L", "I", "T", "A", "S", "M"])
        ),
        max_size=3,
        unique=True,
    ).map(tuple),
    birth_date=st.none() | st.dates().map(lambda day: f"{day.year:04}{day.month:02}{day.day:02}"),
    sex=st.sampled_from([None, "M", "F", "O", "U"]),
    addresses=st.lists(
        st.builds(Address, WORDS, WORDS, WORDS, WORDS, WORDS, WORDS, st.sampled_from([None, "H", "O", "C", "M", "BA"])),
        max_size=2,
    ).map(tuple),
    telephones=st.lists(WORDS.filter(lambda text: "@" not in text), max_size=2).map(tuple),
    work_telephones=st.lists(WORDS, max_size=1).map(tuple),
    emails=st.lists(WORDS, max_size=1).map(tuple),
    mother_maiden_name=WORDS,
    mother_given_name=st.none() | WORDS,
    mother_identifiers=st.lists(
        st.builds(PatientIdentifier, WORDS, st.just(AssigningAuthority("HOSP", "1.2.3"))), max_size=2
    ).map(tuple),
    national_identifiers=st.just((PatientIdentifier("100-09-1234", AssigningAuthority(oid=US_SOCIAL_SECURITY)),)),
    multiple_birth=st.none() | st.booleans(),
    birth_order=st.none() | st.integers(1, 999),
    death_time=st.none() | st.just("20200101"),
    deceased=st.none() | st.booleans(),
    language=st.none() | CODES,
    marital_status=st.none() | CODES,
    religion=st.none() | CODES,
    birth_place=st.none() | WORDS,
)


@settings(deadline=None, max_examples=60)
@given(person=PERSONS, values=st.lists(WORDS, min_size=1, max_size=3, unique=True))
def test_what_is_written_is_read_again(person: Demographics, values: list[str]) -> None:
    domains = [A, AssigningAuthority(oid="1.2.4"), AssigningAuthority("NAMED")]
    feed = IdentityFeed(
        FeedKind.ADD,
        "2.9|2.8",
        "2.7^9",
        tuple(PatientIdentifier(value, domains[number]) for number, value in enumerate(values)),
        person,
        destination="CITY|XDS",
        event_type=IDENTITY_FEED_V3,
    )
    transmission = Transmission("", InstanceIdentifier("2.7", "9"), "P", party_of(feed.source), party_of(feed.destination))
    root = parse(write_feed(feed, transmission, now=NOW))
    assert root.tag == TRANSACTION.body
    assert schema_errors(root, "hl7v3.xsd") == []
    received = read_feed(root)
    assert received.details == ()
    assert received.feed == feed


def test_characters_that_xml_cannot_carry_are_left_out(shared: Path) -> None:
    """HL7 v2 and FHIR let them in."""
    person = Demographics(
        names=(PersonName("Le\x0bfèvre\ufffe", "\ud800Zoé"),), marital_status="Never married", telephones=("02 38",)
    )
    feed = IdentityFeed(FeedKind.REVISE, "HOSP_A|ADT", "", (PatientIdentifier("A\x01-1", A),), person)

    root = parse(
        write_feed(feed, Transmission("", InstanceIdentifier("2.7"), "P", party_of("2.1|2.2"), party_of("2.3|2.4")), now=NOW)
    )
    assert official_errors(shared, root) == []
    found = read_feed(root).feed
    assert found is not None
    assert found.demographics.names == (PersonName("Lefèvre", "Zoé"),)
    assert found.identifiers == (PatientIdentifier("A-1", A),)
