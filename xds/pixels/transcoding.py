"""Part 10 files in other transfer syntaxes, and single frames. Runs in worker processes.

Only the elements that describe the pixels change with them: never a UID, never a value of the patient.

Spec: DICOM PS3.5 8.2 and A.4 (encapsulated pixels), PS3.3 C.7.6.3 (image pixel), PS3.18 8.7.3.5.2 (frames).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom import Dataset, config, dcmread, dcmwrite
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder, get_encoder
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from xds.pixels import extended_jpeg
from xds.pixels.jobs import PixelError

config.settings.reading_validation_mode = config.IGNORE
config.settings.writing_validation_mode = config.IGNORE
extended_jpeg.install()

_NATIVE: Final = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
#: Encapsulated Uncompressed Explicit VR Little Endian.
_ENCAPSULATED: Final = UID("1.2.840.10008.1.2.1.98")
#: What codecs raise when they do not understand a frame.
REFUSED: Final = (ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, RuntimeError, NotImplementedError)
#: Values of 16 bits and more that pydicom keeps as octets, and the width of one.
_WIDTHS: Final = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
#: Pixels that decoding put into another photometric interpretation are described anew.
_DESCRIBING: Final = ("PhotometricInterpretation", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation")


def transcode(source: Path, output: Path, target: str) -> None:
    """Write the object of `source` to `output` in the transfer syntax `target`.

    Errors: PixelError when there is no way from the one to the other.
    """
    write(read(source), output, UID(target))


def write(dataset: Dataset, output: Path, wanted: UID) -> None:
    """Write a data set in the transfer syntax `wanted`; it is not to be used any more then. Errors: PixelError."""
    if wanted == ExplicitVRBigEndian:
        raise PixelError(f"transfer syntax {wanted} is retired and not written")
    if wanted not in _NATIVE and "PixelData" not in dataset:
        raise PixelError("an object without pixels has no compressed form")
    make_native(dataset)
    if wanted not in _NATIVE:
        _encode(dataset, wanted)
    else:
        dataset.file_meta.TransferSyntaxUID = wanted
    # Elements that pydicom has not looked at yet would be written as they were read, whatever the encoding.
    for _ in dataset.iterall():
        pass
    dcmwrite(output, dataset, implicit_vr=wanted == ImplicitVRLittleEndian, little_endian=True, force_encoding=True)


def make_native(dataset: Dataset) -> None:
    """Decode the pixels, and turn what is big-endian around. Errors: PixelError."""
    stored = dataset.file_meta.TransferSyntaxUID
    if stored not in _NATIVE:
        _decode(dataset)
    elif stored == ExplicitVRBigEndian:
        _swap(dataset)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def frames(source: Path, output: Path, numbers: Sequence[int]) -> list[int]:
    """Write these frames (from 1), decoded, to `output` one after the other, and return their lengths in octets.

    Errors: PixelError for a frame that is not there.
    """
    dataset = read(source)
    _check_frames(dataset, numbers)
    lengths = []
    with output.open("wb") as file:
        for number in numbers:
            octets = _frame(dataset, number - 1)
            lengths.append(file.write(octets))
    return lengths


def read(source: Path) -> Dataset:
    """The object with everything in it. Errors: PixelError when it is no Part 10 file with a transfer syntax."""
    dataset = dcmread(source)
    if not dataset.file_meta.get("TransferSyntaxUID"):
        raise PixelError("the object does not tell its transfer syntax")
    if dataset.file_meta.TransferSyntaxUID == _ENCAPSULATED and "PixelData" in dataset:
        _unpack(dataset)
    return dataset


def _unpack(dataset: Dataset) -> None:
    """Native frames that stand in fragments, as native pixels. Spec: PS3.5 A.4.11. Errors: PixelError."""
    size = int(dataset.Rows) * int(dataset.Columns) * int(dataset.SamplesPerPixel) * int(dataset.BitsAllocated) // 8
    count = frame_count(dataset)
    found = list(generate_frames(dataset.PixelData, number_of_frames=count))
    if len(found) != count or any(len(octets) < size for octets in found):
        raise PixelError("Pixel Data is shorter than its frames")
    # A fragment of an odd length has an octet more.
    _replace_pixels(dataset, b"".join(octets[:size] for octets in found))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def frame_count(dataset: Dataset) -> int:
    """How many frames the object says it has; at least one."""
    return max(1, int(dataset.get("NumberOfFrames") or 1))


def array(dataset: Dataset, index: int, *, as_rgb: bool = True) -> tuple[Any, dict[str, Any]]:
    """One frame (from 0) as an array, and how its pixels are to be read after decoding.

    Errors: PixelError when no decoder is for its transfer syntax; what decoders raise.
    """
    failure: Exception | None = None
    for plugin in _plugins(_decoder(dataset)):
        try:
            pixels, description = _decoder(dataset).as_array(dataset, index=index, as_rgb=as_rgb, decoding_plugin=plugin)
        except REFUSED as problem:
            # Another codec may bear what this one does not.
            failure = failure or problem
        else:
            return pixels, description
    raise failure or PixelError("the object has no decoder")


def _decoder(dataset: Dataset) -> Any:
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise PixelError(f"transfer syntax {syntax} cannot be decoded here") from None
    if not decoder.is_available:
        raise PixelError(f"transfer syntax {syntax} cannot be decoded here")
    return decoder


def _plugins(decoder: Any) -> tuple[str, ...]:
    """The codecs to try, in order; the native syntaxes have none (an empty name lets pydicom decide)."""
    return tuple(decoder.available_plugins) or ("",)


def _check_frames(dataset: Dataset, numbers: Sequence[int]) -> None:
    count = frame_count(dataset)
    missing = [number for number in numbers if not 1 <= number <= count]
    if missing:
        raise PixelError(f"frame {missing[0]} does not exist: the object has {count}")


def _frame(dataset: Dataset, index: int) -> bytes:
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == ExplicitVRBigEndian or syntax not in _NATIVE:
        found, _ = array(dataset, index, as_rgb=False)
        return bytes(_little(found).tobytes())
    # As it is stored: whoever asks reads it with the planar configuration and bits of the metadata.
    return bytes(_decoder(dataset).as_buffer(dataset, index=index)[0])


def _little(pixels: Any) -> Any:
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)


def _decode(dataset: Dataset) -> None:
    if "PixelData" not in dataset:
        return
    pieces: list[bytes] = []
    for index in range(frame_count(dataset)):
        pixels, description = array(dataset, index)
        pieces.append(_little(pixels).tobytes())
    for name in _DESCRIBING:
        value = description.get(_name_of(name))
        if value is not None:
            setattr(dataset, name, value)
    if int(dataset.SamplesPerPixel) > 1:
        dataset.PlanarConfiguration = description["planar_configuration"]
    _replace_pixels(dataset, b"".join(pieces))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def _name_of(keyword: str) -> str:
    """An attribute's keyword as the decoders write it: BitsAllocated -> bits_allocated."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in keyword).lstrip("_")


