"""`xds send iti41` and `xds send iti43`: documents into a repository and out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from xds.actors import record_index
from xds.cli import exchange, files
from xds.cli.outcome import Usage
from xds.cli.sending import Sending, by_soap
from xds.model import drafts
from xds.model.identifiers import new_oid, to_dtm
from xds.model.metadata import Author, Code, Submission
from xds.model.retrieval import DocumentRequest
from xds.model.vocabulary import CONFIDENTIALITY, IHE_FORMAT_CODES, LOINC, AssociationType
from xds.transactions import iti41_provide_and_register_document_set as iti41_transaction
from xds.transactions import iti43_retrieve_document_set as iti43_transaction
from xds.transactions.client import SoapAnswer
from xds.transactions.iti41_provide_and_register_document_set import DocumentToSend
from xds.wire.ebrim import read_submission
from xds.wire.ebrs import read_retrieve_response, write_retrieve_request
from xds.wire.xml import XmlError, parse

_FORMATS = {
    "application/pdf": Code("urn:ihe:rad:PDF", IHE_FORMAT_CODES, "PDF"),
    "text/plain": Code("urn:ihe:rad:TEXT", IHE_FORMAT_CODES, "Text"),
}
_ANY_FORMAT = Code("urn:ihe:iti:xds:2017:mimeTypeSufficient", IHE_FORMAT_CODES, "mimeType Sufficient")


#: Codes of a document whose sender does not say more; an affinity domain with its own codes sends `--metadata`.
_CLASS = Code("REPORTS", "1.3.6.1.4.1.19376.1.2.6.1", "Reports")
_TYPE = Code("34133-9", LOINC, "Summary of episode note")
_FACILITY = Code("HOSP", "2.999.100", "Hospital")
_PRACTICE = Code("GEN", "2.999.102", "General medicine")
_NORMAL = Code("N", CONFIDENTIALITY, "normal")


@by_soap
def iti41(
    sending: Sending,
    given: Annotated[list[str], typer.Argument(metavar="FILE…", help="Documents; with --metadata written ENTRYID=FILE.")],
    patient: Annotated[
        str | None, typer.Option(metavar="CX", help="The affinity domain's identifier. Needed without --metadata.")
    ] = None,
    source_patient: Annotated[
        str | None, typer.Option(metavar="CX", help="The source's own identifier. Default: that of --patient.")
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the documents. Default: the file's name.")] = "",
    type_code: Annotated[
        str, typer.Option(metavar="CODE^NAME^SCHEME", help="What kind of document it is.")
    ] = f"{_TYPE.code}^{_TYPE.display}^{_TYPE.scheme}",
    author: Annotated[str, typer.Option(metavar="XCN", help="Author of the documents.")] = "^Demo^Author",
    language: Annotated[str, typer.Option(help="Language of the documents.")] = "en",
    metadata: Annotated[
        Path | None, typer.Option(metavar="XML", help="A whole lcm:SubmitObjectsRequest to send in place of the options above.")
    ] = None,
) -> None:
    """Provide documents to a repository, which registers them (ITI-41).

    **Examples**

    `xds send iti41 report.pdf --patient 'PAT1^^^&2.999.1&ISO' --title 'CT of the chest'`

    `xds send iti41 --metadata submission.xml Document01=report.pdf`
    """
    if metadata is not None:
        submission, documents = _whole(metadata, given)
    elif patient is None:
        raise Usage("say whose documents they are: --patient 'id^^^&OID&ISO'")
    else:
        about = _About(
            exchange.patient_identifier(patient).to_cx(),
            exchange.patient_identifier(source_patient or patient).to_cx(),
            title,
            _code(type_code),
            Author(author, (), (), (), ()),
            language,
        )
        submission, documents = _drafted([Path(name) for name in given], about)
    if sending.dry_run:
        named = [(item.id, f"{number}@xds") for number, item in enumerate(documents, start=1)]
        print(exchange.pretty(b"".join(iti41_transaction.write_request(submission, named))))
        return
    with sending.talking(iti41_transaction.TRANSACTION) as endpoint:
        response = iti41_transaction.send(submission, documents, endpoint=endpoint, timeout=sending.timeout)
    registered = [entry.unique_id or "" for entry in submission.document_entries]
    exchange.show_response(response, sending.form, done="\n".join(registered))


@by_soap
def iti43(
    sending: Sending,
    documents: Annotated[list[str], typer.Argument(metavar="UNIQUEID…", help="uniqueId of each document.")],
    repository: Annotated[str, typer.Option(metavar="OID", help="repositoryUniqueId, as the document's metadata states it.")],
    home: Annotated[str | None, typer.Option(metavar="URN", help="homeCommunityId, when the metadata states one.")] = None,
    output: exchange.OutputDirectory = Path(),
) -> None:
    """Retrieve documents from a repository into files (ITI-43).

    **Examples**

    `xds send iti43 2.25.123 --repository 2.999.3 -o /tmp/documents`
    """
    requests = [DocumentRequest(repository, document, home) for document in documents]
    if sending.dry_run:
        print(exchange.pretty(write_retrieve_request(requests)))
        return
    with sending.talking(iti43_transaction.TRANSACTION) as endpoint:
        answer = iti43_transaction.send(requests, endpoint=endpoint, timeout=sending.timeout)
    save(answer, output, sending.form)


def save(answer: SoapAnswer, output: Path, wanted: exchange.Form) -> None:
    """Write the documents of a retrieve's answer into files and show which. Errors: Refused when some did not come."""
    response, received = read_retrieve_response(answer.body)
    rows = []
    try:
        for item in received:
            part = answer.parts.get(item.content_id or "")
            data = part.staging.open() if part is not None else [item.inline or b""]
            path = files.write(output, item.request.document_unique_id, item.mime_type, data)
            rows.append((item.request.document_unique_id, item.mime_type, str(path.stat().st_size), str(path)))
    finally:
        answer.discard()
    names = ("unique_id", "mime_type", "size", "file")
    facts = {**exchange.response_facts(response), "documents": [dict(zip(names, row, strict=True)) for row in rows]}
    wire = lambda: exchange.pretty(answer.body)  # noqa: E731 - only read when XML is asked for
    exchange.show(exchange.Answer(("Document", "Type", "Size", "File"), rows, facts, wire, bool(response.errors)), wanted)
    exchange.print_problems(response)
    exchange.refuse_failure(response)


