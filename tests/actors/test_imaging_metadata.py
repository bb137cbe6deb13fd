"""The mapping of RAD-68, and its code tables against pydicom's copy of DICOM PS3.16."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.codedict import codes

from tests.archive import packaged
from xds.actors.imaging_metadata import BODY_PARTS, MODALITIES, PublicationDefaults, event_codes, reference_ids, type_code, xpn
from xds.model.imaging import Study
from xds.model.metadata import Code
from xds.wire.dicom_study import read_study


@pytest.fixture
def back_end() -> str:
    """Nothing here needs a database."""
    return "none"


@pytest.fixture
def study() -> Study:
    return read_study([packaged("CT_small.dcm")])


def test_modalities_are_cid_29() -> None:
    listed = [getattr(codes.cid29, name) for name in cid_concepts[29]["DCM"]]
    assert {code.value: code.meaning for code in listed} == MODALITIES


def test_regions_are_snomed_codes_of_dicom() -> None:
    known = {code: meaning for entries in concepts["SCT"].values() for code, (meaning, *_) in entries.items()}
    assert [name for name, (code, _) in BODY_PARTS.items() if code not in known] == []


def test_what_is_no_acquisition_is_no_event(study: Study) -> None:
    series = study.series[0]
    several = replace(study, series=(series, replace(series, modality="KO"), replace(series, modality="PT"), series))
    assert [code.code for code in event_codes(several)] == ["CT", "PT"]


@pytest.mark.parametrize(
    ("body_part", "region", "expected"),
    [
        ("CHEST", None, ["816094009"]),
        ("head neck", None, ["774007"]),
        ("UNHEARD OF", None, []),
        ("CHEST", Code("80891009", "2.16.840.1.113883.6.96", "Heart"), ["80891009"]),
        ("CHEST", Code("X", "99LOCAL", "ours"), ["816094009"]),
    ],
)
def test_regions(study: Study, body_part: str, region: Code | None, expected: list[str]) -> None:
    given = replace(study, series=(replace(study.series[0], modality="SR", body_part=body_part, region=region),))
    assert [code.code for code in event_codes(given)] == expected


def test_the_accession_number_has_its_issuer(study: Study) -> None:
    given = replace(study, accession_number="A^1", accession_issuer_oid="1.2.3")
    assert reference_ids(given, "9.9.9")[0] == "A\\S\\1^^^&1.2.3&ISO^urn:ihe:iti:xds:2013:accession"
    assert len(reference_ids(replace(given, accession_number=""), None)) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Doe^Jane^M^Dr^Jr", "Doe^Jane^M^Jr^Dr"),
        ("Doe^Jane", "Doe^Jane"),
        ("=王^小東", "王^小東"),
        ("", ""),
        ("A&B^C", "A\\T\\B^C"),
    ],
)
def test_person_names(name: str, expected: str) -> None:
    assert xpn(name) == expected


def test_a_local_procedure_code_is_not_a_type(study: Study) -> None:
    defaults = PublicationDefaults()
    assert type_code(replace(study, procedure_code=Code("X", "99LOCAL", "ours")), defaults) == defaults.type_code
    known = Code("RPID13", "2.16.840.1.113883.6.256", "CT Abdomen")
    assert type_code(replace(study, procedure_code=known), defaults) == known
