"""Queries for somebody whose name is not found as it is written: the same with names that sound alike or are one slip away.

Spec: ITI TF-2 3.21.4.1.3.2 and PDQm 2:3.78.4.1.3 ("at least all exact matches"). In ITI-47 the consumer says by `use="SRCH"` that
a name is not limited to an exact match (3.47.4.1.2.1), so that nothing is tried there without it.
"""

from __future__ import annotations

from dataclasses import fields, replace

from xds.model.demographics_query import Comparison, DemographicsQuery, NamePattern, TextPattern

_PARTS = ("family", "given", "any_part")


def with_similar_names(query: DemographicsQuery, as_written: Comparison) -> DemographicsQuery | None:
    """The query with names compared by sound.

    `as_written` is how texts are compared when the asker says nothing of it: None when a name says how it is to be compared, and
    when there is none.
    """
    texts = [text for each in query.names for name in each for part in _PARTS if (text := getattr(name, part))]
    if not texts or any(text.comparison is not as_written for text in texts):
        return None
    return replace(query, names=tuple(tuple(map(_similar, each)) for each in query.names))


def _similar(name: NamePattern) -> NamePattern:
    parts: dict[str, TextPattern | None] = {item.name: getattr(name, item.name) for item in fields(name)}
    for part in _PARTS:
        text = parts[part]
        parts[part] = replace(text, comparison=Comparison.FUZZY) if text else None
    return NamePattern(**parts)
