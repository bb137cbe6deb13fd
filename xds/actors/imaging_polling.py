"""A PACS that only answers queries takes part: it is asked what it has, and that becomes studies to be announced.

Nothing is fetched and nothing archived: an instance is registered with what the query says of it and the name of its source.
What the source shows in addition, has changed, or does not show any more, changes the study; its manifest follows.

Spec: RAD TF-2 4.14 (Query Images), 4.68 (the manifest follows the study); DICOM PS3.4 C.4.1; PS3.18 10.6.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import structlog

from xds.model.foreign_images import OUTLINE, FoundInstance, PullError, StudySummary
from xds.model.imaging import Study
from xds.ports import Clock, ForeignArchive
from xds.store import imaging, imaging_arrivals, imaging_sources, jobs
from xds.store.database import Database
from xds.store.imaging_sources import Place, Registered
from xds.store.jobs import Job
from xds.wire import dicom_json
from xds.wire.dicom import DicomError
from xds.wire.dicom_header import read_header
from xds.wire.dicom_json_reading import header_of, text_of
from xds.wire.dicom_study import study_of

#: The kind of job that asks a PACS what is new; its key is the name of the PACS.
POLL_SOURCE: Final = "poll-source"
_SOP_CLASS: Final = "00080016"
#: Instances that are registered in one transaction.
_AT_ONCE: Final = 200
#: Studies outside the window that are asked for again in each round.
_AGAIN: Final = 20

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Polling:
    """How a PACS is polled: `every` so often, studies of the last `days`; older ones are compared once in `recheck`."""

    every: timedelta = timedelta(minutes=1)
    days: int = 7
    recheck: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Read:
    """An instance of an answer: a study with it alone, its header in the JSON model, and the digest of that."""

    study: Study
    header: bytes
    digest: str

    @property
    def place(self) -> Place:
        series = self.study.series[0]
        return series.series_instance_uid, series.instances[0].sop_instance_uid


class SourcePolling:
    """Keeps what is registered of sources outside in line with what they have. One object serves all threads."""

    def __init__(
        self,
        database: Database,
        sources: Mapping[str, tuple[ForeignArchive, Polling]],
        ae_titles: Mapping[str, str],
        clock: Clock,
        publish: Callable[[str], None],
    ) -> None:
        """`ae_titles` are those of the sources, `publish` is told of a study that has changed."""
        self._database = database
        self._sources = sources
        self._ae_titles = ae_titles
        self._clock = clock
        self._publish = publish

    def start(self) -> None:
        """Ask every source soon, and from then on."""
        now = self._clock()

        def work(connection: Any) -> None:
            for name, (_, polling) in self._sources.items():
                if polling.every > timedelta(0):
                    jobs.add(connection, POLL_SOURCE, name, {}, now)

        self._database.write(work)

    def poll(self, job: Job) -> str | None:
        """One round for the source of this job, and the next one's job. What cannot be had now is had in the next round."""
        found = self._sources.get(job.key)
        if found is None:
            return None
        polling = found[1]
        try:
            self.round(job.key)
        except PullError as problem:
            _log.warning("imaging.source_not_polled", source=job.key, reason=str(problem))
        again = self._clock() + polling.every
        self._database.write(lambda connection: jobs.add(connection, POLL_SOURCE, job.key, {}, again))
        return None

    def round(self, name: str) -> int:
        """Ask a source for its newest studies, and for some older ones; how many had changed. Errors: PullError."""
        source, polling = self._sources[name]
        now = self._clock()
        # Modalities keep local time: both ends of the window are a day wider.
        first = (now - timedelta(days=polling.days + 1)).strftime("%Y%m%d")
        last = (now + timedelta(days=1)).strftime("%Y%m%d")
        shown = {study.study_instance_uid: study for study in source.studies(first, last)}
        with self._database.read() as connection:
            noted = imaging_sources.noted(connection, name, first, last)
            older = imaging_sources.longest_unchecked(connection, name, now - polling.recheck, _AGAIN)
        same = [uid for uid, study in shown.items() if study.instances is not None and noted.get(uid) == study.fingerprint]
        gone = noted.keys() - shown.keys()
        changed = 0
        for uid in [*(shown.keys() - set(same)), *gone]:
            changed += self._looked_at(name, uid, shown.get(uid))
        self._database.write(lambda connection: imaging_sources.checked(connection, name, same, now))
        for uid in older:
            if uid not in shown:
                changed += self._looked_at(name, uid, None)
        return changed

    def refresh(self, name: str, study_instance_uid: str, series_instance_uid: str | None = None) -> bool:
        """Compare a study, or one of its series, with its source now; True when it had changed. Errors: PullError."""
        if series_instance_uid is None:
            return self._looked_at(name, study_instance_uid, None)
        read = self._read(name, self._sources[name][0].instances(study_instance_uid, series_instance_uid))
        return self._take_over(name, study_instance_uid, read, series_instance_uid)

    def check(self, name: str, study_instance_uid: str, series_instance_uid: str) -> bool:
        """See in short whether a series is still as it is registered, and compare it if not; True when it had changed.

        Errors: PullError.
        """
        source = self._sources[name][0]
        summary = source.study(study_instance_uid)
        with self._database.read() as connection:
            noted = imaging_sources.fingerprint(connection, name, study_instance_uid)
            headers = imaging_sources.headers(connection, name, study_instance_uid, series_instance_uid)
        if summary is None or summary.fingerprint != noted:
            return self.refresh(name, study_instance_uid)
        registered = {uid: _outline(json.loads(header)) for uid, header in headers.items()}
        shown = {item.sop_instance_uid: item.values for item in source.outline(study_instance_uid, series_instance_uid)}
        return shown != registered and self.refresh(name, study_instance_uid, series_instance_uid)

    def _looked_at(self, name: str, uid: str, summary: StudySummary | None) -> bool:
        """Read a study whole. One that is not as DICOM wants it does not keep others from being read."""
        source = self._sources[name][0]
        summary = summary or source.study(uid)
        try:
            read = self._read(name, source.instances(uid)) if summary is not None else []
            changed = self._take_over(name, uid, read)
        except DicomError as problem:
            _log.warning("imaging.source_study_unusable", source=name, reason=str(problem))
            return False
        now = self._clock()

        def work(connection: Any) -> None:
            if summary is None:
                imaging_sources.forget(connection, name, uid)
                return
            date = read[0].study.study_date if read else ""
            imaging_sources.note(connection, name, uid, summary.fingerprint, date, now)

        self._database.write(work)
        return changed

    def _read(self, name: str, instances: Iterable[FoundInstance]) -> list[_Read]:
        source = self._ae_titles.get(name, name)
        read = []
        for found in self._with_classes(name, list(instances)):
            header = header_of(found.attributes)
            study = study_of(header, source=source)
            instance = replace(study.series[0].instances[0], transfer_syntax_uid=found.transfer_syntax_uid, location=name)
            written = dicom_json.write_header(header, found.transfer_syntax_uid)
            series = (replace(study.series[0], instances=(instance,)),)
            read.append(_Read(replace(study, series=series), written, imaging_sources.digest(written)))
        return read

    def _with_classes(self, name: str, instances: Sequence[FoundInstance]) -> list[FoundInstance]:
        """The same, each with its SOP Class UID, which answers need not state: then the objects must tell, once."""
        unknown: dict[tuple[str, str], list[str]] = {}
        for found in instances:
            if not text_of(found.attributes, _SOP_CLASS):
                series = text_of(found.attributes, "0020000D"), text_of(found.attributes, "0020000E")
                unknown.setdefault(series, []).append(text_of(found.attributes, "00080018"))
        if not unknown:
            return list(instances)
        classes: dict[str, str] = {}
        for (study, series_uid), uids in unknown.items():
            with self._database.read() as connection:
                stored = imaging.find(connection, study, series_uid)
            known = stored.study.series if stored is not None else ()
            classes |= {item.sop_instance_uid: item.sop_class_uid for series in known for item in series.instances}
            new = [uid for uid in uids if uid not in classes]
            if new:
                wanted = dict.fromkeys(new, "")
                whole = len(new) > 1 and len(new) == len(uids)
                for pulled in self._sources[name][0].fetch(study, series_uid, wanted, whole_series=whole):
                    classes[pulled.sop_instance_uid] = read_header(pulled.chunks, until=0x00080018).elements.text(0x00080016)
                    for _ in pulled.chunks:
                        pass
        return [
            replace(found, attributes={**found.attributes, _SOP_CLASS: {"vr": "UI", "Value": [classes[uid]]}})
            if uid in classes
            else found
            for found in instances
            if (uid := text_of(found.attributes, "00080018"))
        ]

    def _take_over(self, name: str, uid: str, read: Sequence[_Read], series_uid: str | None = None) -> bool:
        """Make what is registered of a study the same as what was read. What the own archive has stays as it is."""
        with self._database.read() as connection:
            there = imaging_sources.registered(connection, uid, series_uid)
            stored = imaging.find(connection, uid)
        shown = {item.place: item for item in read}
        ours = {place for place, item in there.items() if item.location == name and not item.has_blob}
        lost = ours - shown.keys()
        new = [item for place, item in shown.items() if _is_news(there.get(place), item)]
        replaced = {item.place for item in new} & ours
        patient = read[0].study.patient if read else None
        corrected = stored is not None and patient is not None and ours == there.keys() and stored.study.patient != patient
        if not lost and not new and not corrected:
            return False
        now = self._clock()

        def first(connection: Any) -> None:
            if lost or replaced:
                imaging_sources.remove(connection, uid, lost | replaced, now)
            if corrected and patient is not None and stored is not None and series_uid is None:
                imaging_sources.set_patient(connection, uid, patient, now)

        self._database.write(first)
        for start in range(0, len(new), _AT_ONCE):
            some = new[start : start + _AT_ONCE]
            self._database.write(lambda connection, some=some: _add(connection, some, now))  # type: ignore[misc]
        self._publish(uid)
        _log.info("imaging.source_changed", source=name, new=len(new), lost=len(lost))
        return True


def _outline(header: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(text_of(header, tag) for tag in OUTLINE)


def _is_news(there: Registered | None, read: _Read) -> bool:
    return there is None or (not there.has_blob and there.digest != read.digest)


def _add(connection: Any, some: Sequence[_Read], now: Any) -> None:
    for item in some:
        imaging_arrivals.add_instance(connection, imaging_arrivals.arriving(item.study, item.header), now)
