"""The attributes of each registry object: where they stand, how often, and of which data type. The tables are the rules.

Tolerated deviations, which are stored and answered as they came:

| received | because |
|---|---|
| one UUID for several Classifications or ExternalIdentifiers | nothing refers to them |
| a sourcePatientId whose authority is a namespace alone, `id^^^HOSPITAL` | some sources know their own domain by no other name |
| a person (XCN) of whom only the given name is known | tools that test registries send it |
| a workflow in referenceIdList as `urn:oid:…`, or with an assigning authority | tools that test registries send it |
| a study in referenceIdList with an assigning authority | it is as unique with it |
| an identifier of sourcePatientInfo (PID-3) with a code of its kind, `id^^^&OID&ISO^PI` | it comes out of HL7 v2 as it is |
| blanks around the Name of an ExternalIdentifier | an example of the standard has one |
| a date of birth in sourcePatientInfo (PID-7) that no calendar has | images say what was entered |
| extra metadata whose name begins with `urn:` and is no full URN, `urn:x` | nothing depends on what follows |

Spec: ITI TF-3 Tables 4.2.3.2-1 (DocumentEntry), 4.2.3.3-1 (SubmissionSet), 4.2.3.4-1 (Folder), 4.2.3.1.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from xds.model.identifiers import is_uuid_urn
from xds.model.metadata import Classification, DocumentEntry, Folder, RegistryObject, Slot, SubmissionSet
from xds.model.vocabulary import (
    ASSOCIATION_DOCUMENTATION,
    EXTERNAL_IDENTIFIER_NAMES,
    FOLDER_NODE,
    LONGEST_TITLE,
    SUBMISSION_SET_NODE,
    DocumentAvailability,
    DocumentEntryScheme,
    FolderScheme,
    SlotName,
    SubmissionSetScheme,
)
from xds.rules.submission import datatypes
from xds.rules.submission.datatypes import LONGEST_VALUE, DataType
from xds.rules.submission.findings import Findings

#: Highest count of an attribute that may repeat without limit.
_ANY: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SlotRule:
    """A Slot: the data type of its values, and whether it may have several."""

    type: DataType
    several: bool = False


@dataclass(frozen=True, slots=True)
class ClassificationRule:
    """A classificationScheme: the attribute's name, how often it occurs, and whether it holds an author instead of a code."""

    attribute: str
    least: int = 0
    most: int = _ANY
    author: bool = False


@dataclass(frozen=True, slots=True)
class IdentifierRule:
    """An identificationScheme, which occurs exactly once: the attribute's name and data type."""

    attribute: str
    type: DataType


@dataclass(frozen=True, slots=True)
class ObjectRules:
    """Everything that the standard says about the attributes of one kind of object."""

    slots: Mapping[str, SlotRule]
    classifications: Mapping[str, ClassificationRule]
    identifiers: Mapping[str, IdentifierRule] = field(default_factory=dict)
    longest_title: int = LONGEST_VALUE
    label: str | None = None


_STATUSES: Final = datatypes.one_of("Original", "Reference")
_AVAILABILITIES: Final = datatypes.one_of(*DocumentAvailability)

