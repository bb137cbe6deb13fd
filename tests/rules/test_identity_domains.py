"""Identification domains: completing authorities, contradictions, who may issue."""

from __future__ import annotations

import pytest

from xds.model.identifiers import AssigningAuthority
from xds.model.patient import IdentityDomain
from xds.rules.identity_domains import DomainTable


class TestDomains:
    TABLE = DomainTable(
        [
            IdentityDomain(AssigningAuthority("A", "1.1"), ("HA|ADT", "HA|RIS")),
            IdentityDomain(AssigningAuthority("B", "1.2")),
            IdentityDomain(AssigningAuthority("C", "1.3"), ("HA|RIS",)),
        ],
        AssigningAuthority("AFF", "1.9"),
    )

    @pytest.mark.parametrize(
        ("given", "completed"),
        [
            (AssigningAuthority("A"), AssigningAuthority("A", "1.1")),
            (AssigningAuthority(None, "1.1"), AssigningAuthority("A", "1.1")),
            (AssigningAuthority("Hospital A", "1.1"), AssigningAuthority("A", "1.1")),
            (AssigningAuthority("AFF"), AssigningAuthority("AFF", "1.9")),
            (AssigningAuthority("Z"), AssigningAuthority("Z")),
            (AssigningAuthority("A", "7.7"), AssigningAuthority("A", "7.7")),
        ],
    )
    def test_completion(self, given: AssigningAuthority, completed: AssigningAuthority) -> None:
        assert self.TABLE.complete(given) == completed

    def test_contradictions(self) -> None:
        assert self.TABLE.is_contradictory(AssigningAuthority("A", "1.2"))
        assert self.TABLE.is_contradictory(AssigningAuthority("A", "7.7"))
        assert not self.TABLE.is_contradictory(AssigningAuthority("new", "1.2"))

    def test_issuers(self) -> None:
        assert self.TABLE.may_issue(AssigningAuthority("A"), "HA|ADT")
        assert not self.TABLE.may_issue(AssigningAuthority("A"), "HB|ADT")
        assert self.TABLE.may_issue(AssigningAuthority("B"), "HB|ADT")
        assert self.TABLE.may_issue(AssigningAuthority("unlisted"), "HB|ADT")

    def test_the_authority_of_a_source(self) -> None:
        assert self.TABLE.of_source("HA|ADT") == AssigningAuthority("A", "1.1")
        assert self.TABLE.of_source("HA|RIS") is None
        assert self.TABLE.of_source("HB|ADT") is None
