"""`xds import …`: existing holdings into a running server, resumable."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from xds.cli import exchange
from xds.cli.exchange import DicomTo, talking
from xds.cli.outcome import Refused, Usage
from xds.pacs.sender import STORED, DicomFile, read_endpoint, read_file, send_files
from xds.wire.dicom import DicomError

_BATCH = 200
_DICOMDIR = "1.2.840.10008.1.3.10"

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Bring existing holdings into a running server.")


@app.callback()
def _group() -> None:
    """Keeps `dicom` a command of its own while it is the only one."""


@app.command("dicom")
def dicom(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Every DICOM file below it is sent.")],
    to: DicomTo = exchange.DEFAULT_DICOM,
    calling: Annotated[str, typer.Option(help="AE title to call as.")] = "XDS_IMPORT",
    state: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where it is noted what is done. Default: a file in the working directory."),
    ] = None,
    timeout: exchange.Timeout = 60,
) -> None:
    """Send a folder of DICOM files by C-STORE, with progress, rate and time left.

    Interrupted, the same command goes on where it was; files that are not DICOM are passed over, and
    those that are broken are listed.

    **Examples**

    `xds import dicom /mnt/archive --to XDS@127.0.0.1:11112`
    """
    if not directory.is_dir():
        raise Usage(f"{directory} is not a directory")
    try:
        read_endpoint(to)
    except ValueError as error:
        raise Usage(str(error)) from error
    notes = state or _state_file(directory, to)
    done = set(notes.read_text(encoding="utf-8").splitlines()) if notes.exists() else set()
    found = [path for path in sorted(directory.rglob("*")) if path.is_file() and str(path.relative_to(directory)) not in done]
    try:
        stored = _send_all(found, directory, notes, to, calling, timeout)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        raise
    print(f"{stored.sent} images stored, {stored.refused} refused, {stored.passed} files passed over, {len(done)} done before")
    if stored.refused:
        raise Refused("some images were refused")


@dataclass(slots=True)
class _Count:
    sent: int = 0
    refused: int = 0
    passed: int = 0


def _send_all(found: Sequence[Path], directory: Path, notes: Path, to: str, calling: str, timeout: float) -> _Count:
    count = _Count()
    title, host, port = read_endpoint(to)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with (
        notes.open("a", encoding="utf-8") as done,
        Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress,
    ):
        task = progress.add_task("images", total=len(found))
        waiting = iter(found)
        while batch := list(islice(waiting, _BATCH)):
            files = list(_readable(batch, count))
            progress.advance(task, len(batch) - len(files))
            with talking(to):
                for file, status in send_files(files, host, port, calling=calling, called=title, seconds=timeout):
                    progress.advance(task)
                    if status not in STORED:
                        count.refused += 1
                        print(f"{file.path}: {_why(status)}", file=sys.stderr)
                        continue
                    count.sent += 1
                    done.write(f"{file.path.relative_to(directory)}\n")
                    done.flush()
    return count


class _Rate(ProgressColumn):
    """Files a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.0f}/s")


def _readable(paths: Sequence[Path], count: _Count) -> Iterator[DicomFile]:
    """The images among files. What begins as DICOM and cannot be read is listed, everything else passed over."""
    for path in paths:
        try:
            with path.open("rb") as file:
                is_dicom = file.read(132)[128:] == b"DICM"
            found = read_file(path) if is_dicom else None
        except (DicomError, OSError) as problem:
            count.refused += 1
            print(f"{path}: {problem}", file=sys.stderr)
            continue
        # A DICOMDIR describes a medium; it is no image of a study.
        if found is None or found.sop_class_uid == _DICOMDIR:
            count.passed += 1
            continue
        yield found


def _why(status: int | None) -> str:
    if status is None:
        return "the partner takes no such kind of object in this transfer syntax"
    return f"refused with status {status:04X}H"


def _state_file(directory: Path, to: str) -> Path:
    """One for each pair of folder and partner, so that the same command finds it again."""
    name = hashlib.sha256(f"{directory.resolve()} {to}".encode()).hexdigest()[:16]
    return Path(f".xds-import-{name}")