DOCUMENT_ENTRY: Final = ObjectRules(
    slots={
        SlotName.CREATION_TIME: SlotRule(datatypes.DTM),
        SlotName.HASH: SlotRule(datatypes.HASH),
        SlotName.LANGUAGE_CODE: SlotRule(datatypes.LANGUAGE),
        SlotName.LEGAL_AUTHENTICATOR: SlotRule(datatypes.XCN),
        SlotName.REFERENCE_ID_LIST: SlotRule(datatypes.CXI, several=True),
        SlotName.REPOSITORY_UNIQUE_ID: SlotRule(datatypes.OID),
        SlotName.SERVICE_START_TIME: SlotRule(datatypes.DTM),
        SlotName.SERVICE_STOP_TIME: SlotRule(datatypes.DTM),
        SlotName.SIZE: SlotRule(datatypes.INTEGER),
        SlotName.SOURCE_PATIENT_ID: SlotRule(datatypes.LOCAL_CX),
        SlotName.SOURCE_PATIENT_INFO: SlotRule(datatypes.PATIENT_FIELD, several=True),
        SlotName.URI: SlotRule(datatypes.URI),
        SlotName.DOCUMENT_AVAILABILITY: SlotRule(_AVAILABILITIES),
    },
    classifications={
        DocumentEntryScheme.AUTHOR: ClassificationRule("author", author=True),
        DocumentEntryScheme.CLASS_CODE: ClassificationRule("classCode", 1, 1),
        DocumentEntryScheme.CONFIDENTIALITY_CODE: ClassificationRule("confidentialityCode", 1),
        DocumentEntryScheme.EVENT_CODE: ClassificationRule("eventCodeList"),
        DocumentEntryScheme.FORMAT_CODE: ClassificationRule("formatCode", 1, 1),
        DocumentEntryScheme.HEALTHCARE_FACILITY_TYPE_CODE: ClassificationRule("healthcareFacilityTypeCode", 1, 1),
        DocumentEntryScheme.PRACTICE_SETTING_CODE: ClassificationRule("practiceSettingCode", 1, 1),
        DocumentEntryScheme.TYPE_CODE: ClassificationRule("typeCode", 1, 1),
    },
    identifiers={
        DocumentEntryScheme.PATIENT_ID: IdentifierRule("patientId", datatypes.CX),
        DocumentEntryScheme.UNIQUE_ID: IdentifierRule("uniqueId", datatypes.IDENTIFIER),
    },
    longest_title=LONGEST_TITLE,
)

SUBMISSION_SET: Final = ObjectRules(
    slots={
        SlotName.SUBMISSION_TIME: SlotRule(datatypes.DTM),
        SlotName.INTENDED_RECIPIENT: SlotRule(datatypes.RECIPIENT, several=True),
    },
    classifications={
        SubmissionSetScheme.AUTHOR: ClassificationRule("author", author=True),
        SubmissionSetScheme.CONTENT_TYPE_CODE: ClassificationRule("contentTypeCode", 1, 1),
    },
    identifiers={
        SubmissionSetScheme.PATIENT_ID: IdentifierRule("patientId", datatypes.CX),
        SubmissionSetScheme.SOURCE_ID: IdentifierRule("sourceId", datatypes.OID),
        SubmissionSetScheme.UNIQUE_ID: IdentifierRule("uniqueId", datatypes.OID),
    },
    longest_title=255,
    label=SUBMISSION_SET_NODE,
)

FOLDER: Final = ObjectRules(
    slots={SlotName.LAST_UPDATE_TIME: SlotRule(datatypes.DTM)},
    classifications={FolderScheme.CODE: ClassificationRule("codeList", 1)},
    identifiers={
        FolderScheme.PATIENT_ID: IdentifierRule("patientId", datatypes.CX),
        FolderScheme.UNIQUE_ID: IdentifierRule("uniqueId", datatypes.OID),
    },
    label=FOLDER_NODE,
)

ASSOCIATION: Final = ObjectRules(
    slots={SlotName.SUBMISSION_SET_STATUS: SlotRule(_STATUSES)},
    classifications={ASSOCIATION_DOCUMENTATION: ClassificationRule("associationDocumentation", 0, 1)},
)

_CODING_SCHEME: Final = SlotName.CODING_SCHEME.value
_IDENTIFIER_NAMES: Final = {str(scheme): name for scheme, name in EXTERNAL_IDENTIFIER_NAMES.items()}

#: A URN of RFC 8141. Tolerated: one whose namespace is followed by nothing, as tools that test registries send it.
_EXTRA_NAME: Final = re.compile(r"urn:[A-Za-z0-9][A-Za-z0-9-]{0,31}(?::[A-Za-z0-9._~%!$&'()*+,;=:@/?#-]*)?").fullmatch

