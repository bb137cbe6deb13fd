"""Which addresses replies may be sent to. Spec: WS-Addressing 1.0 SOAP binding section 5; RFC 3986."""

from __future__ import annotations

import pytest

from xds.wire.reply_addresses import ReplyAddresses, read_reply_address

CONFIGURED = ReplyAddresses(["https://peer.example/async/", "http://127.0.0.1:8080/exact?x=1", "http://[::1]:8080/v6"])


@pytest.mark.parametrize(
    "url",
    [
        "https://peer.example/async/",
        "https://peer.example/async/1",
        "https://peer.example/async/a/b/",
        "https://peer.example/async/urn:uuid:1?id=2&more",
        "https://peer.example/async/.well-known",
        "https://PEER.example:443/async/1",
        "http://127.0.0.1:8080/exact?x=1",
        "http://[::1]:8080/v6",
    ],
)
def test_permitted(url: str) -> None:
    assert CONFIGURED.permits(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://peer.example/async",
        "https://peer.example/asynchronous",
        "https://peer.example/other/",
        "http://peer.example/async/",
        "https://peer.example:444/async/",
        "https://peer.example.evil/async/",
        "https://peer.example@evil.example/async/",
        "https://user@peer.example/async/",
        "https://evil.example\\@peer.example/async/",
        "https://peer.example/async/#part",
        "https://peer.example/async/../internal",
        "https://peer.example/async/a/..",
        "https://peer.example/async/./a",
        "https://peer.example/async//a",
        "https://peer.example/async/%2e%2e/internal",
        "https://peer.example/async/%252e%252e/internal",
        "https://peer.example/async/..;/internal",
        "https://peer.example/async/a%2fb",
        "https://peer.example/async/a\\b",
        "https://peer.example/async/a b",
        "https://peer.example/async/a\r\nHost: evil",
        "https://peer.example/async/é",
        "http://127.0.0.1:8080/exact",
        "http://127.0.0.1:8080/exact?x=2",
        "http://127.0.0.1:8080/exact/below?x=1",
        "http://127.0.0.1/exact?x=1",
        "http://localhost:8080/exact?x=1",
        "http://2130706433:8080/exact?x=1",
        "http://[::1/async/",
        "https://peer.example:port/async/",
        "https://peer.example:99999/async/",
        "file:///etc/passwd",
        "//peer.example/async/",
        "mailto:someone@peer.example",
    ],
)
def test_refused(url: str) -> None:
    assert not CONFIGURED.permits(url)


def test_nothing_is_permitted_where_nothing_is_configured() -> None:
    assert not ReplyAddresses()
    assert not ReplyAddresses().permits("https://peer.example/async/")


@pytest.mark.parametrize(
    "url", ["peer.example", "ftp://peer.example/", "https://u:p@peer.example/", "https:///x", "https://x/#y"]
)
def test_what_cannot_be_configured_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="a reply address") as refusal:
        read_reply_address(url)
    assert url not in str(refusal.value)
