"""`xds identity`: the desk at the command line, beside the data of a server."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.commands import Commands
from tests.identity import CALLER, HOSPITAL_A, HOSPITAL_B, MARIE, at
from xds.app import build
from xds.config import load
from xds.model.identifiers import AssigningAuthority
from xds.model.patient import FeedKind, IdentityFeed, PersonName
from xds.rules.linkage import DEFAULT_WEIGHTS

TWIN = replace(MARIE, names=(PersonName("Lefèvre", "Anne-Sophie", use="L"),))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A domain where two hospitals feed one woman, and one of them her sister."""
    directory = tmp_path_factory.mktemp("identity")
    app = build(load(None, {"server.data": directory}), "http://127.0.0.1")
    for number, (identifier, person) in enumerate(
        ((at(HOSPITAL_A, "1"), MARIE), (at(HOSPITAL_B, "2"), MARIE), (at(HOSPITAL_A, "3"), TWIN))
    ):
        feed = IdentityFeed(FeedKind.ADD, f"{identifier.authority.namespace}|ADT", f"M{number}", (identifier,), person)
        assert app.domain.pix_manager.feed(feed, CALLER) == ()
    app.close()
    return directory


def test_a_pair_from_the_queue_to_a_decision_and_back(xds: Commands, data: Path) -> None:
    where = ("--data", str(data))
    assert xds("identity", "review", "unlink", "1", "2", *where).code == 0
    (case,) = xds("identity", "review", "list", "--kind", "candidate", *where).rows
    assert case[:3] == ["1", "2", "candidate"]
    shown = xds("identity", "review", "show", "1", "2", *where)
    assert any(row[0].startswith("names (HOSP_A|ADT)") for row in shown.rows)
    assert "two persons" in shown.err
    refused = json.loads(xds("identity", "review", "refuse", "1", "2", "--note", "twins", "--json", *where).out)
    assert xds("identity", "review", "list", "--kind", "candidate", *where).rows == []
    history = json.loads(xds("identity", "review", "history", "1", "--json", *where).out)
    assert history[0]["note"] == "twins"
    assert "command line" in history[0]["by"]
    assert xds("identity", "review", "undo", str(refused["decision"]), *where).code == 0
    assert xds("identity", "review", "link", "1", "2", *where).code == 0
    assert json.loads(xds("identity", "review", "show", "1", "2", "--json", *where).out)["are_linked"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("review", "show", "1", "99"), 1),
        (("review", "link", "1", "1"), 1),
        (("review", "undo", "999"), 1),
        (("review", "history", "99"), 1),
        (("review", "list", "--after", "x"), 2),
        (("activate", "never"), 1),
        (("train",), 1),
    ],
)
def test_what_cannot_be(xds: Commands, data: Path, arguments: tuple[str, ...], code: int) -> None:
    outcome = xds("identity", *arguments, "--data", str(data))
    assert outcome.code == code
    assert outcome.err.startswith("xds: ")


def test_domains(xds: Commands, data: Path) -> None:
    names = [row[0] for row in xds("identity", "domains", "--data", str(data)).rows]
    assert names == ["XDS", "HOSP_A", "HOSP_B"]


def test_two_domains_become_one(xds: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds.actors.pix_domain_joining.INCOMPLETE_SECONDS", 0)
    app = build(load(None, {"server.data": tmp_path}), "http://127.0.0.1")
    for number, authority in enumerate((AssigningAuthority("CLINIC"), AssigningAuthority(oid="2.999.77"))):
        feed = IdentityFeed(FeedKind.ADD, "CLINIC|ADT", f"M{number}", (at(authority, str(number)),), MARIE)
        assert app.domain.pix_manager.feed(feed, CALLER) == ()
    app.close()
    refused = xds("identity", "join-domains", "CLINIC", "2.999.78", "--data", str(tmp_path))
    assert (refused.code, "no domain is known by the OID 2.999.78" in refused.err) == (1, True)
    joined = xds("identity", "join-domains", "CLINIC", "2.999.77", "--json", "--data", str(tmp_path))
    assert (joined.code, json.loads(joined.out)) == (0, {"moved": 1, "same": 0, "contradictory": []})
    assert xds("identity", "domains", "--data", str(tmp_path)).rows[-1][:2] == ["CLINIC", "2.999.77"]
    assert xds("identity", "join-domains", "CLINIC", "2.999.77", "--data", str(tmp_path)).code == 1


def test_there_is_nothing_without_a_server(xds: Commands, tmp_path: Path) -> None:
    assert xds("identity", "review", "list", "--data", str(tmp_path / "none")).code == 2


def test_weights_are_learned_stored_and_put_in_force(xds: Commands, tmp_path: Path) -> None:
    app = build(load(None, {"server.data": tmp_path}), "http://127.0.0.1")
    givens = ("Léa", "Hugo", "Inès", "Noé", "Zoé", "Paul", "Rose", "Marc", "Jade", "Luc", "Anna", "Yves")
    families = ("Martin", "Bernard", "Thomas", "Petit", "Robert", "Richard", "Durand", "Dubois", "Moreau", "Laurent", "Simon")
    for number in range(1100):
        person = replace(
            MARIE,
            names=(PersonName(families[number % 11], givens[number % 12], use="L"),),
            birth_date=f"19{20 + number % 79}{1 + number % 12:02d}{1 + number % 28:02d}",
            addresses=(),
        )
        feed = IdentityFeed(FeedKind.ADD, "HOSP_A|ADT", f"M{number}", (at(HOSPITAL_A, str(number)),), person)
        assert app.domain.pix_manager.feed(feed, CALLER) == ()
    app.close()
    where = ("--data", str(tmp_path))
    learned = xds("identity", "train", "--records", "1000000", "--json", *where)
    version = json.loads(learned.out)["version"]
    assert version != DEFAULT_WEIGHTS.version
    assert f"activate {version}" in learned.err
    assert xds("identity", "weights", *where).rows[0][2] == ""
    assert xds("identity", "activate", version, *where).code == 0
    assert xds("identity", "weights", *where).rows[0][2] != ""
