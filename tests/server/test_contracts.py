"""The WSDLs: loaded by an independent SOAP client, from the files and as a server hands them out.

Spec: ITI TF-2 3.18.5, 3.41.5, 3.42.5, 3.43.5 and Appendix V.2; RAD TF-2 4.69.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import zeep
from lxml import etree
from zeep.transports import Transport

from tests.schemas.instances import VALID
from xds.resources import folder, wsdl_path
from xds.server.contracts import SCHEMAS, WSDLS, schema_document, wsdl_document
from xds.wire.xml import parse, schema_errors

ADDRESS = "https://xds.example.org:8443/services/some-actor"

#: Of each contract: the port, and of each operation the actions of request and answer and their body elements.
CONTRACTS = {
    "registry.wsdl": (
        "DocumentRegistry_Port_Soap12",
        {
            "DocumentRegistry_RegistryStoredQuery": (
                "urn:ihe:iti:2007:RegistryStoredQuery",
                "urn:ihe:iti:2007:RegistryStoredQueryResponse",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0}AdhocQueryRequest",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0}AdhocQueryResponse",
            ),
            "DocumentRegistry_RegisterDocumentSet-b": (
                "urn:ihe:iti:2007:RegisterDocumentSet-b",
                "urn:ihe:iti:2007:RegisterDocumentSet-bResponse",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0}SubmitObjectsRequest",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0}RegistryResponse",
            ),
            "DocumentRegistry_MultiPatientStoredQuery": (
                "urn:ihe:iti:2009:MultiPatientStoredQuery",
                "urn:ihe:iti:2009:MultiPatientStoredQueryResponse",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0}AdhocQueryRequest",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0}AdhocQueryResponse",
            ),
            "DocumentRegistry_UpdateDocumentSet": (
                "urn:ihe:iti:2010:UpdateDocumentSet",
                "urn:ihe:iti:2010:UpdateDocumentSetResponse",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0}SubmitObjectsRequest",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0}RegistryResponse",
            ),
            "DocumentRegistry_RegisterOnDemandDocumentEntry": (
                "urn:ihe:iti:2010:RegisterOnDemandDocumentEntry",
                "urn:ihe:iti:2010:RegisterOnDemandDocumentResponse",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0}SubmitObjectsRequest",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0}RegistryResponse",
            ),
            "DocumentRegistry_DeleteDocumentSet": (
                "urn:ihe:iti:2010:DeleteDocumentSet",
                "urn:ihe:iti:2010:DeleteDocumentSetResponse",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0}RemoveObjectsRequest",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0}RegistryResponse",
            ),
            "UpdateResponder_RestrictedUpdateDocumentSet": (
                "urn:ihe:iti:2018:RestrictedUpdateDocumentSet",
                "urn:ihe:iti:2018:RestrictedUpdateDocumentSetResponse",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0}SubmitObjectsRequest",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0}RegistryResponse",
            ),
        },
    ),
    "repository.wsdl": (
        "DocumentRepository_Port_Soap12",
        {
            "DocumentRepository_ProvideAndRegisterDocumentSet-b": (
                "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b",
                "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-bResponse",
                "{urn:ihe:iti:xds-b:2007}ProvideAndRegisterDocumentSetRequest",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0}RegistryResponse",
            ),
            "DocumentRepository_RetrieveDocumentSet": (
                "urn:ihe:iti:2007:RetrieveDocumentSet",
                "urn:ihe:iti:2007:RetrieveDocumentSetResponse",
                "{urn:ihe:iti:xds-b:2007}RetrieveDocumentSetRequest",
                "{urn:ihe:iti:xds-b:2007}RetrieveDocumentSetResponse",
            ),
            "DocumentRepository_RemoveDocuments": (
                "urn:ihe:iti:2017:RemoveDocuments",
                "urn:ihe:iti:2017:RemoveDocumentsResponse",
                "{urn:ihe:iti:rmd:2017}RemoveDocumentsRequest",
                "{urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0}RegistryResponse",
            ),
        },
    ),
    "pix-manager.wsdl": (
        "PIXManager_Port_Soap12",
        {
            **{
                f"PIXManager_{name}": (
                    f"urn:hl7-org:v3:{name}",
                    "urn:hl7-org:v3:MCCI_IN000002UV01",
                    f"{{urn:hl7-org:v3}}{name}",
                    "{urn:hl7-org:v3}MCCI_IN000002UV01",
                )
                for name in ("PRPA_IN201301UV02", "PRPA_IN201302UV02", "PRPA_IN201304UV02")
            },
            "PIXManager_PRPA_IN201309UV02": (
                "urn:hl7-org:v3:PRPA_IN201309UV02",
                "urn:hl7-org:v3:PRPA_IN201310UV02",
                "{urn:hl7-org:v3}PRPA_IN201309UV02",
                "{urn:hl7-org:v3}PRPA_IN201310UV02",
            ),
        },
    ),
    "pix-consumer.wsdl": (
        "PIXConsumer_Port_Soap12",
        {
            "PIXConsumer_PRPA_IN201302UV02": (
                "urn:hl7-org:v3:PRPA_IN201302UV02",
                "urn:hl7-org:v3:MCCI_IN000002UV01",
                "{urn:hl7-org:v3}PRPA_IN201302UV02",
                "{urn:hl7-org:v3}MCCI_IN000002UV01",
            ),
        },
    ),
    "pdq-supplier.wsdl": (
        "PDSupplier_Port_Soap12",
        {
            "PDSupplier_PRPA_IN201305UV02": (
                "urn:hl7-org:v3:PRPA_IN201305UV02",
                "urn:hl7-org:v3:PRPA_IN201306UV02",
                "{urn:hl7-org:v3}PRPA_IN201305UV02",
                "{urn:hl7-org:v3}PRPA_IN201306UV02",
            ),
            "PDSupplier_PRPA_IN201305UV02_Continue": (
                "urn:hl7-org:v3:QUQI_IN000003UV01_Continue",
                "urn:hl7-org:v3:PRPA_IN201306UV02",
                "{urn:hl7-org:v3}QUQI_IN000003UV01",
                "{urn:hl7-org:v3}PRPA_IN201306UV02",
            ),
            "PDSupplier_PRPA_IN201305UV02_Cancel": (
                "urn:hl7-org:v3:QUQI_IN000003UV01_Cancel",
                "urn:hl7-org:v3:MCCI_IN000002UV01",
                "{urn:hl7-org:v3}QUQI_IN000003UV01_Cancel",
                "{urn:hl7-org:v3}MCCI_IN000002UV01",
            ),
        },
    ),
    "imaging-source.wsdl": (
        "ImagingDocumentSource_Port_Soap12",
        {
            "ImagingDocumentSource_RetrieveImagingDocumentSet": (
                "urn:ihe:rad:2009:RetrieveImagingDocumentSet",
                "urn:ihe:iti:2007:RetrieveDocumentSetResponse",
                "{urn:ihe:rad:xdsi-b:2009}RetrieveImagingDocumentSetRequest",
                "{urn:ihe:iti:xds-b:2007}RetrieveDocumentSetResponse",
            ),
        },
    ),
}


class _Served(Transport):
    """Reads what a server at ADDRESS would answer, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def load(self, url: str) -> bytes:
        self.read.append(url)
        address, _, query = url.partition("?")
        kind, _, name = query.partition("=")
        assert address == ADDRESS, f"{url} is not at the server"
        return wsdl_document(name, address) if kind == "wsdl" else schema_document(name, address)


