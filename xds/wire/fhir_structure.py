"""The resources and data types of FHIR that are read, as data, and the check of a resource against them.

A resource is what its JSON says: dicts, lists, strings, numbers, booleans. Its XML form is brought into the same shape first.

Tolerated: what is empty (`""`, `[]`, `{}`, `null`) counts as absent.

Spec: FHIR R4 2.24 (data types), 2.6.2 (JSON), 8.1 (Patient), 2.35 (Parameters), 3.1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Final

#: A resource or an element of one.
Element = dict[str, Any]

#: Elements may be nested so deep.
MAX_DEPTH: Final = 40
#: Findings that are reported one by one.
MAX_ISSUES: Final = 100


@dataclass(frozen=True, slots=True)
class Issue:
    """One OperationOutcome.issue: `code` is of the value set issue-type, `expression` the FHIRPath of the element."""

    code: str
    diagnostics: str
    expression: str | None = None
    severity: str = "error"


@dataclass(frozen=True, slots=True)
class Field:
    """One element of a type. `types` are its possible types; there are several for a choice such as `deceased[x]`."""

    name: str
    types: tuple[str, ...]
    is_list: bool = False
    is_required: bool = False
    is_choice: bool = False

    def names(self) -> Iterator[tuple[str, str]]:
        """(name in JSON and XML, type)."""
        for kind in self.types:
            yield (self.name + kind[0].upper() + kind[1:] if self.is_choice else self.name), kind


_ANY_VALUE: Final = (
    "base64Binary|boolean|canonical|code|date|dateTime|decimal|id|instant|integer|markdown|oid|positiveInt|string|time|unsignedInt"
    "|uri|url|uuid|Address|Attachment|CodeableConcept|Coding|ContactPoint|HumanName|Identifier|Meta|Narrative|Period|Quantity|Range"
    "|Reference"
)
_RESOURCE: Final = "id:id meta:Meta implicitRules:uri language:code"
_DOMAIN_RESOURCE: Final = f"{_RESOURCE} text:Narrative contained*:Resource extension*:Extension modifierExtension*:Extension"
_ELEMENT: Final = "id:string extension*:Extension"
_BACKBONE: Final = f"{_ELEMENT} modifierExtension*:Extension"

#: `name:type`, `*` for a list, `!` for a required one, `[x]` for a choice of types. In the order of the XML schema.
_TYPES: Final[Mapping[str, str]] = {
    "Patient": f"{_DOMAIN_RESOURCE} identifier*:Identifier active:boolean name*:HumanName telecom*:ContactPoint gender:code"
    " birthDate:date deceased[x]:boolean|dateTime address*:Address maritalStatus:CodeableConcept"
    " multipleBirth[x]:boolean|integer photo*:Attachment contact*:Patient.contact communication*:Patient.communication"
    " generalPractitioner*:Reference managingOrganization:Reference link*:Patient.link",
    "Patient.contact": f"{_BACKBONE} relationship*:CodeableConcept name:HumanName telecom*:ContactPoint address:Address"
    " gender:code organization:Reference period:Period",
    "Patient.communication": f"{_BACKBONE} language!:CodeableConcept preferred:boolean",
    "Patient.link": f"{_BACKBONE} other!:Reference type!:code",
    "Parameters": f"{_RESOURCE} parameter*:Parameters.parameter",
    "Parameters.parameter": f"{_BACKBONE} name!:string value[x]:{_ANY_VALUE} resource:Resource part*:Parameters.parameter",
    "Element": _ELEMENT,
    "Extension": f"{_ELEMENT} url!:uri value[x]:{_ANY_VALUE}",
    "Address": f"{_ELEMENT} use:code type:code text:string line*:string city:string district:string state:string"
    " postalCode:string country:string period:Period",
    "Attachment": f"{_ELEMENT} contentType:code language:code data:base64Binary url:url size:unsignedInt hash:base64Binary"
    " title:string creation:dateTime",
    "CodeableConcept": f"{_ELEMENT} coding*:Coding text:string",
    "Coding": f"{_ELEMENT} system:uri version:string code:code display:string userSelected:boolean",
    "ContactPoint": f"{_ELEMENT} system:code value:string use:code rank:positiveInt period:Period",
    "HumanName": f"{_ELEMENT} use:code text:string family:string given*:string prefix*:string suffix*:string period:Period",
    "Identifier": f"{_ELEMENT} use:code type:CodeableConcept system:uri value:string period:Period assigner:Reference",
    "Meta": f"{_ELEMENT} versionId:id lastUpdated:instant source:uri profile*:canonical security*:Coding tag*:Coding",
    "Narrative": f"{_ELEMENT} status!:code div!:xhtml",
    "Period": f"{_ELEMENT} start:dateTime end:dateTime",
    "Quantity": f"{_ELEMENT} value:decimal comparator:code unit:string system:uri code:code",
    "Range": f"{_ELEMENT} low:Quantity high:Quantity",
    "Reference": f"{_ELEMENT} reference:string type:uri identifier:Identifier display:string",
}

#: Resources whose elements are known here; others may stand inside of them, unread.
RESOURCES: Final = frozenset({"Patient", "Parameters"})

#: Codes of required bindings (FHIR R4: administrative-gender, name-use, …).
_CODES: Final[Mapping[str, frozenset[str]]] = {
    "Patient.gender": frozenset({"male", "female", "other", "unknown"}),
    "Patient.contact.gender": frozenset({"male", "female", "other", "unknown"}),
    "Patient.link.type": frozenset({"replaced-by", "replaces", "refer", "seealso"}),
    "HumanName.use": frozenset({"usual", "official", "temp", "nickname", "anonymous", "old", "maiden"}),
    "Identifier.use": frozenset({"usual", "official", "temp", "secondary", "old"}),
    "Address.use": frozenset({"home", "work", "temp", "old", "billing"}),
    "Address.type": frozenset({"postal", "physical", "both"}),
    "ContactPoint.system": frozenset({"phone", "fax", "email", "pager", "url", "sms", "other"}),
    "ContactPoint.use": frozenset({"home", "work", "temp", "old", "mobile"}),
    "Narrative.status": frozenset({"generated", "extensions", "additional", "empty"}),
}

_YEAR = r"[0-9]{4}"
_DAY = r"(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])"
_ANY_URI = r"\S*"
_PATTERNS: Final[Mapping[str, re.Pattern[str]]] = {
    kind: re.compile(pattern + r"\Z")
    for kind, pattern in {
        "base64Binary": r"[0-9A-Za-z+/=\s]*",
        "canonical": _ANY_URI,
        "code": r"\S+(?:\s\S+)*",
        "date": rf"{_YEAR}(?:-(?:0[1-9]|1[0-2])|-{_DAY})?",
        "dateTime": rf"{_YEAR}(?:-(?:0[1-9]|1[0-2])|-{_DAY}(?:T{_TIME}{_ZONE})?)?",
        "id": r"[A-Za-z0-9.-]{1,64}",
        "instant": rf"{_YEAR}-{_DAY}T{_TIME}{_ZONE}",
        "oid": r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+",
        "time": _TIME,
        "uri": _ANY_URI,
        "url": _ANY_URI,
        "uuid": r"urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    }.items()
}
_TEXTS: Final = frozenset({*_PATTERNS, "string", "markdown", "xhtml"})
_INTEGERS: Final[Mapping[str, tuple[int, int]]] = {
    "integer": (-(2**31), 2**31 - 1),
    "positiveInt": (1, 2**31 - 1),
    "unsignedInt": (0, 2**31 - 1),
}
PRIMITIVES: Final = _TEXTS | _INTEGERS.keys() | {"boolean", "decimal"}
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LAST_DAYS: Final = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


@cache
def fields_of(kind: str) -> Mapping[str, tuple[Field, str]]:
    """The elements of a type by their names in JSON and XML, each with the type that its name says."""
    found: dict[str, tuple[Field, str]] = {}
    for text in _TYPES[kind].split():
        name, _, types = text.partition(":")
        bare = name.rstrip("*!").removesuffix("[x]")
        field = Field(bare, tuple(types.split("|")), name.endswith("*"), name.endswith("!"), "[x]" in name)
        found |= {json_name: (field, each) for json_name, each in field.names()}
    return found


def is_known(kind: str) -> bool:
    """True for a type whose elements are known here."""
    return kind in _TYPES


def checked(resource: Element, kind: str) -> tuple[Element, list[Issue]]:
    """The resource without what is empty, and everything that is wrong with it, each with its FHIRPath."""
    check = _Check()
    return check.complex(resource, kind, kind, 0), check.issues


class _Check:
    def __init__(self) -> None:
        self.issues: list[Issue] = []

    def _add(self, code: str, text: str, path: str) -> None:
        # A body can hold more mistakes than anybody wants to read, or to keep in memory.
        if len(self.issues) < MAX_ISSUES:
            self.issues.append(Issue(code, f"{path}: {text}", path))

    def complex(self, value: Element, kind: str, path: str, depth: int) -> Element:
        """One element with elements of its own."""
        if depth > MAX_DEPTH:
            self._add("structure", f"elements are nested deeper than {MAX_DEPTH} levels", path)
            return {}
        fields = fields_of(kind)
        found: Element = {}
        seen: dict[str, str] = {}
        for name, item in value.items():
            if name == "resourceType" and depth == 0:
                continue
            if _is_empty(item):
                continue
            known = fields.get(name.removeprefix("_"))
            if known is None or (name.startswith("_") and known[1] not in PRIMITIVES):
                self._add("structure", f"there is no element {_shown(name)}", path)
                continue
            field, each = known
            where = f"{path}.{field.name}"
            if name.startswith("_"):
                companion = self._companion(item, field, where, depth)
                if companion:
                    found[name] = companion
                continue
            if field.is_choice and seen.setdefault(field.name, name) != name:
                self._add("structure", f"{seen[field.name]} and {name} exclude each other", where)
            cleaned = self._field(item, field, each, f"{kind}.{field.name}", where, depth)
            if cleaned is not None and cleaned != {}:
                found[name] = cleaned
        for name, (field, _) in fields.items():
            if field.is_required and all(_is_empty(value.get(each)) for each in (name, f"_{name}")):
                self._add("required", "the element is required", f"{path}.{name}")
        return found

    def _field(self, item: Any, field: Field, kind: str, rule: str, path: str, depth: int) -> Any:
        if not field.is_list:
            if isinstance(item, list):
                self._add("structure", "one value is allowed, not a list", path)
                return None
            return self._one(item, kind, rule, path, depth)
        if not isinstance(item, list):
            self._add("structure", "a list is expected", path)
            return None
        cleaned = []
        for number, each in enumerate(item):
            if not _is_empty(each):
                one = self._one(each, kind, rule, f"{path}[{number}]", depth)
                if one is not None and one != {}:
                    cleaned.append(one)
        return cleaned or None

    def _one(self, item: Any, kind: str, rule: str, path: str, depth: int) -> Any:
        if kind in PRIMITIVES:
            return self._primitive(item, kind, rule, path)
        if not isinstance(item, dict):
            self._add("structure", "an object is expected", path)
            return None
        if kind == "Resource":
            return self._resource(item, path)
        return self.complex(item, kind, path, depth + 1)

    def _resource(self, item: Element, path: str) -> Element | None:
        """A resource inside another one: whoever wants to use it checks it."""
        if not isinstance(item.get("resourceType"), str):
            self._add("structure", "a resource has a resourceType", path)
            return None
        return item

    def _companion(self, item: Any, field: Field, path: str, depth: int) -> Any:
        """`_name`: the extensions of a primitive, or of each one of a list."""
        many = isinstance(item, list)
        if many != field.is_list or not all(each is None or isinstance(each, dict) for each in (item if many else [item])):
            self._add("structure", "extensions of a primitive value are an object", path)
            return None
        cleaned = []
        for each in item if many else [item]:
            only = {name: value for name, value in (each or {}).items() if name in ("id", "extension")}
            cleaned.append(self.complex(only, "Element", path, depth + 1) or None)
        return cleaned if many else cleaned[0]

    def _primitive(self, item: Any, kind: str, rule: str, path: str) -> Any:
        problem = _primitive_problem(item, kind)
        if problem:
            self._add("value", problem, path)
            return None
        codes = _CODES.get(rule)
        if codes and item not in codes:
            self._add("code-invalid", f"the code is one of {', '.join(sorted(codes))}, not {_shown(item)}", path)
            return None
        return item


def _primitive_problem(item: Any, kind: str) -> str | None:
    if kind == "boolean":
        return None if isinstance(item, bool) else "true or false is expected"
    if kind in _INTEGERS:
        low, high = _INTEGERS[kind]
        if isinstance(item, bool) or not isinstance(item, int):
            return "a whole number is expected"
        return None if low <= item <= high else f"a number from {low} to {high} is expected"
    if kind == "decimal":
        return None if isinstance(item, (int, Decimal)) and not isinstance(item, bool) else "a number is expected"
    if not isinstance(item, str):
        return "a string is expected"
    if _FORBIDDEN.search(item):
        return "a string holds a control character or half a surrogate pair"
    pattern = _PATTERNS.get(kind)
    if pattern is not None and not pattern.match(item):
        return f"no {kind}: {_shown(item)}"
    if kind in ("date", "dateTime", "instant") and not _is_day(item):
        return f"there is no such day: {_shown(item)}"
    return None


def _is_day(text: str) -> bool:
    if len(text) < 10:
        return True
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    if month == 2 and not (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)):
        return day <= 28
    return day <= _LAST_DAYS.get(month, 31)


def _is_empty(item: Any) -> bool:
    return item is None or item == "" or item == [] or item == {}


def _shown(text: object) -> str:
    """What was received, short and without anything that does not print."""
    return repr(str(text)[:40])
