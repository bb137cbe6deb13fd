"""Parts of an object get their UUIDs before it is written, or while it is: the outcome is the same."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from tests.builders import association, submission, uuid_for
from xds.model.identifiers import is_uuid_urn
from xds.model.vocabulary import AssociationType
from xds.rules.submission import assign_identifiers
from xds.wire.ebrim import write_object

_PART_ID = re.compile(r'<rim:(?:Classification|ExternalIdentifier) id="([^"]*)"')
_UUID = re.compile("urn:uuid:00000000[0-9a-f-]{28}")


def test_parts_get_their_ids_where_they_are_written_or_before() -> None:
    sent = submission(2, folders=1, others=[association(AssociationType.RPLC, "Document01", uuid_for(1))])
    entry = sent.document_entries[0]
    kept = replace(entry.classifications[0], id=uuid_for(2))
    sent = replace(sent, document_entries=(replace(entry, classifications=(kept, *entry.classifications[1:])),))
    before = assign_identifiers(sent, _uuids(1000))
    written_before = _numbered(write_object(item) for item in before.objects())
    new_uuid = _uuids(2000)
    later = assign_identifiers(sent, new_uuid, parts=False)
    written = [write_object(item, new_uuid) for item in later.objects()]
    assert _numbered(written) == written_before
    ids = _PART_ID.findall(b"".join(written).decode())
    assert all(is_uuid_urn(item) for item in ids)
    assert len(set(ids)) == len(ids) == sum(len((*item.classifications, *item.external_identifiers)) for item in sent.objects())
    assert kept.id in ids


def _uuids(start: int) -> Callable[[], str]:
    numbers = itertools.count(start)
    return lambda: uuid_for(next(numbers))


def _numbered(written: Iterable[bytes]) -> str:
    """The same text for the same objects, whatever UUIDs they were given."""
    numbers: dict[str, str] = {}
    return _UUID.sub(lambda found: numbers.setdefault(found[0], f"number {len(numbers)}"), b"".join(written).decode())
