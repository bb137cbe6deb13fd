"""`xds send iti62` and `xds send iti86`: metadata out of a registry, documents out of a repository."""

from __future__ import annotations

from typing import Annotated

import typer

from xds.cli import exchange
from xds.cli.sending import Sending, by_soap
from xds.model.retrieval import DocumentRequest
from xds.transactions import iti62_remove_metadata as iti62_transaction
from xds.transactions import iti86_remove_documents as iti86_transaction
from xds.wire.removal import write_remove_documents, write_remove_objects


@by_soap
def iti62(
    sending: Sending,
    objects: Annotated[
        list[str], typer.Argument(metavar="UUID…", help="entryUUID of each object: entries, packages, associations.")
    ],
) -> None:
    """Remove metadata from a registry for good, all or none (ITI-62).

    Name every association of what goes, too: nothing may go on referring to it, and nothing may be left alone.

    **Examples**

    `xds send iti62 urn:uuid:7d7a2ac0-… urn:uuid:9a7b7c30-…`
    """
    if sending.dry_run:
        print(exchange.pretty(write_remove_objects(objects)))
        return
    with sending.talking(iti62_transaction.TRANSACTION) as endpoint:
        response = iti62_transaction.send(objects, endpoint=endpoint, timeout=sending.timeout)
    exchange.show_response(response, sending.form, done=f"{len(objects)} objects removed")


@by_soap
def iti86(
    sending: Sending,
    documents: Annotated[list[str], typer.Argument(metavar="UNIQUEID…", help="uniqueId of each document.")],
    repository: Annotated[str, typer.Option(metavar="OID", help="repositoryUniqueId, as the document's metadata states it.")],
) -> None:
    """Remove documents from a repository for good (ITI-86). Their metadata are removed by `xds send iti62`.

    **Examples**

    `xds send iti86 2.25.123 --repository 2.999.3`
    """
    requests = [DocumentRequest(repository, document) for document in documents]
    if sending.dry_run:
        print(exchange.pretty(write_remove_documents(requests)))
        return
    with sending.talking(iti86_transaction.TRANSACTION) as endpoint:
        response = iti86_transaction.send(requests, endpoint=endpoint, timeout=sending.timeout)
    exchange.show_response(response, sending.form, done=f"{len(documents)} documents removed")