_AUTHOR_SLOTS: Final[Mapping[str, SlotRule]] = {
    SlotName.AUTHOR_PERSON: SlotRule(datatypes.XCN),
    SlotName.AUTHOR_INSTITUTION: SlotRule(datatypes.XON, several=True),
    SlotName.AUTHOR_ROLE: SlotRule(datatypes.TEXT, several=True),
    SlotName.AUTHOR_SPECIALTY: SlotRule(datatypes.TEXT, several=True),
    SlotName.AUTHOR_TELECOMMUNICATION: SlotRule(datatypes.XTN, several=True),
}
_AUTHOR_MINIMUM: Final = frozenset({SlotName.AUTHOR_PERSON, SlotName.AUTHOR_INSTITUTION, SlotName.AUTHOR_TELECOMMUNICATION})

_CONTENT_OF_STABLE: Final = frozenset({SlotName.CREATION_TIME, SlotName.HASH, SlotName.SIZE})
_REQUIRED: Final = frozenset({SlotName.LANGUAGE_CODE, SlotName.SOURCE_PATIENT_ID})


def required_slots(*, registering: bool, on_demand: bool) -> frozenset[str]:
    """Slots that a DocumentEntry must have: in a registration, in what a Repository receives, in an on-demand registration."""
    if on_demand:
        return _REQUIRED | {SlotName.REPOSITORY_UNIQUE_ID}
    if registering:
        return _REQUIRED | _CONTENT_OF_STABLE | {SlotName.REPOSITORY_UNIQUE_ID}
    return _REQUIRED | {SlotName.CREATION_TIME}


def check_document_entry(
    entry: DocumentEntry, required: frozenset[str], findings: Findings, *, first_version: bool = True
) -> None:
    """Spec: ITI TF-3 4.2.3.2."""
    check_attributes(entry, DOCUMENT_ENTRY, required, findings, first_version=first_version)
    if entry.mime_type is None or not datatypes.MIME_TYPE.accepts(entry.mime_type):
        findings.add(entry, "mimeType", datatypes.MIME_TYPE.rule, entry.mime_type)
    start, stop = entry.service_start_time, entry.service_stop_time
    if start and stop and stop[: len(start)] < start[: len(stop)]:
        findings.add(entry, "serviceStopTime", f"must not be before serviceStartTime '{start[:14]}'", stop)
    fields: Counter[str] = Counter()
    for value in entry.slot(SlotName.SOURCE_PATIENT_INFO):
        name, _, content = value.partition("|")
        fields[name] += 1 + content.count("~")
    for name in ("PID-7", "PID-8"):
        if fields[name] > 1:
            findings.add(entry, SlotName.SOURCE_PATIENT_INFO, f"must hold {name} at most once", f"{name} {fields[name]} times")


def check_submission_set(package: SubmissionSet, findings: Findings) -> None:
    """Spec: ITI TF-3 4.2.3.3."""
    check_attributes(package, SUBMISSION_SET, frozenset({SlotName.SUBMISSION_TIME}), findings)


def check_folder(folder: Folder, findings: Findings, *, first_version: bool = True) -> None:
    """Spec: ITI TF-3 4.2.3.4."""
    check_attributes(folder, FOLDER, frozenset(), findings, first_version=first_version)
    if not any(text.value.strip() for text in folder.name):
        findings.add(folder, "title", "must be present", None)


