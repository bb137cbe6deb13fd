"""OIDs, UUIDs and URNs of the standards: the one place where such a literal stands.

Error codes are in `errors`; the action of a transaction is in that transaction's own record.

Spec: ITI TF-3 4.2.5 (metadata vocabulary), ITI TF-2 3.18 (query ids), RAD TF-2 4.68 (imaging).
"""

from enum import StrEnum
from typing import Final


class AvailabilityStatus(StrEnum):
    """`@status` of a registry object."""

    APPROVED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved"
    DEPRECATED = "urn:oasis:names:tc:ebxml-regrep:StatusType:Deprecated"


class DocumentAvailability(StrEnum):
    """`documentAvailability` of a DocumentEntry, which is Online where it is not said. Spec: the metadata update supplement."""

    ONLINE = "urn:ihe:iti:2010:DocumentAvailability:Online"
    OFFLINE = "urn:ihe:iti:2010:DocumentAvailability:Offline"


class AssociationType(StrEnum):
    """`@associationType`. Spec: ITI TF-3 Table 4.2.2-1 and the metadata update supplement."""

    HAS_MEMBER = "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember"
    RPLC = "urn:ihe:iti:2007:AssociationType:RPLC"
    XFRM = "urn:ihe:iti:2007:AssociationType:XFRM"
    APND = "urn:ihe:iti:2007:AssociationType:APND"
    XFRM_RPLC = "urn:ihe:iti:2007:AssociationType:XFRM_RPLC"
    SIGNS = "urn:ihe:iti:2007:AssociationType:signs"
    IS_SNAPSHOT_OF = "urn:ihe:iti:2010:AssociationType:IsSnapshotOf"
    UPDATE_AVAILABILITY_STATUS = "urn:ihe:iti:2010:AssociationType:UpdateAvailabilityStatus"
    SUBMIT_ASSOCIATION = "urn:ihe:iti:2010:AssociationType:SubmitAssociation"


class StoredQueryId(StrEnum):
    """`rim:AdhocQuery/@id` of each stored query. Spec: ITI TF-2 Table 3.18.4.1.2.3.7-1, 3.51."""

    FIND_DOCUMENTS = "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d"
    FIND_SUBMISSION_SETS = "urn:uuid:f26abbcb-ac74-4422-8a30-edb644bbc1a9"
    FIND_FOLDERS = "urn:uuid:958f3006-baad-4929-a4de-ff1114824431"
    GET_ALL = "urn:uuid:10b545ea-725c-446d-9b95-8aeb444eddf3"
    GET_DOCUMENTS = "urn:uuid:5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4"
    GET_FOLDERS = "urn:uuid:5737b14c-8a1a-4539-b659-e03a34a5e1e4"
    GET_ASSOCIATIONS = "urn:uuid:a7ae438b-4bc2-4642-93e9-be891f7bb155"
    GET_DOCUMENTS_AND_ASSOCIATIONS = "urn:uuid:bab9529a-4a10-40b3-a01f-f68a615d247a"
    GET_SUBMISSION_SETS = "urn:uuid:51224314-5390-4169-9b91-b1980040715a"
    GET_SUBMISSION_SET_AND_CONTENTS = "urn:uuid:e8e3cb2c-e39c-46b9-99e4-c12f57260b83"
    GET_FOLDER_AND_CONTENTS = "urn:uuid:b909a503-523d-4517-8acf-8e5834dfc4c7"
    GET_FOLDERS_FOR_DOCUMENT = "urn:uuid:10cae35a-c7f9-4cf5-b61e-fc3278ffb578"
    GET_RELATED_DOCUMENTS = "urn:uuid:d90e5407-b356-4d91-a89f-873917b4b0e6"
    FIND_DOCUMENTS_BY_REFERENCE_ID = "urn:uuid:12941a89-e02e-4be5-967c-ce4bfc8fe492"
    FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS = "urn:uuid:3d1bdb10-39a2-11de-89c2-2f44d94eaa9f"
    FIND_FOLDERS_FOR_MULTIPLE_PATIENTS = "urn:uuid:50d3f5ac-39a2-11de-a1ca-b366239e58df"


