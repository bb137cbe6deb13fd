"""What a PACS sends by C-MOVE reaches whoever asked for it, whichever process listens.

Spec: DICOM PS3.4 C.4.2.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.archive import image
from tests.pacs.peer import CT, SECONDS, STUDY
from xds.pacs.association import Association, connect
from xds.pacs.delivery import Delivery
from xds.pacs.receiver import MoveReceiver
from xds.wire.dicom import EXPLICIT_LITTLE
from xds.wire.dicom_association import Pdu, write_pdu
from xds.wire.dicom_header import read_header
from xds.wire.dimse import Command, Field, Message, Status, write_command

TITLE = "PACS"


def object_of(uid: str) -> bytes:
    return image(StudyInstanceUID=STUDY, SeriesInstanceUID=f"{STUDY}.1", SOPInstanceUID=uid, SOPClassUID=CT)


def store(association: Association, uid: str) -> int:
    """Send an object as a sub-operation of C-MOVE, and give the status."""
    octets = object_of(uid)
    fields: dict[Field, int | str] = {
        Field.AFFECTED_SOP_CLASS: CT,
        Field.AFFECTED_SOP_INSTANCE: uid,
        Field.MESSAGE_ID: association.next_message_id(),
        Field.PRIORITY: 0,
    }
    message = Message(Command.C_STORE, fields, True)
    number = association.context_of(CT)
    assert number is not None
    association.send(number, message, (octets[read_header([octets]).data_set :],))
    return association.response(message).message.number(Field.STATUS)


class Reader:
    """Somebody who waits for instances, in a thread of its own."""

    def __init__(self, receiver: MoveReceiver, *uids: str) -> None:
        self.delivery = Delivery(TITLE, SECONDS)
        self.found: dict[str, bytes] = {}
        self._context = receiver.expecting(frozenset(uids), self.delivery)
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        for pulled in self.delivery.objects():
            self.found[pulled.sop_instance_uid] = b"".join(pulled.chunks)

    def __enter__(self) -> Reader:
        self._context.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.delivery.end()
        self._thread.join(SECONDS)
        self._context.__exit__(None, None, None)


@contextmanager
def receivers(directory: Path, number: int) -> Iterator[tuple[list[MoveReceiver], int]]:
    """So many that share a directory, as processes do; the first one listens."""
    found = [MoveReceiver("US", "127.0.0.1", 0, [TITLE], seconds=SECONDS, others=directory) for _ in range(number)]
    try:
        yield found, found[0].start()
    finally:
        for each in found:
            each.stop()


@contextmanager
def sending(port: int) -> Iterator[Association]:
    association = connect("127.0.0.1", port, SECONDS)
    association.request(TITLE, "US", [(CT, (EXPLICIT_LITTLE,))])
    try:
        yield association
    finally:
        association.release()


@pytest.fixture(params=["moving", "m" * 120])
def directory(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Also one whose path is too long for a socket."""
    return tmp_path / str(request.param)


def test_one_association_serves_whoever_expects_what_it_brings(directory: Path) -> None:
    owners = [0, 2, 2, 1, 0, 1]
    uids = [f"{STUDY}.1.{number}" for number in range(len(owners))]
    with receivers(directory, 3) as (found, port), ExitStack() as stack:
        readers = [
            stack.enter_context(Reader(receiver, *(uid for uid, owner in zip(uids, owners, strict=True) if owner == number)))
            for number, receiver in enumerate(found)
        ]
        with sending(port) as association:
            assert [store(association, uid) for uid in uids] == [Status.SUCCESS] * len(uids)
            # Each is taken once, and others by nobody.
            assert store(association, uids[1]) == Status.NOT_AUTHORISED
            assert store(association, f"{STUDY}.9") == Status.NOT_AUTHORISED
    assert not list(directory.iterdir())
    for number, reader in enumerate(readers):
        wanted = [uid for uid, owner in zip(uids, owners, strict=True) if owner == number]
        assert {uid: octets[-1000:] for uid, octets in reader.found.items()} == {uid: object_of(uid)[-1000:] for uid in wanted}


def test_an_object_that_comes_with_its_command_is_handed_over_whole(directory: Path) -> None:
    """Command and data set may stand in one PDU: what was read of it goes along."""
    uid = f"{STUDY}.1.1"
    with receivers(directory, 2) as (found, port), Reader(found[1], uid) as reader:
        with sending(port) as association:
            octets = object_of(uid)
            data = octets[read_header([octets]).data_set :]
            fields: dict[Field, int | str] = {
                Field.AFFECTED_SOP_CLASS: CT,
                Field.AFFECTED_SOP_INSTANCE: uid,
                Field.MESSAGE_ID: 1,
                Field.PRIORITY: 0,
            }
            message = Message(Command.C_STORE, fields, True)
            number = association.context_of(CT)
            assert number is not None
            command = write_command(message)
            fragments = (_fragment(number, 3, command), _fragment(number, 0, data[:500]), _fragment(number, 2, data[500:]))
            association.connection.sendall(write_pdu(Pdu.DATA, b"".join(fragments)))
            assert association.response(message).message.number(Field.STATUS) == Status.SUCCESS
        assert reader.found[uid][-1000:] == octets[-1000:]


def _fragment(context_id: int, control: int, octets: bytes) -> bytes:
    return struct.pack(">IBB", len(octets) + 2, context_id, control) + octets


def test_one_that_died_is_passed_over(directory: Path) -> None:
    directory.mkdir()
    (directory / "1-dead.move").touch()
    uid = f"{STUDY}.1.1"
    with receivers(directory, 2) as (found, port), Reader(found[1], uid) as reader, sending(port) as association:
        assert store(association, f"{STUDY}.9") == Status.NOT_AUTHORISED
        assert not (directory / "1-dead.move").exists()
        assert store(association, uid) == Status.SUCCESS
    assert list(reader.found) == [uid]
