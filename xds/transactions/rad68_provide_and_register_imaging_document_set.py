"""RAD-68 Provide and Register Imaging Document Set - MTOM/XOP: the side of the Imaging Document Source.

Spec: RAD TF-2 4.68. On the wire it is ITI-41, so the Document Repository answers it there; what makes it imaging is a manifest
(Key Object Selection, `application/dicom`) among the documents.

Errors: those of ITI-41.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace

from xds.actors.provided_document import ProvidedDocument
from xds.model.caller import Caller
from xds.model.errors import RegistryResponse
from xds.model.metadata import Submission
from xds.transactions import iti41_provide_and_register_document_set as iti41
from xds.transactions.iti41_provide_and_register_document_set import DocumentToSend

TRANSACTION = replace(
    iti41.TRANSACTION, id="RAD-68", name="Provide and Register Imaging Document Set - MTOM/XOP", responder="Document Repository"
)


def send(
    submission: Submission,
    documents: Mapping[str, ProvidedDocument],
    *,
    endpoint: str,
    timeout: float = 60,
    ssl_context: ssl.SSLContext | None = None,
) -> RegistryResponse:
    """Give manifests to a Document Repository; `documents` by the id of their DocumentEntry. `timeout` in seconds.

    Errors: SoapFault; ConnectionError when nobody gives a usable answer.
    """
    parts = [
        DocumentToSend(name, document.content_type or "application/dicom", document.staging.size, document.staging.open)
        for name, document in documents.items()
    ]
    return iti41.send(submission, parts, endpoint=endpoint, timeout=timeout, ssl_context=ssl_context)


def provider(
    endpoint: str, *, timeout: float = 60, ssl_context: ssl.SSLContext | None = None
) -> Callable[[Submission, Mapping[str, ProvidedDocument], Caller], RegistryResponse]:
    """What an Imaging Document Source calls to publish through a repository elsewhere."""

    def provide(submission: Submission, documents: Mapping[str, ProvidedDocument], _caller: Caller) -> RegistryResponse:
        return send(submission, documents, endpoint=endpoint, timeout=timeout, ssl_context=ssl_context)

    return provide
