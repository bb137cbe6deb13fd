"""The contract of `xds.ports.BlobStore` and `Staging`, for every implementation; then what is particular to local files."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.store.servers import ObjectServer
from xds.ports import BlobStore, Staging
from xds.store.blobs import direct, open_blob_store
from xds.store.blobs.direct import ROOM, WORTH_IT, Rooms
from xds.store.blobs.local import LocalBlobStore

LARGE = bytes(range(256)) * 12_345  # 3.16 MB: several chunks and an odd rest


@pytest.fixture(params=["local", "moto", pytest.param("swift", marks=pytest.mark.swift)])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    """An empty store of each kind."""
    if request.param == "local":
        return open_blob_store("", tmp_path / "blobs")
    server: ObjectServer = request.getfixturevalue(request.param)
    bucket = f"bucket-{uuid.uuid4().hex}"
    server.client().create_bucket(Bucket=bucket)
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return open_blob_store(server.url(bucket), tmp_path / "blobs")


def put(store: BlobStore, data: bytes) -> str:
    staging = store.stage()
    staging.write(data)
    return staging.commit()


def everything(store: BlobStore, key: str) -> bytes:
    return b"".join(store.open(key))


@pytest.mark.parametrize("data", [b"", b"x", LARGE], ids=["empty", "one octet", "several chunks"])
def test_what_was_committed_is_read_back(store: BlobStore, data: bytes) -> None:
    key = put(store, data)
    assert everything(store, key) == data
    assert store.size(key) == len(data)
    assert list(store.keys()) == [key]


def test_hashes_and_size_grow_with_the_octets(store: BlobStore) -> None:
    staging = store.stage()
    assert (staging.size, staging.sha1) == (0, "da39a3ee5e6b4b0d3255bfef95601890afd80709")
    for piece in (b"abc", bytearray(b"def"), memoryview(b"ghi")):
        staging.write(piece)
    assert (staging.size, staging.sha1) == (9, hashlib.sha1(b"abcdefghi").hexdigest())
    assert staging.commit() == hashlib.sha256(b"abcdefghi").hexdigest()
    assert (staging.size, staging.sha1) == (9, hashlib.sha1(b"abcdefghi").hexdigest())


def test_staged_octets_are_readable_before_and_after_the_commit(store: BlobStore) -> None:
    staging = store.stage()
    staging.write(LARGE)
    assert b"".join(staging.open()) == LARGE
    staging.commit()
    assert b"".join(staging.open()) == LARGE


def test_chunks_are_at_most_one_mebibyte(store: BlobStore) -> None:
    assert max(len(chunk) for chunk in store.open(put(store, LARGE))) <= 1 << 20


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 10), (5, 1), (300_000, 1_500_000), (len(LARGE) - 3, 10), (len(LARGE), None), (7, 0)]
)
def test_a_range_is_read(store: BlobStore, offset: int, length: int | None) -> None:
    key = put(store, LARGE)
    end = None if length is None else offset + length
    assert b"".join(store.open(key, offset, length)) == LARGE[offset:end]


def test_commit_is_idempotent_and_discard_does_not_undo_it(store: BlobStore) -> None:
    staging = store.stage()
    staging.write(b"kept")
    key = staging.commit()
    assert staging.commit() == key
    staging.discard()
    assert everything(store, key) == b"kept"


def test_a_discarded_blob_leaves_nothing(store: BlobStore) -> None:
    staging = store.stage()
    staging.write(b"gone")
    staging.discard()
    staging.discard()
    assert list(store.keys()) == []
    with pytest.raises(KeyError):
        staging.open()
    with pytest.raises(ValueError, match="closed"):
        staging.commit()


def test_nothing_is_visible_before_the_commit(store: BlobStore) -> None:
    staging = store.stage()
    staging.write(b"arriving")
    assert list(store.keys()) == []
    with pytest.raises(KeyError):
        store.open(hashlib.sha256(b"arriving").hexdigest())
    staging.discard()


def test_identical_content_is_one_blob(store: BlobStore) -> None:
    assert put(store, b"twice") == put(store, b"twice")
    assert len(list(store.keys())) == 1


def test_identical_content_committed_at_the_same_time_is_one_blob(store: BlobStore) -> None:
    stagings = [store.stage() for _ in range(8)]
    for staging in stagings:
        staging.write(LARGE)
    barrier = threading.Barrier(len(stagings))
    keys: list[str] = []

    def commit(position: int) -> None:
        barrier.wait()
        keys.append(stagings[position].commit())

    threads = [threading.Thread(target=commit, args=(position,)) for position in range(len(stagings))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(keys) == {hashlib.sha256(LARGE).hexdigest()}
    assert len(keys) == 8
    assert everything(store, keys[0]) == LARGE


@pytest.mark.parametrize("key", ["", "0" * 64, "../../etc/passwd", "F" * 64, "0" * 63])
def test_an_unknown_key_is_a_key_error(store: BlobStore, key: str) -> None:
    with pytest.raises(KeyError):
        store.open(key)
    with pytest.raises(KeyError):
        store.size(key)
    assert store.delete(key) is False


def test_delete_removes_once(store: BlobStore) -> None:
    key = put(store, b"short-lived")
    assert store.delete(key) is True
    assert store.delete(key) is False
    assert list(store.keys()) == []
    with pytest.raises(KeyError):
        store.open(key)


def test_a_reader_keeps_its_blob_when_it_is_deleted(store: BlobStore) -> None:
    key = put(store, LARGE)
    chunks = store.open(key)
    first = next(chunks)
    store.delete(key)
    assert first + b"".join(chunks) == LARGE


def test_a_blob_committed_since_is_not_deleted(store: BlobStore) -> None:
    key = put(store, b"young")
    assert store.delete(key, unless_committed_since=datetime.now(UTC) - timedelta(hours=1)) is False
    assert store.delete(key, unless_committed_since=datetime.now(UTC) + timedelta(hours=1)) is True


def test_the_second_commit_makes_a_blob_young_again(store: BlobStore) -> None:
    key = put(store, b"again")
    first = store.committed_at(key)
    assert abs(datetime.now(UTC) - first) < timedelta(seconds=30)
    time.sleep(2.1)  # stores may count whole seconds
    between = first + timedelta(seconds=1.5)
    put(store, b"again")
    assert store.committed_at(key) > first
    assert store.delete(key, unless_committed_since=between) is False
    assert everything(store, key) == b"again"


def test_the_age_of_an_unknown_blob_is_a_key_error(store: BlobStore) -> None:
    with pytest.raises(KeyError):
        store.committed_at("0" * 64)


@pytest.fixture
def local(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "blobs")


def only_file(directory: Path) -> Path:
    (path,) = (path for path in (directory / "objects").rglob("*") if path.is_file())
    return path


def test_the_second_commit_of_a_content_makes_it_young_again(local: LocalBlobStore, tmp_path: Path) -> None:
    key = put(local, b"again")
    os.utime(only_file(tmp_path / "blobs"), (1_000_000, 1_000_000))
    put(local, b"again")
    assert local.delete(key, unless_committed_since=datetime(2020, 1, 1, tzinfo=UTC)) is False


def test_a_damaged_file_is_repaired_by_the_next_commit_of_its_content(local: LocalBlobStore, tmp_path: Path) -> None:
    key = put(local, b"undamaged")
    only_file(tmp_path / "blobs").write_bytes(b"undam")
    assert put(local, b"undamaged") == key
    assert everything(local, key) == b"undamaged"
    assert list((tmp_path / "blobs" / "staging").iterdir()) == []


def test_files_are_closed_after_the_last_chunk_on_close_and_when_forgotten(local: LocalBlobStore) -> None:
    key = put(local, LARGE)

    def is_open() -> bool:
        return any(os.path.basename(os.path.realpath(place)) == key for place in Path("/proc/self/fd").iterdir())

    list(local.open(key))
    assert not is_open()
    closed = local.open(key)
    next(closed)
    assert is_open()
    closed.close()  # type: ignore[attr-defined]
    assert list(closed) == []
    assert not is_open()
    forgotten = local.open(key)
    next(forgotten)
    del forgotten
    assert not is_open()


def test_stale_uploads_are_swept_at_start_and_live_ones_are_not(tmp_path: Path) -> None:
    directory = tmp_path / "blobs"
    live = LocalBlobStore(directory).stage()
    live.write(b"still ")
    (directory / "staging" / "stale").write_bytes(b"left by a process that died")
    again = LocalBlobStore(directory)
    assert len(list((directory / "staging").iterdir())) == 1
    live.write(b"arriving")
    assert everything(again, live.commit()) == b"still arriving"


@pytest.mark.parametrize("size", [1000, 100_000, ROOM])
def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path, size: int) -> None:
    """What is small is written when it is whole, and what `begin_commit` began `commit` tells; what is large while it arrives."""
    program = """
