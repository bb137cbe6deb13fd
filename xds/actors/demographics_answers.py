"""What is answered of a person: her golden record, and those of her identifiers that the asker wants and may have.

Spec: ITI TF-2 3.21.4.2.2.3 (PID-3 and the domains asked for), 3.47.4.2.2; French referential of the INS (what leaves the house).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from xds.actors.pix_domains import Domains
from xds.model.demographics_query import PatientMatch
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Demographics, IdentityProblem, IdentityProblemKind, PersonName, StatedDemographics
from xds.rules import linkage
from xds.rules.demographics_match import Sought
from xds.rules.golden_record import GoldenRecord, golden_record
from xds.rules.linkage import NationalStatus
from xds.store.database import Connection
from xds.store.demographics import KnownPerson
from xds.store.patients import Identity, Patients

#: States of identifiers that a source said nothing about, or is sure of; None are those that no state issued.
SURE: Final = frozenset({None, *(status.name.lower() for status in (NationalStatus.STATED, NationalStatus.QUALIFIED))})

#: Names of domains by their keys.
Names = Mapping[int, AssigningAuthority]


class Answers:
    """Makes matches of persons. One object serves all threads."""

    def __init__(self, domains: Domains, source_order: Sequence[str] = ()) -> None:
        """`source_order`: whose word counts among equals."""
        self._source_order = source_order
        self._domains = domains
        self._table = domains.table

    def names(self, connection: Connection, persons: Iterable[KnownPerson]) -> Names:
        """The full names of the domains in which these persons have identifiers."""
        keys = {item.domain_key for known in persons for item in known.identities}
        return self._domains.names(Patients(connection), keys)

    def sought(self, known: KnownPerson, names: Names, mothers: Sequence[PersonName] = ()) -> Sought:
        """What a query looks at in a person. `mothers` are names of hers that are known of the mother's own record."""
        # A number of which its source is not sure leads to nobody.
        identifiers = tuple(_identifier(item, names) for item in known.identities if item.national_state in SURE)
        stated = tuple(self._completed(item.demographics) for item in known.stated)
        return Sought(known.key, stated, identifiers, known.visit, updated=_updated(known), mothers=tuple(mothers))

    def match(
        self, known: KnownPerson, names: Names, domains: Sequence[AssigningAuthority] = (), score: int | None = None
    ) -> PatientMatch:
        """A person as she is answered; of her identifiers only those of `domains`, unless that is empty."""
        in_use = sorted((item for item in known.identities if item.is_told), key=_by_domain)
        identifiers = tuple(dict.fromkeys(_identifier(item, names) for item in in_use))
        wanted = tuple(dict.fromkeys(self._table.complete(item) for item in domains))
        if wanted:
            identifiers = tuple(item for item in identifiers if any(is_same(item.authority, one) for one in wanted))
        missing = tuple(one for one in wanted if not any(is_same(item.authority, one) for item in identifiers))
        return PatientMatch(
            known.key,
            identifiers,
            self.golden(known).demographics,
            score,
            missing,
            known.visit,
            updated=_updated(known),
        )

    def golden(self, known: KnownPerson) -> GoldenRecord:
        """What is told of a person, and which source each attribute came from."""
        found = golden_record((_told(item) for item in known.stated), self._source_order)
        return replace(found, demographics=self._completed(found.demographics))

    def _completed(self, stated: Demographics) -> Demographics:
        """Demographics whose numbers name their authorities in full."""
        if not (stated.account_number or stated.mother_identifiers):
            return stated
        account = stated.account_number
        return replace(
            stated,
            account_number=replace(account, authority=self._table.complete(account.authority)) if account else None,
            mother_identifiers=tuple(
                replace(item, authority=self._table.complete(item.authority)) for item in stated.mother_identifiers
            ),
        )

    def unknown_domains(self, connection: Connection, domains: Sequence[AssigningAuthority]) -> Iterator[IdentityProblem]:
        """A problem for each of the domains asked for that is not known. Spec: ITI TF-2 3.21.4.2.2.8, case 3."""
        patients = Patients(connection)
        for number, authority in enumerate(domains, 1):
            if not self._domains.is_known(patients, authority):
                text = "the domain is not known here"
                yield IdentityProblem(IdentityProblemKind.UNKNOWN_DOMAIN, "domains", text, number, 4)

    def domain_key(self, connection: Connection, authority: AssigningAuthority) -> int | None:
        """The key of a domain; None when no feed ever used it."""
        return self._domains.key_of(Patients(connection), authority)


def _updated(known: KnownPerson) -> int:
    """When a source last said something new of a person, in milliseconds since 1970."""
    return max((item.updated for item in known.stated), default=0)


def is_same(one: AssigningAuthority, other: AssigningAuthority) -> bool:
    """True when two completed names mean one authority."""
    return one.oid == other.oid if one.oid and other.oid else one.namespace is not None and one.namespace == other.namespace


def _told(item: StatedDemographics) -> StatedDemographics:
    """A statement without the identifiers of a state of which its source is not sure, and without those of the mother."""
    stated = item.demographics
    if not (stated.national_identifiers or stated.mother_identifiers):
        return item
    told = tuple(one for one in stated.national_identifiers if _is_sure(replace(stated, national_identifiers=(one,))))
    mothers = tuple(one for one in stated.mother_identifiers if not linkage.is_national(one))
    return replace(item, demographics=replace(stated, national_identifiers=told, mother_identifiers=mothers))


def _is_sure(stated: Demographics) -> bool:
    return any(item.is_told for item in linkage.nationals_of(stated))


def _by_domain(item: Identity) -> tuple[int, int, str]:
    return (item.domain_key, item.created, item.value)


def _identifier(item: Identity, names: Names) -> PatientIdentifier:
    return PatientIdentifier(item.value, names[item.domain_key], item.type_code)
