"""From settings to the PACSs outside: clients, polling, cache. Part of the composition root."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from xds.actors.domain import Domain
from xds.actors.imaging_polling import POLL_SOURCE, Polling, SourcePolling
from xds.actors.imaging_prefetch import PREFETCH_PRIORS, PriorPrefetch
from xds.actors.imaging_pull import PullThrough
from xds.actors.imaging_triggers import PUBLISH_STUDY
from xds.actors.registered_documents import RegisteredDocuments
from xds.model.imaging_manifest import RetrieveInformation
from xds.pacs.archive import Archive, open_archive
from xds.pacs.partner import Partner
from xds.pacs.receiver import MoveReceiver
from xds.ports import Clock, ForeignArchive
from xds.settings import PacsSettings, Settings
from xds.store import jobs
from xds.store.database import Database
from xds.store.jobs import Job
from xds.store.pull_cache import PullCache

Handler = Callable[[Job], str | None]

#: Where fetched images are kept for a while, in the data directory.
CACHE_DIRECTORY = "pulled"
#: Where processes find each other that wait for images by C-MOVE, in the data directory.
MOVE_DIRECTORY = "moving"
#: The kind of job that removes what has expired there, and how often that is done.
SWEEP_PULLED = "sweep-pulled-images"
SWEEP_EVERY = timedelta(hours=1)
#: Kinds of jobs that wait for PACSs.
SOURCE_JOBS = frozenset({POLL_SOURCE, PREFETCH_PRIORS})


@dataclass(frozen=True, slots=True)
class Sources:
    """The PACSs that are asked, by name, and who fetches from them; `receiver` is where they send by C-MOVE.

    `handlers` do the jobs of these PACSs, by the kind of job.
    """

    archives: dict[str, ForeignArchive] = field(default_factory=dict)
    polling: SourcePolling | None = None
    pull: PullThrough | None = None
    receiver: MoveReceiver | None = None
    handlers: dict[str, Handler] = field(default_factory=dict)


def open_sources(settings: Settings, database: Database, clock: Clock, publish: Callable[[str], None]) -> Sources:
    """What the settings name; empty when they name no PACS that is asked. Errors: OSError when the cache cannot be kept."""
    asked = [each for each in settings.pacs if each.query]
    if not asked:
        return Sources()
    imaging = settings.imaging
    receiver = _receiver(settings, [each.ae_title for each in asked if each.retrieve == "c-move"])
    archives = {
        each.name: open_archive(_partner(each, settings), query=each.query, retrieve=each.retrieve, receiver=receiver)
        for each in asked
    }
    polling = SourcePolling(
        database,
        {each.name: (archives[each.name], _polling(each)) for each in asked},
        {each.name: each.ae_title for each in asked},
        clock,
        publish,
    )
    cache = PullCache(
        Path(settings.server.data / CACHE_DIRECTORY).resolve(),
        imaging.cache_mib << 20,
        timedelta(hours=imaging.cache_hours),
        clock,
    )
    pull = PullThrough(
        database,
        archives,
        cache,
        polling.check,
        check_seconds=imaging.cache_check_seconds,
        ended=lambda: _close(archives.values(), receiver),
    )

    def sweep_later() -> None:
        database.write(lambda connection: jobs.add(connection, SWEEP_PULLED, "", {}, clock() + SWEEP_EVERY))

    def sweep(_job: Job) -> None:
        cache.sweep()
        sweep_later()

    sweep_later()
    return Sources({**archives}, polling, pull, receiver, {POLL_SOURCE: polling.poll, SWEEP_PULLED: sweep})


def prefetch_handlers(
    settings: Settings, database: Database, domain: Domain, handlers: Mapping[str, Handler]
) -> dict[str, Handler]:
    """What fetches priors once a study is announced by one of the `handlers`; nothing unless the settings ask for it."""
    if not settings.imaging.prefetch or not any(each.query for each in settings.pacs):
        return {}
    publish = handlers[PUBLISH_STUDY]
    prefetch = PriorPrefetch(
        database,
        domain.imaging_document_source.retrieval,
        RegisteredDocuments(database).of_patient,
        domain.pix_manager.affinity_identifier,
        settings.imaging.prefetch_studies,
    )

    def publish_study(job: Job) -> str | None:
        problem = publish(job)
        if problem is None:
            now = datetime.now(UTC)
            database.write(lambda connection: jobs.add(connection, PREFETCH_PRIORS, job.key, {}, now))
        return problem

    def prefetch_priors(job: Job) -> None:
        prefetch.run(job.key)

    return {PUBLISH_STUDY: publish_study, PREFETCH_PRIORS: prefetch_priors}


def locations(settings: Settings, url: str | None) -> dict[str, RetrieveInformation]:
    """What manifests say of the images of each PACS: they are to be had here, under the PACS' own Retrieve Location UID."""
    return {
        each.name: RetrieveInformation(settings.server.ae_title, each.repository_unique_id, url)
        for each in settings.pacs
        if each.query and each.repository_unique_id
    }


def _receiver(settings: Settings, titles: Sequence[str]) -> MoveReceiver | None:
    """Where these PACSs send by C-MOVE; of several processes the first one listens for all."""
    if not titles:
        return None
    imaging, server = settings.imaging, settings.server
    others = Path(server.data / MOVE_DIRECTORY).resolve() if server.processes > 1 else None
    return MoveReceiver(imaging.move_ae_title, server.host, imaging.move_port, titles, others=others)


def _close(archives: Iterable[Archive], receiver: MoveReceiver | None) -> None:
    for archive in archives:
        archive.close()
    if receiver is not None:
        receiver.stop()


def _partner(pacs: PacsSettings, settings: Settings) -> Partner:
    return Partner(
        name=pacs.name,
        ae_title=pacs.ae_title,
        host=pacs.host,
        port=pacs.port,
        dicomweb=pacs.dicomweb,
        calling_ae_title=pacs.calling_ae_title or settings.server.ae_title,
        seconds=pacs.silence_seconds,
        patience=pacs.wait_seconds,
        associations=pacs.associations,
        requests=pacs.requests,
        kept_associations=pacs.kept_associations,
        kept_seconds=pacs.kept_seconds,
    )


def _polling(pacs: PacsSettings) -> Polling:
    return Polling(timedelta(seconds=pacs.poll_seconds), pacs.look_back_days, timedelta(hours=pacs.recheck_hours))
