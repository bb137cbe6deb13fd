"""Structured reports and encapsulated documents in forms that a browser shows. Runs in worker processes.

A structured report is written as its content tree says: containers are headings, every other item is a line of its concept name
and its value. A reference to another object stands as its SOP Instance UID.

Spec: DICOM PS3.18 8.7.4 (rendered media types of texts); PS3.3 C.17.3 (content items), C.24.2 (encapsulated documents).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from pydicom import Dataset
from pydicom.valuerep import PersonName

from xds.pixels.jobs import PixelError

#: Items of a tree, and how deep it may be.
_MAX_ITEMS: Final = 100_000
_MAX_DEPTH: Final = 64
_HEADINGS: Final = 6
_REFERENCES: Final = frozenset({"IMAGE", "COMPOSITE", "WAVEFORM"})
_VALUES: Final = {"TEXT": "TextValue", "DATE": "Date", "TIME": "Time", "DATETIME": "DateTime", "UIDREF": "UID"}
_HEAD: Final = (
    ("Patient", "PatientName"),
    ("Patient ID", "PatientID"),
    ("Birth date", "PatientBirthDate"),
    ("Sex", "PatientSex"),
    ("Study", "StudyDescription"),
    ("Date", "ContentDate"),
    ("Time", "ContentTime"),
    ("Institution", "InstitutionName"),
    ("Completion", "CompletionFlag"),
    ("Verification", "VerificationFlag"),
)


@dataclass(frozen=True, slots=True)
class _Line:
    """A content item: how deep it stands, what it is about, what it says; `is_heading` for a container."""

    depth: int
    name: str
    value: str
    is_heading: bool = False


def write_document(dataset: Dataset, media_type: str) -> bytes:
    """The document in that media type. Errors: PixelError when it has no such form."""
    if "EncapsulatedDocument" in dataset:
        return _encapsulated(dataset, media_type)
    if "ValueType" not in dataset:
        raise PixelError("the object has neither an image nor a text")
    head = [(label, _shown(dataset.get(name))) for label, name in _HEAD]
    lines = list(_walk(dataset, 0, [0]))
    if media_type == "text/html":
        return _as_html([item for item in head if item[1]], lines).encode("utf-8")
    if media_type == "text/plain":
        return _as_text([item for item in head if item[1]], lines).encode("utf-8")
    raise PixelError(f"structured reports are not given as {media_type}")


def _encapsulated(dataset: Dataset, media_type: str) -> bytes:
    stated = str(dataset.get("MIMETypeOfEncapsulatedDocument") or "").strip().lower()
    if stated and stated != media_type and not {stated, media_type} <= {"text/xml", "application/xml"}:
        raise PixelError(f"the object holds a document of type {stated[:64]}")
    octets = bytes(dataset.EncapsulatedDocument or b"")
    length = dataset.get("EncapsulatedDocumentLength")
    # Without a length nobody knows whether a last zero octet belongs to the document: no text and no PDF ends with one.
    return octets[: int(length)] if length and 0 < int(length) <= len(octets) else octets.rstrip(b"\0")


def _walk(item: Dataset, depth: int, seen: list[int]) -> Iterator[_Line]:
    seen[0] += 1
    if depth > _MAX_DEPTH or seen[0] > _MAX_ITEMS:
        raise PixelError("the content of the report is nested too deep, or too long")
    kind = str(item.get("ValueType") or "")
    name = _code(item, "ConceptNameCodeSequence")
    if kind == "CONTAINER":
        yield _Line(depth, name or "Report" if depth == 0 else name, "", is_heading=True)
    else:
        yield _Line(depth, name, _value(item, kind))
    for child in item.get("ContentSequence") or ():
        yield from _walk(child, depth + 1, seen)


def _value(item: Dataset, kind: str) -> str:
    if kind in _VALUES:
        return _shown(item.get(_VALUES[kind]))
    if kind == "PNAME":
        return _shown(item.get("PersonName"))
    if kind == "CODE":
        return _code(item, "ConceptCodeSequence")
    if kind == "NUM":
        measured = (item.get("MeasuredValueSequence") or [Dataset()])[0]
        unit = (measured.get("MeasurementUnitsCodeSequence") or [Dataset()])[0]
        return f"{_shown(measured.get('NumericValue'))} {_shown(unit.get('CodeValue'))}".strip()
    if kind in _REFERENCES:
        referred = (item.get("ReferencedSOPSequence") or [Dataset()])[0]
        return f"{kind.lower()} {_shown(referred.get('ReferencedSOPInstanceUID'))}"
    if "ReferencedContentItemIdentifier" in item:
        return "see " + ".".join(str(number) for number in _several(item.ReferencedContentItemIdentifier))
    return kind.lower()


def _several(value: Any) -> list[Any]:
    return list(value) if not isinstance(value, str) and hasattr(value, "__iter__") else [value]


def _code(item: Dataset, keyword: str) -> str:
    code = (item.get(keyword) or [Dataset()])[0]
    return _shown(code.get("CodeMeaning") or code.get("CodeValue") or code.get("LongCodeValue") or code.get("URNCodeValue"))


def _shown(value: Any) -> str:
    text = "" if value is None else str(value)
    if isinstance(value, PersonName):
        first, *others = (" ".join(group.replace("^", " ").split()) for group in text.split("="))
        named = [group for group in others if group]
        text = f"{first} ({', '.join(named)})" if first and named else first or ", ".join(named)
    # Letters that neither XML nor a terminal takes.
    return "".join(letter for letter in text if letter >= " " or letter in "\t\n\r").strip()


def _as_html(head: list[tuple[str, str]], lines: list[_Line]) -> str:
    title = escape(lines[0].name or "Report")
    rows = "".join(f"<tr><th>{escape(label)}</th><td>{escape(text)}</td></tr>\n" for label, text in head)
    body = "".join(map(_html_line, lines))
    return (
        f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body>\n<table>\n{rows}</table>\n{body}</body></html>\n"
    )


def _html_line(line: _Line) -> str:
    if line.is_heading:
        level = min(line.depth + 1, _HEADINGS)
        return f"<h{level}>{escape(line.name)}</h{level}>\n" if line.name else ""
    name = f"<b>{escape(line.name)}:</b> " if line.name else ""
    value = "<br>".join(escape(part) for part in line.value.splitlines())
    return f'<p style="margin-left: {line.depth}em">{name}{value}</p>\n'


def _as_text(head: list[tuple[str, str]], lines: list[_Line]) -> str:
    written = [f"{label}: {text}" for label, text in head]
    written.append("")
    for line in lines:
        indent = "  " * line.depth
        said = line.name if line.is_heading else f"{line.name}: {line.value}" if line.name else line.value
        written += [indent + part for part in said.splitlines()]
    return "\n".join(written) + "\n"
