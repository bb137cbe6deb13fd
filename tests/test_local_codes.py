"""`registry.codes` and `registry.check_codes`: what a composed affinity domain does with codes that it does not know.

Spec: ITI TF-2 3.42.4.1.3; ITI TF-3 4.2.3.1.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.builders import document_entry, submission
from tests.builders import submission_set as a_submission_set
from xds import config
from xds.app import App, build
from xds.model.caller import SYSTEM
from xds.model.codes import AffinityDomainCodes
from xds.model.errors import RegistryResponse, Severity
from xds.model.metadata import Code, Submission
from xds.model.vocabulary import ON_DEMAND, DocumentEntryScheme, SubmissionSetScheme
from xds.wire.codes import read_codes


@pytest.fixture(scope="module")
def codes_file(shared: Path) -> Path:
    """The codes of the Connectathon."""
    return shared / "vectors" / "nist-testkit" / "affinity-domain" / "codes.xml"


@contextmanager
def domain(data: Path, codes: Path, strictness: str) -> Iterator[App]:
    settings = config.load(
        overrides={
            "server.data": data,
            "registry.codes": str(codes),
            "registry.check_codes": strictness,
            "registry.require_known_patient": False,
        }
    )
    app = build(settings, "http://127.0.0.1:1")
    yield app
    app.close()


def known(codes: Path, **other: object) -> Submission:
    """A submission with codes of that file."""
    values = read_codes(codes.read_bytes())

    def first(scheme: str, sets: AffinityDomainCodes = values) -> Code:
        code, coding_scheme = sorted(sets.value_sets[scheme].codes)[0]
        return Code(code, coding_scheme, code)

    scheme = DocumentEntryScheme
    attributes = {
        "class_code": first(scheme.CLASS_CODE),
        "type_code": first(scheme.TYPE_CODE),
        "format_code": first(scheme.FORMAT_CODE),
        "practice_setting_code": first(scheme.PRACTICE_SETTING_CODE),
        "healthcare_facility_type_code": first(scheme.HEALTHCARE_FACILITY_TYPE_CODE),
        "confidentiality_codes": (first(scheme.CONFIDENTIALITY_CODE),),
        "event_codes": (first(scheme.EVENT_CODE),),
    }
    package = a_submission_set(content_type_code=first(SubmissionSetScheme.CONTENT_TYPE_CODE))
    return submission([document_entry(**(attributes | other))], submission_set=package)


def register(app: App, message: Submission, *, on_demand: bool = False) -> RegistryResponse:
    return app.domain.document_registry.register(message, SYSTEM, on_demand=on_demand)


def test_strict(tmp_path: Path, codes_file: Path) -> None:
    unknown = {"class_code": Code("goofy", "1.2.3", "Goofy"), "mime_type": "image/x-unheard"}
    absent = dict.fromkeys(("creation_time", "hash", "size"))
    with domain(tmp_path, codes_file, "strict") as app:
        assert register(app, known(codes_file)) == RegistryResponse(register(app, known(codes_file)).status)
        refused = register(app, known(codes_file, **unknown, source_patient_id="nobody"))
        on_demand = register(app, known(codes_file, **unknown, **absent, object_type=ON_DEMAND), on_demand=True)
    assert not refused.succeeded
    named = [error.context for error in refused.errors]
    assert [any(word in context for context in named) for word in ("goofy^^1.2.3", "image/x-unheard", "sourcePatientId")] == [
        True
    ] * 3
    assert {error.code.value for error in on_demand.errors} == {"XDSRegistryMetadataError"}
    assert len(on_demand.errors) == 2


def test_warn(tmp_path: Path, codes_file: Path) -> None:
    with domain(tmp_path, codes_file, "warn") as app:
        response = register(app, known(codes_file, class_code=Code("goofy", "1.2.3", "Goofy")))
    assert response.succeeded
    assert [(error.code.value, error.severity) for error in response.errors] == [("XDSRegistryMetadataError", Severity.WARNING)]


def test_off(tmp_path: Path, codes_file: Path) -> None:
    with domain(tmp_path, codes_file, "off") as app:
        assert register(app, submission(1)).errors == ()


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    wrong = tmp_path / "codes.xml"
    wrong.write_text("<Code/>")
    for path, reason in ((wrong, "the root element must be Codes"), (tmp_path / "absent.xml", "No such file")):
        with (
            pytest.raises(config.ConfigError, match=rf"registry\.codes: .*{path.name} cannot be used: .*{reason}"),
            domain(tmp_path / "data", path, "strict"),
        ):
            pass


def test_codes_are_needed_to_check_them() -> None:
    with pytest.raises(config.ConfigError, match=r"set registry\.codes"):
        config.load(overrides={"registry.check_codes": "warn"})
