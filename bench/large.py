"""What large things cost: an answer of thousands of entries, and a document of a gibibyte beside copying and hashing it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from bench import messages
from tests.running import RunningServer

GIBIBYTE = 1 << 30
_MEBIBYTE = 1 << 20
_UNIQUE_ID = re.compile(rb'value="(2\.25\.77[0-9]+\.1)"')


def address(server: RunningServer) -> tuple[str, int]:
    """Host and port of its HTTP listener."""
    host, _, port = server.http.removeprefix("http://").rpartition(":")
    return host, int(port)


@contextmanager
def growing_memory(server: RunningServer) -> Iterator[list[int]]:
    """The list holds by how much the resident memory of the server's processes has grown at most, in octets."""
    begun = _memory(server)
    grown = [0]
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(0.01):
            grown[0] = max(grown[0], _memory(server) - begun)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield grown
    finally:
        finished.set()
        watcher.join()


def _memory(server: RunningServer) -> int:
    assert server.process is not None
    pid = server.process.pid
    total = 0
    for each in (str(pid), *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        with suppress(FileNotFoundError):
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1])
    return total * os.sysconf("SC_PAGE_SIZE")


def answer(server: RunningServer, request: bytes, times: int = 5) -> str:
    """Ask for something large; the median times until the first octet and until the last, and the memory that it took."""
    first, last = [], []
    size = 0
    _take(server, request)
    with growing_memory(server) as grown:
        for _ in range(times):
            begun = time.perf_counter()
            size, until_first = _take(server, request)
            first.append(until_first)
            last.append(time.perf_counter() - begun)
    middle = times // 2
    return (
        f"{size / 1e6:.1f} MB   first octet {sorted(first)[middle] * 1000:.0f} ms   last {sorted(last)[middle] * 1000:.0f} ms"
        f"   memory +{grown[0] / _MEBIBYTE:.0f} MiB"
    )


def _take(server: RunningServer, request: bytes) -> tuple[int, float]:
    """Octets of the answer, and the seconds until its first one."""
    with socket.create_connection(address(server), timeout=120) as connection:
        begun = time.perf_counter()
        connection.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(_MEBIBYTE)
        first = time.perf_counter() - begun
        header, _, begin = head.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)content-length: ([0-9]+)", header)
        if b" 200 " not in header or found is None:
            raise RuntimeError(f"no answer of known length: {header[:200]!r}")
        received, buffer = len(begin), bytearray(_MEBIBYTE)
        while received < int(found[1]) and (some := connection.recv_into(buffer)):
            received += some
    return received, first


def document(server: RunningServer, directory: Path, authority: str, repository: str, size: int = GIBIBYTE) -> None:
    """Send a document and fetch it, and do with `cp` and `sha1sum` what that amounts to; print the rates."""
    file = directory / "large-document"
    _make(file, size)
    reference = _seconds(lambda: _copy_and_hash(file))
    synced = _seconds(lambda: _copy_and_hash(file, sync=True))
    root = messages.unique(messages.provision(authority), "LARGE")
    found = _UNIQUE_ID.search(root)
    assert found is not None
    with growing_memory(server) as grown:
        up = _seconds(lambda: _provide(server, file, root))
        fetch = messages.mtom("/services/repository", messages.retrieve(repository, found[1].decode()))
        down = _seconds(lambda: _take(server, fetch))
    file.unlink()
    for name, seconds in (("cp + sha1sum", reference), ("cp + sync + sha1sum", synced), ("ITI-41", up), ("ITI-43", down)):
        rate = f"{size / _MEBIBYTE / seconds:6.0f} MiB/s"
        print(f"  {name:34} {rate}   {reference / seconds:4.2f} of cp + sha1sum", flush=True)
    print(f"  {'memory':34} +{grown[0] / _MEBIBYTE:.0f} MiB")


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _make(file: Path, size: int) -> None:
    block = Random(41).randbytes(_MEBIBYTE)
    with file.open("wb") as stream:
        for number in range(size // _MEBIBYTE):
            stream.write(number.to_bytes(8, "big") + os.urandom(8) + block[16:])
        stream.flush()
        os.fsync(stream.fileno())


def _copy_and_hash(file: Path, *, sync: bool = False) -> None:
    copy = file.with_suffix(".copy")
    subprocess.run(["cp", str(file), str(copy)], check=True)
    if sync:
        subprocess.run(["sync", str(copy)], check=True)
    subprocess.run(["sha1sum", str(copy)], check=True, stdout=subprocess.DEVNULL)
    copy.unlink()


def _provide(server: RunningServer, file: Path, root: bytes) -> None:
    before, after = messages.mtom_around("/services/repository", root, file.stat().st_size)
    with socket.create_connection(address(server), timeout=300) as connection, file.open("rb") as stream:
        connection.sendall(before)
        connection.sendfile(stream)
        connection.sendall(after)
        answered = connection.recv(_MEBIBYTE)
        while b"</s:Envelope>" not in answered:
            answered += connection.recv(_MEBIBYTE)
        if b":Success" not in answered:
            raise RuntimeError(f"the document was refused: {answered[-500:]!r}")
