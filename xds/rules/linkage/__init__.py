"""Which records describe the same person: traits, keys by which candidates are found, weighed comparison, decision.

A record's `traits` are normalised once; `blocking_keys` find candidates in the store; `compare` gives the evidence between two
records, `decide` what follows from it; `train` learns weights from a register's own records. Nothing here knows a
database or a clock.

Spec: ITI TF-2 3.9 leaves the algorithm to the PIX Manager.
"""

from __future__ import annotations

from xds.rules.linkage.blocking import blocking_keys, home_keys, is_crowded, number_keys
from xds.rules.linkage.comparison import Evidence, Veto, compare, confirms, frequency_values, prior
from xds.rules.linkage.decision import (
    Decision,
    Group,
    Member,
    Scored,
    compare_members,
    compare_with,
    decide,
    links_alone,
    needs_review,
)
from xds.rules.linkage.folding import fold, fold_words
from xds.rules.linkage.national import (
    NATIONAL_OIDS,
    NATIONAL_TYPES,
    National,
    NationalStatus,
    has_valid_key,
    ins_key,
    is_national,
    status_of,
)
from xds.rules.linkage.phonetics import phonetic_codes
from xds.rules.linkage.training import train
from xds.rules.linkage.traits import Glimpse, Place, Traits, glimpse_of, nationals_of, search_text, traits
from xds.rules.linkage.weights import DEFAULT_WEIGHTS, BirthDate, Family, Frequencies, Given, Register, Weights

__all__ = [
    "DEFAULT_WEIGHTS",
    "NATIONAL_OIDS",
    "NATIONAL_TYPES",
    "BirthDate",
    "Decision",
    "Evidence",
    "Family",
    "Frequencies",
    "Given",
    "Glimpse",
    "Group",
    "Member",
    "National",
    "NationalStatus",
    "Place",
    "Register",
    "Scored",
    "Traits",
    "Veto",
    "Weights",
    "blocking_keys",
    "compare",
    "compare_members",
    "compare_with",
    "confirms",
    "decide",
    "fold",
    "fold_words",
    "frequency_values",
    "glimpse_of",
    "has_valid_key",
    "home_keys",
    "ins_key",
    "is_crowded",
    "is_national",
    "links_alone",
    "nationals_of",
    "needs_review",
    "number_keys",
    "phonetic_codes",
    "prior",
    "search_text",
    "status_of",
    "train",
    "traits",
]
