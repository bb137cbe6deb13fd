"""What records are searched by, on every database: what a search finds, and how the database looks for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.databases import fresh_database
from xds.model.demographics_index import Plan, Search, TermKind, TermSearch, VisitSearch, WordKind
from xds.model.demographics_query import Comparison, DateRange, DemographicsQuery, NamePattern, TextPattern
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Demographics, PersonName
from xds.rules.demographics_index import entries, sound_codes
from xds.rules.demographics_plan import plan
from xds.store import demographics_index
from xds.store.database import Connection, Database
from xds.store.patients import Identity, Patients

pytestmark = pytest.mark.usefixtures("back_end")

HOSPITAL = AssigningAuthority("HOSP", "1.2.3")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = fresh_database(tmp_path)
    yield database
    database.close()


def person(family: str, given: str = "", birth_date: str | None = None, **more: object) -> Demographics:
    return Demographics(names=(PersonName(family, given),), birth_date=birth_date, **more)


def index(connection: Connection, key: int, before: Iterable[Demographics], after: Iterable[Demographics]) -> None:
    """What all sources stated of a record was `before` and is `after` now."""
    demographics_index.replace(connection, key, entries(before), entries(after), sound_codes)


def add(database: Database, *stated: Demographics, value: str = "") -> int:
    """A record of which that is stated, alone in its cluster."""

    def work(connection: Connection) -> int:
        patients = Patients(connection)
        key = patients.add_person(1)
        domain = patients.add_domain(HOSPITAL)
        patients.add_identity(Identity(key, domain.domain_key, value or f"P{key}", None, False, None, None, 1))
        index(connection, key, (), stated)
        return key

    return database.write(work)


def planned(database: Database, query: DemographicsQuery) -> Plan:
    with database.read() as connection:
        return plan(query, lambda kind, word: demographics_index.alike(connection, kind, sound_codes(word), 64))


def found(database: Database, *searches: Search, limit: int = 100) -> dict[int, bool]:
    with database.read() as connection:
        return demographics_index.find(connection, searches, limit)


def asked(database: Database, **criteria: object) -> dict[int, bool]:
    """Whom the searches of a query find, and whether for certain."""
    return found(database, *planned(database, DemographicsQuery(**criteria)).searches)


def name(family: str = "", given: str = "", how: Comparison = Comparison.EXACT) -> tuple[tuple[NamePattern, ...], ...]:
    return (
        (
            NamePattern(
                TextPattern(family, how) if family else None,
                TextPattern(given, how) if given else None,
            ),
        ),
    )


DAY = (DateRange("19620314", "19620314"),)
YEAR = (DateRange("19620101", "19621231"),)


def test_names_and_birth_dates(database: Database) -> None:
    marie = add(database, person("Lefèvre", "Marie Hélène", "19620314"))
    anne = add(database, person("Lefevre", "Anne", "19620315"))
    paul = add(database, person("Lefebvre", "Paul", "1962"))
    assert asked(database, names=name("LEFEVRE"), birth_dates=DAY) == {marie: True}
    assert set(asked(database, names=name("LEFEVRE"))) == {marie, anne}
    assert set(asked(database, names=name("lefe", how=Comparison.PREFIX), birth_dates=YEAR)) == {marie, anne, paul}
    assert set(asked(database, names=name("lef*", how=Comparison.WILDCARD), birth_dates=DAY)) == {marie}
    assert set(asked(database, names=name("lefevre", "helene"))) == {marie}
    assert set(asked(database, names=name("lefevre", "an", how=Comparison.PREFIX))) == {anne}
    assert set(asked(database, names=name(given="marie helene"))) == {marie}
    assert set(asked(database, birth_dates=DAY)) == {marie}
    assert {marie, anne} <= set(asked(database, names=name("Lefaivre", how=Comparison.FUZZY), birth_dates=YEAR))


def test_a_name_of_only_one_letter_more_or_less_is_found(database: Database) -> None:
    key = add(database, person("Kowalczyk", "Jan", "19620314"))
    for slip in ("Kowalczyk", "Kowalcyk", "Kowalczykk", "Kowlaczyk", "Kowalczik"):
        assert set(asked(database, names=name(slip, how=Comparison.FUZZY))) == {key}, slip
    assert asked(database, names=name("Nowak", how=Comparison.FUZZY)) == {}


def test_forms_of_given_names(database: Database) -> None:
    jennifer, robert = add(database, person("Jones", "Jennifer")), add(database, person("Jones", "Robert"))
    for asked_for, key in (("Jenn", jennifer), ("Jenipher", jennifer), ("Bob", robert)):
        assert set(asked(database, names=name("Jones", asked_for, Comparison.FUZZY))) == {key}, asked_for


def test_what_is_unknown_of_a_record_is_not_certain(database: Database) -> None:
    unknown = add(database, person("Petit", "Paul", "19620314"))
    assert asked(database, names=name("petit"), birth_dates=DAY, sexes=("M",)) == {unknown: False}
    known = add(database, person("Petit", "Jean", "19620314", sex="M"))
    assert asked(database, names=name("petit"), birth_dates=DAY, sexes=("M",)) == {unknown: False, known: True}
    assert asked(database, names=name("petit"), birth_dates=DAY, sexes=("F",)) == {unknown: False}


def test_another_record_of_the_same_person_may_know_the_birth_date(database: Database) -> None:
    alone = add(database, person("Moreau", "Luc"))
    one, other = add(database, person("Moreau", "Jean")), add(database, person("Moraux", "Jean", "19620314"))
    database.write(lambda connection: Patients(connection).set_cluster([one, other], one))
    assert asked(database, names=name("moreau"), birth_dates=DAY) == {one: False}
    assert set(asked(database, names=name("moreau"))) == {alone, one}


def test_a_record_that_changes_is_found_by_what_it_is_now(database: Database) -> None:
    before, after = person("Dupond", "Jean", "19620314", telephones=("0238112233",)), person("Dupont", "Jean", "19620314")
    key = add(database, before)
    database.write(lambda connection: index(connection, key, (before,), (after,)))
    assert asked(database, names=name("dupond")) == {}
    assert set(asked(database, names=name("dupont"))) == {key}
    assert asked(database, telephones=((TextPattern("0238112233"),),)) == {}
    # Two sources say the same: one of them may change its mind.
    database.write(lambda connection: index(connection, key, (after, after), (after, before)))
    assert set(asked(database, names=name("dupont"))) == set(asked(database, names=name("dupond"))) == {key}


def test_writing_the_same_again_changes_nothing(database: Database) -> None:
    stated = person("Dupond", "Jean", "19620314")
    key = add(database, stated)
    database.write(lambda connection: index(connection, key, (), (stated,)))
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM demographic_name")).scalar() == 1


def test_a_record_without_an_identifier_of_its_own_is_history(database: Database) -> None:
    key = add(database, person("Noir", "Jean", "19620314"), value="4711")

    def subsume(connection: Connection) -> None:
        patients = Patients(connection)
        (own,) = patients.identities([key])
        patients.set_subsumed(own, "4712")

    database.write(subsume)
    assert asked(database, names=name("noir")) == {}


def test_terms(database: Database) -> None:
    account = PatientIdentifier("ACC1", HOSPITAL)
    key = add(
        database,
        person("Blanc", "Jean", telephones=("+33 2 38 11 22 33",), account_number=account, mother_maiden_name="Le Goff"),
    )
    add(database, person("Blanc", "Paul", telephones=("0238112234",)))
    assert set(asked(database, telephones=((TextPattern("02 38 11 22 33"),),))) == {key}
    assert set(asked(database, mothers_maiden_names=(TextPattern("LE GOFF"),))) == {key}
    assert set(asked(database, mothers_maiden_names=(TextPattern("go", Comparison.PREFIX),))) == {key}
    assert set(found(database, TermSearch(TermKind.ACCOUNT, ("ACC1",)))) == {key}
    assert set(found(database, TermSearch(TermKind.GIVEN, prefix="JE"))) == {key}


def test_the_last_visit(database: Database) -> None:
    key = add(database, person("Roux", "Jean"))

    def visit(**fields: str) -> None:
        given = {part.replace("_", "."): value for part, value in fields.items()}
        database.write(lambda connection: demographics_index.put_visit(connection, key, given, 5))

    visit(PV1_3_2="389", PV1_3_1="Ward A", PV1_19="V1")
    assert set(found(database, VisitSearch("PV1.3.1", "WARD A"))) == {key}
    visit(PV1_3_2="390", PV1_19="V1", PV1_44="")
    assert found(database, VisitSearch("PV1.3.2", "389")) == {}
    assert set(found(database, VisitSearch("PV1.3.2", "39", is_prefix=True))) == {key}
    with database.read() as connection:
        assert demographics_index.visit_of(connection, [key, key + 1]) == {key: (5, {"PV1.3.2": "390", "PV1.19": "V1"})}


def test_limits(database: Database) -> None:
    keys = [add(database, person("Girard", f"Jean{number}")) for number in range(7)]
    assert len(found(database, *planned(database, DemographicsQuery(names=name("girard"))).searches, limit=3)) == 3
    assert set(asked(database, names=name("girard"))) == set(keys)


def test_long_names_stay_within_an_index(database: Database) -> None:
    long = person("A" * 5000, " ".join(f"Jean{number}" for number in range(500)), "19620314")
    key = add(database, long)
    assert set(asked(database, names=name("A" * 5000), birth_dates=DAY)) == {key}
    assert all(len(item.family) <= 60 and len(item.given) <= 260 for item in entries((long,)).names)


def explained(database: Database, search: Search) -> str:
    """How the database looks for it, in its own words."""
    prepared, values = demographics_index.statement_of(search)
    with database.read() as connection:
        how = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        if how == "EXPLAIN":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        rows = connection.execute(text(f"{how} {prepared.statement}"), {**values, "most": 10})
        return "\n".join(" ".join(map(str, row)) for row in rows)


def searches_of(database: Database, criteria: Iterable[dict[str, object]]) -> Iterator[Search]:
    for each in criteria:
        yield from planned(database, DemographicsQuery(**each)).searches


def test_no_search_reads_a_whole_table(database: Database) -> None:
    add(database, person("Lefèvre", "Marie", "19620314"))
    queries: list[dict[str, object]] = [
        {"names": name("lefevre"), "birth_dates": DAY},
        {"names": name("lefevre", "marie"), "birth_dates": DAY, "sexes": ("F",)},
        {"names": name("lef", how=Comparison.PREFIX), "birth_dates": YEAR},
        {"names": name("lefevre")},
        {"names": name("lefevre", how=Comparison.FUZZY)},
        {"names": name(given="marie")},
        {"names": name("lefevre"), "birth_dates": (DateRange("19400101", "19791231"),)},
        {"birth_dates": DAY},
        {"telephones": ((TextPattern("0238112233"),),)},
        {"visit": {"PV1.3.2": TextPattern("389")}},
    ]
    for search in searches_of(database, queries):
        written = explained(database, search)
        assert "SCAN" not in written.replace("SCAN CONSTANT ROW", ""), written
        assert "Seq Scan" not in written, written


def test_a_family_name_and_a_birth_date_are_one_place_of_the_index(database: Database) -> None:
    exact, _ = searches_of(database, [{"names": name("lefevre"), "birth_dates": DAY}])
    prefix, _ = searches_of(database, [{"names": name("lef", how=Comparison.PREFIX), "birth_dates": YEAR}])
    range_of_years, _ = searches_of(database, [{"names": name("lefevre"), "birth_dates": (DateRange("19400101", "19791231"),)}])
    found_by = [explained(database, search) for search in (exact, prefix, range_of_years)]
    with database.read() as connection:
        if connection.dialect.name == "sqlite":
            assert "(birth_year=? AND family=? AND birth>? AND birth<?)" in found_by[0]
            assert "(birth_year=? AND family>? AND family<?)" in found_by[1]
            assert "(birth_year=? AND family=? AND birth>? AND birth<?)" in found_by[2]
        else:
            assert "demographic_name_pkey" in found_by[0]
            assert "demographic_name_pkey" in found_by[1]


def test_words_are_learned_once(database: Database) -> None:
    for _ in range(2):
        add(database, person("Lefèvre", "Marie"))
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM name_word")).scalar() == 2
        assert demographics_index.alike(connection, WordKind.FAMILY, sound_codes("Lefebvre"), 9) == ("LEFEVRE",)
        assert demographics_index.alike(connection, WordKind.GIVEN, sound_codes("Lefebvre"), 9) == ()
