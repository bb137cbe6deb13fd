"""How many demographics queries one caller may ask: the register is searched for somebody, and never read out.

Spec: ITI TF-2 3.21.4.1.3 (a supplier decides what it accepts); GDPR article 5 (data minimisation).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from xds.model.caller import Caller
from xds.model.patient import IdentityProblem, IdentityProblemKind

_MINUTE: Final = 60.0
#: More callers than this are not remembered: those who asked nothing for a minute are forgotten first.
_MOST_CALLERS: Final = 10_000


@dataclass(slots=True)
class _Allowance:
    """How many queries are left, and when that was counted (in seconds)."""

    left: float
    counted: float


class QueryRate:
    """Counts the queries of each caller: the user of an assertion, or else a network address. One object serves all threads.

    Whoever asked nothing for a minute may ask a minute's queries at once.
    """

    def __init__(self, per_minute: int) -> None:
        """`per_minute` 0: as many as anybody wants."""
        self._per_minute = per_minute
        self._lock = threading.Lock()
        self._callers: dict[str, _Allowance] = {}

    def refusal(self, caller: Caller, now: float, asked: int = 1) -> tuple[IdentityProblem, ...]:
        """Count a query at that time (in seconds) that asks for so many persons by name; a problem when it is one too many."""
        if not self._per_minute:
            return ()
        name = caller.user or caller.address
        with self._lock:
            if len(self._callers) >= _MOST_CALLERS:
                self._callers = {key: item for key, item in self._callers.items() if now - item.counted < _MINUTE}
            known = self._callers.setdefault(name, _Allowance(self._per_minute, now))
            gained = max(now - known.counted, 0.0) * self._per_minute / _MINUTE
            known.left, known.counted = min(known.left + gained, self._per_minute), now
            if known.left >= min(asked, self._per_minute):
                known.left -= asked
                return ()
        text = f"more than {self._per_minute} demographics queries in a minute are not answered: ask again later"
        return (IdentityProblem(IdentityProblemKind.TOO_MANY, "caller", text),)
