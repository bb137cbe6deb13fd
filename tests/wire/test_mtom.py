"""MTOM packages. Spec: ITI TF-2 Appendix V.3; RFC 2046 5.1, RFC 2387, RFC 2392."""

from __future__ import annotations

import base64
import hashlib
import quopri
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser

from xds.store.blobs.local import LocalBlobStore
from xds.transactions.client import TemporaryStaging
from xds.wire.mtom import (
    JOIN_BELOW,
    ContentType,
    MtomError,
    MtomLimits,
    Package,
    content_id_of,
    parse_content_type,
    read_package,
    together,
    write_package,
)
from xds.wire.soap import SentPart

ROOT = b"<s:Envelope/>"


class Drip:
    """A stream that gives its octets in pieces of given sizes, the last size for ever."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._sizes, self._position, self.reads = data, sizes, 0, 0

    def read(self, size: int, /) -> bytes:
        wanted = min(size, self._sizes[min(self.reads, len(self._sizes) - 1)])
        self.reads += 1
        data = self._data[self._position : self._position + wanted]
        self._position += len(data)
        return data

    @property
    def rest(self) -> bytes:
        return self._data[self._position :]


class Stagings:
    """Hands out real temporary files and remembers them."""

    def __init__(self) -> None:
        self.all: list[TemporaryStaging] = []

    def __call__(self) -> TemporaryStaging:
        self.all.append(TemporaryStaging())
        return self.all[-1]

    def are_discarded(self) -> bool:
        return all(staging._file.closed for staging in self.all)


def part(content_id: str | None, content: bytes, **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if content_id is not None:
        lines.append(f"Content-ID: <{content_id}>")
    return b"\r\n--B\r\n" + "".join(line + "\r\n" for line in lines).encode() + b"\r\n" + content


def message(*parts: bytes, end: bytes = b"\r\n--B--\r\n") -> bytes:
    return b"".join(parts)[2:] + end


def read(data: bytes, content_type: str = 'multipart/related; boundary="B"; start="<r>"', **limits: int) -> Package:
    return read_package(Drip(data, [1 << 20]), parse_content_type(content_type), TemporaryStaging, MtomLimits(**limits))


def contents(package: Package) -> dict[str, bytes]:
    return {content_id: b"".join(p.staging.open()) for content_id, p in package.parts.items()}


def sent(content_id: str, content: bytes, step: int = 1000) -> SentPart:
    def chunks() -> Iterator[bytes]:
        for start in range(0, len(content), step):
            yield content[start : start + step]

    return SentPart(content_id, "application/dicom", len(content), chunks)


# ------------------------------------------------------------------ Content-Type


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text/xml", ContentType("text/xml", {})),
        (" Application/SOAP+XML ;charset=utf-8", ContentType("application/soap+xml", {"charset": "utf-8"})),
        ('a/b; x="1;2"; Y = z ;', ContentType("a/b", {"x": "1;2", "y": "z"})),
        (r'a/b; x="say \"hi\"\\"', ContentType("a/b", {"x": 'say "hi"\\'})),
        ("a/b; type=application/xop+xml; start=<a@b>", ContentType("a/b", {"type": "application/xop+xml", "start": "<a@b>"})),
        ("a/b; ;; broken; x=1", ContentType("a/b", {"x": "1"})),
        ("a/b; x=1; x=1", ContentType("a/b", {"x": "1"})),
        ("a/b; x=1; x=2", ContentType("a/b", {"x": "1"}, frozenset({"x"}))),
        ('a/b; x="unclosed', ContentType("a/b", {"x": '"unclosed'})),
        ('a/b; start-info="application/soap+xml; action=\\"urn:x\\""; boundary=b', None),
        ("", ContentType("", {})),
    ],
)
def test_content_type_is_read_exactly(value: str, expected: ContentType | None) -> None:
    found = parse_content_type(value)
    if expected is None:
        assert found.parameters == {"start-info": 'application/soap+xml; action="urn:x"', "boundary": "b"}
    else:
        assert found == expected


@given(st.text(max_size=200))
def test_content_type_never_fails(value: str) -> None:
    parse_content_type(value)


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(st.characters(codec="ascii", exclude_categories=["C"])))
)
def test_quoted_parameters_survive(parameters: dict[str, str]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    value = "a/b" + "".join(f"; {name}={quoted(text)}" for name, text in parameters.items())
    assert parse_content_type(value).parameters == parameters


# ------------------------------------------------------------------ reading


def test_reads_root_and_parts_in_any_order() -> None:
    data = message(part("d1", b"one", Content_Type="text/plain"), part("r", ROOT), part("d2", b""))
    package = read(data)
    assert package.root == ROOT
    assert contents(package) == {"d1": b"one", "d2": b""}
    assert package.parts["d1"].content_type == "text/plain"
    assert package.parts["d1"].staging.sha1 == hashlib.sha1(b"one").hexdigest()


@pytest.mark.parametrize("start", ["<r>", "r", "%72", "<%72>", " <r> "])
def test_start_with_and_without_brackets_and_escapes(start: str) -> None:
    assert read(message(part("x", b"1"), part("r", ROOT)), f'multipart/related; boundary=B; start="{start}"').root == ROOT


def test_without_start_the_first_part_is_the_root() -> None:
    package = read(message(part(None, ROOT), part("x", b"1")), "multipart/related; boundary=B")
    assert package.root == ROOT
    assert contents(package) == {"x": b"1"}


def test_content_ids_are_percent_decoded() -> None:
    """RFC 2392: what stands in the URL is the escaped form of the Content-ID; senders escape either, or both."""
    package = read(message(part("r", ROOT), part("urn%3Auuid%3A1@x", b"1")))
    assert content_id_of("cid:urn:uuid:1%40x") in package.parts
    assert content_id_of("CID:urn%3Auuid%3A1@x") in package.parts
    assert content_id_of("http://x/1") is None


def test_preamble_epilogue_folded_headers_and_padding() -> None:
    data = (
        b"This is a preamble --B\r\n\r\n--B \t\r\n"
        b"Content-Type: application/xop+xml;\r\n charset=UTF-8\r\ncontent-id:\r\n\t<r>\r\n\r\n" + ROOT + b"\r\n--B--\r\nepilogue"
    )
    package = read(data)
    assert package.root == ROOT
    assert package.root_type == ContentType("application/xop+xml", {"charset": "UTF-8"})


def test_an_empty_part_may_share_its_line_break_with_the_boundary() -> None:
    data = b"--B\r\nContent-ID: <r>\r\n\r\n<a/>\r\n--B\r\nContent-ID: <e>\r\n\r\n--B--"
    assert contents(read(data)) == {"e": b""}


def test_content_that_looks_like_a_boundary_is_kept() -> None:
    content = b"-B\r\n-\r\n--\r\n--A\r\n\r\n\r\r\n--\r\n-B\r\n"
    assert contents(read(message(part("r", ROOT), part("x", content)))) == {"x": content}


def test_stops_at_the_closing_boundary() -> None:
    stream = Drip(message(part("r", ROOT)) + b"x" * 10, [1])
    read_package(stream, parse_content_type("multipart/related; boundary=B"), TemporaryStaging, MtomLimits())
    assert stream.rest == b"\r\n" + b"x" * 10


@pytest.mark.parametrize(
    ("data", "content_type", "limits", "why"),
    [
        (b"", "text/xml", {}, "not multipart/related"),
        (b"", "multipart/related", {}, "no usable boundary"),
        (b"", 'multipart/related; boundary=""', {}, "no usable boundary"),
        (b"", f"multipart/related; boundary={'b' * 201}", {}, "no usable boundary"),
        (b"", "multipart/related; boundary=é", {}, "no usable boundary"),
        (b"", "multipart/related; boundary=B; boundary=C", {}, "boundary twice"),
        (b"", "multipart/related; boundary=B; start=a; start=b", {}, "start twice"),
        (b"", None, {}, "ends before"),
        (b"--B", None, {}, "ends before"),
        (b"--B--", None, {}, "no part has the Content-ID that"),
        (b"--B--", "multipart/related; boundary=B", {}, "there is no part"),
        (message(part("r", ROOT), end=b""), None, {}, "ends before"),
        (message(part("r", ROOT), end=b"\r\n--B-"), None, {}, "ends before"),
        (message(part("r", ROOT), part("x", b"1"), end=b""), None, {}, "ends before"),
        (message(part("x", b"1")), None, {}, "no part has the Content-ID"),
        (message(part("r", ROOT), part("r", ROOT)), None, {}, "two parts have the Content-ID of the root"),
        (message(part("r", ROOT), part("x", b"1"), part("%78", b"2")), None, {}, "the same Content-ID"),
        (message(part("r", ROOT), part(None, b"1")), None, {}, "has no Content-ID"),
        (message(part("r", ROOT), part("x", b"1", Content_ID="<y>")), None, {}, "a header field twice"),
        (message(part("r", ROOT), part("x", b"MQ==", Content_Transfer_Encoding="uuencode")), None, {}, "other than binary"),
        (message(part("r", ROOT), b"\r\n--Bx\r\n\r\n1"), None, {}, "followed by other text"),
        (message(part("r", ROOT), b"\r\n--B\r\nnonsense\r\n\r\n1"), None, {}, "malformed header"),
        (message(part("r", ROOT), part("x", b"1", X="y" * 300)), None, {"header_block": 200}, "header of a part is larger"),
        (b"--B\r\n" + b"X: y\r\n" * 100, None, {"header_block": 200}, "header of a part is larger"),
        (b"--B" + b" " * 1000, None, {"header_block": 200}, "header of a part is larger"),
        (message(part("r", ROOT)), None, {"root": len(ROOT) - 1}, "root part is larger"),
        (message(part("r", ROOT), part("x", b"123")), None, {"part": 2}, "a part is larger"),
        (message(part("r", ROOT), part("x", b"1"), part("y", b"1")), None, {"parts": 2}, "more than 2 parts"),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_refuses(data: bytes, content_type: str | None, limits: dict[str, int], why: str, size: int) -> None:
    stagings = Stagings()
    kind = parse_content_type(content_type or 'multipart/related; boundary="B"; start="<r>"')
    with pytest.raises(MtomError, match=why):
        read_package(Drip(data, [size]), kind, stagings, MtomLimits(**limits))
    assert stagings.are_discarded()


def test_limits_are_inclusive() -> None:
    data = message(part("r", ROOT), part("x", b"12"))
    assert contents(read(data, root=len(ROOT), part=2, parts=2)) == {"x": b"12"}


def test_discards_what_was_staged_when_the_stream_breaks() -> None:
    class Broken(Drip):
        def read(self, size: int, /) -> bytes:
            data = super().read(size)
            if not data:
                raise TimeoutError("timed out")
            return data

    stagings = Stagings()
    with pytest.raises(TimeoutError):
        read_package(
            Broken(message(part("r", ROOT), part("x", b"1"), end=b""), [10]),
            parse_content_type("multipart/related; boundary=B"),
            stagings,
            MtomLimits(),
        )
    assert len(stagings.all) == 1
    assert stagings.are_discarded()


# ------------------------------------------------------------------ writing


def test_writes_what_it_reads_with_the_exact_length() -> None:
    parts = [sent("d1@x", b"\r\n--" * 50_000, 777), sent("d2@x", b""), sent("d3@x", bytes(range(256)))]
    outgoing = write_package([b"<a>", b"</a>"], parts, action="urn:x")
    pieces = list(outgoing.chunks)
    assert len(pieces) == 1
    assert outgoing.length == len(pieces[0])
    kind = parse_content_type(outgoing.content_type)
    assert kind.parameters["type"] == "application/xop+xml"
    assert kind.parameters["start-info"] == "application/soap+xml"
    assert kind.parameters["action"] == "urn:x"
    package = read_package(Drip(pieces[0], [4096]), kind, TemporaryStaging, MtomLimits())
    assert package.root == b"<a></a>"
    assert package.root_type == parse_content_type('application/xop+xml; charset=UTF-8; type="application/soap+xml"')
    assert contents(package) == {p.content_id: b"".join(p.chunks()) for p in parts}


def test_a_large_package_is_written_in_few_pieces() -> None:
    outgoing = write_package([ROOT], [sent("d1", bytes(3 << 20), 4096)])
    pieces = list(outgoing.chunks)
    assert sum(map(len, pieces)) == outgoing.length
    assert len(pieces) <= 13


@pytest.mark.parametrize("size", [2, 4])
def test_a_part_must_give_its_size(size: int) -> None:
    outgoing = write_package([ROOT], [SentPart("x", "a/b", size, lambda: iter([b"123"]))])
    with pytest.raises(ValueError, match=f"a part of {size} octets gave {'more' if size == 2 else 'fewer'}"):
        list(outgoing.chunks)


def test_chunks_are_closed_when_the_reader_leaves() -> None:
    closed = []

    def chunks() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(1 << 20)
        finally:
            closed.append(True)

    outgoing = write_package([ROOT], [SentPart("x", "a/b", 1 << 30, chunks)])
    next(outgoing.chunks)
    outgoing.chunks.close()  # type: ignore[attr-defined]
    assert closed == [True]


@pytest.mark.parametrize(
    ("content_id", "content_type"), [("a\r\nX: y", "a/b"), ("a>b", "a/b"), ("", "a/b"), ("a", "a/b\r\nX: y")]
)
def test_nothing_is_injected_into_part_headers(content_id: str, content_type: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a header"):
        write_package([ROOT], [SentPart(content_id, content_type, 0, lambda: iter(()))])


@given(st.lists(st.binary(max_size=2000), max_size=30), st.booleans())
def test_together_changes_no_octet(pieces: list[bytes], pretend_large: bool) -> None:
    whole = b"".join(pieces)
    assert b"".join(together(iter(pieces), JOIN_BELOW if pretend_large else len(whole))) == whole


# ------------------------------------------------------------------ hostile chunkings, and a second opinion

_TRICKY = st.lists(
    st.sampled_from([b"\r", b"\n", b"-", b"--", b"B", b"\r\n", b"\r\n--", b"\r\n--A", b"x", b"\0"]), max_size=40
).map(b"".join)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.lists(_TRICKY | st.binary(max_size=500), max_size=4),
    st.lists(st.integers(1, 60), min_size=1, max_size=30),
    st.sampled_from([b"", b"\r\n", b"preamble\r\n", b"--\r\n-B\r\n"]),
)
def test_any_chunking_gives_the_same_parts(bodies: list[bytes], sizes: list[int], preamble: bytes) -> None:
    bodies = [body for body in bodies if b"\r\n--B" not in b"\r\n" + body]
    data = preamble + message(part("r", ROOT), *(part(f"d{i}", body) for i, body in enumerate(bodies))) + b"epilogue"
    package = read_package(
        Drip(data, sizes),
        parse_content_type("multipart/related; boundary=B; start=r"),
        TemporaryStaging,
        MtomLimits(header_block=64),
    )
    assert package.root == ROOT
    assert contents(package) == {f"d{i}": body for i, body in enumerate(bodies)}


class Oracle:
    """python-multipart's parser: the same framing, read by other people's code."""

    def __init__(self, boundary: bytes) -> None:
        self.parts: list[bytearray] = []
        self.ended = False
        callbacks: Any = {
            "on_part_begin": lambda: self.parts.append(bytearray()),
            "on_part_data": lambda data, start, end: self.parts[-1].extend(data[start:end]),
            "on_end": lambda: setattr(self, "ended", True),
        }
        self.parser = MultipartParser(boundary, callbacks)


@settings(deadline=None)
@given(st.lists(_TRICKY | st.binary(max_size=300), max_size=4), st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_agrees_with_python_multipart(bodies: list[bytes], sizes: list[int]) -> None:
    outgoing = write_package([ROOT], [sent(f"d{i}", body) for i, body in enumerate(bodies)])
    data = b"".join(outgoing.chunks)
    kind = parse_content_type(outgoing.content_type)
    oracle = Oracle(kind.parameters["boundary"].encode())
    stream = Drip(data, sizes)
    while chunk := stream.read(1 << 20):
        oracle.parser.write(chunk)
    package = read_package(Drip(data, sizes), kind, TemporaryStaging, MtomLimits())
    assert oracle.ended
    assert [package.root, *contents(package).values()] == [bytes(body) for body in oracle.parts]


@settings(deadline=None, max_examples=300)
@given(_TRICKY | st.binary(max_size=200), st.integers(1, 50))
def test_garbage_is_refused_or_read_never_worse(data: bytes, size: int) -> None:
    stagings = Stagings()
    try:
        read_package(Drip(b"--B" + data, [size]), parse_content_type("multipart/related; boundary=B"), stagings, MtomLimits())
    except MtomError:
        assert stagings.are_discarded()


# ------------------------------------------------------------------ size


def test_memory_does_not_grow_with_a_part(tmp_path: Path) -> None:
    size = 24 << 20
    block = bytes(range(256)) * 1024
    outgoing = write_package(
        [ROOT], [SentPart("d1", "application/dicom", size, lambda: (block for _ in range(size // len(block))))]
    )

    class Source:
        pending = b""

        def read(self, wanted: int, /) -> bytes:
            if not self.pending:
                self.pending = next(outgoing.chunks, b"")
            data, self.pending = self.pending[:wanted], self.pending[wanted:]
            return data

    store = LocalBlobStore(tmp_path)
    tracemalloc.start()
    try:
        package = read_package(Source(), parse_content_type(outgoing.content_type), store.stage, MtomLimits())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert package.parts["d1"].staging.size == size
    assert peak < 4 << 20
    package.parts["d1"].staging.discard()


# ------------------------------------------------------------------ Content-Transfer-Encoding


@pytest.mark.parametrize("step", [1, 3, 7, 76, 1 << 20])
def test_encoded_parts_are_decoded_while_they_arrive(step: int) -> None:
    """RFC 2045 6.7, 6.8: stacks that send by way of mail libraries."""
    content = bytes(range(256)) * 40
    lines = base64.encodebytes(content).replace(b"\n", b"\r\n")
    text = "é = ü;  \r\nend".encode() * 50
    quoted = quopri.encodestring(text).replace(b"\r\n", b"\n").replace(b"\n", b"  \r\n")
    data = message(
        part("r", base64.b64encode(ROOT), Content_Transfer_Encoding="BASE64"),
        part("b", lines, CONTENT_transfer_ENCODING=" Base64 "),
        part("q", quoted, content_transfer_encoding="quoted-printable"),
        part("none", b"", content_transfer_encoding="base64"),
        part("7", b"plain", content_transfer_encoding="7bit"),
    )
    kind = parse_content_type('multipart/related; boundary="B"; start="<r>"')
    package = read_package(Drip(data, [step]), kind, TemporaryStaging, MtomLimits())
    assert package.root == ROOT
    received = contents(package)
    assert received["b"] == content
    assert received["q"].replace(b"\r\n", b"\n") == text.replace(b"\r\n", b"\n")
    assert (received["none"], received["7"]) == (b"", b"plain")


@pytest.mark.parametrize(
    ("encoding", "content", "said"),
    [
        ("base64", b"MQ=", "within a group"),
        ("base64", b"MQ==MQ==", "not the base64"),
        ("base64", b"MQ==" + b" " * 300_000 + b"MQ==", "after its padding"),
        ("base64", b"M*==", "not the base64"),
        ("quoted-printable", b"x" * 200_000, "too long"),
        ("x-gzip", b"", "other than"),
    ],
)
def test_parts_that_are_not_what_their_encoding_says_are_refused(encoding: str, content: bytes, said: str) -> None:
    stagings = Stagings()
    data = message(part("r", ROOT), part("x", content, Content_Transfer_Encoding=encoding))
    with pytest.raises(MtomError, match=said):
        read_package(Drip(data, [1 << 18]), parse_content_type("multipart/related; boundary=B"), stagings, MtomLimits())
    assert stagings.are_discarded()


def test_a_decoded_part_has_its_limit() -> None:
    with pytest.raises(MtomError, match="a part is larger than 100"):
        read(message(part("r", ROOT), part("x", base64.b64encode(b"x" * 101), Content_Transfer_Encoding="base64")), part=100)


@pytest.mark.parametrize("boundary", ["=_Part_1 (a)", "'()+_,-./:=?", "----=_Part;17"])
def test_quoted_boundaries_hold_what_mime_allows(boundary: str) -> None:
    """RFC 2046 5.1.1; preamble, epilogue, folded and oddly written header fields, an id without angle brackets."""
    data = (
        b'This is a preamble.\r\n--%b\r\nCONTENT-type: application/xop+xml;\r\n\ttype="application/soap+xml"\r\n'
        b"content-ID: root@x\r\n\r\n%b\r\n--%b \t\r\ncontent-id:<a@x>\r\n\r\noctets\r\n--%b--\r\nepilogue\r\n"
    )
    mark = boundary.encode()
    package = read(data % (mark, ROOT, mark, mark), f'Multipart/Related; TYPE="application/xop+xml"; Boundary="{boundary}"')
    assert (package.root, contents(package)) == (ROOT, {"a@x": b"octets"})
    assert package.root_type.parameters["type"] == "application/soap+xml"


def test_somebody_is_told_of_the_octets_of_the_envelope() -> None:
    told: list[int] = []
    data = message(part("x", b"y" * 5000), part("r", ROOT))
    kind = parse_content_type('multipart/related; boundary="B"; start="<r>"')
    read_package(Drip(data, [100]), kind, TemporaryStaging, MtomLimits(), told.append)
    assert sum(told) == len(ROOT)
