"""Plain HTTP requests of the imaging commands: WADO-URI and WADO-RS."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from xds.cli.outcome import NoAnswer, Refused, why_no_answer

_MOST_OF_A_REFUSAL = 2000


@contextmanager
def get(url: str, headers: Mapping[str, str], timeout: float) -> Iterator[http.client.HTTPResponse]:
    """Get a resource; the body is read while the connection is open.

    Errors: Refused for any other status than 200, NoAnswer.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""), headers=dict(headers))
        response = connection.getresponse()
        if response.status != http.client.OK:
            said = response.read(_MOST_OF_A_REFUSAL).decode("utf-8", "replace").strip()
            raise Refused(f"HTTP {response.status} {response.reason}" + (f": {said}" if said else ""))
        yield response
    except (http.client.HTTPException, OSError) as error:
        raise NoAnswer(f"{parts.netloc}: {why_no_answer(error)}") from error
    finally:
        connection.close()
