"""What every client command shares: options, addresses, and how an answer is shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

import typer
from lxml import etree

from xds.cli.outcome import NoAnswer, Refused, Usage, why_no_answer
from xds.cli.printing import print_table
from xds.model.errors import RegistryResponse, Severity, Status
from xds.model.identifiers import PatientIdentifier, read_cx
from xds.transactions.transaction import Transaction
from xds.wire.ebrs import write_registry_response
from xds.wire.soap import SoapFault
from xds.wire.xml import parse

DEFAULT_HTTP = "http://127.0.0.1:8080"
DEFAULT_MLLP = "127.0.0.1:2575"
DEFAULT_DICOM = "XDS@127.0.0.1:11112"

HttpTo = Annotated[
    str, typer.Option("--to", metavar="URL", help="The server (its usual path is added), or the full address of the service.")
]
MllpTo = Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="The MLLP listener.")]
DicomTo = Annotated[str, typer.Option("--to", metavar="TITLE@HOST:PORT", help="The DICOM listener.")]
AsXml = Annotated[bool, typer.Option("--xml", help="Print the answer as it came.")]
AsEr7 = Annotated[bool, typer.Option("--er7", help="Print the answer as it came, a segment a line.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the message instead of sending it.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the answer.")]
OutputDirectory = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where files are written.")]


class Form(Enum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"
    WIRE = "wire"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in all its forms: what a table says, what JSON says, and the message itself.

    `has_errors`: an empty one needs no remark, because its errors are shown beside it.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    facts: object
    wire: Callable[[], str]
    has_errors: bool = False


def form(as_json: bool, as_wire: bool) -> Form:
    """The form that was asked for. Errors: Usage when both were."""
    if as_json and as_wire:
        raise Usage("choose one form of output")
    return Form.JSON if as_json else Form.WIRE if as_wire else Form.TABLE


def show(answer: Answer, wanted: Form) -> None:
    """Print an answer on standard output."""
    if wanted is Form.JSON:
        print(json.dumps(answer.facts, ensure_ascii=False, indent=2))
    elif wanted is Form.WIRE:
        print(answer.wire())
    elif answer.rows:
        print_table(answer.columns, answer.rows)
    elif not answer.has_errors:
        print("the answer is empty", file=sys.stderr)


def service(to: str, transaction: Transaction) -> str:
    """The address of a transaction's service: `to`, with the usual path when it names only a server. Errors: Usage."""
    parts = urlsplit(to)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not _has_proper_port(parts):
        raise Usage(f"--to must be an http or https URL, not {to!r}")
    return to if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}{transaction.path}"


def _has_proper_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def patient_identifier(text: str) -> PatientIdentifier:
    """A patient identifier as it is written on the command line. Errors: Usage."""
    identifier = read_cx(text)
    if identifier is None:
        raise Usage(
            f"a patient identifier is written id^^^namespace&OID&ISO (either of namespace and OID may be missing), not {text!r}"
        )
    return identifier


@contextmanager
def talking(endpoint: str) -> Iterator[None]:
    """Tell the two ways in which an exchange fails apart: the partner said no, or nobody answered."""
    try:
        yield
    except SoapFault as fault:
        raise Refused(f"SOAP fault {fault.code}: {fault.reason}") from fault
    except (OSError, EOFError) as error:
        raise NoAnswer(f"{endpoint}: {why_no_answer(error)}") from error


def show_response(response: RegistryResponse, wanted: Form, *, done: str) -> None:
    """Print the outcome of a submission; `done` is what a success says. Errors: Refused when it was not one."""
    if wanted is Form.TABLE:
        print_problems(response)
        if response.succeeded:
            print(done)
    else:
        show(Answer((), (), response_facts(response), lambda: pretty(write_registry_response(response))), wanted)
    if not response.succeeded:
        raise Refused(f"the answer is {response.status.name.replace('_', ' ').title()}")


def print_problems(response: RegistryResponse) -> None:
    """Errors and warnings of an answer, on standard error."""
    for error in response.errors:
        print(
            f"{'error' if error.severity is Severity.ERROR else 'warning'}: {error.code.value}: {error.context}", file=sys.stderr
        )


def refuse_failure(response: RegistryResponse) -> None:
    """Errors: Refused when the answer says that something failed, wholly or in part."""
    if response.status is not Status.SUCCESS:
        raise Refused(f"the answer is {response.status.name.replace('_', ' ').title()}")


def response_facts(response: RegistryResponse) -> dict[str, object]:
    """A registry response for JSON."""
    return {
        "status": response.status.value,
        "errors": [
            {"code": error.code.value, "context": error.context, "severity": error.severity.value, "location": error.location}
            for error in response.errors
        ],
    }


def pretty(xml: bytes | etree._Element) -> str:
    """XML with indentation, for reading."""
    element = parse(xml) if isinstance(xml, bytes) else xml
    etree.indent(element)
    return etree.tostring(element, encoding="unicode")


def pairs(given: Iterable[str]) -> Mapping[str, list[str]]:
    """`NAME=VALUE` arguments by name, in order. Errors: Usage."""
    found: dict[str, list[str]] = {}
    for item in given:
        name, sign, value = item.partition("=")
        if not sign or not name:
            raise Usage(f"expected NAME=VALUE, not {item!r}")
        found.setdefault(name.removeprefix("$"), []).append(value)
    return found
