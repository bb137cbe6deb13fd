"""Keeps what patients are searched by in step with what feeds state of them."""

from __future__ import annotations

from collections.abc import Iterable

from xds.model.patient import Demographics
from xds.rules.demographics_index import entries, sound_codes
from xds.store import demographics_index
from xds.store.database import Connection


def index(connection: Connection, person_key: int, before: Iterable[Demographics], after: Iterable[Demographics]) -> None:
    """What all sources together stated of a record was `before` and is `after` now; both belong to the feed's transaction."""
    demographics_index.replace(connection, person_key, entries(before), entries(after), sound_codes)
