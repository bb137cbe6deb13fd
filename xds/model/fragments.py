"""Registry objects in the form in which they are stored and answered: their ebRIM, rendered once at registration.

What can change later (status, home) stands beside the bytes, so that an answer is put together and not rendered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from xds.model.vocabulary import AvailabilityStatus


class ObjectKind(IntEnum):
    """The four kinds of registry objects. The numbers are stored."""

    DOCUMENT_ENTRY = 1
    SUBMISSION_SET = 2
    FOLDER = 3
    ASSOCIATION = 4


class Reference(Protocol):
    """A registry object without its ebRIM, as an answer of references needs it."""

    @property
    def id(self) -> str:
        """The entryUUID."""

    @property
    def kind(self) -> ObjectKind:
        """What it is."""

    @property
    def status(self) -> AvailabilityStatus:
        """The availabilityStatus."""

    @property
    def home(self) -> str | None:
        """The homeCommunityId."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """One registry object of an answer. `xml` is what follows the start tag's `status` attribute; `id` is the entryUUID."""

    kind: ObjectKind
    id: str
    status: AvailabilityStatus
    xml: bytes
    home: str | None = None

    @property
    def size(self) -> int:
        """Octets of `xml`."""
        return len(self.xml)


class ChangedFragment(Fragment):
    """A fragment with a change in its `xml`, which is made when that is asked for."""

    __slots__ = ("_change", "_original")
    _original: Fragment
    _change: Callable[[bytes], bytes]

    def __init__(self, original: Fragment, change: Callable[[bytes], bytes]) -> None:
        for name in ("kind", "id", "status", "home"):
            object.__setattr__(self, name, getattr(original, name))
        object.__setattr__(self, "_original", original)
        object.__setattr__(self, "_change", change)

    @property
    def xml(self) -> bytes:
        """As of today."""
        return self._change(self._original.xml)
