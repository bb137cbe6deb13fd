"""Worker processes for pixels: each job has a limit of time, each process one of memory; who breaks it is ended and replaced.

A job is one line of JSON into the worker's standard input, its answer one line from its standard output; pixels go through
files in a directory of the pool's own, which is removed with it.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, Final

import structlog

from xds.model.rendering import Rendering
from xds.pixels.jobs import Operation, PixelError, PixelTimeoutError

_CHUNK: Final = 1024 * 1024
#: What a worker process gets of the environment: nothing that configures or authenticates the service.
_INHERITED: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Made:
    """What a job made: a file of the pool, to be released by whoever asked for it. `lengths` are those of the single frames."""

    path: Path
    size: int
    media_type: str
    transfer_syntax_uid: str = ""
    lengths: tuple[int, ...] = ()

    def chunks(self) -> Iterator[bytes]:
        """Its octets, in pieces of at most 1 MiB."""
        return file_chunks(self.path)

    def part(self, start: int, length: int) -> Iterator[bytes]:
        """Some of its octets."""
        with self.path.open("rb", buffering=0) as file:
            file.seek(start)
            while length and (chunk := file.read(min(length, _CHUNK))):
                length -= len(chunk)
                yield chunk

    def release(self) -> None:
        """Remove the file. Idempotent."""
        self.path.unlink(missing_ok=True)


def file_chunks(path: Path) -> Iterator[bytes]:
    """The octets of a file, in pieces of at most 1 MiB."""
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


class _Worker:
    """One worker process. Not for two threads at a time."""

    def __init__(self, memory: int) -> None:
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # One thread each: the pool is what runs in parallel, and every further thread would reserve address space.
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "xds.pixels.worker", str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            close_fds=True,
            bufsize=0,
        )
        self._received = bytearray()
        self.jobs = 0

    def ask(self, job: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        """Have a job done. Errors: PixelTimeoutError, and PixelError when the process died."""
        self.jobs += 1
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
        except OSError:
            raise PixelError("the decoder ended unexpectedly") from None
        line = self._line(time.monotonic() + seconds)
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    def _line(self, until: float) -> bytes:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._received:
                left = until - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise PixelTimeoutError("decoding took longer than its limit")
                data = os.read(self._process.stdout.fileno(), 65536)
                if not data:
                    raise PixelError(
                        "the process that decodes pixels ended: the object is broken, or needs more memory than allowed"
                    )
                self._received += data
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received = bytearray(rest)
        return line

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def _remove_leftovers(directory: Path) -> None:
    """What processes left behind that were killed: images of patients."""
    for path in directory.glob("pixels-*-*"):
        pid = path.name.split("-")[1]
        if pid.isdecimal() and not _is_running(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class Pool:
    """The actors' way to pixels. One object serves all threads; workers start when the first job needs them."""

    def __init__(
        self,
        directory: Path | None = None,
        *,
        processes: int = 2,
        memory: int = 2 * 1024**3,
        seconds: float = 60.0,
        patience: float = 30.0,
        jobs_per_process: int = 500,
    ) -> None:
        """`directory` is where the pool makes its own. `memory` is in octets for each process above what it starts with.

        `seconds` is how long a job may take, `patience` how long one may wait for a free process. A process is replaced after
        `jobs_per_process` jobs, so that what codecs leak does not add up.
        """
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(directory)
        self._directory = Path(tempfile.mkdtemp(prefix=f"pixels-{os.getpid()}-", dir=directory))
        self._memory = memory
        self._seconds = seconds
        self._patience = patience
        self._jobs_per_process = jobs_per_process
        # Last in, first out: with little to do the same few processes stay warm.
        self._idle: LifoQueue[_Worker | None] = LifoQueue()
        for _ in range(processes):
            self._idle.put(None)
        self._numbers = iter(range(sys.maxsize))
        self._lock = threading.Lock()
        self._processes = processes

    @contextmanager
    def spooled(self, chunks: Iterable[bytes]) -> Iterator[Path]:
        """An object as a file that workers can read, for as long as the context lasts."""
        path = self.spool(chunks)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def spool(self, chunks: Iterable[bytes]) -> Path:
        """An object as a file, which the caller removes."""
        with self.new_file() as path:
            with path.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            return path

    @contextmanager
    def new_file(self) -> Iterator[Path]:
        """A path for a file of the caller's, which is removed when the context ends with an error."""
        path = self._new_path()
        with ExitStack() as undo:
            undo.callback(path.unlink, missing_ok=True)
            yield path
            undo.pop_all()

    def transcode(self, source: Path, target: str) -> Made:
        """The Part 10 file in another transfer syntax; no value but those that describe the pixels changes.

        Errors: PixelError.
        """
        return self._run(Operation.TRANSCODE, source, {"target": target})

    def anonymize(self, source: Path, target: str, key: str) -> Made:
        """The image without whose it is, in another transfer syntax; `key` decides which UIDs others become.

        Errors: PixelError, also when it cannot be known that nothing is left of whose it is.
        """
        return self._run(Operation.ANONYMIZE, source, {"target": target, "key": key})

    def frames(self, source: Path, numbers: Sequence[int]) -> Made:
        """Decoded frames (from 1) one after the other, as PS3.18 8.7.3.5.2 wants: little endian, planes as in the object.

        Errors: PixelError.
        """
        return self._run(Operation.FRAMES, source, {"numbers": list(numbers)})

    def render(self, source: Path, how: Rendering) -> Made:
        """An image, or a text, that a browser can show. Errors: PixelError."""
        told = asdict(how) | {"presentation_state": base64.b64encode(how.presentation_state).decode()}
        return self._run(Operation.RENDER, source, {"rendering": told})

    def close(self) -> None:
        """End the workers and remove their files. Jobs that run fail."""
        for _ in range(self._processes):
            try:
                worker = self._idle.get(timeout=self._seconds)
            except Empty:
                continue
            if worker is not None:
                worker.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _new_path(self) -> Path:
        with self._lock:
            number = next(self._numbers)
        return self._directory / str(number)

    def _run(self, operation: Operation, source: Path, options: Mapping[str, Any]) -> Made:
        output = self._new_path()
        job = {"operation": operation, "source": str(source), "output": str(output), **options}
        try:
            answer = self._ask(job)
        except PixelError:
            output.unlink(missing_ok=True)
            raise
        if "error" in answer:
            output.unlink(missing_ok=True)
            raise PixelError(answer["error"])
        lengths = tuple(answer.get("lengths", ()))
        return Made(output, output.stat().st_size, answer["media_type"], answer.get("transfer_syntax", ""), lengths)

    def _ask(self, job: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            worker = self._idle.get(timeout=self._patience)
        except Empty:
            raise PixelTimeoutError("too many images are being decoded now") from None
        keep: _Worker | None = None
        try:
            worker = worker or _Worker(self._memory)
            answer = worker.ask(job, self._seconds)
            keep = worker if worker.jobs < self._jobs_per_process else None
        except PixelError as problem:
            _log.warning("pixels.worker_ended", operation=job["operation"], reason=str(problem))
            raise
        finally:
            if worker is not None and keep is None:
                worker.stop()
            self._idle.put(keep)
        return answer
