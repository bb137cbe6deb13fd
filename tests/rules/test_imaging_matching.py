"""What the text of a query key means. Spec: DICOM PS3.4 C.2.2.2."""

from __future__ import annotations

import pytest

from xds.model.imaging_query import Form, fold_name
from xds.rules.imaging_matching import MatchingError, matching

DATE, TIME, NAME, UID, MODALITY, NUMBER = 0x00080020, 0x00080030, 0x00100010, 0x0020000D, 0x00080060, 0x00200011


@pytest.mark.parametrize(
    ("tag", "vr", "text", "form", "values"),
    [
        (NAME, "PN", "DUPONT^JEAN", Form.EQUAL, ("DUPONT^JEAN",)),
        (NAME, "PN", "DUP*", Form.WILDCARD, ("DUP*",)),
        (NAME, "PN", "DUP?NT^J*", Form.WILDCARD, ("DUP?NT^J*",)),
        (UID, "UI", "1.2.3", Form.EQUAL, ("1.2.3",)),
        (UID, "UI", "1.2.3\\1.2.4", Form.LIST, ("1.2.3", "1.2.4")),
        (UID, "UI", "1.2.3,1.2.4", Form.LIST, ("1.2.3", "1.2.4")),
        (DATE, "DA", "20260301", Form.EQUAL, ("20260301",)),
        (DATE, "DA", "2026.03.01", Form.EQUAL, ("20260301",)),
        (DATE, "DA", "20260301-20260302", Form.RANGE, ("20260301", "20260302")),
        (DATE, "DA", "-20260302", Form.RANGE, ("", "20260302")),
        (DATE, "DA", "20260301-", Form.RANGE, ("20260301", "")),
        (TIME, "TM", "10:30-1145", Form.RANGE, ("1030", "1145")),
        (NUMBER, "IS", "3", Form.EQUAL, ("3",)),
        (MODALITY, "CS", "CT", Form.EQUAL, ("CT",)),
    ],
)
def test_forms_of_matching(tag: int, vr: str, text: str, form: Form, values: tuple[str, ...]) -> None:
    found = matching(tag, vr, text)
    assert found is not None
    assert (found.tag, found.form, found.values) == (tag, form, values)


@pytest.mark.parametrize(("vr", "text"), [("PN", ""), ("PN", "*"), ("LO", "**"), ("UI", ""), ("UI", "\\"), ("DA", " ")])
def test_universal_matching(vr: str, text: str) -> None:
    assert matching(NAME, vr, text) is None


@pytest.mark.parametrize(
    ("vr", "text"),
    [
        *(("DA", text) for text in ("yesterday", "-", "2026-03-01", "202603", "20241301", "20240100-20240131", "20240132")),
        *(("TM", text) for text in ("noon", "2500", "1260", "120061")),
        ("UI", "1.2.a"),
    ],
)
def test_values_of_no_kind(vr: str, text: str) -> None:
    with pytest.raises(MatchingError):
        matching(DATE, vr, text)


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("Œuvré^Élise^^", "OEUVRE^ELISE"),
        ("De  La Tour ^ Jean", "DE LA TOUR^JEAN"),
        ("Yamada^Tarou=山田^太郎", "YAMADA^TAROU=山田^太郎"),
        ("straße^x", "STRASSE^X"),
        ("", ""),
    ],
)
def test_names_as_they_compare(name: str, folded: str) -> None:
    assert fold_name(name) == folded


@pytest.mark.parametrize(("vr", "text"), [("DA", "20240201-20240231"), ("TM", "235960"), ("TM", "23"), ("DA", "2024.02.29")])
def test_moments_that_are_matched(vr: str, text: str) -> None:
    """The end of a month may be its 31st, a minute may have a leap second. Spec: PS3.5 6.2."""
    assert matching(NAME, vr, text) is not None
