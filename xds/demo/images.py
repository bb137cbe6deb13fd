"""Images of the demo region: DICOM files that pydicom brings, given to the region's patients.

Pixel data and transfer syntax stay as they are; patient, study and identifiers are rewritten, the latter derived from the plan,
so that every machine makes the same images.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset, FileDataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.sequence import Sequence

from xds.demo.content import SeriesPlan, StudyPlan
from xds.demo.region import Registration, registration, uid_of

_PATIENT_GROUP = 0x0010


def images(plan: StudyPlan) -> Iterator[FileDataset]:
    """Every image of a study, in the order of series and instances."""
    for number, series in enumerate(plan.series, start=1):
        for image in range(1, series.images + 1):
            yield _image(plan, series, number, image)


def _image(plan: StudyPlan, series: SeriesPlan, series_number: int, number: int) -> FileDataset:
    path = get_testdata_file(series.source, download=False)
    if not isinstance(path, str):
        raise FileNotFoundError(f"pydicom does not bring {series.source}")
    image = dcmread(path)
    _put_patient(image, registration(plan.patient, plan.establishment))
    _put_study(image, plan)
    name = f"study {plan.key} series {series_number}"
    image.SeriesInstanceUID = uid_of(name)
    image.SeriesNumber = series_number
    image.SeriesDescription = series.description or plan.description
    image.InstanceNumber = number
    image.SOPInstanceUID = uid_of(f"{name} image {number}")
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    return image


def _put_patient(image: Dataset, patient: Registration) -> None:
    for tag in [element.tag for element in image if element.tag.group == _PATIENT_GROUP]:
        del image[tag]
    image.SpecificCharacterSet = "ISO_IR 192"
    image.PatientName = patient.dicom_name
    image.PatientID = patient.identifier.value
    image.IssuerOfPatientID = patient.establishment.namespace
    image.IssuerOfPatientIDQualifiersSequence = Sequence([_authority(patient.establishment.oid)])
    image.PatientBirthDate = patient.demographics.birth_date
    image.PatientSex = patient.demographics.sex


def _put_study(image: Dataset, plan: StudyPlan) -> None:
    place = registration(plan.patient, plan.establishment).establishment
    date, time = plan.moment[:8], plan.moment[8:]
    image.StudyInstanceUID = plan.study_instance_uid
    image.StudyID = plan.key
    image.StudyDescription = plan.description
    image.StudyDate = image.SeriesDate = image.ContentDate = image.InstanceCreationDate = date
    image.StudyTime = image.SeriesTime = image.ContentTime = image.InstanceCreationTime = time
    image.AccessionNumber = plan.accession_number
    image.IssuerOfAccessionNumberSequence = Sequence([_authority(place.oid)])
    image.ReferringPhysicianName = "Duval^Claire"
    image.InstitutionName = place.name
    procedure = Dataset()
    procedure.CodeValue = plan.procedure.code[:16]
    procedure.CodingSchemeDesignator = "99DEMO"
    procedure.CodingSchemeUID = plan.procedure.scheme
    procedure.CodeMeaning = plan.procedure.display
    image.ProcedureCodeSequence = Sequence([procedure])


def _authority(oid: str) -> Dataset:
    item = Dataset()
    item.UniversalEntityID = oid
    item.UniversalEntityIDType = "ISO"
    return item
