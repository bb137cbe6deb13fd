"""The listener for what was asked for by C-MOVE: many who send at once, and the end.

Spec: DICOM PS3.8 7.1 (associations); PS3.7 9.1.5 (C-ECHO).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.ports import free_port
from xds.pacs.association import Association, connect
from xds.pacs.pdus import AssociationError
from xds.pacs.receiver import MoveReceiver
from xds.wire.dicom import IMPLICIT_LITTLE
from xds.wire.dimse import Command, Field, Message, Status
from xds.wire.dimse_classes import VERIFICATION

SECONDS = 60.0


@contextmanager
def listening(most: int = 16) -> Iterator[tuple[MoveReceiver, int]]:
    receiver = MoveReceiver("US", "127.0.0.1", free_port(), ["PACS"], seconds=SECONDS, associations=most)
    try:
        yield receiver, receiver.start()
    finally:
        receiver.stop()


def associated(stack: ExitStack, port: int) -> Association:
    association = connect("127.0.0.1", port, SECONDS)
    stack.callback(association.close)
    association.request("PACS", "US", [(VERIFICATION, (IMPLICIT_LITTLE,))])
    return association


def echo(association: Association) -> int:
    fields: dict[Field, int | str] = {Field.AFFECTED_SOP_CLASS: VERIFICATION, Field.MESSAGE_ID: association.next_message_id()}
    request = Message(Command.C_ECHO, fields, False)
    number = association.context_of(VERIFICATION)
    assert number is not None
    association.send(number, request)
    return association.response(request).message.number(Field.STATUS)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dicom-move"]


def test_many_send_at_once_and_one_after_the_other() -> None:
    with listening() as (_, port):
        for _ in range(2):
            with ExitStack() as stack:
                # All of them are open while each is answered.
                open_ones = [associated(stack, port) for _ in range(8)]
                assert [echo(each) for each in reversed(open_ones)] == [Status.SUCCESS] * 8
                for each in open_ones:
                    each.release()
    assert not threads()


def test_more_than_may_be_open_are_closed_and_taken_again_later() -> None:
    with listening(most=2) as (_, port), ExitStack() as stack:
        first, second = associated(stack, port), associated(stack, port)
        with pytest.raises(AssociationError):
            associated(stack, port)
        assert echo(first) == echo(second) == Status.SUCCESS
        first.release()
        while True:
            # Its thread may need a moment to notice.
            try:
                third = associated(stack, port)
                break
            except AssociationError:
                continue
        assert echo(third) == Status.SUCCESS


def test_the_end_ends_what_is_open() -> None:
    with listening() as (receiver, port), ExitStack() as stack:
        open_ones = [associated(stack, port) for _ in range(3)]
        receiver.stop()
        receiver.stop()
        assert not threads()
        for each in open_ones:
            with pytest.raises(AssociationError):
                echo(each)
        with pytest.raises(OSError, match="refused"):
            associated(stack, port)


def test_it_listens_as_long_as_threads_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with listening() as (_, port):
        with monkeypatch.context() as patched, ExitStack() as stack:
            patched.setattr(threading.Thread, "start", refuse)
            first, second = associated(stack, port), associated(stack, port)
            assert echo(first) == echo(second) == Status.SUCCESS
            first.release()
            assert echo(associated(stack, port)) == Status.SUCCESS
            second.release()
        with ExitStack() as stack:
            assert [echo(associated(stack, port)) for _ in range(4)] == [Status.SUCCESS] * 4
