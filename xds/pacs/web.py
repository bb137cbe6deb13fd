"""A PACS over DICOMweb: QIDO-RS for its studies, WADO-RS for its images.

Spec: DICOM PS3.18 10.6 (search), 10.4 (retrieve).
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any, Final, cast
from urllib.parse import quote, unquote, urlencode, urlsplit

from xds.model.foreign_images import FoundInstance, InstanceOutline, Pulled, PullError, PullProblem, StudySummary
from xds.pacs.attributes import INSTANCE, OUTLINED, SERIES, STUDY, found_instance, outline, summary
from xds.pacs.partner import Partner
from xds.pacs.web_connections import WebConnections, told
from xds.wire.dicom import DicomError
from xds.wire.dicom_header import read_header
from xds.wire.dicom_json_reading import text_of
from xds.wire.dicomweb import DICOM, DICOM_JSON, MULTIPART, MultipartError, read_media_type, stream_multipart

#: Answers that are asked for at once, and that are borne in all.
_PAGE: Final = 1000
_MOST: Final = 100_000
#: Fewer answers than these are all there are: no service has so small a limit.
_SHORT: Final = 50
#: Octets of one answer to a search.
_LONGEST: Final = 256 << 20
_OBJECTS: Final = f'{MULTIPART}; type="{DICOM}"; transfer-syntax=*'

Item = Mapping[str, Any]


class _Unframed:
    """A response that is read as it arrives: a read gives what is there."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def read(self, size: int, /) -> bytes:
        return self._response.read1(size)


