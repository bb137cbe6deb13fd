"""A registry database filled with many documents, fast: `python -m bench.generator DIRECTORY DOCUMENTS`.

One submission of `bench.messages` is registered as usual. Its rows are then copied by the database itself, with keys, ids and
times computed from the number of the copy; the fragments, which hold those too, are rendered and packed by other processes.
Everything depends on the number of documents alone, so that benchmarks repeat.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench import messages
from bench.sinks import PostgresqlSink, Sink, SqliteSink
from xds.actors.document_registry import DocumentRegistry
from xds.app import DATABASE_FILE
from xds.model.caller import SYSTEM
from xds.model.domain_identity import DomainIdentity
from xds.model.metadata import Submission
from xds.rules.access import AllowAll
from xds.rules.submission import assign_identifiers
from xds.store.database import open_database
from xds.store.registry.fragments import pack, unpack
from xds.wire import ebrim
from xds.wire.xml import parse

DOCUMENTS_PER_PATIENT = 25
#: Beside the others stands one patient with as many documents as one answer may hold.
HEAVY_DOCUMENTS = 5000
HEAVY_PATIENT = "PAT9999999"

_COPIES_PER_BATCH: Final = 2000
_OBJECTS: Final = 3
_TABLES: Final = (
    "registry_object",
    "unique_identifier",
    "document_entry",
    "submission_set",
    "association",
    "object_code",
    "object_text",
)
#: What a copy has where it differs from the template, which is `t`; the copy is `c`.
_COPIED: Final = {
    "patient_key": "c.patient_key",
    "object_key": f"t.object_key + {_OBJECTS} * c.number",
    "source_key": f"t.source_key + {_OBJECTS} * c.number",
    "target_key": f"t.target_key + {_OBJECTS} * c.number",
    "entry_uuid": "CAST(c.stem || substr(t.entry_uuid, 16) AS OCTETS)",
    "logical_id": "CAST(c.stem || substr(t.logical_id, 16) AS OCTETS)",
    "unique_id": "replace(t.unique_id, '{serial}', c.serial)",
    "value": "replace(t.value, '{serial}', c.serial)",
    "creation_time": "c.creation_time",
    "fragment": "c.{table}",
}
_CREATION_TIME: Final = "20260110091500"


def patient_id(number: int) -> str:
    """The id of a generated patient, in the authority that the database was filled for."""
    return f"PAT{number:07d}"


def unique_id(number: int) -> str:
    """The uniqueId of the generated document with that number, from 1."""
    return f"{_serial(number)}.1"


def fill(data: Path, documents: int, authority: str, repository_unique_id: str, url: str = "") -> None:
    """Make a data directory with `documents` registered documents, `DOCUMENTS_PER_PATIENT` for each patient, and the heavy one.

    `url` is an empty PostgreSQL database that is to be filled instead of a file.
    Errors: FileExistsError when there is a database already.
    """
    data.mkdir(parents=True, exist_ok=True)
    path = (data / DATABASE_FILE).resolve()
    if not url and path.exists():
        raise FileExistsError(path)
    _register_template(url or f"sqlite:///{path}", authority, repository_unique_id)
    sink: Sink = PostgresqlSink(url, ("patient", *_TABLES)) if url else SqliteSink(path)
    _copy_all(sink, documents, authority)
    sink.finish()


def _serial(number: int) -> str:
    return f"2.25.88{number:018d}"


def _register_template(url: str, authority: str, repository_unique_id: str) -> None:
    identity = DomainIdentity(authority, "BENCH", "1.2.3", repository_unique_id, "1.2.4", "BENCH", "http://127.0.0.1")
    database = open_database(url)
    try:
        database.create_schema()
        registry = DocumentRegistry(database, identity, AllowAll(), lambda: datetime.now(UTC), require_known_patient=False)
        response = registry.register(_template(authority, repository_unique_id), SYSTEM)
    finally:
        database.close()
    if not response.succeeded:
        raise ValueError(f"the registry refuses the submission of this benchmark: {response.errors}")


def _template(authority: str, repository_unique_id: str) -> Submission:
    """The first document of the first patient. Its UUIDs differ in their last two digits."""
    text = ebrim.write_submission(messages.submission())
    for mark, value in ((messages.AUTHORITY, authority), (messages.PATIENT, patient_id(0)), (messages.SERIAL, _serial(1))):
        text = text.replace(mark.encode(), value.encode())
    submission, problems = ebrim.read_submission(parse(text))
    if submission is None:
        raise ValueError(f"the submission of this benchmark is invalid: {problems}")
    entry = submission.document_entries[0]
    slots = tuple(
        replace(item, values=(repository_unique_id,)) if item.name == "repositoryUniqueId" else item for item in entry.slots
    )
    parts = iter(range(256))
    stem = _MARKS[0]
    return assign_identifiers(
        replace(submission, document_entries=(replace(entry, slots=slots),)), lambda: f"urn:uuid:{stem}{next(parts):02x}"
    )


@dataclass(frozen=True, slots=True)
class _Copy:
    """What differs in one copy. `number` 0 is the template."""

    number: int
    patient_key: int
    patient: str
    serial: str
    creation_time: str
    stem: bytes

    @classmethod
    def of(cls, number: int, patient_key: int, patient: str) -> _Copy:
        # The UUIDs of copies ascend, so that their index is filled from end to end.
        stem = number.to_bytes(6, "big") + bytes((0x40, number % 251, 0x80, number % 241)) + bytes(5)
        time = f"2026{1 + number % 12:02d}{1 + number % 28:02d}0915{number % 60:02d}" if number else _CREATION_TIME
        return cls(number, patient_key, patient, _serial(number + 1), time, stem)

    @property
    def marks(self) -> tuple[str, ...]:
        """What stands in its fragments: a UUID without its last two digits, serial number, patient, time."""
        digits = self.stem.hex()
        stem = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
        return stem, self.serial, self.patient, self.creation_time


_MARKS: Final = _Copy.of(0, 1, patient_id(0)).marks


def _copies(documents: int) -> Iterator[_Copy]:
    patients = documents // DOCUMENTS_PER_PATIENT
    for number in range(1, patients * DOCUMENTS_PER_PATIENT):
        patient = number // DOCUMENTS_PER_PATIENT
        yield _Copy.of(number, patient + 1, patient_id(patient))
    for number in range(patients * DOCUMENTS_PER_PATIENT, patients * DOCUMENTS_PER_PATIENT + HEAVY_DOCUMENTS):
        yield _Copy.of(number, patients + 1, HEAVY_PATIENT)


def _batches(documents: int) -> Iterator[list[_Copy]]:
    copies = _copies(documents)
    while batch := [copy for _, copy in zip(range(_COPIES_PER_BATCH), copies, strict=False)]:
        yield batch


def _copy_all(sink: Sink, documents: int, authority: str) -> None:
    patients = documents // DOCUMENTS_PER_PATIENT
    columns, _ = sink.read("patient")
    names = [*((key + 1, patient_id(key)) for key in range(1, patients)), (patients + 1, HEAVY_PATIENT)]
    known = ({"patient_key": key, "authority": authority, "value": name} for key, name in names)
    sink.insert("patient", columns, [[row.get(column) for column in columns] for row in known])
    texts = _Texts.of(sink)
    fragments = ", ".join(f"{table} OCTETS" for table in texts.tables)
    sink.run(
        "CREATE TEMP TABLE copied (number BIGINT, patient_key BIGINT, serial TEXT, creation_time BIGINT, stem OCTETS,"
        f" {fragments})"
    )
    columns, _ = sink.read("copied")
    statements = [_statement(sink, table) for table in _TABLES]
    with multiprocessing.get_context("spawn").Pool(max(1, (os.cpu_count() or 1) - 1), _Texts.use, (texts,)) as pool:
        for rows in pool.imap(_rows, _batches(documents)):
            sink.insert("copied", columns, rows)
            for statement in statements:
                sink.run(statement)
            sink.empty("copied")


def _statement(sink: Sink, table: str) -> str:
    """What copies the template's rows of one table, the only ones that it has, for everything in `copied`."""
    sink.run(f"CREATE TEMP TABLE template_{table} AS SELECT * FROM {table}")
    columns, _ = sink.read(table)
    values = [_COPIED.get(column, f"t.{column}").format(serial=_serial(1), table=table) for column in columns]
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM copied c CROSS JOIN template_{table} t"


