"""Images that stay where they are: what a PACS outside tells of its studies, and what comes when its images are fetched.

Spec: DICOM PS3.4 C (query/retrieve); PS3.18 10 (DICOMweb).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final


class PullProblem(Enum):
    """Why an image that is held elsewhere cannot be had."""

    GONE = "the source does not have it any more"
    UNREACHABLE = "the source does not answer"
    TIMEOUT = "the source took too long"
    BUSY = "too much is being fetched from the source"
    REFUSED = "the source refuses to give it"
    BROKEN = "the source gave something that is not this object"
    OTHER_PATIENT = "the image names another patient than its study does"
    UNKNOWN_SOURCE = "nothing is configured for its source"


class PullError(OSError):
    """An image could not be fetched. `problem` says why; the message is free of patient data."""

    def __init__(self, problem: PullProblem, detail: str = "") -> None:
        super().__init__(f"{problem.value}: {detail}" if detail else problem.value)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class StudySummary:
    """One study in the answer of a source. `fingerprint` changes with whatever the source says of it.

    `instances` is Number of Study Related Instances; None when the source does not count.
    """

    study_instance_uid: str
    instances: int | None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class FoundInstance:
    """One instance as the answer to a query describes it.

    `attributes` are the study's, the series' and its own in the DICOM JSON model; `transfer_syntax_uid` is that of the real
    object, empty when the source does not tell.
    """

    attributes: Mapping[str, Any]
    transfer_syntax_uid: str = ""


#: What tells, in short, whether an instance is still the one that was registered: tags besides the SOP Instance UID. Number,
#: creation date and time, number of frames, comments.
OUTLINE: Final = {"00080012": "DA", "00080013": "TM", "00200013": "IS", "00204000": "LT", "00280008": "IS"}


@dataclass(frozen=True, slots=True)
class InstanceOutline:
    """One instance in few words: `values` are the texts of OUTLINE in its order, empty where there is none."""

    sop_instance_uid: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pulled:
    """One instance while it arrives. `chunks` is the Part 10 file, to be read before the next instance is asked for."""

    sop_instance_uid: str
    transfer_syntax_uid: str
    chunks: Iterator[bytes]
