"""A registry database filled with many documents, fast: `python -m bench.generator DIRECTORY DOCUMENTS`.

One submission of `bench.messages` is registered as usual; the rows that the registry wrote are then copied with fresh keys, ids
and times. Everything depends on the number of documents alone, so that benchmarks repeat.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import messages
from bench.sinks import PostgresqlSink, Row, Sink, SqliteSink
from xds.actors.document_registry import DocumentRegistry
from xds.app import DATABASE_FILE
from xds.model.caller import SYSTEM
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import uuid_bytes
from xds.model.metadata import Submission
from xds.rules.access import AllowAll
from xds.store.database import open_database
from xds.store.registry.fragments import pack, unpack
from xds.wire import ebrim
from xds.wire.xml import parse

DOCUMENTS_PER_PATIENT = 25
#: Beside the others stands one patient with so many documents, or with a tenth of the others when they are few.
HEAVY_DOCUMENTS = 2000
HEAVY_PATIENT = "HEAVY"

_DOCUMENTS_PER_INSERT = 1000
_TABLES = (
    "registry_object",
    "unique_identifier",
    "document_entry",
    "submission_set",
    "association",
    "object_code",
    "object_text",
)
#: Columns in which a copy differs from what it is a copy of.
_CHANGING = frozenset(
    (
        "patient_key",
        "object_key",
        "source_key",
        "target_key",
        "entry_uuid",
        "logical_id",
        "unique_id",
        "value",
        "creation_time",
        "fragment",
    )
)
_ID = re.compile(r' id="(urn:uuid:[0-9a-f-]{36})"')
_CREATION_TIME = "20260110091500"


def patient_id(number: int) -> str:
    """The id of a generated patient, in the authority that the database was filled for."""
    return f"PAT{number:07d}"


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
    copier = _Copier(sink)
    for number in range(documents // DOCUMENTS_PER_PATIENT):
        # The template is the first document of the first patient.
        copier.add_patient(number + 1, patient_id(number), authority, DOCUMENTS_PER_PATIENT - (number == 0))
    heavy = documents // DOCUMENTS_PER_PATIENT + 1
    copier.add_patient(heavy, HEAVY_PATIENT, authority, min(HEAVY_DOCUMENTS, documents // 10))
    copier.flush()
    sink.finish()


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
    text = ebrim.write_submission(messages.submission())
    for mark, value in ((messages.AUTHORITY, authority), (messages.PATIENT, patient_id(0))):
        text = text.replace(mark.encode(), value.encode())
    submission, problems = ebrim.read_submission(parse(text))
    if submission is None:
        raise ValueError(f"the submission of this benchmark is invalid: {problems}")
    entry = submission.document_entries[0]
    slots = tuple(
        replace(item, values=(repository_unique_id,)) if item.name == "repositoryUniqueId" else item for item in entry.slots
    )
    return replace(submission, document_entries=(replace(entry, slots=slots),))


@dataclass(frozen=True, slots=True)
class _Values:
    """What differs in one copy."""

    patient_key: int
    patient: str
    first_key: int
    serial: str
    creation_time: str
    uuids: dict[str, str]


@dataclass(slots=True)
class _Rows:
    """Rows of one table: the template's, and copies that wait to be inserted."""

    columns: tuple[str, ...]
    changing: tuple[tuple[int, str], ...]
    templates: list[Row]
    waiting: list[list[Any]] = field(default_factory=list)


