"""Logs: one JSON object a line on standard error, without anything about patients."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from typing import TextIO, cast

import structlog

#: Libraries that quote whole messages or attribute values in what they log; those would be patients' data.
_QUOTING = ("spyne", "pydicom", "pynetdicom", "hl7apy", "py.warnings")


class LossyStream:
    """A stream for log lines, which are lost when it refuses them.

    A disk that is full or a collector that died must stop neither the answer to a partner nor the thread that writes for all.
    The next line that gets through is preceded by one that tells how many were lost.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0

    def write(self, text: str) -> int:
        """Write a whole line, or lose it."""
        told = f'{{"event": "logs.lost", "lines": {self._lost}, "level": "error"}}\n' if self._lost else ""
        try:
            self._stream.write(told + text)
            self._stream.flush()
        except (OSError, ValueError):
            # ValueError is how Python says that the stream was closed.
            self._lost += 1
        else:
            self._lost = 0
        return len(text)

    def flush(self) -> None:
        """Nothing waits: each line was flushed."""


def configure(level: str = "info") -> None:
    """Send the log events of this software, and warnings of the libraries below it, to standard error as JSON.

    `level` is the least severity: debug, info, warning or error.
    """
    shared: Sequence[structlog.types.Processor] = (
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    )
    stream = cast(TextIO, LossyStream(sys.stderr))
    # Made once: the renderer of structlog would make one for each line.
    encode = json.JSONEncoder(ensure_ascii=False, default=repr).encode
    renderer = structlog.processors.JSONRenderer(serializer=lambda event, **_options: encode(event))
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    for name in _QUOTING:
        quoting = logging.getLogger(name)
        quoting.handlers = [logging.NullHandler()]
        quoting.propagate = False
