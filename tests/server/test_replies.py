"""The listener for replies. Spec: WS-Addressing 1.0 core 3.4."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tests.server.echo import KEEP, NAMESPACE, SAY
from xds.server.limits import Limits
from xds.server.replies import ReplyListener
from xds.transactions.client import UnusableAnswerError
from xds.wire.mtom import write_package
from xds.wire.soap import Addressing, SentPart, SoapFault, write_envelope, write_fault

ANSWER = f'<SayResponse xmlns="{NAMESPACE}"/>'.encode()
SIMPLE = "application/soap+xml; charset=UTF-8"


def reply(**changed: Any) -> bytes:
    addressing = Addressing(**{"action": SAY.reply_action, "relates_to": "urn:uuid:1", **changed})
    return b"".join(write_envelope([ANSWER], addressing))


def post(listener: ReplyListener, body: bytes, content_type: str = SIMPLE, **environ: str) -> tuple[int, bytes]:
    said: list[str] = []
    given = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body))} | environ
    text = b"".join(listener({**given, "wsgi.input": io.BytesIO(body)}, lambda status, headers: said.append(status)))
    return int(said[0][:3]), text


def test_a_reply_reaches_who_expects_it() -> None:
    listener = ReplyListener()
    first, second = listener.expect("urn:uuid:1", SAY), listener.expect("urn:uuid:2", SAY)
    assert post(listener, reply(relates_to="urn:uuid:2")) == (202, b"")
    assert second.result(0).body.tag == f"{{{NAMESPACE}}}SayResponse"
    assert not first.done()


def test_a_reply_may_have_another_charset() -> None:
    listener = ReplyListener()
    future = listener.expect("urn:uuid:1", SAY)
    data = reply().replace(b"<SayResponse", "<!-- ë --><SayResponse".encode("latin-1"))
    assert post(listener, data, "application/soap+xml; charset=ISO-8859-1") == (202, b"")
    assert future.result(0).body.tag == f"{{{NAMESPACE}}}SayResponse"
    assert post(listener, data, "application/soap+xml; charset=EBCDIC-CP-US")[0] == 400


def test_parts_belong_to_the_answer() -> None:
    listener = ReplyListener()
    future = listener.expect("urn:uuid:1", KEEP)
    outgoing = write_package([reply(action=KEEP.reply_action)], [SentPart("a@x", "text/plain", 3, lambda: iter([b"abc"]))])
    assert post(listener, b"".join(outgoing.chunks), outgoing.content_type)[0] == 202
    answer = future.result(0)
    assert b"".join(answer.parts["a@x"].staging.open()) == b"abc"
    answer.discard()


def test_a_fault_is_raised() -> None:
    listener = ReplyListener()
    future = listener.expect("urn:uuid:1", SAY)
    assert post(listener, write_fault(SoapFault("Sender", "no"), relates_to="urn:uuid:1"))[0] == 202
    with pytest.raises(SoapFault, match="no"):
        future.result(0)


def test_the_answer_to_something_else_is_of_no_use() -> None:
    listener = ReplyListener()
    future = listener.expect("urn:uuid:1", SAY)
    assert post(listener, reply(action="urn:other"))[0] == 202
    with pytest.raises(UnusableAnswerError):
        future.result(0)


def test_a_reply_that_comes_twice_counts_once() -> None:
    listener = ReplyListener()
    listener.expect("urn:uuid:1", SAY)
    assert [post(listener, reply())[0] for _ in range(2)] == [202, 202]


@pytest.mark.parametrize("relates_to", ["urn:uuid:9", None])
def test_a_reply_that_nobody_expects(relates_to: str | None) -> None:
    listener = ReplyListener()
    listener.expect("urn:uuid:9", SAY)
    listener.forget("urn:uuid:9")
    assert post(listener, reply(relates_to=relates_to))[0] == 404


def test_nobody_waits_any_more() -> None:
    listener = ReplyListener()
    listener.expect("urn:uuid:1", SAY).cancel()
    assert post(listener, reply())[0] == 202


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"<x/>", SIMPLE, 400),
        (b"no xml", SIMPLE, 400),
        (b"--b--", "multipart/related; boundary=b", 400),
        (b"{}", "application/json", 415),
        (b" " * 101, SIMPLE, 413),
    ],
)
def test_what_is_no_reply_is_refused(body: bytes, content_type: str, status: int) -> None:
    listener = ReplyListener(limits=Limits(envelope=100))
    assert post(listener, body, content_type)[0] == status


def test_replies_are_posted() -> None:
    assert post(ReplyListener(), b"", REQUEST_METHOD="GET")[0] == 405
    assert post(ReplyListener(), b"", CONTENT_LENGTH="x")[0] == 400
