"""Who and what is in the demo region, as data. Every person is invented; the OIDs are below 2.999, the arc for examples."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.metadata import Code
from xds.model.patient import Address, Demographics, PersonName

_NAMESPACE = uuid.UUID("8b0cf5a4-58a4-4f53-9d0e-3f2f4c1a7e11")


def uid_of(name: str) -> str:
    """The OID of something in the region: the same for the same name, on every machine."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"


@dataclass(frozen=True, slots=True)
class Establishment:
    """A place of care that issues patient identifiers. `ae_title` is that of its modality or PACS."""

    key: str
    namespace: str
    oid: str
    name: str
    application: str
    ae_title: str
    facility_type: Code

    @property
    def authority(self) -> AssigningAuthority:
        return AssigningAuthority(self.namespace, self.oid)


_FACILITIES = "2.999.100"
ESTABLISHMENTS: Mapping[str, Establishment] = {
    item.key: item
    for item in (
        Establishment(
            "A", "HOSP_A", "2.999.10", "Hôpital des Deux-Rives", "ADT", "HOSP_A_PACS", Code("HOSP", _FACILITIES, "Hospital")
        ),
        Establishment(
            "B",
            "CLINIC_B",
            "2.999.20",
            "Clinique du Parc",
            "GESPAT",
            "CLINIC_B_PACS",
            Code("CLIN", _FACILITIES, "Clinic"),
        ),
        Establishment(
            "C", "IMAGING_C", "2.999.30", "Imagerie de la Gare", "RIS", "IMAGING_C_MR", Code("IMG", _FACILITIES, "Imaging centre")
        ),
        Establishment(
            "D", "GP_D", "2.999.40", "Cabinet médical du Pont", "EHR", "GP_D_ECG", Code("GP", _FACILITIES, "General practice")
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Person:
    """A human being. `birth_name` is set for those who use a married name."""

    family: str
    given: str
    birth_date: str
    sex: str
    street: str
    postal_code: str
    city: str
    telephone: str
    birth_name: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """How one establishment wrote a person differently from the others; None where it did not."""

    family: str | None = None
    given: str | None = None
    birth_date: str | None = None
    street: str | None = None
    birth_name: str | None = None


@dataclass(frozen=True, slots=True)
class Patient:
    """A person, the establishments that know her (in the order of registration), and how they wrote her."""

    person: Person
    known_in: str
    variants: Mapping[str, Variant] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Registration:
    """One local identity: what an establishment's feed announces."""

    establishment: Establishment
    identifier: PatientIdentifier
    demographics: Demographics

    @property
    def name(self) -> PersonName:
        return self.demographics.names[0]

    @property
    def dicom_name(self) -> str:
        """PN: family name, caret, given name."""
        return f"{self.name.family}^{self.name.given}"


def _patient(known_in: str, facts: str, **variants: Variant) -> Patient:
    return Patient(Person(*facts.split("|")), known_in, variants)


#: The position in this list is the patient's number: the local identifiers are made of it.
PATIENTS: tuple[Patient, ...] = (
    _patient("ABC", "Lambert|Éléonore|19581104|F|12 rue Torte|67100|Rivemont|+33388100101", B=Variant(given="Eleonore")),
    _patient("AC", "Müller|Jean-Pierre|19470212|M|3 quai du Moulin|67100|Rivemont|+33388100102", C=Variant("Mueller", "Jean")),
    _patient(
        "ABD",
        "Dubreuil|Camille|19830630|F|8 allée des Tilleuls|67110|Hauterive|+33388100103|Fontaine",
        D=Variant(family="Fontaine", birth_name=""),
    ),
    _patient("AB", "Kowalczyk|Stanisław|19390817|M|41 rue de la Forge|67100|Rivemont|+33388100104", B=Variant(given="Stanislaw")),
    _patient("CD", "N'Diaye|Aminata|19910325|F|17 place du Marché|67120|Pontclair|+33388100105", C=Variant(family="Ndiaye")),
    _patient("A", "Martin|Paul|19520914|M|5 rue Basse|67100|Rivemont|+33388100106"),
    _patient("A", "Martin|Paul|19790914|M|5 rue Basse|67100|Rivemont|+33388100107"),
    _patient("AC", "Roussel|Louise|20160508|F|22 rue des Écoles|67110|Hauterive|+33388100108"),
    _patient("AC", "Roussel|Alice|20160508|F|22 rue des Écoles|67110|Hauterive|+33388100108"),
    _patient("ABCD", "Schneider|Véronique|19660119|F|9 chemin du Bac|67130|Lorival|+33388100109|Weiss"),
    _patient("AD", "García|José María|19441201|M|2 rue du Puits|67100|Rivemont|+33388100110", D=Variant("Garcia", "José-Maria")),
    _patient("BC", "Lefèvre|Nathalie|19710707|F|30 avenue du Stade|67120|Pontclair|+33388100111", C=Variant(family="Lefebvre")),
    _patient("AB", "Haddad|Karim|19880229|M|14 rue du Canal|67100|Rivemont|+33388100112", B=Variant(birth_date="19880228")),
    _patient("A", "Perrin|Nouveau-né|20260918|F|6 rue du Lavoir|67110|Hauterive|+33388100113"),
    _patient("AC", "O'Brien|Siobhán|19750603|F|1 rue du Port|67130|Lorival|+33388100114", C=Variant("OBrien", "Siobhan")),
    _patient("CD", "Vasseur|Thierry|19631015|M|19 route Neuve|67120|Pontclair|+33388100115", D=Variant(street="19 rte Neuve")),
    _patient("AB", "Nguyen|Thi Mai|19960222|F|27 rue Neuve|67100|Rivemont|+33388100116", B=Variant(given="Mai")),
    _patient("A", "Blanchard|Émile|19310405|M|Résidence Les Saules|67110|Hauterive|+33388100117"),
    _patient("BC", "Ferreira da Silva|Ana|19850811|F|4 rue des Vignes|67130|Lorival|+33388100118", B=Variant(family="Ferreira")),
    _patient("AD", "Zimmermann|Hélène|19490228|F|11 rue de l'Église|67120|Pontclair|+33388100119|Klein"),
    _patient("C", "Charpentier|Olivier|19780417|M|7 rue des Jardins|67100|Rivemont|+33388100120"),
    _patient("AC", "Besson|Marguerite|19361122|F|15 rue Haute|67110|Hauterive|+33388100121", C=Variant(birth_date="19361112")),
    _patient("AB", "Öztürk|Mehmet|19690909|M|33 rue de la Gare|67100|Rivemont|+33388100122", B=Variant(family="Ozturk")),
    _patient("B", "Moreau|Inès|20020614|F|10 rue du Parc|67130|Lorival|+33388100123"),
    _patient("BD", "Girard|Christophe|19580126|M|21 rue des Remparts|67120|Pontclair|+33388100124"),
    _patient("AC", "Dupont|Marie|19740310|F|6 rue Verte|67100|Rivemont|+33388100125"),
    _patient("BC", "Dupont|Marie|19820310|F|18 rue Bleue|67110|Hauterive|+33388100126"),
    _patient("A", "Rey|Anatole|19280720|M|2 place de la Mairie|67130|Lorival|+33388100127"),
    _patient(
        "AD",
        "Petit|Sophie|19930505|F|26 rue du Moulin|67120|Lorival|+33388100128|Grand",
        D=Variant(family="Petit", birth_name=""),
    ),
    _patient("AC", "Bianchi|Giulia|20110818|F|13 rue des Lilas|67100|Rivemont|+33388100129"),
    _patient("AB", "Carpentier|Luc|19551230|M|44 grand-rue|67110|Hauterive|+33388100130", B=Variant(given="Lucien")),
    _patient("C", "Simon|Jacqueline|19430916|F|3 rue du Four|67130|Lorival|+33388100131"),
    _patient("D", "Meyer|Antoine|19870421|M|16 rue des Prés|67120|Pontclair|+33388100132"),
    _patient("ABC", "Rakotomalala|Hanitra|19800108|F|5 rue du Lac|67100|Rivemont|+33388100133", C=Variant(given="Hanitriniaina")),
    _patient("A", "Colin|Frédéric|19680627|M|20 rue des Acacias|67110|Hauterive|+33388100134"),
    _patient("B", "Andersen|Freja|19991003|F|8 rue du Nord|67130|Lorival|+33388100135"),
    _patient("AD", "Lopez|Michel|19600214|M|31 rue du Sud|67120|Pontclair|+33388100136"),
    _patient("C", "Marchand|Yvonne|19401225|F|9 rue des Roses|67100|Rivemont|+33388100137"),
    _patient("BD", "Diallo|Oumar|19720718|M|12 rue de l'Ouest|67110|Hauterive|+33388100138"),
    _patient("AC", "Leroy|Gabrielle|20080229|F|25 rue de l'Est|67130|Lorival|+33388100139"),
)

_LOCAL_IDENTIFIERS = {"A": "A{:04d}", "B": "B-{:05d}", "C": "{:07d}", "D": "D{:03d}"}


def registration(number: int, establishment: str) -> Registration:
    """The identity of patient `number` (counted from 1) in one of the establishments that know her. Errors: KeyError."""
    patient = PATIENTS[number - 1]
    if establishment not in patient.known_in:
        raise KeyError(f"patient {number} is not known in {establishment}")
    place = ESTABLISHMENTS[establishment]
    local = _LOCAL_IDENTIFIERS[establishment].format(number)
    identifier = PatientIdentifier(local, place.authority, "PI")
    return Registration(place, identifier, _demographics(patient.person, patient.variants.get(establishment, Variant())))


def registrations() -> Iterator[Registration]:
    """Every local identity, in the order in which the feeds announce them."""
    for number, patient in enumerate(PATIENTS, start=1):
        for establishment in patient.known_in:
            yield registration(number, establishment)


def _demographics(person: Person, variant: Variant) -> Demographics:
    family = person.family if variant.family is None else variant.family
    given = person.given if variant.given is None else variant.given
    birth_name = person.birth_name if variant.birth_name is None else variant.birth_name
    names = [PersonName(family, given, use="L")]
    if birth_name:
        names = [PersonName(birth_name, given, use="L"), PersonName(family, given, use="D")]
    return Demographics(
        names=tuple(names),
        birth_date=variant.birth_date or person.birth_date,
        sex=person.sex,
        addresses=(
            Address(
                street=variant.street or person.street, city=person.city, postal_code=person.postal_code, country="FRA", use="H"
            ),
        ),
        telephones=(person.telephone,),
    )


#: A duplicate record that the hospital opened by mistake and merges into the right one: (wrong local id, patient number).
DUPLICATE = ("A9001", 6)
