"""From a study to the metadata that announces it: what RAD-68 says of a manifest.

Spec: RAD TF-2 Table 4.68.4.1.2.3-1 (DocumentEntry), DICOM PS3.16 CID 29 (acquisition modalities), CID 4 (anatomic regions).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from typing import Final

from xds.model.drafts import DocumentFacts, association, document_entry, identified, submission_set
from xds.model.identifiers import PatientIdentifier, escape_hl7, is_oid, to_dtm
from xds.model.imaging import ManifestForm, OrderNumber, PublishedManifest, Series, Study
from xds.model.imaging_manifest import generated_accession, requests_of
from xds.model.metadata import Author, Code, Submission
from xds.model.vocabulary import (
    CONFIDENTIALITY,
    DCM,
    DICOM_UIDS,
    KEY_OBJECT_SELECTION,
    LOINC,
    LONGEST_TITLE,
    SNOMED_CT,
    AssociationType,
    ReferenceIdType,
)
from xds.wire.dicom_values import read_dtm

FORMAT_CODE: Final = Code(KEY_OBJECT_SELECTION, DICOM_UIDS, "Key Object Selection Document")
MIME_TYPE: Final = "application/dicom"

#: CID 29: the modalities that acquire images; what else a study holds (KO, PR, SR …) is no event of it.
MODALITIES: Final = {
    "AR": "Autorefraction",
    "BDUS": "Ultrasound Bone Densitometry",
    "BI": "Biomagnetic Imaging",
    "BMD": "Bone Mineral Densitometry",
    "CFM": "Confocal Microscopy",
    "CR": "Computed Radiography",
    "CT": "Computed Tomography",
    "DG": "Diaphanography",
    "DMS": "Dermoscopy",
    "DX": "Digital Radiography",
    "ECG": "Electrocardiography",
    "EEG": "Electroencephalography",
    "EMG": "Electromyography",
    "EOG": "Electrooculography",
    "EPS": "Cardiac Electrophysiology",
    "ES": "Endoscopy",
    "GM": "General Microscopy",
    "HD": "Hemodynamic Waveform",
    "IO": "Intra-oral Radiography",
    "IVOCT": "Intravascular Optical Coherence Tomography",
    "IVUS": "Intravascular Ultrasound",
    "KER": "Keratometry",
    "LEN": "Lensometry",
    "LS": "Laser Scan",
    "MG": "Mammography",
    "MR": "Magnetic Resonance",
    "NM": "Nuclear Medicine",
    "OAM": "Ophthalmic Axial Measurements",
    "OCT": "Optical Coherence Tomography",
    "OP": "Ophthalmic Photography",
    "OPM": "Ophthalmic Mapping",
    "OPT": "Ophthalmic Tomography",
    "OPTBSV": "Ophthalmic Tomography B-scan Volume Analysis",
    "OPTENF": "Ophthalmic Tomography En Face",
    "OPV": "Ophthalmic Visual Field",
    "OSS": "Optical Surface Scanner",
    "PA": "Photoacoustic",
    "POS": "Position Sensor",
    "PT": "Positron emission tomography",
    "PX": "Panoramic X-Ray",
    "RESP": "Respiratory Waveform",
    "RF": "Radiofluoroscopy",
    "RG": "Radiographic imaging",
    "RTIMAGE": "RT Image",
    "SM": "Slide Microscopy",
    "SRF": "Subjective Refraction",
    "TG": "Thermography",
    "US": "Ultrasound",
    "VA": "Visual Acuity",
    "XA": "X-Ray Angiography",
    "XC": "External-camera Photography",
}

#: Body Part Examined (0018,0015) -> SNOMED CT. Spec: PS3.16 Annex L; the part of it that general radiology uses.
BODY_PARTS: Final = {
    "ABDOMEN": ("818981001", "Abdomen"),
    "ABDOMENPELVIS": ("818982008", "Abdomen and Pelvis"),
    "AORTA": ("15825003", "Aorta"),
    "ARM": ("40983000", "Upper arm"),
    "BLADDER": ("89837001", "Bladder"),
    "BRAIN": ("12738006", "Brain"),
    "BREAST": ("76752008", "Breast"),
    "CHEST": ("816094009", "Chest"),
    "CHESTABDOMEN": ("416550000", "Chest and Abdomen"),
    "CHESTABDPELVIS": ("416775004", "Chest, Abdomen and Pelvis"),
    "CLAVICLE": ("51299004", "Clavicle"),
    "COCCYX": ("64688005", "Coccyx"),
    "CORONARYARTERY": ("41801008", "Coronary artery"),
    "CSPINE": ("122494005", "Cervical spine"),
    "EAR": ("117590005", "Ear"),
    "EXTREMITY": ("66019005", "Extremity"),
    "EYE": ("81745001", "Eye"),
    "FACE": ("89545001", "Face"),
    "FINGER": ("7569003", "Finger"),
    "FOOT": ("56459004", "Foot"),
    "FOREARM": ("14975008", "Forearm"),
    "HAND": ("85562004", "Hand"),
    "HEAD": ("69536005", "Head"),
    "HEADNECK": ("774007", "Head and Neck"),
    "HEART": ("80891009", "Heart"),
    "HIP": ("29836001", "Hip"),
    "KIDNEY": ("64033007", "Kidney"),
    "KNEE": ("72696002", "Knee"),
    "LEG": ("30021000", "Lower leg"),
    "LIVER": ("10200004", "Liver"),
    "LSPINE": ("122496007", "Lumbar spine"),
    "MAXILLA": ("70925003", "Maxilla"),
    "NECK": ("45048000", "Neck"),
    "NOSE": ("45206002", "Nose"),
    "PELVIS": ("816092008", "Pelvis"),
    "PROSTATE": ("41216001", "Prostate"),
    "RIB": ("113197003", "Rib"),
    "SACRUM": ("54735007", "Sacrum"),
    "SHOULDER": ("16982005", "Shoulder"),
    "SKULL": ("89546000", "Skull"),
    "SPINE": ("421060004", "Spine"),
    "SSPINE": ("54735007", "Sacrum"),
    "STERNUM": ("56873002", "Sternum"),
    "THIGH": ("68367000", "Thigh"),
    "THUMB": ("76505004", "Thumb"),
    "TOE": ("29707007", "Toe"),
    "TSPINE": ("122495006", "Thoracic spine"),
    "UTERUS": ("35039007", "Uterus"),
    "WHOLEBODY": ("38266002", "Entire body"),
}


_IMAGES: Final = Code("IMAGES", "1.3.6.1.4.1.19376.1.2.6.1", "Images")
_IMAGING_STUDY: Final = Code("18748-4", LOINC, "Diagnostic imaging study")
_RADIOLOGY: Final = Code("394914008", SNOMED_CT, "Radiology")
_HOSPITAL: Final = Code("22232009", SNOMED_CT, "Hospital")
_REPORTS: Final = Code("REPORTS", "1.3.6.1.4.1.19376.1.2.6.1", "Reports")
_NORMAL: Final = Code("N", CONFIDENTIALITY, "Normal")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationDefaults:
    """What a publication says that no image knows.

    `type_code` is used where the images carry no procedure code in a scheme with an OID, or `type_from_procedure` is off.
    """

    class_code: Code = _IMAGES
    type_code: Code = _IMAGING_STUDY
    type_from_procedure: bool = True
    practice_setting: Code = _RADIOLOGY
    facility_type: Code = _HOSPITAL
    confidentiality: tuple[Code, ...] = (_NORMAL,)
    content_type: Code = _IMAGING_STUDY
    language: str = "en-US"
    title: str = "Imaging study"
    author_institution: str = "Imaging department"
    #: XON; goes before what the images name.
    institution: str = ""
    #: Coding schemes (OIDs) of modalities and regions in eventCodeList; None leaves those of DICOM.
    modality_scheme: str | None = None
    region_scheme: str | None = None
    #: CX.5 of patientId and of sourcePatientId, for registries that want it (the French DMP: NH and PI).
    patient_id_type: str = ""
    source_patient_id_type: str = ""
    #: False: the title is always `title`.
    title_from_study: bool = True
    report_class_code: Code = _REPORTS
    report_type_code: Code = _IMAGING_STUDY
    report_title: str = "Imaging report"


#: What the French DMP registers for the manifest of a DRIMbox.
DRIMBOX: Final = PublicationDefaults(
    class_code=Code("31", "1.2.250.1.213.1.1.4.1", "Imagerie médicale"),
    type_code=Code("IMG-KOS", "1.2.250.1.213.1.1.4.12", "Référence d'objets d'un examen d'imagerie"),
    type_from_procedure=False,
    language="fr-FR",
    title="Référence d'objets d'un examen d'imagerie",
    title_from_study=False,
    author_institution="Imagerie médicale",
    modality_scheme="1.2.250.1.213.1.1.5.618",
    region_scheme="1.2.250.1.213.1.1.5.695",
    report_class_code=Code("10", "1.2.250.1.213.1.1.4.1", "Compte rendu"),
    report_type_code=Code("18748-4", LOINC, "CR d'imagerie médicale"),
    report_title="CR d'imagerie médicale",
)


def event_codes(study: Study, defaults: PublicationDefaults | None = None) -> tuple[Code, ...]:
    """eventCodeList: each acquisition modality, then each anatomic region that is known."""
    scheme = (defaults.modality_scheme if defaults else None) or DCM
    modalities = (Code(name, scheme, MODALITIES[name]) for name in study.modalities if name in MODALITIES)
    regions = (region for series in study.series if (region := region_of(series)) is not None)
    if defaults and defaults.region_scheme:
        regions = (replace(region, scheme=defaults.region_scheme) for region in regions)
    return tuple({str(code): code for code in (*modalities, *regions)}.values())


def region_of(series: Series) -> Code | None:
    """The anatomic region of a series: its code, where others can know the scheme, else that of Body Part Examined."""
    if series.region is not None and is_oid(series.region.scheme):
        return series.region
    found = BODY_PARTS.get(series.body_part.upper().replace(" ", "").replace("_", ""))
    return Code(found[0], SNOMED_CT, found[1]) if found else None


def reference_ids(study: Study, authority_oid: str | None, creator_oid: str | None = None) -> tuple[str, ...]:
    """referenceIdList: accession numbers and placer orders under their issuers, and the study.

    `authority_oid` counts where nobody states who issued an accession number. With `creator_oid` a study without accession number
    has the one that its described manifest was given. Spec: ITI TF-3 Table 4.2.3.1.7-2 (CXi); MADO 6.X.2, Appendix A.
    """
    requests = requests_of(study)
    found: list[str] = []
    if creator_oid and not any(order.accession for order in requests):
        made = generated_accession(study.study_instance_uid, creator_oid)
        found.append(numbered_reference(made, creator_oid, ReferenceIdType.ACCESSION))
    for order in requests:
        accession_oid = order.accession.issuer_oid or authority_oid
        if order.accession and accession_oid:
            found.append(numbered_reference(order.accession, accession_oid, ReferenceIdType.ACCESSION))
        # A number whose issuer nobody names would be taken for that of any other one.
        if order.placer and order.placer.issuer_oid:
            found.append(numbered_reference(order.placer, order.placer.issuer_oid, ReferenceIdType.ORDER))
    found.append(study_reference(study.study_instance_uid))
    return tuple(dict.fromkeys(found))


def study_reference(study_instance_uid: str) -> str:
    """A study in referenceIdList."""
    return f"{study_instance_uid}^^^^{ReferenceIdType.STUDY_INSTANCE_UID.value}"


def numbered_reference(number: OrderNumber, oid: str, kind: ReferenceIdType) -> str:
    """A number under the authority with that OID in referenceIdList."""
    return f"{escape_hl7(number.value)}^^^&{oid}&ISO^{kind.value}"


def source_patient_info(study: Study, source_patient: PatientIdentifier) -> tuple[str, ...]:
    """sourcePatientInfo: PID-3, and of PID-5, PID-7 and PID-8 what the images know."""
    patient = study.patient
    lines = [f"PID-3|{source_patient.to_cx()}"]
    name = xpn(patient.name)
    if name:
        lines.append(f"PID-5|{name}")
    if patient.birth_date.isdigit():
        lines.append(f"PID-7|{patient.birth_date}")
    if patient.sex:
        lines.append(f"PID-8|{patient.sex}")
    return tuple(lines)


def xpn(person_name: str) -> str:
    """A DICOM person name as HL7 XPN: its first component group that says something; prefix and suffix change places."""
    group = next((part for part in person_name.split("=") if part.strip("^ ")), "")
    parts = [escape_hl7(part.strip()) for part in (*group.split("^"), "", "", "", "")][:5]
    family, given, middle, prefix, suffix = parts
    return "^".join((family, given, middle, suffix, prefix)).rstrip("^")


def submission_of(
    study: Study,
    manifest: PublishedManifest,
    replaces: str | None,
    *,
    source_patient: PatientIdentifier,
    source_id: str,
    defaults: PublicationDefaults,
    zone: tzinfo,
    transforms: str | None = None,
) -> Submission:
    """The submission that publishes a manifest; `replaces` is the entryUUID of the one it takes the place of.

    `transforms` is that of the manifest of the same study in another form. `source_id` is the OID of the Imaging Document Source,
    `zone` the local time of images that state no offset.
    """
    institution = defaults.institution or escape_hl7(study.institution or defaults.author_institution)
    author = Author(None, (institution,), (), (), ())
    facts = DocumentFacts(
        id="Document",
        unique_id=manifest.unique_id,
        patient_id=typed(manifest.patient_id, defaults.patient_id_type),
        source_patient_id=typed(source_patient.to_cx(), defaults.source_patient_id_type),
        mime_type=MIME_TYPE,
        title=_title(study, defaults)[:LONGEST_TITLE],
        creation_time=to_dtm(manifest.created.astimezone(UTC)),
        class_code=defaults.class_code,
        type_code=type_code(study, defaults),
        format_code=FORMAT_CODE,
        facility_type=defaults.facility_type,
        practice_setting=defaults.practice_setting,
        confidentiality=defaults.confidentiality,
        language=defaults.language,
        author=author,
        event_codes=event_codes(study, defaults),
        service_start_time=read_dtm(study.study_date, study.study_time, study.timezone_offset, zone),
        source_patient_info=source_patient_info(study, source_patient),
        reference_ids=reference_ids(
            study, source_patient.authority.oid, source_id if manifest.form is ManifestForm.MADO else None
        ),
    )
    entry = identified(document_entry(facts), manifest.entry_uuid)
    package = submission_set(
        symbolic_id="SubmissionSet",
        unique_id=manifest.submission_unique_id,
        source_id=source_id,
        patient_id=facts.patient_id,
        submission_time=to_dtm(manifest.created.astimezone(UTC)),
        content_type=defaults.content_type,
        author=author,
        title=facts.title,
    )
    member = association(AssociationType.HAS_MEMBER, package.id, entry.id, original=True)
    links = [replace(member, id="Member")]
    if replaces is not None:
        links.append(replace(association(AssociationType.RPLC, entry.id, replaces), id="Replacement"))
    if transforms is not None:
        links.append(replace(association(AssociationType.XFRM, entry.id, transforms), id="Transformation"))
    return Submission.of(package, entry, *links)


def typed(cx: str, kind: str) -> str:
    """An identifier as CX with the kind that it is of (CX.5); an empty kind adds nothing."""
    return f"{cx}^{kind}" if kind else cx


def _title(study: Study, defaults: PublicationDefaults) -> str:
    if not defaults.title_from_study:
        return defaults.title
    procedure = study.procedure_code.display if study.procedure_code else ""
    return procedure or study.description or defaults.title


def type_code(study: Study, defaults: PublicationDefaults) -> Code:
    """typeCode: the procedure code of the images where its scheme is one that others can know, else the default."""
    code = study.procedure_code
    if defaults.type_from_procedure and code is not None and is_oid(code.scheme):
        return code
    return defaults.type_code
