"""The worker process: `python -m xds.pixels.worker MEMORY` does one job for each line of standard input, until that ends.

Whatever codecs print goes nowhere; the answers have a descriptor of their own.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from pydicom.errors import InvalidDicomError

from xds.model.rendering import Rendering, Window
from xds.pixels import anonymity, rendering, transcoding
from xds.pixels.jobs import Operation, PixelError

#: What an object makes codecs raise when it is not what it says; anything else would be a fault of ours, and ends the process.
_REFUSALS = (*transcoding.REFUSED, InvalidDicomError, OSError)


def _rendering(fields: Mapping[str, Any]) -> Rendering:
    window = fields["window"]
    size, region, part = fields["size"], fields["region"], fields["part"]
    return Rendering(
        media_type=fields["media_type"],
        frames=tuple(fields["frames"]),
        window=Window(**window) if window else None,
        size=(size[0], size[1]) if size else None,
        region=(region[0], region[1], region[2], region[3]) if region else None,
        quality=fields["quality"],
        part=(part[0], part[1], part[2], part[3]) if part else None,
        annotation=tuple(fields["annotation"]),
        presentation_state=base64.b64decode(fields["presentation_state"]),
        icc_profile=fields["icc_profile"],
    )


def work(job: Mapping[str, Any]) -> dict[str, Any]:
    """Do one job and tell about its result. Errors: PixelError."""
    source, output = Path(job["source"]), Path(job["output"])
    match Operation(job["operation"]):
        case Operation.TRANSCODE:
            transcoding.transcode(source, output, job["target"])
            return {"media_type": "application/dicom", "transfer_syntax": job["target"]}
        case Operation.ANONYMIZE:
            anonymity.anonymize(source, output, job["target"], job["key"])
            return {"media_type": "application/dicom", "transfer_syntax": job["target"]}
        case Operation.FRAMES:
            lengths = transcoding.frames(source, output, job["numbers"])
            return {"media_type": "application/octet-stream", "lengths": lengths}
        case Operation.RENDER:
            how = _rendering(job["rendering"])
            rendering.render(source, output, how)
            return {"media_type": how.media_type}


def _answer(job: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return work(job)
    except PixelError as problem:
        return {"error": str(problem)}
    except MemoryError:
        return {"error": "the object needs more memory than allowed"}
    except _REFUSALS as problem:
        # Messages of codecs may quote values of the data set: the kind of error is enough.
        return {"error": f"the pixels cannot be decoded ({type(problem).__name__})"}


def _limit(memory: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    limit = pages * os.sysconf("SC_PAGE_SIZE") + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(arguments: list[str]) -> None:
    """Serve until standard input ends."""
    warnings.simplefilter("ignore")
    answers: IO[bytes] = os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    _limit(int(arguments[0]))
    for line in sys.stdin.buffer:
        answers.write(json.dumps(_answer(json.loads(line))).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
