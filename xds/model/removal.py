"""What a request to remove metadata meets in the Registry. Spec: ITI TF-2 3.62.4.1.3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xds.model.fragments import ObjectKind


@dataclass(frozen=True, slots=True)
class Reference:
    """One Association, reduced to what it refers to. All three are entryUUIDs."""

    id: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class RemovalSurroundings:
    """The objects that a request names, as far as they exist, and every Association that decides about them.

    `references` are all Associations with an end among the named objects, or among the ends of named Associations.
    `kinds` tells of each named object and of each of those ends what it is, by entryUUID; `named` are the former.
    """

    named: frozenset[str]
    kinds: Mapping[str, ObjectKind]
    references: tuple[Reference, ...]
