"""The codes that an affinity domain has agreed upon.

Spec: ITI TF-3 4.2.3.1.2 (coded values belong to value sets of the affinity domain).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xds.model.metadata import Code


@dataclass(frozen=True, slots=True)
class ValueSet:
    """The codes of one attribute, as (code, coding scheme); `attribute` is its name in the standard."""

    attribute: str
    codes: frozenset[tuple[str, str]]

    def holds(self, code: Code) -> bool:
        """True when the code is one of these; display names do not count."""
        return (code.code, code.scheme) in self.codes


@dataclass(frozen=True, slots=True)
class AffinityDomainCodes:
    """Value sets by classificationScheme, and the MIME types, in lower case. What is not listed is not restricted."""

    value_sets: Mapping[str, ValueSet] = field(default_factory=dict)
    mime_types: frozenset[str] = frozenset()
