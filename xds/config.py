"""Settings: defaults < demo region < `xds.toml` < environment `XDS__SECTION__KEY` < command line.

`load` gives the settings, `provenance` tells of each value where it came from, `describe` writes the documentation page.
"""

from __future__ import annotations

import difflib
import inspect
import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from xds.settings import ENVIRONMENT_PREFIX, Settings
from xds.settings.wording import in_words, place

DEFAULT_FILE = Path("xds.toml")

#: What the demo region brings: fixed OIDs (below 2.999, the arc for examples), so that the commands of the manual work as
#: printed, and studies that are published quickly. Configured values win.
DEMO_VALUES: dict[str, Any] = {
    "domain": {
        "assigning_authority": "2.999.1",
        "home_community_id": "2.999.2",
        "repository_unique_id": "2.999.3",
        "imaging_source_unique_id": "2.999.4",
    },
    "imaging": {"settle_seconds": 2.0},
}

#: Settings whose function is still to come.
WITHOUT_EFFECT = (
    "tls.certificate",
    "tls.key",
    "tls.trusted",
    "security.require_assertion",
    "security.issuers",
    "audit.repository",
)


class ConfigError(ValueError):
    """The configuration cannot be used; the text says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One setting: its dotted key, its value as text (passwords masked), and where the value came from."""

    key: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class _Layer:
    source: str
    values: dict[str, Any]


def load(config_file: Path | None = None, overrides: Mapping[str, object] | None = None) -> Settings:
    """The settings in force.

    `config_file` None means `xds.toml` in the working directory, when there is one. `overrides` are the flags, by dotted key
    (`{"server.http_port": 0}`). Errors: ConfigError.
    """
    return _merge(_layers(config_file, overrides or {}))


def provenance(config_file: Path | None = None, overrides: Mapping[str, object] | None = None) -> tuple[Origin, ...]:
    """Every setting in force with its source, in the order of the documentation. Errors: ConfigError."""
    layers = _layers(config_file, overrides or {})
    settings = _merge(layers)
    return tuple(Origin(key, _shown(field, _value(settings, key)), _source(layers, key)) for key, field in _fields(Settings))


def exposed(settings: Settings) -> bool:
    """True when the listeners can be reached from other machines."""
    return settings.server.host not in {"127.0.0.1", "::1", "localhost"}


def without_effect(settings: Settings) -> tuple[str, ...]:
    """Keys of the settings that differ from their default although this version does not act on them yet.

    A server that silently ignored them would be less safe than its operator believes, so it must not start.
    """
    defaults = Settings()
    return tuple(key for key in WITHOUT_EFFECT if _value(settings, key) != _value(defaults, key))


def _layers(config_file: Path | None, overrides: Mapping[str, object]) -> list[_Layer]:
    layers = []
    path = config_file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    if path is not None:
        layers.append(_Layer(str(path), _read_file(path)))
    layers.append(_Layer("environment", _read_environment()))
    flags: dict[str, Any] = {}
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        flags.setdefault(section, {})[name] = value
    _refuse_unknown(flags, Settings, "command line")
    layers.append(_Layer("command line", flags))
    if _merge(layers).server.demo:
        layers.insert(0, _Layer("demo region", DEMO_VALUES))
    return layers


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    _refuse_unknown(values, Settings, str(path))
    return values


def _read_environment() -> dict[str, Any]:
    known = dict(_fields(Settings))
    for name, value in os.environ.items():
        if not name.upper().startswith(ENVIRONMENT_PREFIX):
            continue
        key = name[len(ENVIRONMENT_PREFIX) :].lower().replace("__", ".")
        if key not in known:
            raise ConfigError(_unknown(f"environment variable {name}", key, set(known), _variable))
        if isinstance(known[key].default, tuple):
            _require_json_list(name, value, _model_of(known[key]))
    return EnvSettingsSource(Settings)()


def _require_json_list(name: str, value: str, tables: type[BaseModel] | None) -> None:
    try:
        is_list = isinstance(json.loads(value), list)
    except json.JSONDecodeError:
        is_list = False
    if is_list:
        return
    if tables is not None:
        # Such a table may hold a password, which is not shown.
        first = next(iter(tables.model_fields))
        raise ConfigError(f'environment variable {name} must be a list of tables in JSON, such as [{{"{first}": …}}]')
    raise ConfigError(f'environment variable {name} must be a list in JSON, such as ["a", "b"]; got {value!r}')


def _variable(key: str) -> str:
    return ENVIRONMENT_PREFIX + key.upper().replace(".", "__")