#: `@objectType` of a DocumentEntry.
STABLE: Final = "urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1"
ON_DEMAND: Final = "urn:uuid:34268e47-fdf5-41a6-ba33-82133c465248"

#: `@classificationNode` that tells what a RegistryPackage is, and the labels of limited metadata.
SUBMISSION_SET_NODE: Final = "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd"
FOLDER_NODE: Final = "urn:uuid:d9d542f3-6cc4-48b6-8870-ea235fbc94c2"
SUBMISSION_SET_LIMITED_METADATA: Final = "urn:uuid:5003a9db-8d8d-49e6-bf0c-990e34ac7707"
DOCUMENT_ENTRY_LIMITED_METADATA: Final = "urn:uuid:ab9b591b-83ab-4d03-8f5d-f93b1fb92e85"
FOLDER_LIMITED_METADATA: Final = "urn:uuid:2c144a76-29a9-4b7c-af54-b25409fe7d03"


class DocumentEntryScheme(StrEnum):
    """classificationScheme and identificationScheme UUIDs of a DocumentEntry."""

    AUTHOR = "urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d"
    CLASS_CODE = "urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a"
    CONFIDENTIALITY_CODE = "urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f"
    EVENT_CODE = "urn:uuid:2c6b8cb7-8b2a-4051-b291-b1ae6a575ef4"
    FORMAT_CODE = "urn:uuid:a09d5840-386c-46f2-b5ad-9c3699a4309d"
    HEALTHCARE_FACILITY_TYPE_CODE = "urn:uuid:f33fb8ac-18af-42cc-ae0e-ed0b0bdb91e1"
    PRACTICE_SETTING_CODE = "urn:uuid:cccf5598-8b07-4b77-a05e-ae952c785ead"
    TYPE_CODE = "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983"
    PATIENT_ID = "urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427"
    UNIQUE_ID = "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab"


class SubmissionSetScheme(StrEnum):
    """classificationScheme and identificationScheme UUIDs of a SubmissionSet."""

    AUTHOR = "urn:uuid:a7058bb9-b4e4-4307-ba5b-e3f0ab85e12d"
    CONTENT_TYPE_CODE = "urn:uuid:aa543740-bdda-424e-8c96-df4873be8500"
    PATIENT_ID = "urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446"
    SOURCE_ID = "urn:uuid:554ac39e-e3fe-47fe-b233-965d2a147832"
    UNIQUE_ID = "urn:uuid:96fdda7c-d067-4183-912e-bf5ee74998a8"


class FolderScheme(StrEnum):
    """classificationScheme and identificationScheme UUIDs of a Folder."""

    CODE = "urn:uuid:1ba97051-7806-41a8-a48b-8fce7af683c5"
    PATIENT_ID = "urn:uuid:f64ffdf0-4b97-4e06-b79f-a52b38ec2f8a"
    UNIQUE_ID = "urn:uuid:75df8f67-9973-4fbe-a900-df66cefecc5a"


ASSOCIATION_DOCUMENTATION: Final = "urn:uuid:abd807a3-4432-4053-87b4-fd82c643d1f3"

#: Fixed `rim:Name` of each ExternalIdentifier. Spec: ITI TF-3 4.2.3.1.3.
EXTERNAL_IDENTIFIER_NAMES: Final = {
    DocumentEntryScheme.PATIENT_ID: "XDSDocumentEntry.patientId",
    DocumentEntryScheme.UNIQUE_ID: "XDSDocumentEntry.uniqueId",
    SubmissionSetScheme.PATIENT_ID: "XDSSubmissionSet.patientId",
    SubmissionSetScheme.UNIQUE_ID: "XDSSubmissionSet.uniqueId",
    SubmissionSetScheme.SOURCE_ID: "XDSSubmissionSet.sourceId",
    FolderScheme.PATIENT_ID: "XDSFolder.patientId",
    FolderScheme.UNIQUE_ID: "XDSFolder.uniqueId",
}


