"""What a feed leaves in the audit trail."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from xds.actors import pix_audit
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.metadata import Code
from xds.model.patient import PATIENT_ENCOUNTER_MANAGEMENT, PATIENT_IDENTITY_FEED, FeedKind, IdentityFeed
from xds.store import audit

IDENTITY = DomainIdentity("1.2.3", "XDS", "urn:oid:1.2.4", "1.2.5", "1.2.6", "XDS", "https://xds.example")
ONE, OTHER = (PatientIdentifier(value, AssigningAuthority("H", "1.2.9"), "PI") for value in ('4|7"1\\1', "Ü12"))
NOW = datetime(2026, 3, 1, 8, 0, 0, 123_000, UTC)


@pytest.mark.parametrize("event_type", [PATIENT_IDENTITY_FEED, PATIENT_ENCOUNTER_MANAGEMENT])
@pytest.mark.parametrize("identifiers", [(ONE,), (ONE, OTHER), ()])
@pytest.mark.parametrize("kind", list(FeedKind))
def test_the_events_of_an_accepted_feed_are_stored_as_any_other(
    kind: FeedKind, identifiers: tuple[PatientIdentifier, ...], event_type: Code
) -> None:
    feed = IdentityFeed(
        kind, "H|ADT", 'M"1', identifiers, subsumed=(OTHER,), destination="X|Y", linked=(OTHER,), event_type=event_type
    )
    for address in ("10.0.0.1", "10.0.0.2"):
        caller = Caller(address=address)
        stored = pix_audit.accepted_events(feed, caller, IDENTITY, NOW)
        assert list(stored) == [audit.write(item) for item in pix_audit.feed_events(feed, caller, IDENTITY, NOW)]