def _refuse_unknown(values: Mapping[str, Any], model: type[BaseModel], source: str, prefix: str = "") -> None:
    for name, value in values.items():
        key = prefix + name
        field = model.model_fields.get(name)
        if field is None:
            siblings = {prefix + other for other in model.model_fields}
            known = siblings if prefix else siblings | {leaf for leaf, _ in _fields(Settings)}
            raise ConfigError(_unknown(source, key, known, str))
        inner = _model_of(field)
        if not prefix and not isinstance(value, dict | list):
            # A table of another source would take its place without a word.
            raise ConfigError(f"{source}: {key}: must be a table, written [{key}]; got {value!r}")
        for table in value if isinstance(value, list) else [value]:
            if inner is not None and isinstance(table, dict):
                _refuse_unknown(table, inner, source, f"{key}.")


def _unknown(source: str, key: str, known: set[str], spelled: Callable[[str], str]) -> str:
    section, _, name = key.rpartition(".")
    # Whoever writes `port` means one of those that end so.
    ending = [item for item in sorted(known) if item.startswith(f"{section}.") and item.endswith(f"_{name}")]
    near = ending or difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.0)
    told = ("the nearest is " if len(near) == 1 else "near are ") + ", ".join(repr(spelled(item)) for item in near)
    return f"{source}: there is no setting {key!r}; {told} (`xds config` lists all)"


def _merge(layers: list[_Layer]) -> Settings:
    merged: dict[str, Any] = {}
    for layer in layers:
        for section, value in layer.values.items():
            if isinstance(value, dict) and isinstance(merged.get(section), dict):
                merged[section] = {**merged[section], **value}
            else:
                merged[section] = value
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise ConfigError("\n".join(_complaints(error, layers))) from error


def _complaints(error: ValidationError, layers: list[_Layer]) -> Iterator[str]:
    for problem in error.errors():
        where = problem["loc"]
        key = ".".join(str(part) for part in where if isinstance(part, str))
        is_told = _secret(key) or problem["type"] == "missing" or isinstance(problem["input"], dict | BaseModel)
        shown = "" if is_told else f"; got {problem['input']!r}"
        named = f"{key}{place(problem)}: " if key else ""
        source = _source(layers, key)
        yield f"{'settings' if source == 'default' else source}: {named}{in_words(problem)}{shown}"


def _source(layers: list[_Layer], key: str) -> str:
    section, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    for layer in reversed(layers):
        value = layer.values.get(section)
        if value is not None and (not name or isinstance(value, list) or (isinstance(value, dict) and name in value)):
            return f"environment {_variable(key)}" if name and layer.source == "environment" else layer.source
    return "default"


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    candidates = (field.annotation, *get_args(field.annotation))
    return next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), None)


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every leaf of the settings with its dotted key; a list of tables is one leaf."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _fields(annotation, f"{name}.")
        else:
            yield prefix + name, field


def _secret(key: str) -> bool:
    return any(key == name and isinstance(field.json_schema_extra, dict) for name, field in _fields(Settings))


def _value(settings: Settings, key: str) -> object:
    value: object = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _shown(field: FieldInfo, value: object) -> str:
    if isinstance(field.json_schema_extra, dict) and value:
        return mask(str(value))
    if isinstance(value, tuple):
        return ", ".join(str(getattr(item, "name", item)) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def mask(url: str) -> str:
    """A URL whose password and secret parameters cannot be read."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        user, _, host = parts.netloc.rpartition("@")
        url = url.replace(parts.netloc, f"{user.partition(':')[0]}:***@{host}", 1)
    if parts.query:
        shown = [(name, value if name in {"endpoint", "region"} else "***") for name, value in parse_qsl(parts.query)]
        url = url.replace(parts.query, urlencode(shown, safe="*:/"), 1)
    return url


def describe() -> str:
    """The documentation of every setting as Markdown."""
    lines = [
        "# Settings",
        "",
        "An empty file works: every key has a default. Later ones win: defaults, the values of the demo region (with `--demo`),",
        "`xds.toml` (in the working directory, or `--config FILE`), environment variables, flags of `xds serve`.",
        "A key `[section] key` is the variable `XDS__SECTION__KEY`; a list is written there as JSON.",
        "`xds config` shows each value in force and where it came from. A key that does not exist is refused.",
    ]
    for name, field in Settings.model_fields.items():
        model = _model_of(field)
        if model is not None:
            lines += _described(name, model, repeated=field.annotation is not model)
            for inner, inner_field in model.model_fields.items():
                listed = _model_of(inner_field)
                if listed is not None:
                    lines += _described(f"{name}.{inner}", listed, repeated=True)
    return "\n".join(lines) + "\n"


def _described(name: str, model: type[BaseModel], *, repeated: bool) -> list[str]:
    lines = ["", f"## `[[{name}]]`" if repeated else f"## `[{name}]`", "", inspect.cleandoc(model.__doc__ or ""), ""]
    lines += ["| key | default | meaning |", "|---|---|---|"]
    for key, field in model.model_fields.items():
        default = "required" if field.is_required() else f"`{_written(field.default)}`"
        lines.append(f"| `{key}` | {default} | {field.description} |")
    return lines


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return json.dumps([item for item in value if isinstance(item, str)])
    return str(value) if isinstance(value, int | float) else f'"{value}"'
