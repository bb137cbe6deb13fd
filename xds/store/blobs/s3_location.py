"""The address of a bucket, as the settings have it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Location:
    """Where the objects are. Empty `endpoint` and `region` mean those of the environment, or AWS."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}" + (f" at {self.endpoint}" if self.endpoint else "")


def read_location(url: str) -> Location:
    """Read `s3://bucket/prefix?endpoint=…&region=…`. Errors: OSError for anything else; credentials are not taken from it."""
    parts = urlsplit(url)
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    endpoint, region = parameters.pop("endpoint", ""), parameters.pop("region", "")
    form = "the address of the storage is s3://bucket/prefix?endpoint=http(s)://host:port&region=name"
    if parts.scheme != "s3" or not parts.netloc:
        raise OSError(form)
    if "@" in parts.netloc or ":" in parts.netloc:
        raise OSError(f"{form}; credentials stand in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if parameters or parts.fragment:
        raise OSError(f"{form}; unknown: {', '.join(parameters) or 'fragment'}")
    if endpoint and (urlsplit(endpoint).scheme not in {"http", "https"} or not urlsplit(endpoint).netloc):
        raise OSError(f"{form}; its endpoint is no such URL")
    return Location(parts.netloc, parts.path.strip("/"), endpoint.rstrip("/"), region)
