"""Peers that break the protocol, stop in the middle, or keep still: each ends its own association and nothing else.

Spec: DICOM PS3.8 9.2 (state machine), 9.3 (PDUs).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive import Archive, image, open_archive, packaged
from tests.server.dicom_peers import serving
from xds.pacs.association import Association, AssociationRejectedError, connect
from xds.pacs.pdus import AssociationError
from xds.wire.dicom import EXPLICIT_LITTLE
from xds.wire.dicom_association import AssociationRequest, contexts_for, write_request
from xds.wire.dicom_header import read_header
from xds.wire.dimse import Command, Field, Message
from xds.wire.dimse_classes import VERIFICATION

CT = "1.2.840.10008.5.1.4.1.1.2"
REQUEST = write_request(AssociationRequest("XDS", "HOSTILE", contexts_for([(CT, (EXPLICIT_LITTLE,))]), 16384))


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with open_archive(tmp_path) as opened:
        yield opened


def echo(port: int) -> None:
    """The server still serves."""
    association = connect("127.0.0.1", port, 60)
    association.request("PROBE", "XDS", [(VERIFICATION, (EXPLICIT_LITTLE,))])
    request = Message(Command.C_ECHO, {Field.AFFECTED_SOP_CLASS: VERIFICATION, Field.MESSAGE_ID: 7})
    association.send(1, request)
    assert association.response(request).message.number(Field.STATUS) == 0
    association.release()


def said(port: int, *pieces: bytes) -> bytes:
    """What the server says to these octets until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        answer = b""
        # The server may be gone before it has everything; what it said is there all the same.
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65536):
                answer += data
        return answer


def data_pdu(context: int, control: int, octets: bytes) -> bytes:
    return struct.pack(">BxIIBB", 4, len(octets) + 6, len(octets) + 2, context, control) + octets


ABORT = b"\x07\x00\x00\x00\x00\x04"


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("no PDU at all", b"GET / HTTP/1.1\r\n\r\n"),
        ("a longer PDU than anybody needs", struct.pack(">BxI", 4, 0xFFFFFFF0)),
        ("data before the association", data_pdu(1, 3, b"x")),
        ("an item longer than its PDU", struct.pack(">BxI", 1, 72) + b"\0\1\0\0" + b" " * 64 + b"\x10\0\xff\xff"),
        ("a request that is too short", struct.pack(">BxI", 1, 4) + b"\0\1\0\0"),
    ],
)
def test_what_is_no_request_is_aborted(archive: Archive, name: str, octets: bytes) -> None:
    with serving(archive) as port:
        assert said(port, octets)[:6] in (ABORT, b""), name
        echo(port)


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("a message in a context that was not agreed", data_pdu(99, 3, b"\0\0\0\1\2\0\0\0\x30\0")),
        ("a data set without a command", data_pdu(1, 2, b"x" * 10)),
        ("a command that is none", data_pdu(1, 3, b"\xff" * 40)),
        ("a fragment longer than its PDU", struct.pack(">BxIIBB", 4, 10, 500, 1, 3) + b"abcd"),
        ("a fragment of nothing", struct.pack(">BxII", 4, 4, 0)),
        ("an answer to nothing", struct.pack(">BxI", 2, 10) + b"\0" * 10),
        ("a command set without end", b"".join(data_pdu(1, 1, b"x" * 60000) for _ in range(3))),
    ],
)
def test_what_breaks_the_protocol_is_aborted(archive: Archive, name: str, octets: bytes) -> None:
    with serving(archive) as port:
        answer = said(port, REQUEST, octets)
        assert answer[:1] == b"\2", name
        assert answer.endswith(ABORT + answer[-4:]), name
        echo(port)


def test_half_a_pdu_and_silence_is_ended(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(archive) as port, socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(REQUEST[:20])
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
        echo(port)


def test_an_abort_in_the_middle_of_an_object_leaves_nothing(archive: Archive, tmp_path: Path) -> None:
    octets = packaged("CT_small.dcm")
    header = read_header((octets,))
    uid = header.elements.text(0x00080018)
    with serving(archive) as port:
        association = _opened(port)
        request = Message(
            Command.C_STORE, {Field.AFFECTED_SOP_CLASS: CT, Field.AFFECTED_SOP_INSTANCE: uid, Field.MESSAGE_ID: 1}, True
        )

        def half() -> Iterator[bytes]:
            yield octets[header.data_set : header.data_set + 20000]
            yield b"x"
            raise ValueError("the sender stops here")

        with pytest.raises(ValueError, match="stops here"):
            association.send(1, request, half())
        end = time.monotonic() + 60
        while any((tmp_path / "blobs" / "staging").iterdir()):
            assert time.monotonic() < end
            time.sleep(0.01)
        echo(port)
    assert archive.source.newest(1) == ()


def _opened(port: int) -> Association:
    association = connect("127.0.0.1", port, 60)
    association.request("HOSTILE", "XDS", [(CT, (EXPLICIT_LITTLE,))])
    return association


def is_quiet(seconds: float) -> bool:
    """Whether this process uses less than half of a processor for so long."""
    begin = time.process_time()
    threading.Event().wait(seconds)
    return time.process_time() - begin < seconds / 2


def test_a_hundred_idle_associations_cost_nothing(archive: Archive) -> None:
    with serving(archive) as port:
        idle = [_opened(port) for _ in range(100)]
        # Whatever else this process has to do is over after some time.
        assert any(is_quiet(0.5) for _ in range(60)), "idle associations use the processor"
        echo(port)
        for association in idle:
            association.release()


def test_associations_beyond_the_limit_are_rejected_for_now(archive: Archive) -> None:
    with serving(archive, max_associations=2) as port:
        first, second = _opened(port), _opened(port)
        with pytest.raises(AssociationRejectedError):
            _opened(port)
        first.release()
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(AssociationError):
                _opened(port).release()
                break
            assert time.monotonic() < end
        second.release()


def test_services_that_are_not_provided_are_not_agreed(archive: Archive) -> None:
    """Modality Worklist, Print; a private class is storage."""
    kinds = [(uid, (EXPLICIT_LITTLE,)) for uid in ("1.2.840.10008.5.1.4.31", "1.2.840.10008.5.1.1.9", "1.2.3.4.5", CT)]
    with serving(archive) as port:
        association = connect("127.0.0.1", port, 60)
        association.request("HOSTILE", "XDS", kinds)
        assert {context.abstract_syntax for context in association.contexts.values()} == {"1.2.3.4.5", CT}
        association.release()


def test_an_object_longer_than_the_limit_ends_its_association(archive: Archive) -> None:
    octets = image()
    header = read_header((octets,))
    with serving(archive, max_data_set=10_000) as port:
        association = _opened(port)
        fields: dict[Field, int | str] = {Field.AFFECTED_SOP_CLASS: CT, Field.AFFECTED_SOP_INSTANCE: "1.2.3", Field.MESSAGE_ID: 1}
        with contextlib.suppress(AssociationError):
            # The server may be gone before it has everything.
            association.send(1, Message(Command.C_STORE, fields, True), (octets[header.data_set :],))
        with pytest.raises(AssociationError):
            association.receive()
        association.close()
        echo(port)
    assert archive.source.newest(1) == ()
