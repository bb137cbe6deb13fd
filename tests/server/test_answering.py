"""What a transaction holds while it answers."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.server.echo import SAY
from xds.server.answering import answer_of
from xds.store.database import turns
from xds.wire.soap import SoapReply


@pytest.mark.parametrize("takes_turns", [False, True])
def test_only_what_waits_for_nothing_else_keeps_its_turn(monkeypatch: pytest.MonkeyPatch, takes_turns: bool) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 60)
    order: list[str] = []

    def other() -> None:
        with turns.taken():
            order.append("other")

    thread = threading.Thread(target=other)

    def respond(*_: Any) -> SoapReply:
        thread.start()
        thread.join(0.1 if takes_turns else 30)
        order.append("answer")
        return SoapReply([])

    module = SimpleNamespace(TRANSACTION=replace(SAY, takes_turns=takes_turns), respond=respond)
    with turns.taken():
        answer_of(cast(Any, module), cast(Any, None), cast(Any, None), cast(Any, None), inline_limit=None)
    thread.join(30)
    assert order == (["answer", "other"] if takes_turns else ["other", "answer"])
