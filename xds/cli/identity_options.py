"""Options that commands about patients' identities share, and what they mean."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from xds.cli.outcome import Usage
from xds.model.patient import Demographics, PersonName

Files = Annotated[list[Path] | None, typer.Argument(metavar="FILE…", help="Messages in ER7, one a file.")]
Patients = Annotated[
    list[str] | None, typer.Option("--patient", metavar="CX", help="Identifier of the patient (PID-3); several may be given.")
]
Known = Annotated[str, typer.Option("--patient", metavar="CX", help="The identifier that is known.")]
Name = Annotated[str, typer.Option(metavar="FAMILY^GIVEN", help="Name (PID-5).")]
BirthDate = Annotated[str | None, typer.Option(metavar="YYYYMMDD", help="Date of birth (PID-7).")]
Sex = Annotated[str | None, typer.Option(help="Administrative sex (PID-8): F, M, O, U.")]
Source = Annotated[str, typer.Option(metavar="FACILITY|APPLICATION", help="Who sends it (MSH-4 and MSH-3).")]
Destination = Annotated[str, typer.Option(metavar="FACILITY|APPLICATION", help="Whom it is for (MSH-6 and MSH-5).")]
Visit = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=VALUE", help="A value of the visit, such as `PV1.3.2=389`; several may be given."),
]


class Event(Enum):
    """What a feed tells."""

    ADD = "add"
    REVISE = "revise"
    MERGE = "merge"


def described(name: str, birth_date: str | None, sex: str | None) -> Demographics:
    """Demographics from options."""
    family, _, given = name.partition("^")
    names = (PersonName(family, given, use="L"),) if name else ()
    return Demographics(names=names, birth_date=birth_date, sex=sex)


def check_subsumed(event: Event, subsumed: str | None) -> None:
    """Errors: Usage for a merge without the identifier that it takes away, and for one of anything else."""
    if (event is Event.MERGE) != bool(subsumed):
        raise Usage("a merge, and only a merge, names the --subsumed identifier")


def visit_of(given: list[str] | None) -> dict[str, str]:
    """Values of a visit from options. Errors: Usage."""
    visit = {}
    for item in given or ():
        field, equals, value = item.partition("=")
        if not equals or not field.startswith(("PV1.", "PV2.", "PD1.")):
            raise Usage(f"a value of a visit is written PV1.3.2=389, not {item!r}")
        visit[field] = value
    return visit
