"""What a transaction is, as data: the record at the head of every transaction file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Wire(StrEnum):
    """The wire form of a transaction."""

    SOAP = "SOAP 1.2"
    HL7V2 = "HL7 v2 over MLLP"
    HTTP = "HTTP"
    DIMSE = "DICOM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One IHE transaction that this software answers.

    `path` is the HTTP path (a prefix for HTTP transactions; `pattern`, when given, is a regular expression for what follows it,
    and goes before transactions of the same prefix without one), `action`/`reply_action` are the wsa:Action values, `body` is the
    request element in Clark notation, `operation` its WSDL operation in the file `wsdl`, `triggers` are values of MSH-9.1^9.2,
    `methods` those of HTTP. A transaction is `safe` when asking again changes nothing: a query, a retrieve. If it `takes_turns`
    it waits for nothing but its own database: its requests are answered one after the other (see `xds.store.database.turns`).
    """

    id: str
    name: str
    responder: str
    wire: Wire
    path: str | None = None
    pattern: str = ""
    action: str | None = None
    reply_action: str | None = None
    body: str | None = None
    mtom: bool = False
    wsdl: str | None = None
    operation: str | None = None
    triggers: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    safe: bool = False
    takes_turns: bool = False
