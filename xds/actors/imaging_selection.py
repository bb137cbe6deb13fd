"""What of a study somebody is about to get."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from xds.actors.imaging_arrival import place_of
from xds.actors.imaging_pull_orders import Ahead
from xds.model.imaging import Instance, Study


class Selection:
    """Instances that a caller may have: a study, reduced to what was asked for, and whose it is (CX; empty: nobody known)."""

    def __init__(self, study: Study | Callable[[], Study], patient_id: str, ahead: Ahead | None = None) -> None:
        """A study that is not read yet is read when it is looked at; meanwhile it is fetched `ahead`."""
        self._study = study
        self.patient_id = patient_id
        self.ahead = ahead

    @property
    def study(self) -> Study:
        """The study with what was asked for of it."""
        if not isinstance(self._study, Study):
            self._study = self._study()
        return self._study

    @property
    def is_held_outside(self) -> bool:
        """True when a source outside holds some of it."""
        return self.ahead is not None or any(place_of(instance.blob) is not None for _, instance in self.instances())

    def instances(self) -> Iterator[tuple[str, Instance]]:
        """Series Instance UID and instance, in order."""
        for series in self.study.series:
            for instance in series.instances:
                yield series.series_instance_uid, instance


def by_patient(items: Iterable[tuple[Selection, Instance]]) -> dict[str, dict[str, dict[str, int]]]:
    """Patient (CX) -> Study Instance UID -> SOP Class UID -> how many."""
    patients: dict[str, dict[str, dict[str, int]]] = {}
    for selection, instance in items:
        classes = patients.setdefault(selection.patient_id, {}).setdefault(selection.study.study_instance_uid, {})
        classes[instance.sop_class_uid] = classes.get(instance.sop_class_uid, 0) + 1
    return patients
