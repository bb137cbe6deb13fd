"""Modality Performed Procedure Steps, as far as they tell that a study is complete.

A step is remembered as a job that forgets it after a while: nothing of it is wanted but whether it has ended, and of which
studies it was.

Spec: DICOM PS3.4 F.7; RAD TF-2 4.6, 4.7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import Enum
from typing import Any, Final

from xds.ports import Clock
from xds.store import imaging_holdings, jobs
from xds.store.database import Database

#: The kind of job that forgets a step.
FORGET_STEP: Final = "forget-performed-step"
_REMEMBERED: Final = timedelta(days=14)
IN_PROGRESS: Final = "IN PROGRESS"
ENDED: Final = frozenset({"COMPLETED", "DISCONTINUED"})


class StepAnswer(Enum):
    """What became of a message about a step."""

    TAKEN = "taken"
    DUPLICATE = "there is one already"
    UNKNOWN = "there is none"
    ENDED = "it has ended"


class PerformedSteps:
    """The steps in progress. One object serves all threads."""

    def __init__(self, database: Database, clock: Clock, changed: Callable[[str, bool], object]) -> None:
        """`changed` is told of each study whose step has ended, and whether all of its images are here."""
        self._database = database
        self._clock = clock
        self._changed = changed

    def create(self, sop_instance_uid: str, study_instance_uids: Sequence[str], status: str) -> StepAnswer:
        """A step began."""

        def work(connection: Any) -> StepAnswer:
            if jobs.payload_of(connection, (FORGET_STEP,), sop_instance_uid) is not None:
                return StepAnswer.DUPLICATE
            payload = {"studies": list(study_instance_uids), "status": status}
            jobs.add(connection, FORGET_STEP, sop_instance_uid, payload, self._clock() + _REMEMBERED)
            return StepAnswer.TAKEN

        return self._database.write(work)

    def update(self, sop_instance_uid: str, status: str, instances: Sequence[str]) -> StepAnswer:
        """A step went on, or ended with these images (SOP Instance UIDs). An empty status stays what it was."""

        def work(connection: Any) -> tuple[StepAnswer, list[str], bool]:
            payload = jobs.payload_of(connection, (FORGET_STEP,), sop_instance_uid)
            if payload is None:
                return StepAnswer.UNKNOWN, [], False
            if payload["status"] in ENDED:
                return StepAnswer.ENDED, [], False
            if status:
                new = {**payload, "status": status}
                jobs.add(connection, FORGET_STEP, sop_instance_uid, new, self._clock() + _REMEMBERED)
            studies = list(payload["studies"]) if status in ENDED else []
            held = imaging_holdings.holdings(connection, list(instances))
            return StepAnswer.TAKEN, studies, len(held) == len(set(instances)) > 0

        answer, studies, is_complete = self._database.write(work)
        for study in studies:
            self._changed(study, is_complete)
        return answer
