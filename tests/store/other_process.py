"""Another process that writes to the embedded database, as far as waiting for it goes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_HOLDER = """
import fcntl, sys
turn = open(sys.argv[1], "ab")
fcntl.lockf(turn, fcntl.LOCK_EX, 1, 1)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def turn_held(database: Path) -> Iterator[Callable[[], object]]:
    """Within this it is another process's turn to write, until what is given is called."""
    command = [sys.executable, "-c", _HOLDER, f"{database}-turn"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            yield holder.communicate
        finally:
            holder.kill()
