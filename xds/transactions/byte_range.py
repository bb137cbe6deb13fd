"""A part of a body, as players of video and interrupted downloads ask for it.

Spec: RFC 9110 14 (range requests): one range of octets. Several ranges, and a range that depends on a validator (`If-Range`),
get the whole, as section 14.2 permits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from xds.open_file import OpenFile, read
from xds.wire.http import HttpReply, HttpRequest

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


def ranged(request: HttpRequest, reply: HttpReply) -> HttpReply:
    """The reply, or the part of it that the request asks for: of one body whose length is known, and that is no multipart.

    Errors: 416 for a range that begins behind the end.
    """
    headers = dict(reply.headers)
    length = reply.length
    if reply.status != 200 or length is None or headers.get("Content-Type", "").startswith("multipart/"):
        return reply
    whole = replace(reply, headers=(*reply.headers, ("Accept-Ranges", "bytes")))
    if request.method != "GET" or "if-range" in request.headers:
        return whole
    found = _range(request.headers, length)
    if found is None:
        return whole
    first, last = found
    if first > last:
        if reply.finished is not None:
            reply.finished(False)
        return HttpReply(416, (("Content-Range", f"bytes */{length}"), ("Content-Type", "text/plain; charset=utf-8")), (), 0)
    part = ("Content-Range", f"bytes {first}-{last}/{length}")
    size = last - first + 1
    return replace(whole, status=206, headers=(*whole.headers, part), body=_cut(reply.body, first, size), length=size)


def _range(headers: Mapping[str, str], length: int) -> tuple[int, int] | None:
    """First and last octet that are asked for, the first behind the last when there are none; None: no such question."""
    found = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return max(length - int(last), 0), length - 1 if int(last) else -1
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last), length - 1) if last else length - 1


def _cut(body: Iterable[bytes | OpenFile], skipped: int, size: int) -> Iterator[bytes]:
    for chunk in read(body):
        if skipped >= len(chunk):
            skipped -= len(chunk)
            continue
        piece = chunk[skipped : skipped + size]
        skipped = 0
        size -= len(piece)
        yield piece
        if not size:
            return
