"""Letting a transaction answer a SOAP request, whichever way the answer will go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.server import failures
from xds.store.database import turns
from xds.transactions.transaction import Transaction
from xds.wire.soap import SoapFault, SoapReply, SoapRequest


class SoapTransaction(Protocol):
    """A transaction module that answers SOAP."""

    @property
    def TRANSACTION(self) -> Transaction:  # noqa: N802
        """Its record."""

    @property
    def respond(self) -> Callable[[SoapRequest, Domain, Caller], SoapReply]:
        """Its answer."""


def answer_of(
    module: SoapTransaction,
    request: SoapRequest,
    domain: Domain,
    caller: Caller,
    *,
    inline_limit: int | None,
    passing: tuple[type[Exception], ...] = (),
) -> SoapReply:
    """The answer of a transaction. `inline_limit`: octets of documents without MTOM; None with it.

    Errors: SoapFault, also for a failure of our own, unless it is one of those that are `passing`.
    """
    transaction = module.TRANSACTION
    try:
        if transaction.takes_turns:
            with turns.taken():
                reply = module.respond(request, domain, caller)
        else:
            turns.end()
            reply = module.respond(request, domain, caller)
    except SoapFault:
        raise
    except Exception as error:
        if isinstance(error, passing):
            raise
        raise own_failure(error, transaction.id) from None
    if inline_limit is not None and sum(part.size for part in reply.parts) > inline_limit:
        if reply.finished is not None:
            reply.finished(False)
        raise SoapFault("Sender", f"the documents are larger than {inline_limit} octets: ask for them with MTOM")
    return reply


def own_failure(error: BaseException, transaction: str | None) -> SoapFault:
    """The fault for what only the operator can help: it says nothing but the reference in the log."""
    reference = failures.report("soap.failure", error, transaction=transaction)
    return SoapFault("Receiver", f"the request could not be processed; the operator finds the cause under reference {reference}")