def _clients(name: str) -> Iterator[zeep.Client]:
    strict = zeep.Settings(strict=True, xml_huge_tree=False)
    yield zeep.Client(str(wsdl_path(name)), settings=strict)
    yield zeep.Client(f"{ADDRESS}?wsdl={name}", transport=_Served(), settings=strict)


def test_each_contract_of_the_folder_is_known_and_tested() -> None:
    assert set(WSDLS) == set(CONTRACTS) == {path.name for path in folder("wsdl").glob("*.wsdl")}


@pytest.mark.parametrize("name", WSDLS)
def test_a_strict_client_finds_each_operation_with_its_actions_and_elements(name: str) -> None:
    port_name, operations = CONTRACTS[name]
    wsdl = etree.fromstring(wsdl_path(name).read_bytes())
    for client in _clients(name):
        (service,) = client.wsdl.services.values()
        assert list(service.ports) == [port_name]
        found = service.ports[port_name].binding._operations
        assert set(found) == set(operations)
        for operation_name, (action, reply_action, request, response) in operations.items():
            operation = found[operation_name]
            assert operation.style == "document"
            assert operation.soapaction == action
            assert operation.abstract.wsa_action == action
            assert operation.input.body.qname.text == request
            assert operation.output.body.qname.text == response
            (declared,) = wsdl.xpath("//*[local-name()='portType']/*[@name=$name]", name=operation_name)
            for namespace in ("http://www.w3.org/2007/05/addressing/metadata", "http://www.w3.org/2006/05/addressing/wsdl"):
                assert declared.find("{*}input").get(f"{{{namespace}}}Action") == action
                assert declared.find("{*}output").get(f"{{{namespace}}}Action") == reply_action


