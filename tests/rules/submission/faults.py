"""What the tests of submissions have in common: the faults of one, as tuples."""

from __future__ import annotations

from typing import Any

from tests.builders import (
    document_entry,
    submission,
    uuid_for,
)
from xds.model.errors import ErrorCode, RegistryError
from xds.model.metadata import (
    DocumentEntry,
    Submission,
)
from xds.model.vocabulary import (
    ON_DEMAND,
    AssociationType,
)
from xds.rules.submission import check

RME = ErrorCode.REGISTRY_METADATA_ERROR
REGISTERED = uuid_for(1)
OTHER_PATIENT = "P2^^^&1.2.3.4.5&ISO"


def found(errors: list[RegistryError]) -> list[tuple[ErrorCode, str, str]]:
    """(code, object, attribute) of each error, whose context always has the same form."""
    parts = [(error.code, *error.context.split(": ", 2)) for error in errors]
    assert all("; received " in rest for *_, rest in parts)
    return [(code, obj, attribute) for code, obj, attribute, _ in parts]


def faults(sent: Submission, **options: Any) -> list[tuple[ErrorCode, str, str]]:
    return found(check(sent, **{"registering": True, **options}))


def entry_faults(**overrides: Any) -> list[tuple[ErrorCode, str]]:
    """(code, attribute) of what is wrong in a submission of one entry with these attributes."""
    return [(code, attribute) for code, _, attribute in faults(submission([document_entry(**overrides)]))]


RELATIONS = [
    AssociationType.RPLC,
    AssociationType.APND,
    AssociationType.XFRM,
    AssociationType.XFRM_RPLC,
    AssociationType.SIGNS,
    AssociationType.IS_SNAPSHOT_OF,
]


# --- on-demand entries: ITI TF-2 3.61 -----------------------------------------------------------------------------------------


def on_demand(**overrides: Any) -> DocumentEntry:
    return document_entry(**{"object_type": ON_DEMAND, "creation_time": None, "hash": None, "size": None, **overrides})
