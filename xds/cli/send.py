"""`xds send …`: one transaction to any server, ours or another's."""

from __future__ import annotations

import typer

from xds.cli import (
    send_demographics,
    send_fhir,
    send_identity,
    send_identity_v2,
    send_identity_v3,
    send_imaging,
    send_orders,
    send_registry,
    send_removal,
    send_repository,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Send one transaction to any server and show its answer.\n\n"
    "Every command has `--to` (where), `--dry-run` (print the message, send nothing), `--json`, and `--xml` or `--er7` (the "
    "answer as it came). Without `--to` it goes to a server on this machine with the usual ports.\n\n"
    "A patient identifier is written as HL7 CX: `id^^^namespace&OID&ISO`. In the metadata of documents it is the affinity "
    "domain's own; `xds send iti09` finds it, and `--local` with ITI-18 does so on the way.",
)

app.command("iti08")(send_identity.iti08)
app.command("iti09")(send_identity.iti09)
app.command("iti10")(send_identity_v2.iti10)
app.command("iti18")(send_registry.iti18)
app.command("iti21")(send_demographics.iti21)
app.command("iti22")(send_demographics.iti22)
app.command("iti30")(send_identity_v2.iti30)
app.command("iti31")(send_identity_v2.iti31)
app.command("iti41")(send_repository.iti41)
app.command("iti42")(send_registry.iti42)
app.command("iti43")(send_repository.iti43)
app.command("iti44")(send_identity_v3.iti44)
app.command("iti45")(send_identity_v3.iti45)
app.command("iti47")(send_identity_v3.iti47)
app.command("iti51")(send_registry.iti51)
app.command("iti57")(send_registry.iti57)
app.command("iti61")(send_registry.iti61)
app.command("iti62")(send_removal.iti62)
app.command("iti64")(send_identity_v2.iti64)
app.command("iti78")(send_fhir.iti78)
app.command("iti83")(send_fhir.iti83)
app.command("iti86")(send_removal.iti86)
app.command("iti92")(send_registry.iti92)
app.command("iti104")(send_fhir.iti104)
app.command("iti119")(send_fhir.iti119)
app.command("rad04")(send_orders.rad04)
app.command("rad08")(send_imaging.rad08)
app.command("rad55")(send_imaging.rad55)
app.command("rad69")(send_imaging.rad69)
app.command("rad107")(send_imaging.rad107)
app.command("rad128")(send_orders.rad128)
