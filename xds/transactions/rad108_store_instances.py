"""RAD-108 Store Instances Over the Web (STOW-RS).

Spec: RAD TF-2 4.108; DICOM PS3.18 10.5. `POST /dicomweb/studies[/{study}]` with Part 10 files as
`multipart/related; type="application/dicom"`; the answer tells of each object as `application/dicom+json`.

Errors: 200 when every object is stored, 202 when some are, 409 when none is; Failure Reason 0xC000 for what is no DICOM object,
0xA900 for one of another study, 0xC001 for another patient in the study, 0xA700 when it could not be kept; 400 for a broken
multipart message, 406 when the sender takes no JSON, 415 for another media type.
"""

from __future__ import annotations

import structlog

from xds.actors.domain import Domain
from xds.actors.imaging_audit import STORED_OVER_THE_WEB
from xds.model.caller import Caller
from xds.model.imaging import Addition
from xds.ports import Staging
from xds.transactions.transaction import Transaction, Wire
from xds.wire.dicom import DicomError
from xds.wire.dicom_study import is_uid, read_study
from xds.wire.dicomweb import (
    DICOM,
    DICOM_JSON,
    MULTIPART,
    MultipartError,
    accepts_json,
    read_accept,
    read_media_type,
    read_multipart,
)
from xds.wire.dicomweb_store import Storing, write_store_response
from xds.wire.http import HttpReply, HttpRequest

TRANSACTION = Transaction(
    id="RAD-108",
    name="Store Instances Over the Web",
    responder="Imaging Document Source",
    wire=Wire.HTTP,
    path="/dicomweb",
    methods=("POST",),
)

_CANNOT_UNDERSTAND = 0xC000
_OTHER_STUDY = 0xA900
_OTHER_PATIENT = 0xC001
_OUT_OF_RESOURCES = 0xA700

_log = structlog.get_logger()


def respond(request: HttpRequest, domain: Domain, caller: Caller) -> HttpReply:
    """Take the objects one by one; each is durable before the answer says so."""
    steps = request.path.strip("/").split("/")
    study = steps[1] if len(steps) == 2 and is_uid(steps[1]) else None
    if steps[0] != "studies" or len(steps) > 2 or (len(steps) == 2 and study is None):
        return _plain(404, "objects are stored at /studies or /studies/{study}")
    media_type = read_media_type(request.headers.get("content-type", ""))
    if media_type.name != MULTIPART or media_type.part_type not in ("", DICOM):
        return _plain(415, f'objects are stored as {MULTIPART}; type="{DICOM}"')
    if not accepts_json(read_accept(request.headers.get("accept", ""))):
        return _plain(406, f"the answer is {DICOM_JSON}")
    source = domain.imaging_document_source
    outcomes: list[Storing] = []
    try:
        for _, staging in read_multipart(request.stream, media_type.parameters.get("boundary", ""), source.stage):
            try:
                outcomes.append(_store(staging, study, domain, caller))
            finally:
                staging.discard()
    except MultipartError as problem:
        if not outcomes:
            return _plain(400, str(problem))
        # What came whole is stored and said to be; the rest, of which nothing is known, is one failure.
        outcomes.append(Storing("", "", failure=_CANNOT_UNDERSTAND))
    failures = sum(item.failure is not None for item in outcomes)
    status = 409 if failures == len(outcomes) else 202 if failures else 200
    body = write_store_response(outcomes, f"{domain.identity.public_url}/dicomweb")
    return HttpReply(status, (("Content-Type", DICOM_JSON),), (body,), len(body))


def _store(staging: Staging, study_instance_uid: str | None, domain: Domain, caller: Caller) -> Storing:
    try:
        study = read_study(staging.open(), source=caller.node or "", size=staging.size)
    except DicomError:
        return Storing("", "", failure=_CANNOT_UNDERSTAND)
    series = study.series[0]
    instance = series.instances[0]
    failure: int | None = None
    if study_instance_uid not in (None, study.study_instance_uid):
        failure = _OTHER_STUDY
    else:
        try:
            addition = domain.imaging_document_source.store_instance(staging, caller, STORED_OVER_THE_WEB)
            failure = _OTHER_PATIENT if addition is Addition.CONFLICT else None
        except DicomError:
            failure = _CANNOT_UNDERSTAND
        except OSError as problem:
            # The sender keeps what was not stored; the objects before and after it are answered as they fare.
            _log.error("store_instances.store_failed", error=type(problem).__name__, errno=problem.errno)
            failure = _OUT_OF_RESOURCES
    return Storing(
        instance.sop_class_uid, instance.sop_instance_uid, study.study_instance_uid, series.series_instance_uid, failure
    )


def _plain(status: int, text: str) -> HttpReply:
    body = f"{text}\n".encode()
    return HttpReply(status, (("Content-Type", "text/plain; charset=utf-8"),), (body,), len(body))
