"""RAD-108 Store Instances Over the Web (STOW-RS).

Spec: RAD TF-2 4.108; DICOM PS3.18 10.5. `POST /dicomweb/studies[/{study}]` with Part 10 files as
`multipart/related; type="application/dicom"`, a single one as `application/dicom`, or metadata as
`multipart/related; type="application/dicom+json"` (`+xml`) with their bulk data in parts that Content-Location names; the answer
tells of each object as `application/dicom+json` or `application/dicom+xml`.

Errors: 200 when every object is stored, 202 when some are, 409 when none is; Failure Reason 0xC000 for what is no DICOM object,
or not whole, 0xA900 for one of another study, 0xC001 for another patient in the study, 0xA700 when it could not be kept; 400 for
a broken multipart message, or one without objects, 406 when the sender takes neither JSON nor XML, 415 for another media type, or
any Content-Encoding.

Tolerated: a file that begins with its meta information, as dicomweb-client sends data sets that were made in memory; it is stored
with the preamble that it lacks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

import structlog

from xds.actors.domain import Domain
from xds.actors.imaging_audit import STORED_OVER_THE_WEB
from xds.model.caller import Caller
from xds.model.imaging import Addition
from xds.ports import Staging
from xds.transactions.transaction import Transaction, Wire
from xds.wire.dicom import DicomError
from xds.wire.dicom_header import read_header
from xds.wire.dicom_json_reading import text_of
from xds.wire.dicom_study import is_uid
from xds.wire.dicom_xml import write_native_model
from xds.wire.dicom_xml_reading import read_native_model
from xds.wire.dicomweb import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    MULTIPART,
    MediaType,
    MultipartError,
    accepts_json,
    read_accept,
    read_media_type,
    read_multipart,
)
from xds.wire.dicomweb_metadata import MAX_METADATA, BulkPart, read_json, write_object
from xds.wire.dicomweb_store import Storing, store_response
from xds.wire.http import HttpReply, HttpRequest

TRANSACTION = Transaction(
    id="RAD-108",
    name="Store Instances Over the Web",
    responder="Imaging Document Source",
    wire=Wire.HTTP,
    path="/dicomweb",
    pattern=r"/studies(/[0-9.]{1,64})?/?",
    methods=("POST",),
)

_CANNOT_UNDERSTAND: Final = 0xC000
_OTHER_STUDY: Final = 0xA900
_OTHER_PATIENT: Final = 0xC001
_OUT_OF_RESOURCES: Final = 0xA700
#: Octets that are read of a body at once, and parts that metadata may come with.
_CHUNK: Final = 1024 * 1024
_MAX_PARTS: Final = 1000

#: What every Part 10 file begins with.
_PREAMBLE: Final = b"\0" * 128 + b"DICM"

_log = structlog.get_logger()


def respond(request: HttpRequest, domain: Domain, caller: Caller) -> HttpReply:
    """Take the objects one by one; each is durable before the answer says so."""
    steps = request.path.strip("/").split("/")
    study = steps[1] if len(steps) == 2 and is_uid(steps[1]) else None
    if steps[0] != "studies" or len(steps) > 2 or (len(steps) == 2 and study is None):
        return _plain(404, "objects are stored at /studies or /studies/{study}")
    media_type = read_media_type(request.headers.get("content-type", ""))
    kind = (media_type.part_type or DICOM) if media_type.name == MULTIPART else media_type.name
    if kind not in (DICOM, DICOM_JSON, DICOM_XML) or (media_type.name != MULTIPART and kind != DICOM):
        return _plain(415, f'objects are stored as {MULTIPART}; type="{DICOM}", or as metadata with bulk data')
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        return _plain(415, "the message is read as it is, without Content-Encoding")
    answer = _answer_type(request)
    if answer is None:
        return _plain(406, f"the answer is {DICOM_JSON} or {DICOM_XML}")
    store = _Store(domain, caller, study)
    outcomes: list[Storing] = []
    try:
        for outcome in store.objects(request, media_type, kind):
            outcomes.append(outcome)  # noqa: PERF402
    except MultipartError as problem:
        if not outcomes:
            return _plain(400, str(problem))
        # What came whole is stored and said to be; the rest, of which nothing is known, is one failure.
        outcomes.append(Storing("", "", failure=_CANNOT_UNDERSTAND))
    if not outcomes:
        return _plain(400, "the message holds no object")
    failures = sum(item.failure is not None for item in outcomes)
    status = 409 if failures == len(outcomes) else 202 if failures else 200
    told = store_response(outcomes, f"{domain.identity.public_url}/dicomweb")
    body = write_native_model(told) if answer == DICOM_XML else json.dumps(told, separators=(",", ":")).encode()
    return HttpReply(status, (("Content-Type", answer),), (body,), len(body))


def _answer_type(request: HttpRequest) -> str | None:
    for item in read_accept(request.headers.get("accept", "")):
        if DICOM_XML in (item.name, item.part_type):
            return DICOM_XML
        if accepts_json((item,)):
            return DICOM_JSON
    return None


class _Store:
    """What one request stores, into which study (None: into any)."""

    def __init__(self, domain: Domain, caller: Caller, study: str | None) -> None:
        self._source = domain.imaging_document_source
        self._caller = caller
        self._study = study

    def objects(self, request: HttpRequest, media_type: MediaType, kind: str) -> Iterator[Storing]:
        """Each object as it comes. Errors: MultipartError, for what follows the last that came whole."""
        if media_type.name == DICOM:
            yield self._single(request)
        elif kind == DICOM:
            yield from self._files(request, media_type)
        else:
            yield from self._described(request, media_type)

    def _single(self, request: HttpRequest) -> Storing:
        """One Part 10 file is the whole body."""
        staging = self._source.stage()
        try:
            while octets := request.stream.read(_CHUNK):
                staging.write(octets)
            return self._store(staging)
        finally:
            staging.discard()

    def _files(self, request: HttpRequest, media_type: MediaType) -> Iterator[Storing]:
        """A Part 10 file in each part. Errors: MultipartError."""
        for _, staging in read_multipart(request.stream, media_type.parameters.get("boundary", ""), self._source.stage):
            try:
                yield self._store(staging)
            finally:
                staging.discard()

    def _described(self, request: HttpRequest, media_type: MediaType) -> Iterator[Storing]:
        """Data sets in some parts, their bulk data in others, in any order. Errors: MultipartError."""
        bulk: dict[str, list[BulkPart]] = {}
        items: list[Mapping[str, Any]] = []
        with ExitStack() as held:
            parts = read_multipart(request.stream, media_type.parameters.get("boundary", ""), self._source.stage)
            for number, (fields, staging) in enumerate(parts, 1):
                held.callback(staging.discard)
                if number > _MAX_PARTS:
                    raise MultipartError(f"metadata comes with at most {_MAX_PARTS} parts")
                part_type = read_media_type(fields.get("content-type", media_type.part_type))
                if part_type.name in (DICOM_JSON, DICOM_XML):
                    items += _data_sets(staging, part_type.name)
                else:
                    part = BulkPart(part_type, staging.size, staging.open)
                    bulk.setdefault(fields.get("content-location", ""), []).append(part)
            for item in items:
                yield self._made(item, bulk)

    def _made(self, item: Mapping[str, Any], bulk: Mapping[str, Sequence[BulkPart]]) -> Storing:
        staging = self._source.stage()
        try:
            for octets in write_object(item, bulk):
                staging.write(octets)
            return self._store(staging)
        except DicomError:
            return Storing(text_of(item, "00080016"), text_of(item, "00080018"), failure=_CANNOT_UNDERSTAND)
        except OSError as problem:
            return _not_kept(problem, text_of(item, "00080016"), text_of(item, "00080018"))
        finally:
            staging.discard()

    def _store(self, staging: Staging) -> Storing:
        if not _lacks_preamble(staging):
            return self._stored(staging)
        whole = self._source.stage()
        try:
            whole.write(_PREAMBLE)
            for octets in staging.open():
                whole.write(octets)
            return self._stored(whole)
        except OSError as problem:
            return _not_kept(problem, "", "")
        finally:
            whole.discard()

    def _stored(self, staging: Staging) -> Storing:
        intake = self._source.intake
        sop_class = sop_instance = ""
        try:
            header = read_header(staging.open())
            stated = (header.elements.text(tag) for tag in (0x00080016, 0x00080018))
            sop_class, sop_instance = (text if is_uid(text) else "" for text in stated)
            described = intake.describe(header, self._caller, STORED_OVER_THE_WEB)
        except DicomError:
            return Storing(sop_class, sop_instance, failure=_CANNOT_UNDERSTAND)
        study = described.study
        failure: int | None = None
        if self._study not in (None, study.study_instance_uid):
            failure = _OTHER_STUDY
        else:
            try:
                addition = intake.store(staging, described)
                failure = _OTHER_PATIENT if addition is Addition.CONFLICT else None
            except DicomError:
                failure = _CANNOT_UNDERSTAND
            except OSError as problem:
                return _not_kept(problem, sop_class, sop_instance)
        return Storing(sop_class, sop_instance, study.study_instance_uid, study.series[0].series_instance_uid, failure)


def _lacks_preamble(staging: Staging) -> bool:
    """Whether the object begins with its file meta information at once."""
    head = b""
    for octets in staging.open():
        head += octets
        if len(head) >= len(_PREAMBLE):
            break
    # The group length, the version or the SOP Class UID: whichever is the first that was written.
    is_meta = head[:2] == b"\2\0" and head[4:6] in (b"UL", b"OB", b"UI")
    return is_meta and head[128:132] != _PREAMBLE[128:]


def _data_sets(staging: Staging, media_type: str) -> list[Mapping[str, Any]]:
    if staging.size > MAX_METADATA:
        raise MultipartError(f"metadata has at most {MAX_METADATA} octets")
    octets = b"".join(staging.open())
    try:
        return read_json(octets) if media_type == DICOM_JSON else [read_native_model(octets)]
    except DicomError as problem:
        raise MultipartError(str(problem)) from None


def _not_kept(problem: OSError, sop_class_uid: str, sop_instance_uid: str) -> Storing:
    """The sender keeps what was not stored; the objects before and after it are answered as they fare."""
    _log.error("store_instances.store_failed", error=type(problem).__name__, errno=problem.errno)
    return Storing(sop_class_uid, sop_instance_uid, failure=_OUT_OF_RESOURCES)


def _plain(status: int, text: str) -> HttpReply:
    body = f"{text}\n".encode()
    return HttpReply(status, (("Content-Type", "text/plain; charset=utf-8"),), (body,), len(body))
