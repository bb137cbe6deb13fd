"""Several processes take HL7 v2 at one port, and know the same people.

Spec: ITI TF-2 3.8, 3.9.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing
from pathlib import Path

from tests.flows.test_identity_crash import Connection, cx, known, running


def test_parallel_feeds_of_one_new_identifier_make_one_person_in_all_processes(tmp_path: Path) -> None:
    answers: list[str] = []

    def feed(connection: Connection, number: int) -> None:
        for count in range(5):
            answer = connection.ask(
                f"MSH|^~\\&|ADT|HOSP_A|PIX|XDS|20260301080000||ADT^A01|{number}-{count}|P|2.3.1",
                "EVN|A01|20260301080000",
                f"PID|||{cx('HOSP_A', f'P{count}')}||MARTIN^LUCIE||194{count}0{1 + count}14|F|||{count} RUE HAUTE^^ORLEANS",
                "PV1||O",
            )
            answers.append(answer[1][1])

    with running(tmp_path, SERVER__PROCESSES="2") as server, ExitStack() as stack:
        connections = [stack.enter_context(closing(Connection(server))) for _ in range(12)]
        threads = [threading.Thread(target=feed, args=item[::-1]) for item in enumerate(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert answers == ["AA"] * 60
        for count in range(5):
            told = {tuple(known(connection, "HOSP_A", f"P{count}") or ()) for connection in connections}
            assert len(told) == 1, "every process tells the same"
            assert len(next(iter(told))) == 1, "one person has one identifier of the affinity domain"
