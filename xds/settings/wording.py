"""What is wrong with a setting, in words of its own: pydantic's are for programmers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic_core import ErrorDetails

_Context = Mapping[str, Any]

_RULES: Final[Mapping[str, Callable[[_Context], str]]] = {
    "missing": lambda _: "must be given",
    "string_type": lambda _: "must be a text, in quotes",
    "string_too_short": lambda context: f"must have at least {context['min_length']} character(s)",
    "string_too_long": lambda context: f"must have at most {context['max_length']} characters",
    "string_pattern_mismatch": lambda context: f"must match {context['pattern']}",
    "int_type": lambda _: "must be a whole number",
    "int_parsing": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "float_type": lambda _: "must be a number",
    "float_parsing": lambda _: "must be a number",
    "bool_type": lambda _: "must be true or false",
    "bool_parsing": lambda _: "must be true or false",
    "literal_error": lambda context: f"must be {context['expected']}",
    "greater_than_equal": lambda context: f"must be at least {context['ge']}",
    "greater_than": lambda context: f"must be more than {context['gt']}",
    "less_than_equal": lambda context: f"must be at most {context['le']}",
    "less_than": lambda context: f"must be less than {context['lt']}",
    "too_short": lambda context: f"must have at least {context['min_length']} value(s)",
    "path_type": lambda _: "must be a path, in quotes",
}


def in_words(problem: ErrorDetails) -> str:
    """The rule that a value breaks. What is written as another kind of TOML value is told how it is written."""
    key = ".".join(str(part) for part in problem["loc"] if isinstance(part, str))
    if problem["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return f"must be a table, written [{key}]"
    if problem["type"] == "tuple_type":
        given = problem["input"]
        return f"must be a list of tables, each written [[{key}]]" if isinstance(given, dict) else "must be a list, in [brackets]"
    rule = _RULES.get(problem["type"])
    return problem["msg"].removeprefix("Value error, ") if rule is None else rule(problem.get("ctx", {}))


def place(problem: ErrorDetails) -> str:
    """Which of several tables it is, as ` of table 2`; nothing where there is one."""
    numbers = [part + 1 for part in problem["loc"] if isinstance(part, int)]
    return f" of table {numbers[0]}" if numbers and isinstance(problem["loc"][-1], str) else ""