@dataclass(frozen=True, slots=True)
class _About:
    """What the options say of every document of a submission."""

    patient_id: str
    source_patient_id: str
    title: str
    type_code: Code
    author: Author
    language: str


def _drafted(paths: Sequence[Path], about: _About) -> tuple[Submission, list[DocumentToSend]]:
    now = to_dtm(datetime.now(UTC))
    entries = [
        drafts.document_entry(
            drafts.DocumentFacts(
                id=f"document-{number}",
                unique_id=new_oid(),
                patient_id=about.patient_id,
                source_patient_id=about.source_patient_id,
                mime_type=files.mime_type_of(path),
                title=about.title or path.name,
                creation_time=to_dtm(datetime.fromtimestamp(files.status(path).st_mtime, UTC)),
                class_code=_CLASS,
                type_code=about.type_code,
                format_code=_FORMATS.get(files.mime_type_of(path), _ANY_FORMAT),
                facility_type=_FACILITY,
                practice_setting=_PRACTICE,
                confidentiality=(_NORMAL,),
                language=about.language,
                author=about.author,
            )
        )
        for number, path in enumerate(paths, start=1)
    ]
    submission_set = drafts.submission_set(
        symbolic_id="submission",
        unique_id=new_oid(),
        source_id=new_oid(),
        patient_id=about.patient_id,
        submission_time=now,
        content_type=about.type_code,
        author=about.author,
    )
    members = [drafts.association(AssociationType.HAS_MEMBER, "submission", item.id, original=True) for item in entries]
    documents = [_document(entry.id, path) for entry, path in zip(entries, paths, strict=True)]
    return Submission.of(submission_set, *entries, *members), documents


def index_of_record(patient_id: str, repository: str, *, as_text: bool) -> Submission:
    """The registration of an index of a patient's record (CX), which our repository makes whenever it is retrieved."""
    now = to_dtm(datetime.now(UTC))
    entry = drafts.on_demand_entry(
        drafts.DocumentFacts(
            id="index",
            unique_id=new_oid(),
            patient_id=patient_id,
            source_patient_id=patient_id,
            mime_type=record_index.TEXT if as_text else record_index.CDA,
            title=record_index.FORMAT.display,
            creation_time=now,
            class_code=_CLASS,
            type_code=_TYPE,
            format_code=record_index.FORMAT,
            facility_type=_FACILITY,
            practice_setting=_PRACTICE,
            confidentiality=(_NORMAL,),
            language="en",
        ),
        repository,
    )
    submission_set = drafts.submission_set(
        symbolic_id="submission",
        unique_id=new_oid(),
        source_id=new_oid(),
        patient_id=patient_id,
        submission_time=now,
        content_type=_TYPE,
    )
    member = drafts.association(AssociationType.HAS_MEMBER, submission_set.id, entry.id, original=True)
    return Submission.of(submission_set, entry, member)


def _whole(metadata: Path, given: Sequence[str]) -> tuple[Submission, list[DocumentToSend]]:
    submission = read_metadata(metadata)
    return submission, [_document(name, Path(paths[-1])) for name, paths in exchange.pairs(given).items()]


def read_metadata(path: Path) -> Submission:
    """The submission in a file with an lcm:SubmitObjectsRequest. Errors: Usage."""
    try:
        submission, problems = read_submission(parse(files.content(path)))
    except XmlError as error:
        raise Usage(f"{path}: {error}") from error
    if submission is None:
        raise Usage("\n".join([f"{path} is no lcm:SubmitObjectsRequest:", *problems]))
    return submission


def _document(entry_id: str, path: Path) -> DocumentToSend:
    return DocumentToSend(entry_id, files.mime_type_of(path), files.status(path).st_size, files.chunks_of(path))


def _code(text: str) -> Code:
    parts = text.split("^")
    if len(parts) != 3 or not parts[0] or not parts[2]:
        raise Usage(f"a code is written code^display name^coding scheme, not {text!r}")
    return Code(parts[0], parts[2], parts[1])
