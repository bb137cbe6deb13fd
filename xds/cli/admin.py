"""`xds admin …`: care of what is stored, beside a running server or without one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xds.cli import admin_imaging
from xds.cli.outcome import Refused, Usage
from xds.cli.stores import Config, Data, reading_stores, settings_of

if TYPE_CHECKING:
    from xds.actors.repository_care import Finding, RepositoryCare, Scrubbed
    from xds.store.blob_references import Reference

#: Younger blobs may belong to a submission that is not registered yet.
LEAST_HOURS = 1.0

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Care of what is stored.")


@app.command("scrub")
def scrub(
    config_file: Config = None,
    data: Data = None,
    readers: Annotated[int, typer.Option(min=1, max=64, help="How many blobs are read at a time.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line; the last one is the summary.")] = False,
) -> None:
    """Read every document and image again and compare it with its hash and with the database.

    Missing and damaged ones, and those of another size than the database says, are printed with what is affected; then the exit
    code is 1. What nothing refers to is printed as well: submissions that failed leave it, and it does no harm.
    Nothing is changed, and the server may run meanwhile.

    **Examples**

    `xds admin scrub --data /srv/xds` shows progress, rate and time left on a terminal

    `xds admin scrub --config /etc/xds.toml --json > scrub.jsonl` for a timer
    """
    from xds.actors.repository_care import Scrubbed

    scrubbed = Scrubbed()
    with _care(config_file, data, writing=False) as care, _progress(care) as advance:
        for finding in care.scrub(scrubbed, readers=readers, advanced=advance):
            print(json.dumps(_facts(finding), ensure_ascii=False) if as_json else "\t".join(_row(finding)), flush=True)
    _summarise(scrubbed, as_json)
    if not scrubbed.is_clean:
        raise Refused("what is stored is damaged")


@app.command("sweep")
def sweep(
    config_file: Config = None,
    data: Data = None,
    hours: Annotated[float, typer.Option(min=LEAST_HOURS, help="What was stored later than that many hours ago stays.")] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell how many would be removed, and remove none.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Remove documents and images that nothing refers to, left by submissions that failed.

    A running server does the same by itself every few hours.

    **Examples**

    `xds admin sweep --dry-run` tells how many there are
    """
    from xds.app import utc_now

    with _care(config_file, data, writing=not dry_run) as care:
        count = care.sweep(committed_before=utc_now() - timedelta(hours=hours), rehearse=dry_run)
    if as_json:
        print(json.dumps({"blobs": count, "removed": not dry_run}))
    else:
        print(f"{count} blobs {'would be' if dry_run else 'were'} removed")


@app.command("migrate")
def migrate(
    config_file: Config = None,
    data: Data = None,
    to: Annotated[int | None, typer.Option(min=1, help="Version of the tables. Default: the one of this software.")] = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print the statements, and change nothing.")] = False,
) -> None:
    """Bring the tables of the database to the version that this software needs.

    `xds serve` does the same when it starts. Beforehand, when no server of an older version may go on meanwhile, or by somebody
    else: with `--sql` a database administrator gets the statements. There is no way back to an older version; keep a copy.

    **Examples**

    `xds admin migrate --config /etc/xds.toml` before the servers are restarted

    `xds admin migrate --config /etc/xds.toml --sql > tables.sql` for an administrator
    """
    from xds.app import database_of
    from xds.store import migrations

    wanted = migrations.SCHEMA_VERSION if to is None else to
    if wanted > migrations.SCHEMA_VERSION:
        raise Usage(f"this software knows the tables up to version {migrations.SCHEMA_VERSION}")
    with reading_stores(), database_of(settings_of(config_file, data)) as database:
        if sql:
            with database.read() as connection:
                script = migrations.script(connection.dialect.name, migrations.current_version(connection), wanted)
            print(script, end="")
            if not script:
                print("the tables need no statement", file=sys.stderr)
            return
        before, after = database.write(lambda connection: migrations.migrate(connection, wanted))
    if before == after:
        print(f"the tables have version {after} already")
    else:
        print(f"the tables have version {after} now" + (f", after {before}" if before else ", in a database that was empty"))


app.command("studies")(admin_imaging.studies)
app.command("publish")(admin_imaging.publish)
app.command("accept")(admin_imaging.accept)
app.command("reconcile")(admin_imaging.reconcile)


@contextmanager
def _care(config_file: Path | None, data: Path | None, *, writing: bool) -> Iterator[RepositoryCare]:
    """The stores that the settings describe.

    Errors: Usage; Refused for tables of another version, or none; ConnectionError and TimeoutError when they do not answer.
    """
    from xds.actors.repository_care import RepositoryCare
    from xds.app import existing_stores

    settings = settings_of(config_file, data)
    with reading_stores(), existing_stores(settings, writing=writing) as (database, blobs):
        yield RepositoryCare(blobs, database)


@contextmanager
def _progress(care: RepositoryCare) -> Iterator[Callable[[int], None]]:
    """A bar of octets with their rate and the time left, on a terminal; yields what makes it advance."""
    if not sys.stderr.isatty():
        yield lambda octets: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    _, expected = care.totals()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("read", total=expected)
        yield lambda octets: progress.advance(task, octets)


def _summarise(scrubbed: Scrubbed, as_json: bool) -> None:
    found = {defect.value: count for defect, count in sorted(scrubbed.findings.items(), key=lambda item: item[0].value)}
    if as_json:
        print(json.dumps({"blobs": scrubbed.blobs, "octets": scrubbed.octets, "clean": scrubbed.is_clean, "findings": found}))
        return
    told = ", ".join(f"{count} {name}" for name, count in found.items()) or "nothing is wrong"
    print(f"{scrubbed.blobs} blobs with {scrubbed.octets} octets were read: {told}", file=sys.stderr)


def _facts(finding: Finding) -> Mapping[str, object]:
    return {
        "finding": finding.defect.value,
        "blob": finding.blob,
        "detail": finding.detail,
        "affected": [
            {"kind": item.holder.value, "unique_id": item.unique_id, "count": item.count} for item in finding.references
        ],
    }


def _row(finding: Finding) -> tuple[str, ...]:
    return finding.defect.value, finding.blob, finding.detail, "; ".join(map(_affected, finding.references))


def _affected(reference: Reference) -> str:
    more = f" and {reference.count - 1} more" if reference.count > 1 else ""
    return f"{reference.holder.value} {reference.unique_id}{more}"
