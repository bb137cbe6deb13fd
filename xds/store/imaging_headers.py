"""Headers of instances, in the DICOM JSON model: kept as they are answered."""

from __future__ import annotations

from threading import local

import zstandard
from sqlalchemy import Connection, select

from xds.store.dialects import put
from xds.store.schema.imaging import imaging_header, imaging_instance, imaging_rejection, imaging_study

_codecs = local()


def put_header(connection: Connection, study_key: int, series_uid: str, sop_uid: str, packed: bytes) -> None:
    """Keep the packed header of an instance, in place of one that it had."""
    values = {"study_key": study_key, "series_instance_uid": series_uid, "sop_instance_uid": sop_uid, "header": packed}
    put(connection, imaging_header, ("study_key", "series_instance_uid", "sop_instance_uid"), values)


def headers(
    connection: Connection,
    study_instance_uid: str,
    series_instance_uid: str | None = None,
    sop_instance_uid: str | None = None,
    limit: int | None = None,
) -> list[tuple[str, str, bytes]]:
    """Series and SOP Instance UID and packed header of the instances of a study that are not rejected, by their numbers.

    `unpack` gives the header.
    """
    head, instance, rejected = imaging_header.c, imaging_instance.c, imaging_rejection.c
    study = select(imaging_study.c.study_key).where(imaging_study.c.study_instance_uid == study_instance_uid).scalar_subquery()
    withheld = select(rejected.sop_instance_uid).where(rejected.study_key == study)
    statement = (
        select(head.series_instance_uid, head.sop_instance_uid, head.header)
        .join(
            imaging_instance,
            (instance.study_key == head.study_key)
            & (instance.series_instance_uid == head.series_instance_uid)
            & (instance.sop_instance_uid == head.sop_instance_uid),
        )
        .where(head.study_key == study, head.sop_instance_uid.not_in(withheld))
        .order_by(head.series_instance_uid, instance.instance_number.nulls_first(), head.sop_instance_uid)
    )
    if series_instance_uid is not None:
        statement = statement.where(head.series_instance_uid == series_instance_uid)
    if sop_instance_uid is not None:
        statement = statement.where(head.sop_instance_uid == sop_instance_uid)
    if limit is not None:
        statement = statement.limit(limit)
    return [(row[0], row[1], row[2]) for row in connection.execute(statement)]


def pack(header: bytes) -> bytes:
    """A header in the DICOM JSON model as it is kept."""
    return _compressor().compress(header)


def unpack(packed: bytes) -> bytes:
    """A header in the DICOM JSON model."""
    return _decompressor().decompress(packed)


def _compressor() -> zstandard.ZstdCompressor:
    # They serve one thread at a time.
    if not hasattr(_codecs, "compressor"):
        _codecs.compressor = zstandard.ZstdCompressor(level=3)
    found: zstandard.ZstdCompressor = _codecs.compressor
    return found


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_codecs, "decompressor"):
        _codecs.decompressor = zstandard.ZstdDecompressor()
    found: zstandard.ZstdDecompressor = _codecs.decompressor
    return found
