"""What ITI-21 and ITI-22 have in common: a demographics query over MLLP, its answer in pages, and its cancellation.

A query that names a person and finds nobody as she is written is asked again for names that sound alike or are one slip of the
pen away; such matches carry a confidence (QRI-1). Spec: ITI TF-2 3.21.4.1.3.2 ("at least all exact matches").
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.model.demographics_query import Comparison, DemographicsAnswer, DemographicsQuery, PageRequest, PatientMatch
from xds.model.metadata import Code
from xds.model.patient import IdentityQuery
from xds.rules.demographics_similarity import with_similar_names
from xds.transactions.mllp_client import send_mllp
from xds.wire import hl7v2
from xds.wire.hl7v2 import Message
from xds.wire.hl7v2_answers import (
    VERSIONS,
    Acknowledged,
    Acknowledgement,
    header_faults,
    new_control_id,
    read_acknowledgement,
    write_ack,
)
from xds.wire.hl7v2_identity import DEMOGRAPHICS_QUERY_FIELDS, fault_of, receiving_system, sending_system
from xds.wire.hl7v2_pdq import DemographicsSearch, read_demographics_query
from xds.wire.hl7v2_pdq_answers import (
    FoundPatient,
    meets,
    pointer_of,
    read_demographics_answer,
    write_demographics_answer,
    write_demographics_query,
)

#: How many pages without an answerable patient are passed over in one answer.
_MOST_EMPTY_PAGES: Final = 20
_MARK_OCTETS: Final = 4


@dataclass(frozen=True, slots=True)
class PdqAnswer:
    """What a Patient Demographics Supplier answered. `status` is QAK-2; `pointer` continues the query (DSC-1)."""

    acknowledged: Acknowledged
    status: str
    patients: tuple[FoundPatient, ...] = ()
    pointer: str | None = None


def answer_query(request: Message, domain: Domain, caller: Caller, event_type: Code) -> Message:
    """Answer a demographics query; `event_type` names the transaction in the audit trail."""
    now, control_id = domain.pix_manager.clock(), new_control_id()
    rejected = header_faults(request, ("QBP_Q21",), VERSIONS)
    if rejected:
        return write_ack(request, Acknowledgement.REJECT, rejected, now=now, control_id=control_id)
    search = read_demographics_query(request)
    if not isinstance(search, DemographicsSearch):
        if request.segment("QPD") is None:
            return write_ack(request, Acknowledgement.ERROR, search, now=now, control_id=control_id)
        return write_demographics_answer(request, (), search, now=now, control_id=control_id)
    asked = IdentityQuery(
        source=sending_system(request),
        destination=receiving_system(request),
        message_id=request.control_id,
        tag=search.tag,
        text=hl7v2.write(request).decode(request.codec),
        event_type=event_type,
    )
    answer = _found(search, domain, caller, asked)
    faults = [fault_of(problem, request, DEMOGRAPHICS_QUERY_FIELDS) for problem in answer.problems]
    return write_demographics_answer(
        request,
        answer.matches,
        faults,
        pointer=answer.next_page,
        incomplete=answer.incomplete,
        now=now,
        control_id=control_id,
    )


def _found(search: DemographicsSearch, domain: Domain, caller: Caller, asked: IdentityQuery) -> DemographicsAnswer:
    """The first page that has a patient."""
    mark = _mark_of(search)
    page = replace(search.page, after=_pointer_of(search.page.after, mark))
    similar = with_similar_names(search.query, Comparison.EXACT)
    wanted: IdentityQuery | None = asked
    for _ in range(_MOST_EMPTY_PAGES):
        answer = domain.demographics_supplier.search(search.query, page, caller, wanted, instead=similar)
        matches = tuple(item for item in answer.matches if _is_answerable(item, search))
        if matches or answer.problems or not answer.next_page:
            return replace(answer, matches=matches, next_page=_pointer(answer.next_page, mark))
        page, wanted = replace(page, after=answer.next_page), None
    return replace(answer, matches=(), next_page=_pointer(answer.next_page, mark))


def _mark_of(search: DemographicsSearch) -> str:
    """What tells a query from another one under the same tag. Spec: ITI TF-2 3.21.4.1.3.3 (the query is sent again unchanged)."""
    return blake2b(repr((search.query, search.others)).encode(), digest_size=_MARK_OCTETS).hexdigest()


def _pointer(next_page: str | None, mark: str) -> str | None:
    """A pointer of letters and digits alone (DSC-1): it continues the query of that mark."""
    return next_page.encode().hex() + mark if next_page else None


def _pointer_of(given: str | None, mark: str) -> str | None:
    """The supplier's pointer; what was not written here for this query stays as it is, and is unknown to the supplier."""
    if not given or not given.endswith(mark):
        return given
    try:
        return bytes.fromhex(given.removesuffix(mark)).decode() or given
    except ValueError:
        return given


def _is_answerable(match: PatientMatch, search: DemographicsSearch) -> bool:
    # A patient without an identifier in the requested domains is left out. Spec: ITI TF-2 3.21.4.2.2.8, case 2.
    return bool(match.identifiers) and meets(match, search.others)


def ask(
    query: DemographicsQuery,
    endpoint: str,
    *,
    event: str,
    source: str,
    destination: str = "XDS|XDS",
    page: PageRequest | None = None,
    now: datetime | None = None,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> PdqAnswer:
    """Ask a supplier at `host:port` or `mllp://host:port` with a QBP of that event; `source` and `destination` are
    `facility|application`. Criteria on the visit stand in `query.visit`.

    The next page is asked for with the same query and query tag, and the pointer of the answer in `page.after`.
    Errors: ConnectionError, TimeoutError, ValueError (address, unreadable answer).
    """
    message = write_demographics_query(
        query,
        page or PageRequest(),
        event=event,
        source=source,
        destination=destination,
        control_id=new_control_id(),
        now=now or datetime.now(UTC),
    )
    return answer_of(send_mllp(endpoint, message, timeout=timeout, tls=tls))


def answer_of(answer: Message) -> PdqAnswer:
    """A message as the answer to a demographics query."""
    return PdqAnswer(read_acknowledgement(answer), answer.get("QAK-2"), read_demographics_answer(answer), pointer_of(answer))
