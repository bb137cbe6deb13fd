"""What an actor answers while its database does not: the standard's own refusal, so that the partner tries again later."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

import structlog

from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Status
from xds.store.database import DatabaseUnavailableError

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

_CONTEXT: Final = "nothing is acknowledged; send the same message again later"
REGISTRY_IS_BUSY: Final = RegistryResponse(
    Status.FAILURE, (RegistryError(ErrorCode.REGISTRY_BUSY, f"the registry cannot serve this now: {_CONTEXT}"),)
)
REPOSITORY_IS_BUSY: Final = RegistryResponse(
    Status.FAILURE, (RegistryError(ErrorCode.REPOSITORY_BUSY, f"the repository cannot serve this now: {_CONTEXT}"),)
)

_log = structlog.get_logger()


def or_busy(refusal: Answer) -> Callable[[Callable[Given, Answer]], Callable[Given, Answer]]:
    """Let a method answer `refusal` when the database does not answer. Spec: ITI TF-3 Table 4.2.4.1-2."""

    def decorate(method: Callable[Given, Answer]) -> Callable[Given, Answer]:
        @wraps(method)
        def answer(*arguments: Given.args, **named: Given.kwargs) -> Answer:
            try:
                return method(*arguments, **named)
            except DatabaseUnavailableError as error:
                _log.error("database.unavailable", actor=method.__qualname__, reason=str(error))
                return refusal

        return answer

    return decorate
