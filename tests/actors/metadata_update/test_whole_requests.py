"""All or nothing, audit and access; the restricted update (ITI-92)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.actors.metadata_update.updating import (
    MUE,
    OTHER_PATIENT,
    accept,
    associations,
    ends,
    entry,
    in_folder,
    refuse,
    registered,
)
from tests.actors.registry_fixtures import CALLER, Registry, open_registry
from tests.builders import PATIENT_ID, document_entry, uuid_for
from tests.updates import (
    APPROVED,
    DEPRECATED,
    member,
    new_version,
    of_patient,
    request,
    status_change,
    submitted,
    update,
)
from xds.model.audit import IMPORT, EventAction, EventOutcome
from xds.model.caller import Action, Caller, Resource
from xds.model.errors import ErrorCode
from xds.model.metadata import LocalizedString, Slot
from xds.model.vocabulary import ON_DEMAND, AssociationType, DocumentAvailability, SlotName
from xds.store import audit
from xds.store.schema.registry import association, registry_object

# --- all or nothing, audit, access -----------------------------------------------------------------------------------


def test_one_fault_undoes_everything_and_every_fault_is_told(registry: Registry) -> None:
    first, second = registered(registry), registered(registry)
    good, bad = new_version(first, id="Good"), new_version(second, id="Bad")
    sent = request(
        good,
        member(good),
        bad,
        member(bad, "4"),
        status_change(uuid_for(77)),
        status_change(first.id, None),
        patient_id="X^^^&1.2&ISO",
    )
    assert refuse(registry, sent) >= {
        ErrorCode.METADATA_VERSION,
        ErrorCode.UNRESOLVED_REFERENCE,
        ErrorCode.METADATA_UPDATE_OPERATION,
        ErrorCode.UNKNOWN_PATIENT_ID,
        ErrorCode.PATIENT_ID_DOES_NOT_MATCH,
    }
    assert [item.version for item in entry(registry, first.unique_id, level=2)] == [1]
    assert first.status is APPROVED


def test_the_same_request_twice(registry: Registry) -> None:
    sent = update(registered(registry))
    accept(registry, sent)
    assert refuse(registry, sent) == {ErrorCode.DUPLICATE_UNIQUE_ID_IN_REGISTRY, ErrorCode.METADATA_VERSION}


@pytest.mark.parametrize("updated", ["folder", "document"])
def test_what_follows_an_update_does_not_lead_to_what_is_removed_meanwhile(registry: Registry, updated: str) -> None:
    """One of both comes first: no Association leads nowhere afterwards. Spec: ITI TF-2 3.57.4.1.3, 3.62.4.1.3."""
    with ThreadPoolExecutor(2) as threads:
        for _ in range(8):
            package, (first,) = in_folder(registry)
            connected = associations(registry, package.id, first.id)
            memberships = associations(registry, *(item.id for item in connected))
            found = {*(item.id for item in (*connected, *memberships)), *(item.source for item in connected), first.id}
            removal = threads.submit(registry.actor.remove, sorted(found), CALLER)
            change = threads.submit(registry.actor.update, update(package if updated == "folder" else first), CALLER)
            assert removal.result().succeeded or change.result().succeeded
            change.result()
            with registry.database.read() as connection:
                keys = set(connection.scalars(select(registry_object.c.object_key)))
                for source, target in connection.execute(select(association.c.source_key, association.c.target_key)):
                    assert {source, target} <= keys


def test_a_merged_patient_is_updated_under_the_surviving_one(registry: Registry) -> None:
    first = registered(registry)
    registry.merge(PATIENT_ID, OTHER_PATIENT)
    assert refuse(registry, update(first)) == {ErrorCode.UNKNOWN_PATIENT_ID}
    (today,) = entry(registry, first.unique_id)
    assert today.patient_id == OTHER_PATIENT
    accept(registry, update(today), restricted=True)
    assert [item.version for item in entry(registry, first.unique_id, level=2)] == [1, 2]


@pytest.mark.parametrize(("restricted", "name"), [(False, "ITI-57"), (True, "ITI-92")])
def test_updates_are_audited(registry: Registry, restricted: bool, name: str) -> None:
    first = registered(registry)
    good, bad = update(first), update(first, "7")
    accept(registry, good, restricted=restricted)
    refuse(registry, bad, restricted=restricted)
    registry.database.flush()
    with registry.database.read() as connection:
        events = [event for _sequence, event in audit.find(connection)]
        events = sorted((event for event in events if event.event_id == IMPORT), key=lambda event: event.occurred)[-2:]
    assert [(event.event_id, event.action, event.event_type.code) for event in events] == [(IMPORT, EventAction.UPDATE, name)] * 2
    assert [event.outcome for event in events] == [EventOutcome.SUCCESS, EventOutcome.SERIOUS_FAILURE]
    assert [[item.id for item in event.objects] for event in events] == [
        [PATIENT_ID, sent.submission_set.unique_id] for sent in (good, bad)
    ]


class _Blind:
    """Hides one document from everybody."""

    def __init__(self) -> None:
        self.hidden: str | None = None
        self.asked: list[Action] = []

    def permits(self, caller: Caller, action: Action, resources: Sequence[Resource]) -> Sequence[bool]:
        self.asked.append(action)
        return [item.unique_id is None or item.unique_id != self.hidden for item in resources]


def test_what_a_caller_may_not_see_does_not_exist(tmp_path: Path) -> None:
    access = _Blind()
    registry = open_registry(tmp_path, access=access)
    first, second = registered(registry), registered(registry)
    access.hidden = first.unique_id
    assert refuse(registry, update(first)) == {ErrorCode.METADATA_VERSION}
    assert refuse(registry, request(status_change(first))) == {ErrorCode.UNRESOLVED_REFERENCE}
    assert refuse(registry, request(*submitted(AssociationType.APND, second.id, first.id))) == {ErrorCode.UNRESOLVED_REFERENCE}
    assert Action.UPDATE in access.asked
    registry.database.close()


def test_patients_need_not_be_announced_where_they_are_not_required(tmp_path: Path) -> None:
    registry = open_registry(tmp_path, require_known_patient=False)
    first = registered(registry)
    corrected = of_patient(new_version(first), OTHER_PATIENT)
    accept(registry, request(corrected, member(corrected), patient_id=OTHER_PATIENT))
    assert entry(registry, first.unique_id)[0].patient_id == OTHER_PATIENT
    registry.database.close()


# --- ITI-92 ----------------------------------------------------------------------------------------------------------


def test_a_restricted_update(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    accept(registry, update(first, name=(LocalizedString("Corrected"),)), restricted=True)
    assert [(item.version, item.status, item.title) for item in entry(registry, first.unique_id, level=2)] == [
        (1, DEPRECATED, "Physical"),
        (2, APPROVED, "Corrected"),
    ]
    assert (package.id, entry(registry, first.unique_id)[0].id) in ends(associations(registry, package.id))


def test_a_restricted_update_of_a_deprecated_entry_stays_deprecated(registry: Registry) -> None:
    first = registered(registry)
    accept(registry, request(status_change(first)))
    accept(registry, update(first, status=DEPRECATED, version=1), restricted=True)
    assert [(item.version, item.status) for item in entry(registry, first.unique_id)] == [(2, DEPRECATED)]
    assert len(entry(registry, first.unique_id, level=2)) == 2
    accept(registry, request(status_change(entry(registry, first.unique_id)[0], DEPRECATED, APPROVED)))


def test_a_restricted_update_keeps_the_community(registry: Registry) -> None:
    first = registered(registry, home="urn:oid:1.2.3.999")
    accept(registry, update(first, home=None), restricted=True)
    assert entry(registry, first.unique_id)[0].home == "urn:oid:1.2.3.999"
    assert refuse(registry, update(first, "2", home="urn:oid:1.2.3.4.9"), restricted=True) == {ErrorCode.UNMODIFIABLE_METADATA}
    own = registered(registry)
    accept(registry, update(own, home="urn:oid:1.2.3.4.9"), restricted=True)


def test_what_a_restricted_update_leaves_alone(registry: Registry) -> None:
    first = registered(registry)
    unmodifiable = {ErrorCode.UNMODIFIABLE_METADATA}

    def codes(**attributes) -> set[ErrorCode]:
        changed = new_version(document_entry(**{"unique_id": first.unique_id, **attributes}), lid=first.id)
        sent = request(changed, member(changed), patient_id=changed.patient_id or PATIENT_ID)
        return refuse(registry, sent, restricted=True)

    assert codes(repository_unique_id="1.2.3.4.77") == unmodifiable
    assert codes(source_patient_id="L2^^^&1.2.3.4.6&ISO") == unmodifiable
    offline = Slot(SlotName.DOCUMENT_AVAILABILITY, (DocumentAvailability.OFFLINE,))
    assert codes(extra_slots=(offline,)) == unmodifiable
    assert codes(unique_id="1.2.3.4.78") == {ErrorCode.METADATA_IDENTIFIER}
    assert codes(patient_id=OTHER_PATIENT) == {ErrorCode.PATIENT_ID_RECONCILIATION}
    assert codes(object_type=ON_DEMAND, creation_time=None, hash=None, size=None) == {
        ErrorCode.OBJECT_TYPE,
        ErrorCode.UNMODIFIABLE_METADATA,
    }
    for attributes in ({"status": DEPRECATED}, {"version": 3}):
        assert refuse(registry, update(first, **attributes), restricted=True) == unmodifiable
    accept(registry, update(first, status=APPROVED, version=2), restricted=True)


def test_a_restricted_update_does_nothing_else(registry: Registry) -> None:
    package, (first,) = in_folder(registry)
    second = registered(registry)
    assert refuse(registry, update(package), restricted=True) == {MUE}
    assert refuse(registry, request(status_change(first)), restricted=True) == {MUE}
    assert refuse(registry, request(*submitted(AssociationType.APND, first.id, second.id)), restricted=True) == {MUE}
