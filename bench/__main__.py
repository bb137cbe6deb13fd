"""`make bench`: what the server does in a second, how long callers wait, and where a stored query spends its time.

    python -m bench                                   everything, on SQLite and on a PostgreSQL server that is started for it
    python -m bench --only iti18 --database sqlite --documents 10000 10000000

There is a server process for each processor; the load comes from this one. They share the machine, so the figures are lower
bounds: what the load itself takes for a request stands beside them. A million documents take some minutes to generate and 3 GB of
disk.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import generator, large, load, messages, profile
from bench.databases import Databases, chosen
from tests.running import RunningServer

AUTHORITY = "1.2.250.1.71.4.9.4"
REPOSITORY = "1.2.250.1.71.4.9.1"
REGISTRY_PATH = "/services/registry"
REPOSITORY_PATH = "/services/repository"
_DOCUMENT_UNIQUE_ID = re.compile(rb'value="(2\.25\.77[0-9]+\.1)"')
SETTINGS = {
    "DOMAIN__ASSIGNING_AUTHORITY": AUTHORITY,
    "DOMAIN__REPOSITORY_UNIQUE_ID": REPOSITORY,
    "REGISTRY__REQUIRE_KNOWN_PATIENT": "false",
    "SERVER__LOG_LEVEL": "warning",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure: seconds for each figure, numbers of clients, server processes, and sizes of the registry."""

    seconds: float
    clients: tuple[int, ...]
    processes: int
    documents: tuple[int, ...]
    databases: Databases

    def server(self, data: Path, url: str) -> RunningServer:
        """A server, not yet started, on that data directory and database."""
        settings = {**SETTINGS, "DATABASE__URL": url}
        return RunningServer(data, "--processes", str(self.processes), config=None, **settings)

    def run(self, server: RunningServer, title: str, source: load.Source) -> list[load.Result]:
        """Measure with each number of clients and print a line for each."""
        host, port = large.address(server)
        results = []
        for number in self.clients:
            load.run(host, port, number, min(1.0, self.seconds / 5), source)
            results.append(load.run(host, port, number, self.seconds, source))
            print(f"  {title:34} {results[-1]}", flush=True)
        return results


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


def lookups(documents: int) -> load.Source:
    """ITI-18 GetDocuments by uniqueId, of documents drawn at random."""
    draw = random.Random(documents)

    def source() -> bytes:
        wanted = generator.unique_id(1 + draw.randrange(documents))
        return messages.http_post(REGISTRY_PATH, messages.SOAP, messages.get_documents(wanted))

    return source


def retrievals(sent: list[str]) -> load.Source:
    """ITI-43 of the documents that were provided before."""
    draw = random.Random(1)
    return lambda: messages.mtom(REPOSITORY_PATH, messages.retrieve(REPOSITORY, draw.choice(sent)))


def filled(directory: Path, documents: int, plan: Plan) -> RunningServer:
    """A server, not yet started, whose registry holds that many documents."""
    data, url = directory / f"registry-{documents}", plan.databases.fresh(str(documents))
    begin = time.perf_counter()
    generator.fill(data, documents, AUTHORITY, REPOSITORY, url)
    print(f"  {documents} documents generated in {time.perf_counter() - begin:.0f} s", flush=True)
    return plan.server(data, url)


def measure_writes(directory: Path, plan: Plan) -> None:
    """ITI-42, ITI-41 and ITI-43 on an empty server."""
    with plan.server(directory / "writes", plan.databases.fresh("writes")) as server:
        plan.run(server, "ITI-42, 1 document", registrations())
        sent: list[str] = []
        plan.run(server, "ITI-41, 1 document of 100 kB", provisions(100_000, sent))
        plan.run(server, "ITI-43, 1 document of 100 kB", retrievals(sent))


def across_patients(documents: int) -> load.Source:
    """ITI-51 FindDocumentsForMultiplePatients: references to the documents of four patients drawn at random."""
    draw = random.Random(documents)
    patients = documents // generator.DOCUMENTS_PER_PATIENT

    def source() -> bytes:
        wanted = [generator.patient_id(draw.randrange(patients)) for _ in range(4)]
        return messages.http_post(REGISTRY_PATH, messages.SOAP, messages.find_documents_of(wanted, AUTHORITY))

    return source


