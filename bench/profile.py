"""Where an ITI-18 with 25 entries and an ITI-42 spend their time: the WSGI application is called here, without sockets."""

from __future__ import annotations

import cProfile
import io
import pstats
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import generator, messages
from xds import config, logs
from xds.app import build
from xds.server.http import HttpApplication

DOCUMENTS = 10_000
REQUESTS = 300
LINES = 25


def stored_query(directory: Path, authority: str, repository_unique_id: str, url: str = "") -> None:
    """Print the time of one ITI-18, and the functions of this project in the order of the time spent inside them.

    `url` is an empty PostgreSQL database instead of a file.
    """
    data = directory / "profile"
    generator.fill(data, DOCUMENTS, authority, repository_unique_id, url)
    requests = [
        messages.find_documents(generator.patient_id(number % (DOCUMENTS // generator.DOCUMENTS_PER_PATIENT)), authority)
        for number in range(REQUESTS)
    ]
    expected = generator.DOCUMENTS_PER_PATIENT
    with _application(data, authority, repository_unique_id, url) as application:
        _measure(application, "ITI-18", lambda: requests, lambda octets: octets.count(b"<rim:ExtrinsicObject ") == expected)


def registration(directory: Path, authority: str, repository_unique_id: str, url: str = "") -> None:
    """Print the same of one ITI-42. What its writer does in a thread of its own is in the time, and not among the functions."""
    template = messages.registration(authority)

    def requests() -> list[bytes]:
        return [messages.unique(template, generator.patient_id(number)) for number in range(REQUESTS)]

    with _application(directory / "profile-writes", authority, repository_unique_id, url) as application:
        _measure(application, "ITI-42", requests, lambda octets: b":Success" in octets)


@contextmanager
def _application(data: Path, authority: str, repository_unique_id: str, url: str) -> Iterator[HttpApplication]:
    own = {"domain.assigning_authority": authority, "domain.repository_unique_id": repository_unique_id, "database.url": url}
    settings = config.load(None, {"server.data": data, "registry.require_known_patient": False, **own})
    logs.configure("warning")
    app = build(settings, "http://127.0.0.1")
    try:
        yield HttpApplication(app.domain, app.transactions, stage=app.blobs.stage)
    finally:
        app.close()


def _measure(
    application: HttpApplication, title: str, requests: Callable[[], list[bytes]], is_right: Callable[[bytes], bool]
) -> None:
    _call_all(application, requests(), is_right)
    some = requests()
    begin = time.process_time()
    _call_all(application, some, is_right)
    print(f"  one {title}, without sockets: {(time.process_time() - begin) / REQUESTS * 1000:.2f} ms CPU (all threads)")
    some = requests()
    # Time of the processor: who waits for the disk spends none.
    profiler = cProfile.Profile(timer=time.thread_time)
    profiler.enable()
    _call_all(application, some, is_right)
    profiler.disable()
    statistics: Any = pstats.Stats(profiler)
    rows = sorted(statistics.stats.items(), key=lambda item: item[1][3], reverse=True)
    print("  ms a request, cumulative and own, under the profiler (which doubles the time of small functions):")
    shown = [(where, timing) for where, timing in rows if "/xds/" in where[0] or "sqlite" in where[2] or "lxml" in where[2]]
    for (path, line, name), (_, calls, own, cumulative, _) in shown[:LINES]:
        place = path.rpartition("/xds/")[2] or path
        share = f"{cumulative / REQUESTS * 1000:7.3f} {own / REQUESTS * 1000:7.3f}"
        print(f"  {share}  {calls / REQUESTS:6.1f} calls  {place}:{line} {name}")


def _call_all(application: HttpApplication, requests: list[bytes], is_right: Callable[[bytes], bool]) -> None:
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
        if not is_right(octets):
            raise RuntimeError("the answer is not what was to be expected")
