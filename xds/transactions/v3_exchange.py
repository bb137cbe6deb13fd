"""The client's side of every HL7 version 3 transaction: a message goes out by SOAP, an acknowledged answer comes back.

Spec: ITI TF-2 Appendix O, V.
"""

from __future__ import annotations

import ssl

from lxml import etree

from xds.transactions.client import UnusableAnswerError, post_soap
from xds.transactions.transaction import Transaction
from xds.wire.hl7v3_acknowledgement import Acknowledged, UnusableError, read_acknowledgement


def ask(
    endpoint: str, transaction: Transaction, message: bytes, *, timeout: float, ssl_context: ssl.SSLContext | None = None
) -> tuple[etree._Element, Acknowledged]:
    """The answer to a message, and the acknowledgement in it. `timeout` is in seconds.

    Errors: SoapFault; ConnectionError, TimeoutError when nobody answers, or nothing usable.
    """
    answer = post_soap(endpoint, transaction, message, timeout=timeout, ssl_context=ssl_context).body
    return answer, acknowledgement_of(answer)


def acknowledgement_of(answer: etree._Element) -> Acknowledged:
    """The acknowledgement in an answer. Errors: UnusableAnswerError."""
    try:
        return read_acknowledgement(answer)
    except UnusableError as error:
        raise UnusableAnswerError(str(error)) from None
