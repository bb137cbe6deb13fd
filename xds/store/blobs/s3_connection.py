"""The connection to a bucket: how long its requests may take, and how often they are tried again."""

from __future__ import annotations

from datetime import timedelta

from obstore.store import S3Store

from xds.store.blobs.s3_location import Location

#: How long a request may take, and until when it is tried again; seconds.
CONNECT_SECONDS, REQUEST_SECONDS, RETRY_SECONDS, RETRIES = 5, 30, 20, 3


def connected(location: Location) -> S3Store:
    """A bucket as the library sees it. Nothing is sent yet. Errors: those of the library."""
    given = {"endpoint": location.endpoint, "region": location.region}
    return S3Store(
        location.bucket,
        prefix=location.prefix or None,
        config={name: value for name, value in given.items() if value},  # type: ignore[arg-type]
        client_options={
            "allow_http": location.endpoint.startswith("http:"),
            "connect_timeout": f"{CONNECT_SECONDS}s",
            "timeout": f"{REQUEST_SECONDS}s",
        },
        retry_config={
            "max_retries": RETRIES,
            "retry_timeout": timedelta(seconds=RETRY_SECONDS),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=2),
                "base": 2,
            },
        },
    )