@pytest.mark.parametrize("name", WSDLS)
def test_a_served_contract_leads_to_this_server_only(name: str) -> None:
    transport = _Served()
    client = zeep.Client(f"{ADDRESS}?wsdl={name}", transport=transport, settings=zeep.Settings(strict=True))
    (service,) = client.wsdl.services.values()
    (port,) = service.ports.values()
    assert port.binding_options["address"] == ADDRESS
    assert {url.partition("=")[2] for url in transport.read[1:]} <= set(SCHEMAS)


def test_a_message_built_from_the_contract_is_valid() -> None:
    *_, client = _clients("imaging-source.wsdl")
    envelope = client.create_message(
        client.service,
        "ImagingDocumentSource_RetrieveImagingDocumentSet",
        StudyRequest=[
            {
                "studyInstanceUID": "1.2",
                "SeriesRequest": [
                    {
                        "seriesInstanceUID": "1.3",
                        "DocumentRequest": [{"RepositoryUniqueId": "1.4", "DocumentUniqueId": "1.5"}],
                    }
                ],
            }
        ],
        TransferSyntaxUIDList={"TransferSyntaxUID": ["1.2.840.10008.1.2.1"]},
    )
    assert schema_errors(envelope.find("{*}Body")[0], "xdsi.xsd") == []


def test_an_answer_is_read_through_the_contract() -> None:
    *_, client = _clients("repository.wsdl")
    answer = client.get_element("{urn:ihe:iti:xds-b:2007}RetrieveDocumentSetResponse").parse(
        parse(VALID["ITI-43 response"]), client.wsdl.types
    )
    assert answer.RegistryResponse.status == "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"
    (document,) = answer.DocumentResponse
    assert (document.NewDocumentUniqueId, document.mimeType, document.Document) == ("1.6", "application/dicom", b"ABC")


def test_served_schemas_validate_like_the_files(tmp_path: Path) -> None:
    """Stored under the names by which they import each other, the served schemas compile and judge alike."""
    for name in SCHEMAS:
        served = schema_document(name, ADDRESS)
        assert ADDRESS.encode() in served or name in ("rim.xsd", "xml.xsd") or b"schemaLocation" not in served
        (tmp_path / name).write_bytes(served.replace(f"{ADDRESS}?xsd=".encode(), b""))
    schema = etree.XMLSchema(etree.parse(str(tmp_path / "xdsi.xsd")))
    assert schema.validate(parse(VALID["RAD-69 request"]))
    assert schema.validate(parse(VALID["ITI-41 request"]))
    assert not schema.validate(parse(VALID["RAD-69 request"].replace(b"seriesInstanceUID", b"seriesUID")))


def test_every_import_of_a_served_document_is_itself_served() -> None:
    documents = [wsdl_document(name, ADDRESS) for name in WSDLS] + [schema_document(name, ADDRESS) for name in SCHEMAS]
    locations = [
        element.get("schemaLocation")
        for document in documents
        for element in etree.fromstring(document).iter("{http://www.w3.org/2001/XMLSchema}import")
    ]
    assert len(locations) > 15
    for location in locations:
        assert location.startswith(f"{ADDRESS}?xsd=")
        assert urlsplit(location).query.removeprefix("xsd=") in SCHEMAS


def test_the_ending_of_a_name_may_be_left_out() -> None:
    assert wsdl_document("registry", ADDRESS) == wsdl_document("registry.wsdl", ADDRESS)
    assert schema_document("rim", ADDRESS) == schema_document("rim.xsd", ADDRESS)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../setup.cfg",
        "../schemas/rim.xsd",
        "/etc/passwd",
        "rim.xsd\0",
        "rim.xsd/",
        "RIM.XSD",
        "registry.wsdl.xsd",
        "x",
    ],
)
def test_no_other_document_is_handed_out(name: str) -> None:
    with pytest.raises(FileNotFoundError):
        schema_document(name, ADDRESS)
    with pytest.raises(FileNotFoundError):
        wsdl_document(name, ADDRESS)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/services/registry",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http:///services",
        "http://h/a?wsdl",
        "http://h/a#b",
        'http://h/a"onload="x',
        "http://h/<script>",
        "http://h/a b",
        "http://h/a\r\nX: y",
        "http://[h/a",
    ],
)
def test_an_address_that_is_no_plain_url_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address of a service"):
        wsdl_document("registry.wsdl", address)
    with pytest.raises(ValueError, match="address of a service"):
        schema_document("rim.xsd", address)
