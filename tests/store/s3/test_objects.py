"""What is sent to a bucket, and what is said of an address or a server that cannot be used."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.store.gate import Gate
from tests.store.s3.bucket import BLOCK, MANY_PARTS, names, staged, uploads
from tests.store.servers import ObjectServer
from xds.store.blobs import open_blob_store
from xds.store.blobs.s3 import S3BlobStore
from xds.store.blobs.s3_location import Location, read_location

# ---- the address


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("s3://docs", Location("docs")),
        ("s3://docs/a/b/", Location("docs", "a/b")),
        ("s3://docs?region=eu-west-3", Location("docs", region="eu-west-3")),
        ("s3://docs/a?endpoint=http://10.0.0.1:9000/", Location("docs", "a", "http://10.0.0.1:9000")),
        ("s3://docs/a?endpoint=https%3A%2F%2Fs3.example", Location("docs", "a", "https://s3.example")),
    ],
)
def test_an_address_is_read(url: str, location: Location) -> None:
    assert read_location(url) == location


@pytest.mark.parametrize(
    "url",
    [
        "docs",
        "file:///tmp",
        "s3:///docs",
        "s3://key:hush@docs",
        "s3://docs?secret=hush",
        "s3://docs?endpoint=10.0.0.1:9000",
        "s3://docs#hush",
    ],
)
def test_another_address_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(OSError, match="the address of the storage is s3://bucket") as refusal:
        read_location(url)
    assert "hush" not in str(refusal.value)


# ---- opening


def test_trying_out_leaves_nothing(server: ObjectServer, bucket: str, tmp_path: Path) -> None:
    open_blob_store(server.url(bucket), tmp_path)
    assert names(server, bucket) == []


def test_a_bucket_that_is_not_there_is_told_at_start(server: ObjectServer, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"s3://nowhere/some/prefix at http://127.* NoSuchBucket \(HTTP 404\)"):
        open_blob_store(server.url("nowhere"), tmp_path)


@pytest.mark.swift
def test_wrong_credentials_are_told_at_start_without_being_quoted(
    swift: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", swift.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
    with pytest.raises(PermissionError, match=r"SignatureDoesNotMatch \(HTTP 403\)") as refusal:
        open_blob_store(swift.url("any"), tmp_path)
    assert swift.access_key not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


def test_a_server_that_overwrites_in_spite_of_the_condition_is_refused(
    moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    moto.client().create_bucket(Bucket="unconditional")
    with Gate(moto.port) as gate:
        # The way takes the condition out, as a server does that does not know it.
        gate.change = lambda data: data.replace(b"if-none-match: *\r\n", b"x-ignored: xxxx*\r\n")
        with pytest.raises(OSError, match="does not honour If-None-Match"):
            open_blob_store(moto.url("unconditional", port=gate.port), tmp_path)


# ---- objects


def test_objects_carry_their_hash_as_name(store: S3BlobStore, server: ObjectServer, bucket: str) -> None:
    small, large = staged(store, 1).commit(), staged(store, MANY_PARTS).commit()
    assert sorted(names(server, bucket)) == sorted(f"some/prefix/objects/{key}" for key in (small, large))
    body = server.client().get_object(Bucket=bucket, Key=f"some/prefix/objects/{large}")["Body"].read()
    assert hashlib.sha256(body).hexdigest() == large == hashlib.sha256(BLOCK * MANY_PARTS).hexdigest()
    assert uploads(server, bucket) == []


def test_other_objects_are_no_blobs(store: S3BlobStore, server: ObjectServer, bucket: str) -> None:
    for name in ("some/prefix/objects/README", f"some/prefix/{'0' * 64}", f"elsewhere/objects/{'0' * 64}"):
        server.client().put_object(Bucket=bucket, Key=name, Body=b"x")
    assert list(store.keys()) == []


def test_a_listing_has_many_pages(moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    client = moto.client()
    client.create_bucket(Bucket="pages")
    expected = {hashlib.sha256(str(number).encode()).hexdigest() for number in range(120)}
    for key in expected:
        client.put_object(Bucket="pages", Key=f"some/prefix/objects/{key}", Body=b"")
    assert client.list_objects_v2(Bucket="pages")["IsTruncated"]
    found = list(S3BlobStore(moto.location("pages"), tmp_path).keys())
    assert len(found) == 120
    assert set(found) == expected


@pytest.mark.parametrize("blocks", [1, MANY_PARTS])
def test_an_object_of_another_size_is_replaced_by_the_next_commit(
    store: S3BlobStore, server: ObjectServer, bucket: str, blocks: int
) -> None:
    key = staged(store, blocks).commit()
    server.client().put_object(Bucket=bucket, Key=f"some/prefix/objects/{key}", Body=b"half of it")
    assert staged(store, blocks).commit() == key
    assert b"".join(store.open(key)) == BLOCK * blocks


def test_small_blobs_wait_in_memory_and_large_ones_in_a_file_without_a_name(store: S3BlobStore, tmp_path: Path) -> None:
    staging = staged(store, 3)
    assert list((tmp_path / "spool").iterdir()) == []
    reader = staging.open()
    first = next(reader)
    staging.discard()
    assert first + b"".join(reader) == BLOCK * 3


# ---- size


@pytest.mark.swift
def test_memory_does_not_grow_with_a_blob(swift: ObjectServer, tmp_path: Path) -> None:
    program = """
import json, resource, sys
from pathlib import Path
from xds.store.blobs import open_blob_store
store = open_blob_store(sys.argv[1], Path(sys.argv[2]))
block = bytes(range(256)) * 4096
peaks = []
for blocks in (16, 160):
    staging = store.stage()
    for _ in range(blocks):
        staging.write(block)
    key = staging.commit()
    assert sum(map(len, store.open(key))) == blocks << 20
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
print(json.dumps(peaks))
"""
    bucket = f"bucket-{uuid.uuid4().hex}"
    swift.client().create_bucket(Bucket=bucket)
    done = subprocess.run(
        [sys.executable, "-c", program, swift.url(bucket), str(tmp_path)],
        env=os.environ | swift.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    small, large = json.loads(done.stdout)
    assert large - small < 48, f"{small} MiB for 16 MiB, {large} MiB for 160 MiB"
