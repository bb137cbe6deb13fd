"""`xds send …`: one transaction to any server, ours or another's."""

from __future__ import annotations

import typer
from typer.main import get_group

from xds.cli.later import Later, with_commands

_app = typer.Typer(
    name="send",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Send one transaction to any server and show its answer.\n\n"
    "Every command has `--to` (where); without it, it goes to a server on this machine with the usual ports. Those that send a "
    "message have `--dry-run` (print it, send nothing), `--json`, and `--xml` or `--er7` (the answer as it came; that of FHIR is "
    "JSON). Those that bring files write them below `--output`.\n\n"
    "A patient identifier is written as HL7 CX: `id^^^namespace&OID&ISO`. In the metadata of documents it is the affinity "
    "domain's own; `xds send iti09` finds it, and `--local` with ITI-18 does so on the way.",
)

_COMMANDS = (
    Later("iti08", "send_identity:iti08", "Tell of a patient: a patient identity feed in HL7 v2 (ITI-8)."),
    Later("iti09", "send_identity:iti09", "Ask for a patient's identifiers in other domains: PIX query in HL7 v2 (ITI-9)."),
    Later(
        "iti10",
        "send_identity_v2:iti10",
        "Tell a PIX Consumer which identifiers mean one person: PIX update notification in HL7 v2 (ITI-10).",
    ),
    Later("iti18", "send_registry:iti18", "Query a registry (ITI-18). Where a status is required and not given, it is Approved."),
    Later("iti21", "send_demographics:iti21", "Search patients by their traits: patient demographics query in HL7 v2 (ITI-21)."),
    Later(
        "iti22",
        "send_demographics:iti22",
        "Search patients by their visit: patient demographics and visit query in HL7 v2 (ITI-22).",
    ),
    Later(
        "iti30",
        "send_identity_v2:iti30",
        "Tell what becomes of a patient's identity: patient identity management in HL7 v2 (ITI-30).",
    ),
    Later("iti31", "send_identity_v2:iti31", "Tell of a visit: patient encounter management in HL7 v2 (ITI-31)."),
    Later("iti41", "send_repository:iti41", "Provide documents to a repository, which registers them (ITI-41)."),
    Later("iti42", "send_registry:iti42", "Register metadata without documents, as a repository does (ITI-42)."),
    Later("iti43", "send_repository:iti43", "Retrieve documents from a repository into files (ITI-43)."),
    Later("iti44", "send_identity_v3:iti44", "Tell of a patient: a patient identity feed in HL7 v3 (ITI-44)."),
    Later("iti45", "send_identity_v3:iti45", "Ask for a patient's identifiers in other domains: PIX query in HL7 v3 (ITI-45)."),
    Later(
        "iti47", "send_identity_v3:iti47", "Search for patients by their traits: patient demographics query in HL7 v3 (ITI-47)."
    ),
    Later(
        "iti51",
        "send_registry:iti51",
        "Query a registry about several patients or about all of them (ITI-51). Where a status is not given, it is Approved.",
    ),
    Later(
        "iti57", "send_registry:iti57", "Update metadata of a registry: new versions, changes of status, associations (ITI-57)."
    ),
    Later(
        "iti61", "send_registry:iti61", "Register on-demand entries, whose documents are made when they are retrieved (ITI-61)."
    ),
    Later("iti62", "send_removal:iti62", "Remove metadata from a registry for good, all or none (ITI-62)."),
    Later(
        "iti64",
        "send_identity_v2:iti64",
        "Tell a Document Registry that documents belong to another patient: XAD-PID link change in HL7 v2 (ITI-64).",
    ),
    Later("iti78", "send_fhir:iti78", "Search patients by their traits: PDQm (ITI-78)."),
    Later("iti83", "send_fhir:iti83", "Ask for a patient's identifiers in other domains: PIXm query (ITI-83)."),
    Later(
        "iti86",
        "send_removal:iti86",
        "Remove documents from a repository for good (ITI-86). Their metadata are removed by `xds send iti62`.",
    ),
    Later(
        "iti92",
        "send_registry:iti92",
        "Update metadata of documents, except whose they are, which they are and where they are kept (ITI-92).",
    ),
    Later(
        "iti104",
        "send_fhir:iti104",
        "Tell of a patient: patient identity feed in FHIR (ITI-104), to add, revise, merge or remove.",
    ),
    Later("iti119", "send_fhir:iti119", "Ask who a described patient may be, the likeliest first: PDQm match (ITI-119)."),
    Later("rad04", "send_orders:rad04", "Tell of the procedure of an order: OMI^O23 (RAD-4; RAD-13 when it is told again)."),
    Later("rad08", "send_imaging:rad08", "Store images as a modality does: C-STORE (RAD-8)."),
    Later("rad55", "send_imaging:rad55", "Retrieve one image by WADO-URI (RAD-55)."),
    Later("rad69", "send_imaging:rad69", "Retrieve images by their UIDs (RAD-69). `xds fetch` takes them from a manifest."),
    Later("rad107", "send_imaging:rad107", "Retrieve a study, a series or an instance by WADO-RS (RAD-107)."),
    Later(
        "rad128",
        "send_orders:rad128",
        "Send an imaging report, which becomes a document of the patient's record: ORU^R01 (RAD-128).",
    ),
)

group = with_commands(get_group(_app), _COMMANDS)
