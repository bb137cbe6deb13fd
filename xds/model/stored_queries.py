"""Stored queries as data: their ids, their parameters, and a query after its parameters were understood.

Spec: ITI TF-2 3.18.4.1.2.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from xds.model.metadata import Code


class ReturnType(StrEnum):
    """ResponseOption/@returnType."""

    LEAF_CLASS = "LeafClass"
    OBJECT_REF = "ObjectRef"


class ParameterKind(StrEnum):
    """How the values of a parameter are written and compared."""

    STRING = "string"
    PATIENT_ID = "patient id"
    CODE = "code"
    TIME = "time"
    LIKE = "like"
    REFERENCE_ID = "reference id"
    STATUS = "status"
    UUID = "uuid"
    URN = "urn"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. `multiple`: a list may be given; `conjunctive`: repeated slots mean AND (values of one slot mean OR)."""

    name: str
    kind: ParameterKind
    required: bool = False
    multiple: bool = False
    conjunctive: bool = False


@dataclass(frozen=True, slots=True)
class QueryDefinition:
    """One stored query. Of each group in `one_of` exactly one parameter must be given; of `at_least_one`, one or more."""

    id: str
    name: str
    parameters: tuple[Parameter, ...]
    one_of: tuple[tuple[str, ...], ...] = ()
    at_least_one: tuple[str, ...] = ()

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name (without the leading `$`)."""
        return next((item for item in self.parameters if item.name == name), None)


@dataclass(frozen=True, slots=True)
class RawQuery:
    """An AdhocQuery as received: slots of the same name stay apart, in order. Names carry no `$`."""

    id: str
    return_type: str
    slots: tuple[tuple[str, tuple[str, ...]], ...]
    home: str | None = None


Value = str | Code | int


def is_pattern(value: Value) -> bool:
    """True for a value of $XDSDocumentEntryReferenceIdList that is a LIKE pattern: `%` any run of characters, `_` any one.

    Spec: ITI TF-2 3.18.4.1.2.3.7.14, whose text has the values match exactly, and whose table refers to LIKE. An identifier
    may well hold `_`, so that only `%` makes a pattern of it.
    """
    return isinstance(value, str) and "%" in value


@dataclass(frozen=True, slots=True)
class StoredQuery:
    """A query whose parameters are understood and allowed.

    `values` maps a parameter name to groups: AND of groups, OR inside a group. A parameter that is not conjunctive has one group.
    Times are 14 digit numbers, codes are `Code`, everything else is text without quotes.
    """

    definition: QueryDefinition
    return_type: ReturnType
    values: Mapping[str, tuple[tuple[Value, ...], ...]] = field(default_factory=dict)
    home: str | None = None

    @property
    def metadata_level(self) -> int:
        """$MetadataLevel: 1, which shows what a consumer without metadata update expects, or 2, which shows every version."""
        values = self.group("MetadataLevel")
        return int(str(values[0])) if values else 1

    def has(self, name: str) -> bool:
        """True when the parameter was given."""
        return name in self.values

    def group(self, name: str) -> tuple[Value, ...]:
        """Values of a parameter that is not conjunctive; empty when absent."""
        groups = self.values.get(name, ())
        return groups[0] if groups else ()

    def text(self, name: str) -> str | None:
        """The one value of a single-valued parameter as text."""
        values = self.group(name)
        return str(values[0]) if values else None
