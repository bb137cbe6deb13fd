"""Pairs of records that somebody who keeps a patient register judged before any rule did: one person, a doubt, or two people."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.linkage.people import identified
from xds.model.patient import Address, Demographics, PersonName
from xds.rules.linkage import DEFAULT_WEIGHTS, Member, Register, decide, traits

_FAMILIES = {
    "MARTIN": 700,
    "PAYET": 2000,
    "NGUYEN": 900,
    "DIALLO": 500,
    "DASILVA": 800,
    "BENALI": 300,
    "ALI": 400,
    "SAID": 400,
    "KONE": 300,
}
_GIVENS = {
    "MARIE": 6000,
    "JEAN": 4000,
    "MOHAMED": 2500,
    "FATOUMATA": 500,
    "MAMADOU": 500,
    "CAMILLE": 900,
    "KARIM": 400,
    "LINA": 300,
    "MARIAM": 500,
}
_PLACES = {"97400": 20_000, "97600": 9000, "75013": 8000}
REGISTER = Register(
    200_000,
    {
        (kind, name): count
        for kind, names in (("family", _FAMILIES), ("given", _GIVENS), ("place", _PLACES))
        for name, count in names.items()
    },
)
HOME = Address(street="12 rue des Filaos", city="Saint-Denis", postal_code="97400")
AWAY = Address(street="7 impasse Kaweni", city="Mamoudzou", postal_code="97600")
OLD_AGE = Address(street="EHPAD Les Flamboyants", city="Saint-Denis", postal_code="97400")
PRISON = Address(street="Centre pénitentiaire, rue de Domenjod", city="Saint-Denis", postal_code="97400")
HOSPITAL = Address(street="CHU, allée des Topazes", city="Saint-Denis", postal_code="97400")
BORN_IN_PARIS = Address(city="Paris 13e", postal_code="75113", use="BDL")
ONE_NUMBER = ("0692 11 22 33",)
LINK, DOUBT, TWO = frozenset({"link"}), frozenset({"review"}), frozenset({"review", "nothing"})
UNLIKE, FOUND = frozenset({"nothing"}), frozenset({"link", "review"})


def who(
    family: str, given: str, born: str | None, sex: str | None, *addresses: Address, further: str = "", **more: Any
) -> Demographics:
    """Somebody."""
    more["telephones"] = more.pop("tel", ())
    return Demographics((PersonName(family, given, further, use="L"),), born, sex, addresses or (HOME,), **more)


def names(first: Demographics, *others: PersonName) -> Demographics:
    """Somebody with further names."""
    return Demographics((*first.names, *others), first.birth_date, first.sex, first.addresses, first.telephones)


ONE_PERSON = {
    "particle joined": (who("Le Goff", "Yann", "19710412", "M"), who("LEGOFF", "YANN", "19710412", "M"), LINK),
    "UTF-8 as Latin-1": (who("Guérin", "Zoé", "19880203", "F"), who("GUÃ\x89RIN", "ZOÃ\x89", "19880203", "F"), LINK),
    "birth and used name in one field": (
        names(who("Martin", "Christine", "19600914", "F"), PersonName("Durand", "Christine", use="D")),
        who("MARTIN EP DURAND", "CHRISTINE", "19600914", "F", AWAY),
        LINK,
    ),
    "used name before the name of birth": (
        who("DURAND NEE MARTIN", "CHRISTINE", "19600914", "F", AWAY, tel=ONE_NUMBER),
        who("Martin", "Christine", "19600914", "F", tel=ONE_NUMBER),
        LINK,
    ),
    "given names cut off": (
        who("Boyer", "Marie Catherine Dominique", "19550302", "F"),
        who("BOYER", "MARIE CATHERINE DOMI", "19550302", "F"),
        LINK,
    ),
    "fields exchanged": (
        who("DIALLO", "MAMADOU", "19870619", "M", tel=ONE_NUMBER),
        who("MAMADOU", "DIALLO", "19870619", "M", tel=ONE_NUMBER),
        LINK,
    ),
    "middle name left out": (who("NGUYEN", "THI THU HUONG", "19820717", "F"), who("Nguyen", "Thu Huong", "19820717", "F"), LINK),
    "middle name in the family field": (
        who("NGUYEN VAN", "TUAN", "19790430", "M"),
        who("NGUYEN", "VAN TUAN", "19790430", "M"),
        LINK,
    ),
    "apostrophe": (
        who("N'Diaye", "Awa", "19930811", "F", tel=ONE_NUMBER),
        who("NDIAYE", "AWA", "19930811", "F", AWAY, tel=ONE_NUMBER),
        LINK,
    ),
    "saint": (who("Saint-Aimé", "Lucette", "19490511", "F"), who("ST AIME", "LUCETTE", "19490511", "F"), LINK),
    "article joined": (who("El Amrani", "Youssef", "19900322", "M"), who("ELAMRANI", "YOUSSEF", "19900322", "M", AWAY), LINK),
    "servant of the powerful": (who("Ziani", "Abd El Kader", "19580207", "M"), who("ZIANI", "ABDELKADER", "19580207", "M"), LINK),
    "second family name left out": (
        who("Da Silva Ferreira", "Maria de Fátima", "19630713", "F"),
        who("DA SILVA", "MARIA DE FATIMA", "19630713", "F"),
        LINK,
    ),
    "moved": (who("Kermarrec", "Gwenaëlle", "19840928", "F"), who("KERMARREC", "GWENAELLE", "19840928", "F", AWAY), LINK),
    "place of birth on one side": (
        who("Urruty", "Maialen", "19910605", "F", HOME, BORN_IN_PARIS),
        who("URRUTY", "MAIALEN", "19910605", "F"),
        LINK,
    ),
    "letters of another alphabet": (who("Yılmaz", "Ayşe", "19760130", "F"), who("YILMAZ", "AYSE", "19760130", "F"), LINK),
    "ligature": (who("Lebœuf", "Hervé", "19690817", "M"), who("LEBOEUF", "HERVE", "19690817", "M"), LINK),
    "misheard family name": (who("Rosemond", "Ginette", "19540618", "F"), who("ROSENOND", "GINETTE", "19540618", "F"), LINK),
    "day and month": (
        who("Virapin", "Kavitha", "19950411", "F", tel=ONE_NUMBER),
        who("VIRAPIN", "KAVITHA", "19951104", "F", tel=ONE_NUMBER),
        LINK,
    ),
    "qualified identifier": (
        identified(who("Hoarau", "Stessy", "19920227", "F"), "2920297411001", "QUAL"),
        identified(who("GRONDIN", "STESSY", "19920227", "F", AWAY), "2920297411001", "QUAL"),
        LINK,
    ),
    "title": (who("MME PAYET", "MARIE-ROSE", "19470308", "F"), who("Payet", "Marie Rose", "19470308", "F"), LINK),
    "deceased": (who("HOARAU (DCD)", "EXPEDIT", "19380903", "M"), who("Hoarau", "Expédit", "19380903", "M"), LINK),
    "man's and woman's form": (
        who("KOWALSKA", "AGNIESZKA", "19800116", "F"),
        who("Kowalski", "Agnieszka", "19800116", "F"),
        LINK,
    ),
    "home for the old, all the same": (
        who("Técher", "Léonie", "19340219", "F", OLD_AGE),
        who("TECHER", "LEONIE", "19340219", "F", OLD_AGE),
        LINK,
    ),
    "newborn of a named mother": (
        who("Abdou", "BEBE DE FATIMA", "20260110", "F", AWAY, tel=ONE_NUMBER),
        who("ABDOU", "INES", "20260110", "F", AWAY, tel=ONE_NUMBER),
        FOUND,
    ),
    "daughter of a named mother": (
        who("Abdou", "FILLE DE FATIMA", "20260110", "F", AWAY, tel=ONE_NUMBER),
        who("ABDOU", "INES", "20260110", "F", AWAY, tel=ONE_NUMBER),
        FOUND,
    ),
}
IN_DOUBT = {
    "composed or two": (who("Payet", "Jean", "19800503", "M"), who("PAYET", "JEAN PAUL", "19800503", "M"), DOUBT),
    "alike and both known": (who("Boyer", "Lina", "20120924", "F"), who("BOYER", "LENA", "20120924", "F"), DOUBT),
    "no date": (who("Martin", "Marie", "19720818", "F"), who("MARTIN", "MARIE", None, "F"), DOUBT),
    "no date, rare name": (who("Quéméneur", "Rozenn", "19720818", "F"), who("QUEMENEUR", "ROZENN", None, "F"), FOUND),
    "fathers' names, both ways": (
        who("SAID", "ALI", "19800101", "M"),
        who("ALI", "SAID", "19800101", "M", AWAY),
        TWO,
    ),
    "first of January": (who("DIALLO", "MAMADOU", "19850101", "M"), who("DIALLO", "MAMADOU", "19850101", "M", AWAY), TWO),
    "ten years": (who("Martin", "Jean", "19500214", "M"), who("MARTIN", "JEAN", "19600214", "M", AWAY), TWO),
    "other sex": (who("Martin", "Camille", "19970707", "F"), who("MARTIN", "CAMILLE", "19970707", "M", AWAY), TWO),
    "one place of birth": (
        who("KONE", "MARIAM", "19900101", "F", HOME, BORN_IN_PARIS),
        who("KONE", "MARIAM", "19900101", "F", AWAY, BORN_IN_PARIS),
        TWO,
    ),
    "short form that is a name": (who("Sow", "Amina", "20140312", "F"), who("SOW", "AMINATA", "20140312", "F"), DOUBT),
}
TWO_PEOPLE = {
    "sisters with one middle name": (who("NGUYEN", "THI MAI", "20010306", "F"), who("NGUYEN", "THI LAN", "20010306", "F"), TWO),
    "brothers with one middle name": (who("TRAN", "VAN HAI", "19770306", "M"), who("TRAN", "VAN LONG", "19770306", "M"), TWO),
    "names with of": (
        who("LOPES", "ANA DE FATIMA", "19680521", "F"),
        who("LOPES", "ROSA DE LURDES", "19680521", "F"),
        TWO,
    ),
    "two Marias": (
        who("DA COSTA", "MARIA DE FATIMA", "19680521", "F"),
        who("DA COSTA", "MARIA DA CONCEICAO", "19680521", "F"),
        TWO,
    ),
    "servants of two names": (who("BENALI", "ABDEL KADER", "19990130", "M"), who("BENALI", "ABDEL AZIZ", "19990130", "M"), TWO),
    "servants, apart": (who("BENALI", "ABD EL KADER", "19990130", "M"), who("BENALI", "ABD EL AZIZ", "19990130", "M"), TWO),
    "article before given names": (who("BENALI", "EL HASSAN", "19990130", "M"), who("BENALI", "EL MEHDI", "19990130", "M"), TWO),
    "light of two kinds": (who("SAIDI", "NOUR EL HOUDA", "20050612", "F"), who("SAIDI", "NOUR EL AIN", "20050612", "F"), TWO),
    "two Mohameds": (who("BENALI", "MOHAMED AMINE", "20110930", "M"), who("BENALI", "MOHAMED ALI", "20110930", "M"), TWO),
    "two Maries": (who("HUET", "MARIE-LOU", "20160214", "F"), who("HUET", "MARIE-LINE", "20160214", "F"), TWO),
    "father and son": (
        who("TAVARES", "JOAO", "19500312", "M", tel=ONE_NUMBER),
        who("TAVARES", "JOAO", "19780312", "M", tel=ONE_NUMBER),
        TWO,
    ),
    "tests": (who("TEST", "TEST", "19800101", "M", HOSPITAL), who("TEST", "TEST", "19800101", "M", HOSPITAL), UNLIKE),
    "tests of a name": (
        who("ZZTEST", "PIERRE", "19800101", "M", HOSPITAL),
        who("ZZTEST", "PIERRE", "19800101", "M", HOSPITAL),
        TWO,
    ),
    "so called": (
        who("X SE DISANT", "MOHAMED", "19700101", "M", HOSPITAL),
        who("X SE DISANT", "MOHAMED", "19700101", "M", HOSPITAL),
        TWO,
    ),
    "numbered unknown": (who("ANONYME 12", "", "19000101", None), who("ANONYME 12", "", "19000101", None), UNLIKE),
    "neighbours in a home": (
        who("MARTIN", "MARIE", "19350806", "F", OLD_AGE, tel=ONE_NUMBER),
        who("LAURET", "MARIE", "19350806", "F", OLD_AGE, tel=ONE_NUMBER),
        TWO,
    ),
    "prisoners": (who("BENALI", "KARIM", "19900512", "M", PRISON), who("TRAORE", "KARIM", "19900512", "M", PRISON), TWO),
    "patients without an address": (
        who("PAYET", "LUCAS", "20170512", "M", HOSPITAL),
        who("BEGUE", "LUCAS", "20170512", "M", HOSPITAL),
        TWO,
    ),
    "twins": (
        who("DIALLO", "FATOUMATA", "20130420", "F", tel=ONE_NUMBER),
        who("DIALLO", "AMINATA", "20130420", "F", tel=ONE_NUMBER),
        UNLIKE,
    ),
    "Breton twins": (who("LE GALL", "YANN", "19860211", "M"), who("LE GALL", "ERWAN", "19860211", "M"), UNLIKE),
    "twins of a pair of names": (who("FALL", "HASSAN", "20080505", "M"), who("FALL", "HUSSEIN", "20080505", "M"), TWO),
    "twins that rhyme": (who("CADET", "HANA", "20181120", "F"), who("CADET", "SANA", "20181120", "F"), TWO),
    "two qualified identifiers": (
        identified(who("GIRARD", "ELODIE", "19890423", "F"), "2890475113001", "QUAL"),
        identified(who("GIRARD", "ELODIE", "19890423", "F"), "2890475113002", "QUAL"),
        TWO,
    ),
    "number of the mother": (
        identified(who("BACAR", "ZALIA", "19850423", "F", tel=ONE_NUMBER), "2850497611001"),
        identified(who("BACAR", "NAIM", "20170302", "M", tel=ONE_NUMBER), "2850497611001"),
        TWO,
    ),
    "newborn twins": (
        who("PAYET", "BEBE 1", "20260105", "F", birth_order=1),
        who("PAYET", "BEBE 2", "20260105", "F", birth_order=2),
        UNLIKE,
    ),
    "newborns of two mothers": (
        who("PAYET", "NOUVEAU NE", "20260105", "F", HOSPITAL),
        who("PAYET", "NOUVEAU NE", "20260105", "F", HOSPITAL),
        TWO,
    ),
    "newborns of two named mothers": (
        who("PAYET", "BEBE DE LAETITIA", "20260105", "F", HOSPITAL),
        who("PAYET", "BEBE DE LUCIE", "20260105", "F", HOSPITAL),
        TWO,
    ),
    "cousins": (who("PAYET", "JEAN", "19800503", "M"), who("PAYET", "JEAN", "19800504", "M", AWAY), TWO),
    "couple": (who("MARTIN", "CLAUDE", "19500203", "M"), who("MARTIN", "CLAUDE", "19500412", "F"), TWO),
    "namesakes of another age": (who("PAYET", "MARIE", "19480621", "F"), who("PAYET", "MARIE", "19930213", "F", AWAY), UNLIKE),
}


def _decided(one: Demographics, other: Demographics) -> str:
    first, second = (Member(key, (traits(stated),), frozenset({key})) for key, stated in ((1, one), (2, other)))
    decision = decide(first, [[second]], DEFAULT_WEIGHTS, REGISTER)
    return "link" if decision.link else "review" if decision.review else "nothing"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [pytest.param(*pair, id=name) for table in (ONE_PERSON, IN_DOUBT, TWO_PEOPLE) for name, pair in table.items()],
)
def test_what_somebody_who_keeps_a_register_would_say(one: Demographics, other: Demographics, expected: frozenset[str]) -> None:
    assert _decided(one, other) in expected
    assert _decided(other, one) in expected
