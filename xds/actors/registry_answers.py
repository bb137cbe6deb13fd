"""What a stored query may answer, and an object as it is today."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from xds.model.errors import ErrorCode, RegistryError
from xds.model.fragments import ChangedFragment, Fragment, ObjectKind
from xds.model.stored_queries import ParameterKind, ReturnType, StoredQuery
from xds.model.vocabulary import DocumentEntryScheme, FolderScheme, SubmissionSetScheme
from xds.store.affinity_patients import AffinityPatient
from xds.store.registry.objects import StoredObject
from xds.wire.ebrim import with_last_update_time, with_patient_id

_PATIENT_ID_SCHEMES: Final = {
    ObjectKind.DOCUMENT_ENTRY: DocumentEntryScheme.PATIENT_ID,
    ObjectKind.SUBMISSION_SET: SubmissionSetScheme.PATIENT_ID,
    ObjectKind.FOLDER: FolderScheme.PATIENT_ID,
}


def too_many(found: Sequence[StoredObject], limit: int) -> RegistryError | None:
    """XDSTooManyResults when more was found than one answer may hold. Spec: ITI TF-2 3.18.4.1.3."""
    if len(found) <= limit:
        return None
    return RegistryError(ErrorCode.TOO_MANY_RESULTS, f"more than {limit} objects match; narrow the query or ask for ObjectRef")


def several_patients(
    query: StoredQuery, found: Iterable[StoredObject], patients: Mapping[int, AffinityPatient]
) -> RegistryError | None:
    """Full metadata of several patients are not for one answer; references are. Spec: ITI TF-2 3.18.4.1.2.3.7."""
    if query.return_type is ReturnType.OBJECT_REF:
        return None
    concerned = {patients[item.patient_key].patient_key for item in found if item.kind is not ObjectKind.ASSOCIATION}
    if len(concerned) <= 1:
        return None
    return RegistryError(
        ErrorCode.RESULT_NOT_SINGLE_PATIENT,
        f"{query.definition.name} with LeafClass answers objects of one patient; these are of {len(concerned)} patients",
    )


def as_of_today(item: StoredObject, patient: AffinityPatient) -> Fragment:
    """The fragment with what may have changed since it was rendered: patientId after a merge, lastUpdateTime of a folder."""
    fragment = item.fragment
    if item.last_update_time is not None:
        time = f"{item.last_update_time:014}"
        fragment = ChangedFragment(fragment, lambda xml: with_last_update_time(xml, time))
    if patient.patient_key != item.patient_key and item.kind in _PATIENT_ID_SCHEMES:
        scheme, patient_id = _PATIENT_ID_SCHEMES[item.kind], patient.identifier.to_cx()
        fragment = ChangedFragment(fragment, lambda xml: with_patient_id(xml, scheme, patient_id))
    return fragment


def patients_of(query: StoredQuery) -> tuple[str, ...]:
    """The patients that the query names."""
    name = next((item.name for item in query.definition.parameters if item.kind is ParameterKind.PATIENT_ID), None)
    return tuple(dict.fromkeys(str(value) for value in query.group(name))) if name else ()
