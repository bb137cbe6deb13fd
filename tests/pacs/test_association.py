"""Messages as they go out, in fragments."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence

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


@pytest.mark.parametrize("size", [2, 1000, 5000])
def test_how_a_data_set_begins_goes_out_before_the_rest_is_asked_for(size: int) -> None:
    first = b"ab" * (size // 2)
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as ours:
        theirs = listening.accept()[0]
        reader, found = theirs.makefile("rb"), bytearray()

        def rest() -> Iterator[bytes]:
            # All of it is there by now, and nothing says that it was the last.
            while len(found) < size:
                length, _, control = struct.unpack_from(">IBB", reader.read(12), 6)
                piece = reader.read(length - 2)
                if not control & 1:
                    assert control == 0
                    assert not len(piece) % 2
                    found.extend(piece)
            yield b"c"

        with theirs, reader:
            message = Message(Command.C_STORE, {Field.MESSAGE_ID: 1}, True)
            Association(ours, "peer", 10, _limit=1024).send(1, message, rest(), first=first)
            assert found == first
            assert reader.read(14)[-4:] == b"\x01\x02c\0"


@pytest.mark.parametrize("chunks", [[b"abc"], [b"ab", b"c"], [b"a", b"b", b"c"]])
def test_a_deflated_data_set_of_odd_length_ends_with_a_null(chunks: Sequence[bytes]) -> None:
    """DICOM PS3.5 A.5."""
    assert b"".join(octets for _, octets in fragments(chunks)) == b"abc\0"
