"""The identity desk in JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import Client

from tests.identity import CALLER, HOSPITAL_A, HOSPITAL_B, MARIE, Refusing, Region, at
from xds.model.patient import PersonName
from xds.portal import identity_blueprint

A1, B1 = at(HOSPITAL_A, "1"), at(HOSPITAL_B, "1")


def client_of(region: Region) -> Client:
    app = Flask(__name__)
    app.register_blueprint(identity_blueprint(region.pix.desk, lambda _environ: CALLER))
    return Client(app)


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    region = Region(tmp_path)
    region.feed(A1)
    region.feed(B1, source="HOSP_B|ADT")
    yield region
    region.close()


@pytest.fixture
def client(region: Region) -> Client:
    return client_of(region)


def test_a_pair_is_looked_at_unlinked_listed_and_refused(region: Region, client: Client) -> None:
    pair = client.get("/identity/pairs/1/2").json
    assert pair["are_linked"]
    assert pair["one"]["identifiers"][0]["value"] == "1"
    assert pair["evidence"]["weights"]["family"] > 0
    answer = client.post("/identity/pairs/1/2/unlink", json={"note": "to be looked at"})
    assert answer.status_code == 200
    listed = client.get("/identity/cases?kind=candidate&limit=1").json
    assert listed["total"] == 1
    assert (listed["cases"][0]["lower"], listed["cases"][0]["higher"]) == (1, 2)
    decision = client.post("/identity/pairs/1/2/refuse", json={}).json["decision"]
    assert client.get("/identity/cases").json["cases"] == []
    history = client.get("/identity/records/1/history").json["decisions"]
    assert [item["action"] for item in history] == ["refuse", "unlink", "link"]
    assert client.post(f"/identity/decisions/{decision}/undo", json={}).status_code == 200
    assert client.post("/identity/pairs/1/2/link", json={"note": "same"}).status_code == 200
    assert region.affinity(A1) == region.affinity(B1)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/identity/cases?kind=other", 400),
        ("/identity/cases?limit=many", 400),
        ("/identity/cases?after=x", 400),
        ("/identity/pairs/1/99", 404),
        ("/identity/records/99/history", 404),
        ("/identity/pairs/1/x", 404),
    ],
)
def test_questions_that_have_no_answer(client: Client, path: str, status: int) -> None:
    assert client.get(path).status_code == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/identity/pairs/1/99/link", 404),
        ("/identity/decisions/99/undo", 404),
        ("/identity/pairs/1/2/merge", 404),
    ],
)
def test_decisions_that_cannot_be(client: Client, path: str, status: int) -> None:
    assert client.post(path, json={}).status_code == status


def test_what_nothing_links_cannot_be_unlinked(region: Region, client: Client) -> None:
    region.feed(at(HOSPITAL_A, "9"), demographics=replace(MARIE, names=(PersonName("X", "Zoé"),), birth_date="20010101"))
    assert client.post("/identity/pairs/1/3/unlink", json={}).status_code == 409


def test_no_form_of_another_site_can_post(client: Client) -> None:
    assert client.post("/identity/pairs/1/2/refuse", data={"note": "x"}).status_code == 415
    assert client.post("/identity/pairs/1/2/refuse", data="[1]", content_type="application/json").status_code == 400
    assert client.post("/identity/pairs/1/2/refuse", json={"note": "x" * 1001}).status_code == 400


def test_the_access_rule_hides_everybody(tmp_path: Path) -> None:
    hidden = Region(tmp_path / "hidden", access=Refusing())
    hidden.feed(A1)
    hidden.feed(B1, source="HOSP_B|ADT")
    client = client_of(hidden)
    assert client.get("/identity/pairs/1/2").status_code == 404
    assert client.post("/identity/pairs/1/2/refuse", json={}).status_code == 404
    assert client.get("/identity/cases").json["cases"] == []
    hidden.close()
