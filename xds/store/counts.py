"""How much there is, for operators."""

from __future__ import annotations

from sqlalchemy import Column, ColumnElement, Connection, func, select, true

from xds.store.schema import identity, imaging, operations, registry


def count(connection: Connection) -> dict[str, int]:
    """Numbers of patients of the affinity domain (subsumed ones left out), DocumentEntries and stored studies."""
    patients = select(func.count()).select_from(registry.patient).where(registry.patient.c.surviving_key.is_(None))
    documents = select(func.count()).select_from(registry.document_entry)
    studies = select(func.count()).select_from(imaging.imaging_study)
    return {
        "patients": connection.execute(patients).scalar_one(),
        "documents": connection.execute(documents).scalar_one(),
        "studies": connection.execute(studies).scalar_one(),
    }


def jobs(connection: Connection, *, given_up: bool) -> dict[str, int]:
    """Jobs that wait or are at work, or those that were given up, by kind."""
    has_time = operations.job.c.run_at.is_not(None)
    return _by(connection, operations.job.c.kind, ~has_time if given_up else has_time)


def studies(connection: Connection) -> dict[str, int]:
    """Stored studies by state."""
    return _by(connection, imaging.imaging_study.c.state)


def reviews(connection: Connection) -> dict[str, int]:
    """Cases that wait for the identity desk, by kind."""
    return _by(connection, identity.link_review.c.kind)


def _by(connection: Connection, column: Column[str], condition: ColumnElement[bool] | None = None) -> dict[str, int]:
    where = true() if condition is None else condition
    return {row[0]: row[1] for row in connection.execute(select(column, func.count()).where(where).group_by(column))}