import errno, resource, signal, sys
from pathlib import Path
from xds.store.blobs.local import LocalBlobStore
size = int(sys.argv[2])
limit = size + size // 2
store = LocalBlobStore(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for end in ("commit", "begin_commit", "write"):
    staging = store.stage()
    staging.write(b"a" * size)
    try:
        staging.write(b"b" * size)
        getattr(staging, end)(*([b"c" * 5_000_000] if end == "write" else []))
        staging.commit()
    except OSError as problem:
        assert problem.errno == errno.EFBIG, problem
    else:
        sys.exit("it went through")
    try:
        staging.commit()
    except ValueError:
        pass
    else:
        sys.exit("half a blob was committed")
    staging.discard()
small = store.stage()
small.write(b"c" * limit)
print(small.commit())
"""
    directory = tmp_path / "blobs"
    command = [sys.executable, "-c", program, str(directory), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert list((directory / "staging").iterdir()) == []
    assert list(LocalBlobStore(directory).keys()) == [done.stdout.strip()]


def test_a_blob_is_not_swept_while_it_is_committed_once_more(local: LocalBlobStore, tmp_path: Path) -> None:
    key = put(local, b"contended")
    path = only_file(tmp_path / "blobs")
    os.utime(path, (1_000_000, 1_000_000))
    directory = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_SH)
    deleted: list[bool] = []
    since = datetime(2020, 1, 1, tzinfo=UTC)
    sweeper = threading.Thread(target=lambda: deleted.append(local.delete(key, unless_committed_since=since)))
    sweeper.start()
    put(local, b"contended")
    os.close(directory)
    sweeper.join()
    assert deleted == [False]
    assert everything(local, key) == b"contended"


def test_content_then_name_then_directories_become_durable(
    local: LocalBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that survives a power cut must not stand for content that did not."""
    steps: list[tuple[str, str]] = []
    fsync, link = os.fsync, os.link
    root = (tmp_path / "blobs").resolve()

    def recorded_fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}")).relative_to(root)
        steps.append(("fsync", path.parts[0] if path.parts[0] == "staging" else str(path)))
        fsync(descriptor)

    def recorded_link(source: str, target: str) -> None:
        steps.append(("link", str(Path(target).relative_to(tmp_path / "blobs"))))
        link(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "link", recorded_link)
    key = put(local, b"durable")
    directory = f"objects/{key[:2]}"
    named = [("link", f"{directory}/{key}"), ("fsync", directory)]
    assert steps == [("fsync", "staging"), ("fsync", "objects"), *named]
    steps.clear()
    put(local, b"durable")
    assert steps == [("fsync", "staging"), *named]


