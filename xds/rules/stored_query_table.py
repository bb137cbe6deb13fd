"""The stored queries of ITI-18 and of ITI-51 and their parameters, as data.

Parameters are written without their leading `$`. The parameters of the metadata update supplement (MetadataLevel, logicalID,
documentAvailability, association status) are optional in each query that has them.

Spec: ITI TF-2 3.18.4.1.2.3.7, 3.51.4.1.2.3 and the metadata update supplement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xds.model.stored_queries import Parameter, ParameterKind, QueryDefinition
from xds.model.vocabulary import StoredQueryId


def _one(name: str, kind: ParameterKind, *, required: bool = False) -> Parameter:
    return Parameter(name, kind, required)


def _list(name: str, kind: ParameterKind, *, required: bool = False) -> Parameter:
    return Parameter(name, kind, required, multiple=True)


def _and_of_or(name: str, kind: ParameterKind, *, required: bool = False) -> Parameter:
    return Parameter(name, kind, required, multiple=True, conjunctive=True)


_METADATA_LEVEL = _one("MetadataLevel", ParameterKind.NUMBER)
_ASSOCIATION_STATUS = _list("XDSAssociationStatus", ParameterKind.STATUS)
_UUIDS = _list("uuid", ParameterKind.UUID, required=True)

_DOCUMENT_STATUS = _list("XDSDocumentEntryStatus", ParameterKind.STATUS, required=True)
_DOCUMENT_TYPE = _list("XDSDocumentEntryType", ParameterKind.URN)
_DOCUMENT_FORMAT = _list("XDSDocumentEntryFormatCode", ParameterKind.CODE)
_DOCUMENT_CONFIDENTIALITY = _and_of_or("XDSDocumentEntryConfidentialityCode", ParameterKind.CODE)
_DOCUMENT_FILTERS = (_DOCUMENT_FORMAT, _DOCUMENT_CONFIDENTIALITY, _DOCUMENT_TYPE)

_FIND_DOCUMENTS_OF_ANYBODY = (
    _DOCUMENT_STATUS,
    _list("XDSDocumentEntryClassCode", ParameterKind.CODE),
    _list("XDSDocumentEntryTypeCode", ParameterKind.CODE),
    _list("XDSDocumentEntryPracticeSettingCode", ParameterKind.CODE),
    _one("XDSDocumentEntryCreationTimeFrom", ParameterKind.TIME),
    _one("XDSDocumentEntryCreationTimeTo", ParameterKind.TIME),
    _one("XDSDocumentEntryServiceStartTimeFrom", ParameterKind.TIME),
    _one("XDSDocumentEntryServiceStartTimeTo", ParameterKind.TIME),
    _one("XDSDocumentEntryServiceStopTimeFrom", ParameterKind.TIME),
    _one("XDSDocumentEntryServiceStopTimeTo", ParameterKind.TIME),
    _list("XDSDocumentEntryHealthcareFacilityTypeCode", ParameterKind.CODE),
    _and_of_or("XDSDocumentEntryEventCodeList", ParameterKind.CODE),
    _DOCUMENT_CONFIDENTIALITY,
    _list("XDSDocumentEntryAuthorPerson", ParameterKind.LIKE),
    _DOCUMENT_FORMAT,
    _DOCUMENT_TYPE,
    _list("XDSDocumentEntryDocumentAvailability", ParameterKind.URN),
    _METADATA_LEVEL,
)

_FIND_DOCUMENTS = (_one("XDSDocumentEntryPatientId", ParameterKind.PATIENT_ID, required=True), *_FIND_DOCUMENTS_OF_ANYBODY)
_FIND_FOLDERS_OF_ANYBODY = (
    _list("XDSFolderStatus", ParameterKind.STATUS, required=True),
    _one("XDSFolderLastUpdateTimeFrom", ParameterKind.TIME),
    _one("XDSFolderLastUpdateTimeTo", ParameterKind.TIME),
    _and_of_or("XDSFolderCodeList", ParameterKind.CODE),
    _METADATA_LEVEL,
)

_DOCUMENT_IDS = (
    _list("XDSDocumentEntryEntryUUID", ParameterKind.UUID),
    _list("XDSDocumentEntryUniqueId", ParameterKind.STRING),
)
_DOCUMENT_LOGICAL_ID = _list("XDSDocumentEntryLogicalID", ParameterKind.UUID)
_FOLDER_IDS = (
    _list("XDSFolderEntryUUID", ParameterKind.UUID),
    _list("XDSFolderUniqueId", ParameterKind.STRING),
    _list("XDSFolderLogicalID", ParameterKind.UUID),
)
_ONE_DOCUMENT = (
    _one("XDSDocumentEntryEntryUUID", ParameterKind.UUID),
    _one("XDSDocumentEntryUniqueId", ParameterKind.STRING),
)
_ONE_SUBMISSION_SET = (
    _one("XDSSubmissionSetEntryUUID", ParameterKind.UUID),
    _one("XDSSubmissionSetUniqueId", ParameterKind.STRING),
)
_ONE_FOLDER = (
    _one("XDSFolderEntryUUID", ParameterKind.UUID),
    _one("XDSFolderUniqueId", ParameterKind.STRING),
)


def _names(*parameters: Parameter) -> tuple[str, ...]:
    return tuple(parameter.name for parameter in parameters)


_DEFINITIONS = (
    QueryDefinition(StoredQueryId.FIND_DOCUMENTS, "FindDocuments", _FIND_DOCUMENTS),
    QueryDefinition(
        StoredQueryId.FIND_DOCUMENTS_BY_REFERENCE_ID,
        "FindDocumentsByReferenceId",
        (*_FIND_DOCUMENTS, _and_of_or("XDSDocumentEntryReferenceIdList", ParameterKind.REFERENCE_ID, required=True)),
    ),
    QueryDefinition(
        StoredQueryId.FIND_SUBMISSION_SETS,
        "FindSubmissionSets",
        (
            _one("XDSSubmissionSetPatientId", ParameterKind.PATIENT_ID, required=True),
            _list("XDSSubmissionSetStatus", ParameterKind.STATUS, required=True),
            _list("XDSSubmissionSetSourceId", ParameterKind.STRING),
            _one("XDSSubmissionSetSubmissionTimeFrom", ParameterKind.TIME),
            _one("XDSSubmissionSetSubmissionTimeTo", ParameterKind.TIME),
            _one("XDSSubmissionSetAuthorPerson", ParameterKind.LIKE),
            _list("XDSSubmissionSetContentType", ParameterKind.CODE),
        ),
    ),
    QueryDefinition(
        StoredQueryId.FIND_FOLDERS,
        "FindFolders",
        (_one("XDSFolderPatientId", ParameterKind.PATIENT_ID, required=True), *_FIND_FOLDERS_OF_ANYBODY),
    ),
    QueryDefinition(
        StoredQueryId.GET_ALL,
        "GetAll",
        (
            _one("patientId", ParameterKind.PATIENT_ID, required=True),
            _DOCUMENT_STATUS,
            _list("XDSSubmissionSetStatus", ParameterKind.STATUS, required=True),
            _list("XDSFolderStatus", ParameterKind.STATUS, required=True),
            *_DOCUMENT_FILTERS,
            _ASSOCIATION_STATUS,
            _METADATA_LEVEL,
        ),
    ),
    QueryDefinition(
        StoredQueryId.GET_DOCUMENTS,
        "GetDocuments",
        (*_DOCUMENT_IDS, _DOCUMENT_LOGICAL_ID, _METADATA_LEVEL),
        one_of=(_names(*_DOCUMENT_IDS, _DOCUMENT_LOGICAL_ID),),
    ),
    QueryDefinition(StoredQueryId.GET_FOLDERS, "GetFolders", (*_FOLDER_IDS, _METADATA_LEVEL), one_of=(_names(*_FOLDER_IDS),)),
    QueryDefinition(StoredQueryId.GET_ASSOCIATIONS, "GetAssociations", (_UUIDS, _ASSOCIATION_STATUS, _METADATA_LEVEL)),
    QueryDefinition(
        StoredQueryId.GET_DOCUMENTS_AND_ASSOCIATIONS,
        "GetDocumentsAndAssociations",
        (*_DOCUMENT_IDS, _ASSOCIATION_STATUS, _METADATA_LEVEL),
        one_of=(_names(*_DOCUMENT_IDS),),
    ),
    QueryDefinition(StoredQueryId.GET_SUBMISSION_SETS, "GetSubmissionSets", (_UUIDS, _METADATA_LEVEL)),
    QueryDefinition(
        StoredQueryId.GET_SUBMISSION_SET_AND_CONTENTS,
        "GetSubmissionSetAndContents",
        (*_ONE_SUBMISSION_SET, *_DOCUMENT_FILTERS, _METADATA_LEVEL),
        one_of=(_names(*_ONE_SUBMISSION_SET),),
    ),
    QueryDefinition(
        StoredQueryId.GET_FOLDER_AND_CONTENTS,
        "GetFolderAndContents",
        (*_ONE_FOLDER, *_DOCUMENT_FILTERS, _ASSOCIATION_STATUS, _METADATA_LEVEL),
        one_of=(_names(*_ONE_FOLDER),),
    ),
    QueryDefinition(
        StoredQueryId.GET_FOLDERS_FOR_DOCUMENT,
        "GetFoldersForDocument",
        (*_ONE_DOCUMENT, _ASSOCIATION_STATUS, _METADATA_LEVEL),
        one_of=(_names(*_ONE_DOCUMENT),),
    ),
    QueryDefinition(
        StoredQueryId.GET_RELATED_DOCUMENTS,
        "GetRelatedDocuments",
        (
            *_ONE_DOCUMENT,
            _list("AssociationTypes", ParameterKind.URN, required=True),
            _DOCUMENT_TYPE,
            _ASSOCIATION_STATUS,
            _METADATA_LEVEL,
        ),
        one_of=(_names(*_ONE_DOCUMENT),),
    ),
)

#: Every stored query of ITI-18 by its id.
STORED_QUERIES: Final[Mapping[str, QueryDefinition]] = {definition.id: definition for definition in _DEFINITIONS}

_MULTI_PATIENT_DEFINITIONS = (
    QueryDefinition(
        StoredQueryId.FIND_DOCUMENTS_FOR_MULTIPLE_PATIENTS,
        "FindDocumentsForMultiplePatients",
        (_list("XDSDocumentEntryPatientId", ParameterKind.PATIENT_ID), *_FIND_DOCUMENTS_OF_ANYBODY),
        at_least_one=(
            "XDSDocumentEntryPatientId",
            "XDSDocumentEntryClassCode",
            "XDSDocumentEntryEventCodeList",
            "XDSDocumentEntryHealthcareFacilityTypeCode",
        ),
    ),
    QueryDefinition(
        StoredQueryId.FIND_FOLDERS_FOR_MULTIPLE_PATIENTS,
        "FindFoldersForMultiplePatients",
        (_list("XDSFolderPatientId", ParameterKind.PATIENT_ID), *_FIND_FOLDERS_OF_ANYBODY),
        at_least_one=("XDSFolderPatientId", "XDSFolderCodeList"),
    ),
)

#: Every stored query of ITI-51 by its id. Their objects may belong to several patients.
MULTI_PATIENT_QUERIES: Final[Mapping[str, QueryDefinition]] = {
    definition.id: definition for definition in _MULTI_PATIENT_DEFINITIONS
}