@dataclass(frozen=True, slots=True)
class _Texts:
    """The fragments of the template by table, cut at everything that differs in a copy."""

    tables: tuple[str, ...]
    cut: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, sink: Sink) -> _Texts:
        tables = ("submission_set", "document_entry", "association")
        cuts = re.compile("(" + "|".join(map(re.escape, _MARKS)) + ")")
        stored = []
        for table in tables:
            columns, (row,) = sink.read(table)
            stored.append(row[columns.index("fragment")])
        return cls(tables, tuple(tuple(cuts.split(unpack(fragment).decode())) for fragment in stored))

    def use(self) -> None:
        """Remember them in this process, for `_rows`."""
        global _texts  # noqa: PLW0603 - a pool gives its processes nothing else to remember by
        _texts = self


_texts: _Texts


def _rows(batch: list[_Copy]) -> list[tuple[Any, ...]]:
    """Rows of the table `copied`."""
    return [(copy.number, copy.patient_key, copy.serial, int(copy.creation_time), copy.stem, *_fragments(copy)) for copy in batch]


def _fragments(copy: _Copy) -> list[bytes]:
    changed = dict(zip(_MARKS, copy.marks, strict=True))
    return [pack("".join([changed.get(part, part) for part in parts]).encode()) for parts in _texts.cut]


def main() -> int:
    """Parse the command line and fill."""
    parser = argparse.ArgumentParser(prog="python -m bench.generator", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("documents", type=int)
    parser.add_argument("--authority", default="1.2.250.1.71.4.9.4")
    parser.add_argument("--repository", default="1.2.250.1.71.4.9.1")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    fill(arguments.directory, arguments.documents, arguments.authority, arguments.repository)
    seconds = time.perf_counter() - begin
    print(f"{arguments.documents} documents in {seconds:.1f} s, {arguments.documents / seconds:.0f} a second")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
