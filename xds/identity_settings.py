"""From the settings of patient identities to the actors that keep them. Part of the composition root."""

from __future__ import annotations

from datetime import UTC, datetime

from xds.actors.patient_demographics_supplier import PatientDemographicsSupplier
from xds.actors.pix_manager import PixManager
from xds.actors.pix_notifications import Courier
from xds.model.domain_identity import DomainIdentity
from xds.model.identifiers import AssigningAuthority, is_oid
from xds.model.patient import IdentityDomain, IdentitySubscriber, IdentityUpdate
from xds.ports import Clock
from xds.rules.access import AllowAll
from xds.settings import Settings
from xds.store.database import Database
from xds.transactions import iti10_pix_update_notification as iti10
from xds.transactions import iti46_pix_v3_update_notification as iti46


def identity_domains(settings: Settings) -> tuple[IdentityDomain, ...]:
    """The patient identification domains that are listed."""
    return tuple(
        IdentityDomain(AssigningAuthority(each.name, each.oid), each.sources, each.uri or None)
        for each in settings.identity.domains
    )


def pix_manager(settings: Settings, database: Database, identity: DomainIdentity, clock: Clock) -> PixManager:
    """Who links patients."""
    return PixManager(
        database,
        identity,
        AllowAll(),
        clock,
        domains=identity_domains(settings),
        unknown_domains=settings.identity.unknown_domains,
        subscribers=_subscribers(settings),
    )


def demographics_supplier(
    settings: Settings, database: Database, identity: DomainIdentity, pix: PixManager, clock: Clock
) -> PatientDemographicsSupplier:
    """Who answers demographics queries, from what `pix` keeps."""
    return PatientDemographicsSupplier(
        database,
        identity,
        AllowAll(),
        clock,
        domains=identity_domains(settings),
        known_domains=pix.known_domains,
        minimum_criteria=settings.identity.minimum_criteria,
        page_size=settings.identity.page_size,
        max_results=settings.identity.max_results,
        queries_per_minute=settings.identity.queries_per_minute,
    )


def courier(
    settings: Settings, database: Database, identity: DomainIdentity, clock: Clock, supplier: PatientDemographicsSupplier
) -> Courier:
    """Who tells PIX Consumers of changed identifiers, and in HL7 v3 the names that `supplier` knows."""
    namespace = identity.assigning_authority_namespace

    def occurred(update: IdentityUpdate) -> datetime:
        return datetime.fromtimestamp(update.occurred / 1000, UTC)

    def in_v2(subscriber: IdentitySubscriber, update: IdentityUpdate) -> bool:
        answer = iti10.send(
            update.identifiers,
            subscriber.endpoint,
            source=f"{namespace}|{namespace}",
            destination=subscriber.name,
            message_id=update.message_id,
            occurred=occurred(update),
        )
        return _is_taken(answer.code, answer.is_accepted)

    def in_v3(subscriber: IdentitySubscriber, update: IdentityUpdate) -> bool:
        answer = iti46.send(
            update.identifiers,
            subscriber.endpoint,
            source=f"{identity.home_community_id}|{identity.assigning_authority}",
            destination=subscriber.name,
            names=next((names for item in update.identifiers if (names := supplier.names_of(item))), ()),
            message_id=update.message_id,
            now=occurred(update),
        )
        return _is_taken(answer.code, answer.is_accepted)

    return Courier(database, _subscribers(settings), {"v2": in_v2, "v3": in_v3}, clock)


def _subscribers(settings: Settings) -> tuple[IdentitySubscriber, ...]:
    return tuple(
        IdentitySubscriber(
            each.name,
            each.endpoint,
            each.wire,
            tuple(AssigningAuthority(None, item) if is_oid(item) else AssigningAuthority(item) for item in each.domains),
        )
        for each in settings.identity.subscribers
    )


def _is_taken(code: str, is_accepted: bool) -> bool:
    """False for an error that the same message would meet again. Errors: ConnectionError for a reject: it may pass later."""
    if not is_accepted and code not in ("AE", "CE"):
        raise ConnectionError("the subscriber does not take notifications now")
    return is_accepted
