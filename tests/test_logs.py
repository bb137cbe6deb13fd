"""Logs go on, and so does everything else, when nobody takes them."""

from __future__ import annotations

import errno
import io
import json

from xds.logs import LossyStream


class FullDisk(io.StringIO):
    """Refuses what is written while `full`."""

    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_lines_that_are_refused_are_lost_and_counted() -> None:
    disk = FullDisk()
    stream = LossyStream(disk)
    for number, disk.full in enumerate((False, True, True, False, False)):
        stream.write(json.dumps({"number": number}) + "\n")
    lines = [json.loads(line) for line in disk.getvalue().splitlines()]
    assert [line.get("number") for line in lines] == [0, None, 3, 4]
    assert lines[1] == {"event": "logs.lost", "lines": 2, "level": "error"}
