"""Faults of the way to a bucket and of its server; sweeping beside commits."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from tests.ports import free_port, port_of_nobody
from tests.store.gate import Gate
from tests.store.moto import running_moto
from tests.store.s3.bucket import BLOCK, LATER, LONG_AGO, MANY_PARTS, names, staged
from tests.store.servers import ObjectServer
from xds.store.blobs import open_blob_store, s3, s3_connection
from xds.store.blobs.s3 import S3BlobStore
from xds.store.blobs.s3_location import Location

# ---- faults of the way and of the server


@pytest.mark.parametrize("blocks", [1, MANY_PARTS])
def test_a_server_that_goes_away_during_an_upload(
    gated: S3BlobStore, gate: Gate, server: ObjectServer, bucket: str, blocks: int
) -> None:
    """Nothing is visible, and the same staging goes through when the server is back."""
    staging = staged(gated, blocks)
    gate.shut_after(blocks * len(BLOCK) // 2)
    before = time.monotonic()
    with pytest.raises(ConnectionError, match=f"s3://{bucket}/some/prefix at .*: no answer"):
        staging.commit()
    assert gate.broken.is_set()
    assert time.monotonic() - before < 120
    assert names(server, bucket) == []
    gate.open()
    key = staging.commit()
    assert b"".join(gated.open(key)) == BLOCK * blocks


def test_an_answer_that_is_lost_is_asked_for_again(gated: S3BlobStore, gate: Gate, server: ObjectServer, bucket: str) -> None:
    """The object was created, and by whom is not known: the blob is there all the same."""
    gate.break_after(5)
    key = staged(gated, 1).commit()
    assert gate.broken.is_set()
    assert b"".join(gated.open(key)) == BLOCK
    assert [name for name in names(server, bucket) if "locks/" in name] == []


def test_everything_fails_as_a_connection_while_the_server_is_away(gated: S3BlobStore, gate: Gate) -> None:
    key = staged(gated, 1).commit()
    gate.shut()
    for attempt in (
        lambda: gated.open(key),
        lambda: gated.size(key),
        lambda: gated.delete(key),
        lambda: gated.committed_at(key),
        lambda: list(gated.keys()),
        lambda: staged(gated, 1).commit(),
    ):
        with pytest.raises(ConnectionError):
            attempt()
    gate.open()
    assert b"".join(gated.open(key)) == BLOCK


def test_a_server_that_does_not_listen_is_a_connection_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    with port_of_nobody() as port, pytest.raises(ConnectionError, match="no answer") as refusal:
        open_blob_store(f"s3://docs?endpoint=http://127.0.0.1:{port}&region=us-east-1", tmp_path)
    assert "hush" not in str(refusal.value)


def test_a_server_that_is_silent_is_a_time_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setattr(s3_connection, "REQUEST_SECONDS", 1)
    monkeypatch.setattr(s3_connection, "RETRY_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        location = Location("docs", "", f"http://127.0.0.1:{silent.getsockname()[1]}", "us-east-1")
        before = time.monotonic()
        with pytest.raises(TimeoutError, match="no answer in time"):
            S3BlobStore(location, tmp_path).size("0" * 64)
        assert time.monotonic() - before < 60


def test_a_broken_download_goes_on_where_it_was(gated: S3BlobStore, gate: Gate) -> None:
    key = staged(gated, MANY_PARTS).commit()
    gate.break_after(5)
    assert b"".join(gated.open(key, 10, 20_000_000)) == (BLOCK * MANY_PARTS)[10:20_000_010]
    assert gate.broken.is_set()


def test_a_download_whose_server_goes_away_is_an_error_and_not_a_short_blob(gated: S3BlobStore, gate: Gate) -> None:
    key = staged(gated, MANY_PARTS).commit()
    chunks = gated.open(key)
    next(chunks)
    gate.shut()
    with pytest.raises(OSError, match="no answer"):
        list(chunks)


@pytest.mark.swift
def test_octets_changed_on_the_way_are_refused(swift: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in swift.environment().items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{uuid.uuid4().hex}"
    swift.client().create_bucket(Bucket=bucket)
    with Gate(swift.port) as gate:
        store = S3BlobStore(swift.location(bucket, port=gate.port), tmp_path)
        gate.change = lambda data: data.replace(b"the dose is 10 mg", b"the dose is 90 mg")
        staging = store.stage()
        staging.write(b"the dose is 10 mg")
        with pytest.raises(OSError, match="HTTP 4"):
            staging.commit()
        assert names(swift, bucket) == []
        gate.change = None
        assert b"".join(store.open(staging.commit())) == b"the dose is 10 mg"


def test_a_server_that_is_started_again_serves_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    staging: s3.S3Staging | None = None
    for _ in range(2):
        with running_moto(tmp_path, port) as server:
            server.client().create_bucket(Bucket="docs")
            if staging is None:
                for name, value in server.environment().items():
                    monkeypatch.setenv(name, value)
                store = S3BlobStore(server.location("docs"), tmp_path / "spool")
                staged(store, 1).commit()
                staging = staged(store, 2)
                continue
            assert b"".join(store.open(staging.commit())) == BLOCK * 2
            break
        with pytest.raises(ConnectionError):
            staging.commit()


# ---- a sweep beside commits


def test_a_blob_that_is_being_deleted_is_sent_again(store: S3BlobStore, server: ObjectServer, bucket: str) -> None:
    """A commit that finds the blob while a sweep is about to delete it waits for the sweep, and then puts it back."""
    key = staged(store, 1).commit()
    client = server.client()
    client.put_object(Bucket=bucket, Key=f"some/prefix/locks/{key}", Body=b"a sweep")
    committing = threading.Thread(target=lambda: staged(store, 1).commit())
    committing.start()
    committing.join(1)
    assert committing.is_alive()
    client.delete_object(Bucket=bucket, Key=f"some/prefix/objects/{key}")
    client.delete_object(Bucket=bucket, Key=f"some/prefix/locks/{key}")
    committing.join(60)
    assert not committing.is_alive()
    assert b"".join(store.open(key)) == BLOCK
    assert names(server, bucket) == [f"some/prefix/objects/{key}"]


def test_a_sweep_sees_a_commit_that_came_before(store: S3BlobStore, server: ObjectServer, bucket: str) -> None:
    key = staged(store, 1).commit()
    client = server.client()
    client.put_object(Bucket=bucket, Key=f"some/prefix/locks/{key}", Body=b"a commit")
    first = store.committed_at(key)
    outcome: list[bool] = []
    sweeping = threading.Thread(
        target=lambda: outcome.append(store.delete(key, unless_committed_since=first + timedelta(seconds=1.5)))
    )
    sweeping.start()
    time.sleep(2.1)
    client.put_object(Bucket=bucket, Key=f"some/prefix/commits/{key}", Body=b"")
    client.delete_object(Bucket=bucket, Key=f"some/prefix/locks/{key}")
    sweeping.join(60)
    assert outcome == [False]
    assert store.size(key) == len(BLOCK)


def test_a_lock_whose_holder_died_is_taken(
    store: S3BlobStore, server: ObjectServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = staged(store, 1).commit()
    server.client().put_object(Bucket=bucket, Key=f"some/prefix/locks/{key}", Body=b"dead")
    monkeypatch.setattr(s3, "LOCK_ABANDONED", 1.0)
    assert staged(store, 1).commit() == key
    assert store.delete(key, unless_committed_since=LONG_AGO) is False
    assert store.delete(key, unless_committed_since=LATER) is True
    assert names(server, bucket) == []


def test_a_lock_that_is_never_free_is_a_time_out(
    store: S3BlobStore, server: ObjectServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = staged(store, 1).commit()
    server.client().put_object(Bucket=bucket, Key=f"some/prefix/locks/{key}", Body=b"busy")
    monkeypatch.setattr(s3, "LOCK_AWAITED", 0.5)
    with pytest.raises(TimeoutError, match="locked"):
        store.delete(key)
    assert store.size(key) == len(BLOCK)


def test_a_deletion_that_became_slow_leaves_the_blob(store: S3BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock may count as abandoned by now, and a commit may rely on the blob."""
    key = staged(store, 1).commit()
    monkeypatch.setattr(s3, "LOCK_HELD", -1)
    with pytest.raises(TimeoutError, match="too slow"):
        store.delete(key)
    assert store.size(key) == len(BLOCK)


Done = TypeVar("Done")


def insisted(work: Callable[[], Done]) -> Done:
    """A server that is short of time breaks connections; a commit may be tried again, and so may reading."""
    for _ in range(20):
        with suppress(ConnectionError, TimeoutError):
            return work()
    raise AssertionError("the server did not answer twenty times")


def test_many_threads_commit_and_delete_one_content(store: S3BlobStore) -> None:
    """Whoever has committed finds the blob there, whatever a sweep of old blobs does at the same time."""
    missing: list[str] = []
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            with suppress(ConnectionError, TimeoutError):
                for key in list(store.keys()):
                    store.delete(key, unless_committed_since=datetime.now(UTC) - timedelta(hours=1))

    def commit(number: int) -> None:
        for turn in range(3):
            staging = store.stage()
            staging.write(b"contended %d" % (turn % 2))
            key = insisted(staging.commit)
            if insisted(lambda key=key: b"".join(store.open(key))) != b"contended %d" % (turn % 2):
                missing.append(f"{number}: {key}")

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    committers = [threading.Thread(target=commit, args=(number,)) for number in range(4)]
    for thread in committers:
        thread.start()
    for thread in committers:
        thread.join()
    stop.set()
    sweeper.join()
    assert missing == []
