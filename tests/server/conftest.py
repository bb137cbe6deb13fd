"""Servers in the process of the tests."""

from __future__ import annotations

import pytest

from xds.server import connection, mllp


@pytest.fixture(autouse=True)
def patient_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is refused before his message was sent may take his time to send the rest: the end of a connection waits for him.

    Otherwise a client that the machine keeps from sending for half a second finds its connection broken in place of the answer.
    """
    for module in (connection, mllp):
        monkeypatch.setattr(module, "_LINGER_SECONDS", 60)
