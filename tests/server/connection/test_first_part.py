"""An answer that is made while it goes out: its reader may begin at once."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from xds.server.launcher import HttpServer

FIRST, REST = b"a" * 8192, b"b" * 8192


def test_the_first_part_does_not_wait_for_the_second() -> None:
    was_read = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "application/octet-stream")])

        def parts() -> Iterator[bytes]:
            yield FIRST
            assert was_read.wait(60)
            yield REST

        return parts()

    server = HttpServer(app, "127.0.0.1", 0)
    port = server.start()
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
            client.request("GET", "/")
            answer = client.getresponse()
            assert answer.read(len(FIRST)) == FIRST
            was_read.set()
            assert answer.read() == REST
    finally:
        was_read.set()
        server.stop()
