"""`xds publish`: DICOM files -> manifest (KOS) -> RAD-68."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated

import typer

from xds.actors.imaging_metadata import MIME_TYPE, PublicationDefaults, submission_of
from xds.cli import exchange, files
from xds.cli.exchange import AsXml, DryRun, HttpTo, Timeout, talking
from xds.cli.outcome import Usage
from xds.cli.printing import AsJson
from xds.model.identifiers import AssigningAuthority, PatientIdentifier, is_oid, new_oid
from xds.model.imaging import Instance, PublishedManifest, Series, Study
from xds.model.metadata import Submission
from xds.transactions import iti41_provide_and_register_document_set as provide_and_register
from xds.transactions.iti41_provide_and_register_document_set import DocumentToSend
from xds.wire.dicom import DicomError
from xds.wire.dicom_study import read_study
from xds.wire.kos import ManifestIdentifiers, RetrieveInformation, write_manifest

_ENTRY = "manifest"


def publish(
    given: Annotated[list[Path], typer.Argument(metavar="FILE…", help="DICOM files of one study, or folders of them.")],
    patient: Annotated[str, typer.Option(metavar="CX", help="The patient, by the affinity domain's identifier.")],
    location: Annotated[
        str, typer.Option(metavar="OID", help="Retrieve Location UID: repositoryUniqueId of the source that has the images.")
    ],
    source_patient: Annotated[
        str | None, typer.Option(metavar="CX", help="The source's own identifier. Default: as the images say.")
    ] = None,
    archive: Annotated[str, typer.Option(metavar="TITLE", help="AE title of the archive that has the images.")] = "XDS",
    retrieve_url: Annotated[str | None, typer.Option(metavar="URL", help="Base URL of its WADO-RS service.")] = None,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the manifest here, too.")] = None,
    to: HttpTo = exchange.DEFAULT_HTTP,
    as_json: AsJson = False,
    as_xml: AsXml = False,
    dry_run: DryRun = False,
    timeout: Timeout = 60,
) -> None:
    """Announce images that stay where they are: makes a manifest of them and provides it (RAD-68).

    **Examples**

    `xds publish ct/*.dcm --patient 'PAT1^^^&2.999.1&ISO' --location 2.999.4`
    """
    study = study_of(list(_dicom_files(given)))
    if not is_oid(location):
        raise Usage("--location must be an OID")
    identifier = exchange.patient_identifier(source_patient) if source_patient else _source_patient(study)
    now = datetime.now(UTC)
    announced = PublishedManifest(
        revision=1,
        unique_id=new_oid(),
        entry_uuid=_ENTRY,
        submission_unique_id=new_oid(),
        blob="",
        created=now,
        patient_id=exchange.patient_identifier(patient).to_cx(),
    )
    zone = datetime.now().astimezone().tzinfo or UTC
    uids = ManifestIdentifiers(announced.unique_id, new_oid())
    manifest = write_manifest(study, uids, RetrieveInformation(archive, location, retrieve_url), now, zone)
    if save is not None:
        files.save(save, manifest)
    _send(
        _submission(study, announced, identifier, location, zone),
        manifest,
        exchange.service(to, provide_and_register.TRANSACTION),
        exchange.form(as_json, as_xml),
        timeout=timeout,
        dry_run=dry_run,
    )


def _submission(
    study: Study, announced: PublishedManifest, identifier: PatientIdentifier, location: str, zone: tzinfo
) -> Submission:
    defaults = PublicationDefaults()
    return submission_of(study, announced, None, source_patient=identifier, source_id=location, defaults=defaults, zone=zone)


def _send(
    submission: Submission, manifest: bytes, endpoint: str, wanted: exchange.Form, *, timeout: float, dry_run: bool
) -> None:
    if dry_run:
        print(exchange.pretty(b"".join(provide_and_register.write_request(submission, [(_ENTRY, "1@xds")]))))
        return
    document = DocumentToSend(_ENTRY, MIME_TYPE, len(manifest), lambda: iter([manifest]))
    with talking(endpoint):
        response = provide_and_register.send(submission, [document], endpoint=endpoint, timeout=timeout)
    exchange.show_response(response, wanted, done=f"manifest {submission.document_entries[0].unique_id}")


def study_of(paths: Sequence[Path]) -> Study:
    """The study that these files belong to, without their pixels. Errors: Usage when they are of several, or of none."""
    headers = [_header(path) for path in paths]
    studies = {header.study_instance_uid for header in headers}
    if len(studies) != 1:
        raise Usage(f"a manifest is of one study; these {len(paths)} files are of {len(studies)}")
    series: dict[str, Series] = {}
    for header in headers:
        (one,) = header.series
        known = series.get(one.series_instance_uid)
        instances: dict[str, Instance] = {item.sop_instance_uid: item for item in (known.instances if known else ())}
        instances[one.instances[0].sop_instance_uid] = one.instances[0]
        series[one.series_instance_uid] = replace(known or one, instances=tuple(instances.values()))
    return replace(headers[0], series=tuple(series.values()))


def _header(path: Path) -> Study:
    try:
        return read_study(files.chunks_of(path)(), size=files.status(path).st_size)
    except (DicomError, OSError) as error:
        raise Usage(f"{path}: {error}") from error


def _dicom_files(given: Iterable[Path]) -> Iterable[Path]:
    for path in given:
        if path.is_dir():
            yield from (item for item in sorted(path.rglob("*")) if item.is_file())
        else:
            yield path


def _source_patient(study: Study) -> PatientIdentifier:
    patient = study.patient
    if not patient.patient_id or not patient.issuer_oid:
        raise Usage("the images do not say who issued their Patient ID: give --source-patient")
    return PatientIdentifier(patient.patient_id, AssigningAuthority(patient.issuer_namespace, patient.issuer_oid))
