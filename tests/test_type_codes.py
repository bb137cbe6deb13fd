"""`registry.type_codes`: the kind of an identifier in CX.5 and XON.7, as the French CI-SIS has it and IHE does not.

Spec: ITI TF-3 Table 4.2.3.1.7-2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from tests.builders import document_entry, submission, submission_set
from xds import config
from xds.app import App, build
from xds.model.caller import SYSTEM
from xds.model.errors import RegistryResponse
from xds.model.metadata import Author, Submission
from xds.model.stored_queries import RawQuery, ReturnType
from xds.model.vocabulary import StoredQueryId
from xds.rules.submission import datatypes

NATIONAL = "&1.2.250.1.213.1.4.10&ISO"
INSTITUTION = "CABINET^^^^^&1.2.250.1.71.4.2.2&ISO^IDNST^^^499700367909006"
PERSON = "899700367909^DOC0036790^KIT^^^^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS"


@contextmanager
def domain(data: Path, *, type_codes: bool) -> Iterator[App]:
    settings = config.load(
        overrides={
            "server.data": data,
            "registry.type_codes": type_codes,
            "registry.require_known_patient": False,
            "domain.assigning_authority": "1.2.250.1.213.1.4.10",
        }
    )
    app = build(settings, "http://127.0.0.1:1")
    yield app
    app.close()


def french() -> Submission:
    patient = f"162018885045327^^^{NATIONAL}^NH"
    author = Author(PERSON, (INSTITUTION,), (), (), ())
    entry = document_entry(patient_id=patient, source_patient_id=f"162018885045327^^^{NATIONAL}^PI", authors=(author,))
    package = submission_set(patient_id=patient, authors=(author,), intended_recipients=(f"{INSTITUTION}|{PERSON}",))
    return submission([entry], submission_set=package)


def register(app: App, message: Submission) -> RegistryResponse:
    return app.domain.document_registry.register(message, SYSTEM)


def test_the_standard_leaves_no_room_for_it(tmp_path: Path) -> None:
    with domain(tmp_path, type_codes=False) as app:
        response = register(app, french())
    assert not response.succeeded
    named = " ".join(error.context for error in response.errors)
    assert [word in named for word in ("patientId", "sourcePatientId", "author.authorInstitution", "intendedRecipient")] == [
        True
    ] * 4


def test_it_is_kept_and_the_patient_is_found_with_and_without(tmp_path: Path) -> None:
    with domain(tmp_path, type_codes=True) as app:
        assert register(app, french()) == RegistryResponse(register(app, french()).status)
        for patient in (f"162018885045327^^^{NATIONAL}", f"162018885045327^^^{NATIONAL}^NH"):
            slots = (
                ("XDSDocumentEntryPatientId", (f"'{patient}'",)),
                ("XDSDocumentEntryStatus", ("('urn:oasis:names:tc:ebxml-regrep:StatusType:Approved')",)),
            )
            query = RawQuery(StoredQueryId.FIND_DOCUMENTS, ReturnType.LEAF_CLASS, slots)
            found = [bytes(item.xml).decode() for item in app.domain.document_registry.query(query, SYSTEM).objects]
            assert len(found) == 2
            for kind in ("NH", "PI"):
                assert all(f"162018885045327^^^{escape(NATIONAL)}^{kind}" in xml for xml in found)


@pytest.mark.parametrize(
    ("kind", "value", "is_right"),
    [
        (datatypes.CX, f"1^^^{NATIONAL}^NH", True),
        (datatypes.CX, f"1^^^{NATIONAL}^", False),
        (datatypes.CX, f"1^^^{NATIONAL}^nh", False),
        (datatypes.CX, f"1^^^{NATIONAL}^NH^", False),
        (datatypes.CX, f"1^^x^{NATIONAL}^NH", False),
        (datatypes.LOCAL_CX, "1^^^HOSPITAL^PI", True),
        (datatypes.XON, INSTITUTION, True),
        (datatypes.XON, INSTITUTION + "^A", False),
        (datatypes.XON, "CABINET^L^^^^&1.2&ISO^IDNST^^^1", False),
        (datatypes.RECIPIENT, f"{INSTITUTION}||^^Internet^a@b.example", True),
        (datatypes.RECIPIENT, f"^^^^^^IDNST|{PERSON}", False),
    ],
)
def test_nothing_else_is_allowed_with_it(kind: datatypes.DataType, value: str, is_right: bool) -> None:
    assert kind.with_type_code is not None
    assert kind.with_type_code(value) is is_right
    assert not kind.accepts(value)
