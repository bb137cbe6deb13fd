"""What a C-GET or C-MOVE request asks for, counted.

Spec: DICOM PS3.7 9.1.3, 9.1.4; PS3.4 C.4.3.1.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xds.actors.imaging_selection import Selection
from xds.model.imaging import Instance, Study, StudyPatient
from xds.server.dimse_work import Item, Work
from xds.store.database import DatabaseUnavailableError
from xds.wire.dimse import Field, Status

SELECTION = Selection(Study("1.2.1", StudyPatient("P1"), ()), "")


def item(number: int, size: int = 0) -> Item:
    return SELECTION, Instance(f"1.2.1.1.{number}", "1.2.840.10008.5.1.4.1.1.2", "", size, "")


def test_what_was_sent_before_the_others_were_looked_up_is_none_of_them() -> None:
    told: list[list[Item]] = []
    work = Work([item(1), item(2), item(3)], lambda items: told.append(list(items)))
    # Nothing but its name was known of it then.
    first = item(2, size=7)
    work.take(first)
    assert not told
    work.note(first, Status.SUCCESS)
    assert work.numbers(is_last=False) == {Field.REMAINING: 2, Field.COMPLETED: 1, Field.FAILED: 0, Field.WARNING: 0}
    assert list(work.left) == [item(1), item(3)]
    work.take(item(1))
    assert list(work.left) == [item(3)]
    work.give_up()
    assert (work.failed, work.status, work.is_complete) == (["1.2.1.1.3"], Status.SUB_OPERATIONS_FAILED, False)
    assert told == [[item(1), item(2), item(3)]]


def test_when_the_others_cannot_be_looked_up_it_is_no_success() -> None:
    class Away(Iterable[Item]):
        def __iter__(self) -> Iterator[Item]:
            raise DatabaseUnavailableError("away")

    work = Work(Away(), lambda _: None)
    work.take(item(1))
    work.note(item(1), Status.SUCCESS)
    assert not work.left
    assert (work.status, work.is_complete) == (Status.OUT_OF_RESOURCES, False)
