"""Understanding a stored query: which query it is, and what its parameters say.

Tolerated deviations: blanks around ids, values and commas, and inside UUIDs; numbers and times in quotes; a list of one value
for a parameter that takes one value; a display name in the second component of a code; the namespace of response statuses in
status parameters. The standard's own samples have some of them.

Spec: ITI TF-2 3.18.4.1.2.3 (coding of values), 3.18.4.1.2.3.7 (parameters), 3.18.4.1.3 (errors).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from xds.model.errors import ErrorCode, RegistryError
from xds.model.identifiers import dtm_number, is_dtm, is_oid, read_cx
from xds.model.metadata import Code
from xds.model.stored_queries import (
    Parameter,
    ParameterKind,
    QueryDefinition,
    RawQuery,
    ReturnType,
    StoredQuery,
    Value,
    is_pattern,
)
from xds.model.vocabulary import AvailabilityStatus
from xds.rules.stored_query_table import STORED_QUERIES

#: One literal: a quoted string in which a quote is doubled, or a bare word.
_LITERAL = re.compile(r"\s*(?:'((?:[^']|'')*)'|([^\s',()]+))\s*")
_UUID = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_STATUSES = {
    **{status.value: status.value for status in AvailabilityStatus},
    **{status.value.replace(":StatusType:", ":ResponseStatusType:"): status.value for status in AvailabilityStatus},
}
#: The kinds whose values may stand without quotes.
_BARE = (ParameterKind.TIME, ParameterKind.NUMBER)

#: How many values one parameter may hold, and how often its slot may be repeated.
MOST_PATTERNS = 100
MOST_FILTER_VALUES = 500
MOST_VALUES = 10_000
MOST_SLOTS = 20


class _Malformed(Exception):
    """A value is not written as its kind demands; the text says how it should be."""


def understand(raw: RawQuery, queries: Mapping[str, QueryDefinition] = STORED_QUERIES) -> StoredQuery | list[RegistryError]:
    """The query with its parameters understood, or everything that is wrong with it.

    `queries` are those that the caller answers, by id. Unknown parameters are ignored.
    Errors: XDSUnknownStoredQuery, XDSStoredQueryMissingParam, XDSStoredQueryParamNumber, XDSRegistryError (malformed value,
    unknown returnType).
    """
    errors = []
    return_type = next((item for item in ReturnType if item.value == raw.return_type), None)
    if return_type is None:
        errors.append(
            RegistryError(
                ErrorCode.REGISTRY_ERROR, f"returnType must be LeafClass or ObjectRef, received '{_shown(raw.return_type)}'"
            )
        )
    definition = queries.get(raw.id.strip())
    if definition is None:
        errors.append(RegistryError(ErrorCode.UNKNOWN_STORED_QUERY, f"no stored query has the id '{_shown(raw.id)}'"))
        return errors
    given: dict[str, list[tuple[str, ...]]] = {}
    for name, texts in raw.slots:
        if texts:
            given.setdefault(name, []).append(texts)
    values: dict[str, tuple[tuple[Value, ...], ...]] = {}
    for parameter in definition.parameters:
        if parameter.name in given:
            groups, found = _read_parameter(parameter, given[parameter.name])
            errors.extend(found)
            if groups:
                values[parameter.name] = groups
    errors.extend(_missing_or_conflicting(definition, values, given))
    if return_type is None:
        return errors
    query = StoredQuery(definition, return_type, values, raw.home)
    errors.extend(_wrong_level(query))
    return errors or query


def _wrong_level(query: StoredQuery) -> list[RegistryError]:
    """Spec: ITI TF-2 3.18.4.1.2.3.5.1 (the metadata update supplement)."""
    if query.metadata_level not in (1, 2):
        context = f"$MetadataLevel must be 1 or 2, received {query.metadata_level}"
        return [RegistryError(ErrorCode.REGISTRY_ERROR, context)]
    return [
        RegistryError(ErrorCode.REGISTRY_ERROR, f"${name} is for consumers of $MetadataLevel 2, which must be said")
        for name in query.values
        if name.endswith("LogicalID") and query.metadata_level == 1
    ]


def _missing_or_conflicting(
    definition: QueryDefinition, values: Mapping[str, object], given: Container[str]
) -> list[RegistryError]:
    errors = []
    for parameter in definition.parameters:
        # A status list of which nothing remained counts as missing; other parameters that are given but malformed were reported.
        absent = parameter.name not in (values if parameter.kind is ParameterKind.STATUS else given)
        if parameter.required and absent:
            errors.append(
                RegistryError(ErrorCode.STORED_QUERY_MISSING_PARAM, f"{definition.name} requires the parameter ${parameter.name}")
            )
    for group in definition.one_of:
        alternatives = " or ".join(f"${name}" for name in group)
        present = [name for name in group if name in given]
        if not present:
            errors.append(
                RegistryError(ErrorCode.STORED_QUERY_MISSING_PARAM, f"{definition.name} requires one of {alternatives}")
            )
        elif len(present) > 1:
            errors.append(
                RegistryError(ErrorCode.STORED_QUERY_PARAM_NUMBER, f"{definition.name} takes only one of {alternatives}")
            )
    if definition.at_least_one and not any(name in given for name in definition.at_least_one):
        alternatives = ", ".join(f"${name}" for name in definition.at_least_one)
        errors.append(
            RegistryError(ErrorCode.STORED_QUERY_MISSING_PARAM, f"{definition.name} requires at least one of {alternatives}")
        )
    return errors


def _read_parameter(
    parameter: Parameter, slots: Sequence[tuple[str, ...]]
) -> tuple[tuple[tuple[Value, ...], ...], list[RegistryError]]:
    groups: list[tuple[Value, ...]] = []
    errors: list[RegistryError] = []
    for texts in slots:
        values: list[Value] = []
        for text in texts:
            try:
                values.extend(_read_values(parameter, text))
            except _Malformed as problem:
                errors.append(RegistryError(ErrorCode.REGISTRY_ERROR, f"${parameter.name}: {problem}, received: {_shown(text)}"))
        if values:
            groups.append(tuple(values))
    most = _most_values(parameter, groups)
    if len(groups) > MOST_SLOTS or sum(map(len, groups)) > most:
        context = f"${parameter.name} takes at most {most} values in {MOST_SLOTS} slots"
        return (), [*errors, RegistryError(ErrorCode.REGISTRY_ERROR, context)]
    if not parameter.multiple and sum(len(group) for group in groups) > 1:
        errors.append(RegistryError(ErrorCode.STORED_QUERY_PARAM_NUMBER, f"${parameter.name} takes one value"))
    elif parameter.multiple and not parameter.conjunctive and len(slots) > 1:
        errors.append(
            RegistryError(
                ErrorCode.STORED_QUERY_PARAM_NUMBER,
                f"the slot ${parameter.name} may stand only once; its values belong into one list",
            )
        )
    return tuple(groups), errors


def _most_values(parameter: Parameter, groups: Iterable[Sequence[Value]]) -> int:
    holds_pattern = parameter.kind is ParameterKind.REFERENCE_ID and any(is_pattern(value) for group in groups for value in group)
    if parameter.kind is ParameterKind.LIKE or holds_pattern:
        return MOST_PATTERNS
    return MOST_FILTER_VALUES if parameter.conjunctive or parameter.kind is ParameterKind.CODE else MOST_VALUES


def _read_values(parameter: Parameter, text: str) -> list[Value]:
    text = text.strip()
    bare = parameter.kind in _BARE
    if text.startswith("(") and text.endswith(")"):
        literals = _literals(text[1:-1], bare)
    elif parameter.multiple and not bare:
        raise _Malformed("a list of values stands in parentheses, such as ('a','b')")
    else:
        literals = _literals(text, bare)
        if len(literals) > 1:
            raise _Malformed("several values stand in parentheses, such as ('a','b')")
    read = _READERS[parameter.kind]
    values = [read(literal) for literal in literals]
    return [value for value in values if value is not None]


def _literals(text: str, bare: bool) -> list[str]:
    """Split `'a', 'b'` at its commas; a comma or parenthesis inside quotes belongs to the value."""
    found = []
    position = 0
    while True:
        match = _LITERAL.match(text, position)
        if match is None or (match[1] is None and not bare):
            raise _Malformed("a text stands in single quotes, and a quote inside it is doubled")
        found.append(match[2] if match[1] is None else match[1].replace("''", "'"))
        position = match.end()
        if position == len(text):
            return found
        if text[position] != ",":
            raise _Malformed("values of a list are separated by commas, and a quote inside a text is doubled")
        position += 1


def _text(literal: str) -> Value:
    if not literal.strip():
        raise _Malformed("the value is empty")
    return literal


def _trimmed(literal: str) -> Value:
    return str(_text(literal)).strip()


def _patient_id(literal: str) -> Value:
    identifier = read_cx(literal)
    if identifier is None or not identifier.authority.oid or not is_oid(identifier.authority.oid):
        raise _Malformed("a patient id has the form id^^^&OID&ISO")
    return identifier.to_cx()


def _code(literal: str) -> Value:
    parts = literal.strip().split("^")
    if len(parts) != 3 or not parts[0] or not parts[2]:
        raise _Malformed("a code has the form code^^scheme")
    return Code(parts[0], parts[2])


def _time(literal: str) -> Value:
    text = literal.strip()
    if not is_dtm(text):
        raise _Malformed("a time has the form YYYY[MM[DD[hh[mm[ss]]]]]")
    return dtm_number(text)


def _number(literal: str) -> Value:
    text = literal.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise _Malformed("a number has digits only")
    return int(text)


def _status(literal: str) -> Value | None:
    return _STATUSES.get(literal.strip())


def _uuid(literal: str) -> Value:
    text = "".join(literal.split()).lower()
    if not _UUID.match(text):
        raise _Malformed("an entryUUID has the form urn:uuid:xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
    return text


_READERS: dict[ParameterKind, Callable[[str], Value | None]] = {
    ParameterKind.STRING: _trimmed,
    ParameterKind.PATIENT_ID: _patient_id,
    ParameterKind.CODE: _code,
    ParameterKind.TIME: _time,
    ParameterKind.LIKE: _text,
    ParameterKind.REFERENCE_ID: _trimmed,
    ParameterKind.STATUS: _status,
    ParameterKind.UUID: _uuid,
    ParameterKind.URN: _trimmed,
    ParameterKind.NUMBER: _number,
}


def _shown(text: str) -> str:
    """What was received, short enough for an error's context."""
    return text if len(text) <= 100 else text[:100] + "…"
