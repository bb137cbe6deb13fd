"""Retrieve Imaging Document Set: instances of any studies by repository, study, series and instance, each given or refused.

Spec: RAD TF-2 4.69.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from xds.actors import imaging_audit
from xds.actors.imaging_metadata import MIME_TYPE
from xds.actors.imaging_renditions import Obtained
from xds.actors.imaging_retrieval import ImageRetrieval
from xds.actors.imaging_selection import Selection
from xds.model.caller import Caller
from xds.model.domain_identity import DomainIdentity
from xds.model.errors import ErrorCode, RegistryError, RegistryResponse, Status
from xds.model.foreign_images import PullError, PullProblem
from xds.model.imaging import Instance
from xds.model.retrieval import ImagingDocumentRequest, RetrieveAnswer, RetrievedDocument
from xds.wire.dicom import EXPLICIT_LITTLE

#: The instances of a study by series and SOP Instance UID.
_Index = Mapping[tuple[str, str], Instance]

#: Transfer syntaxes of encapsulated pixels, but for RLE. Spec: PS3.5 A.4.
_ENCAPSULATED: Final = "1.2.840.10008.1.2.4."

_log = structlog.get_logger()


class ImagingDocumentSets:
    """Answers RAD-69. One object serves all threads."""

    def __init__(self, retrieval: ImageRetrieval, identity: DomainIdentity, locations: Mapping[str, str]) -> None:
        """`locations` are the Retrieve Location UIDs of sources outside by their names."""
        self._retrieval = retrieval
        self._identity = identity
        self._locations = locations

    def retrieve(
        self, requests: Sequence[ImagingDocumentRequest], transfer_syntaxes: Sequence[str], caller: Caller
    ) -> RetrieveAnswer:
        """The requested instances as Part 10 files in one of the requested transfer syntaxes, or an error for each that fails.

        Study, series and instance must fit together. What the caller may not see is answered like what does not exist.

        Spec: RAD TF-2 4.69.4.1.3. Errors: returned: XDSUnknownRepositoryId, XDSDocumentUniqueIdError, XDSRepositoryError.
        """
        named_in: dict[str, list[tuple[str, str]]] = {}
        for item in requests:
            if item.study_instance_uid:
                names = (item.series_instance_uid, item.document.document_unique_id)
                named_in.setdefault(item.study_instance_uid, []).append(names)
        selections = {
            uid: selection
            for uid, names in named_in.items()
            if (selection := self._retrieval.select(caller, uid, *_only(names))) is not None
        }
        indexes = {uid: _index(selection) for uid, selection in selections.items()}
        found: list[tuple[ImagingDocumentRequest, Obtained]] = []
        errors: list[RegistryError] = []
        named = [instance for request in requests if (instance := _named(request, indexes)) is not None]
        # Fetched together: the answer begins with what became of each. A single one is fetched when it is asked for.
        release = self._retrieval.fetch(named if len(named) > 1 else ())
        for request in requests:
            obtained = self._requested(request, transfer_syntaxes, indexes)
            if isinstance(obtained, RegistryError):
                errors.append(obtained)
            else:
                found.append((request, obtained))
        release()
        status = Status.SUCCESS if not errors else Status.PARTIAL_SUCCESS if found else Status.FAILURE
        documents = tuple(RetrievedDocument(item.document, MIME_TYPE, got.size or 0, got.chunks) for item, got in found)
        sent = [(selections[item.study_instance_uid], got) for item, got in found]

        def finished(complete: bool) -> None:
            self._retrieval.finish(sent, complete, caller, imaging_audit.RETRIEVED)
            given = {item for item, _ in found}
            refused = {item.study_instance_uid for item in requests if item not in given}
            if refused:
                self._retrieval.refuse(refused, caller, imaging_audit.RETRIEVED)

        return RetrieveAnswer(RegistryResponse(status, tuple(errors)), documents, finished)

    def _requested(
        self, request: ImagingDocumentRequest, wanted: Sequence[str], indexes: Mapping[str, _Index]
    ) -> Obtained | RegistryError:
        document = request.document
        uid = document.document_unique_id
        ours = self._identity.imaging_source_unique_id
        if document.repository_unique_id not in (ours, *self._locations.values()):
            context = f"RepositoryUniqueId {document.repository_unique_id}: this Imaging Document Source is {ours}"
            return RegistryError(ErrorCode.UNKNOWN_REPOSITORY_ID, context, location=uid)
        instance = _named(request, indexes)
        if instance is None:
            context = (
                f"DocumentUniqueId {uid}: no such instance in series {request.series_instance_uid}"
                f" of study {request.study_instance_uid}"
            )
            return RegistryError(ErrorCode.DOCUMENT_UNIQUE_ID_ERROR, context, location=uid)
        return self._given(instance, wanted)

    def _given(self, instance: Instance, wanted: Sequence[str]) -> Obtained | RegistryError:
        uid = instance.sop_instance_uid
        try:
            obtained = self._retrieval.obtain(instance, wanted) or self._without_pixels(instance, wanted)
        except PullError as problem:
            gone = problem.problem is PullProblem.GONE
            code = ErrorCode.DOCUMENT_UNIQUE_ID_ERROR if gone else ErrorCode.REPOSITORY_ERROR
            return RegistryError(code, f"DocumentUniqueId {uid}: {problem}", location=uid)
        except KeyError:
            _log.error("imaging.blob_missing", blob=instance.blob)
            context = f"DocumentUniqueId {uid}: the instance cannot be read"
            return RegistryError(ErrorCode.REPOSITORY_ERROR, context, location=uid)
        if obtained is None:
            context = (
                f"DocumentUniqueId {uid}: stored in transfer syntax {instance.transfer_syntax_uid},"
                f" which cannot be given as {', '.join(wanted)}"
            )
            return RegistryError(ErrorCode.REPOSITORY_ERROR, context, location=uid)
        return obtained

    def _without_pixels(self, instance: Instance, wanted: Sequence[str]) -> Obtained | None:
        """A report or a presentation state, when the consumer has named the transfer syntaxes of pixels alone.

        Those are what the list is about: a study goes out whole, with what it holds beside its images.
        """
        if instance.rows is not None or not any(uid.startswith(_ENCAPSULATED) for uid in wanted):
            return None
        return self._retrieval.obtain(instance, (EXPLICIT_LITTLE,))


def _only(names: Sequence[tuple[str, str]]) -> tuple[str | None, str | None]:
    """Series and instance when nothing else of a study is named: the others, of which there may be thousands, are not read."""
    series = {series for series, _ in names}
    if len(series) > 1 or not all(series):
        return None, None
    return names[0] if len(names) == 1 else (names[0][0], None)


def _index(selection: Selection) -> _Index:
    return {(series, instance.sop_instance_uid): instance for series, instance in selection.instances()}


def _named(request: ImagingDocumentRequest, indexes: Mapping[str, _Index]) -> Instance | None:
    key = (request.series_instance_uid, request.document.document_unique_id)
    return indexes.get(request.study_instance_uid, {}).get(key)
