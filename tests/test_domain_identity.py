"""The OIDs of an affinity domain: configured, generated, and remembered."""

from __future__ import annotations

from pathlib import Path

from xds import config
from xds.app import build, existing_imaging_source
from xds.model.domain_identity import DomainIdentity

CONFIGURED = {
    "domain.assigning_authority": "2.999.1",
    "domain.home_community_id": "2.999.2",
    "domain.repository_unique_id": "2.999.3",
    "domain.imaging_source_unique_id": "2.999.4",
}


def identity_of(data: Path, **changes: str) -> DomainIdentity:
    """The identity that a server with these settings has."""
    app = build(config.load(None, {"server.data": data, **changes}), "http://127.0.0.1")
    try:
        return app.domain.identity
    finally:
        app.close()


def test_a_start_without_the_configuration_is_of_the_domain_of_before(tmp_path: Path) -> None:
    configured = identity_of(tmp_path, **CONFIGURED)
    assert configured.assigning_authority == "2.999.1"
    assert identity_of(tmp_path) == configured


def test_what_is_configured_later_is_in_force(tmp_path: Path) -> None:
    generated = identity_of(tmp_path)
    assert generated == identity_of(tmp_path)
    configured = identity_of(tmp_path, **CONFIGURED)
    assert configured != generated
    assert identity_of(tmp_path) == configured


def test_a_command_without_the_configuration_is_of_the_same_domain(tmp_path: Path) -> None:
    identity_of(tmp_path, **CONFIGURED)
    with existing_imaging_source(config.load(None, {"server.data": tmp_path})):
        pass
    assert identity_of(tmp_path).assigning_authority == "2.999.1"
