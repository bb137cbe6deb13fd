"""What a PACS is asked for at each level, and its answers put together.

Spec: DICOM PS3.4 Tables C.6-5 (study root), RAD TF-2 4.14; PS3.18 10.6.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from xds.model.foreign_images import OUTLINE, FoundInstance, InstanceOutline, StudySummary
from xds.wire.dicom_json_reading import number_of, text_of
from xds.wire.dicom_study import is_uid

Item = Mapping[str, Any]

#: Return keys with their value representations; sequences are asked for whole.
STUDY: Final = {
    "00080020": "DA",
    "00080030": "TM",
    "00080050": "SH",
    "00080051": "SQ",
    "00080061": "CS",
    "00080090": "PN",
    "00080201": "SH",
    "00081030": "LO",
    "00081032": "SQ",
    "00100010": "PN",
    "00100020": "LO",
    "00100021": "LO",
    "00100024": "SQ",
    "00100030": "DA",
    "00100040": "CS",
    "0020000D": "UI",
    "00200010": "SH",
    "00201206": "IS",
    "00201208": "IS",
}
SERIES: Final = {
    "00080060": "CS",
    "00080021": "DA",
    "00080031": "TM",
    "00080080": "LO",
    "0008103E": "LO",
    "00082218": "SQ",
    "00180015": "CS",
    "0020000E": "UI",
    "00200011": "IS",
    "00201209": "IS",
}
INSTANCE: Final = {
    "00080008": "CS",
    "00080012": "DA",
    "00080013": "TM",
    "00080016": "UI",
    "00080018": "UI",
    "00080023": "DA",
    "00080033": "TM",
    "00083002": "UI",
    "00200013": "IS",
    "00204000": "LT",
    "00280008": "IS",
    "00280010": "US",
    "00280011": "US",
    "00280100": "US",
    "0040A043": "SQ",
}
OUTLINED: Final = {"00080018": "UI", **OUTLINE}
#: What the answer says about itself or about the moment: not the object's.
_PASSING: Final = frozenset({"00080005", "00080052", "00080054", "00080056", "00081190", "00083002", "00880130", "00880140"})
_COUNTS: Final = frozenset({"00080061", "00080062", "00201200", "00201202", "00201204", "00201206", "00201208", "00201209"})


def summary(item: Item) -> StudySummary | None:
    """A study in an answer; None when it has no UID."""
    uid = text_of(item, "0020000D")
    if not is_uid(uid):
        return None
    stated = {key: value for key, value in item.items() if key not in _PASSING}
    octets = json.dumps(stated, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")
    return StudySummary(uid, number_of(item, "00201208"), hashlib.sha256(octets).hexdigest())


def outline(item: Item) -> InstanceOutline:
    """An instance in few words."""
    return InstanceOutline(text_of(item, "00080018"), tuple(text_of(item, tag) for tag in OUTLINE))


def found_instance(study: Item, series: Item, instance: Item) -> FoundInstance:
    """An instance with the attributes of all its levels; the lower level's word counts."""
    merged = {**study, **series, **instance}
    for key, level in (("0020000D", study), ("0020000E", series)):
        merged[key] = level.get(key, merged.get(key))
    kept = {key: value for key, value in merged.items() if key not in _PASSING and key not in _COUNTS and value is not None}
    return FoundInstance(kept, text_of(instance, "00083002"))
