"""What a C-GET or C-MOVE request asks for, and what became of it so far.

Spec: DICOM PS3.7 9.1.3, 9.1.4 (numbers of sub-operations, statuses); PS3.4 C.4.2.1.5, C.4.3.1.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from xds.actors.imaging_pull_orders import Ahead
from xds.actors.imaging_renditions import Obtained
from xds.actors.imaging_selection import Selection
from xds.model.imaging import Instance
from xds.pacs.sender import STORED
from xds.store.database import DatabaseUnavailableError
from xds.wire.dimse import Field, Status

#: An instance, and what it was selected with.
Item = tuple[Selection, Instance]


@dataclass(slots=True)
class Work:
    """What is to be sent, and what became of it.

    Of a selection that is fetched ahead something may be sent before anybody has looked at what else there is.
    """

    #: Everything that was selected; looked at once.
    selected: Iterable[Item]
    #: Is told once of everything that was selected, before any of it was sent or when the first of it is on its way.
    announce: Callable[[Iterable[Item]], None]
    #: The selection that all of it is from, where that is known.
    selection: Selection | None = None
    completed: int = 0
    warnings: int = 0
    failed: list[str] = field(default_factory=list)
    sent: list[tuple[Selection, Obtained]] = field(default_factory=list)
    is_cancelled: bool = False
    #: Nobody knows what else there was to be sent.
    is_unknown: bool = False
    #: What was taken out of `left` before that was looked at.
    _taken: set[str] = field(default_factory=set)
    _left: dict[Item, None] | None = None

    @property
    def left(self) -> dict[Item, None]:
        """What was not taken up yet, in order."""
        if self._left is None:
            self._left = {}
            try:
                found = dict.fromkeys(self.selected)
            except DatabaseUnavailableError:
                self.is_unknown = True
                return self._left
            self.announce(found)
            self._left.update((item, None) for item in found if item[1].sop_instance_uid not in self._taken)
        return self._left

    def look(self) -> None:
        """Look at what else there is, and announce it, if that was not done yet."""
        _ = self.left

    @property
    def ahead(self) -> Ahead | None:
        """What is being fetched of it."""
        return self.selection.ahead if self.selection is not None else None

    def take(self, item: Item) -> None:
        """This one is taken up."""
        if self._left is None:
            self._taken.add(item[1].sop_instance_uid)
        else:
            self._left.pop(item, None)

    def close(self) -> None:
        """Let go of what is fetched ahead and was not taken. Idempotent."""
        if self.ahead is not None:
            self.ahead.close()

    def numbers(self, *, is_last: bool) -> dict[Field, int]:
        """The counts of a response; the last one has nothing that remains. Spec: PS3.7 9.1.3.1, 9.1.4.1."""
        counts = {} if is_last else {Field.REMAINING: len(self.left)}
        counts |= {Field.COMPLETED: self.completed, Field.FAILED: len(self.failed), Field.WARNING: self.warnings}
        return {name: min(number, 0xFFFF) for name, number in counts.items()}

    def note(self, item: Item, status: int) -> None:
        """Count what a receiver answered."""
        if status == Status.SUCCESS:
            self.completed += 1
        elif status in STORED:
            self.warnings += 1
        else:
            self.failed.append(item[1].sop_instance_uid)

    def give_up(self) -> None:
        """Nothing of what is left can be sent."""
        self.failed += [instance.sop_instance_uid for _, instance in self.left]
        self.left.clear()

    @property
    def is_complete(self) -> bool:
        """Whether everything was sent."""
        return not (self.left or self.failed or self.is_unknown)

    @property
    def status(self) -> Status:
        """How it ended."""
        if self.is_cancelled:
            return Status.CANCELLED
        if self.is_unknown:
            return Status.OUT_OF_RESOURCES
        if not self.failed and not self.warnings:
            return Status.SUCCESS
        return Status.SUB_OPERATIONS_FAILED if self.completed or self.warnings else Status.NO_SUB_OPERATIONS