def _replace_pixels(dataset: Dataset, octets: bytes) -> None:
    element = dataset["PixelData"]
    element.value = octets + b"\0" * (len(octets) % 2)
    element.is_undefined_length = False
    element.VR = "OB" if int(dataset.BitsAllocated) <= 8 else "OW"
    for tag in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if tag in dataset:
            delattr(dataset, tag)


def _swap(dataset: Dataset) -> None:
    """Turn around the octets of a big-endian object that pydicom keeps as they are; all else it writes anew by itself.

    Spec: PS3.5 8.1.1, Annex D: OW is a sequence of words also where a sample has 8 bits.
    """
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                _swap(item)
        elif element.VR in _WIDTHS and isinstance(element.value, bytes):
            width = _WIDTHS[element.VR]
            if element.keyword == "PixelData" and int(dataset.get("BitsAllocated", 16)) > 16:
                width = int(dataset.BitsAllocated) // 8
            usable = len(element.value) // width * width
            turned = np.frombuffer(element.value[:usable], f">u{width}").astype(f"<u{width}").tobytes()
            element.value = turned + element.value[usable:]


def _encode(dataset: Dataset, target: UID) -> None:
    try:
        encoder = get_encoder(target)
    except NotImplementedError:
        raise PixelError(f"transfer syntax {target} cannot be written here") from None
    if not encoder.is_available:
        raise PixelError(f"transfer syntax {target} cannot be written here")
    if "NumberOfFrames" in dataset and not dataset.NumberOfFrames:
        del dataset.NumberOfFrames
    failure: Exception | None = None
    octets, syntax = dataset.PixelData, dataset.file_meta.TransferSyntaxUID
    for plugin in _safe(encoder.available_plugins):
        try:
            dataset.compress(target, encoding_plugin=plugin, generate_instance_uid=False)
        except REFUSED as problem:
            failure = failure or problem
            dataset.PixelData, dataset.file_meta.TransferSyntaxUID = octets, syntax
        else:
            return
    raise PixelError(f"the pixels of this object have no form in transfer syntax {target}") from failure


def _safe(plugins: Sequence[str]) -> list[str]:
    """Codecs to write with: GDCM last, which crashes on images of an odd number of columns."""
    return sorted(plugins, key=lambda name: name == "gdcm")
