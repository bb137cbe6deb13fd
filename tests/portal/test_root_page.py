"""The portal's root page: what a newcomer finds at `/`."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from werkzeug.test import Client, TestResponse

from xds.model.domain_identity import DomainIdentity
from xds.portal import create_portal
from xds.portal.language import LANGUAGES, texts
from xds.transactions.transaction import Transaction, Wire

TRANSACTIONS = (
    Transaction(
        id="ITI-18", name="Registry Stored Query", responder="Document Registry", wire=Wire.SOAP, path="/services/registry"
    ),
    Transaction(
        id="ITI-42", name="Register Document Set-b", responder="Document Registry", wire=Wire.SOAP, path="/services/registry"
    ),
    Transaction(id="ITI-8", name="Patient Identity Feed", responder="PIX Manager", wire=Wire.HL7V2, triggers=("ADT^A04",)),
    Transaction(id="RAD-107", name="WADO-RS Retrieve", responder="Imaging Document Source", wire=Wire.HTTP, path="/dicomweb"),
)
ENDPOINTS = {"http": "http://127.0.0.1:18080", "mllp": "127.0.0.1:12575", "dicom": "XDS@127.0.0.1:11113"}
IDENTITY = DomainIdentity(
    assigning_authority="1.2.3",
    assigning_authority_namespace="XDS",
    home_community_id="1.2.4",
    repository_unique_id="1.2.5",
    imaging_source_unique_id="1.2.6",
    ae_title="XDS",
    public_url="http://127.0.0.1:18080",
)


@pytest.fixture
def client() -> Client:
    counts = {"patients": 1234, "documents": 5, "studies": 6}
    return Client(create_portal(TRANSACTIONS, lambda: ENDPOINTS, IDENTITY, lambda: counts))


def page(client: Client, path: str = "/", **headers: str) -> str:
    answer: TestResponse = client.get(path, headers=headers)
    assert answer.status_code == 200
    return html.unescape(answer.text)


def test_every_endpoint_transaction_and_identifier_is_there(client: Client) -> None:
    shown = page(client)
    for expected in (*ENDPOINTS.values(), "ITI-18", "ITI-42", "ITI-8", "RAD-107", "1.2.3", "urn:oid:1.2.4", "1.2.5", "1.2.6"):
        assert expected in shown


def test_transactions_of_one_address_stand_in_one_row_with_its_wsdl(client: Client) -> None:
    shown = page(client)
    assert shown.count('href="/services/registry?wsdl"') == 1
    assert 'href="/dicomweb?wsdl"' not in shown


@pytest.mark.parametrize("link", ["/health/ready", "/health/live", "/metrics"])
def test_operators_find_their_addresses(client: Client, link: str) -> None:
    assert f'href="{link}"' in page(client)


@pytest.mark.parametrize(
    ("path", "accepted", "language"),
    [
        ("/", "", "en"),
        ("/", "fr-FR,fr;q=0.9,en;q=0.5", "fr"),
        ("/", "en-GB,fr;q=0.5", "en"),
        ("/", "de", "en"),
        ("/", "de,fr-CH;q=0.8", "fr"),
        ("/", "fr;q=0", "en"),
        ("/?lang=fr", "en", "fr"),
        ("/?lang=xx", "fr", "fr"),
    ],
)
def test_language_of_the_browser_unless_one_is_asked_for(client: Client, path: str, accepted: str, language: str) -> None:
    shown = page(client, path, **{"Accept-Language": accepted})
    assert f'<html lang="{language}">' in shown
    assert texts(language)("where.title") in shown


def test_numbers_are_written_as_the_language_does(client: Client) -> None:
    assert "<dd>1,234</dd>" in page(client)
    assert "<dd>1\u202f234</dd>" in page(client, "/?lang=fr")


def test_languages_have_the_same_words() -> None:
    keys = [{(section, name) for section, words in texts(lang).words.items() for name in words} for lang in LANGUAGES]
    assert all(found == keys[0] for found in keys)


def test_nothing_comes_from_elsewhere(client: Client) -> None:
    sources = re.findall(r'(?:src|href)="([^"]+)"', page(client))
    assert sources
    assert all(source.startswith(("/", "?")) for source in sources)
    answer = client.get("/")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    with client.get("/static/portal.css") as style:
        assert style.status_code == 200
        assert "http" not in style.text


def test_unknown_page_is_a_plain_404(client: Client) -> None:
    answer = client.get("/nothing-here")
    assert answer.status_code == 404
    assert texts("en")("missing.title") in answer.text


class _Tags(HTMLParser):
    """Checks that elements close in the order in which they were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", LANGUAGES)
def test_markup_is_balanced(client: Client, language: str) -> None:
    tags = _Tags()
    tags.feed(client.get(f"/?lang={language}").text)
    assert tags.open == []


def test_templates_hold_no_words_of_their_own() -> None:
    """What is between tags is a value, an address or a name that is the same in every language."""
    untranslated = {"XDS", "xds", "HTTP", "HL7 v2 (MLLP)", "DICOM", "WSDL", "/health/ready", "/health/live", "/metrics", "·"}
    for template in files("xds.portal").joinpath("templates").iterdir():
        text = re.sub(r"<code>.*?</code>|{%.*?%}|{{.*?}}|<[^>]*>", "\n", template.read_text("utf-8"), flags=re.DOTALL)
        words = {line.strip(" ·") for line in text.splitlines()} - {""}
        assert words <= untranslated | {"urn:oid:"}, template.name