def check_attributes(
    obj: RegistryObject, rules: ObjectRules, required: frozenset[str], findings: Findings, *, first_version: bool = True
) -> None:
    """Everything that the tables say about one object. The logicalID of a later version is not judged here."""
    _check_ids(obj, findings, first_version)
    _check_slots(obj, obj.slots, rules.slots, findings)
    for name in required.difference([slot.name for slot in obj.slots]):
        findings.add(obj, name, "must be present", None)
    _check_classifications(obj, rules, findings)
    if rules.identifiers or obj.external_identifiers:
        _check_identifiers(obj, rules.identifiers, findings)
    for text in obj.name:
        if len(text.value) > rules.longest_title:
            findings.add(obj, "title", f"must have at most {rules.longest_title} characters", text.value)
    if obj.home is not None and not datatypes.OID_URN.accepts(obj.home):
        findings.add(obj, "homeCommunityId", datatypes.OID_URN.rule, obj.home)


def _check_ids(obj: RegistryObject, findings: Findings, first_version: bool) -> None:
    parts = [("id of Classification", item.id) for item in obj.classifications]
    parts += [("id of ExternalIdentifier", item.id) for item in obj.external_identifiers]
    for attribute, value in (("id", obj.id), ("lid", obj.lid), *parts):
        if value is not None and value.startswith("urn:uuid:") and not is_uuid_urn(value):
            findings.add(obj, attribute, "must be urn:uuid: followed by a UUID in lower case, or a symbolic name", value)
    if not obj.id.strip():
        findings.add(obj, "id", "must not be empty", obj.id)
    if first_version and obj.lid is not None and obj.lid.startswith("urn:uuid:") and obj.lid != obj.id:
        findings.add(obj, "lid", "must be absent or the object's own id: a first version is submitted here", obj.lid)


def _check_slots(
    obj: RegistryObject, slots: tuple[Slot, ...], rules: Mapping[str, SlotRule], findings: Findings, prefix: str = ""
) -> None:
    seen = set()
    for slot in slots:
        name, values = slot.name, slot.values
        if name in seen:
            findings.add(obj, prefix + name, "a slot name must occur once in an object", name)
        seen.add(name)
        rule = rules.get(name)
        if rule is None:
            _check_extra_slot(obj, slot, findings, prefix)
            continue
        if len(values) == 1 and len(values[0]) <= LONGEST_VALUE and rule.type.accepts(values[0]):
            continue
        if not values:
            findings.add(obj, prefix + name, "must have a value", None)
        elif len(values) > 1 and not rule.several:
            findings.add(obj, prefix + name, "must have exactly one value", f"{len(values)} values")
        for value in values:
            if len(value) > LONGEST_VALUE:
                findings.add(obj, prefix + name, f"a Value must have at most {LONGEST_VALUE} characters", value)
            elif not findings.accepts(rule.type, value):
                findings.add(obj, prefix + name, rule.type.rule, value)


def _check_extra_slot(obj: RegistryObject, slot: Slot, findings: Findings, prefix: str) -> None:
    """Extra metadata. Spec: ITI TF-3 4.2.3.1.6."""
    name = slot.name
    if _EXTRA_NAME(name) is None or name.startswith("urn:ihe:"):
        findings.add(obj, f"{prefix}Slot", "must be a slot of the standard, or have a URN outside urn:ihe: as its name", name)
    for value in slot.values:
        if len(value) > LONGEST_VALUE:
            findings.add(obj, prefix + name, f"a Value must have at most {LONGEST_VALUE} characters", value)


def _check_classifications(obj: RegistryObject, rules: ObjectRules, findings: Findings) -> None:
    counts: dict[str, int] = {}
    for item in obj.classifications:
        if item.classified_object != obj.id:
            rule_text = f"must name the object that the Classification {item.id[:64]} stands in"
            findings.add(obj, "classifiedObject", rule_text, item.classified_object)
        if item.node is not None and item.scheme is not None:
            findings.add(obj, "classificationNode", "must be absent beside a classificationScheme", item.node)
        if item.scheme is None:
            if item.node is None or item.node != rules.label:
                findings.add(obj, "classificationNode", "must be the label of this kind of object", item.node)
            continue
        rule = rules.classifications.get(item.scheme)
        if rule is None:
            findings.add(obj, "classificationScheme", "must be one of the standard's for this kind of object", item.scheme)
            continue
        counts[item.scheme] = counts.get(item.scheme, 0) + 1
        if rule.author:
            _check_author(obj, item, findings)
        else:
            _check_code(obj, rule.attribute, item, findings)
    for scheme, rule in rules.classifications.items():
        count = counts.get(scheme, 0)
        if count < rule.least:
            findings.add(obj, rule.attribute, "must be present", None)
        elif count > rule.most:
            findings.add(obj, rule.attribute, f"must occur at most {rule.most} time", f"{count} times")