def test_a_large_blob_is_flushed_while_it_arrives(local: LocalBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    fdatasync = os.fdatasync

    def recorded(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_size)
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", recorded)
    block = os.urandom(1 << 20)
    staging = local.stage()
    for number in range(70):
        staging.write(number.to_bytes(8, "big") + block)
    whole = b"".join(number.to_bytes(8, "big") + block for number in range(70))
    assert (staging.size, staging.sha1) == (len(whole), hashlib.sha1(whole).hexdigest())
    key = staging.commit()
    assert key == hashlib.sha256(whole).hexdigest()
    assert b"".join(local.open(key)) == whole
    assert flushed
    assert flushed[0] >= 32 << 20


def write_on(staging: Staging) -> None:
    for _ in range(200):
        staging.write(bytes(1 << 20))


@pytest.mark.parametrize("end", ["commit", "write", "discard"])
def test_a_disk_that_fails_meanwhile_is_told(local: LocalBlobStore, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """What the disk reported once would not be reported again."""

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk fails")

    monkeypatch.setattr(os, "fdatasync", failing)
    staging = local.stage()
    staging.write(bytes(32 << 20))
    if end == "discard":
        staging.discard()
    elif end == "commit":
        with pytest.raises(OSError, match="the disk fails"):
            staging.commit()
    else:
        with pytest.raises(OSError, match="the disk fails"):
            write_on(staging)
    with pytest.raises(ValueError, match="closed"):
        staging.commit()
    assert list(local.keys()) == []


@pytest.mark.parametrize("size", [0, 1000, 100_000, ROOM + 1])
def test_the_disk_begins_before_the_commit(local: LocalBlobStore, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """What is asked of the blob meanwhile needs no disk; nothing is added to it any more."""
    data = random.Random(size).randbytes(size)
    may_finish, fsync = threading.Event(), os.fsync

    def slow(descriptor: int) -> None:
        assert may_finish.wait(60)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    staging = local.stage()
    staging.write(data)
    staging.begin_commit()
    staging.begin_commit()
    assert (staging.key, staging.sha1) == (hashlib.sha256(data).hexdigest(), hashlib.sha1(data).hexdigest())
    if size <= ROOM:
        assert b"".join(staging.open()) == data
    with pytest.raises(ValueError, match="closed"):
        staging.write(b"and more")
    may_finish.set()
    assert everything(local, staging.commit()) == data
    with pytest.raises(ValueError, match="closed"):
        staging.begin_commit()
    with pytest.raises(ValueError, match="closed"):
        staging.write(b"and more")


@pytest.mark.parametrize("end", ["commit", "discard"])
@pytest.mark.parametrize("size", [1000, 100_000, ROOM + 1])
def test_a_disk_that_fails_after_it_began_is_told(
    local: LocalBlobStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int, end: str
) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk fails")

    monkeypatch.setattr(os, "fsync", failing)
    staging = local.stage()
    staging.write(bytes(size))
    staging.begin_commit()
    if end == "discard":
        staging.discard()
    else:
        with pytest.raises(OSError, match="the disk fails"):
            staging.commit()
    for anew in (staging.commit, staging.begin_commit, lambda: staging.write(b"more")):
        with pytest.raises(ValueError, match="closed"):
            anew()
    assert list(local.keys()) == []
    assert list((tmp_path / "blobs" / "staging").iterdir()) == []


BORDERS = [0, 1, 4095, 4096, WORTH_IT - 1, WORTH_IT, WORTH_IT + 1, 526_331, ROOM - 1, ROOM, ROOM + 1, 2 * ROOM + 4095]


@pytest.mark.parametrize("way", ["at once", "in pieces", "begun before", "read meanwhile"])
@pytest.mark.parametrize("size", BORDERS)
def test_every_size_is_kept_whole(local: LocalBlobStore, size: int, way: str) -> None:
    data = random.Random(size).randbytes(size)
    # What another blob left in memory must not show.
    put(local, b"\xff" * min(size + 5000, ROOM))
    staging = local.stage()
    piece = max(size, 1) if way == "at once" else 99_991
    for start in range(0, size, piece):
        staging.write(data[start : start + piece])
        if way == "read meanwhile" and start % 3 == 0:
            assert b"".join(staging.open()) == data[: staging.size]
    if way == "begun before":
        staging.begin_commit()
        assert b"".join(staging.open()) == data
    assert everything(local, staging.commit()) == data


def test_what_is_read_of_a_blob_that_arrives_is_no_other_one(local: LocalBlobStore) -> None:
    first = local.stage()
    first.write(b"a" * 300_000)
    reading = first.open()
    first.discard()
    put(local, b"b" * 300_000)
    assert b"".join(reading) == b"a" * 300_000
    with pytest.raises(KeyError):
        first.open()


@pytest.mark.parametrize(("size", "expected"), [(WORTH_IT - 1, 0), (WORTH_IT, 1), (ROOM, 1), (ROOM + 1, 0)])
def test_what_is_neither_small_nor_large_is_written_past_the_cache(
    local: LocalBlobStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int, expected: int
) -> None:
    with (tmp_path / "probe").open("wb") as probe:
        try:
            fcntl.fcntl(probe, fcntl.F_SETFL, os.O_DIRECT)
        except OSError:
            pytest.skip("this file system has no O_DIRECT")
    direct_writes: list[int] = []
    write = os.write

    def recorded(descriptor: int, octets: memoryview) -> int:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            direct_writes.append(len(octets))
        return write(descriptor, octets)

    monkeypatch.setattr(os, "write", recorded)
    put(local, bytes(size))
    assert direct_writes == [size // 4096 * 4096] * expected


@pytest.mark.parametrize("written", [0, 8192, 8192 + 512])
def test_a_file_system_that_wants_no_such_writes_gets_others(
    local: LocalBlobStore, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """It says so at the first one or at a later one, or stops where the next could not begin."""
    data = random.Random(written).randbytes(200_001)
    calls: list[int] = []
    write = os.write

    def reluctant(descriptor: int, octets: memoryview) -> int:
        if not fcntl.fcntl(descriptor, fcntl.F_GETFL) & direct._DIRECT:
            return write(descriptor, octets)
        calls.append(len(octets))
        if len(calls) > 1 or not written:
            raise OSError(errno.EINVAL, "Invalid argument")
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~direct._DIRECT)
        done = write(descriptor, octets[:written])
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
        return done

    monkeypatch.setattr(os, "write", reluctant)
    key = put(local, data)
    monkeypatch.undo()
    assert everything(local, key) == data
    assert len(calls) == (2 if written == 8192 else 1)


def test_memory_for_arriving_blobs_is_used_again_and_bounded() -> None:
    rooms = Rooms()
    taken = list(iter(rooms.take, None))
    assert len({id(room) for room in taken}) == len(taken) == 16
    for room in taken[:8]:
        rooms.give(room)
    again = list(iter(rooms.take, None))
    assert {id(room) for room in again} == {id(room) for room in taken[:8]}
    # What is forgotten instead of given back makes place for another.
    del again, taken[4:], room
    assert len(list(iter(rooms.take, None))) == 12


def test_many_blobs_arrive_at_a_time(local: LocalBlobStore) -> None:
    """More than there is room for in memory, and some that have not begun, as on connections that are idle."""
    idle = [local.stage() for _ in range(20)]
    contents = [random.Random(number).randbytes(70_000 + number) for number in range(20)]
    arriving = [local.stage() for _ in contents]
    for part in (slice(0, 30_000), slice(30_000, None)):
        for staging, content in zip(arriving, contents, strict=True):
            staging.write(content[part])
    assert sum(path.stat().st_size > 0 for path in (local._staging).iterdir()) == 4
    assert [b"".join(staging.open()) for staging in arriving] == contents
    assert [everything(local, staging.commit()) for staging in arriving] == contents
    for staging in idle:
        staging.discard()
