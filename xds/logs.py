"""Logs: one JSON object a line on standard error, without anything about patients."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import structlog

#: Libraries that quote whole messages or attribute values in what they log; those would be patients' data.
_QUOTING = ("spyne", "pydicom", "pynetdicom", "hl7apy", "py.warnings")


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
    renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
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
