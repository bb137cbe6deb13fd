"""The three faces of patient identity are one: what HL7 v2, HL7 v3 and FHIR feed, each of them answers, and alike.

Spec: ITI-8/44/104 (feeds), ITI-9/45/83 (cross-references), ITI-21/47/78 (demographics).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from tests.running import RunningServer
from xds.model.demographics_query import (
    AddressPattern,
    Comparison,
    DateRange,
    DemographicsQuery,
    IdentifierPattern,
    NamePattern,
    TextPattern,
)
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Address, Demographics, FeedKind, IdentityFeed, PersonName
from xds.transactions import (
    iti08_patient_identity_feed,
    iti09_pix_query,
    iti21_patient_demographics_query,
    iti44_patient_identity_feed_v3,
    iti45_pix_v3_query,
    iti47_patient_demographics_query_v3,
    iti78_mobile_patient_demographics_query,
    iti83_mobile_pix_query,
    iti104_patient_identity_feed_fhir,
)
from xds.transactions.fhir_service import FhirAnswer

AFFINITY = "2.999.50"
DOMAINS = {name: f"2.999.51.{number}" for number, name in enumerate(("HOSP_A", "HOSP_B", "HOSP_C"), 1)}
CONFIGURATION = f'[domain]\nassigning_authority = "{AFFINITY}"\n' + "".join(
    f'[[identity.domains]]\nname = "{name}"\noid = "{oid}"\n' for name, oid in DOMAINS.items()
)
UNKNOWN = AssigningAuthority(oid="2.999.99")

#: (OID, value) of identifiers.
Keys = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """What a face answered, without its wire form: `found`, `nothing` or `refused`, and whom."""

    outcome: str
    identifiers: Keys = frozenset()
    patients: frozenset[tuple[Any, ...]] = frozenset()


class Face(Protocol):
    """One wire form of patient identity."""

    def feed(self, feed: IdentityFeed) -> bool:
        """Feed; True when it was accepted."""

    def cross_reference(self, identifier: PatientIdentifier, domains: Sequence[AssigningAuthority]) -> Answer:
        """A PIX query."""

    def search(self, query: DemographicsQuery) -> Answer:
        """A demographics query."""


def _keys(identifiers: Sequence[PatientIdentifier]) -> Keys:
    return frozenset((item.authority.oid or "", item.value) for item in identifiers)


def _person(identifiers: Sequence[PatientIdentifier], known: Demographics) -> tuple[Any, ...]:
    """What every face can say of a person."""
    names = frozenset((name.family, name.given) for name in known.names if name.family or name.given)
    places = frozenset((item.street, item.city, item.postal_code) for item in known.addresses if item != Address())
    return _keys(identifiers), names, (known.birth_date or "")[:8], known.sex, places, frozenset(known.telephones)


_OUTCOMES = {"OK": "found", "NF": "nothing", "AE": "refused", "QE": "refused"}


@dataclass(frozen=True)
class Version2:
    """HL7 v2 over MLLP."""

    address: str

    def feed(self, feed: IdentityFeed) -> bool:
        return iti08_patient_identity_feed.send(feed, self.address).is_accepted

    def cross_reference(self, identifier: PatientIdentifier, domains: Sequence[AssigningAuthority]) -> Answer:
        answer = iti09_pix_query.send(identifier, domains, self.address, source="X|Y")
        return Answer(_OUTCOMES[answer.status], _keys(answer.identifiers))

    def search(self, query: DemographicsQuery) -> Answer:
        answer = iti21_patient_demographics_query.send(query, self.address, source="X|Y")
        found = frozenset(_person(item.identifiers, item.demographics) for item in answer.patients)
        return Answer(_OUTCOMES[answer.status], patients=found)


@dataclass(frozen=True)
class Version3:
    """HL7 v3 over SOAP."""

    base: str

    def feed(self, feed: IdentityFeed) -> bool:
        return iti44_patient_identity_feed_v3.send(feed, endpoint=f"{self.base}/services/pix-manager").is_accepted

    def cross_reference(self, identifier: PatientIdentifier, domains: Sequence[AssigningAuthority]) -> Answer:
        endpoint = f"{self.base}/services/pix-manager"
        answer = iti45_pix_v3_query.send(identifier, domains, endpoint=endpoint, source="2.999.8|2.999.9", destination="|2.999.7")
        return Answer(_OUTCOMES[answer.status], _keys(answer.identifiers))

    def search(self, query: DemographicsQuery) -> Answer:
        endpoint = f"{self.base}/services/pdq-supplier"
        answer = iti47_patient_demographics_query_v3.send(
            query, endpoint=endpoint, source="2.999.8|2.999.9", destination="|2.999.7"
        )
        found = frozenset(_person(item.identifiers, item.demographics) for item in answer.matches)
        return Answer(_OUTCOMES[answer.status], patients=found)


@dataclass(frozen=True)
class Fhir:
    """FHIR R4 over HTTP. Resources are written and read here, by hand."""

    base: str

    def feed(self, feed: IdentityFeed) -> bool:
        known = feed.demographics
        own = (feed.subsumed or feed.identifiers)[0]
        patient: dict[str, Any] = {
            "resourceType": "Patient",
            "identifier": [_identifier(item) for item in (feed.subsumed or feed.identifiers)],
            "active": not feed.subsumed,
            "name": [{"use": "official", "family": name.family, "given": [name.given]} for name in known.names],
            "telecom": [{"system": "phone", "value": item, "use": "home"} for item in known.telephones],
            "gender": {"F": "female", "M": "male"}.get(known.sex or "", "unknown"),
            "birthDate": "-".join(((known.birth_date or "")[:4], (known.birth_date or "")[4:6], (known.birth_date or "")[6:8])),
            "address": [
                {"use": "home", "line": [item.street], "city": item.city, "postalCode": item.postal_code}
                for item in known.addresses
            ],
        }
        if feed.subsumed:
            patient["link"] = [{"other": {"identifier": _identifier(feed.identifiers[0])}, "type": "replaced-by"}]
        sent = iti104_patient_identity_feed_fhir.send(patient, (f"urn:oid:{own.authority.oid}", own.value), f"{self.base}/fhir")
        return sent.is_success

    def cross_reference(self, identifier: PatientIdentifier, domains: Sequence[AssigningAuthority]) -> Answer:
        targets = [f"urn:oid:{item.oid}" for item in domains]
        source = (f"urn:oid:{identifier.authority.oid}", identifier.value)
        answer = iti83_mobile_pix_query.send(source, targets, f"{self.base}/fhir")
        parameters = (answer.resource or {}).get("parameter", ())
        found = [item["valueIdentifier"] for item in parameters if item["name"] == "targetIdentifier"]
        return Answer(_outcome(answer, bool(found)), frozenset((item["system"][8:], item["value"]) for item in found))

    def search(self, query: DemographicsQuery) -> Answer:
        answer = iti78_mobile_patient_demographics_query.send(list(_parameters(query)), f"{self.base}/fhir")
        people = [entry["resource"] for entry in (answer.resource or {}).get("entry", ()) if "resource" in entry]
        found = frozenset(_described(item) for item in people if item["resourceType"] == "Patient")
        return Answer(_outcome(answer, bool(found)), patients=found)


def _identifier(item: PatientIdentifier) -> dict[str, str]:
    return {"system": f"urn:oid:{item.authority.oid}", "value": item.value}


def _outcome(answer: FhirAnswer, found: bool) -> str:
    return ("found" if found else "nothing") if answer.is_success else "refused"


def _parameters(query: DemographicsQuery) -> Iterator[tuple[str, str]]:
    modifiers = {Comparison.EXACT: ":exact", Comparison.PREFIX: "", Comparison.CONTAINS: ":contains"}
    for (name,) in query.names:
        for parameter, text in (("family", name.family), ("given", name.given)):
            if text:
                # The asterisk of HL7 v2 at the end of a name is the usual search of FHIR.
                is_prefix = text.comparison is Comparison.WILDCARD
                yield parameter + ("" if is_prefix else modifiers[text.comparison]), text.value.rstrip("*")
    for days in query.birth_dates:
        yield "birthdate", "-".join(((days.low or "")[:4], (days.low or "")[4:6], (days.low or "")[6:]))
    for sex in query.sexes:
        yield "gender", {"F": "female", "M": "male"}[sex]
    for (place,) in query.addresses:
        if place.city:
            yield "address-city:exact", place.city.value
    for (identifier,) in query.identifiers:
        yield "identifier", f"urn:oid:{identifier.authority.oid if identifier.authority else ''}|{identifier.value}"
    if query.domains:
        yield "identifier", ",".join(f"urn:oid:{item.oid}|" for item in query.domains)


def _described(patient: dict[str, Any]) -> tuple[Any, ...]:
    names = frozenset((item.get("family", ""), item.get("given", [""])[0]) for item in patient.get("name", ()))
    places = frozenset(
        (item.get("line", [""])[0], item.get("city", ""), item.get("postalCode", "")) for item in patient.get("address", ())
    )
    identifiers = frozenset((item["system"][8:], item["value"]) for item in patient["identifier"])
    phones = frozenset(item["value"] for item in patient.get("telecom", ()) if item["system"] == "phone")
    sex = {"female": "F", "male": "M", "unknown": "U"}.get(patient.get("gender", ""))
    return identifiers, names, patient.get("birthDate", "").replace("-", ""), sex, places, phones


FACES = ("v2", "v3", "fhir")
#: One person for each face that feeds, all of them different.
PEOPLE = {
    "v2": Demographics(
        (PersonName("Lefèvre", "Marie", use="L"),),
        "19620314",
        "F",
        (Address("4 rue des Lilas", "", "Orléans", "", "45000", use="H"),),
        ("0238000001",),
    ),
    "v3": Demographics(
        (PersonName("Kowalczyk", "Étienne", use="L"),),
        "19881130",
        "M",
        (Address("8 quai Sud", "", "Mâcon", "", "71000", use="H"),),
        ("0385000002",),
    ),
    "fhir": Demographics(
        (PersonName("Nguyen", "Thanh-Mai", use="L"),),
        "20010607",
        "F",
        (Address("1 place Bellecour", "", "Lyon", "", "69002", use="H"),),
        ("0478000003",),
    ),
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Face]]:
    """A server to which each face has fed its person in two hospitals, and merged a duplicate away."""
    directory = tmp_path_factory.mktemp("equivalence")
    config = directory / "xds.toml"
    config.write_text(CONFIGURATION)
    with RunningServer(directory / "data", config=config) as server:
        found: dict[str, Face] = {"v2": Version2(server.mllp), "v3": Version3(server.http), "fhir": Fhir(server.http)}
        for name, face in found.items():
            for hospital in ("HOSP_A", "HOSP_B"):
                assert face.feed(_feed(FeedKind.ADD, _at(hospital, f"{name}-1"), PEOPLE[name])), (name, hospital)
            assert face.feed(_feed(FeedKind.ADD, _at("HOSP_A", f"{name}-2"), PEOPLE[name]))
            merge = _feed(FeedKind.MERGE, _at("HOSP_A", f"{name}-1"), PEOPLE[name], (_at("HOSP_A", f"{name}-2"),))
            assert face.feed(merge)
        yield found


def _at(hospital: str, value: str) -> PatientIdentifier:
    return PatientIdentifier(value, AssigningAuthority(hospital, DOMAINS[hospital]))


def _feed(
    kind: FeedKind, identifier: PatientIdentifier, known: Demographics, subsumed: tuple[PatientIdentifier, ...] = ()
) -> IdentityFeed:
    message_id = str(uuid.uuid4())
    return IdentityFeed(kind, "2.999.8|2.999.9", message_id, (identifier,), known, subsumed, destination="2.999.7|2.999.6")


def _one(answers: dict[str, Answer]) -> Answer:
    """The answer that all faces gave."""
    assert len(set(answers.values())) == 1, answers
    return answers["v2"]


@pytest.mark.parametrize("fed", FACES)
def test_cross_references(faces: dict[str, Face], fed: str) -> None:
    source = _at("HOSP_A", f"{fed}-1")
    hospital_b = AssigningAuthority(oid=DOMAINS["HOSP_B"])
    answer = _one({name: face.cross_reference(source, (hospital_b,)) for name, face in faces.items()})
    assert answer == Answer("found", frozenset({(DOMAINS["HOSP_B"], f"{fed}-1")}))
    everything = _one({name: face.cross_reference(source, ()) for name, face in faces.items()})
    assert {oid for oid, _ in everything.identifiers} == {AFFINITY, DOMAINS["HOSP_B"]}
    own = _one({name: face.cross_reference(source, (AssigningAuthority(oid=DOMAINS["HOSP_C"]),)) for name, face in faces.items()})
    assert own == Answer("nothing")


def test_refused_cross_references(faces: dict[str, Face]) -> None:
    """An identifier that a merge took away is as unknown as one that never was."""
    cases = (
        (_at("HOSP_A", "nobody"), ()),
        *((_at("HOSP_A", f"{fed}-2"), (AssigningAuthority(oid=DOMAINS["HOSP_B"]),)) for fed in FACES),
        (PatientIdentifier("1", UNKNOWN), ()),
        (_at("HOSP_A", "v2-1"), (UNKNOWN,)),
        (PatientIdentifier("1", UNKNOWN), (UNKNOWN, AssigningAuthority(oid=DOMAINS["HOSP_B"]))),
    )
    for identifier, domains in cases:
        answer = _one({name: face.cross_reference(identifier, domains) for name, face in faces.items()})
        assert answer == Answer("refused"), identifier


def _exact(text: str) -> TextPattern:
    return TextPattern(text, Comparison.EXACT)


def _queries(fed: str) -> Iterator[DemographicsQuery]:
    """Questions that one person answers."""
    known = PEOPLE[fed]
    family = NamePattern(family=_exact(known.names[0].family))
    day = DateRange(known.birth_date, known.birth_date)
    yield DemographicsQuery(names=((family,),))
    yield DemographicsQuery(names=((family,),), birth_dates=(day,))
    yield DemographicsQuery(names=((family,),), sexes=(known.sex or "",))
    yield DemographicsQuery(names=((NamePattern(family=family.family, given=_exact(known.names[0].given)),),), birth_dates=(day,))
    yield DemographicsQuery(birth_dates=(day,))
    yield DemographicsQuery(identifiers=((IdentifierPattern(f"{fed}-1", AssigningAuthority(oid=DOMAINS["HOSP_B"])),),))
    yield DemographicsQuery(names=((family,),), addresses=((AddressPattern(city=_exact(known.addresses[0].city)),),))
    yield DemographicsQuery(names=((family,),), domains=(AssigningAuthority(oid=DOMAINS["HOSP_A"]),))


@pytest.mark.parametrize("fed", FACES)
def test_demographics(faces: dict[str, Face], fed: str) -> None:
    known = PEOPLE[fed]
    for query in _queries(fed):
        answer = _one({name: face.search(query) for name, face in faces.items()})
        assert answer.outcome == "found", query
        ((identifiers, names, born, sex, places, phones),) = answer.patients
        assert {value for oid, value in identifiers if oid != AFFINITY} == {f"{fed}-1"}
        assert {oid for oid, _ in identifiers} == (
            {DOMAINS["HOSP_A"]} if query.domains else {AFFINITY, DOMAINS["HOSP_A"], DOMAINS["HOSP_B"]}
        )
        assert (known.names[0].family, known.names[0].given) in names
        assert (born, sex) == (known.birth_date, known.sex)
        assert (known.addresses[0].street, known.addresses[0].city, known.addresses[0].postal_code) in places
        assert phones == set(known.telephones)


def test_demographics_of_nobody(faces: dict[str, Face]) -> None:
    nobody = NamePattern(family=_exact("Zzyzx"))
    somebody = NamePattern(family=_exact("Nguyen"))
    cases = (
        (DemographicsQuery(names=((nobody,),)), "nothing"),
        (DemographicsQuery(names=((somebody,),), birth_dates=(DateRange("19000101", "19000101"),)), "nothing"),
        (DemographicsQuery(names=((somebody,),), domains=(UNKNOWN,)), "refused"),
        (DemographicsQuery(sexes=("F",)), "refused"),
    )
    for query, outcome in cases:
        answers = {name: face.search(query) for name, face in faces.items()}
        assert _one(answers) == Answer(outcome), query


def test_unknown_domains_cannot_be_fed(faces: dict[str, Face]) -> None:
    feed = _feed(FeedKind.ADD, PatientIdentifier("1", UNKNOWN), PEOPLE["v2"])
    assert {name: face.feed(feed) for name, face in faces.items()} == dict.fromkeys(FACES, False)
