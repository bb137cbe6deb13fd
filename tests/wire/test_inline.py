"""Binary content as base64 in a message without MTOM. Spec: ITI TF-2 Appendix V.3; XOP 1.0 section 3."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.wire.inline import write_inline
from xds.wire.soap import SentPart
from xds.wire.xml import XOP, parse


def part(content_id: str, content: bytes, step: int) -> SentPart:
    pieces = [content[start : start + step] for start in range(0, len(content), step)]
    return SentPart(content_id, "a/b", len(content), lambda: iter(pieces))


@given(st.lists(st.binary(max_size=300), max_size=4), st.integers(1, 50))
def test_every_include_becomes_its_content(contents: list[bytes], step: int) -> None:
    includes = "".join(f'<D><x:Include xmlns:x="{XOP}" href="cid:d{i}%40x"/></D>' for i in range(len(contents)))
    outgoing = write_inline([b"<a>", includes.encode(), b"</a>"], [part(f"d{i}@x", c, step) for i, c in enumerate(contents)])
    data = b"".join(outgoing.chunks)
    assert len(data) == outgoing.length
    assert [base64.b64decode(element.text or "", validate=True) for element in parse(data)] == contents


@pytest.mark.parametrize(
    "include",
    [
        f'<Include xmlns="{XOP}" href="cid:d"/>',
        f"<xop:Include xmlns:xop='{XOP}' href='cid:d'></xop:Include>",
        f'<xop:Include href="cid:d" xmlns:xop="{XOP}" />',
    ],
)
def test_the_forms_of_an_include(include: str) -> None:
    assert b"".join(write_inline([f"<D>{include}</D>".encode()], [part("d", b"abc", 2)]).chunks) == b"<D>YWJj</D>"


def test_an_include_without_part() -> None:
    with pytest.raises(KeyError):
        write_inline([f'<D><Include xmlns="{XOP}" href="cid:other"/></D>'.encode()], [part("d", b"", 1)])
