"""Names that make a blob durable before the directory does that holds its key: who takes them away, and who needs them."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.store.test_blobs import everything, put
from xds.store.blobs import directories, pending
from xds.store.blobs.local import LocalBlobStore

DATA = bytes(range(256)) * 400


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are gathered for longer than a test takes."""
    monkeypatch.setattr(pending, "SETTLE_SECONDS", 600)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "SETTLE_SECONDS", 0.01)


def wait_until(done: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until
        time.sleep(0.01)


def pendings(root: Path) -> list[Path]:
    return sorted((root / "pending").iterdir())


def place(root: Path, key: str) -> Path:
    return root / "objects" / key[:3] / key


def lose_name(root: Path, key: str) -> None:
    """What a loss of power does to a name whose directory was not forced."""
    place(root, key).unlink()


def leave(root: Path, key: str, data: bytes) -> Path:
    """A pending name, as a process leaves it that is no more."""
    name = root / "pending" / f"{key}-{0:032x}"
    name.write_bytes(data)
    return name


def recorded(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[tuple[str, str]]:
    """The steps that the order of a commit is made of: what is forced, renamed and linked of this store."""
    steps: list[tuple[str, str]] = []
    fsync, link, rename = os.fsync, os.link, os.rename

    def note(step: str, path: Path) -> None:
        # Another store of this process may still settle what another test left.
        if path.resolve().is_relative_to(root.resolve()):
            relative = path.resolve().relative_to(root.resolve())
            # A name in `pending` is another one each time.
            steps.append((step, "pending/file" if relative.parent.name == "pending" else str(relative)))

    def forced(descriptor: int) -> None:
        note("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def linked(source: Path, target: Path) -> None:
        note("link", Path(target))
        link(source, target)

    def renamed(source: Path, target: Path) -> None:
        note("rename", Path(target))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", forced)
    monkeypatch.setattr(os, "link", linked)
    monkeypatch.setattr(os, "rename", renamed)
    return steps


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("together", [True, False])
def test_content_and_a_name_are_durable_before_the_key_names_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, together: bool
) -> None:
    """Where a file system does not promise that a name comes with its file, its directory is forced as well."""
    monkeypatch.setattr(pending, "names_come_with_files", lambda _path: together)
    local = LocalBlobStore(root)
    steps = recorded(monkeypatch, root)
    key = put(local, DATA)
    forced = [("fsync", "pending/file"), *([] if together else [("fsync", "pending")])]
    commit = [("rename", "pending/file"), *forced, ("link", f"objects/{key[:3]}/{key}")]
    assert steps == [("fsync", "objects"), *commit]
    steps.clear()
    put(local, DATA)
    assert steps == commit


@pytest.mark.usefixtures("hasty")
def test_pending_names_are_taken_away_when_the_directory_is_durable(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = LocalBlobStore(root)
    steps = recorded(monkeypatch, root)
    keys = [put(local, b"%d" % number) for number in range(20)]
    wait_until(lambda: not pendings(root))
    assert {("fsync", f"objects/{key[:3]}") for key in keys} <= set(steps)
    assert [everything(local, key) for key in keys] == [b"%d" % number for number in range(20)]
    again = put(local, b"after a pause")
    wait_until(lambda: not pendings(root))
    assert everything(local, again) == b"after a pause"


@pytest.mark.usefixtures("patient")
def test_a_name_that_was_lost_is_given_again(root: Path) -> None:
    key = put(LocalBlobStore(root), DATA)
    lose_name(root, key)
    again = LocalBlobStore(root)
    assert everything(again, key) == DATA
    assert list(again.keys()) == [key]


@pytest.mark.usefixtures("patient")
def test_what_was_left_is_not_committed_once_more(root: Path) -> None:
    key = put(LocalBlobStore(root), DATA)
    os.utime(place(root, key), (1_000_000, 1_000_000))
    assert pendings(root)
    assert LocalBlobStore(root).committed_at(key) == datetime.fromtimestamp(1_000_000, UTC)


@pytest.mark.usefixtures("hasty")
def test_what_was_left_is_taken_away_in_the_end(root: Path) -> None:
    LocalBlobStore(root)
    key = hashlib.sha256(DATA).hexdigest()
    leave(root, key, DATA)
    again = LocalBlobStore(root)
    assert everything(again, key) == DATA
    wait_until(lambda: not pendings(root))
    assert everything(again, key) == DATA


@pytest.mark.parametrize("content", [b"", DATA[:-1], DATA[:4096] + bytes(4096) + DATA[8192:]], ids=["empty", "short", "hole"])
def test_half_a_blob_is_never_named(root: Path, content: bytes) -> None:
    LocalBlobStore(root)
    leave(root, hashlib.sha256(DATA).hexdigest(), content)
    assert list(LocalBlobStore(root).keys()) == []
    assert pendings(root) == []


def test_what_is_no_pending_name_is_left_alone(root: Path) -> None:
    LocalBlobStore(root)
    (root / "pending" / "lost+found").mkdir()
    assert list(LocalBlobStore(root).keys()) == []
    assert [path.name for path in pendings(root)] == ["lost+found"]


def test_what_is_being_committed_is_left_to_its_process(root: Path) -> None:
    LocalBlobStore(root)
    key = hashlib.sha256(DATA).hexdigest()
    name = leave(root, key, DATA[:10])
    with name.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert list(LocalBlobStore(root).keys()) == []
    assert pendings(root) == [name]


@pytest.mark.usefixtures("patient")
def test_a_damaged_file_is_repaired_from_what_is_pending(root: Path) -> None:
    key = put(LocalBlobStore(root), DATA)
    place(root, key).unlink()
    place(root, key).write_bytes(b"damaged")
    assert everything(LocalBlobStore(root), key) == DATA


@pytest.mark.usefixtures("patient")
def test_a_removed_blob_does_not_come_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = LocalBlobStore(root)
    key = put(local, DATA)
    put(LocalBlobStore(root), DATA)
    other = put(local, b"another")
    assert len(pendings(root)) == 3
    steps = recorded(monkeypatch, root)
    assert local.delete(key)
    assert steps == [("fsync", f"objects/{key[:3]}"), ("fsync", "pending")]
    assert list(LocalBlobStore(root).keys()) == [other]


@pytest.mark.usefixtures("patient")
def test_what_is_kept_by_its_age_stays_pending(root: Path) -> None:
    local = LocalBlobStore(root)
    key = put(local, DATA)
    assert not local.delete(key, unless_committed_since=datetime(2020, 1, 1, tzinfo=UTC))
    lose_name(root, key)
    assert everything(LocalBlobStore(root), key) == DATA


@pytest.mark.usefixtures("patient")
def test_who_commits_the_same_does_not_rely_on_the_name_of_another(root: Path) -> None:
    """The process that gave the name may die before the name is durable."""
    key = put(LocalBlobStore(root), DATA)
    (first,) = pendings(root)
    assert put(LocalBlobStore(root), DATA) == key
    first.unlink()
    lose_name(root, key)
    assert everything(LocalBlobStore(root), key) == DATA


@pytest.mark.usefixtures("patient")
def test_who_only_reads_finds_what_is_pending(root: Path) -> None:
    key = put(LocalBlobStore(root), DATA)
    lose_name(root, key)
    reader = LocalBlobStore(root, writing=False)
    assert everything(reader, key) == DATA
    assert reader.size(key) == len(DATA)
    assert reader.file(key) == pendings(root)[0]
    assert reader.committed_at(key) is not None
    assert not place(root, key).exists()
    with pytest.raises(KeyError):
        reader.open("0" * 64)


def test_who_only_reads_makes_nothing(root: Path) -> None:
    with pytest.raises(KeyError):
        LocalBlobStore(root, writing=False).open("0" * 64)
    assert not root.exists()


@pytest.mark.usefixtures("hasty")
def test_a_directory_that_cannot_be_forced_keeps_the_pending_names(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()
    fail = True
    sync = directories.sync_directory

    def failing(path: Path) -> None:
        if fail and path.parent.name == "objects":
            failed.set()
            raise OSError(errno.EIO, "the disk fails")
        sync(path)

    monkeypatch.setattr(pending, "sync_directory", failing)
    local = LocalBlobStore(root)
    key = put(local, DATA)
    assert failed.wait(60)
    fail = False
    other = put(local, b"another")
    wait_until(lambda: len(pendings(root)) == 1)
    assert pendings(root)[0].name.startswith(key)
    assert (everything(local, key), everything(local, other)) == (DATA, b"another")


@pytest.mark.usefixtures("patient")
def test_commits_wait_for_a_disk_that_falls_behind(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "_MOST", 3)
    local = LocalBlobStore(root)
    keys = [put(local, b"%d" % number) for number in range(8)]
    assert len(pendings(root)) == 3
    assert sorted(local.keys()) == sorted(keys)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("step", ["mkdir", "rename", "fsync", "link"])
def test_a_commit_that_fails_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    local = LocalBlobStore(root)
    put(local, b"makes no difference")
    before = pendings(root)
    staging = local.stage()
    staging.write(DATA)
    if step != "mkdir":
        place(root, staging.key).parent.mkdir(exist_ok=True)
    original = getattr(os, step)

    def failing(*arguments: object) -> None:
        if step != "fsync" or "/pending/" in os.readlink(f"/proc/self/fd/{arguments[0]}"):
            raise OSError(errno.ENOSPC, "the disk is full")
        original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, step, failing)
        with pytest.raises(OSError, match="the disk is full"):
            staging.commit()
    with pytest.raises(ValueError, match="closed"):
        staging.commit()
    assert pendings(root) == before
    assert list((root / "staging").iterdir()) == []
    assert len(list(local.keys())) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from xds.store.blobs.local import LocalBlobStore
original = getattr(os, sys.argv[2], None)
def dying(*arguments):
    if sys.argv[3] == "after":
        original(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
store = LocalBlobStore(Path(sys.argv[1]))
staging = store.stage()
staging.write(b"killed")
(Path(sys.argv[1]) / "objects" / staging.key[:3]).mkdir(exist_ok=True)
store._make_directory(staging.key)
setattr(os, sys.argv[2], dying)
staging.commit()
"""


@pytest.mark.parametrize("when", [("rename", "before"), ("fsync", "before"), ("link", "before"), ("link", "after")])
def test_a_process_that_is_killed_in_a_commit_leaves_all_or_nothing(root: Path, when: Sequence[str]) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(root), *when], check=False)
    assert done.returncode == -9
    again = LocalBlobStore(root)
    assert [everything(again, key) for key in list(again.keys())] in ([], [b"killed"])
    assert list((root / "staging").iterdir()) == []
    assert put(again, b"killed") == hashlib.sha256(b"killed").hexdigest()


def test_blobs_that_are_committed_and_removed_at_once_are_whole_or_absent(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several stores, as several processes have them, one of which begins again and again."""
    monkeypatch.setattr(pending, "SETTLE_SECONDS", 0.001)
    stores = [LocalBlobStore(root) for _ in range(2)]
    contents = [b"%d" % number * 1000 for number in range(4)]
    kept = b"kept"
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(60):
                store = LocalBlobStore(root) if number == 0 and turn % 6 == 0 else stores[number % 2]
                data = contents[turn % len(contents)]
                key = put(store, data)
                put(store, kept)
                if (turn + number) % 3 == 0:
                    store.delete(key)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    for data in contents:
        stores[0].delete(hashlib.sha256(data).hexdigest())
    again = LocalBlobStore(root)
    assert [everything(again, key) for key in list(again.keys())] == [kept]
    wait_until(lambda: not pendings(root))


def test_only_known_file_systems_make_a_name_durable_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    monkeypatch.setattr(directories, "_MOUNTS", mounts)
    assert not directories.names_come_with_files(tmp_path)
    number = f"{os.major(device)}:{os.minor(device)}"
    for kind, known in (("ext4", True), ("xfs", True), ("nfs4", False)):
        mounts.write_text(f"1 0 999:9 / / rw - xfs /dev/a rw\n2 1 {number} / /x rw shared:1 - {kind} /dev/b rw\n")
        assert directories.names_come_with_files(tmp_path) is known
    mounts.write_text("1 0 999:9 / / rw - xfs /dev/a rw\n")
    assert not directories.names_come_with_files(tmp_path)
