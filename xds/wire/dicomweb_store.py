"""What a store request over DICOMweb is answered. Spec: DICOM PS3.18 10.5.3, Table 10.5.3-1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Storing:
    """What became of one object of a store request. `failure` is a Failure Reason (0008,1197); None means that it is stored."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    failure: int | None = None


def store_response(outcomes: Sequence[Storing], base_url: str) -> dict[str, Any]:
    """The answer to a store request: what is stored and where, and what failed. Spec: PS3.18 Table 10.5.3-1."""
    stored = [_stored(item, base_url) for item in outcomes if item.failure is None]
    failed = [_failed(item) for item in outcomes if item.failure is not None]
    studies = {item.study_instance_uid for item in outcomes if item.failure is None}
    data_set: dict[str, Any] = {}
    if len(studies) == 1:
        data_set["00081190"] = {"vr": "UR", "Value": [f"{base_url}/studies/{studies.pop()}"]}
    if failed:
        data_set["00081198"] = {"vr": "SQ", "Value": failed}
    if stored:
        data_set["00081199"] = {"vr": "SQ", "Value": stored}
    return data_set


def _reference(item: Storing) -> dict[str, Any]:
    named = (("00081150", item.sop_class_uid), ("00081155", item.sop_instance_uid))
    return {tag: {"vr": "UI", "Value": [value]} for tag, value in named if value}


def _stored(item: Storing, base_url: str) -> dict[str, Any]:
    url = f"{base_url}/studies/{item.study_instance_uid}/series/{item.series_instance_uid}/instances/{item.sop_instance_uid}"
    return _reference(item) | {"00081190": {"vr": "UR", "Value": [url]}}


def _failed(item: Storing) -> dict[str, Any]:
    return _reference(item) | {"00081197": {"vr": "US", "Value": [item.failure]}}
