"""Where an ITI-18 with 25 entries spends its time: the WSGI application is called in this process, without sockets."""

from __future__ import annotations

import cProfile
import io
import pstats
import time
from pathlib import Path
from typing import Any

from bench import generator, messages
from xds import config
from xds.app import App, build
from xds.server.http import HttpApplication

DOCUMENTS = 10_000
REQUESTS = 300
LINES = 25


def stored_query(directory: Path, authority: str, repository_unique_id: str, url: str = "") -> None:
    """Print the time of one request, and the functions of this project in the order of the time spent inside them.

    `url` is an empty PostgreSQL database instead of a file.
    """
    data = directory / "profile"
    generator.fill(data, DOCUMENTS, authority, repository_unique_id, url)
    own = {"domain.assigning_authority": authority, "domain.repository_unique_id": repository_unique_id, "database.url": url}
    settings = config.load(None, {"server.data": data, **own})
    app = build(settings, "http://127.0.0.1")
    try:
        _measure(app, authority)
    finally:
        app.close()


def _measure(app: App, authority: str) -> None:
    application = HttpApplication(app.domain, app.transactions, stage=app.blobs.stage)
    requests = [
        messages.find_documents(generator.patient_id(number % (DOCUMENTS // generator.DOCUMENTS_PER_PATIENT)), authority)
        for number in range(REQUESTS)
    ]
    _call_all(application, requests)
    begin = time.process_time()
    _call_all(application, requests)
    print(f"  one request, without sockets: {(time.process_time() - begin) / REQUESTS * 1000:.2f} ms CPU (all threads)")
    profiler = cProfile.Profile()
    profiler.enable()
    _call_all(application, requests)
    profiler.disable()
    statistics: Any = pstats.Stats(profiler)
    rows = sorted(statistics.stats.items(), key=lambda item: item[1][3], reverse=True)
    print("  ms a request, cumulative and own, under the profiler (which doubles the time of small functions):")
    shown = [(where, timing) for where, timing in rows if "/xds/" in where[0] or "sqlite" in where[2] or "lxml" in where[2]]
    for (path, line, name), (_, calls, own, cumulative, _) in shown[:LINES]:
        place = path.rpartition("/xds/")[2] or path
        share = f"{cumulative / REQUESTS * 1000:7.3f} {own / REQUESTS * 1000:7.3f}"
        print(f"  {share}  {calls / REQUESTS:6.1f} calls  {place}:{line} {name}")


def _call_all(application: HttpApplication, requests: list[bytes]) -> None:
    for body in requests:
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/services/registry",
            "QUERY_STRING": "",
            "CONTENT_TYPE": messages.SOAP,
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.input": io.BytesIO(body),
        }
        answer = application(environ, lambda status, headers: None)
        octets = b"".join(answer)
        answer.close()  # type: ignore[attr-defined]
        if octets.count(b"<rim:ExtrinsicObject ") != generator.DOCUMENTS_PER_PATIENT:
            raise RuntimeError("the answer does not hold what was registered")
