"""What commands beside a server share: where its settings and its stores are, and what may be wrong with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xds.cli.outcome import Refused, Usage

if TYPE_CHECKING:
    from xds.settings import Settings

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings. Default: xds.toml in the working directory, if any."),
]
Data = Annotated[Path | None, typer.Option(metavar="DIR", help="Data directory. Default: .data")]


def read_settings(config_file: Path | None, overrides: Mapping[str, object]) -> Settings:
    """The settings in force. Errors: Usage."""
    from xds import config

    try:
        return config.load(config_file, overrides)
    except config.ConfigError as error:
        raise Usage(str(error)) from error


def settings_of(config_file: Path | None, data: Path | None) -> Settings:
    """The settings of a domain whose server may run. Errors: Usage."""
    return read_settings(config_file, {"server.data": data} if data is not None else {})


@contextmanager
def reading_stores() -> Iterator[None]:
    """Turn what is wrong with the stores into words.

    Errors: Usage; Refused; ConnectionError and TimeoutError as they are.
    """
    from sqlalchemy.exc import DatabaseError

    from xds.store.database import DatabaseFullError, DatabaseUrlError, SchemaError

    try:
        yield
    except (ConnectionError, TimeoutError):
        raise
    except (SchemaError, DatabaseFullError) as error:
        raise Refused(str(error)) from error
    except DatabaseUrlError as error:
        raise Usage(str(error)) from error
    except (DatabaseError, sqlite3.Error) as error:
        reason = error.orig if isinstance(error, DatabaseError) else error
        raise Usage(f"the database cannot be read: {reason}") from error
    except OSError as error:
        raise Usage(f"what is stored cannot be read: {error}") from error
