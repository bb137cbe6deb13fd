"""Decisions about who is who: the cases that a person must look at, and the history of what was decided with its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from xds.model.identifiers import PatientIdentifier
from xds.model.patient import StatedDemographics


class LinkReason(StrEnum):
    """Why two records are one. The values are stored."""

    DEMOGRAPHICS = "demographics"
    NATIONAL_IDENTIFIER = "national identifier"
    STATED = "stated by source"
    MERGED = "merged by source"
    LINKED = "linked by source"
    #: Somebody at the identity desk decided that they are one.
    SAME = "same"
    #: The opposite: somebody decided that they are two, and neither a rule nor a source may join them.
    APART = "apart"


#: Reasons that rules find, and that rules may withdraw when the traits change.
AUTOMATIC: Final = frozenset({LinkReason.DEMOGRAPHICS, LinkReason.NATIONAL_IDENTIFIER})


class ReviewKind(StrEnum):
    """Why a case waits for a person."""

    #: Two records of one domain that may be one patient: her establishment should merge them.
    DUPLICATE = "duplicate"
    #: Records of different domains that may be one patient.
    CANDIDATE = "candidate"


class DecisionAction(StrEnum):
    """What was decided about two records. The values are stored."""

    LINK = "link"
    UNLINK = "unlink"
    REVIEW = "review"
    DISMISS = "dismiss"
    REFUSE = "refuse"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class LinkEvidence:
    """Why: the level that each trait reached, what that weighed (log2 odds), and by which rule and version of the weights."""

    levels: Mapping[str, int] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    total: float | None = None
    veto: str | None = None
    rule: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class LinkDecision:
    """One decision about the records `lower` and `higher`. `decided` is in milliseconds since 1970.

    `by` is empty for decisions of the rules; otherwise the source or the person who decided. `undone_by` is the decision that
    undid this one.
    """

    key: int
    lower: int
    higher: int
    action: DecisionAction
    reason: str
    decided: int
    evidence: LinkEvidence = field(default_factory=LinkEvidence)
    by: str = ""
    note: str = ""
    undone_by: int | None = None


@dataclass(frozen=True, slots=True)
class ReviewRecord:
    """One of the two records of a case: what her sources state, her own identifiers, and those of everybody linked with her."""

    key: int
    identifiers: tuple[PatientIdentifier, ...]
    stated: tuple[StatedDemographics, ...]
    linked: tuple[PatientIdentifier, ...] = ()


@dataclass(frozen=True, slots=True)
class ReviewCase:
    """Two records that may be one person. `weight` is log2 odds; `opened` is in milliseconds since 1970."""

    lower: int
    higher: int
    kind: ReviewKind
    weight: float
    opened: int
    evidence: LinkEvidence = field(default_factory=LinkEvidence)


@dataclass(frozen=True, slots=True)
class ComparedRecords:
    """Two records side by side: the open case, if there is one, how they compare now, and what was decided before."""

    one: ReviewRecord
    other: ReviewRecord
    are_linked: bool
    case: ReviewCase | None
    evidence: LinkEvidence
    history: tuple[LinkDecision, ...] = ()


@dataclass(frozen=True, slots=True)
class ReviewPage:
    """Some cases, the weightiest first. `next_page` continues after them; `total` counts every open one of that kind."""

    cases: tuple[ReviewCase, ...]
    total: int
    next_page: str | None = None


def facts(item: object) -> Any:
    """What a decision, a case or a comparison is, as values that JSON knows, without what is absent."""
    return _present(asdict(item))  # type: ignore[call-overload]


def _present(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _present(each) for name, each in value.items() if each is not None and each not in ("", (), [], {})}
    if isinstance(value, (tuple, list)):
        return [_present(each) for each in value]
    return value
