"""RAD-68 from a source to a repository elsewhere, over HTTP. Spec: RAD TF-2 4.68."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests.archive import CONSUMER, IDENTITY, image, open_archive, packaged
from xds.actors.document_registry import DocumentRegistry
from xds.actors.document_repository import DocumentRepository
from xds.actors.domain import Domain
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.model.identifiers import AssigningAuthority, PatientIdentifier
from xds.model.retrieval import DocumentRequest
from xds.server.http import HttpApplication
from xds.server.launcher import HttpServer
from xds.server.limits import Limits
from xds.store import affinity_patients
from xds.transactions import iti41_provide_and_register_document_set as iti41
from xds.transactions import rad68_provide_and_register_imaging_document_set as rad68
from xds.wire.kos import read_manifest

STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"


def test_manifests_go_to_a_repository_elsewhere_and_are_replaced_there(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    with open_archive(here) as hospital, open_archive(there) as region:
        registry = DocumentRegistry(region.database, IDENTITY, region.access, region.clock)
        repository = DocumentRepository(region.blobs, region.database, registry, registry, IDENTITY, region.access, region.clock)
        patient = PatientIdentifier("P1", AssigningAuthority(None, IDENTITY.assigning_authority))
        region.database.write(lambda connection: affinity_patients.add(connection, patient))
        limits = Limits(threads=4, uploads=2)
        domain = cast(Domain, SimpleNamespace(identity=IDENTITY, document_repository=repository))
        modules: list[Any] = [iti41]
        server = HttpServer(
            HttpApplication(domain, modules, stage=region.blobs.stage, limits=limits), "127.0.0.1", 0, limits=limits
        )
        endpoint = f"http://127.0.0.1:{server.start()}/services/repository"
        hospital.patients.links[("1.2.3.500", "1CT1")] = "P1"
        source = ImagingDocumentSource(
            hospital.database,
            hospital.blobs,
            replace(IDENTITY, imaging_source_unique_id="1.2.3.401"),
            hospital.patients,
            rad68.provider(endpoint, timeout=60),
            hospital.access,
            hospital.clock,
            hospital.pixels,
            default_authority=AssigningAuthority("HOSP_A", "1.2.3.500"),
        )
        sending = replace(hospital, source=source)
        try:
            for octets in (packaged("CT_small.dcm"), image(SOPInstanceUID="1.2.3.1")):
                sending.store(octets)
                assert source.publish(STUDY) is None
        finally:
            server.stop()
        assert source.publish(STUDY) is None
        stored = source.study(STUDY)
        assert stored is not None
        assert stored.published is not None
        answer = repository.retrieve([DocumentRequest("1.2.3.300", stored.published.unique_id)], CONSUMER)
        manifest = read_manifest(answer.documents[0].chunks())
        assert {item.retrieve_location_uid for item in manifest.references} == {"1.2.3.401"}
        assert len(manifest.references) == 2
        sending.store(image(SOPInstanceUID="1.2.3.2"))
        assert source.publish(STUDY) == "the Document Repository did not answer"
