"""Statements that travel to a PostgreSQL server together, and are answered together.

The way to the server and back takes longer than most statements do, and each message that travels alone wakes up a process that
goes to sleep again after it. Statements therefore wait here until somebody needs an answer; then all of them go in one
transmission. Each text is prepared once on its connection, and the server finds the types of the parameters.

Spec: PostgreSQL manual, libpq: pipeline mode.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import InFailedSqlTransaction, error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format, PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGresult

#: Texts that stay prepared on a connection, and statements that wait at most.
_PREPARED: Final = 256
_WAITING: Final = 256

_TEXT: Final = int(Format.TEXT)
_BINARY: Final = int(Format.BINARY)
_IDLE: Final = int(TransactionStatus.IDLE)
_SYNC: Final = int(ExecStatus.PIPELINE_SYNC)
_FAILED: Final = int(ExecStatus.FATAL_ERROR)
_BAD: Final = int(ConnStatus.BAD)
_OFF: Final = int(PipelineStatus.OFF)

_COMMIT: Final = "COMMIT"
_ROLLBACK: Final = "ROLLBACK"


def _list(value: Sequence[int]) -> bytes:
    return b"{%s}" % b",".join([b"%d" % item for item in value])


#: How a value travels, and in which format. The octets of a text have a length, so that a NUL inside of it is refused.
_PARAMETERS: Final[Mapping[type, tuple[Callable[[Any], bytes | None], int]]] = {
    type(None): (lambda value: None, _BINARY),
    str: (str.encode, _BINARY),
    bytes: (bytes, _BINARY),
    # What SQLAlchemy makes of octets.
    psycopg.Binary: (lambda value: bytes(value.obj), _BINARY),
    bool: (lambda value: b"t" if value else b"f", _TEXT),
    int: (b"%d".__mod__, _TEXT),
    float: (lambda value: repr(value).encode(), _TEXT),
    list: (_list, _TEXT),
}


class Statement:
    """A statement on its way. Whoever put it asks the exchange for its rows."""

    __slots__ = ("formats", "known", "result", "text", "values")

    def __init__(self, text: str, values: Sequence[Any] = ()) -> None:
        try:
            ways = [_PARAMETERS[type(value)] for value in values]
        except KeyError:
            ways = [_way(value) for value in values]
        self.text = text
        self.values = [way[0](value) for way, value in zip(ways, values, strict=True)]
        self.formats = [way[1] for way in ways]
        self.known: _Prepared | None = None
        #: What the server answered, when it did what was asked.
        self.result: PGresult | None = None


def _way(value: object) -> tuple[Callable[[Any], bytes | None], int]:
    """That of the nearest base of its type: a member of an enumeration goes as the text or number that it is."""
    found = next((_PARAMETERS[base] for base in type(value).__mro__ if base in _PARAMETERS), None)
    if found is None:
        raise psycopg.ProgrammingError(f"a {type(value).__name__} cannot be a parameter")
    return found


class _Prepared:
    """A text that the server knows by a name, and how the columns of its answer are read."""

    __slots__ = ("name", "reader")

    def __init__(self, name: bytes, connection: psycopg.Connection[Any]) -> None:
        self.name = name
        self.reader = Transformer(connection)


class Exchange:
    """The statements of one connection, in the hands of one thread. They run in transactions that begin with the first of them.

    Errors: of every method that waits for the server, psycopg.Error: the first statement of a transmission that failed, after
    which the server has run none of those behind it; or the connection was lost, and is closed.
    """

    def __init__(self, connection: psycopg.Connection[Any], beginning: str) -> None:
        """`beginning` is the statement that begins a transaction; the connection must not do so by itself."""
        self._connection = connection
        self._server = connection.pgconn
        self._beginning = beginning
        self._waiting: list[Statement] = []
        self._prepared: dict[str, _Prepared] = {}
        #: Names of texts that made way for newer ones, until the server is told.
        self._forgotten: list[bytes] = []
        self._names = 0
        self._poll = select.poll()
        self._poll.register(self._server.socket, select.POLLIN)

    def is_silent(self) -> bool:
        """False when the server has said something since: that it shut down, or that the connection is closed.

        Costs no round trip, unlike asking.
        """
        return not self._poll.poll(0)

    def put(self, text: str, values: Sequence[Any] = ()) -> Statement:
        """Add a statement with the parameters $1, $2, …, which goes with the next transmission."""
        if len(self._waiting) >= _WAITING:
            self.settle()
        statement = Statement(text, values)
        self._waiting.append(statement)
        return statement

    def rows(self, statement: Statement) -> list[tuple[Any, ...]]:
        """Every row of its answer, once."""
        if statement.result is None:
            self.settle()
        result, statement.result = statement.result, None
        if result is None or statement.known is None:
            raise psycopg.InterfaceError("the statement was not run, or was asked for its rows before")
        reader = statement.known.reader
        reader.set_pgresult(result)
        return reader.load_rows(0, result.ntuples, tuple)

    def settle(self) -> None:
        """Let the server do what waits."""
        statements, self._waiting = self._waiting, []
        if statements:
            if self._server.transaction_status == _IDLE:
                statements.insert(0, Statement(self._beginning))
            self._transmit(statements)

    def commit(self) -> None:
        """Let the server do what waits, and end the transaction, which is undone when it fails."""
        if not self._waiting and self._server.transaction_status == _IDLE:
            return
        end = self.put(_COMMIT)
        try:
            self.settle()
        except psycopg.Error:
            with suppress(psycopg.Error):
                self.rollback()
            raise
        if end.result is not None and end.result.command_status == b"ROLLBACK":
            raise InFailedSqlTransaction("an earlier statement of the transaction had failed")

    def rollback(self) -> None:
        """Forget what waits, and undo the transaction."""
        self._waiting.clear()
        if self._server.transaction_status != _IDLE:
            self._transmit([Statement(_ROLLBACK)])

    def run(self, texts: Sequence[str]) -> None:
        """Run statements outside of a transaction of their own."""
        self._transmit([Statement(text) for text in texts])

    def _transmit(self, statements: Sequence[Statement]) -> None:
        server = self._server
        #: What the results belong to; a text is one that is prepared.
        sent: list[Statement | str | None] = []
        try:
            begins = server.transaction_status == _IDLE
            server.enter_pipeline_mode()
            for statement in statements:
                statement.known = self._prepared.get(statement.text) or self._prepare(statement.text, sent)
                server.send_query_prepared(statement.known.name, statement.values, statement.formats, _BINARY)
                sent.append(statement)
                if begins and self._forgotten:
                    self._forget(sent)
            server.pipeline_sync()
            results = self._results()
            server.exit_pipeline_mode()
        finally:
            if server.pipeline_status != _OFF:
                # Nobody knows any more what the next answer would belong to.
                self._connection.close()
        self._share(sent, results)

    def _share(self, sent: Sequence[Statement | str | None], results: Sequence[PGresult]) -> None:
        failed: PGresult | None = None
        for each, result in zip(sent, results, strict=True):
            if failed is None and result.status == _FAILED:
                failed = result
            if isinstance(each, Statement):
                each.result = result if failed is None else None
            elif each is not None and failed is not None:
                del self._prepared[each]
        if failed is not None:
            raise error_from_result(failed)

    def _prepare(self, text: str, sent: list[Statement | str | None]) -> _Prepared:
        if len(self._prepared) >= _PREPARED:
            self._forgotten.append(self._prepared.pop(next(iter(self._prepared))).name)
        self._names += 1
        known = self._prepared[text] = _Prepared(b"s%d" % self._names, self._connection)
        self._server.send_prepare(known.name, text.encode())
        sent.append(text)
        return known

    def _forget(self, sent: list[Statement | str | None]) -> None:
        for name in self._forgotten:
            self._server.send_query_params(b"DEALLOCATE " + name, None)
            sent.append(None)
        self._forgotten.clear()

    def _results(self) -> list[PGresult]:
        """What the server answers to each message until the end of the transmission."""
        server = self._server
        results: list[PGresult] = []
        is_unsent = server.flush()
        while True:
            while server.is_busy():
                self._wait(is_unsent)
                server.consume_input()
                if is_unsent:
                    is_unsent = server.flush()
            result = server.get_result()
            if result is None:
                if server.status == _BAD:
                    raise psycopg.OperationalError("the connection is lost")
            elif result.status == _SYNC:
                return results
            else:
                results.append(result)

    def _wait(self, is_unsent: int) -> None:
        """Until the server has said something, or also until it takes more."""
        if not is_unsent:
            self._poll.poll()
            return
        self._poll.modify(self._server.socket, select.POLLIN | select.POLLOUT)
        self._poll.poll()
        self._poll.modify(self._server.socket, select.POLLIN)
