"""How much there is, for operators."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from xds.store.schema import imaging, registry


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
