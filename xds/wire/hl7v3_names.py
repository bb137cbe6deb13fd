"""Names, postal addresses and telecommunication addresses of HL7 version 3 (EN, AD, TEL).

Spec: HL7 V3 data types R1; ITI TF-2 Appendix R (mapping to HL7 v2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import quote, unquote

from lxml import etree

from xds.model.patient import Address, PersonName
from xds.wire.hl7v3 import attribute, children, content, escape, quoteattr, text

#: EntityNameUse to HL7 table 0200. Names that are kept for searching alone have no place among a person's names.
_NAME_USES: Final = {"L": "L", "OR": "L", "C": "I", "I": "T", "A": "A", "R": "A", "P": "S"}
_NAME_USES_OUT: Final = {"L": "L", "I": "C", "T": "I", "A": "A", "S": "P", "N": "P"}
_NAMES_FOR_SEARCH: Final = frozenset({"SNDX"})
#: The birth name: a qualifier of its family part in v3, a type of its own in v2.
BIRTH: Final = "M"
#: Qualifiers of prefixes that are part of the family name after them: nobility, and the Dutch voorvoegsel.
_PARTICLES: Final = ("NB", "VV")
_BIRTH_USES: Final = frozenset({"M", "B"})

#: PostalAddressUse and HL7 table 0190.
_ADDRESS_USES: Final = {"H": "H", "HP": "H", "WP": "O", "TMP": "C", "PST": "M", "BAD": "BA"}
_ADDRESS_USES_OUT: Final = {"H": "H", "P": "HP", "B": "WP", "O": "WP", "C": "TMP", "M": "PST", "BA": "BAD"}
_STREET_PARTS: Final = ("houseNumber", "houseNumberNumeric", "direction", "streetName", "streetNameBase", "streetNameType")
_OTHER_PARTS: Final = ("unitID", "unitType", "additionalLocator", "postBox", "deliveryAddressLine", "careOf")


def _parts(element: etree._Element, name: str) -> list[etree._Element]:
    return [part for part in children(element, name) if content(part)]


def _joined(parts: Iterable[etree._Element]) -> str:
    return " ".join(content(part) for part in parts)


def _qualified(part: etree._Element, qualifier: str) -> bool:
    return qualifier in attribute(part, "qualifier").split()


def uses(element: etree._Element) -> list[str]:
    """The codes of a use attribute."""
    return attribute(element, "use").split()


def read_names(elements: Iterable[etree._Element]) -> tuple[PersonName, ...]:
    """The names that say something. One with a birth name among its family parts makes two."""
    found: list[PersonName] = []
    for element in elements:
        if not _NAMES_FOR_SEARCH & set(uses(element)):
            found += _read_name(element)
    return tuple(dict.fromkeys(found))


def _families(element: etree._Element) -> tuple[list[tuple[etree._Element, str]], list[etree._Element]]:
    """The family parts, each with its text after the particles that belong to it, and the prefixes that are titles."""
    particles: list[etree._Element] = []
    titles: list[etree._Element] = []
    families: list[tuple[etree._Element, str]] = []
    for part in element:
        name = etree.QName(part).localname
        if name == "family" and content(part):
            families.append((part, _joined([*particles, part])))
            particles = []
        elif name == "prefix" and content(part):
            is_particle = any(_qualified(part, qualifier) for qualifier in _PARTICLES)
            (particles if is_particle else titles).append(part)
    return families, [*titles, *particles]


def _read_name(element: etree._Element) -> Iterator[PersonName]:
    families, titles = _families(element)
    given = [part for part in _parts(element, "given") if not _qualified(part, "CL")] or _parts(element, "given")
    if not families and not given:
        if words := content(element):
            yield PersonName(family=words, use=_name_use(element))
        return

    def name(parts: Sequence[str], use: str | None) -> PersonName:
        suffix = _joined(_parts(element, "suffix"))
        return PersonName(" ".join(parts), _joined(given[:1]), _joined(given[1:]), suffix, _joined(titles), use)

    at_birth = [text for part, text in families if _qualified(part, "BR")]
    current = [text for part, text in families if not _qualified(part, "BR")]
    if current or not at_birth:
        yield name(current, _name_use(element))
    if at_birth:
        yield name(at_birth, BIRTH)


def _name_use(element: etree._Element) -> str | None:
    return next((_NAME_USES[use] for use in uses(element) if use in _NAME_USES), None)


def write_name(name: PersonName, tag: str = "name") -> str:
    """A PN."""
    use = f' use="{_NAME_USES_OUT[name.use]}"' if name.use in _NAME_USES_OUT else ""
    qualifier = ' qualifier="BR"' if name.use in _BIRTH_USES else ""
    before = (("prefix", name.prefix), ("given", name.given), ("given", name.further_given))
    written = [text(part, value) for part, value in before if value]
    if name.family:
        written.append(f"<family{qualifier}>{escape(name.family)}</family>")
    if name.suffix:
        written.append(text("suffix", name.suffix))
    return f"<{tag}{use}>{''.join(written)}</{tag}>"


# ------------------------------------------------------------------ addresses and telecommunication


def read_address(element: etree._Element) -> Address | None:
    """An AD; None when it says nothing."""
    street = [_joined(part for name in _STREET_PARTS for part in _parts(element, name))]
    lines = [line for line in (*street, *map(content, _parts(element, "streetAddressLine"))) if line]
    others = [*lines[1:], *(_joined(_parts(element, name)) for name in _OTHER_PARTS)]
    single = {name: _joined(_parts(element, name)) for name in ("city", "state", "postalCode", "country")}
    if not lines and not any(others) and not any(single.values()):
        words = content(element)
        lines = [words] if words else []
    use = next((_ADDRESS_USES[item] for item in uses(element) if item in _ADDRESS_USES), None)
    address = Address(
        lines[0] if lines else "",
        ", ".join(filter(None, others)),
        single["city"],
        single["state"],
        single["postalCode"],
        single["country"],
        use,
    )
    return address if address != Address(use=use) else None


def write_address(address: Address, tag: str = "addr") -> str:
    """An AD."""
    use = f' use="{_ADDRESS_USES_OUT[address.use]}"' if address.use in _ADDRESS_USES_OUT else ""
    parts = (
        ("streetAddressLine", address.street),
        ("additionalLocator", address.other),
        ("city", address.city),
        ("state", address.state),
        ("postalCode", address.postal_code),
        ("country", address.country),
    )
    return f"<{tag}{use}>{''.join(text(name, value) for name, value in parts if value)}</{tag}>"


def read_telecom(element: etree._Element) -> tuple[str, str]:
    """What kind of address a TEL is (`telephone`, `work`, `email`, or empty) and its value without scheme."""
    value = attribute(element, "value")
    scheme, colon, rest = value.partition(":")
    scheme = scheme.lower() if colon else ""
    rest = unquote(rest if colon else value).strip()
    if not rest:
        return "", ""
    if scheme == "mailto" or (not scheme and "@" in rest):
        return "email", rest
    if scheme in ("", "tel", "sms"):
        return ("work" if "WP" in uses(element) else "telephone"), rest
    return "", rest


def write_telecom(value: str, scheme: str = "tel", use: str | None = None, tag: str = "telecom") -> str:
    """A TEL."""
    use = f' use="{use}"' if use else ""
    address = f"{scheme}:{quote(value, safe='+()-.;=/:*#,@')}"
    return f"<{tag}{use} value={quoteattr(address)}/>"
