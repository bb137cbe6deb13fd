"""Images without whose they are. Runs in worker processes.

What is not known to be harmless does not stay: of the attributes those that describe pixels, geometry and acquisition in numbers
and defined terms are kept, everything else is absent or empty. UIDs become others, the same ones for the same object.

Writing in the pixels cannot be recognised here. Images are given when their source says that there is none, and those of scanners
that write none; all others are refused. Pixels are written anew from their values: comments of a codec and unused bits are gone.

Spec: DICOM PS3.18 9.4.1.2.1; PS3.15 E.1 (Basic Profile), E.3.1 (Clean Pixel Data Option).
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID, ExplicitVRLittleEndian

from xds.pixels.jobs import PixelError
from xds.pixels.transcoding import frame_count, make_native, read, write

#: CT, MR and PET, classic and enhanced: scanners that burn nothing into what they acquire.
_SCANNERS: Final = frozenset(f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2", "2.1", "4", "4.1", "128", "130"))
_GROUPS: Final = frozenset({0x0018, 0x0020, 0x0022, 0x0028, 0x0054, 0x5200})
_VRS: Final = frozenset({"US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "DS", "IS", "CS", "AT"})
#: Further attributes that are kept, of any group.
_KEPT: Final = frozenset(
    {0x00080008, 0x00080060, 0x00080064, 0x00089205, 0x00089206, 0x00089207, 0x00089208, 0x00089209}
    | {0x00281101, 0x00281102, 0x00281103, 0x00281201, 0x00281202, 0x00281203, 0x00283002, 0x00283006}
)
#: Present and empty: type 2 of modules that every image has. Spec: PS3.3 C.7.1.1, C.7.2.1, C.7.4.1, C.7.5.1.
_EMPTIED: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "Manufacturer",
    "PositionReferenceIndicator",
)
_UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
_STANDARD: Final = "1.2.840.10008."
_RESCALE_TYPES: Final = frozenset({"HU", "US", "OD", "HGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT"})
_SCHEMES: Final = frozenset({"DCM", "SCT", "SRT", "UCUM"})
_CODE: Final = re.compile(r"[A-Za-z0-9./%\-]{1,16}\Z")
_MAX_DEPTH: Final = 16


def anonymize(source: Path, output: Path, target: str, key: str) -> None:
    """Write the image of `source` without whose it is to `output`, in the transfer syntax `target`.

    `key` decides which UIDs others become. Errors: PixelError when it cannot be known that nothing is left.
    """
    dataset = read(source)
    _check(dataset)
    make_native(dataset)
    made = _kept(dataset, key, 0)
    made.PixelData = _pixels(dataset)
    made["PixelData"].VR = "OB" if int(dataset.BitsAllocated) <= 8 else "OW"
    made.SOPClassUID = dataset.SOPClassUID
    for name in _UIDS:
        if dataset.get(name):
            setattr(made, name, _other(str(dataset[name].value), key))
    for name in _EMPTIED:
        setattr(made, name, "")
    if str(dataset.get("RescaleType") or "") in _RESCALE_TYPES:
        made.RescaleType = dataset.RescaleType
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = "PS3.15 Basic Application Confidentiality Profile"
    codes = (("113100", "Basic Application Confidentiality Profile"), ("113101", "Clean Pixel Data Option"))
    made.DeidentificationMethodCodeSequence = Sequence(_coded("DCM", *code) for code in codes)
    made.BurnedInAnnotation = "NO"
    made.LongitudinalTemporalInformationModified = "REMOVED"
    made.file_meta = FileMetaDataset()
    made.file_meta.FileMetaInformationGroupLength = 0  # what it is becomes known when it is written
    made.file_meta.FileMetaInformationVersion = b"\0\1"
    made.file_meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.preamble = b"\0" * 128
    write(made, output, UID(target))


def _check(dataset: Dataset) -> None:
    """Errors: PixelError for an object of which it cannot be known that its pixels name nobody."""
    if "PixelData" not in dataset:
        raise PixelError("only images are given without whose they are")
    stated = str(dataset.get("BurnedInAnnotation") or "")
    is_acquired = str(dataset.SOPClassUID) in _SCANNERS and _first(dataset.get("ImageType")) == "ORIGINAL"
    if stated != "NO" and not (stated == "" and is_acquired):
        raise PixelError("nobody says that there is no writing in the pixels of this image")
    if int(dataset.HighBit) != int(dataset.BitsStored) - 1:
        raise PixelError("the pixels of this image have bits of other use")


def _first(value: Any) -> str:
    return str(value if isinstance(value, str) else next(iter(value or ()), ""))


def _pixels(dataset: Dataset) -> bytes:
    """The values of the pixels and nothing beside them: unused bits may hold overlays, octets behind the last pixel anything."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    count = int(dataset.Rows) * int(dataset.Columns) * int(dataset.SamplesPerPixel) * frame_count(dataset)
    size = (count * allocated + 7) // 8
    octets = bytes(dataset.PixelData[:size])
    if len(octets) < size:
        raise PixelError("the image has fewer pixels than it says")
    if stored < allocated:
        if allocated not in (8, 16, 32):
            raise PixelError("the pixels of this image have bits of other use")
        has_sign = int(dataset.get("PixelRepresentation") or 0) == 1
        values = np.frombuffer(octets, f"<{'i' if has_sign else 'u'}{allocated // 8}")
        # To the left and back again: the unused bits become those of the sign.
        octets = ((values << (allocated - stored)) >> (allocated - stored)).astype(values.dtype).tobytes()
    return octets + b"\0" * (len(octets) % 2)


def _kept(dataset: Dataset, key: str, depth: int) -> Dataset:
    """What may stay of a data set."""
    made = Dataset()
    if depth > _MAX_DEPTH:
        return made
    for element in dataset:
        if element.tag.is_private or not (element.tag.group in _GROUPS or int(element.tag) in _KEPT):
            continue
        if element.VR == "SQ":
            items = [_code(item) or _kept(item, key, depth + 1) for item in element.value]
            if any(len(item) for item in items):
                made.add(DataElement(element.tag, "SQ", Sequence(items)))
        elif element.VR == "UI":
            uids = [element.value] if isinstance(element.value, str) else list(element.value or ())
            made.add(DataElement(element.tag, "UI", [_other(str(uid), key) for uid in uids]))
        elif element.VR in _VRS or int(element.tag) in _KEPT:
            made.add(DataElement(element.tag, element.VR, element.value))
    return made


def _code(item: Dataset) -> Dataset | None:
    """A code of a terminology that everybody has; its meaning could be any text, and is the code itself."""
    scheme, value = str(item.get("CodingSchemeDesignator") or ""), str(item.get("CodeValue") or "")
    return _coded(scheme, value, value) if scheme in _SCHEMES and _CODE.match(value) else None


def _coded(scheme: str, value: str, meaning: str) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, meaning
    return made


def _other(uid: str, key: str) -> str:
    if not uid or uid.startswith(_STANDARD):
        return uid
    digest = hashlib.sha256(f"{key} {uid}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
