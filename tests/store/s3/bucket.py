"""What the tests of blobs in a bucket have in common: what is staged, and what the bucket holds then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.store.servers import ObjectServer
from xds.store.blobs import s3
from xds.store.blobs.s3 import S3BlobStore

BLOCK = bytes(range(256)) * 4096
#: Sent in several parts.
MANY_PARTS = 22
LONG_AGO, LATER = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1)


def staged(store: S3BlobStore, blocks: int) -> s3.S3Staging:
    staging = store.stage()
    for _ in range(blocks):
        staging.write(BLOCK)
    return staging


def names(server: ObjectServer, bucket: str) -> list[str]:
    """Every object of the bucket, as another client sees them."""
    return [item["Key"] for item in server.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


def uploads(server: ObjectServer, bucket: str) -> list[object]:
    return list(server.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []))