class WebArchive:
    """A PACS over DICOMweb. One object serves all threads."""

    def __init__(self, partner: Partner, ssl_context: ssl.SSLContext | None = None) -> None:
        """User and password in the address of the services are sent as basic authentication."""
        self._partner = partner
        address = urlsplit(partner.dicomweb)
        self._address = address
        # Reading the certificates of all authorities takes longer than most requests.
        context = ssl_context or (ssl.create_default_context() if address.scheme == "https" else None)
        self._connections = WebConnections(partner, context)
        self._headers: dict[str, str] = {}
        if address.username is not None:
            secret = f"{unquote(address.username)}:{unquote(address.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"

    @property
    def name(self) -> str:
        """Its name in the settings."""
        return self._partner.name

    def studies(self, first_date: str, last_date: str) -> Iterator[StudySummary]:
        """The studies of these days."""
        for item in self._search("/studies", STUDY, {"StudyDate": f"{first_date}-{last_date}"}):
            found = summary(item)
            if found is not None:
                yield found

    def study(self, study_instance_uid: str) -> StudySummary | None:
        """One study; None when it has none."""
        found = self._study(study_instance_uid)
        return summary(found) if found else None

    def instances(self, study_instance_uid: str, series_instance_uid: str | None = None) -> Iterator[FoundInstance]:
        """The instances of a study, or of one of its series."""
        study = self._study(study_instance_uid)
        if study is None:
            return
        path = f"/studies/{study_instance_uid}/series"
        wanted = {"SeriesInstanceUID": series_instance_uid} if series_instance_uid else {}
        for series in self._search(path, SERIES, wanted):
            uid = text_of(series, "0020000E")
            if series_instance_uid in (None, uid):
                for item in self._search(f"{path}/{uid}/instances", INSTANCE, {}):
                    yield found_instance(study, series, item)

    def outline(self, study_instance_uid: str, series_instance_uid: str) -> Iterator[InstanceOutline]:
        """The instances of a series in few words."""
        path = f"/studies/{study_instance_uid}/series/{series_instance_uid}/instances"
        return map(outline, self._search(path, OUTLINED, {}))

    def fetch(
        self, study_instance_uid: str, series_instance_uid: str, sop_classes: Mapping[str, str], *, whole_series: bool
    ) -> Iterator[Pulled]:
        """The objects as they arrive."""
        series = f"/studies/{study_instance_uid}/series/{series_instance_uid}"
        paths = [series] if whole_series else [f"{series}/instances/{uid}" for uid in sop_classes]
        for path in paths:
            with self._get(path, _OBJECTS, partial(len, sop_classes)) as response:
                if response.status in (204, 404, 410):
                    continue
                for pulled in _objects(response):
                    if pulled.sop_instance_uid in sop_classes:
                        yield pulled

    def close(self) -> None:
        """Close the connections that are kept. Idempotent."""
        self._connections.close()

    def _study(self, study_instance_uid: str) -> Item | None:
        found = self._search("/studies", STUDY, {"StudyInstanceUID": study_instance_uid})
        return next((item for item in found if text_of(item, "0020000D") == study_instance_uid), None)

    def _search(self, path: str, fields: Mapping[str, str], wanted: Mapping[str, str]) -> list[Item]:
        """All answers, page by page. A service that does not page is borne."""
        found: list[Item] = []
        seen: set[str] = set()
        key = "0020000D" if fields is STUDY else "0020000E" if fields is SERIES else "00080018"
        while True:
            pairs = [*wanted.items(), *(("includefield", tag) for tag in fields)]
            page = self._page(path, [*pairs, ("limit", str(_PAGE)), ("offset", str(len(found)))])
            new = [item for item in page if (uid := text_of(item, key)) and uid not in seen]
            seen.update(text_of(item, key) for item in new)
            found += new
            if len(found) > _MOST:
                raise PullError(PullProblem.BROKEN, f"more than {_MOST} answers to one search")
            # Services have limits of their own, and do not always say that there is more.
            if not new or len(page) < _SHORT:
                return found

    def _page(self, path: str, pairs: Sequence[tuple[str, str]]) -> list[Item]:
        with self._get(f"{path}?{urlencode(pairs)}", DICOM_JSON) as response:
            if response.status in (204, 404, 410):
                return []
            octets = response.read(_LONGEST + 1)
            if len(octets) > _LONGEST:
                raise PullError(PullProblem.BROKEN, "an answer to QIDO-RS is too long")
            try:
                items = json.loads(octets)
            except (ValueError, RecursionError):
                raise PullError(PullProblem.BROKEN, "an answer to QIDO-RS is no JSON") from None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise PullError(PullProblem.BROKEN, "an answer to QIDO-RS is no array of data sets")
        return cast("list[Item]", items)

    @contextmanager
    def _get(self, path: str, accept: str, meanwhile: Callable[[], object] = object) -> Iterator[http.client.HTTPResponse]:
        """What the service answers. `meanwhile` is called while it is at work."""
        target = quote(self._address.path, safe="/%") + path
        with self._connections.get(target, {"Accept": accept, **self._headers}, meanwhile) as response:
            if response.status not in (200, 204, 206, 404, 410):
                raise PullError(PullProblem.REFUSED, f"HTTP status {response.status}")
            yield response


def _objects(response: http.client.HTTPResponse) -> Iterator[Pulled]:
    content = read_media_type(response.headers.get("Content-Type", ""))
    stream = _Unframed(response)
    try:
        if content.name == DICOM:
            yield _pulled(_told(iter(lambda: stream.read(256 * 1024), b"")))
            return
        if content.name != MULTIPART:
            raise PullError(PullProblem.BROKEN, "the answer to WADO-RS is not multipart/related")
        for _, pieces in stream_multipart(stream, content.parameters.get("boundary", "")):
            yield _pulled(_told(pieces))
    except (MultipartError, DicomError) as problem:
        raise PullError(PullProblem.BROKEN, "the answer to WADO-RS cannot be read") from problem


def _told(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same for whoever reads them elsewhere. Errors: PullError."""
    with told():
        try:
            yield from pieces
        except MultipartError as problem:
            raise PullError(PullProblem.BROKEN, "the answer to WADO-RS cannot be read") from problem


def _pulled(chunks: Iterator[bytes]) -> Pulled:
    """The object, after its head has been looked at. Errors: DicomError."""
    held: list[bytes] = []

    def kept() -> Iterator[bytes]:
        for chunk in chunks:
            held.append(chunk)
            yield chunk

    header = read_header(kept(), until=0x00080019)
    return Pulled(header.elements.text(0x00080018), header.transfer_syntax, chain(held, chunks))
