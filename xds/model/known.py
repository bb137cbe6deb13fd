"""What a Registry already knows of the ids, unique ids and patients that one submission mentions.

The store gathers it in a few reads; the rules decide on it without touching a database.

Spec: ITI TF-2 3.42.4.1.3, 3.57.4.1.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xds.model.fragments import ObjectKind
from xds.model.metadata import DocumentEntry
from xds.model.vocabulary import AvailabilityStatus


@dataclass(frozen=True, slots=True)
class KnownPatient:
    """A patient of the affinity domain. `surviving_key` is set when a merge has subsumed this identifier."""

    patient_key: int
    surviving_key: int | None = None

    @property
    def merged(self) -> bool:
        """True when the identifier was subsumed and must not be used any more."""
        return self.surviving_key is not None

    @property
    def effective_key(self) -> int:
        """The patient that this identifier means today."""
        return self.patient_key if self.surviving_key is None else self.surviving_key


@dataclass(frozen=True, slots=True)
class KnownObject:
    """One object in the Registry, reduced to what a new submission is checked against.

    `patient_key` is the patient after merges were followed; None for an association. `hash` and `size` are as registered.
    `superseded` tells that a newer version took this one's place.
    """

    kind: ObjectKind
    id: str
    status: AvailabilityStatus
    patient_key: int | None = None
    unique_id: str | None = None
    object_type: str | None = None
    hash: str | None = None
    size: str | None = None
    logical_id: str | None = None
    version: int = 1
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class KnownAssociation:
    """An association in the Registry with both its ends."""

    id: str
    type: str
    status: AvailabilityStatus
    source: KnownObject
    target: KnownObject


@dataclass(frozen=True, slots=True)
class KnownObjects:
    """Everything a Registry knows of what one submission mentions.

    `patients` is keyed by `PatientIdentifier.key`, `objects` by entryUUID (ids of the submission itself, and ends of its
    associations), `by_unique_id` by the uniqueIds of the submission. `transformations` are those targets of APND that transform
    another DocumentEntry (XFRM).
    """

    patients: Mapping[tuple[str, str], KnownPatient] = field(default_factory=dict)
    objects: Mapping[str, KnownObject] = field(default_factory=dict)
    by_unique_id: Mapping[str, tuple[KnownObject, ...]] = field(default_factory=dict)
    transformations: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class UpdateSurroundings:
    """Everything a Registry knows of what one metadata update mentions.

    `newest` is keyed by logicalID and covers every object that is updated or whose status changes; `associations` are those that
    the request names, by entryUUID; `links` are the Approved associations of the versions that are to be superseded; `pairs` are
    the (source, target) of the Approved associations at the ends of those that are submitted. `contents` are the registered
    versions of DocumentEntries in full, by entryUUID, where a restricted update compares them.
    """

    known: KnownObjects = field(default_factory=KnownObjects)
    newest: Mapping[str, KnownObject] = field(default_factory=dict)
    associations: Mapping[str, KnownAssociation] = field(default_factory=dict)
    links: tuple[KnownAssociation, ...] = ()
    pairs: frozenset[tuple[str, str]] = frozenset()
    contents: Mapping[str, DocumentEntry] = field(default_factory=dict)
