"""Messages as they go out, in fragments."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

import pytest

from xds.pacs.association import Association
from xds.wire.dimse import Command, Field, Message


def fragments(chunks: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """Control header and octets of each fragment of a data set that is sent in these pieces."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as ours:
        theirs = listening.accept()[0]
        message = Message(Command.C_STORE, {Field.MESSAGE_ID: 1}, True)
        Association(ours, "peer", 10).send(1, message, chunks)
        ours.shutdown(socket.SHUT_WR)
        with theirs:
            octets = b"".join(iter(lambda: theirs.recv(65536), b""))
    found, at = [], 0
    while at < len(octets):
        length, _, control = struct.unpack_from(">IBB", octets, at + 6)
        found.append((control, octets[at + 12 : at + 10 + length]))
        at += 10 + length
    return [item for item in found if not item[0] & 1]


@pytest.mark.parametrize("chunks", [[b"a" * 8], [b"abc", b"d", b"ef", b"g" * 7, b"h"], [b"a", b"", b"b"], []])
def test_fragments_are_of_even_length_wherever_pieces_end(chunks: Sequence[bytes]) -> None:
    """DICOM PS3.8 Annex E: dcmtk ends the association otherwise."""
    found = fragments(chunks)
    assert b"".join(octets for _, octets in found) == b"".join(chunks)
    assert all(len(octets) % 2 == 0 for _, octets in found)
    assert [control for control, _ in found] == [0] * (len(found) - 1) + [2]


@pytest.mark.parametrize("chunks", [[b"abc"], [b"ab", b"c"], [b"a", b"b", b"c"]])
def test_a_deflated_data_set_of_odd_length_ends_with_a_null(chunks: Sequence[bytes]) -> None:
    """DICOM PS3.5 A.5."""
    assert b"".join(octets for _, octets in fragments(chunks)) == b"abc\0"
