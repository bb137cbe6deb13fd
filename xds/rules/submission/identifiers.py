"""Replacing the symbolic ids of a submission by UUIDs.

Spec: ITI TF-3 4.2.3.1.5; ITI TF-2 3.42.4.1.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from xds.model.metadata import Association, Classification, ExternalIdentifier, RegistryObject, Submission

_Object = TypeVar("_Object", bound=RegistryObject)


def assign_identifiers(submission: Submission, new_uuid: Callable[[], str], *, parts: bool = True) -> Submission:
    """The submission with a UUID wherever a symbolic id stood: in objects, what is inside them, and what refers to them.

    Each distinct symbolic id of an object becomes one UUID; ids that are `urn:uuid:` already stay. Classifications and external
    identifiers, which nothing refers to, get a UUID each, even when a sender has used one symbolic id for several. An object
    whose logical id is absent or symbolic is a first version: it gets its own id as logical id, and the number 1 in any case.

    Without `parts` what is inside the objects stays as it came, for who writes it with new ids (`xds.wire.ebrim.write_object`).
    """
    return _Assignment(new_uuid, parts).of(submission)


class _Assignment:
    """One symbol table."""

    def __init__(self, new_uuid: Callable[[], str], parts: bool) -> None:
        self._new_uuid = new_uuid
        self._parts = parts
        self._assigned: dict[str, str] = {}

    def of(self, submission: Submission) -> Submission:
        return Submission(
            tuple(self._object(item) for item in submission.submission_sets),
            tuple([self._object(item, item.mime_type) for item in submission.document_entries]),
            tuple(self._object(item) for item in submission.folders),
            tuple(self._association(item) for item in submission.associations),
            tuple(self._object(item) for item in submission.unlabelled),
        )

    def _id(self, identifier: str) -> str:
        if identifier.startswith("urn:uuid:"):
            return identifier
        assigned = self._assigned.get(identifier)
        if assigned is None:
            assigned = self._assigned[identifier] = self._new_uuid()
        return assigned

    def _part_id(self, identifier: str) -> str:
        return identifier if identifier.startswith("urn:uuid:") else self._new_uuid()

    def _object(self, item: _Object, *more: Any) -> _Object:
        """The object; `more` are the fields that its kind has beyond those of every object."""
        identifier = self._id(item.id)
        logical_id = item.lid if item.lid and item.lid.startswith("urn:uuid:") else identifier
        classifications, external_identifiers = item.classifications, item.external_identifiers
        if self._parts:
            classifications = tuple([self._classification(part) for part in classifications])
            external_identifiers = tuple([self._identifier(part) for part in external_identifiers])
        return type(item)(
            identifier,
            item.object_type,
            logical_id,
            item.home,
            item.status,
            1 if logical_id == identifier else item.version,
            item.slots,
            item.name,
            item.description,
            classifications,
            external_identifiers,
            *more,
        )

    def _association(self, item: Association) -> Association:
        return self._object(item, item.association_type, self._id(item.source), self._id(item.target))

    def _classification(self, item: Classification) -> Classification:
        return Classification(
            self._part_id(item.id),
            self._id(item.classified_object),
            item.scheme,
            item.node,
            item.node_representation,
            item.slots,
            item.name,
            item.description,
        )

    def _identifier(self, item: ExternalIdentifier) -> ExternalIdentifier:
        return ExternalIdentifier(self._part_id(item.id), self._id(item.registry_object), item.scheme, item.value, item.name)
