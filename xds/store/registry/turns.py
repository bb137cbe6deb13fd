"""Which submissions must not be decided at the same time: those that speak of the same patient, object or uniqueId."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from xds.model.identifiers import PatientIdentifier, is_uuid_urn, uuid_bytes
from xds.model.metadata import Submission
from xds.store import locks
from xds.store.registry.known import patient_ids


def take_turn(connection: Connection, submission: Submission) -> None:
    """Hold what a submission speaks of, so that what the registry knows of it stays so until the transaction ends."""
    if not locks.are_taken(connection):
        return
    unique_ids = [item.unique_id for item in submission.submission_sets]
    unique_ids += [item.unique_id for item in submission.document_entries]
    unique_ids += [item.unique_id for item in submission.folders]
    ids = {item.id for item in submission.objects()}
    ids |= {end for item in submission.associations for end in (item.source, item.target)}
    ids |= {item.lid for item in (*submission.document_entries, *submission.folders) if item.lid}
    patients = (_patient_name(identifier) for identifier in patient_ids(submission))
    locks.take(connection, (*patients, *(f"unique^{item}" for item in unique_ids if item), *_object_names(ids)))


def take_turn_of(connection: Connection, patients: Iterable[PatientIdentifier], ids: Iterable[str]) -> None:
    """Hold the records of these patients, and the objects with these ids, which are about to be changed or removed."""
    locks.take(connection, (*(_patient_name(item) for item in patients), *_object_names(ids)))


def _patient_name(identifier: PatientIdentifier) -> str:
    return "^".join(("patient", *identifier.key))


def _object_names(ids: Iterable[str]) -> list[str]:
    return [f"object^{uuid_bytes(item).hex()}" for item in ids if is_uuid_urn(item)]