class SlotName(StrEnum):
    """Slot names that the standard defines."""

    CREATION_TIME = "creationTime"
    HASH = "hash"
    LANGUAGE_CODE = "languageCode"
    LEGAL_AUTHENTICATOR = "legalAuthenticator"
    REFERENCE_ID_LIST = "urn:ihe:iti:xds:2013:referenceIdList"
    REPOSITORY_UNIQUE_ID = "repositoryUniqueId"
    SERVICE_START_TIME = "serviceStartTime"
    SERVICE_STOP_TIME = "serviceStopTime"
    SIZE = "size"
    SOURCE_PATIENT_ID = "sourcePatientId"
    SOURCE_PATIENT_INFO = "sourcePatientInfo"
    URI = "URI"
    DOCUMENT_AVAILABILITY = "documentAvailability"
    SUBMISSION_TIME = "submissionTime"
    INTENDED_RECIPIENT = "intendedRecipient"
    LAST_UPDATE_TIME = "lastUpdateTime"
    SUBMISSION_SET_STATUS = "SubmissionSetStatus"
    PREVIOUS_VERSION = "PreviousVersion"
    ORIGINAL_STATUS = "OriginalStatus"
    NEW_STATUS = "NewStatus"
    ASSOCIATION_PROPAGATION = "AssociationPropagation"
    CODING_SCHEME = "codingScheme"
    AUTHOR_PERSON = "authorPerson"
    AUTHOR_INSTITUTION = "authorInstitution"
    AUTHOR_ROLE = "authorRole"
    AUTHOR_SPECIALTY = "authorSpecialty"
    AUTHOR_TELECOMMUNICATION = "authorTelecommunication"


class ObjectType(StrEnum):
    """`@objectType` of the ebRIM objects that are not DocumentEntries."""

    CLASSIFICATION = "urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject:Classification"
    EXTERNAL_IDENTIFIER = "urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject:ExternalIdentifier"
    ASSOCIATION = "urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject:Association"
    REGISTRY_PACKAGE = "urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject:RegistryPackage"


class ReferenceIdType(StrEnum):
    """CXi.5 of a referenceIdList value. Spec: ITI TF-3 Table 4.2.3.1.7-2."""

    UNIQUE_ID = "urn:ihe:iti:xds:2013:uniqueId"
    ACCESSION = "urn:ihe:iti:xds:2013:accession"
    REFERRAL = "urn:ihe:iti:xds:2013:referral"
    ORDER = "urn:ihe:iti:xds:2013:order"
    WORKFLOW_INSTANCE = "urn:ihe:iti:xdw:2013:workflowInstanceId"
    ENCOUNTER = "urn:ihe:iti:xds:2015:encounterId"
    STUDY_INSTANCE_UID = "urn:ihe:iti:xds:2016:studyInstanceUID"


#: Coding schemes.
DCM: Final = "1.2.840.10008.2.16.4"
DICOM_UIDS: Final = "1.2.840.10008.2.6.1"
LOINC: Final = "2.16.840.1.113883.6.1"
SNOMED_CT: Final = "2.16.840.1.113883.6.96"
CONFIDENTIALITY: Final = "2.16.840.1.113883.5.25"
IHE_FORMAT_CODES: Final = "1.3.6.1.4.1.19376.1.2.3"

#: Social security numbers of the United States, as an assigning authority.
US_SOCIAL_SECURITY: Final = "2.16.840.1.113883.4.1"

#: Characters of the title of a DocumentEntry at most. Spec: ITI TF-3 Table 4.2.3.2-1.
LONGEST_TITLE: Final = 127

#: Imaging.
KEY_OBJECT_SELECTION: Final = "1.2.840.10008.5.1.4.1.1.88.59"

#: Formats that this software defines: its own coding scheme and the codes in it.
RECORD_INDEX_FORMATS: Final = "2.25.96637267178044357694728970618953186148"
RECORD_INDEX: Final = "record-index"
