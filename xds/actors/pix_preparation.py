"""What can be known of a feed before its transaction begins: traits, keys, texts and digests.

One writer applies all feeds: whatever does not need the database is done before, in the thread of the connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any, Final

from xds.actors.pix_linking import Placement
from xds.model.demographics_index import IndexEntries
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.patient import Demographics, FeedKind, IdentityFeed
from xds.rules import demographics_index, linkage
from xds.rules.linkage import Traits
from xds.store.patients import write_demographics
from xds.store.patients_terms import term_of

NOBODY: Final = Demographics()
_FIELDS: Final = tuple((item.name, getattr(NOBODY, item.name)) for item in fields(Demographics))


@dataclass(frozen=True, slots=True)
class PreparedDemographics:
    """Demographics in every form in which they are stored. `terms` are those that are counted.

    `kinds` are the keys under which the record is found, each with its kind; `keys` the same with what is seen of it there at a
    glimpse.
    """

    demographics: Demographics
    text: str
    search: str
    traits: Traits
    packed: bytes
    kinds: Mapping[int, str]
    keys: Mapping[int, bytes | None]
    entries: IndexEntries
    terms: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a snapshot says of a feed. `since` is the last change that is in it, `bearers` what it has of each identifier.

    `placement` was decided about the patient; `after` is what the source of a known one will state.
    """

    since: int
    bearers: Mapping[tuple[int, str], Sequence[tuple[Any, ...]]]
    placement: Placement | None = None
    after: PreparedDemographics | None = None


@dataclass(frozen=True, slots=True)
class PreparedFeed:
    """A feed whose authorities are complete and allowed. `stated` is what its source states if it never stated anything."""

    feed: IdentityFeed
    stated: PreparedDemographics
    digest: bytes
    domain_keys: Mapping[AssigningAuthority, int]
    foreseen: Foreseen | None = None


def terms_of(traits: Traits) -> tuple[int, ...]:
    """The keys of the names that are counted of one record."""
    return tuple(term_of(kind, value) for kind, value in linkage.frequency_values(traits))


def revised(known: Demographics, feed: IdentityFeed) -> Demographics:
    """What a source states after a feed: absent fields stay, deleted ones go, national identifiers change by authority."""
    given = feed.demographics
    own = [item for item in feed.identifiers if linkage.is_national(item)]
    if known is NOBODY and not own:
        return given
    values = {}
    for name, empty in _FIELDS:
        new = getattr(given, name)
        values[name] = new if new != empty else (empty if name in feed.deleted else getattr(known, name))
    if given.mother_maiden_name and given.mother_maiden_name != known.mother_maiden_name:
        # The given name of another one is not hers.
        values["mother_given_name"] = given.mother_given_name
    stated = (*given.national_identifiers, *own)
    kept = () if "national_identifiers" in feed.deleted else known.national_identifiers
    authorities = {item.authority for item in stated}
    values["national_identifiers"] = tuple(
        dict.fromkeys((*stated, *(item for item in kept if item.authority not in authorities)))
    )
    return Demographics(**values)


def prepare_demographics(demographics: Demographics) -> PreparedDemographics:
    """Everything that follows from demographics alone."""
    traits = linkage.traits(demographics)
    packed = traits.pack()
    kinds = linkage.blocking_keys(traits)
    return PreparedDemographics(
        demographics,
        write_demographics(demographics),
        linkage.search_text(demographics),
        traits,
        packed,
        kinds,
        _with_glimpse(kinds, (traits,)),
        demographics_index.entries((demographics,)),
        terms_of(traits),
    )


def keys_of(statements: Mapping[bytes, Traits]) -> dict[int, bytes | None]:
    """The keys of a record of which this is stated (traits by their packed form), each with what is seen of it there."""
    kinds: dict[int, str] = {}
    for traits in statements.values():
        kinds |= linkage.blocking_keys(traits)
    return _with_glimpse(kinds, [statements[packed] for packed in sorted(statements)])


def _with_glimpse(kinds: Mapping[int, str], records: Iterable[Traits]) -> dict[int, bytes | None]:
    glimpse = linkage.glimpse_of(records)
    return {key: glimpse if linkage.is_crowded(kind) else None for key, kind in kinds.items()}


def restated(known: Demographics, prepared: PreparedFeed) -> PreparedDemographics:
    """What a source states after a feed, of whom this is what it stated before."""
    stated = revised(known, prepared.feed)
    return prepared.stated if stated == prepared.stated.demographics else prepare_demographics(stated)


def prepare(feed: IdentityFeed, domain_keys: Mapping[AssigningAuthority, int]) -> PreparedFeed:
    """Prepare a feed. `domain_keys` are those that are known of its authorities."""
    # What is said of the survivor is said of the identifiers that survive, and of no other in the list.
    stated = prepare_demographics(revised(NOBODY, feed))
    return PreparedFeed(feed, stated, _digest(feed, stated.text), domain_keys)


def _written(identifiers: Iterable[PatientIdentifier]) -> str:
    return "~".join(f"{item.value}^{item.authority.namespace}&{item.authority.oid}^{item.type_code}" for item in identifiers)


def _digest(feed: IdentityFeed, text: str) -> bytes:
    parts: Sequence[str] = (
        feed.kind,
        feed.source,
        feed.message_id,
        _written(feed.identifiers),
        _written(feed.subsumed),
        _written(feed.linked),
        feed.account_number or "",
        ",".join(feed.deleted),
        repr(feed.visit) if feed.visit else "",
        text,
    )
    return blake2b("\x1e".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def own_identifiers(prepared: PreparedFeed) -> Iterator[tuple[int, str]]:
    """The identifiers that a patient's source issued, as (domain, value): those by which she is looked for first of all."""
    for item in prepared.feed.identifiers:
        key = prepared.domain_keys.get(item.authority)
        if key is not None and not linkage.is_national(item):
            yield key, item.value


def is_upsert(feed: IdentityFeed) -> bool:
    """True for a feed that does nothing but describe one patient."""
    return feed.kind in (FeedKind.ADD, FeedKind.REVISE)