def _is_good_code(item: Classification) -> bool:
    """Whether nothing is wrong with a code, which is what most of them can be asked in one go."""
    if len(item.slots) != 1 or len(item.name) != 1:
        return False
    slot = item.slots[0]
    if slot.name != _CODING_SCHEME or len(slot.values) != 1 or not 0 < len(slot.values[0]) <= LONGEST_VALUE:
        return False
    return bool(item.node_representation.strip() and item.name[0].value.strip())


def _check_code(obj: RegistryObject, attribute: str, item: Classification, findings: Findings) -> None:
    """Spec: ITI TF-3 4.2.3.1.2."""
    if _is_good_code(item):
        return
    if not item.node_representation.strip():
        findings.add(obj, attribute, "its code (nodeRepresentation) must not be empty", item.node_representation)
    schemes = [slot.values for slot in item.slots if slot.name == SlotName.CODING_SCHEME]
    if len(schemes) != 1 or len(schemes[0]) != 1 or not schemes[0][0]:
        received = ", ".join(value for values in schemes for value in values)
        findings.add(obj, attribute, "must have one Slot codingScheme with exactly one value", received or None)
    elif len(schemes[0][0]) > LONGEST_VALUE:
        findings.add(obj, attribute, f"its codingScheme must have at most {LONGEST_VALUE} characters", schemes[0][0])
    if not any(text.value.strip() for text in item.name):
        findings.add(obj, attribute, "must have a display name", item.node_representation)


def _check_author(obj: RegistryObject, item: Classification, findings: Findings) -> None:
    """Spec: ITI TF-3 4.2.3.1.4."""
    if item.node_representation:
        findings.add(obj, "author", "its nodeRepresentation must be empty", item.node_representation)
    _check_slots(obj, item.slots, _AUTHOR_SLOTS, findings, prefix="author.")
    if not any(slot.name in _AUTHOR_MINIMUM and any(slot.values) for slot in item.slots):
        findings.add(obj, "author", "must have authorPerson, authorInstitution or authorTelecommunication", None)


def _check_identifiers(obj: RegistryObject, rules: Mapping[str, IdentifierRule], findings: Findings) -> None:
    counts: dict[str, int] = {}
    for item in obj.external_identifiers:
        if item.registry_object != obj.id:
            rule_text = f"must name the object that the ExternalIdentifier {item.id[:64]} stands in"
            findings.add(obj, "registryObject", rule_text, item.registry_object)
        rule = rules.get(item.scheme)
        if rule is None:
            findings.add(obj, "identificationScheme", "must be one of the standard's for this kind of object", item.scheme)
            continue
        counts[item.scheme] = counts.get(item.scheme, 0) + 1
        if not findings.accepts(rule.type, item.value):
            findings.add(obj, rule.attribute, rule.type.rule, item.value)
        wanted = _IDENTIFIER_NAMES[item.scheme]
        if not (item.name and item.name[0].value == wanted) and not any(text.value.strip() == wanted for text in item.name):
            received = item.name[0].value if item.name else None
            findings.add(obj, rule.attribute, f"its ExternalIdentifier must have the Name {wanted}", received)
    for scheme, rule in rules.items():
        count = counts.get(scheme, 0)
        if count == 0:
            findings.add(obj, rule.attribute, "must be present", None)
        elif count > 1:
            findings.add(obj, rule.attribute, "must occur once", f"{count} times")
