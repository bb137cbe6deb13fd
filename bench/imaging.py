"""`make bench-imaging`: images in and out, beside Orthanc, dcmtk's storescp and nginx on the same machine.

    python -m bench.imaging                     everything
    python -m bench.imaging --only store --slices 500
    python -m bench.imaging --processes 1       with one server process

The senders are dcmtk's storescu, for every receiver alike. A receiver that is not installed is left out, and it is said.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import imaging_out, imaging_study
from bench.__main__ import working_directory
from bench.imaging_peers import AbsentError, Peer, orthanc, program, resident_memory, storescp
from tests.running import RunningServer

ASSOCIATIONS = (1, 4)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure: images of the study, how often, and with how many server processes."""

    slices: int
    rounds: int
    processes: int


@contextmanager
def ours(directory: Path, processes: int) -> Iterator[tuple[Peer, RunningServer]]:
    """This server, as it is by default but for the number of its processes."""
    settings = {"IMAGING__SETTLE_SECONDS": "3600", "SERVER__LOG_LEVEL": "warning"}
    with RunningServer(directory / "xds", "--processes", str(processes), config=None, **settings) as server:
        title, _, port = server.dicom
        yield Peer("xds", title, port, f"{server.http}/dicomweb"), server


def send(peer: Peer, folders: Sequence[Path]) -> float:
    """Send each folder over an association of its own, all at once; the seconds until the last was answered."""
    base = [program("storescu"), "-pdu", "131072", "-aec", peer.ae_title, "+sd", "127.0.0.1", str(peer.port)]
    begin = time.perf_counter()
    senders = [
        subprocess.Popen([*base, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={"TCP_NODELAY": "1"})
        for folder in folders
    ]
    for sender in senders:
        _, errors = sender.communicate(timeout=600)
        if sender.returncode:
            raise RuntimeError(f"storescu failed against {peer.name}: {errors.decode(errors='replace')[-500:]}")
    return time.perf_counter() - begin


def measure_store(directory: Path, plan: Plan) -> None:
    """C-STORE with one and with four associations; the receivers take turns, the best of the rounds counts."""
    slices = plan.slices
    with ExitStack() as stack:
        (own, server) = stack.enter_context(ours(directory, plan.processes))
        peers = [own, *_present(stack, directory)]
        best: dict[tuple[str, int], float] = {}
        memory = resident_memory(server)
        for number in range(plan.rounds):
            for associations in ASSOCIATIONS:
                folders = imaging_study.write(directory / f"study-{number}-{associations}", slices, associations)
                octets = sum(path.stat().st_size for folder in folders for path in folder.iterdir())
                for peer in peers:
                    seconds = send(peer, folders)
                    best[peer.name, associations] = max(best.get((peer.name, associations), 0), slices / seconds)
                    rate = f"{slices / seconds:7.0f} images/s {octets / seconds / 1e6:7.0f} MB/s"
                    print(f"  {peer.name:10} {associations} associations: {rate}", flush=True)
        for associations in ASSOCIATIONS:
            for peer in peers[1:]:
                ratio = best[own.name, associations] / best[peer.name, associations]
                print(f"  {associations} associations: xds / {peer.name}: {ratio:.2f}")
        print(f"  memory: {memory / 1e6:.0f} MB before, {resident_memory(server) / 1e6:.0f} MB after")


def _present(stack: ExitStack, directory: Path) -> Iterator[Peer]:
    makers: tuple[Callable[[Path], object], ...] = (orthanc, storescp)
    for make in makers:
        try:
            yield stack.enter_context(make(directory))  # type: ignore[arg-type]
        except AbsentError as problem:
            print(f"  LEFT OUT: {problem}")


def measure_out(directory: Path, plan: Plan) -> None:
    """WADO-RS, RAD-69 and rendered images of one study, beside Orthanc and nginx."""
    with ExitStack() as stack:
        own, server = stack.enter_context(ours(directory, plan.processes))
        folders = imaging_study.write(directory / "study", plan.slices, 1)
        send(own, folders)
        other = None
        try:
            other = stack.enter_context(orthanc(directory))
            send(other, folders)
        except AbsentError as problem:
            print(f"  LEFT OUT: {problem}")
        imaging_out.measure(directory, server, own, other, folders[0], plan.rounds)


def measure_queries(directory: Path, _plan: Plan) -> None:
    """QIDO-RS in an archive of 100 000 studies."""
    imaging_out.measure_queries(directory)


PARTS: dict[str, Callable[[Path, Plan], None]] = {
    "store": measure_store,
    "out": measure_out,
    "queries": measure_queries,
}


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.imaging", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--slices", type=int, default=500, help="images of the CT study (default 500)")
    parser.add_argument("--rounds", type=int, default=2, help="how often each is measured; the best counts (default 2)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="server processes (default: one for each processor)"
    )
    parser.add_argument("--only", choices=PARTS, nargs="+", help="some parts alone")
    parser.add_argument("--directory", type=Path, help="where to work (default: a temporary directory that is removed)")
    arguments = parser.parse_args()
    plan = Plan(arguments.slices, arguments.rounds, arguments.processes)
    for part in arguments.only or PARTS:
        with working_directory(arguments.directory and arguments.directory / part) as directory:
            print(f"{part}, {plan.slices} slices, {plan.processes} server processes:", flush=True)
            PARTS[part](directory, plan)
    return 0


if __name__ == "__main__":
    sys.exit(main())
