"""The options that every `xds send` command has, added to a command by a decorator: where to, in what form, or not at all."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from xds.cli import exchange
from xds.cli.exchange import AsEr7, AsXml, DryRun, Form, HttpTo, MllpTo, Timeout
from xds.cli.printing import AsJson
from xds.transactions.transaction import Transaction

_Given = ParamSpec("_Given")


@dataclass(frozen=True, slots=True)
class Sending:
    """Where a message goes, in what form the answer is shown, and whether anything is sent. `timeout` is in seconds."""

    to: str
    form: Form
    dry_run: bool
    timeout: float

    @contextmanager
    def talking(self, transaction: Transaction) -> Iterator[str]:
        """The address of the transaction's service, to talk to. Errors: Usage, Refused, NoAnswer."""
        endpoint = exchange.service(self.to, transaction)
        with exchange.talking(endpoint):
            yield endpoint

    def show(self, answer: exchange.Answer) -> None:
        """Print an answer in the form that was asked for."""
        exchange.show(answer, self.form)


def by_soap(
    command: Callable[Concatenate[Sending, _Given], None],
) -> Callable[_Given, None]:
    """A command that talks SOAP: `--to`, `--json`, `--xml`, `--dry-run`, `--timeout`."""
    return _with_options(command, to=(HttpTo, exchange.DEFAULT_HTTP), wire=("as_xml", AsXml), timeout=60)


def by_mllp(
    command: Callable[Concatenate[Sending, _Given], None],
) -> Callable[_Given, None]:
    """A command that talks HL7 v2 over MLLP: `--to`, `--json`, `--er7`, `--dry-run`, `--timeout`."""
    return _with_options(command, to=(MllpTo, exchange.DEFAULT_MLLP), wire=("as_er7", AsEr7), timeout=30)


def by_fhir(
    command: Callable[Concatenate[Sending, _Given], None],
) -> Callable[_Given, None]:
    """A command that talks FHIR, whose JSON is the message: `--to`, `--json`, `--dry-run`, `--timeout`."""
    return _with_options(command, to=(HttpTo, exchange.DEFAULT_HTTP), wire=None, timeout=30)


def _with_options(
    command: Callable[Concatenate[Sending, _Given], None],
    *,
    to: tuple[Any, str],
    wire: tuple[str, Any] | None,
    timeout: float,
) -> Callable[_Given, None]:
    """The command with its own options and these; it gets their values as a `Sending`, first of all."""
    common = {"to": to, "as_json": (AsJson, False), **({wire[0]: (wire[1], False)} if wire else {})}
    common |= {"dry_run": (DryRun, False), "timeout": (Timeout, timeout)}
    own = inspect.signature(command, eval_str=True)
    _, *parameters = own.parameters.values()
    parameters += [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
        for name, (annotation, default) in common.items()
    ]

    @wraps(command)
    def run(*args: _Given.args, **values: _Given.kwargs) -> None:
        given: dict[str, Any] = {name: values.pop(name, default) for name, (_, default) in common.items()}
        form = exchange.form(given["as_json"], bool(wire and given[wire[0]]))
        command(Sending(given["to"], form, given["dry_run"], given["timeout"]), *args, **values)

    # What typer reads a command's options from.
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {item.name: item.annotation for item in parameters}
    return run
