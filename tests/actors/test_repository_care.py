"""A scrub finds what disks and bucket owners do to blobs, and a rehearsed sweep tells what a real one removes."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, insert

from tests.databases import fresh_database
from tests.store.servers import ObjectServer
from xds.actors.repository_care import Defect, Finding, RepositoryCare, Scrubbed
from xds.ports import BlobStore
from xds.store import documents
from xds.store.blob_references import Holder
from xds.store.blobs import open_blob_store
from xds.store.database import Database
from xds.store.documents import StoredDocument
from xds.store.schema.documents import repository_document
from xds.store.schema.imaging import imaging_instance, imaging_manifest

STORED = datetime(2024, 1, 2, tzinfo=UTC)
LATER = datetime.now(UTC) + timedelta(days=2)


@dataclass
class Care:
    """A store with a hand that reaches behind it."""

    blobs: BlobStore
    database: Database
    directory: Path
    server: ObjectServer | None
    bucket: str

    def put(self, content: bytes) -> str:
        staging = self.blobs.stage()
        staging.write(content)
        return staging.commit()

    def add_document(self, unique_id: str, content: bytes, *, size: int | None = None) -> str:
        key = self.put(content)
        sha1 = hashlib.sha1(content).hexdigest()
        row = StoredDocument(unique_id, key, len(content) if size is None else size, sha1, "text/plain", "1^^^&2&ISO", STORED)
        self.database.write(lambda connection: documents.add(connection, [row]))
        return key

    def add_image(self, uid: str, content: bytes) -> str:
        key = self.put(content)
        values = {
            "study_key": 1,
            "series_instance_uid": "1.2",
            "sop_instance_uid": uid,
            "sop_class_uid": "1.3",
            "transfer_syntax_uid": "1.4",
            "size": len(content),
            "blob": key,
            "frames": 1,
            "stored": 0,
        }
        self.database.write(lambda connection: connection.execute(insert(imaging_instance).values(values)))
        return key

    def add_manifest(self, unique_id: str, content: bytes) -> str:
        key = self.put(content)
        values = {
            "study_key": 1,
            "revision": 1,
            "unique_id": unique_id,
            "entry_uuid": str(uuid.uuid4()),
            "submission_unique_id": "1.5",
            "blob": key,
            "created": 0,
            "patient_id": "1^^^&2&ISO",
            "published": True,
        }
        self.database.write(lambda connection: connection.execute(insert(imaging_manifest).values(values)))
        return key

    def overwrite(self, key: str, content: bytes) -> None:
        if self.server is None:
            self.path(key).write_bytes(content)
        else:
            self.server.client().put_object(Bucket=self.bucket, Key=f"some/prefix/objects/{key}", Body=content)

    def remove(self, key: str) -> None:
        if self.server is None:
            self.path(key).unlink()
        else:
            self.server.client().delete_object(Bucket=self.bucket, Key=f"some/prefix/objects/{key}")

    def path(self, key: str) -> Path:
        return self.directory / "objects" / key[:2] / key

    def scrub(self) -> tuple[Scrubbed, list[Finding]]:
        scrubbed = Scrubbed()
        return scrubbed, list(RepositoryCare(self.blobs, self.database).scrub(scrubbed))


IN_A_BUCKET_TOO = pytest.mark.parametrize("care", ["local", "moto"], indirect=True)


@pytest.fixture
def care(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Care]:
    kind = getattr(request, "param", "local")
    server: ObjectServer | None = None
    url, bucket = "", f"bucket-{uuid.uuid4().hex}"
    if kind != "local":
        server = request.getfixturevalue(kind)
        assert server is not None
        server.client().create_bucket(Bucket=bucket)
        url = server.url(bucket)
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
    database = fresh_database(tmp_path)
    yield Care(open_blob_store(url, tmp_path / "blobs"), database, tmp_path / "blobs", server, bucket)
    database.close()


def test_an_empty_repository_is_clean(care: Care) -> None:
    scrubbed, findings = care.scrub()
    assert findings == []
    assert scrubbed.is_clean
    assert (scrubbed.blobs, scrubbed.octets) == (0, 0)


@IN_A_BUCKET_TOO
def test_a_sound_repository_is_clean_and_each_blob_is_read_once(care: Care) -> None:
    care.add_document("1.1", b"report")
    care.add_document("1.2", b"report")
    care.add_image("2.1", b"image")
    care.add_document("1.3", b"manifest")
    care.add_manifest("1.3", b"manifest")
    scrubbed, findings = care.scrub()
    assert findings == []
    assert (scrubbed.blobs, scrubbed.octets) == (3, len(b"reportimagemanifest"))
    assert RepositoryCare(care.blobs, care.database).totals() == (3, scrubbed.octets)


@IN_A_BUCKET_TOO
def test_a_flipped_bit_is_damage(care: Care) -> None:
    key = care.add_document("1.1", b"the dose is 1 mg")
    care.add_document("1.2", b"something else")
    care.overwrite(key, b"the dose is 9 mg")
    scrubbed, (finding,) = care.scrub()
    assert (finding.defect, finding.blob) == (Defect.DAMAGED, key)
    assert hashlib.sha256(b"the dose is 9 mg").hexdigest() in finding.detail
    assert [(item.holder, item.unique_id, item.count) for item in finding.references] == [(Holder.DOCUMENT, "1.1", 1)]
    assert not scrubbed.is_clean


@IN_A_BUCKET_TOO
def test_a_blob_that_is_gone_is_missing_with_all_that_needed_it(care: Care) -> None:
    key = care.add_document("1.1", b"twice")
    care.add_document("1.2", b"twice")
    care.add_image("2.1", b"twice")
    care.remove(key)
    scrubbed, (finding,) = care.scrub()
    assert (finding.defect, finding.blob) == (Defect.MISSING, key)
    assert [(item.holder, item.unique_id, item.count) for item in finding.references] == [
        (Holder.DOCUMENT, "1.1", 2),
        (Holder.IMAGE, "2.1", 1),
    ]
    assert not scrubbed.is_clean


def test_a_missing_manifest_is_found(care: Care) -> None:
    care.remove(care.add_manifest("3.1", b"manifest"))
    _, (finding,) = care.scrub()
    assert (finding.defect, finding.references[0].holder) == (Defect.MISSING, Holder.MANIFEST)


def test_a_truncated_blob_is_damaged_and_differs_in_size(care: Care) -> None:
    key = care.add_document("1.1", b"all of it")
    care.overwrite(key, b"all")
    _, findings = care.scrub()
    assert [item.defect for item in findings] == [Defect.DAMAGED, Defect.SIZE_DIFFERS]
    assert findings[1].detail == "it has 3 octets, 9 are stated"


def test_a_size_that_the_database_has_wrong_is_found(care: Care) -> None:
    care.add_document("1.1", b"nine octs", size=8)
    _, (finding,) = care.scrub()
    assert (finding.defect, finding.detail) == (Defect.SIZE_DIFFERS, "it has 9 octets, 8 are stated")


@IN_A_BUCKET_TOO
def test_an_unreferenced_blob_is_told_and_is_no_damage(care: Care) -> None:
    key = care.put(b"of a submission that failed")
    scrubbed, (finding,) = care.scrub()
    assert (finding.defect, finding.blob, finding.references) == (Defect.UNREFERENCED, key, ())
    assert scrubbed.is_clean
    assert scrubbed.findings == {Defect.UNREFERENCED: 1}


def test_an_unreferenced_blob_that_is_damaged_is_damage(care: Care) -> None:
    """The next submission of that content would rely on it."""
    care.overwrite(care.put(b"sound"), b"other")
    scrubbed, findings = care.scrub()
    assert [item.defect for item in findings] == [Defect.DAMAGED, Defect.UNREFERENCED]
    assert not scrubbed.is_clean


def test_a_document_removed_during_the_scrub_is_not_missed(care: Care) -> None:
    """Its row and its blob go between the page that names it and the reading."""
    key = care.add_document("1.1", b"short-lived")
    removed: list[str] = []

    class Removing:
        """The store, from which somebody removes a document at the last moment."""

        def __getattr__(self, name: str) -> object:
            return getattr(care.blobs, name)

        def open(self, key: str) -> Iterator[bytes]:
            care.database.write(lambda connection: connection.execute(delete(repository_document)))
            care.remove(key)
            removed.append(key)
            return care.blobs.open(key)

    scrubbed = Scrubbed()
    assert list(RepositoryCare(Removing(), care.database).scrub(scrubbed)) == []  # type: ignore[arg-type]
    assert removed == [key]
    assert scrubbed.is_clean


def test_a_scrub_of_several_pages_finds_the_one_that_is_gone(care: Care, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xds.actors.repository_care._PAGE", 7)
    keys = [care.add_document(f"1.{number}", b"%d" % number) for number in range(40)]
    spare = [care.put(b"spare %d" % number) for number in range(20)]
    care.remove(keys[23])
    scrubbed, findings = care.scrub()
    assert [item.blob for item in findings if item.defect is Defect.MISSING] == [keys[23]]
    assert {item.blob for item in findings if item.defect is Defect.UNREFERENCED} == set(spare)
    assert scrubbed.blobs == 59


@IN_A_BUCKET_TOO
def test_a_sweep_removes_what_it_told_before(care: Care) -> None:
    kept = care.add_document("1.1", b"needed")
    for number in range(5):
        care.put(b"spare %d" % number)
    keeper = RepositoryCare(care.blobs, care.database)
    assert keeper.sweep(committed_before=STORED, rehearse=True) == 0
    assert keeper.sweep(committed_before=LATER, rehearse=True) == 5
    assert len(list(care.blobs.keys())) == 6
    assert keeper.sweep(committed_before=STORED) == 0
    assert keeper.sweep(committed_before=LATER) == 5
    assert list(care.blobs.keys()) == [kept]


def test_progress_tells_every_octet(care: Care) -> None:
    care.add_document("1.1", b"x" * 700_000)
    told: list[int] = []
    scrubbed = Scrubbed()
    assert list(RepositoryCare(care.blobs, care.database).scrub(scrubbed, advanced=told.append)) == []
    assert sum(told) == scrubbed.octets == 700_000
    assert len(told) > 1


def test_a_scrub_changes_no_file(care: Care) -> None:
    care.add_document("1.1", b"one")
    care.put(b"two")
    before = {path: path.stat().st_mtime_ns for path in care.directory.rglob("*")}
    care.scrub()
    assert {path: path.stat().st_mtime_ns for path in care.directory.rglob("*")} == before


def test_a_blob_that_cannot_be_read_is_told_and_the_others_go_on(care: Care) -> None:
    key = care.add_document("1.1", b"one")
    care.add_document("1.2", b"two")
    care.remove(key)
    care.path(key).mkdir()
    scrubbed, findings = care.scrub()
    assert [(item.defect, item.blob) for item in findings] == [(Defect.UNREADABLE, key)]
    assert scrubbed.blobs == 1
    assert not scrubbed.is_clean


@pytest.mark.swift
def test_a_byte_flipped_on_the_disk_of_an_object_server_is_found(
    swift: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in swift.environment().items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{uuid.uuid4().hex}"
    swift.client().create_bucket(Bucket=bucket)
    database = fresh_database(tmp_path)
    here = Care(open_blob_store(swift.url(bucket), tmp_path / "blobs"), database, tmp_path, swift, bucket)
    content = uuid.uuid4().bytes * 1000
    key = here.add_document("1.1", content)
    assert swift.directory is not None
    (path,) = (path for path in swift.directory.rglob("*.data") if content in path.read_bytes())
    with path.open("r+b") as file:
        file.seek(5000)
        octet = file.read(1)[0]
        file.seek(5000)
        file.write(bytes((octet ^ 1,)))
    scrubbed, (finding,) = here.scrub()
    assert (finding.defect, finding.blob) == (Defect.DAMAGED, key)
    assert not scrubbed.is_clean
    database.close()
