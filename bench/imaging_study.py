"""A CT study of synthetic slices, as files: noise and gradients of 512 by 512 with the headers of a scanner."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

_CT = "1.2.840.10008.5.1.4.1.1.2"
_SIDE = 512


def write(directory: Path, slices: int, parts: int) -> Sequence[Path]:
    """One study of so many slices in one series, its files dealt to `parts` folders; the folders."""
    draw = random.Random(str(directory))
    study = f"2.25.{draw.getrandbits(100)}"
    series = f"{study}.1"
    noise = draw.randbytes(2 * _SIDE * _SIDE + 2 * slices)
    folders = [directory / str(part) for part in range(parts)]
    for folder in folders:
        folder.mkdir(parents=True)
    for number in range(slices):
        image = _header(study, series, number, draw)
        image.PixelData = _pixels(noise, number)
        image.save_as(folders[number % parts] / f"{number:05d}.dcm", enforce_file_format=True)
    return folders


def _pixels(noise: bytes, number: int) -> bytes:
    return noise[2 * number : 2 * number + 2 * _SIDE * _SIDE]


def _header(study: str, series: str, number: int, draw: random.Random) -> Dataset:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = _CT
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = f"{series}.{number + 1}"
    image.SpecificCharacterSet = "ISO_IR 100"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = "20260110"
    image.StudyTime = image.SeriesTime = image.AcquisitionTime = image.ContentTime = "091500.000"
    image.AccessionNumber = study[-12:]
    image.Modality = "CT"
    image.Manufacturer, image.ManufacturerModelName = "Bench", "Scanner 64"
    image.InstitutionName, image.StationName = "Centre hospitalier", "CT1"
    image.ReferringPhysicianName, image.StudyDescription, image.SeriesDescription = "Durand^Marie", "Thorax", "Axial 1.0"
    image.PatientName, image.PatientID, image.PatientBirthDate, image.PatientSex = "MARTIN^Claire", study[-10:], "19610412", "F"
    image.BodyPartExamined, image.KVP, image.SliceThickness, image.ConvolutionKernel = "CHEST", "120", "1.0", "B30f"
    image.ExposureTime, image.XRayTubeCurrent, image.PatientPosition = "500", str(draw.randrange(100, 400)), "HFS"
    image.StudyInstanceUID, image.SeriesInstanceUID, image.StudyID = study, series, "1"
    image.FrameOfReferenceUID = f"{study}.2"
    image.SeriesNumber, image.InstanceNumber, image.AcquisitionNumber = 1, number + 1, 1
    image.ImagePositionPatient = ["-180", "-180", f"{-number}.0"]
    image.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    image.SliceLocation, image.PixelSpacing = f"{-number}.0", ["0.703125", "0.703125"]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows = image.Columns = _SIDE
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.WindowCenter, image.WindowWidth, image.RescaleIntercept, image.RescaleSlope = "40", "400", "-1024", "1"
    return image
