"""`xds identity …`: the identity desk and the weights of linkage, beside a running server or without one."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xds.cli.outcome import Refused, Usage
from xds.cli.printing import AsJson, print_table
from xds.cli.stores import Config, Data, reading_stores, settings_of
from xds.model.caller import SYSTEM, Caller
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.identity_review import ComparedRecords, LinkDecision, ReviewCase, ReviewKind, ReviewRecord, facts

if TYPE_CHECKING:
    from xds.actors.pix_manager import PixManager

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Who is who: review of links, weights, domains.")
review = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Records that may be one person.")
app.add_typer(review, name="review")

One = Annotated[int, typer.Argument(metavar="RECORD", help="Key of one record, as `list` shows it.")]
Other = Annotated[int, typer.Argument(metavar="OTHER", help="Key of the other record.")]
_HISTORY = ("Decision", "When", "Record", "Other", "What", "Why", "Weight", "By", "Undone by")
Note = Annotated[str, typer.Option(help="Why; it is kept with the decision.")]


@contextmanager
def _pix_manager(config_file: Path | None, data: Path | None) -> Iterator[PixManager]:
    from xds.app import existing_pix_manager

    with reading_stores(), existing_pix_manager(settings_of(config_file, data)) as pix:
        yield pix


def _caller() -> Caller:
    """Who sits at the terminal: decisions and the audit trail name them."""
    return Caller(SYSTEM.address, SYSTEM.node, f"{getpass.getuser()} (command line)")


@review.command("list")
def list_cases(
    config_file: Config = None,
    data: Data = None,
    kind: Annotated[ReviewKind | None, typer.Option(help="Only duplicates of one domain, or candidates across domains.")] = None,
    minimum: Annotated[float | None, typer.Option(help="Least weight (log2 odds that they are one person).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    after: Annotated[
        str | None, typer.Option(metavar="PAGE", help="Go on after a page: the `next_page` of the one before.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the open cases, the likeliest first.

    **Examples**

    `xds identity review list --kind duplicate`

    `xds identity review list --minimum 5 --json`
    """
    with _pix_manager(config_file, data) as pix:
        try:
            page = pix.desk.cases(_caller(), kind=kind, minimum=minimum, after=after, limit=limit)
        except ValueError as error:
            raise Usage(f"--after is no page: {after!r}") from error
    if as_json:
        _print_json(facts(page))
        return
    print_table(
        ("Record", "Other", "Kind", "Weight", "Rule", "Veto", "Open since"),
        [_case_row(case) for case in page.cases],
    )
    more = f"; go on with --after {page.next_page}" if page.next_page else ""
    print(f"{len(page.cases)} of {page.total} open cases{more}", file=sys.stderr)


