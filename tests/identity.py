"""A PIX Manager on a database of its own, and feeds to give it: shared by the tests of patient identity."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.databases import fresh_database
from xds.actors.domain import Domain
from xds.actors.patient_demographics_supplier import PatientDemographicsSupplier
from xds.actors.pix_manager import PixManager
from xds.model.audit import AuditEvent
from xds.model.caller import Action, Caller, Resource
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Address, Demographics, FeedKind, IdentityDomain, IdentityFeed, PersonName
from xds.rules.access import AllowAll
from xds.store import affinity_patients, audit
from xds.store.affinity_patients import AffinityPatient

AFFINITY = AssigningAuthority("AFFINITY", "1.3.6.1.4.1.21367.13.20.1000")
HOSPITAL_A = AssigningAuthority("HOSP_A", "1.2.250.1.71.1")
HOSPITAL_B = AssigningAuthority("HOSP_B", "1.2.250.1.71.2")
HOSPITAL_C = AssigningAuthority("HOSP_C", "1.2.250.1.71.3")
INS = AssigningAuthority("INS", "1.2.250.1.213.1.4.10")
CALLER = Caller(address="127.0.0.1", node="HOSP_A|ADT")

IDENTITY = DomainIdentity(
    assigning_authority=AFFINITY.oid or "",
    assigning_authority_namespace=AFFINITY.namespace or "",
    home_community_id="1.3.6.1.4.1.21367.13.70.1",
    repository_unique_id="1.3.6.1.4.1.21367.13.70.2",
    imaging_source_unique_id="1.3.6.1.4.1.21367.13.70.3",
    ae_title="XDS",
    public_url="http://xds.example:8080",
)

MARIE = Demographics(
    names=(PersonName("Lefèvre", "Marie-Hélène", use="L"),),
    birth_date="19620314",
    sex="F",
    addresses=(Address(street="4 rue des Lilas", city="Orléans", postal_code="45000"),),
)


class Refusing:
    """An access rule that lets nobody see anything."""

    def permits(self, caller: Caller, action: Action, resources: Sequence[Resource]) -> Sequence[bool]:
        """No."""
        return [False for _ in resources]


class Region:
    """A PIX Manager with its database; every reading of its clock is a second later."""

    def __init__(
        self, directory: Path, *, access: object = None, supplier: dict[str, object] | None = None, **options: object
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.database = fresh_database(directory)
        ticks = itertools.count()
        start = datetime(2026, 1, 15, 10, tzinfo=UTC)

        def clock() -> datetime:
            return start + timedelta(seconds=next(ticks))

        self.clock = clock
        rule = access or AllowAll()
        self.pix = PixManager(self.database, IDENTITY, rule, clock, **options)
        self.supplier = PatientDemographicsSupplier(
            self.database,
            IDENTITY,
            rule,
            clock,
            domains=options.get("domains", ()),
            known_domains=self.pix.known_domains,
            **(supplier or {}),
        )
        self.domain = Domain(IDENTITY, None, None, None, self.pix, self.supplier)
        self._messages = itertools.count(1)

    def feed(
        self,
        *identifiers: PatientIdentifier,
        kind: FeedKind = FeedKind.ADD,
        demographics: Demographics = MARIE,
        source: str = "HOSP_A|ADT",
        message_id: str | None = None,
        **more: object,
    ) -> tuple:
        """Feed one message; the problems it met."""
        message = message_id or f"M{next(self._messages)}"
        return self.pix.feed(IdentityFeed(kind, source, message, identifiers, demographics, **more), CALLER)

    def merge(self, prior: PatientIdentifier, surviving: PatientIdentifier, demographics: Demographics = MARIE) -> tuple:
        """Feed a merge."""
        return self.feed(surviving, kind=FeedKind.MERGE, demographics=demographics, subsumed=(prior,))

    def others(self, identifier: PatientIdentifier, *domains: AssigningAuthority) -> list[str]:
        """The values that a cross-reference answers, without problems."""
        answer = self.pix.cross_reference(identifier, domains, CALLER)
        assert answer.problems == ()
        return [item.value for item in answer.identifiers]

    def affinity(self, identifier: PatientIdentifier) -> PatientIdentifier:
        """The affinity identifier, which there must be."""
        found = self.pix.affinity_identifier(identifier)
        assert found is not None
        return found

    def registered(self, identifier: PatientIdentifier) -> AffinityPatient | None:
        """What the registry's own list holds."""
        with self.database.read() as connection:
            return affinity_patients.find(connection, identifier)

    def audited(self) -> list[AuditEvent]:
        """The audit trail, oldest first."""
        self.database.flush()
        with self.database.read() as connection:
            return [event for _, event in reversed(audit.find(connection))]

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def at(authority: AssigningAuthority, value: str, type_code: str | None = None) -> PatientIdentifier:
    """An identifier."""
    return PatientIdentifier(value, authority, type_code)


CONFIGURED = (IdentityDomain(HOSPITAL_A, ("HOSP_A|ADT",)), IdentityDomain(HOSPITAL_B, ("HOSP_B|ADT",)), IdentityDomain(INS))