def measure_queries(directory: Path, plan: Plan) -> None:
    """ITI-18 and ITI-51 on registries of several sizes, one right after the other; the ratio of their times is what counts."""
    kinds: dict[str, Callable[[int], load.Source]] = {
        "ITI-18, 25 entries": queries,
        "ITI-18, 25 references": lambda documents: queries(documents, "ObjectRef"),
        "ITI-18, by uniqueId": lookups,
        "ITI-51, 100 references": across_patients,
    }
    with ExitStack() as stack:
        servers = {documents: stack.enter_context(filled(directory, documents, plan)) for documents in sorted(plan.documents)}
        for title, source in kinds.items():
            results = {size: plan.run(server, f"{title} of {size}", source(size)) for size, server in servers.items()}
            _compare(title, results)
        for documents, server in servers.items():
            find = messages.find_documents(generator.HEAVY_PATIENT, AUTHORITY)
            request = messages.http_post(REGISTRY_PATH, messages.SOAP, find)
            title = f"ITI-18, {generator.HEAVY_DOCUMENTS} entries of {documents}"
            print(f"  {title:34} {large.answer(server, request)}", flush=True)


def _compare(title: str, results: Mapping[int, Sequence[load.Result]]) -> None:
    small, most = min(results), max(results)
    if small == most:
        return
    for few, many in zip(results[small], results[most], strict=True):
        ratios = f"p50 {many.p50 / few.p50:.2f}   p95 {many.p95 / few.p95:.2f}"
        print(f"  {title}, {few.clients} clients: with {most} documents / with {small}: {ratios}", flush=True)


def measure_document(directory: Path, plan: Plan) -> None:
    """ITI-41 and ITI-43 of one gibibyte."""
    with plan.server(directory / "document", plan.databases.fresh("document")) as server:
        large.document(server, directory, AUTHORITY, REPOSITORY)


def measure_profile(directory: Path, plan: Plan) -> None:
    """Where a stored query and a submission spend their time."""
    profile.stored_query(directory, AUTHORITY, REPOSITORY, plan.databases.fresh("profile"))
    profile.registration(directory, AUTHORITY, REPOSITORY, plan.databases.fresh("profile_writes"))


PARTS: dict[str, Callable[[Path, Plan], None]] = {
    "writes": measure_writes,
    "iti18": measure_queries,
    "gibibyte": measure_document,
    "profile": measure_profile,
}

#: What is measured on a PostgreSQL server unless it is asked for: the rest has little to do with the database.
ON_SERVERS = ("writes", "iti18")


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="duration of each measurement (default 10)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16], help="clients at a time (default 1 and 16)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="server processes (default: one for each processor)"
    )
    parser.add_argument("--documents", type=int, nargs="+", default=[10_000, 1_000_000], help="sizes of the registry for queries")
    parser.add_argument("--only", choices=PARTS, nargs="+", help="some parts alone")
    parser.add_argument(
        "--database",
        nargs="+",
        default=["sqlite", "postgresql"],
        metavar="NAME",
        help="`sqlite`, `postgresql` (a server that is started for it), or the URL of a database on a PostgreSQL server\n"
        "where others may be made; default: sqlite and postgresql",
    )
    parser.add_argument("--directory", type=Path, help="where to work (default: a temporary directory that is removed)")
    arguments = parser.parse_args()
    for name in arguments.database:
        wanted = "" if name == "sqlite" else name
        with working_directory(arguments.directory) as directory, chosen(wanted) as databases:
            plan = Plan(arguments.seconds, tuple(arguments.clients), arguments.processes, tuple(arguments.documents), databases)
            parts = arguments.only or [part for part in PARTS if not wanted or part in ON_SERVERS]
            for part in parts:
                noun = "process" if plan.processes == 1 else "processes"
                print(f"{part}, {name.partition(':')[0]}, {plan.processes} server {noun}:", flush=True)
                PARTS[part](directory, plan)
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
