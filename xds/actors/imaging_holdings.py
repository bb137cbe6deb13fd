"""The octets of instances, wherever they are held: blobs of the own archive, or objects that a source outside gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from xds.actors.imaging_arrival import Arrival, Place, key_of, place_of
from xds.actors.imaging_pull import PullThrough
from xds.actors.imaging_pull_orders import Ahead
from xds.model.foreign_images import PullError, PullProblem
from xds.model.imaging import Instance, Study, StudyPatient
from xds.ports import BlobStore
from xds.store.imaging_heads import Outside


def with_places(study: Study) -> Study:
    """The study, with instances that a source outside holds bearing the key of their place where others have that of a blob."""
    if not any(instance.location and not instance.blob for series in study.series for instance in series.instances):
        return study
    return replace(
        study,
        series=tuple(
            replace(
                series,
                instances=tuple(placed(study.study_instance_uid, series.series_instance_uid, each) for each in series.instances),
            )
            for series in study.series
        ),
    )


def placed(study: str, series: str, instance: Instance) -> Instance:
    """One instance of it."""
    if instance.blob or not instance.location:
        return instance
    # `replace` takes three times as long, which the first octet of a large series waits for.
    return Instance(
        instance.sop_instance_uid,
        instance.sop_class_uid,
        instance.transfer_syntax_uid,
        instance.size,
        key_of(instance.location, study, series, instance.sop_instance_uid),
        instance.instance_number,
        instance.frames,
        instance.rows,
        instance.columns,
        instance.location,
    )


class Holdings:
    """Reads by the key of a blob or of a place. One object serves all threads.

    Errors of every method: KeyError when a blob is gone, PullError when a source does not give its object.
    """

    def __init__(self, blobs: BlobStore, pull: PullThrough | None) -> None:
        self._blobs = blobs
        self._pull = pull

    @property
    def has_sources(self) -> bool:
        """Whether there is any source outside."""
        return self._pull is not None

    def arrival(self, place: Place, *, whole: bool = True) -> Arrival:
        """An object that this thread has fetched, unless another one does; without `whole` on its way. The caller releases it."""
        return self.arrivals([place], whole=whole)[0]

    def arrivals(self, places: list[Place], ahead: Ahead | None = None, *, whole: bool = False) -> list[Arrival]:
        """Objects on their way, in the same order; the caller releases each."""
        if self._pull is None:
            return [Arrival.failed(PullError(PullProblem.UNKNOWN_SOURCE)) for _ in places]
        return self._pull.begin(places, ahead, whole=whole)

    def ahead(
        self, study: str, patient: StudyPatient, series: str | None, held: Outside, asking: Callable[[], object] = object
    ) -> Ahead | None:
        """Have a study or series fetched before it is looked at closer; see `PullThrough.ahead`."""
        return self._pull.ahead(study, patient, series, held, asking) if self._pull is not None else None

    def in_order_of_arrival(self, arrivals: list[Arrival]) -> Iterator[Arrival]:
        """The same as they begin, or fail."""
        return self._pull.in_order_of_arrival(arrivals) if self._pull is not None else iter(arrivals)

    def open(self, key: str) -> Iterator[bytes]:
        """The octets, opened before this returns."""
        place = place_of(key)
        if place is None:
            return self._blobs.open(key)
        arrival = self.arrival(place, whole=False)
        try:
            return arrival.chunks()
        finally:
            arrival.release()

    def file(self, key: str) -> Path | None:
        """A local file with the octets, all of them; None for a blob that has none."""
        place = place_of(key)
        if place is None:
            return self._blobs.file(key)
        arrival = self.arrival(place)
        try:
            return arrival.complete().path
        finally:
            arrival.release()

    def size(self, key: str) -> int:
        """How many octets there are."""
        place = place_of(key)
        if place is None:
            return self._blobs.size(key)
        arrival = self.arrival(place)
        try:
            return arrival.complete().size
        finally:
            arrival.release()

    def close(self) -> None:
        """Remove what was still arriving."""
        if self._pull is not None:
            self._pull.close()
