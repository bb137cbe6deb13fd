"""Work that a transaction leaves for the worker: rows written together with the data they follow from.

A job that is claimed is leased: when its worker dies, it becomes due again. Each job must therefore bear being done twice.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, select, text, update

from xds.store.dialects import put
from xds.store.schema.operations import job
from xds.store.statements import Prepared

#: How long a worker may take before its job is given to another.
LEASE = timedelta(minutes=10)

#: A job that a worker has claimed is asked for anew: it may have looked before this transaction's effect was to be seen.
_REQUEST: Final = Prepared(
    text(
        "INSERT INTO job (kind, key, payload, run_at, attempts) VALUES (:kind, :key, :payload, :run_at, 0)"
        " ON CONFLICT (kind, key) DO UPDATE SET payload = excluded.payload, run_at = excluded.run_at, attempts = 0, error = NULL"
        " WHERE job.attempts > 0 OR job.run_at IS NULL"
    )
)
#: Whoever works at a job that goes on while there is something to do finds this, too, before it ends; and who failed waits on.
#: Even where nothing is updated the row is locked, so that no such job ends between what is to be done and this.
_CALL: Final = Prepared(
    text(
        "INSERT INTO job (kind, key, payload, run_at, attempts) VALUES (:kind, :key, '{}', :run_at, 0)"
        " ON CONFLICT (kind, key) DO UPDATE SET run_at = excluded.run_at, attempts = 0, error = NULL"
        " WHERE job.run_at IS NULL OR (job.attempts = 0 AND job.run_at > excluded.run_at)"
    )
)
#: Most of those who put a job off find that it stands where it should: then no page is written.
_PUT_OFF: Final = Prepared(
    text(
        "INSERT INTO job (kind, key, payload, run_at, attempts) VALUES (:kind, :key, '{}', :soonest, 0)"
        " ON CONFLICT (kind, key) DO UPDATE SET payload = '{}', run_at = :latest, attempts = 0, error = NULL"
        " WHERE job.attempts > 0 OR job.run_at IS NULL OR job.payload <> '{}' OR job.run_at NOT BETWEEN :soonest AND :latest"
    )
)
_WITHDRAW: Final = Prepared(text("DELETE FROM job WHERE kind = :kind AND key = :key"))


@dataclass(slots=True)
class Job:
    """A claimed job. `attempts` counts this one; `lease` tells this claim from a later request for the same work.

    When the lease ends another worker may take the job; `renewed` moves it.
    """

    job_id: int
    kind: str
    key: str
    payload: Mapping[str, Any]
    attempts: int
    lease: int


def _milliseconds(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1000)


def add(connection: Connection, kind: str, key: str, payload: Mapping[str, Any], run_at: datetime) -> None:
    """Ask for work. An open job of that kind and key is replaced: it gets the new payload and time, and starts afresh."""
    values = {
        "kind": kind,
        "key": key,
        "payload": json.dumps(payload, ensure_ascii=False),
        "run_at": _milliseconds(run_at),
        "attempts": 0,
        "error": None,
    }
    put(connection, job, ("kind", "key"), values)


def request(connection: Connection, kind: str, run_at: datetime, key: str = "", payload: Mapping[str, Any] | None = None) -> None:
    """Ask for work unless it is asked for already: then the payload and the time of who asked first hold.

    For what every transaction of a kind asks for.
    """
    written = json.dumps(payload, ensure_ascii=False) if payload else "{}"
    _REQUEST.run(connection, ({"kind": kind, "key": key, "payload": written, "run_at": _milliseconds(run_at)},))


def call(connection: Connection, kind: str, key: str, run_at: datetime) -> None:
    """Have somebody work at what waits under that key. Nobody is disturbed who does, and who failed is tried again in its time.

    For work that is done until nothing is left of it, which whoever does it finds out in the write that ends the job.
    """
    _CALL.run(connection, ({"kind": kind, "key": key, "run_at": _milliseconds(run_at)},))


def put_off(connection: Connection, kind: str, key: str, soonest: datetime, leeway: timedelta) -> None:
    """Ask for work that is not to be done before a time, and is put off again and again: what is asked for already moves, by as
    much more as the leeway, only when it would come too soon."""
    values = {"kind": kind, "key": key, "soonest": _milliseconds(soonest), "latest": _milliseconds(soonest + leeway)}
    _PUT_OFF.run(connection, (values,))


def hasten(connection: Connection, kind: str, run_at: datetime) -> None:
    """Have the work of a kind that waits for later done at that time."""
    moment = _milliseconds(run_at)
    own = (job.c.kind == kind) & (job.c.run_at > moment) & (job.c.attempts == 0)
    connection.execute(update(job).where(own).values(run_at=moment))


def withdraw(connection: Connection, kind: str, key: str) -> None:
    """The work of that key is not needed any more."""
    _WITHDRAW.run(connection, ({"kind": kind, "key": key},))


def payload_of(connection: Connection, kinds: Collection[str], key: str) -> Mapping[str, Any] | None:
    """What the job of that key, of one of these kinds, is about; None when there is none."""
    statement = select(job.c.payload).where(job.c.kind.in_(list(kinds)), job.c.key == key)
    found = connection.execute(statement.limit(1)).scalar_one_or_none()
    return None if found is None else json.loads(found)


def claim(connection: Connection, now: datetime, limit: int, kinds: Collection[str] | None = None) -> tuple[Job, ...]:
    """Lease the jobs that are due, of these kinds or of any, the longest waiting first. Call it inside a write."""
    due = select(job).where(job.c.run_at <= _milliseconds(now)).order_by(job.c.run_at, job.c.job_id).limit(limit)
    if kinds is not None:
        due = due.where(job.c.kind.in_(list(kinds)))
    # Another worker that claims at this moment takes the jobs after these.
    due = due.with_for_update(skip_locked=True)
    lease = _milliseconds(now + LEASE)
    claimed = tuple(
        Job(row.job_id, row.kind, row.key, json.loads(row.payload), row.attempts + 1, lease) for row in connection.execute(due)
    )
    if claimed:
        keys = [item.job_id for item in claimed]
        connection.execute(update(job).where(job.c.job_id.in_(keys)).values(run_at=lease, attempts=job.c.attempts + 1))
    return claimed


def take_back(connection: Connection, now: datetime) -> int:
    """Have every job due now that somebody had claimed, or that was to be tried again later; gives how many.

    For the only server of its database, before its workers start: whoever had claimed them is gone.
    """
    moment = _milliseconds(now)
    claimed = (job.c.attempts > 0) & (job.c.run_at > moment)
    return connection.execute(update(job).where(claimed).values(run_at=moment)).rowcount


def renewed(
    connection: Connection, held: Job, now: datetime, duration: timedelta = LEASE, attempts: int | None = None
) -> int | None:
    """Keep others from a job that takes long. Gives its new `lease`, to be set once this is durable; None: it was lost.

    `attempts` is their number from now on: fewer when it has got somewhere.
    """
    lease = _milliseconds(now + duration)
    statement = update(job).where(job.c.job_id == held.job_id, job.c.run_at == held.lease)
    values = {"run_at": lease, "attempts": held.attempts if attempts is None else attempts}
    return lease if connection.execute(statement.values(values)).rowcount else None


def finish(connection: Connection, done: Job) -> bool:
    """The work is done. A request for the same work that arrived meanwhile stays. False when the lease was lost."""
    return bool(connection.execute(delete(job).where(job.c.job_id == done.job_id, job.c.run_at == done.lease)).rowcount)


def fail(connection: Connection, failed: Job, run_again_at: datetime | None, error: str) -> None:
    """The work failed. None as time gives it up: the row stays for an operator to see. `error` holds nothing about patients."""
    again = _milliseconds(run_again_at) if run_again_at else None
    statement = update(job).where(job.c.job_id == failed.job_id, job.c.run_at == failed.lease)
    connection.execute(statement.values(run_at=again, error=error))
