"""`make bench`: what the server does in a second, how long callers wait, and where a stored query spends its time.

    python -m bench                     everything
    python -m bench --documents 10000 1000000 --seconds 10 --only iti18
    python -m bench --database postgresql            on a PostgreSQL server that is started for it

The server is a process of its own; the load comes from this one. Both share the machine, so the figures are lower bounds.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import generator, load, messages, profile
from bench.databases import Databases, chosen
from tests.running import RunningServer

AUTHORITY = "1.2.250.1.71.4.9.4"
REPOSITORY = "1.2.250.1.71.4.9.1"
REGISTRY_PATH = "/services/registry"
REPOSITORY_PATH = "/services/repository"
CLIENTS = (1, 8)
_DOCUMENT_UNIQUE_ID = re.compile(rb'value="(2\.25\.77[0-9]+\.1)"')
SETTINGS = {
    "DOMAIN__ASSIGNING_AUTHORITY": AUTHORITY,
    "DOMAIN__REPOSITORY_UNIQUE_ID": REPOSITORY,
    "REGISTRY__REQUIRE_KNOWN_PATIENT": "false",
    "SERVER__LOG_LEVEL": "warning",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A running server under load."""

    host: str
    port: int
    seconds: float

    def run(self, title: str, source: load.Source, clients: tuple[int, ...] = CLIENTS) -> list[load.Result]:
        """Measure with each number of clients and print a line for each."""
        results = []
        for number in clients:
            result = load.run(self.host, self.port, number, self.seconds, source)
            print(f"  {title:34} {result}", flush=True)
            results.append(result)
        return results


def target(server: RunningServer, seconds: float) -> Target:
    """The server's HTTP address."""
    host, _, port = server.http.removeprefix("http://").rpartition(":")
    return Target(host, int(port), seconds)


def registrations() -> load.Source:
    """ITI-42 with one document, spread over a thousand patients."""
    template = messages.registration(AUTHORITY)
    patients = itertools.cycle([f"BENCH{number:04d}" for number in range(1000)])
    return lambda: messages.http_post(REGISTRY_PATH, messages.SOAP, messages.unique(template, next(patients)))


def provisions(size: int, sent: list[str]) -> load.Source:
    """ITI-41 with one document of `size` octets, each different; the uniqueIds are noted in `sent`."""
    template = messages.provision(AUTHORITY)
    patients = itertools.cycle([f"BENCH{number:04d}" for number in range(1000)])
    content = random.Random(7).randbytes(size)

    def source() -> bytes:
        root = messages.unique(template, next(patients))
        found = _DOCUMENT_UNIQUE_ID.search(root)
        assert found is not None
        sent.append(found[1].decode())
        return messages.mtom(REPOSITORY_PATH, root, sent[-1].encode() + content[len(sent[-1]) :])

    return source


def queries(documents: int, return_type: str = "LeafClass") -> load.Source:
    """ITI-18 FindDocuments for patients drawn at random, 25 entries each."""
    draw = random.Random(documents)

    def source() -> bytes:
        patient = generator.patient_id(draw.randrange(documents // generator.DOCUMENTS_PER_PATIENT))
        return messages.http_post(REGISTRY_PATH, messages.SOAP, messages.find_documents(patient, AUTHORITY, return_type))

    return source


def retrievals(sent: list[str]) -> load.Source:
    """ITI-43 of the documents that were provided before."""
    draw = random.Random(1)
    return lambda: messages.mtom(REPOSITORY_PATH, messages.retrieve(REPOSITORY, draw.choice(sent)))


def filled(directory: Path, documents: int, databases: Databases) -> RunningServer:
    """A server, not yet started, whose registry holds that many documents."""
    data, url = directory / f"registry-{documents}", databases.fresh(str(documents))
    begin = time.perf_counter()
    generator.fill(data, documents, AUTHORITY, REPOSITORY, url)
    print(f"  {documents} documents generated in {time.perf_counter() - begin:.0f} s", flush=True)
    return RunningServer(data, **SETTINGS, DATABASE__URL=url)


def measure_writes(directory: Path, seconds: float, databases: Databases) -> None:
    """ITI-42, ITI-41 and ITI-43 on an empty server."""
    with RunningServer(directory / "writes", **SETTINGS, DATABASE__URL=databases.fresh("writes")) as server:
        aim = target(server, seconds)
        aim.run("ITI-42, 1 document", registrations())
        sent: list[str] = []
        aim.run("ITI-41, 1 document of 100 kB", provisions(100_000, sent))
        aim.run("ITI-43, 1 document of 100 kB", retrievals(sent))


def measure_queries(directory: Path, sizes: list[int], seconds: float, databases: Databases) -> None:
    """ITI-18 on registries of several sizes; the ratio of their median times is what counts."""
    medians = {}
    for documents in sizes:
        with filled(directory, documents, databases) as server:
            aim = target(server, seconds)
            leaf = aim.run(f"ITI-18, 25 entries, {documents} documents", queries(documents))
            aim.run(f"ITI-18, 25 references, {documents}", queries(documents, "ObjectRef"))
            medians[documents] = leaf[0].p50
    if len(medians) > 1:
        small, large = min(medians), max(medians)
        print(f"  ITI-18 median with {large} documents / with {small}: {medians[large] / medians[small]:.2f}")


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="duration of each measurement (default 10)")
    parser.add_argument("--documents", type=int, nargs="+", default=[10_000, 1_000_000], help="sizes of the registry for ITI-18")
    parser.add_argument("--only", choices=["writes", "iti18", "profile"], help="one part alone")
    parser.add_argument(
        "--database",
        default="",
        metavar="URL",
        help="`postgresql`, or a database on a PostgreSQL server where others may be made (default: SQLite)",
    )
    parser.add_argument("--directory", type=Path, help="where to work (default: a temporary directory that is removed)")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[Path, Databases], None]] = {
        "writes": lambda directory, databases: measure_writes(directory, arguments.seconds, databases),
        "iti18": lambda directory, databases: measure_queries(directory, arguments.documents, arguments.seconds, databases),
        "profile": lambda directory, databases: profile.stored_query(
            directory, AUTHORITY, REPOSITORY, databases.fresh("profile")
        ),
    }
    with working_directory(arguments.directory) as directory, chosen(arguments.database) as databases:
        for name, part in parts.items():
            if arguments.only in (None, name):
                print(f"{name}:", flush=True)
                part(directory, databases)
    return 0


@contextmanager
def working_directory(given: Path | None) -> Iterator[Path]:
    """The given directory, or a temporary one that is removed at the end."""
    if given:
        given.mkdir(parents=True, exist_ok=True)
        yield given
    else:
        with tempfile.TemporaryDirectory(prefix="xds-bench-", ignore_cleanup_errors=True) as made:
            yield Path(made)


if __name__ == "__main__":
    sys.exit(main())
