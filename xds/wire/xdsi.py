"""Retrieve Imaging Document Set: the request of RAD-69 and RAD-75. Its answer is that of `ebrs.write_retrieve_response`.

Spec: RAD TF-2 4.69.4.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from lxml import etree

from xds.model.retrieval import ImagingDocumentRequest
from xds.wire.ebrim import escape
from xds.wire.ebrs import document_request, read_document_request
from xds.wire.xml import IHERAD, XDSB, schema_errors


def read_imaging_retrieve_request(
    element: etree._Element,
) -> tuple[tuple[ImagingDocumentRequest, ...], tuple[str, ...], list[str]]:
    """The instances that an `iherad:RetrieveImagingDocumentSetRequest` asks for, the transfer syntaxes it allows, and problems.

    Problems are in words. Of a request that breaks the schema nothing is read; one with empty identifiers is read as it is.

    Spec: RAD TF-2 4.69.4.1.2.
    """
    problems = schema_errors(element, "xdsi.xsd")
    if problems:
        return (), (), problems
    requests = []
    for study in element.iterchildren(f"{{{IHERAD}}}StudyRequest"):
        study_uid = study.get("studyInstanceUID", "").strip()
        for series in study.iterchildren(f"{{{IHERAD}}}SeriesRequest"):
            series_uid = series.get("seriesInstanceUID", "").strip()
            requests += [
                ImagingDocumentRequest(study_uid, series_uid, read_document_request(item))
                for item in series.iterchildren(f"{{{XDSB}}}DocumentRequest")
            ]
    syntaxes = tuple((item.text or "").strip() for item in element.iterfind(f"{{{IHERAD}}}TransferSyntaxUIDList/*"))
    return tuple(requests), syntaxes, _empty(requests, syntaxes)


def _empty(requests: Sequence[ImagingDocumentRequest], syntaxes: Sequence[str]) -> list[str]:
    """What the schema lets pass although it names nothing, each once."""
    problems = []
    for request in requests:
        named = (
            ("StudyRequest", "studyInstanceUID", request.study_instance_uid),
            ("SeriesRequest", "seriesInstanceUID", request.series_instance_uid),
            ("DocumentRequest", "RepositoryUniqueId", request.document.repository_unique_id),
            ("DocumentRequest", "DocumentUniqueId", request.document.document_unique_id),
        )
        for kind, attribute, value in named:
            if not value:
                problems.append(
                    f"{kind} of instance {request.document.document_unique_id[:64]}: {attribute}: must not be empty; received ''"
                )
    if not all(syntaxes):
        problems.append("TransferSyntaxUIDList: TransferSyntaxUID: must not be empty; received ''")
    return list(dict.fromkeys(problems))


def write_imaging_retrieve_request(requests: Iterable[ImagingDocumentRequest], transfer_syntaxes: Iterable[str]) -> bytes:
    """An `iherad:RetrieveImagingDocumentSetRequest` with its own namespaces; neighbours of the same series share its element.

    Spec: RAD TF-2 4.69.4.1.2.
    """
    studies = "".join(
        f'<iherad:StudyRequest studyInstanceUID="{escape(study)}">{_series(of_study)}</iherad:StudyRequest>'
        for study, of_study in groupby(requests, key=lambda item: item.study_instance_uid)
    )
    syntaxes = "".join(f"<iherad:TransferSyntaxUID>{escape(uid)}</iherad:TransferSyntaxUID>" for uid in transfer_syntaxes)
    return (
        f'<iherad:RetrieveImagingDocumentSetRequest xmlns:iherad="{IHERAD}" xmlns:xds="{XDSB}">{studies}'
        f"<iherad:TransferSyntaxUIDList>{syntaxes}</iherad:TransferSyntaxUIDList></iherad:RetrieveImagingDocumentSetRequest>"
    ).encode()


def _series(requests: Iterable[ImagingDocumentRequest]) -> str:
    return "".join(
        f'<iherad:SeriesRequest seriesInstanceUID="{escape(series)}">'
        + "".join(f"<xds:DocumentRequest>{document_request(item.document)}</xds:DocumentRequest>" for item in of_series)
        + "</iherad:SeriesRequest>"
        for series, of_series in groupby(requests, key=lambda item: item.series_instance_uid)
    )
