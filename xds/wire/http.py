"""A plain HTTP request and reply, for the transactions that are not SOAP (WADO, DICOMweb, FHIR)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from xds.open_file import OpenFile


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `path` is the part below the transaction's own path, header names are lower-case.

    `query` keeps every value of a repeated parameter, in order.
    """

    method: str
    path: str
    query: Mapping[str, tuple[str, ...]]
    headers: Mapping[str, str]
    stream: BinaryIO


@dataclass(frozen=True, slots=True)
class HttpReply:
    """One reply. `length` is None when it is not known before the body is produced.

    `finished` is called once, with True after the last byte was handed over, with False when the reader went away.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: Iterable[bytes | OpenFile] = ()
    length: int | None = None
    finished: Callable[[bool], None] | None = None
