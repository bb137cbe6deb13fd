"""What the establishments of the demo region produced: imaging studies, their reports, and letters, as data."""

from __future__ import annotations

from dataclasses import dataclass

from xds.demo.region import uid_of
from xds.model.metadata import Code
from xds.model.vocabulary import LOINC


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """One series: the packaged DICOM file that its images are copies of, and how many."""

    source: str
    images: int = 1
    description: str = ""


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """One imaging study of a patient (number and establishment); `moment` is local time, `YYYYMMDDHHMMSS`."""

    key: str
    patient: int
    establishment: str
    moment: str
    description: str
    procedure: Code
    series: tuple[SeriesPlan, ...]
    report: str = ""

    @property
    def study_instance_uid(self) -> str:
        return uid_of(f"study {self.key}")

    @property
    def accession_number(self) -> str:
        return f"ACC{self.key}"


def _procedure(name: str) -> Code:
    return Code(name.upper().replace(" ", "-"), "2.999.101", name)


_NOTHING_ACUTE = "No acute finding. Comparison with earlier examinations is advised."

STUDIES: tuple[StudyPlan, ...] = (
    StudyPlan(
        "2601",
        1,
        "A",
        "20260310091500",
        "CT of the chest",
        _procedure("CT Chest"),
        (SeriesPlan("CT_small.dcm", 4, "Axial"), SeriesPlan("693_J2KI.dcm", 2, "Axial, JPEG 2000"), SeriesPlan("test-SR.dcm")),
        "Nodule of 4 mm in the right upper lobe. Control in twelve months.",
    ),
    StudyPlan(
        "2602",
        1,
        "C",
        "20260522143000",
        "MR of the knee",
        _procedure("MR Knee"),
        (SeriesPlan("MR_small.dcm", 3, "T1 sagittal"), SeriesPlan("MR_small_RLE.dcm", 3, "T2 coronal, RLE")),
        "Tear of the medial meniscus, posterior horn.",
    ),
    StudyPlan(
        "2603",
        2,
        "C",
        "20260114103000",
        "MR of the brain",
        _procedure("MR Brain"),
        (
            SeriesPlan("MR_small_implicit.dcm", 2, "FLAIR"),
            SeriesPlan("MR_small_jp2klossless.dcm", 2, "Diffusion, JPEG 2000 lossless"),
            SeriesPlan("MR_small_jpeg_ls_lossless.dcm", 2, "Susceptibility, JPEG-LS"),
        ),
        "Age-related white matter changes. No ischaemic lesion.",
    ),
    StudyPlan(
        "2604",
        3,
        "B",
        "20260227080000",
        "Ultrasound of the abdomen",
        _procedure("US Abdomen"),
        (SeriesPlan("examples_palette.dcm", 1, "Liver"), SeriesPlan("examples_rgb_color.dcm", 1, "Doppler")),
        "Liver and biliary tract without particularity.",
    ),
    StudyPlan(
        "2605",
        4,
        "A",
        "20260401160000",
        "Radiotherapy dose",
        _procedure("RT Dosimetry"),
        (SeriesPlan("rtdose.dcm", 1, "Dose"),),
    ),
    StudyPlan(
        "2606",
        5,
        "C",
        "20260609113000",
        "MR of the lumbar spine",
        _procedure("MR Lumbar spine"),
        (SeriesPlan("MR_small_bigendian.dcm", 2, "T2 sagittal, big endian"),),
        "Disc protrusion L4-L5 without conflict.",
    ),
    StudyPlan(
        "2607",
        8,
        "A",
        "20260703094500",
        "Bone scan",
        _procedure("NM Bone scan"),
        (SeriesPlan("JPGExtended.dcm", 1, "Static, JPEG extended"),),
    ),
    StudyPlan(
        "2608",
        10,
        "B",
        "20260818101500",
        "CT of the abdomen",
        _procedure("CT Abdomen"),
        (SeriesPlan("CT_small.dcm", 2, "Portal phase"), SeriesPlan("liver_1frame.dcm", 1, "Segmentation of the liver")),
        _NOTHING_ACUTE,
    ),
    StudyPlan(
        "2609",
        10,
        "D",
        "20260902083000",
        "12-lead ECG",
        _procedure("ECG at rest"),
        (SeriesPlan("waveform_ecg.dcm", 1, "Rest"),),
    ),
    StudyPlan(
        "2610",
        12,
        "B",
        "20260915154500",
        "Photographs of a lesion",
        _procedure("Photographs"),
        (SeriesPlan("SC_rgb_jpeg_dcmtk.dcm", 2, "JPEG baseline"), SeriesPlan("image_dfl.dcm", 1, "Deflated")),
    ),
    StudyPlan(
        "2611",
        22,
        "C",
        "20261006090000",
        "CT of the head",
        _procedure("CT Head"),
        (SeriesPlan("J2K_pixelrep_mismatch.dcm", 2, "Axial, JPEG 2000 lossless"),),
        _NOTHING_ACUTE,
    ),
    StudyPlan(
        "2612",
        34,
        "A",
        "20261020111500",
        "CT of the chest, follow-up",
        _procedure("CT Chest"),
        (SeriesPlan("CT_small.dcm", 3, "Axial"), SeriesPlan("reportsi.dcm")),
        _NOTHING_ACUTE,
    ),
)


@dataclass(frozen=True, slots=True)
class LetterPlan:
    """One clinical document in CDA R2: `type_code` is its LOINC code, `moment` is UTC."""

    key: str
    patient: int
    establishment: str
    moment: str
    title: str
    type_code: Code
    paragraphs: tuple[str, ...]


LETTERS: tuple[LetterPlan, ...] = (
    LetterPlan(
        "discharge-1",
        1,
        "B",
        "20260604110000",
        "Discharge summary",
        Code("18842-5", LOINC, "Discharge summary"),
        ("Arthroscopy of the left knee without incident.", "Physiotherapy for six weeks."),
    ),
    LetterPlan(
        "consultation-3",
        3,
        "D",
        "20260211090000",
        "Consultation note",
        Code("11488-4", LOINC, "Consult note"),
        ("Abdominal pain for two weeks.", "Ultrasound requested."),
    ),
    LetterPlan(
        "consultation-10",
        10,
        "D",
        "20260902090000",
        "Consultation note",
        Code("11488-4", LOINC, "Consult note"),
        ("Palpitations on effort; sinus rhythm on the ECG.",),
    ),
    LetterPlan(
        "discharge-13",
        13,
        "A",
        "20260712150000",
        "Discharge summary",
        Code("18842-5", LOINC, "Discharge summary"),
        ("Fracture of the distal radius, closed reduction.", "Control at ten days."),
    ),
    LetterPlan(
        "operation-17",
        17,
        "B",
        "20260505173000",
        "Operative note",
        Code("11504-8", LOINC, "Surgical operation note"),
        ("Laparoscopic appendicectomy, uneventful.",),
    ),
    LetterPlan(
        "summary-37",
        37,
        "D",
        "20261012080000",
        "Patient summary",
        Code("60591-5", LOINC, "Patient summary Document"),
        ("Type 2 diabetes since 2011, treated by metformin.", "No known allergy."),
    ),
)
