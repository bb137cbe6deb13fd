"""C-FIND: studies, series and instances by their attributes, and the patients that the images name.

Keys at and above the level are matched like QIDO-RS matches them. Keys that are not matched here are answered with Pending FF01.

Spec: DICOM PS3.4 C.4.1 (C-FIND), C.6.1 and C.6.2 (Patient Root, Study Root), C.5.1 (extended negotiation).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from xds.actors import imaging_audit
from xds.actors.imaging_document_source import ImagingDocumentSource
from xds.model.caller import Caller
from xds.model.imaging_query import DicomJson, Form, ImagingMatch, ImagingQuery, Level, Matching
from xds.pacs.association import Association, Received
from xds.rules.imaging_matching import MatchingError, matching
from xds.store.database import DatabaseUnavailableError
from xds.wire.dicom import DicomError, Elements
from xds.wire.dimse import Field, Message, Status, read_data_set, response_to
from xds.wire.dimse_classes import PATIENT_ROOTS, QUERY_RETRIEVE
from xds.wire.dimse_identifiers import CHARACTER_SET, QUERY_RETRIEVE_LEVEL, read_keys, write_identifier

#: Matches that are looked up at a time.
_PAGE: Final = 500
#: Unique keys from the top of the model down. Spec: PS3.4 C.6.1.1, C.6.2.1.
UNIQUE_KEYS: Final = {
    Level.PATIENT: 0x00100020,
    Level.STUDY: 0x0020000D,
    Level.SERIES: 0x0020000E,
    Level.INSTANCE: 0x00080018,
}
_LEVELS: Final = tuple(UNIQUE_KEYS)
#: Of which application, and how to reach the object: of every answer.
_RETRIEVE_AE_TITLE: Final = 0x00080054
_AVAILABILITY: Final = 0x00080056

_log = structlog.get_logger()


class IdentifierError(ValueError):
    """An identifier that does not fit its SOP class; the message names the attributes."""

    def __init__(self, text: str, *tags: int) -> None:
        super().__init__(text)
        self.tags = tags


#: What is wrong with an identifier, or with its data set, or keeps us from looking.
REFUSED: Final = (IdentifierError, DicomError, DatabaseUnavailableError)


@dataclass(frozen=True, slots=True)
class Identifier:
    """What was asked: the level, the keys with their value representations, and those of them that are to be matched."""

    level: Level
    keys: Mapping[int, tuple[str, str]]
    matchings: tuple[Matching, ...]
    character_set: str = ""

    def uids(self, level: Level) -> tuple[str, ...]:
        """The values of the unique key of a level, none where it is not given whole."""
        whole = (item for item in self.matchings if item.form in (Form.EQUAL, Form.LIST))
        return next((item.values for item in whole if item.tag == UNIQUE_KEYS[level]), ())


def read_identifier(octets: bytes, received: Received, *, is_relational: bool) -> Identifier:
    """The identifier of a C-FIND, C-GET or C-MOVE request.

    Unless the association is for relational queries, every level above must be given by its unique key.
    Spec: PS3.4 C.4.1.2.1, C.4.2.2.1. Errors: IdentifierError; DicomError.
    """
    elements = read_data_set(octets, received.context.transfer_syntax)
    is_patient_root = received.context.abstract_syntax in PATIENT_ROOTS
    levels = _LEVELS if is_patient_root else _LEVELS[1:]
    text = elements.text(QUERY_RETRIEVE_LEVEL)
    level = next((item for item in levels if item.value == text), None)
    if level is None:
        names = ", ".join(item.value for item in levels)
        raise IdentifierError(f"(0008,0052) is one of {names}", QUERY_RETRIEVE_LEVEL)
    keys = read_keys(elements)
    found = []
    for tag, (vr, value) in keys.items():
        try:
            found += _inside(elements, tag) if vr == "SQ" else [matching(tag, vr, value)]
        except MatchingError as problem:
            raise IdentifierError(str(problem), tag) from None
    identifier = Identifier(level, keys, tuple(item for item in found if item is not None), elements.text(CHARACTER_SET))
    above = levels[: levels.index(level)]
    missing = [UNIQUE_KEYS[item] for item in above if not _is_single(identifier, item)]
    if missing and not is_relational:
        names = ", ".join(f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in missing)
        raise IdentifierError(f"a single value is required in {names}", *missing)
    return identifier


def _inside(elements: Elements, tag: int) -> list[Matching | None]:
    """What the item of a sequence asks for. Spec: PS3.4 C.2.2.2.6. Errors: MatchingError; DicomError."""
    found: list[Matching | None] = []
    for item in elements.items(tag)[:1]:
        for inner, (vr, value) in read_keys(item).items():
            deeper = _inside(item, inner) if vr == "SQ" else [matching(inner, vr, value)]
            found += [replace(wanted, tag=tag, inside=(inner, *wanted.inside)) for wanted in deeper if wanted is not None]
    return found


def _is_single(identifier: Identifier, level: Level) -> bool:
    tag = UNIQUE_KEYS[level]
    return any(item.tag == tag and item.form is Form.EQUAL for item in identifier.matchings)


def is_relational(association: Association, sop_class: str) -> bool:
    """Whether relational queries or retrievals were negotiated. Spec: PS3.4 C.5.1.1.4, C.5.2.1."""
    return association.extended.get(sop_class, b"")[:1] == b"\1"


def is_fuzzy(association: Association, sop_class: str) -> bool:
    """Whether fuzzy semantic matching of person names was negotiated. Spec: PS3.4 C.5.1.1.4."""
    return association.extended.get(sop_class, b"")[2:3] == b"\1"


def extended_answer(said: bytes) -> bytes:
    """What is agreed of an extended negotiation: relational queries, and fuzzy matching of names. Spec: PS3.4 C.5.1.1.4."""
    return bytes(value if position in (0, 2) and value == 1 else 0 for position, value in enumerate(said[:6]))


class FindService:
    """Answers C-FIND requests. One object serves all threads."""

    def __init__(self, source: ImagingDocumentSource, ae_title: str) -> None:
        self._source = source
        self._ae_title = ae_title

    def serve(self, association: Association, received: Received, caller: Caller) -> None:
        """Send a response for each match, and the last one. Errors: AssociationError."""
        request, sop_class = received.message, received.context.abstract_syntax
        octets = received.octets()
        if sop_class not in QUERY_RETRIEVE:
            association.send(received.context_id, response_to(request, Status.CLASS_NOT_SUPPORTED))
            return
        try:
            identifier = read_identifier(octets, received, is_relational=is_relational(association, sop_class))
            status, comment = self._matches(association, received, identifier, caller)
            last = response_to(request, status, comment)
        except REFUSED as problem:
            last = refused(request, problem)
        association.send(received.context_id, last)

    def _matches(
        self, association: Association, received: Received, identifier: Identifier, caller: Caller
    ) -> tuple[Status, str]:
        request, context = received.message, received.context
        asked = _asked(identifier)
        includes = tuple(tag for tag, (vr, _) in identifier.keys.items() if tag not in (_RETRIEVE_AE_TITLE, _AVAILABILITY))
        offset, more = 0, True
        while more:
            query = ImagingQuery(
                identifier.level,
                identifier.matchings,
                includes,
                _PAGE,
                offset,
                fuzzy=is_fuzzy(association, context.abstract_syntax),
            )
            answer = self._source.query(query, caller, "", imaging_audit.C_FIND, asked)
            pending = Status.PENDING_KEYS_IGNORED if answer.ignored else Status.PENDING
            for match in answer.matches:
                if association.is_cancelled(request.message_id):
                    return Status.CANCELLED, "cancelled"
                octets = write_identifier(self._answer(identifier, match), context.transfer_syntax, identifier.character_set)
                response = response_to(request, pending)
                association.send(received.context_id, Message(response.command, response.fields, True), (octets,))
            more, offset = answer.more, offset + _PAGE
            if more and identifier.level is Level.PATIENT and len(answer.matches) < _PAGE:
                return Status.OUT_OF_RESOURCES, "there are more patients: ask for fewer"
        return Status.SUCCESS, ""

    def _answer(self, identifier: Identifier, match: ImagingMatch) -> DicomJson:
        """What was asked for, empty where it is not known, with the unique keys down to the level. Spec: PS3.4 C.4.1.1.3.2."""
        found = {f"{tag:08X}": match.attributes.get(f"{tag:08X}", {"vr": vr}) for tag, (vr, _) in identifier.keys.items()}
        for level, tag in UNIQUE_KEYS.items():
            if level is Level.PATIENT and identifier.level is not Level.PATIENT:
                continue
            name = f"{tag:08X}"
            if name in match.attributes:
                found[name] = match.attributes[name]
        for name, uid in (("0020000D", match.study_instance_uid), ("0020000E", match.series_instance_uid)):
            if uid:
                found[name] = {"vr": "UI", "Value": [uid]}
        found["00080052"] = {"vr": "CS", "Value": [identifier.level.value]}
        found[f"{_RETRIEVE_AE_TITLE:08X}"] = {"vr": "AE", "Value": [self._ae_title]}
        if _AVAILABILITY in identifier.keys:
            found[f"{_AVAILABILITY:08X}"] = {"vr": "CS", "Value": ["ONLINE"]}
        if "00080201" in match.attributes and match.attributes["00080201"].get("Value"):
            found["00080201"] = match.attributes["00080201"]
        return found


def refused(request: Message, problem: Exception) -> Message:
    """The response to a query or retrieval that one of `REFUSED` ended; of a wrong identifier with the offending elements.

    Spec: PS3.4 C.4.1.1.4, C.4.2.1.5, C.4.3.1.4.
    """
    if isinstance(problem, IdentifierError):
        response = response_to(request, Status.DOES_NOT_MATCH, str(problem))
        return Message(response.command, {**response.fields, Field.OFFENDING_ELEMENT: problem.tags})
    if isinstance(problem, DatabaseUnavailableError):
        _log.error("dimse.database_unavailable", reason=str(problem))
        return response_to(request, Status.OUT_OF_RESOURCES, "the database does not answer now")
    return response_to(request, Status.CANNOT_UNDERSTAND, str(problem))


def _asked(identifier: Identifier) -> str:
    """The query for the audit trail."""
    keys = (f"{tag:08X}={value}" for tag, (_, value) in _sorted(identifier) if value)
    return "&".join((f"00080052={identifier.level.value}", *keys))


def _sorted(identifier: Identifier) -> Iterator[tuple[int, tuple[str, str]]]:
    return iter(sorted(identifier.keys.items()))