class _Copier:
    """Copies the rows of the one registered submission."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._random = random.Random(18)
        self._tables = {name: _read(sink, name) for name in _TABLES}
        self._patients = _read(sink, "patient")
        self._fragments = self._read_fragments()
        self._ids = sorted({part for parts in self._fragments.values() for part in parts if part.startswith("urn:uuid:")})
        self._urns = {uuid_bytes(urn): urn for urn in self._ids}
        self._made = 0

    def add_patient(self, key: int, name: str, authority: str, documents: int) -> None:
        """One more patient with documents."""
        if key > 1:
            values = {"patient_key": key, "authority": authority, "value": name}
            self._patients.waiting.append([values.get(column) for column in self._patients.columns])
        for _ in range(documents):
            self._made += 1
            self._add(
                _Values(
                    patient_key=key,
                    patient=name,
                    first_key=3 * self._made,
                    serial=f"2.25.88{self._made:018d}",
                    creation_time=f"2026{1 + self._made % 12:02d}{1 + self._made % 28:02d}0915{self._made % 60:02d}",
                    uuids=dict(zip(self._ids, self._fresh_uuids(), strict=False)),
                )
            )
            if self._made % _DOCUMENTS_PER_INSERT == 0:
                self.flush()

    def flush(self) -> None:
        """Insert what waits."""
        for name, rows in (("patient", self._patients), *self._tables.items()):
            if rows.waiting:
                self._sink.insert(name, rows.columns, rows.waiting)
                rows.waiting.clear()

    def _read_fragments(self) -> dict[bytes, list[str]]:
        """The three fragments, cut at everything that differs in a copy, by what is stored of them."""
        stored = [
            row[self._tables[name].columns.index("fragment")]
            for name in ("submission_set", "document_entry", "association")
            for row in self._tables[name].templates
        ]
        texts = {packed: unpack(packed).decode() for packed in stored}
        marks = {mark for text in texts.values() for mark in _ID.findall(text)} | {messages.SERIAL, patient_id(0), _CREATION_TIME}
        cuts = re.compile("(" + "|".join(map(re.escape, sorted(marks))) + ")")
        return {packed: cuts.split(text) for packed, text in texts.items()}

    def _fresh_uuids(self) -> Iterator[str]:
        digits = self._random.randbytes(16 * len(self._ids)).hex()
        for at in range(0, len(digits), 32):
            yield (
                f"urn:uuid:{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-4{digits[at + 13 : at + 16]}"
                f"-8{digits[at + 17 : at + 20]}-{digits[at + 20 : at + 32]}"
            )

    def _add(self, values: _Values) -> None:
        changed = {
            messages.SERIAL: values.serial,
            patient_id(0): values.patient,
            _CREATION_TIME: values.creation_time,
            **values.uuids,
        }
        fresh = {
            "patient_key": lambda _cell: values.patient_key,
            "creation_time": lambda _cell: int(values.creation_time),
            "object_key": values.first_key.__add__,
            "source_key": values.first_key.__add__,
            "target_key": values.first_key.__add__,
            "entry_uuid": lambda cell: bytes.fromhex(changed[self._urns[cell]][9:].replace("-", "")),
            "logical_id": lambda cell: bytes.fromhex(changed[self._urns[cell]][9:].replace("-", "")),
            "unique_id": lambda cell: cell.replace(messages.SERIAL, values.serial),
            "value": lambda cell: cell.replace(messages.SERIAL, values.serial),
            "fragment": lambda cell: pack("".join([changed.get(part, part) for part in self._fragments[cell]]).encode()),
        }
        for rows in self._tables.values():
            for template in rows.templates:
                row = list(template)
                for at, column in rows.changing:
                    row[at] = fresh[column](row[at])
                rows.waiting.append(row)


def _read(sink: Sink, table: str) -> _Rows:
    columns, templates = sink.read(table)
    changing = tuple((at, column) for at, column in enumerate(columns) if column in _CHANGING)
    return _Rows(columns, changing, templates)


def main() -> int:
    """Parse the command line and fill."""
    parser = argparse.ArgumentParser(prog="python -m bench.generator", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("documents", type=int)
    parser.add_argument("--database", default="", metavar="URL", help="an empty PostgreSQL database instead of a file")
    parser.add_argument("--authority", default="1.2.250.1.71.4.9.4")
    parser.add_argument("--repository", default="1.2.250.1.71.4.9.1")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    fill(arguments.directory, arguments.documents, arguments.authority, arguments.repository, arguments.database)
    seconds = time.perf_counter() - begin
    print(f"{arguments.documents} documents in {seconds:.1f} s, {arguments.documents / seconds:.0f} a second")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
