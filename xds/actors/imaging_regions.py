"""From body regions to the few that a described manifest is searched by.

Spec: IHE RAD MADO, CID IHE-MADO1 (High-level Anatomic Regions).
"""

from __future__ import annotations

from typing import Final

from xds.model.metadata import Code
from xds.model.vocabulary import SNOMED_CT

_REGIONS: Final = {
    "63337009": "Lower trunk",
    "38266002": "Entire body",
    "53120007": "Upper limb",
    "61685007": "Lower limb",
    "67734004": "Upper trunk",
    "774007": "Head and neck",
    "113257007": "Cardiovascular system",
    "80891009": "Heart",
    "76752008": "Breast",
    "1141981001": "Vertebral column",
}
#: High-level region -> the regions (SNOMED CT) that lie in it.
_PARTS: Final = {
    "63337009": "818981001 818982008 89837001 64033007 10200004 816092008 41216001 35039007 54735007",
    "53120007": "40983000 7569003 14975008 85562004 16982005 76505004",
    "61685007": "56459004 29836001 72696002 30021000 68367000 29707007",
    "67734004": "816094009 416550000 51299004 113197003 56873002",
    "774007": "12738006 117590005 81745001 89545001 69536005 70925003 45048000 45206002 89546000",
    "113257007": "15825003",
    "80891009": "41801008",
    "1141981001": "64688005 122494005 122496007 421060004 122495006",
    "38266002": "416775004",
}
_OF_PART: Final = {part: region for region, parts in _PARTS.items() for part in parts.split()}


def target_region(region: Code | None) -> Code | None:
    """The high-level region of a region; None for one of which nobody can say it."""
    if region is None:
        return None
    code = region.code if region.code in _REGIONS else _OF_PART.get(region.code)
    return Code(code, SNOMED_CT, _REGIONS[code]) if code else None
