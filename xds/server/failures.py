"""Failures of our own, told to the operator and never to the partner."""

from __future__ import annotations

import secrets
import traceback

import structlog

_log = structlog.get_logger()


def report(event: str, error: BaseException, **context: object) -> str:
    """Log an exception that nobody expected and return the reference by which operator and partner can talk about it.

    Types and places are logged, messages are not: an exception of the database or of a parser quotes what it was given, and
    that may be a patient's name.
    """
    reference = secrets.token_hex(4)
    _log.error(event, reference=reference, errors=_types(error), places=_places(error), **context)
    return reference


def _types(error: BaseException) -> list[str]:
    chain: list[str] = []
    current: BaseException | None = error
    while current is not None and len(chain) < 8:
        chain.append(f"{type(current).__module__}.{type(current).__qualname__}")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain


def _places(error: BaseException) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)[-12:]]
