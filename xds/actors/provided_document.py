"""A document on its way into a repository."""

from __future__ import annotations

from dataclasses import dataclass

from xds.ports import Staging


@dataclass(frozen=True, slots=True)
class ProvidedDocument:
    """One document as it arrived. `content_type` is its MIME part's; what the metadata says in mimeType prevails."""

    staging: Staging
    content_type: str | None = None
