"""`xds send iti18`, `iti51`, `iti42`, `iti57`, `iti61` and `iti92`: queries to a registry, registrations, updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from xds.cli import exchange
from xds.cli.outcome import Usage
from xds.cli.send_identity import affinity_identifier
from xds.cli.send_repository import index_of_record, read_metadata
from xds.cli.sending import Sending, by_soap
from xds.model.metadata import Association, DocumentEntry, Folder, RegistryObject, Submission, SubmissionSet
from xds.model.stored_queries import Parameter, ParameterKind, QueryDefinition, RawQuery, ReturnType
from xds.model.vocabulary import AvailabilityStatus
from xds.rules.stored_query_table import MULTI_PATIENT_QUERIES, STORED_QUERIES
from xds.transactions import iti18_registry_stored_query as iti18_transaction
from xds.transactions import iti42_register_document_set as iti42_transaction
from xds.transactions import iti51_multi_patient_stored_query as iti51_transaction
from xds.transactions import iti57_update_document_set as iti57_transaction
from xds.transactions import iti61_register_on_demand_document_entry as iti61_transaction
from xds.transactions import iti92_restricted_update_document_set as iti92_transaction
from xds.transactions.client import post_soap
from xds.transactions.transaction import Transaction
from xds.wire.ebrim import write_submission
from xds.wire.ebrs import read_query_response, write_query

_BARE = {ParameterKind.TIME, ParameterKind.NUMBER}


@by_soap
def iti18(
    sending: Sending,
    query: Annotated[str, typer.Argument(help="Name of the stored query: FindDocuments, GetDocuments, … (or its UUID).")],
    given: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUE…", help="Parameters; quotes and brackets are added where they lack.")
    ] = None,
    patient: Annotated[str | None, typer.Option(metavar="CX", help="The patient, by the affinity domain's identifier.")] = None,
    local: Annotated[
        str | None, typer.Option(metavar="CX", help="The patient, by an establishment's identifier: asks the PIX Manager first.")
    ] = None,
    pix: Annotated[str, typer.Option(metavar="HOST:PORT", help="The PIX Manager, for --local.")] = exchange.DEFAULT_MLLP,
    refs: Annotated[bool, typer.Option("--refs", help="Ask for ids only (ObjectRef).")] = False,
) -> None:
    """Query a registry (ITI-18). Where a status is required and not given, it is Approved.

    A parameter that is given twice means AND where the standard allows it; several values of one, `NAME=('a','b')`, mean OR.

    **Examples**

    `xds send iti18 FindDocuments --patient 'PAT1^^^&2.999.1&ISO'`

    `xds send iti18 FindDocuments --local 'A0001^^^&2.999.10&ISO'`

    `xds send iti18 GetDocuments XDSDocumentEntryUniqueId=2.25.123`
    """
    definition = _definition(query, STORED_QUERIES)
    parameters = {name: list(values) for name, values in exchange.pairs(given or ()).items()}
    if patient and local:
        raise Usage("name the patient once: --patient or --local")
    if local:
        patient = affinity_identifier(local, pix, sending.timeout)
    _complete(definition, parameters, patient)
    raw = _raw(definition, parameters, ReturnType.OBJECT_REF if refs else ReturnType.LEAF_CLASS)
    _ask(raw, iti18_transaction.TRANSACTION, sending)


@by_soap
def iti51(
    sending: Sending,
    query: Annotated[str, typer.Argument(help="FindDocumentsForMultiplePatients, FindFoldersForMultiplePatients (or its UUID).")],
    given: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUE…", help="Parameters; quotes and brackets are added where they lack.")
    ] = None,
    patients: Annotated[
        list[str] | None,
        typer.Option("--patient", metavar="CX", help="One of the patients; repeat it for more. None at all: every patient."),
    ] = None,
    refs: Annotated[bool, typer.Option("--refs", help="Ask for ids only (ObjectRef).")] = False,
) -> None:
    """Query a registry about several patients or about all of them (ITI-51). Where a status is not given, it is Approved.

    **Examples**

    `xds send iti51 FindDocumentsForMultiplePatients --patient 'PAT1^^^&2.999.1&ISO' --patient 'PAT2^^^&2.999.1&ISO'`

    `xds send iti51 FindDocumentsForMultiplePatients XDSDocumentEntryEventCodeList='CT^^1.2.840.10008.2.16.4'`
    """
    definition = _definition(query, MULTI_PATIENT_QUERIES)
    parameters = {name: list(values) for name, values in exchange.pairs(given or ()).items()}
    _complete(definition, parameters, None)
    raw = _raw(definition, parameters, ReturnType.OBJECT_REF if refs else ReturnType.LEAF_CLASS)
    if patients:
        # One value each: together they may be longer than a Value can be.
        name = next(item for item in definition.parameters if item.kind is ParameterKind.PATIENT_ID)
        raw = replace(raw, slots=((name.name, tuple(_written(name, item) for item in patients)), *raw.slots))
    _ask(raw, iti51_transaction.TRANSACTION, sending)


@by_soap
def iti42(
    sending: Sending,
    metadata: Annotated[Path, typer.Argument(metavar="XML", help="A file with an lcm:SubmitObjectsRequest.")],
) -> None:
    """Register metadata without documents, as a repository does (ITI-42).

    **Examples**

    `xds send iti42 submission.xml`
    """
    _register(iti42_transaction, read_metadata(metadata), sending)


@by_soap
def iti61(
    sending: Sending,
    metadata: Annotated[Path | None, typer.Argument(metavar="XML", help="A file with an lcm:SubmitObjectsRequest.")] = None,
    index_of: Annotated[
        str | None,
        typer.Option(
            "--index-of", metavar="CX", help="In place of a file: the index of this patient's record, made by our repository."
        ),
    ] = None,
    repository: Annotated[str | None, typer.Option(metavar="OID", help="repositoryUniqueId of our repository.")] = None,
    text: Annotated[bool, typer.Option("--text", help="The index as plain text; otherwise it is CDA.")] = False,
) -> None:
    """Register on-demand entries, whose documents are made when they are retrieved (ITI-61).

    **Examples**

    `xds send iti61 on-demand.xml`

    `xds send iti61 --index-of 'PAT1^^^&2.999.1&ISO' --repository 2.999.3`
    """
    if metadata is not None and index_of is None:
        submission = read_metadata(metadata)
    elif metadata is None and index_of is not None and repository is not None:
        submission = index_of_record(exchange.patient_identifier(index_of).to_cx(), repository, as_text=text)
    else:
        raise Usage("give a file, or --index-of with --repository")
    _register(iti61_transaction, submission, sending)


@by_soap
def iti57(
    sending: Sending,
    metadata: Annotated[Path, typer.Argument(metavar="XML", help="A file with an lcm:SubmitObjectsRequest.")],
) -> None:
    """Update metadata of a registry: new versions, changes of status, associations (ITI-57).

    A new version has an id of its own, the logicalID of what it updates, and PreviousVersion in its HasMember.

    **Examples**

    `xds send iti57 update.xml`
    """
    _register(iti57_transaction, read_metadata(metadata), sending, verb="submitted")


@by_soap
def iti92(
    sending: Sending,
    metadata: Annotated[Path, typer.Argument(metavar="XML", help="A file with an lcm:SubmitObjectsRequest.")],
) -> None:
    """Update metadata of documents, except whose they are, which they are and where they are kept (ITI-92).

    **Examples**

    `xds send iti92 update.xml`
    """
    _register(iti92_transaction, read_metadata(metadata), sending, verb="submitted")


def _register(module: ModuleType, submission: Submission, sending: Sending, *, verb: str = "registered") -> None:
    """Register or update by the transaction of that module and show what comes, or only print the message."""
    if sending.dry_run:
        print(exchange.pretty(write_submission(submission)))
        return
    with sending.talking(module.TRANSACTION) as endpoint:
        response = module.send(submission, endpoint=endpoint, timeout=sending.timeout)
    exchange.show_response(response, sending.form, done=f"{len(submission.objects())} objects {verb}")


def _ask(raw: RawQuery, transaction: Transaction, sending: Sending) -> None:
    """Send a query and show what comes, or only print it."""
    if sending.dry_run:
        print(exchange.pretty(write_query(raw)))
        return
    with sending.talking(transaction) as endpoint:
        body = post_soap(endpoint, transaction, write_query(raw), timeout=sending.timeout).body
    response, objects, references = read_query_response(body)
    facts = {**exchange.response_facts(response), "objects": [_facts(item) for item in objects], "references": references}
    rows = [_row(item) for item in objects] + [("Reference", "", "", "", "", item) for item in references]
    columns = ("Kind", "Title", "Type", "Created", "Status", "Unique id")
    sending.show(exchange.Answer(columns, rows, facts, lambda: exchange.pretty(body), bool(response.errors)))
    exchange.print_problems(response)
    exchange.refuse_failure(response)


def _definition(query: str, queries: Mapping[str, QueryDefinition]) -> QueryDefinition:
    wanted = query.lower().replace("-", "").replace("_", "")
    for definition in queries.values():
        if wanted == definition.name.lower() or query == definition.id:
            return definition
    names = ", ".join(definition.name for definition in queries.values())
    raise Usage(f"there is no stored query {query!r}; there are {names}")


def _complete(definition: QueryDefinition, parameters: dict[str, list[str]], patient: str | None) -> None:
    """Put in the patient and the usual status, each under the name that this query gives it."""
    for parameter in definition.parameters:
        if parameter.kind is ParameterKind.PATIENT_ID and patient:
            parameters.setdefault(parameter.name, [patient])
            patient = None
        if parameter.kind is ParameterKind.STATUS and parameter.required:
            parameters.setdefault(parameter.name, [AvailabilityStatus.APPROVED])
    if patient:
        raise Usage(f"{definition.name} does not ask for a patient")


def _raw(definition: QueryDefinition, parameters: Mapping[str, Sequence[str]], returned: ReturnType) -> RawQuery:
    slots = []
    for name, values in parameters.items():
        parameter = definition.parameter(name)
        if parameter is None:
            names = ", ".join(item.name for item in definition.parameters)
            raise Usage(f"{definition.name} has no parameter {name!r}; it has {names}")
        slots += [(name, (_written(parameter, value),)) for value in values]
    return RawQuery(definition.id, returned, tuple(slots))


def _written(parameter: Parameter, value: str) -> str:
    """A value as the standard writes it in a slot. Spec: ITI TF-2 3.18.4.1.2.3.4."""
    if value.startswith(("(", "'")) or parameter.kind in _BARE:
        return value
    if parameter.kind is ParameterKind.STATUS and ":" not in value:
        value = f"urn:oasis:names:tc:ebxml-regrep:StatusType:{value.capitalize()}"
    quoted = "'" + value.replace("'", "''") + "'"
    return f"({quoted})" if parameter.multiple else quoted


def _row(item: RegistryObject) -> tuple[str, ...]:
    facts = _facts(item)
    return tuple(str(facts.get(name) or "") for name in ("kind", "title", "type", "created", "status", "unique_id"))


def _facts(item: RegistryObject) -> dict[str, object]:
    """What JSON and the table tell of an object."""
    facts: dict[str, object] = {"kind": type(item).__name__, "id": item.id, "title": item.title}
    facts["status"] = item.status.name.capitalize() if item.status else None
    if isinstance(item, DocumentEntry):
        facts |= {
            "unique_id": item.unique_id,
            "repository_unique_id": item.repository_unique_id,
            "patient_id": item.patient_id,
            "mime_type": item.mime_type,
            "type": item.type_code.display if item.type_code else None,
            "format_code": item.format_code.code if item.format_code else None,
            "created": item.creation_time,
            "service_start_time": item.service_start_time,
            "size": item.size,
            "hash": item.hash,
            "reference_ids": list(item.reference_ids),
        }
    elif isinstance(item, SubmissionSet):
        facts |= {"unique_id": item.unique_id, "patient_id": item.patient_id, "created": item.submission_time}
    elif isinstance(item, Folder):
        facts |= {"unique_id": item.unique_id, "patient_id": item.patient_id, "created": item.last_update_time}
    elif isinstance(item, Association):
        kind = item.association_type.rpartition(":")[2]
        facts |= {"type": kind, "source": item.source, "target": item.target, "title": f"{item.source} {kind} {item.target}"}
    return facts
