"""Links between records, every decision about them with its evidence, and the cases that wait for a person."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, func, or_, select, text, update

from xds.model.identity_review import DecisionAction, LinkDecision, LinkEvidence, ReviewCase, ReviewKind
from xds.store.dialects import put
from xds.store.patients_changes import ChangeRows
from xds.store.schema.identity import link_decision, link_review, person_link
from xds.store.statements import Prepared, prepared_insert

_LINK: Final = (person_link.c.lower_key, person_link.c.higher_key, person_link.c.reason)
_EITHER: Final = or_(
    person_link.c.lower_key.in_(bindparam("person_keys", expanding=True)),
    person_link.c.higher_key.in_(bindparam("person_keys", expanding=True)),
)
_LINKS: Final = Prepared(select(*_LINK).where(person_link.c.ended.is_(None), _EITHER))
_HAS_LINKS: Final = Prepared(
    text("SELECT 1 FROM person_link WHERE lower_key = :key UNION ALL SELECT 1 FROM person_link WHERE higher_key = :key LIMIT 1")
)
_REVIEWS_OF: Final = Prepared(
    text(
        "SELECT lower_key, higher_key FROM link_review WHERE (lower_key = :key OR higher_key = :key)"
        " AND (kind <> 'duplicate' OR (SELECT cluster_key FROM person WHERE person_key = lower_key)"
        " <> (SELECT cluster_key FROM person WHERE person_key = higher_key))"
    )
)
_ADD_LINK: Final = Prepared(
    text(
        "INSERT INTO person_link (lower_key, higher_key, reason, created, ended)"
        " VALUES (:lower_key, :higher_key, :reason, :created, NULL)"
        " ON CONFLICT (lower_key, higher_key, reason) DO UPDATE SET created = excluded.created, ended = NULL"
    )
)
_END_LINK: Final = Prepared(
    text("UPDATE person_link SET ended = :ended WHERE lower_key = :lower_key AND higher_key = :higher_key AND reason = :reason")
)
_DECIDE: Final = prepared_insert(link_decision)
_CASE: Final = "FROM link_review WHERE lower_key = :lower_key AND higher_key = :higher_key"
_CASE_OF: Final = Prepared(text(f"SELECT kind, weight, opened, evidence {_CASE}"))
_CLOSE_CASE: Final = Prepared(text(f"DELETE {_CASE}"))
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class StoredLink:
    """A link between two records that is in force."""

    lower_key: int
    higher_key: int
    reason: str


def write_evidence(evidence: LinkEvidence) -> str:
    """Evidence as JSON text, without what is absent."""
    fields = {
        "levels": evidence.levels,
        "weights": evidence.weights,
        "total": evidence.total,
        "veto": evidence.veto,
        "rule": evidence.rule,
        "version": evidence.version,
    }
    return _encode({name: value for name, value in fields.items() if value not in (None, "", {})})


def read_evidence(stored: str) -> LinkEvidence:
    """The inverse of `write_evidence`."""
    return LinkEvidence(**json.loads(stored))


class LinkRows(ChangeRows):
    """Links, decisions and cases as one transaction sees them. `connection` is that transaction's."""

    def add_link(self, one: int, other: int, reason: str, now: int) -> None:
        """Link two records; a link of the same reason that had ended is in force again."""
        lower, higher = sorted((one, other))
        values = {"lower_key": lower, "higher_key": higher, "reason": reason, "created": now}
        self.note(lower, higher)
        _ADD_LINK.run(self.connection, (values,))

    def end_link(self, link: StoredLink, now: int) -> None:
        """End a link; its row stays."""
        self.note(link.lower_key, link.higher_key)
        key = {"lower_key": link.lower_key, "higher_key": link.higher_key, "reason": link.reason}
        _END_LINK.run(self.connection, ({"ended": now, **key},))

    def links(self, person_keys: Collection[int]) -> tuple[StoredLink, ...]:
        """Every link in force at one of those records."""
        if not person_keys:
            return ()
        if len(person_keys) == 1:
            # Most records have none, and a list costs more than a look.
            (key,) = person_keys
            if _HAS_LINKS.row(self.connection, {"key": key}) is None:
                return ()
        return tuple(StoredLink(*row) for row in _LINKS.rows(self.connection, {"person_keys": list(person_keys)}))

    # Decisions

    def decide(
        self,
        one: int,
        other: int,
        action: DecisionAction,
        reason: str,
        now: int,
        evidence: LinkEvidence | None = None,
        *,
        by: str = "",
        note: str = "",
    ) -> int:
        """Keep a decision, and give its key."""
        lower, higher = sorted((one, other))
        evidence = evidence or LinkEvidence()
        key = self.new_key(link_decision.c.decision_key)
        values = {
            "decision_key": key,
            "lower_key": lower,
            "higher_key": higher,
            "action": action,
            "reason": reason,
            "weight": evidence.total,
            "evidence": write_evidence(evidence),
            "decided_by": by,
            "note": note,
            "undone_by": None,
            "decided": now,
        }
        _DECIDE.run(self.connection, (values,))
        return key

    def decision(self, key: int) -> LinkDecision | None:
        """The decision of that key."""
        row = self.connection.execute(select(link_decision).where(link_decision.c.decision_key == key)).mappings().first()
        return _decision(row) if row else None

    def set_undone(self, key: int, by: int) -> None:
        """Note which decision undid that one."""
        where = link_decision.c.decision_key == key
        self.connection.execute(update(link_decision).where(where).values(undone_by=by))

    def history(self, person_keys: Collection[int], limit: int, *, both: bool = False) -> tuple[LinkDecision, ...]:
        """The newest decisions about one of those records (`both`: about two of them), the newest first."""
        keys = list(person_keys)
        lower, higher = link_decision.c.lower_key.in_(keys), link_decision.c.higher_key.in_(keys)
        where = (lower & higher) if both else or_(lower, higher)
        rows = self.connection.execute(
            select(link_decision).where(where).order_by(link_decision.c.decision_key.desc()).limit(limit)
        )
        return tuple(_decision(row) for row in rows.mappings())

    # Cases

    def open_case(self, one: int, other: int, kind: ReviewKind, evidence: LinkEvidence, now: int) -> None:
        """Put a case into the queue, or give the one that stands there its newest evidence."""
        lower, higher = sorted((one, other))
        key = {"lower_key": lower, "higher_key": higher}
        values = {"kind": kind, "weight": evidence.total or 0.0, "evidence": write_evidence(evidence), "opened": now}
        put(self.connection, link_review, tuple(key), {**key, **values})

    def close_case(self, one: int, other: int) -> None:
        """Take a case out of the queue, if it stands there."""
        lower, higher = sorted((one, other))
        _CLOSE_CASE.run(self.connection, ({"lower_key": lower, "higher_key": higher},))

    def cases_of(self, person_key: int) -> frozenset[int]:
        """The records with which this one stands in open cases that rules may close.

        A duplicate of one domain that is one person already waits for its establishment, whatever is stated of it.
        """
        pairs = _REVIEWS_OF.rows(self.connection, {"key": person_key})
        return frozenset(lower if higher == person_key else higher for lower, higher in pairs)

    def case(self, one: int, other: int) -> ReviewCase | None:
        """The open case of two records."""
        lower, higher = sorted((one, other))
        row = _CASE_OF.row(self.connection, {"lower_key": lower, "higher_key": higher})
        if row is None:
            return None
        kind, weight, opened, evidence = row
        return ReviewCase(lower, higher, ReviewKind(kind), weight, opened, read_evidence(evidence))

    def cases(
        self,
        limit: int,
        *,
        kind: ReviewKind | None = None,
        minimum: float | None = None,
        after: tuple[float, int, int] | None = None,
    ) -> tuple[ReviewCase, ...]:
        """Open cases, the weightiest first; after that (weight, lower, higher)."""
        table = link_review
        statement = select(table)
        if kind is not None:
            statement = statement.where(table.c.kind == kind)
        if minimum is not None:
            statement = statement.where(table.c.weight >= minimum)
        if after is not None:
            weight, lower, higher = after
            same = (table.c.weight == weight) & (
                (table.c.lower_key < lower) | ((table.c.lower_key == lower) & (table.c.higher_key < higher))
            )
            statement = statement.where(table.c.weight <= weight, (table.c.weight < weight) | same)
        order = (table.c.weight.desc(), table.c.lower_key.desc(), table.c.higher_key.desc())
        rows = self.connection.execute(statement.order_by(*order).limit(limit))
        return tuple(_case(row) for row in rows.mappings())

    def count_cases(self, kind: ReviewKind | None = None) -> int:
        """How many cases are open."""
        statement = select(func.count()).select_from(link_review)
        if kind is not None:
            statement = statement.where(link_review.c.kind == kind)
        return int(self.connection.execute(statement).scalar_one())


def _decision(row: Mapping[Any, Any]) -> LinkDecision:
    return LinkDecision(
        row["decision_key"],
        row["lower_key"],
        row["higher_key"],
        DecisionAction(row["action"]),
        row["reason"],
        row["decided"],
        read_evidence(row["evidence"]),
        row["decided_by"],
        row["note"],
        row["undone_by"],
    )


def _case(row: Mapping[Any, Any]) -> ReviewCase:
    return ReviewCase(
        row["lower_key"],
        row["higher_key"],
        ReviewKind(row["kind"]),
        row["weight"],
        row["opened"],
        read_evidence(row["evidence"]),
    )
