"""The identity desk over HTTP, in JSON: what its pages, and any other tool of the desk, are made of.

`GET /identity/cases`, `GET /identity/pairs/<one>/<other>`, `GET /identity/records/<record>/history`;
`POST /identity/pairs/<one>/<other>/link`, `…/refuse`, `…/unlink` and `POST /identity/decisions/<decision>/undo`, with a JSON body
that may hold a `note`. What is refused has `{"error": …}`: 400 for what cannot be read, 404 for what does not exist or the caller
may not see, 409 for what cannot be done, 415 for a body that is not declared as JSON (so that no page of another site can post
here without being asked).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify, request

from xds.actors.identity_desk import IdentityDesk
from xds.model.caller import Caller
from xds.model.identity_review import ReviewKind, facts

_MOST = 500
#: Who asks, of the WSGI environment.
CallerOf = Callable[[Any], Caller]
_Answer = Response | tuple[Response, int]


def identity_blueprint(desk: IdentityDesk, caller_of: CallerOf) -> Blueprint:
    """The paths below `/identity`."""
    paths = Blueprint("identity", __name__, url_prefix="/identity")

    def caller() -> Caller:
        return caller_of(request.environ)

    @paths.get("/cases")
    def cases() -> _Answer:
        given = request.args
        try:
            page = desk.cases(
                caller(),
                kind=ReviewKind(given["kind"]) if "kind" in given else None,
                minimum=float(given["minimum"]) if "minimum" in given else None,
                after=given.get("after"),
                limit=min(max(int(given.get("limit", "50")), 1), _MOST),
            )
        except ValueError:
            return _refused("kind, minimum, after or limit cannot be read", 400)
        return jsonify({"cases": [facts(item) for item in page.cases], "total": page.total, "next_page": page.next_page})

    @paths.get("/pairs/<int:one>/<int:other>")
    def pair(one: int, other: int) -> _Answer:
        compared = desk.show(one, other, caller())
        return jsonify(facts(compared)) if compared else _unknown()

    @paths.get("/records/<int:record>/history")
    def history(record: int) -> _Answer:
        decisions = desk.history(record, caller())
        return _unknown() if decisions is None else jsonify({"decisions": [facts(item) for item in decisions]})

    @paths.post("/pairs/<int:one>/<int:other>/<any(link,refuse,unlink):what>")
    def decide(one: int, other: int, what: str) -> _Answer:
        note = _note()
        if not isinstance(note, str):
            return note
        work = {"link": desk.link, "refuse": desk.refuse, "unlink": desk.unlink}[what]
        key = work(one, other, caller(), note)
        if key is None and desk.history(one, caller(), 1) is not None and desk.history(other, caller(), 1) is not None:
            return _refused("nothing of these two records can be changed in that way", 409)
        return _unknown() if key is None else jsonify({"decision": key})

    @paths.post("/decisions/<int:decision>/undo")
    def undo(decision: int) -> _Answer:
        note = _note()
        if not isinstance(note, str):
            return note
        key = desk.undo(decision, caller(), note)
        return _refused("there is no such decision that can be undone", 404) if key is None else jsonify({"decision": key})

    return paths


def _note() -> str | tuple[Response, int]:
    if not request.is_json:
        return _refused("the body must be JSON", 415)
    body = request.get_json(silent=True)
    note = body.get("note", "") if isinstance(body, dict) else None
    if not isinstance(note, str) or len(note) > 1000:
        return _refused("the body must be a JSON object; a note is a text of at most 1000 characters", 400)
    return note


def _unknown() -> tuple[Response, int]:
    return _refused("there are no such records", 404)


def _refused(text: str, status: int) -> tuple[Response, int]:
    return jsonify({"error": text}), status
