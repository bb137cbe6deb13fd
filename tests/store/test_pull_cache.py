"""The cache of fetched images: bounded, of limited age, never half an entry."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from tests.archive import SteppedClock
from xds.store.pull_cache import CachedObject, CacheKey, PullCache

MIB = 1 << 20


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


def opened(directory: Path, clock: SteppedClock, size: int = 100 * MIB) -> PullCache:
    return PullCache(directory, size, timedelta(hours=1), clock)


def key_of(name: str) -> CacheKey:
    return CacheKey("series", name)


def kept(cache: PullCache, key: str, octets: bytes = b"octets", digest: str = "as told") -> CachedObject:
    file = cache.new_file()
    file.write_bytes(octets)
    found = cache.keep(key_of(key), file, "1.2.840.10008.1.2.1", digest)
    cache.unpin(found.path)
    return found


def test_what_was_kept_is_found_also_after_a_restart(tmp_path: Path, clock: SteppedClock) -> None:
    kept(opened(tmp_path, clock), "one")
    found = opened(tmp_path, clock).find(key_of("one"), "as told")
    assert found is not None
    assert (found.path.read_bytes(), found.size, found.transfer_syntax_uid) == (b"octets", 6, "1.2.840.10008.1.2.1")
    assert opened(tmp_path, clock).find(key_of("two"), "as told") is None


def test_what_the_source_describes_otherwise_now_is_forgotten(tmp_path: Path, clock: SteppedClock) -> None:
    cache = opened(tmp_path, clock)
    former = kept(cache, "one")
    assert cache.find(key_of("one"), "another digest") is None
    assert not former.path.exists()


def test_an_entry_expires(tmp_path: Path, clock: SteppedClock) -> None:
    cache = opened(tmp_path, clock)
    kept(cache, "one")
    clock.advance(minutes=59)
    assert cache.find(key_of("one"), "as told") is not None
    clock.advance(minutes=2)
    assert cache.find(key_of("one"), "as told") is None
    assert cache.used == 0


def test_the_newest_of_a_key_counts(tmp_path: Path, clock: SteppedClock) -> None:
    cache = opened(tmp_path, clock)
    former = kept(cache, "one")
    kept(cache, "one", b"newer")
    found = cache.find(key_of("one"), "as told")
    assert found is not None
    assert found.path.read_bytes() == b"newer"
    assert not former.path.exists()


def test_the_least_recently_used_makes_room(tmp_path: Path, clock: SteppedClock) -> None:
    cache = opened(tmp_path, clock, 10 * MIB)
    for number in range(9):
        entry = kept(cache, str(number), bytes(MIB))
        os.utime(entry.path, (number, number + 1000))
    assert cache.find(key_of("0"), "as told") is not None
    kept(cache, "large", bytes(3 * MIB))
    assert cache.used <= 10 * MIB
    assert cache.find(key_of("0"), "as told") is not None
    assert cache.find(key_of("1"), "as told") is None


def test_what_somebody_reads_is_spared(tmp_path: Path, clock: SteppedClock) -> None:
    cache = opened(tmp_path, clock, 4 * MIB)
    first = kept(cache, "first", bytes(2 * MIB))
    os.utime(first.path, (1, 1))
    cache.pin(first.path)
    for number in range(8):
        os.utime(kept(cache, str(number), bytes(MIB)).path, (2, 2))
    assert cache.find(key_of("first"), "as told") is not None
    os.utime(first.path, (1, 1))
    cache.unpin(first.path)
    kept(cache, "last", bytes(3 * MIB))
    assert cache.find(key_of("first"), "as told") is None


def test_what_has_expired_is_swept_away_unless_somebody_waits_for_it(tmp_path: Path, clock: SteppedClock) -> None:
    cache = opened(tmp_path, clock)
    entries = {name: kept(cache, name) for name in ("read", "over", "used")}
    clock.advance(hours=2)
    fresh = kept(cache, "fresh")
    for name in ("read", "over"):
        os.utime(entries[name].path, (1, 1))
    cache.pin(entries["read"].path)
    opened(tmp_path, clock).sweep()
    assert {path.name for path in (tmp_path / "objects").glob("*/*.dcm")} == {
        entry.path.name for entry in (entries["read"], entries["used"], fresh)
    }
    os.utime(entries["read"].path, (1, 1))
    cache.unpin(entries["read"].path)
    cache.sweep()
    assert not entries["read"].path.exists()
    assert not list(tmp_path.glob("arriving-*/*"))


def test_what_another_process_reads_is_spared(tmp_path: Path, clock: SteppedClock) -> None:
    reader = opened(tmp_path, clock)
    read = kept(reader, "read", bytes(2 * MIB))
    for _ in range(2):
        reader.pin(read.path)
    os.utime(read.path, (1, 1))
    # Another object with the same directory knows nothing of the pins of the first, as another process would.
    other = opened(tmp_path, clock, 4 * MIB)
    for number in range(8):
        os.utime(kept(other, str(number), bytes(MIB)).path, (2, 2))
    assert read.path.exists()
    reader.unpin(read.path)
    assert read.path.stat().st_nlink == 2
    reader.unpin(read.path)
    kept(other, "last", bytes(3 * MIB))
    assert not read.path.exists()


def test_what_all_processes_have_put_in_is_swept_down_to_the_limit(tmp_path: Path, clock: SteppedClock) -> None:
    caches = [opened(tmp_path, clock, 4 * MIB) for _ in range(3)]
    for number, cache in enumerate(caches):
        for other in range(3):
            os.utime(kept(cache, f"{number}.{other}", bytes(MIB)).path, (number, number))
    assert caches[0].used == 9 * MIB
    caches[0].sweep()
    assert caches[0].used <= 4 * MIB


def test_nothing_of_what_was_arriving_is_left_of_a_process_that_died(tmp_path: Path, clock: SteppedClock) -> None:
    dead = tmp_path / "arriving-999999999"
    dead.mkdir(parents=True)
    (dead / "half.dcm").write_bytes(b"half")
    opened(tmp_path, clock)
    assert not dead.exists()


def test_an_entry_of_another_start_of_the_machine_counts_for_nothing(tmp_path: Path, clock: SteppedClock) -> None:
    kept(opened(tmp_path, clock), "one")
    (place,) = (tmp_path / "objects").glob("*/*.json")
    place.write_text(json.dumps({**json.loads(place.read_text()), "boot": "before"}))
    assert opened(tmp_path, clock).find(key_of("one"), "as told") is None


def test_an_entry_whose_object_is_not_whole_counts_for_nothing(tmp_path: Path, clock: SteppedClock) -> None:
    entry = kept(opened(tmp_path, clock), "one")
    entry.path.write_bytes(b"oct")
    assert opened(tmp_path, clock).find(key_of("one"), "as told") is None
    kept(opened(tmp_path, clock), "two")
    (place,) = (tmp_path / "objects").glob("*/*.json")
    place.write_text("{")
    assert opened(tmp_path, clock).find(key_of("two"), "as told") is None
