"""A Document Registry elsewhere, as a Document Repository uses it: ITI-42 to register, ITI-18 when an answer was lost.

Spec: ITI TF-2 3.41.4.1.3, 3.42; ITI TF-3 Table 4.2.4.1-2 (XDSRegistryNotAvailable).
"""

from __future__ import annotations

import socket
import ssl

from xds.model.caller import Caller
from xds.model.errors import RegistryResponse
from xds.model.metadata import DocumentEntry, Submission
from xds.model.stored_queries import RawQuery, ReturnType
from xds.model.vocabulary import StoredQueryId
from xds.transactions import iti18_registry_stored_query as iti18
from xds.transactions import iti42_register_document_set as iti42
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
        parameter = ("XDSSubmissionSetUniqueId", (f"'{submission_unique_id.replace(chr(39), chr(39) * 2)}'",))
        query = RawQuery(StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS, ReturnType.LEAF_CLASS, (parameter,))
        try:
            result = iti18.send(query, endpoint=self._endpoint, timeout=self._timeout)
        except SoapFault as fault:
            raise ConnectionError("the registry answers with a fault") from fault
        if not result.response.succeeded:
            raise ConnectionError("the registry refuses the query")
        if not result.objects:
            return None
        return frozenset(item.unique_id for item in result.objects if isinstance(item, DocumentEntry) and item.unique_id)
