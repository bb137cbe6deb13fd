"""Associations with one PACS: so many at once, and those that are done with stay open for a moment for whoever comes next.

To connect and to agree on presentation contexts takes a PACS as long as to find its first image. What it ends meanwhile is let
go at once; what breaks before it has answered anything is replaced by a fresh one, of which nobody notices anything.

Spec: DICOM PS3.8 7.1 to 7.4 (association, release, abort); PS3.7 D.3.3.4 (role selection).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from xds.pacs.association import Association, AssociationRejectedError, Received, connect
from xds.pacs.idle import Idle
from xds.pacs.objects import told
from xds.pacs.partner import Partner, Places
from xds.pacs.pdus import AssociationError, SilentPeerError
from xds.wire.dimse import Message

Kinds = Sequence[tuple[str, tuple[str, ...]]]
Roles = Mapping[str, tuple[bool, bool]]

#: How long a PACS has for the end of an association that nobody uses.
_END_SECONDS: Final = 2.0
#: How long its system has to acknowledge what is sent on an association that was kept: it may be gone without a word.
_LOST_SECONDS: Final = 3.0
#: Seconds after which one is asked for again that was refused before others were released.
_PAUSES: Final = (0.01, 0.05, 0.25)


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What an association is needed for."""

    kinds: Kinds
    roles: Roles = field(default_factory=dict)

    def holds(self, other: Wanted) -> bool:
        """Whether it has everything that the other one has, in the same words: a PACS would agree to the same once more."""
        if other is self:
            return True
        return set(self.kinds).issuperset(other.kinds) and all(self.roles.get(uid) == role for uid, role in other.roles.items())


@dataclass(slots=True, eq=False)
class _Kept:
    """An association, with what was proposed for it. `due` is when it is let go when nobody uses it."""

    association: Association
    proposed: Wanted
    due: float = 0.0

    @property
    def connection(self) -> socket.socket:
        """The socket beneath."""
        return self.association.connection

    def has_input(self) -> bool:
        """Whether the PACS has said something."""
        return self.association.has_input()

    def release(self) -> None:
        """Nobody needs it any more."""
        self.association.wait_at_most(_END_SECONDS)
        self.association.release()

    def ended(self) -> None:
        """The PACS has said something while nobody used it: it ends it, or what it says has no place."""
        association = self.association
        association.wait_at_most(_END_SECONDS)
        with suppress(AssociationError):
            if association.receive() is not None:
                association.abort()
        association.close()


class Lease:
    """An association in somebody's hands: a fresh one, or one that was kept."""

    def __init__(self, partner: Partner, idle: Idle[_Kept], wanted: Wanted, room: Callable[[], int]) -> None:
        """`room` tells how many may be kept beside those in use."""
        self._partner = partner
        self._idle = idle
        self._wanted = wanted
        self._room = room
        self._ended = threading.Event()
        self._has_answered = False
        self._request: Message | None = None
        kept = idle.take(lambda kept: kept.proposed.holds(wanted))
        self._was_kept = kept is not None
        self._held = kept or self._fresh()
        if kept is not None:
            kept.association.expect_acknowledgement(min(_LOST_SECONDS, partner.seconds))

    @property
    def association(self) -> Association:
        """The association at this moment."""
        return self._held.association

    def ask(self, send: Callable[[Association], Message]) -> tuple[Message, Received]:
        """Send a request and wait for the first message that follows: both. Errors: as those of `send` and `answer`."""
        self.send(send)
        return self.answer(send)

    def send(self, send: Callable[[Association], Message]) -> None:
        """Send a request; `answer` waits for what follows.

        An association that was kept and is broken by now is replaced, as long as nothing was answered on it.
        Errors: AssociationError, and whatever `send` raises.
        """
        try:
            self._request = send(self.association)
        except AssociationError as problem:
            self._replace(problem)
            self._request = send(self.association)

    def answer(self, send: Callable[[Association], Message]) -> tuple[Message, Received]:
        """The request that was sent, and the first message that follows. `send` sends it once more when that has to be.

        Errors: as those of `send`.
        """
        while True:
            try:
                received = self.association.receive()
                if received is None:
                    raise AssociationError("the peer ended the association")
            except AssociationError as problem:
                self._replace(problem)
                self._request = send(self.association)
                continue
            if self._was_kept and not self._has_answered:
                self.association.expect_acknowledgement(0)
            self._has_answered = True
            assert self._request is not None
            return self._request, received

    def _replace(self, problem: AssociationError) -> None:
        """Take a fresh association in place of one that was kept. Errors: the problem itself when that is no remedy."""
        if self._has_answered or not self._was_kept or self._ended.is_set() or isinstance(problem, SilentPeerError):
            raise problem
        self.association.close()
        self._was_kept = False
        self._held = self._fresh()
        if self._ended.is_set():
            # Perhaps the former one alone was ended.
            self.association.end()

    def end(self) -> None:
        """Have it end: whoever waits in it is woken. For other threads."""
        self._ended.set()
        self.association.end()

    def give_back(self, *, is_over: bool) -> None:
        """It is needed no more. What is not over is aborted."""
        if is_over and not self._ended.is_set():
            self._idle.put(self._held, self._room())
        else:
            self.association.abort()

    def _fresh(self) -> _Kept:
        # Those that nobody uses count as well for a PACS that bears so many.
        self._idle.leave(self._room() - 1)
        try:
            association = self._negotiated()
        except AssociationRejectedError:
            if not self._idle.leave(0):
                raise
            association = self._negotiated_soon()
        return _Kept(association, self._wanted)

    def _negotiated_soon(self) -> Association:
        """The same of a PACS that may need a moment to notice that others were released."""
        for pause in _PAUSES:
            try:
                return self._negotiated()
            except AssociationRejectedError:
                time.sleep(pause)
        return self._negotiated()

    def _negotiated(self) -> Association:
        partner = self._partner
        association = connect(partner.host, partner.port, partner.seconds)
        association.request(partner.calling_ae_title, partner.ae_title, self._wanted.kinds, self._wanted.roles)
        return association


class Associations:
    """Associations with one PACS. One object serves all threads."""

    def __init__(self, partner: Partner) -> None:
        self._partner = partner
        self._places = Places(partner.associations, partner.patience)
        self._idle: Idle[_Kept] = Idle(partner.kept_associations, partner.kept_seconds, partner.name)

    @contextmanager
    def lease(self, wanted: Wanted) -> Iterator[Lease]:
        """An association for as long as the context lasts; what leaves it in the middle of something aborts it.

        Errors: PullError, also in place of whatever goes wrong with it within the context.
        """
        with self._places.one(), told():
            lease = Lease(self._partner, self._idle, wanted, self._room)
            is_over = False
            try:
                yield lease
                is_over = True
            finally:
                lease.give_back(is_over=is_over)

    def close(self) -> None:
        """Release those that nobody uses, and keep no more. Idempotent."""
        self._idle.close()

    def _room(self) -> int:
        """How many there may be beside those in use, of which one is the caller's own."""
        return self._partner.associations - self._places.used + 1