@review.command("show")
def show(one: One, other: Other, config_file: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show two records side by side, why they may be one person, and what was decided about them.

    That somebody read their traits goes into the audit trail.

    **Examples**

    `xds identity review show 1201 1377`
    """
    with _pix_manager(config_file, data) as pix:
        compared = pix.desk.show(one, other, _caller())
    if compared is None:
        raise Refused(f"there are no two records {one} and {other}")
    if as_json:
        _print_json(facts(compared))
    else:
        _print_comparison(compared)


@review.command("link")
def link(one: One, other: Other, config_file: Config = None, data: Data = None, note: Note = "", as_json: AsJson = False) -> None:
    """Declare that two records are one person: no rule separates them any more.

    **Examples**

    `xds identity review link 1201 1377 --note "passport seen"`
    """
    with _pix_manager(config_file, data) as pix:
        _answer(pix.desk.link(one, other, _caller(), note), one, other, as_json)


@review.command("refuse")
def refuse(
    one: One, other: Other, config_file: Config = None, data: Data = None, note: Note = "", as_json: AsJson = False
) -> None:
    """Declare that two records are two persons: no rule and no source joins them any more.

    **Examples**

    `xds identity review refuse 1201 1377 --note "twins"`
    """
    with _pix_manager(config_file, data) as pix:
        _answer(pix.desk.refuse(one, other, _caller(), note), one, other, as_json)


@review.command("unlink")
def unlink(
    one: One, other: Other, config_file: Config = None, data: Data = None, note: Note = "", as_json: AsJson = False
) -> None:
    """End what the rules or this desk linked; the two go back among the open cases.

    **Examples**

    `xds identity review unlink 1201 1377`
    """
    with _pix_manager(config_file, data) as pix:
        _answer(pix.desk.unlink(one, other, _caller(), note), one, other, as_json)


@review.command("undo")
def undo(
    decision: Annotated[int, typer.Argument(help="Key of the decision, as `history` shows it.")],
    config_file: Config = None,
    data: Data = None,
    note: Note = "",
    as_json: AsJson = False,
) -> None:
    """Undo a decision, of the rules as of people.

    **Examples**

    `xds identity review undo 8812`
    """
    with _pix_manager(config_file, data) as pix:
        key = pix.desk.undo(decision, _caller(), note)
    if key is None:
        raise Refused(f"there is no decision {decision} that can be undone")
    _print_decision(key, as_json)


@review.command("history")
def history(
    record: One,
    config_file: Config = None,
    data: Data = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many decisions at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what was decided about a record, the newest first.

    **Examples**

    `xds identity review history 1201`
    """
    with _pix_manager(config_file, data) as pix:
        decisions = pix.desk.history(record, _caller(), limit)
    if decisions is None:
        raise Refused(f"there is no record {record}")
    if as_json:
        _print_json([facts(item) for item in decisions])
        return
    print_table(_HISTORY, map(_decision_row, decisions))


@app.command("domains")
def domains(config_file: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the patient identification domains: those of the configuration, and those that feeds made known.

    **Examples**

    `xds identity domains --json`
    """
    with _pix_manager(config_file, data) as pix:
        found = pix.domains()
    if as_json:
        _print_json([{"name": item.authority.namespace, "oid": item.authority.oid, "sources": item.sources} for item in found])
        return
    rows = [(item.authority.namespace or "", item.authority.oid or "", ", ".join(item.sources) or "any") for item in found]
    print_table(("Name", "OID", "Sources"), rows)


@app.command("join-domains")
def join_domains(
    namespace: Annotated[str, typer.Argument(metavar="NAMESPACE", help="By which one of them is known, without an OID.")],
    oid: Annotated[str, typer.Argument(metavar="OID", help="By which the other one is known, without a namespace.")],
    config_file: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make one patient identification domain of two that feeds made known, one by a namespace and one by an OID.

    Records with the same number become one patient; nothing changes when any such pair cannot be one. Feeds wait meanwhile.

    **Examples**

    `xds identity join-domains HOSP_A 2.999.10`
    """
    from xds.actors.pix_domain_joining import CannotJoinError

    with _pix_manager(config_file, data) as pix:
        try:
            done = pix.join_domains(AssigningAuthority(namespace, oid), _caller())
        except CannotJoinError as error:
            raise Refused("; ".join((str(error), *error.values))) from None
    if as_json:
        _print_json({"moved": done.moved, "same": done.same, "contradictory": done.contradictory})
        return
    print(f"{namespace} and {oid} are one domain: {done.moved} identifiers moved, {done.same} were in both")
    for value in done.contradictory:
        print(f"{value} was fed meanwhile and means two different patients", file=sys.stderr)


@app.command("train")
def train(
    config_file: Config = None,
    data: Data = None,
    records: Annotated[int, typer.Option(min=1000, help="How many records are learned from at most.")] = 200_000,
    activate: Annotated[bool, typer.Option("--yes", help="Put the new weights in force without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Learn the weights of linkage from the register itself, without labels, and store them as a new version.

    What changes is shown; then the question is whether the new version is put in force. Links that exist are not touched: each
    record is compared by the new weights when its traits change. A running server takes them within a minute.

    **Examples**

    `xds identity train` asks before it activates

    `xds identity train --yes --json`
    """
    with _pix_manager(config_file, data) as pix:
        outcome = pix.train(records)
        if outcome is None:
            raise Refused("the register has too few records to learn from")
        if as_json:
            _print_json(
                {"version": outcome.version, "records": outcome.records, "changes": [list(item) for item in outcome.changes]}
            )
        else:
            rows = [(trait, str(level), f"{old:.2f}", f"{new:.2f}") for trait, level, old, new in outcome.changes]
            print_table(("Trait", "Level", "In force", "New"), rows)
        asked = not activate and sys.stdin.isatty()
        if activate or (asked and typer.confirm(f"Put version {outcome.version} in force?", err=True)):
            pix.activate_weights(outcome.version)
            print(f"version {outcome.version} is in force", file=sys.stderr)
        else:
            print(
                f"version {outcome.version} is stored; `xds identity activate {outcome.version}` puts it in force",
                file=sys.stderr,
            )


@app.command("weights")
def weights(config_file: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the versions of the weights; the first one is in force, if it was ever activated.

    **Examples**

    `xds identity weights`
    """
    with _pix_manager(config_file, data) as pix:
        found = pix.weights()
    if as_json:
        _print_json([{"version": item.version, "created": item.created, "activated": item.activated} for item in found])
        return
    if not found:
        print("the weights that come with the software are in force; `xds identity train` learns others", file=sys.stderr)
    print_table(
        ("Version", "Created", "Activated"),
        [(item.version, _time(item.created), _time(item.activated) if item.activated else "") for item in found],
    )


@app.command("activate")
def activate(
    version: Annotated[str, typer.Argument(help="The version, as `weights` shows it.")],
    config_file: Config = None,
    data: Data = None,
) -> None:
    """Put a stored version of the weights in force.

    **Examples**

    `xds identity activate 2026-02-01T10:00`
    """
    with _pix_manager(config_file, data) as pix:
        if not pix.activate_weights(version):
            raise Refused(f"there are no weights of version {version}")
    print(f"version {version} is in force", file=sys.stderr)


# Printing


def _answer(key: int | None, one: int, other: int, as_json: bool) -> None:
    if key is None:
        raise Refused(f"nothing was changed: there are no two such records {one} and {other}, or nothing links them")
    _print_decision(key, as_json)


def _print_decision(key: int, as_json: bool) -> None:
    print(json.dumps({"decision": key}) if as_json else f"decision {key}; `xds identity review undo {key}` undoes it")


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _case_row(case: ReviewCase) -> tuple[str, ...]:
    evidence = case.evidence
    return (
        str(case.lower),
        str(case.higher),
        case.kind,
        f"{case.weight:.1f}",
        evidence.rule,
        evidence.veto or "",
        _time(case.opened),
    )


def _decision_row(item: LinkDecision) -> tuple[str, ...]:
    weight = "" if item.evidence.total is None else f"{item.evidence.total:.1f}"
    undone = "" if item.undone_by is None else str(item.undone_by)
    what = (str(item.key), _time(item.decided), str(item.lower), str(item.higher), item.action, item.reason)
    return (*what, weight, item.by or "rules", undone)


def _print_comparison(compared: ComparedRecords) -> None:
    left, right = _described(compared.one), _described(compared.other)
    names = dict.fromkeys((*left, *right))
    print_table(
        ("", f"Record {compared.one.key}", f"Record {compared.other.key}"),
        [(name, left.get(name, ""), right.get(name, "")) for name in names],
    )
    evidence = compared.evidence
    rows = [(trait, str(evidence.levels.get(trait, "")), f"{bits:+.1f}") for trait, bits in evidence.weights.items()]
    print_table(("Trait", "Level", "Weight"), rows)
    total = "nothing to compare" if evidence.total is None else f"{evidence.total:.1f}"
    veto = f", veto: {evidence.veto}" if evidence.veto else ""
    linked = "one person" if compared.are_linked else "two persons"
    print(f"now {linked}; weight {total}{veto}; weights of version {evidence.version}", file=sys.stderr)
    print_table(_HISTORY, map(_decision_row, compared.history))


def _described(record: ReviewRecord) -> dict[str, str]:
    """A record as lines of a table, each with its name."""
    lines = {
        "identifiers": ", ".join(
            f"{item.value} ({item.authority.namespace or item.authority.oid})" for item in record.identifiers
        )
    }
    for stated in record.stated:
        person = stated.demographics
        said = {
            "names": ", ".join(f"{name.family} {name.given} {name.further_given}".strip() for name in person.names),
            "birth date": person.birth_date or "",
            "sex": person.sex or "",
            "addresses": ", ".join(f"{item.street} {item.postal_code} {item.city}".strip() for item in person.addresses),
            "telephones": ", ".join(person.telephones),
            "national identifiers": ", ".join(item.value for item in person.national_identifiers),
            "reliability": ", ".join(person.reliability),
        }
        lines |= {f"{name} ({stated.source})": value for name, value in said.items() if value}
    lines["linked with"] = _written(record.linked)
    return {name: value for name, value in lines.items() if value}


def _written(identifiers: Iterable[PatientIdentifier]) -> str:
    return ", ".join(f"{item.value} ({item.authority.namespace or item.authority.oid})" for item in identifiers)
