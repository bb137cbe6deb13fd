"""Grayscale softcopy presentation states to show images by."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

GRAYSCALE = "1.2.840.10008.5.1.4.1.1.11.1"


def item(**attributes: Any) -> Dataset:
    """An item of a sequence."""
    made = Dataset()
    set_all(made, attributes)
    return made


def set_all(dataset: Dataset, attributes: dict[str, Any]) -> None:
    """Give a data set these attributes; None is none."""
    for name, value in attributes.items():
        if name == "OverlayRows":
            dataset.add_new(0x60000010, "US", value)
        elif name == "LUTDescriptor":
            dataset.add_new(0x00283002, "SS" if min(value) < 0 else "US", value)
        elif name == "LUTData":
            dataset.add_new(0x00283006, "OW", struct.pack(f"<{len(value)}H", *value))
        elif value is not None:
            setattr(
                dataset, name, Sequence(value) if isinstance(value, list) and value and isinstance(value[0], Dataset) else value
            )


def presentation_state(image: Dataset, uid: str = "1.2.826.9.1.1", **attributes: Any) -> Dataset:
    """A state of one image, in its study and a series of its own."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    reference = item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)
    series = item(SeriesInstanceUID=image.SeriesInstanceUID, ReferencedImageSequence=[reference])
    for name in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "StudyTime"):
        setattr(made, name, image.get(name, ""))
    standard = {
        "SOPClassUID": GRAYSCALE,
        "SOPInstanceUID": uid,
        "SeriesInstanceUID": f"{uid}.1",
        "Modality": "PR",
        "PresentationLUTShape": "IDENTITY",
        "ReferencedSeriesSequence": [series],
    }
    set_all(made, standard | attributes)
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = made.SOPClassUID, made.SOPInstanceUID
    return made


def as_file(dataset: Dataset) -> bytes:
    """A data set as a Part 10 file."""
    written = BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()
