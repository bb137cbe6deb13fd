"""RAD-55 WADO Retrieve: one DICOM object by its three UIDs in a URL.

Spec: RAD TF-2 4.55; DICOM PS3.18 9. `GET /wado?requestType=WADO&studyUID=…&seriesUID=…&objectUID=…&contentType=application/dicom`

Errors: 400 for a missing or senseless parameter; 404 for an object that is not there, not in that series or study (an empty UID
names none), rejected, or not for the caller; 406 for a content type or transfer syntax
that is not possible.

Tolerated: no contentType (the Accept header then decides); parameter names in any case.
"""

from __future__ import annotations

from collections.abc import Mapping

from xds.actors.domain import Domain
from xds.actors.imaging_audit import WADO_URI
from xds.model.caller import Caller
from xds.transactions.transaction import Transaction, Wire
from xds.wire.dicom import EXPLICIT_LITTLE
from xds.wire.dicom_study import is_uid
from xds.wire.dicomweb import DICOM, read_accept
from xds.wire.http import HttpReply, HttpRequest

TRANSACTION = Transaction(
    id="RAD-55",
    name="WADO Retrieve",
    responder="Imaging Document Source",
    wire=Wire.HTTP,
    path="/wado",
    methods=("GET", "HEAD"),
)

_UIDS = ("studyUID", "seriesUID", "objectUID")
_ACCEPTABLE = frozenset({DICOM, "application/*", "*/*"})


def respond(request: HttpRequest, domain: Domain, caller: Caller) -> HttpReply:
    """Check the parameters, then give the object as it is stored, or in the transfer syntax that is asked for."""
    parameters = {name.lower(): values for name, values in request.query.items()}
    problems = _problems(parameters)
    if problems:
        return _refusal(400, "; ".join(problems))
    accept = ",".join(parameters.get("contenttype", (request.headers.get("accept", ""),)))
    if not any(item.name in _ACCEPTABLE for item in read_accept(accept)):
        return _refusal(406, f"this source gives objects as {DICOM} only")
    source = domain.imaging_document_source
    study, series, instance = (parameters[name.lower()][0].strip() for name in _UIDS)
    selection = source.select(caller, study, series, instance) if all(map(is_uid, (study, series, instance))) else None
    if selection is None:
        source.refuse({study}, caller, WADO_URI)
        return _refusal(404, "there is no such object in that series and study")
    _, found = next(selection.instances())
    wanted = parameters.get("transfersyntax", ("",))[0].strip()
    obtained = source.obtain(found, (wanted or EXPLICIT_LITTLE,))
    if obtained is None and not wanted:
        obtained = source.obtain(found, None)
    if obtained is None:
        return _refusal(406, "the object cannot be given in that transfer syntax")
    sent = ((selection, obtained),)
    return HttpReply(
        200,
        (("Content-Type", DICOM),),
        obtained.chunks(),
        obtained.size,
        lambda complete: source.finish(sent, complete, caller, WADO_URI),
    )


def _problems(parameters: Mapping[str, tuple[str, ...]]) -> list[str]:
    """What makes the request senseless, all of it. Spec: PS3.18 9.1.2."""
    problems = []
    if parameters.get("requesttype", ("",))[0] != "WADO":
        problems.append("requestType must be WADO")
    problems += [f"{name} is missing" for name in _UIDS if name.lower() not in parameters]
    if parameters.get("anonymize", ("",))[0]:
        # To give the object as it is would betray who asked for it without names.
        problems.append("anonymize is not offered")
    wanted = parameters.get("transfersyntax", ("",))[0].strip()
    if wanted and not is_uid(wanted):
        problems.append("transferSyntax must be a UID")
    return problems


def _refusal(status: int, text: str) -> HttpReply:
    body = f"{text}\n".encode()
    return HttpReply(status, (("Content-Type", "text/plain; charset=utf-8"),), (body,), len(body))
