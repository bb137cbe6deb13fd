"""Retrieving documents: what is asked for, and what is answered.

Spec: ITI TF-2 3.43 (Retrieve Document Set), RAD TF-2 4.69 (Retrieve Imaging Document Set).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from xds.model.errors import RegistryResponse


@dataclass(frozen=True, slots=True)
class DocumentRequest:
    """One `xds:DocumentRequest`. `home` is the homeCommunityId as received; it is echoed exactly when it was given."""

    repository_unique_id: str
    document_unique_id: str
    home: str | None = None


@dataclass(frozen=True, slots=True)
class ImagingDocumentRequest:
    """One requested SOP instance of RAD-69: its `xds:DocumentRequest` and the study and series that hold it."""

    study_instance_uid: str
    series_instance_uid: str
    document: DocumentRequest


@dataclass(frozen=True, slots=True)
class RetrievedDocument:
    """One document of an answer: exactly `size` octets come from `chunks()`, which may be called once for each transfer.

    A document that was made on demand has a uniqueId of its own, and a repositoryUniqueId when it stays retrievable there.
    """

    request: DocumentRequest
    mime_type: str
    size: int
    chunks: Callable[[], Iterator[bytes]]
    new_document_unique_id: str | None = None
    new_repository_unique_id: str | None = None


@dataclass(frozen=True, slots=True)
class RetrieveAnswer:
    """Answer of a retrieve: the outcome with one error for each document that is not there, and the others in the order asked.

    `finished` is called once: True after the last octet was handed over, False when the reader went away before.
    """

    response: RegistryResponse
    documents: tuple[RetrievedDocument, ...]
    finished: Callable[[bool], None]
