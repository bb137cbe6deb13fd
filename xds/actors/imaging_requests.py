"""The requests that the images of a study name beside that of the study itself.

One study may answer several requests: each series then names its own accession number, or lists what it was made for.

Spec: RAD TF-2 4.68.4.1.2.3 (referenceIdList: each accession number); IHE RAD MADO 6.X.2 (Referenced Request Sequence); DICOM
PS3.3 C.7.3.1 (Request Attributes Sequence), C.17.2 (Referenced Request Sequence).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from xds.model.identifiers import is_oid
from xds.model.imaging import ImagingOrder, OrderNumber, Study

_ACCESSION: Final = "00080050"
_ISSUER_OF_ACCESSION: Final = "00080051"
_STUDY_INSTANCE_UID: Final = "0020000D"
_PLACER, _PLACER_ISSUER = "00402016", "00400026"
_FILLER, _FILLER_ISSUER = "00402017", "00400027"
#: Request Attributes Sequence of series, Referenced Request Sequence of documents.
_SEQUENCES: Final = ("00400275", "0040A370")
#: One study for more requests than these is a mistake of who wrote the images.
_MAX_REQUESTS: Final = 100

#: A data set in the DICOM JSON model.
_Item = Mapping[str, Any]


def named_requests(study: Study, headers: Iterable[_Item]) -> tuple[ImagingOrder, ...]:
    """What these headers of the study (DICOM JSON) name, each pair of accession number and placer order once.

    The accession number of the study alone is none of them: the study has it.
    """
    own = (study.accession_number, "")
    found: dict[tuple[str, str], ImagingOrder] = {}
    for header in headers:
        for item in (header, *_listed(header, study.study_instance_uid)):
            order = ImagingOrder(
                accession=_number(item, _ACCESSION, _ISSUER_OF_ACCESSION),
                placer=_number(item, _PLACER, _PLACER_ISSUER),
                filler=_number(item, _FILLER, _FILLER_ISSUER),
                study_instance_uid=study.study_instance_uid,
            )
            key = (order.accession.value, order.placer.value)
            if any(key) and key != own and len(found) < _MAX_REQUESTS:
                found.setdefault(key, order)
    # A request that is named with its order says more than one that is not.
    ordered = {accession for accession, placer in found if placer}
    return tuple(order for (accession, placer), order in found.items() if placer or accession not in ordered)


def with_requests(orders: Iterable[ImagingOrder], named: Iterable[ImagingOrder]) -> tuple[ImagingOrder, ...]:
    """Orders, and behind them the requests in images of whose accession number no order is known."""
    known = tuple(orders)
    numbers = {order.accession.value for order in known}
    return (*known, *(order for order in named if order.accession.value not in numbers))


def _listed(header: _Item, study_instance_uid: str) -> Iterator[_Item]:
    for sequence in _SEQUENCES:
        for item in _values(header, sequence):
            # A document may quote what was requested for other studies.
            if isinstance(item, Mapping) and _text(item, _STUDY_INSTANCE_UID) in ("", study_instance_uid):
                yield item


def _number(item: _Item, tag: str, issuer: str) -> OrderNumber:
    entity = next((each for each in _values(item, issuer) if isinstance(each, Mapping)), {})
    oid, namespace = _text(entity, "00400032"), _text(entity, "00400031")
    return OrderNumber(_text(item, tag), oid if is_oid(oid) else None, namespace or None)


def _values(item: _Item, tag: str) -> list[Any]:
    values = item.get(tag, {}).get("Value", [])
    return list(values) if isinstance(values, list) else []


def _text(item: _Item, tag: str) -> str:
    return next((value.strip() for value in _values(item, tag) if isinstance(value, str)), "")
