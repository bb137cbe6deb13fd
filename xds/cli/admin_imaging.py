"""`xds admin …` for studies and their manifests: publish, reconcile, look at what waits, decide."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from xds.cli.outcome import Refused
from xds.cli.stores import Config, Data, reading_stores, settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from xds.actors.imaging_document_source import ImagingDocumentSource
    from xds.actors.imaging_reconciler import Reconciled

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Study = Annotated[str, typer.Argument(metavar="UID", help="Study Instance UID.")]


def studies(
    config_file: Config = None,
    data: Data = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the studies and reports that wait: for a patient whom the cross-reference knows, or for a decision.

    Columns: Study Instance UID or number of the report, state, reason, and how the manifest differs.

    **Examples**

    `xds admin studies --config /etc/xds.toml`
    """
    with _source(config_file, data) as source:
        waiting = source.to_review(limit)
        reports = source.reports.waiting(limit)
    rows: list[Mapping[str, str | None]] = [
        {"study": each.study_instance_uid, "state": each.state.value, "reason": each.reason, "drift": each.drift}
        for each in waiting
    ]
    rows += [{"report": each.report_id, "state": each.state.value, "reason": each.reason} for each in reports]
    if not rows:
        print("nothing waits", file=sys.stderr)
    for row in rows:
        print(json.dumps(row, ensure_ascii=False) if as_json else "\t".join(value or "" for value in row.values()))


def publish(study: Study, config_file: Config = None, data: Data = None) -> None:
    """Have the manifest of a study looked at now, without waiting until it is quiet. A running server does it.

    **Examples**

    `xds admin publish 1.2.3.4`
    """
    with _source(config_file, data) as source:
        if source.study(study) is None:
            raise Refused("there is no such study")
        source.changed(study, "command", at_once=True)
    print("the running server looks at it now")


def accept(study: Study, config_file: Config = None, data: Data = None) -> None:
    """Decide that a disputed study is of the patient whom the cross-reference names now.

    What is registered in the record of the other patient is withdrawn, and the study is announced anew.

    **Examples**

    `xds admin accept 1.2.3.4`
    """
    with _source(config_file, data) as source:
        problem = source.accept(study)
    if problem:
        raise Refused(problem)
    print("the running server announces the study anew")


def reconcile(
    study: Annotated[str | None, typer.Argument(metavar="UID", help="Study Instance UID. Default: every study.")] = None,
    config_file: Config = None,
    data: Data = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what differs, and repair nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare manifests with their studies and with the registry, and have those that differ made anew.

    The exit code is 1 when something differs that is not put right by itself. A running server does the same by itself.

    **Examples**

    `xds admin reconcile --dry-run` tells what differs
    """
    left, compared = 0, 0
    with _source(config_file, data) as source:
        for found in _compared(source, study, repair=not dry_run):
            compared += 1
            if found.drift is None:
                continue
            left += not found.is_repaired
            facts = {"study": found.study_instance_uid, "drift": found.drift.value, "repaired": found.is_repaired}
            told = "\t".join((found.study_instance_uid, found.drift.value, "is made anew" if found.is_repaired else "stays"))
            print(json.dumps(facts) if as_json else told, flush=True)
    if not as_json:
        print(f"{compared} studies were compared")
    if left:
        raise Refused(f"{left} manifests differ")


def _compared(source: ImagingDocumentSource, study: str | None, *, repair: bool) -> Iterator[Reconciled]:
    if study is not None:
        found = source.reconciler.reconcile(study, repair=repair)
        if found is None:
            raise Refused("there is no such study, or its manifest is on its way")
        yield found
        return
    seen: set[str] = set()
    while some := [uid for uid in source.reconciler.due(timedelta(0)) if uid not in seen]:
        for uid in some:
            seen.add(uid)
            if found := source.reconciler.reconcile(uid, repair=repair):
                yield found


@contextmanager
def _source(config_file: Path | None, data: Path | None) -> Iterator[ImagingDocumentSource]:
    """The imaging source of a domain that was started before. Errors: those of `reading_stores`."""
    from xds import logs
    from xds.app import existing_imaging_source

    logs.configure("warning")
    settings = settings_of(config_file, data)
    with reading_stores(), existing_imaging_source(settings) as source:
        yield source
