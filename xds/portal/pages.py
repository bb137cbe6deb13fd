"""The portal as a WSGI application: today its root page, which tells a newcomer what is here and what to try."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from flask import Blueprint, Flask, Response, render_template, request

import xds
from xds.model.domain_identity import DomainIdentity
from xds.portal.language import LANGUAGES, Texts, texts
from xds.transactions.transaction import Transaction, Wire

#: Nothing but this server's own style sheet and pictures is loaded, and no other site may frame a page.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table of transactions: the place where they are answered, and which they are."""

    responder: str
    place: str
    link: str | None
    wsdl: str | None
    transactions: tuple[Transaction, ...]


def create_portal(
    transactions: Sequence[Transaction],
    endpoints: Callable[[], Mapping[str, object]],
    identity: DomainIdentity,
    counts: Callable[[], Mapping[str, int]],
    desk: Blueprint | None = None,
) -> Flask:
    """The portal.

    `endpoints` gives the addresses of the ready line (`http`, `mllp`, `dicom`), `counts` how many `patients`, `documents` and
    `studies` there are; both are asked for every page. `desk` are the paths of the identity desk.
    """
    app = Flask(__name__)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True

    @app.get("/")
    def root() -> str:
        places = {name: str(value) for name, value in endpoints().items()}
        return render_template(
            "root.html",
            t=_texts(),
            languages=LANGUAGES,
            version=xds.__version__,
            endpoints=places,
            base=places.get("http", request.host_url).rstrip("/"),
            identity=identity,
            counts=counts(),
            rows=list(_rows(transactions, places)),
        )

    @app.errorhandler(404)
    def not_found(_error: Exception) -> tuple[str, int]:
        return render_template("not_found.html", t=_texts(), languages=LANGUAGES, version=xds.__version__), 404

    if desk is not None:
        app.register_blueprint(desk)
    app.after_request(_with_headers)
    return app


def _texts() -> Texts:
    """The words in the language that `?lang=` asks for, or that the browser prefers (whatever the region: fr-CH is fr)."""
    preferred = (tag.partition("-")[0].lower() for tag, quality in request.accept_languages if quality > 0)
    asked = (request.args.get("lang", ""), *preferred)
    return texts(next((language for language in asked if language in LANGUAGES), LANGUAGES[0]))


def _with_headers(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    if response.mimetype == "application/json":
        response.headers["Cache-Control"] = "no-store"
    if response.mimetype == "text/html":
        response.headers["Cache-Control"] = "no-store"
        response.headers["Vary"] = "Accept-Language"
    return response


def _rows(transactions: Sequence[Transaction], places: Mapping[str, str]) -> Iterator[Row]:
    def place_of(item: Transaction) -> tuple[str, str]:
        if item.wire is Wire.HL7V2:
            return item.responder, f"mllp://{places.get('mllp', '')}"
        if item.wire is Wire.DIMSE:
            return item.responder, f"dicom://{places.get('dicom', '')}"
        return item.responder, item.path or ""

    for (responder, place), group in groupby(sorted(transactions, key=place_of), key=place_of):
        members = tuple(group)
        soap = members[0].wire is Wire.SOAP
        yield Row(responder, place, place if soap else None, f"{place}?wsdl" if soap else None, members)
