"""A Document Registry elsewhere, as a Document Repository uses it: ITI-42 to register, ITI-18 when an answer was lost.

Spec: ITI TF-2 3.41.4.1.3, 3.42; ITI TF-3 Table 4.2.4.1-2 (XDSRegistryNotAvailable).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

from xds.actors.imaging_registrations import RegisteredManifest
from xds.model.caller import Caller
from xds.model.errors import RegistryResponse
from xds.model.metadata import DocumentEntry, RegistryObject, Submission
from xds.model.stored_queries import RawQuery, ReturnType
from xds.model.vocabulary import AvailabilityStatus, StoredQueryId
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import iti42_register_document_set as iti42
from xds.transactions import iti57_update_document_set as iti57
from xds.transactions import iti62_remove_metadata as iti62
from xds.transactions.client import NoAnswerError
from xds.wire.soap import SoapFault

#: Failures after which nothing can have reached the registry.
_NOT_REACHED = (ConnectionRefusedError, socket.gaierror, ssl.SSLError)


class RemoteRegistry:
    """A `xds.ports.RegisterDocumentsElsewhere` at a URL. One object serves all threads."""

    def __init__(self, endpoint: str, *, timeout: float = 60) -> None:
        """`timeout` in seconds counts for each wait on the network."""
        self._endpoint = endpoint
        self._timeout = timeout

    def register(self, submission: Submission, caller: Caller) -> RegistryResponse:
        """Send a submission by ITI-42. The answer is the registry's, with all its errors and warnings.

        Errors: ConnectionRefusedError when the registry was not reached or did not take the message; ConnectionError when nobody
        knows what became of it.
        """
        try:
            return iti42.send(submission, endpoint=self._endpoint, timeout=self._timeout)
        except NoAnswerError as problem:
            if isinstance(problem.__cause__, _NOT_REACHED):
                raise ConnectionRefusedError(str(problem)) from problem
            raise
        except SoapFault as fault:
            if fault.code != "Receiver":
                raise ConnectionRefusedError("the registry does not take the message") from fault
            raise ConnectionError("the registry answers with a fault") from fault

    def registered(self, submission_unique_id: str) -> frozenset[str] | None:
        """The uniqueIds of the documents in the SubmissionSet of that uniqueId; None when the registry has no such one.

        Errors: ConnectionError, also when the registry refuses the query.
        """
        unique_id = _quoted(submission_unique_id)
        objects = self._ask(StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, "XDSSubmissionSetUniqueId", unique_id)
        return frozenset(item.unique_id for item in _entries(objects) if item.unique_id) if objects else None

    def registered_manifest(self, unique_id: str, logical_id: str) -> RegisteredManifest | None:
        """The DocumentEntry with that logicalID: the newest version that is not Deprecated, else the newest.

        `unique_id` is that of its document, by which a registry without metadata update finds it, too. Errors: ConnectionError.
        """
        objects = self._ask(StoredQueryId.GET_DOCUMENTS, "XDSDocumentEntryUniqueId", f"({_quoted(unique_id)})")
        found = [item for item in _entries(objects) if logical_id in (item.lid, item.id)]
        if not found:
            return None
        found.sort(key=lambda item: (item.status is not AvailabilityStatus.DEPRECATED, item.version or 1))
        newest = found[-1]
        return RegisteredManifest(newest.id, newest.patient_id or "", newest.status is not AvailabilityStatus.DEPRECATED)

    def update(self, submission: Submission, caller: Caller) -> RegistryResponse:
        """Change metadata by ITI-57. Errors: ConnectionError when nobody knows what became of it."""
        try:
            return iti57.send(submission, endpoint=self._endpoint, timeout=self._timeout)
        except SoapFault as fault:
            raise ConnectionError("the registry answers with a fault") from fault

    def remove(self, ids: Sequence[str], caller: Caller) -> RegistryResponse:
        """Remove metadata by ITI-62. Errors: ConnectionError when nobody knows what became of it."""
        try:
            return iti62.send(ids, endpoint=self._endpoint, timeout=self._timeout)
        except SoapFault as fault:
            raise ConnectionError("the registry answers with a fault") from fault

    def _ask(self, query_id: StoredQueryId, parameter: str, value: str) -> Sequence[RegistryObject]:
        query = RawQuery(query_id, ReturnType.LEAF_CLASS, ((parameter, (value,)),))
        try:
            result = iti18.send(query, endpoint=self._endpoint, timeout=self._timeout)
        except SoapFault as fault:
            raise ConnectionError("the registry answers with a fault") from fault
        if not result.response.succeeded:
            raise ConnectionError("the registry refuses the query")
        return result.objects


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _entries(objects: Sequence[RegistryObject]) -> list[DocumentEntry]:
    return [item for item in objects if isinstance(item, DocumentEntry)]
