"""Registry objects in the form in which they are stored and answered: their ebRIM, rendered once at registration.

What can change later (status, home) stands beside the bytes, so that an answer is put together and not rendered.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from xds.model.vocabulary import AvailabilityStatus


class ObjectKind(IntEnum):
    """The four kinds of registry objects. The numbers are stored."""

    DOCUMENT_ENTRY = 1
    SUBMISSION_SET = 2
    FOLDER = 3
    ASSOCIATION = 4


@dataclass(frozen=True, slots=True)
class Fragment:
    """One registry object of an answer. `xml` is what follows the start tag's `status` attribute; `id` is the entryUUID."""

    kind: ObjectKind
    id: str
    status: AvailabilityStatus
    xml: bytes
    home: str | None = None
