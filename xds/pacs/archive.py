"""A PACS that is queried one way and gives its images another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from xds.model.foreign_images import FoundInstance, InstanceOutline, Pulled, StudySummary
from xds.pacs.dimse import DimseArchive
from xds.pacs.partner import Partner
from xds.pacs.receiver import MoveReceiver
from xds.pacs.web import WebArchive
from xds.ports import ForeignArchive


class Archive(ForeignArchive, Protocol):
    """A PACS with which connections may be open."""

    def close(self) -> None:
        """End those that nobody uses, and keep none from now on. Idempotent."""


def open_archive(partner: Partner, *, query: str, retrieve: str, receiver: MoveReceiver | None = None) -> Archive:
    """The PACS, with `query` one of qido and c-find, `retrieve` one of wado-rs, c-get and c-move (which needs `receiver`)."""
    web = WebArchive(partner)
    dimse = DimseArchive(partner, receiver if retrieve == "c-move" else None)
    asked: Archive = web if query == "qido" else dimse
    giving: Archive = web if retrieve == "wado-rs" else dimse
    return asked if asked is giving else TwoWays(asked, giving)


class TwoWays:
    """One PACS behind two protocols."""

    def __init__(self, asked: Archive, giving: Archive) -> None:
        self._asked = asked
        self._giving = giving

    @property
    def name(self) -> str:
        """Its name in the settings."""
        return self._asked.name

    def studies(self, first_date: str, last_date: str) -> Iterator[StudySummary]:
        """The studies of these days."""
        return self._asked.studies(first_date, last_date)

    def study(self, study_instance_uid: str) -> StudySummary | None:
        """One study; None when it has none."""
        return self._asked.study(study_instance_uid)

    def instances(self, study_instance_uid: str, series_instance_uid: str | None = None) -> Iterator[FoundInstance]:
        """The instances of a study, or of one of its series."""
        return self._asked.instances(study_instance_uid, series_instance_uid)

    def outline(self, study_instance_uid: str, series_instance_uid: str) -> Iterator[InstanceOutline]:
        """The instances of a series in few words."""
        return self._asked.outline(study_instance_uid, series_instance_uid)

    def fetch(
        self, study_instance_uid: str, series_instance_uid: str, sop_classes: Mapping[str, str], *, whole_series: bool
    ) -> Iterator[Pulled]:
        """The objects as they arrive."""
        return self._giving.fetch(study_instance_uid, series_instance_uid, sop_classes, whole_series=whole_series)

    def close(self) -> None:
        """End the connections that nobody uses."""
        self._asked.close()
        self._giving.close()
