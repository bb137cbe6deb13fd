"""One transaction in the hands of one thread: all that it writes until then becomes durable together, or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from xds.store.database import turns

Result = TypeVar("Result")
Work = Callable[[Connection], Result]


class Joint(ABC):
    """A transaction that begins with the first piece of work. One thread uses it, and ends it by `commit` or `undo`."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._failure: DBAPIError | None = None
        #: What is to be done after the commit.
        self.afterwards: list[Callable[[], object]] = []

    def run(self, work: Work[Result]) -> Result:
        """Run a piece of work: what it raises undoes it alone. Errors: what `work` raised; an earlier failure of the database."""
        if self._failure is not None:
            # The database may have undone everything: what follows must not become durable alone.
            raise self._failure
        if self._connection is None:
            self._connection = self.begin()
        try:
            with self._connection.begin_nested():
                return work(self._connection)
        except DBAPIError as error:
            self._failure = error
            raise

    @abstractmethod
    def begin(self) -> Connection:
        """Begin the transaction."""

    @abstractmethod
    def commit(self) -> None:
        """Make everything durable. Errors: as `Database.write`."""

    @abstractmethod
    def undo(self, cause: BaseException) -> None:
        """Undo everything, because of `cause`."""


class Loan(Joint):
    """The transaction of a writer that runs in another thread, which waits until it is given back."""

    def __init__(self, submit: Callable[[Work[None], Future[None]], None]) -> None:
        """`submit` hands work to the writer; the future is what becomes of it."""
        super().__init__()
        self._submit = submit
        self._handed: Future[Connection] = Future()
        self._returned: Future[None] = Future()
        self._done: Future[None] = Future()

    def begin(self) -> Connection:
        """Wait for the writer's transaction."""
        self._submit(self._lend, self._done)
        turns.end()
        either: list[Future[Any]] = [self._handed, self._done]
        wait(either, return_when=FIRST_COMPLETED)
        if not self._handed.done():
            # The writer could not even begin.
            self._done.result()
        return self._handed.result()

    def commit(self) -> None:
        """Give it back, and wait until it is durable."""
        self._returned.set_result(None)
        if self._connection is not None:
            self._done.result()

    def undo(self, cause: BaseException) -> None:
        """Give it back to be undone."""
        self._returned.set_exception(cause)
        if self._connection is not None:
            wait((self._done,))

    def _lend(self, connection: Connection) -> None:
        turns.end()
        self._handed.set_result(connection)
        self._returned.result()
