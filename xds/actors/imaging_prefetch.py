"""Relevant prior studies of a patient are fetched before anybody asks: when a study of hers is announced, or ordered.

What is relevant the registry knows: manifests of the same patient, wherever her images were made, that share a modality or a
region of the body with the new study; without a study yet, the newest. Those that are held in a PACS outside become warm.

Spec: RAD TF-1 18 (XDS-I.b, use of prior studies); ITI TF-2 3.18.4.1.2.3.7.1 (FindDocuments).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from xds.actors.imaging_metadata import event_codes
from xds.actors.imaging_retrieval import ImageRetrieval
from xds.model.caller import SYSTEM
from xds.model.identifiers import PatientIdentifier
from xds.model.metadata import DocumentEntry
from xds.model.vocabulary import KEY_OBJECT_SELECTION, ReferenceIdType
from xds.store import imaging, imaging_orders
from xds.store.database import Database

#: The kind of job that fetches the priors of a study; its key is the Study Instance UID.
PREFETCH_PRIORS: Final = "prefetch-priors"
#: Documents of one patient that are looked through.
_MOST_ENTRIES: Final = 5000

_log = structlog.get_logger()


class PriorPrefetch:
    """Fetches priors. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        retrieval: ImageRetrieval,
        entries: Callable[[str, int], Sequence[DocumentEntry]],
        affinity: Callable[[PatientIdentifier], PatientIdentifier | None],
        studies: int,
    ) -> None:
        """`entries` gives the approved entries of a patient (CX), `affinity` the identifier of the affinity domain of another;
        at most so many `studies` are fetched for one.
        """
        self._database = database
        self._retrieval = retrieval
        self._entries = entries
        self._affinity = affinity
        self._studies = studies

    def run(self, study_instance_uid: str) -> None:
        """Have the priors of a study fetched; its own patient and codes say which. One that nobody knows has none."""
        patient_id, codes = self._wanted(study_instance_uid)
        if not patient_id:
            return
        begun = 0
        for uid in self._priors(patient_id, codes, study_instance_uid):
            selection = self._retrieval.select(SYSTEM, uid)
            if selection is not None and selection.is_held_outside:
                self._retrieval.prepare(selection)()
                begun += 1
        if begun:
            _log.info("imaging.priors_fetched", studies=begun)

    def _wanted(self, uid: str) -> tuple[str, frozenset[str]]:
        """Whose priors, and the codes that they share (none: any); the patient is empty when nobody knows."""
        with self._database.read() as connection:
            stored = imaging.find(connection, uid)
            orders = imaging_orders.of_study(connection, uid, "", None) if stored is None else ()
        if stored is not None:
            codes = frozenset(code.code for code in event_codes(stored.study))
            return (stored.published.patient_id if stored.published else ""), codes
        for order in orders:
            found = self._affinity(order.patient) if order.patient is not None else None
            if found is not None:
                return found.to_cx(), frozenset()
        return "", frozenset()

    def _priors(self, patient_id: str, codes: frozenset[str], own: str) -> list[str]:
        """Studies of the patient, those that share most first, then the newest."""
        ranked: dict[str, tuple[int, str]] = {}
        for entry in self._entries(patient_id, _MOST_ENTRIES):
            uid = _study_of(entry)
            if not uid or uid == own or entry.format_code is None or entry.format_code.code != KEY_OBJECT_SELECTION:
                continue
            shared = len(codes & {code.code for code in entry.event_codes})
            if shared or not codes:
                ranked[uid] = (shared, entry.service_start_time or "")
        return sorted(ranked, key=lambda uid: ranked[uid], reverse=True)[: self._studies]


def _study_of(entry: DocumentEntry) -> str:
    """The study that a manifest is about, by its referenceIdList."""
    for reference in entry.reference_ids:
        if reference.endswith(f"^{ReferenceIdType.STUDY_INSTANCE_UID.value}"):
            return reference.partition("^")[0]
    return ""
