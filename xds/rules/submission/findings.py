"""Collecting every breach of a rule in one wording: object, attribute, rule, what was received."""

from __future__ import annotations

from typing import Final

from xds.model.errors import ErrorCode, ErrorList, RegistryError
from xds.model.metadata import Association, DocumentEntry, Folder, RegistryObject, SubmissionSet, UnlabelledPackage
from xds.rules.submission.datatypes import DataType

_KINDS: Final[dict[type[RegistryObject], str]] = {
    DocumentEntry: "DocumentEntry",
    SubmissionSet: "SubmissionSet",
    Folder: "Folder",
    Association: "Association",
    UnlabelledPackage: "RegistryPackage",
}

#: Characters of a received value that an error repeats.
_LONGEST_VALUE: Final = 100


class Findings:
    """Errors in the order in which they are found."""

    def __init__(self, *, type_codes: bool = False) -> None:
        """With `type_codes` the kind of an identifier may be told where the standard leaves no room for it."""
        self._found = ErrorList()
        self._type_codes = type_codes

    @property
    def errors(self) -> list[RegistryError]:
        """What was found. Beyond `MAX_LISTED_ERRORS`, the last says how many more there are."""
        return self._found.errors()

    def accepts(self, kind: DataType, value: str) -> bool:
        """Whether a value is right here."""
        return kind.accepts(value) or (self._type_codes and kind.with_type_code is not None and kind.with_type_code(value))

    def add(
        self,
        obj: RegistryObject,
        attribute: str,
        rule: str,
        received: str | None,
        code: ErrorCode = ErrorCode.REGISTRY_METADATA_ERROR,
    ) -> None:
        """One breach; `received` None says that there was nothing."""
        if not self._found.admits(code):
            return
        value = "nothing" if received is None else f"'{received[:_LONGEST_VALUE]}'"
        name = f"{_KINDS[type(obj)]} {obj.id[:_LONGEST_VALUE]}"
        self._found.add(RegistryError(code, f"{name}: {attribute}: {rule}; received {value}"))

    def add_of_message(self, error: RegistryError) -> None:
        """A breach that is no object's."""
        self._found.add(error)
