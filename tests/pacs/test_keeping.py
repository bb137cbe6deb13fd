"""Associations that stay open for the next request, whatever the PACS does with them meanwhile.

Spec: DICOM PS3.8 7.2 (release), 7.3 and 7.4 (abort).
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.pacs.peer import CT, MR, SECONDS, STUDY, Peer, peer, uid_of
from xds.model.foreign_images import PullError, PullProblem
from xds.pacs.association import Association
from xds.pacs.dimse import DimseArchive
from xds.pacs.partner import Partner


@contextmanager
def archive(pacs: Peer, *, kept: int = 2, seconds: float = 300, most: int = 4) -> Iterator[DimseArchive]:
    partner = Partner(
        "pacs", "PACS", "127.0.0.1", pacs.port, seconds=SECONDS, associations=most, kept_associations=kept, kept_seconds=seconds
    )
    found = DimseArchive(partner)
    try:
        yield found
    finally:
        found.close()


def get(source: DimseArchive, sop_class: str = CT) -> list[str]:
    """The UIDs of what a C-GET gives."""
    found = []
    for pulled in source.fetch(STUDY, f"{STUDY}.1", {uid_of(sop_class): sop_class}, whole_series=True):
        assert b"".join(pulled.chunks)[128:132] == b"DICM"
        found.append(pulled.sop_instance_uid)
    return found


def reset(association: Association) -> None:
    """End the connection without a word of order: its last octets are lost."""
    association.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    association.close()


def test_one_association_serves_one_request_after_the_other() -> None:
    with peer() as pacs, archive(pacs) as source:
        for _ in range(5):
            assert get(source) == [uid_of(CT)]
        assert pacs.accepted == 1
        # Queries may follow on the same.
        assert source.study(STUDY) is None
        assert pacs.accepted == 1
        source.close()
        pacs.wait_for(lambda: pacs.released == 1)


def test_one_for_queries_is_none_for_images() -> None:
    with peer() as pacs, archive(pacs) as source:
        assert source.study(STUDY) is None
        assert source.study(STUDY) is None
        assert pacs.accepted == 1
        assert get(source) == [uid_of(CT)]
        assert pacs.accepted == 2


def test_other_classes_need_an_association_of_their_own() -> None:
    with peer() as pacs, archive(pacs) as source:
        assert get(source, CT) == [uid_of(CT)]
        assert get(source, MR) == [uid_of(MR)]
        assert pacs.accepted == 2
        assert get(source, CT) == [uid_of(CT)]
        assert get(source, MR) == [uid_of(MR)]
        assert pacs.accepted == 2


def test_no_more_are_kept_than_may_be_and_the_oldest_goes() -> None:
    with peer() as pacs, archive(pacs, kept=1) as source:
        get(source, CT)
        get(source, MR)
        pacs.wait_for(lambda: len(pacs.open) == 1)
        get(source, MR)
        assert pacs.accepted == 2
        get(source, CT)
        assert pacs.accepted == 3


@pytest.mark.parametrize(("kept", "seconds"), [(0, 60), (2, 0)])
def test_none_is_kept_where_none_is_to_be(kept: int, seconds: float) -> None:
    with peer() as pacs, archive(pacs, kept=kept, seconds=seconds) as source:
        for number in (1, 2):
            get(source)
            pacs.wait_for(lambda number=number: pacs.released == number)  # type: ignore[misc]
        assert pacs.accepted == 2


def test_those_that_nobody_uses_are_released_after_a_while() -> None:
    with peer() as pacs, archive(pacs, seconds=0.05) as source:
        get(source)
        pacs.wait_for(lambda: pacs.released == 1)
        get(source)
        assert pacs.accepted == 2
        pacs.wait_for(lambda: pacs.released == 2)


@pytest.mark.parametrize("how", [Association.abort, Association.release, Association.close, reset])
def test_the_pacs_ends_one_that_nobody_uses(how: object) -> None:
    assert callable(how)
    with peer() as pacs, archive(pacs) as source:
        get(source)
        (idle,) = pacs.open
        if how is Association.release:
            # Its own thread must not take the answer to the release away from it: that thread is what releases.
            idle.connection.sendall(bytes((5, 0, 0, 0, 0, 4, 0, 0, 0, 0)))
        elif how in (Association.close, reset):
            # The descriptor must not be closed below a thread that reads from it.
            if how is reset:
                idle.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            idle.end()
        else:
            how(idle)
        pacs.wait_for(lambda: not pacs.open)
        assert get(source) == [uid_of(CT)]
        assert pacs.accepted == 2


@pytest.mark.parametrize("how", [Association.abort, Association.close, reset])
def test_one_that_breaks_before_it_answers_is_replaced_by_a_fresh_one(how: object) -> None:
    assert callable(how)
    with peer() as pacs, archive(pacs) as source:
        get(source)
        pacs.instead = how
        assert get(source) == [uid_of(CT)]
        assert pacs.accepted == 2
        pacs.instead = how
        assert source.study(STUDY) is None
        assert pacs.accepted == 3


def test_a_fresh_one_that_breaks_is_not_replaced() -> None:
    with peer() as pacs, archive(pacs) as source:
        pacs.instead, pacs.after = Association.abort, 0
        with pytest.raises(PullError) as raised:
            get(source)
        assert raised.value.problem is PullProblem.UNREACHABLE
        assert pacs.accepted == 1


def test_one_that_keeps_still_is_given_up_and_not_asked_again() -> None:
    still = threading.Event()

    def keep_still(_: Association) -> None:
        assert still.wait(SECONDS)

    with peer() as pacs, archive(pacs) as source:
        get(source)
        (kept,) = source._associations._idle._kept
        kept.association.wait_at_most(0.3)
        pacs.instead = keep_still
        with pytest.raises(PullError) as raised:
            get(source)
        still.set()
        assert raised.value.problem is PullProblem.TIMEOUT
        assert pacs.accepted == 1


def test_what_was_left_in_the_middle_is_not_kept() -> None:
    with peer() as pacs, archive(pacs) as source:
        arriving = source.fetch(STUDY, f"{STUDY}.1", {uid_of(CT): CT}, whole_series=True)
        next(arriving)
        arriving.close()  # type: ignore[attr-defined]
        pacs.wait_for(lambda: not pacs.open)
        assert pacs.released == 0
        assert get(source) == [uid_of(CT)]
        assert pacs.accepted == 2


def test_a_pacs_that_bears_few_is_not_kept_from_what_is_needed() -> None:
    with peer(most=1) as pacs, archive(pacs) as source:
        assert get(source, CT) == [uid_of(CT)]
        # The one that nobody uses makes room.
        assert get(source, MR) == [uid_of(MR)]
        assert pacs.accepted == 2
        assert pacs.refused
    with peer(most=1) as pacs, archive(pacs, most=1) as source:
        assert get(source, CT) == [uid_of(CT)]
        # We know how many it bears: the one that nobody uses is released before.
        assert get(source, MR) == [uid_of(MR)]
        assert pacs.accepted == 2


def test_many_at_once_never_have_more_than_they_may() -> None:
    with peer(most=2) as pacs, archive(pacs, most=2, kept=2) as source:
        found: list[list[str]] = []
        threads = [threading.Thread(target=lambda kind=kind: found.append(get(source, kind))) for kind in (CT, MR) * 6]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert sorted(found) == sorted([[uid_of(CT)], [uid_of(MR)]] * 6)


def test_nothing_is_kept_after_the_end() -> None:
    with peer() as pacs, archive(pacs) as source:
        get(source)
        source.close()
        assert get(source) == [uid_of(CT)]
        pacs.wait_for(lambda: pacs.released == 2)
        source.close()
        until = time.monotonic() + SECONDS
        while any(thread.name == "idle-pacs" for thread in threading.enumerate()):
            assert time.monotonic() < until
            time.sleep(0.01)
