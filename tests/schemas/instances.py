"""One valid message of each kind, rich enough that each rule of the schemas has something to break."""

from __future__ import annotations

_NAMESPACES = (
    'xmlns:rim="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0" xmlns:rs="urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0"'
    ' xmlns:lcm="urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0" xmlns:query="urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0"'
    ' xmlns:xds="urn:ihe:iti:xds-b:2007" xmlns:iherad="urn:ihe:rad:xdsi-b:2009" xmlns:rmd="urn:ihe:iti:rmd:2017"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)


def _message(text: str) -> bytes:
    head, mark, tail = text.strip().partition(">")
    closing = "/" if head.endswith("/") else ""
    return f"{head.removesuffix('/')} {_NAMESPACES}{closing}{mark}{tail}".encode()


def _slot(name: str, *values: str) -> str:
    listed = "".join(f"<rim:Value>{value}</rim:Value>" for value in values)
    return f'<rim:Slot name="{name}"><rim:ValueList>{listed}</rim:ValueList></rim:Slot>'


def _name(text: str) -> str:
    return f'<rim:Name><rim:LocalizedString xml:lang="fr-FR" charset="UTF-8" value="{text}"/></rim:Name>'


_CODE = (
    '<rim:Classification id="c1" classifiedObject="d1" nodeRepresentation="DX"'
    ' classificationScheme="urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a"'
    ' objectType="urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject:Classification">'
    f"{_slot('codingScheme', '1.2.840.10008.2.16.4')}{_name('Radiographie')}</rim:Classification>"
)
_LABEL = '<rim:Classification id="c2" classifiedObject="s1" classificationNode="urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd"/>'
_IDENTIFIER = (
    '<rim:ExternalIdentifier id="e1" registryObject="d1" value="1.2.3"'
    f' identificationScheme="urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab">{_name("XDSDocumentEntry.uniqueId")}'
    "</rim:ExternalIdentifier>"
)
_DOCUMENT_ENTRY = (
    '<rim:ExtrinsicObject id="d1" lid="urn:uuid:1" home="urn:oid:1.2" mimeType="application/dicom" isOpaque="false"'
    ' status="urn:oasis:names:tc:ebxml-regrep:StatusType:Approved" objectType="urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1">'
    f"{_slot('creationTime', '20240102')}{_slot('sourcePatientInfo', 'PID-5|Doe^J', 'PID-8|F')}{_name('Thorax')}"
    '<rim:Description><rim:LocalizedString value="face"/></rim:Description><rim:VersionInfo versionName="1" comment="x"/>'
    f'{_CODE}{_IDENTIFIER}<rim:ContentVersionInfo versionName="2"/></rim:ExtrinsicObject>'
)
_OBJECTS = (
    f"<rim:RegistryObjectList>{_DOCUMENT_ENTRY}"
    f'<rim:RegistryPackage id="s1">{_slot("submissionTime", "20240102")}{_name("Lot")}{_LABEL}'
    "<rim:RegistryObjectList/></rim:RegistryPackage>"
    '<rim:Classification id="c3" classifiedObject="s1" classificationNode="urn:uuid:d9d542f3-6cc4-48b6-8870-ea235fbc94c2"/>'
    '<rim:Association id="a1" associationType="urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember"'
    f' sourceObject="s1" targetObject="d1">{_slot("SubmissionSetStatus", "Original")}</rim:Association>'
    '<rim:ObjectRef id="urn:uuid:2" createReplica="true"/></rim:RegistryObjectList>'
)
_REQUEST_SLOTS = f"<rs:RequestSlotList>{_slot('homeCommunityId', 'urn:oid:1.2')}</rs:RequestSlotList>"
_SUBMISSION = f'<lcm:SubmitObjectsRequest id="r1" comment="x">{_REQUEST_SLOTS}{_OBJECTS}</lcm:SubmitObjectsRequest>'
_ERRORS = (
    '<rs:RegistryErrorList highestSeverity="urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Error">'
    '<rs:RegistryError errorCode="XDSRegistryError" codeContext="full" location="here"'
    ' severity="urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Warning"/>'
    '<rs:RegistryError errorCode="XDSRegistryBusy" codeContext="later">more</rs:RegistryError></rs:RegistryErrorList>'
)
_RESPONSE_SLOTS = f"<rs:ResponseSlotList>{_slot('took', '5')}</rs:ResponseSlotList>"
_STATUS = 'status="urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success" requestId="urn:uuid:3"'
_ADDRESS = (
    "<xds:HomeCommunityId>urn:oid:1.2</xds:HomeCommunityId><xds:RepositoryUniqueId>1.3</xds:RepositoryUniqueId>"
    "<xds:DocumentUniqueId>1.4</xds:DocumentUniqueId>"
)
_SELECTION = (
    f'<rim:AdhocQuery id="urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d">{_slot("$XDSDocumentEntryStatus", "(&apos;a&apos;)")}'
    '<rim:QueryExpression queryLanguage="urn:x"><any xmlns="urn:other"/></rim:QueryExpression></rim:AdhocQuery>'
)
_REFERENCES = '<rim:ObjectRefList><rim:ObjectRef id="urn:uuid:4"/></rim:ObjectRefList>'

# Classes of the information model that XDS has no use for.
_OTHER_CLASSES = (
    f'<rim:Identifiable id="i1" home="urn:oid:1">{_slot("a", "b")}</rim:Identifiable>'
    '<rim:Identifiable id="i2" xsi:type="rim:AssociationType1" associationType="a" sourceObject="b" targetObject="c"/>'
    f'<rim:RegistryObject id="o1" lid="o1">{_name("o")}</rim:RegistryObject>{_SELECTION}'
    '<rim:ClassificationScheme id="cs1" isInternal="1" nodeType="urn:n"><rim:ClassificationNode id="n1" code="a" parent="cs1"'
    ' path="/a"><rim:ClassificationNode id="n2"/></rim:ClassificationNode></rim:ClassificationScheme>'
    '<rim:ExternalLink id="l1" externalURI="http://example.org/"/>'
    '<rim:AuditableEvent id="ae1" eventType="urn:e" timestamp="2024-01-02T03:04:05Z" user="urn:u" requestId="urn:r">'
    '<rim:affectedObjects><rim:ObjectRef id="d1"/></rim:affectedObjects></rim:AuditableEvent>'
    '<rim:Organization id="og1" parent="og0" primaryContact="p1"><rim:Address city="Lyon" country="FR" postalCode="69000"'
    ' street="rue" streetNumber="1" stateOrProvince="x"/><rim:TelephoneNumber areaCode="4" countryCode="33" extension="1"'
    ' number="123" phoneType="x"/><rim:EmailAddress address="a@example.org" type="x"/></rim:Organization>'
    '<rim:Person id="p1"><rim:Address/><rim:PersonName firstName="a" middleName="b" lastName="c"/><rim:TelephoneNumber/>'
    '<rim:EmailAddress address="a"/></rim:Person><rim:User id="u1"/>'
    '<rim:Service id="sv1"><rim:ServiceBinding id="sb1" service="sv1" accessURI="urn:a" targetBinding="sb2">'
    '<rim:SpecificationLink id="sl1" serviceBinding="sb1" specificationObject="x"><rim:UsageDescription>'
    '<rim:LocalizedString value="u"/></rim:UsageDescription><rim:UsageParameter>p</rim:UsageParameter></rim:SpecificationLink>'
    "</rim:ServiceBinding></rim:Service>"
    '<rim:Registry id="rg1" operator="og1" specificationVersion="3.0" replicationSyncLatency="P1D" catalogingLatency="PT1H"'
    ' conformanceProfile="registryFull"/><rim:Federation id="f1" replicationSyncLatency="P2D"/>'
    '<rim:Subscription id="su1" selector="q1" startTime="2024-01-02T03:04:05Z" endTime="2025-01-02T03:04:05Z"'
    ' notificationInterval="P1D"><rim:NotifyAction endPoint="urn:e" notificationOption="urn:n"/></rim:Subscription>'
)

VALID: dict[str, bytes] = {
    "ITI-42 request": _message(_SUBMISSION),
    "classes that XDS does not use": _message(
        f"<lcm:SubmitObjectsRequest><rim:RegistryObjectList>{_OTHER_CLASSES}</rim:RegistryObjectList></lcm:SubmitObjectsRequest>"
    ),
    "notification": _message(f'<rim:Notification id="n1" subscription="su1">{_OBJECTS}</rim:Notification>'),
    "ITI-42 response": _message(f"<rs:RegistryResponse {_STATUS}>{_RESPONSE_SLOTS}{_ERRORS}</rs:RegistryResponse>"),
    "ITI-18 request": _message(
        '<query:AdhocQueryRequest id="q" federated="false" federation="urn:f" startIndex="0" maxResults="-1">'
        f'{_REQUEST_SLOTS}<query:ResponseOption returnType="LeafClass" returnComposedObjects="true"/>{_SELECTION}'
        "</query:AdhocQueryRequest>"
    ),
    "ITI-18 response": _message(
        f'<query:AdhocQueryResponse {_STATUS} startIndex="0" totalResultCount="4">{_RESPONSE_SLOTS}{_ERRORS}{_OBJECTS}'
        "</query:AdhocQueryResponse>"
    ),
    "ITI-41 request": _message(
        f"<xds:ProvideAndRegisterDocumentSetRequest>{_SUBMISSION}"
        '<xds:Document id="d1">QUJD\n REVG</xds:Document><xds:Document id="d2"/></xds:ProvideAndRegisterDocumentSetRequest>'
    ),
    "ITI-43 request": _message(
        f"<xds:RetrieveDocumentSetRequest><xds:DocumentRequest>{_ADDRESS}</xds:DocumentRequest></xds:RetrieveDocumentSetRequest>"
    ),
    "ITI-43 response": _message(
        f"<xds:RetrieveDocumentSetResponse><rs:RegistryResponse {_STATUS}/><xds:DocumentResponse>{_ADDRESS}"
        "<xds:NewRepositoryUniqueId>1.5</xds:NewRepositoryUniqueId><xds:NewDocumentUniqueId>1.6</xds:NewDocumentUniqueId>"
        "<xds:mimeType>application/dicom</xds:mimeType><xds:Document>QUJD</xds:Document></xds:DocumentResponse>"
        "</xds:RetrieveDocumentSetResponse>"
    ),
    "ITI-62 request": _message(
        '<lcm:RemoveObjectsRequest deletionScope="urn:oasis:names:tc:ebxml-regrep:DeletionScopeType:DeleteAll">'
        f"{_SELECTION}{_REFERENCES}</lcm:RemoveObjectsRequest>"
    ),
    "approval": _message(f"<lcm:ApproveObjectsRequest>{_REFERENCES}</lcm:ApproveObjectsRequest>"),
    "deprecation": _message(f"<lcm:DeprecateObjectsRequest>{_REFERENCES}</lcm:DeprecateObjectsRequest>"),
    "undeprecation": _message(f"<lcm:UndeprecateObjectsRequest>{_REFERENCES}</lcm:UndeprecateObjectsRequest>"),
    "update of objects": _message(f"<lcm:UpdateObjectsRequest>{_OBJECTS}</lcm:UpdateObjectsRequest>"),
    "relocation": _message(
        f'<lcm:RelocateObjectsRequest>{_SELECTION}<lcm:SourceRegistry id="a"/><lcm:DestinationRegistry id="b"/>'
        '<lcm:OwnerAtSource id="c"/><lcm:OwnerAtDestination id="d"/></lcm:RelocateObjectsRequest>'
    ),
    "acceptance": _message('<lcm:AcceptObjectsRequest correlationId="urn:x"/>'),
    "ITI-86 request": _message(
        f"<rmd:RemoveDocumentsRequest><xds:DocumentRequest>{_ADDRESS}</xds:DocumentRequest></rmd:RemoveDocumentsRequest>"
    ),
    "RAD-69 request": _message(
        '<iherad:RetrieveImagingDocumentSetRequest><iherad:StudyRequest studyInstanceUID="1.2">'
        f'<iherad:SeriesRequest seriesInstanceUID="1.3"><xds:DocumentRequest>{_ADDRESS}</xds:DocumentRequest>'
        f"<xds:DocumentRequest>{_ADDRESS}</xds:DocumentRequest></iherad:SeriesRequest></iherad:StudyRequest>"
        "<iherad:TransferSyntaxUIDList><iherad:TransferSyntaxUID>1.2.840.10008.1.2.1</iherad:TransferSyntaxUID>"
        "<iherad:TransferSyntaxUID>1.2.840.10008.1.2.5</iherad:TransferSyntaxUID></iherad:TransferSyntaxUIDList>"
        "</iherad:RetrieveImagingDocumentSetRequest>"
    ),
}
