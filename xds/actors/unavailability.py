"""What an actor answers while its database does not, or is full: the standard's own refusal, so that the partner tries again."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

import structlog

from xds.model.errors import REGISTRY_IS_FULL, ErrorCode, RegistryError, RegistryResponse, Status
from xds.store.database import DatabaseFullError, DatabaseUnavailableError

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

_CONTEXT: Final = "nothing is acknowledged; send the same message again later"
REGISTRY_IS_BUSY: Final = RegistryResponse(
    Status.FAILURE, (RegistryError(ErrorCode.REGISTRY_BUSY, f"the registry cannot serve this now: {_CONTEXT}"),)
)
REPOSITORY_IS_BUSY: Final = RegistryResponse(
    Status.FAILURE, (RegistryError(ErrorCode.REPOSITORY_BUSY, f"the repository cannot serve this now: {_CONTEXT}"),)
)

REPOSITORY_IS_FULL: Final = RegistryResponse(
    Status.FAILURE,
    (RegistryError(ErrorCode.REPOSITORY_OUT_OF_RESOURCES, "the repository has no space left; nothing was changed"),),
)

_log = structlog.get_logger()


def or_refused(busy: Answer, full: Answer) -> Callable[[Callable[Given, Answer]], Callable[Given, Answer]]:
    """Let a method answer `busy` when the database does not answer, and `full` when it has no space left.

    Spec: ITI TF-3 Table 4.2.4.1-2.
    """

    def decorate(method: Callable[Given, Answer]) -> Callable[Given, Answer]:
        @wraps(method)
        def answer(*arguments: Given.args, **named: Given.kwargs) -> Answer:
            try:
                return method(*arguments, **named)
            except DatabaseUnavailableError as error:
                _log.error("database.unavailable", actor=method.__qualname__, reason=str(error))
                return busy
            except DatabaseFullError:
                _log.error("database.full", actor=method.__qualname__)
                return full

        return answer

    return decorate


#: For what the Registry and the Repository answer by a RegistryResponse.
or_registry_refuses: Final = or_refused(REGISTRY_IS_BUSY, REGISTRY_IS_FULL)
or_repository_refuses: Final = or_refused(REPOSITORY_IS_BUSY, REPOSITORY_IS_FULL)
