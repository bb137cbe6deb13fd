"""What an object store answers, as OSError: callers then treat it like a disk that refuses.

The texts are made here. Those of the library quote the answer, which names access keys and what was signed.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

#: Everything the library raises for a request that failed. (`FileNotFoundError` stands for 404.)
FAILURES: Final = (BaseError, FileNotFoundError)

_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "ServiceQuotaExceededException"})
_CREDENTIAL_SERVICE = ("latest/api/token", "latest/meta-data", "AssumeRoleWithWebIdentity")


def is_missing(error: Exception) -> bool:
    """True when the object is not there; false when its bucket is not there either."""
    return isinstance(error, FileNotFoundError) and _found(_CODE, error) in (None, "NoSuchKey")


def is_unsatisfiable_range(error: Exception) -> bool:
    """True when the object is there and ends before the range that was asked for."""
    return _found(_STATUS, error) == "416"


@contextmanager
def as_os_errors(storage: str) -> Iterator[None]:
    """Turn what the library raises into OSError. `storage` names the store in its text."""
    try:
        yield
    except FAILURES as error:
        raise os_error(error, storage) from None


def os_error(error: Exception, storage: str) -> OSError:
    """The OSError that says what happened; a ConnectionError or TimeoutError when the store could not be reached."""
    code, status = _found(_CODE, error), _found(_STATUS, error)
    text = str(error)
    if any(mark in text for mark in _CREDENTIAL_SERVICE):
        return OSError(errno.EACCES, f"{storage}: no credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set")
    reason = " ".join(filter(None, (code, status and f"(HTTP {status})"))) or "no answer"
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        number = errno.EACCES
    elif status == "507" or code in _FULL:
        number = errno.ENOSPC
    elif status == "413":
        number = errno.EFBIG
    elif status is not None:
        number = errno.EIO
    elif "kind: Timeout" in text:
        number, reason = errno.ETIMEDOUT, "no answer in time"
    else:
        number = errno.ECONNREFUSED if "kind: Connect" in text else errno.ECONNRESET
    return OSError(number, f"{storage}: {reason}")


def _found(pattern: re.Pattern[str], error: Exception) -> str | None:
    match = pattern.search(str(error))
    return match.group(1) if match else None
