"""What the registry knows of the objects that a metadata update mentions. Spec: ITI TF-2 3.57.4.1.3."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from xds.model.fragments import Fragment, ObjectKind
from xds.model.identifiers import is_uuid_urn
from xds.model.known import KnownAssociation, KnownObject, UpdateSurroundings
from xds.model.metadata import Submission
from xds.model.vocabulary import AvailabilityStatus
from xds.store.registry import known
from xds.store.registry.codes import CodeTable
from xds.store.registry.finding import Finder
from xds.store.registry.known import Located
from xds.store.registry.objects import StoredObject

_VERSIONED = (ObjectKind.DOCUMENT_ENTRY, ObjectKind.FOLDER)

#: Which of some objects are to be known at all.
Visible = Callable[[list[StoredObject]], list[StoredObject]]


@dataclass(frozen=True, slots=True)
class UpdateMeeting:
    """What a request meets: `surroundings` for the rules, and for storing where everything stands.

    `located` is by entryUUID, and so are the `fragments` of the newest versions and of the associations that may follow them.
    """

    surroundings: UpdateSurroundings
    located: Mapping[str, Located]
    fragments: Mapping[str, Fragment]


def meet(
    connection: Connection, codes: CodeTable, submission: Submission, visible: Visible, *, assume_patients: bool
) -> UpdateMeeting:
    """Everything that decides whether an update may happen. What `visible` leaves out counts as absent.

    `assume_patients`: patients that are not known count as known.
    """
    return _Gathering(connection, codes, visible).of(submission, assume_patients)


class _Gathering:
    """The reads of one request."""

    def __init__(self, connection: Connection, codes: CodeTable, visible: Visible) -> None:
        self._connection = connection
        self._finder = Finder(connection, codes, as_refs=False)
        self._visible = visible
        self._located: dict[str, Located] = {}
        self._fragments: dict[str, Fragment] = {}

    def of(self, submission: Submission, assume_patients: bool) -> UpdateMeeting:
        met = known.meet(self._connection, submission, assume_patients=assume_patients)
        objects = self._shown(met.known.objects)
        self._located.update((item, met.located[item]) for item in objects)
        submitted = {obj.lid for obj in (*submission.document_entries, *submission.folders) if obj.lid and is_uuid_urn(obj.lid)}
        named = {item.logical_id for item in objects.values() if item.kind in _VERSIONED and item.logical_id}
        newest = self._newest(submitted | named)
        surroundings = UpdateSurroundings(
            replace(met.known, objects=objects),
            newest,
            {item.id: item for item in self._associations(objects)},
            self._links(item for item in newest.values() if item.logical_id in submitted),
            self._pairs(objects, submission),
        )
        return UpdateMeeting(surroundings, self._located, self._fragments)

    def _shown(self, objects: Mapping[str, KnownObject]) -> dict[str, KnownObject]:
        kinds = {item.kind for item in objects.values()}
        stored = [item for kind in kinds for item in self._finder.by_uuid(kind, objects)]
        return {item.fragment.id: objects[item.fragment.id] for item in self._visible(stored)}

    def _newest(self, logical_ids: Collection[str]) -> dict[str, KnownObject]:
        newest: dict[str, KnownObject] = {}
        places: dict[str, Located] = {}
        for found, place in known.versions(self._connection, logical_ids):
            before = newest.get(found.logical_id or "")
            if found.logical_id and found.kind in _VERSIONED and (before is None or before.version < found.version):
                newest[found.logical_id] = found
            places[found.id] = place
        uuids = [item.id for item in newest.values()]
        shown = self._visible([item for kind in _VERSIONED for item in self._finder.by_uuid(kind, uuids)])
        self._fragments.update((item.fragment.id, item.fragment) for item in shown)
        self._located.update((item.fragment.id, places[item.fragment.id]) for item in shown)
        return {logical_id: item for logical_id, item in newest.items() if item.id in self._fragments}

    def _associations(self, objects: Mapping[str, KnownObject]) -> Sequence[KnownAssociation]:
        uuids = [item.id for item in objects.values() if item.kind is ObjectKind.ASSOCIATION]
        return self._with_ends(self._finder.by_uuid(ObjectKind.ASSOCIATION, uuids))

    def _links(self, superseded: Iterable[KnownObject]) -> tuple[KnownAssociation, ...]:
        keys = {self._located[item.id].key for item in superseded}
        stored = [item for item in self._finder.associations_of(keys) if item.fragment.status is AvailabilityStatus.APPROVED]
        self._fragments.update((item.fragment.id, item.fragment) for item in stored)
        return tuple(self._with_ends(stored))

    def _pairs(self, objects: Mapping[str, KnownObject], submission: Submission) -> frozenset[tuple[str, str]]:
        ends = {self._located[item.source].key for item in submission.associations if item.source in objects}
        stored = [item for item in self._finder.associations_from(ends) if item.fragment.status is AvailabilityStatus.APPROVED]
        return frozenset((item.source.id, item.target.id) for item in self._with_ends(stored))

    def _with_ends(self, stored: Sequence[StoredObject]) -> list[KnownAssociation]:
        keys = {key for item in stored for key in (item.source_key, item.target_key) if key is not None}
        ends = {place.key: (found, place) for found, place in known.by_key(self._connection, keys)}
        self._located.update((found.id, place) for found, place in ends.values())
        return [
            KnownAssociation(
                item.fragment.id,
                item.association_type or "",
                item.fragment.status,
                ends[item.source_key][0],
                ends[item.target_key][0],
            )
            for item in stored
            if item.source_key in ends and item.target_key in ends
        ]
