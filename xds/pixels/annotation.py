"""What is written into a rendered image: whose it is, and how it was made. Runs in worker processes.

The letters at hand are those of ASCII: accents are dropped, and a character of another script stands as a question mark. Of a
person name the alphabetic group is written.

Spec: DICOM PS3.18 8.3.5.1.1 (annotation), 9.5.1.2.1.
"""

from __future__ import annotations

import unicodedata
from typing import Any, Final

from PIL import ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.valuerep import PersonName

#: Height of a line in relation to the shorter side of the image, and the least that can be read.
_LINE: Final = 1 / 28
_LEAST: Final = 9
_MARGIN: Final = 4
#: Characters of a value that are written.
_MAX_VALUE: Final = 64

_PATIENT: Final = (("PatientName", ""), ("PatientID", ""), ("PatientBirthDate", "* "), ("PatientSex", ""))
_TECHNIQUE: Final = (
    ("Modality", ""),
    ("StudyDate", ""),
    ("StudyDescription", ""),
    ("SeriesDescription", ""),
    ("BodyPartExamined", ""),
    ("KVP", "kV "),
    ("XRayTubeCurrent", "mA "),
    ("ExposureTime", "ms "),
    ("SliceThickness", "mm "),
    ("MagneticFieldStrength", "T "),
    ("RepetitionTime", "TR "),
    ("EchoTime", "TE "),
)
_LINES: Final = {"patient": _PATIENT, "technique": _TECHNIQUE}


def annotated(picture: Any, dataset: Dataset, keywords: tuple[str, ...]) -> Any:
    """The picture with these annotations burnt in: of the patient at the top left, of the technique at the bottom left."""
    height = max(_LEAST, round(min(picture.size) * _LINE))
    font = ImageFont.load_default(height)
    step = round(height * 1.2)
    for keyword in keywords:
        lines = _lines(dataset, keyword)
        top = _MARGIN if keyword == "patient" else picture.height - _MARGIN - step * len(lines)
        _write(picture, lines, max(0, top), step, font)
    return picture


def _lines(dataset: Dataset, keyword: str) -> list[str]:
    texts = ((prefix, _text(dataset.get(name))) for name, prefix in _LINES[keyword])
    return [prefix + text for prefix, text in texts if text]


def _text(value: Any) -> str:
    text = str(value if value is not None else "")
    if isinstance(value, PersonName):
        text = text.split("=")[0].replace("^", " ")
    return plain_text(" ".join(text.split())[:_MAX_VALUE])


def plain_text(text: str) -> str:
    """What can be written of a line of text."""
    plain = unicodedata.normalize("NFKD", text)
    kept = (character for character in plain if not unicodedata.combining(character))
    return "".join(character if " " <= character <= "~" else "?" for character in kept)


def _write(picture: Any, lines: list[str], top: int, step: int, font: Any) -> None:
    white, black = (255, 0) if picture.mode == "L" else ((255, 255, 255), (0, 0, 0))
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        place = (_MARGIN, top + number * step)
        draw.text(place, line, fill=white, font=font, stroke_width=1, stroke_fill=black)
