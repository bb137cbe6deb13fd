"""XML that came from outside: one hardened parser, and validation against the schemas of this project.

Spec: ITI TF-2 Appendix V.3 (SOAP 1.2 forbids document type declarations); WS-I Basic Profile 2.0 section 3.1.

Tolerated on the way in:

| received | read as |
|---|---|
| white space before the document | absent |
| a byte order mark | absent; it decides between UTF-8 and UTF-16 |
| a declaration that says UTF-16 above text in UTF-8 | UTF-8 |
| the single-byte encodings of `_SINGLE_BYTE` | what they declare |
| a charset in apostrophes | the charset |

What decides, where several do (RFC 7303 section 3): the byte order mark, the charset of the Content-Type (see `in_charset`), the
declaration.
"""

from __future__ import annotations

import codecs
import ctypes
import io
import re
import threading
from collections.abc import Callable, Iterator
from typing import Final

from lxml import etree

from xds.resources import schema_path

RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
RS = "urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0"
LCM = "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0"
QUERY = "urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0"
XDSB = "urn:ihe:iti:xds-b:2007"
IHERAD = "urn:ihe:rad:xdsi-b:2009"
RMD = "urn:ihe:iti:rmd:2017"
HL7V3 = "urn:hl7-org:v3"
SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://www.w3.org/2005/08/addressing"
XOP = "http://www.w3.org/2004/08/xop/include"
XML = "http://www.w3.org/XML/1998/namespace"

#: Prefixes by which messages name elements, whatever prefixes the sender chose.
PREFIXES = {
    RIM: "rim",
    RS: "rs",
    LCM: "lcm",
    QUERY: "query",
    XDSB: "xds",
    IHERAD: "iherad",
    RMD: "rmd",
    HL7V3: "hl7",
    SOAP12: "soap12",
    WSA: "wsa",
    XOP: "xop",
    XML: "xml",
}

#: Attributes and namespace declarations that one start tag may have.
MAX_ATTRIBUTES = 256

#: Errors of one message that are reported one by one.
MAX_REPORTED_ERRORS = 100

#: Errors after which a large message is read no further.
_ENOUGH_ERRORS = 10 * MAX_REPORTED_ERRORS

#: Characters of one reported error.
MAX_ERROR_LENGTH = 200

# Above this number of elements the tree is validated as a stream: libxml2 computes the path of the element for every
# error of a tree, which takes time in the square of the number of faulty siblings (40 000 of them half a minute).
_MAX_TREE_ELEMENTS = 2000

# Not all that Python knows: it keeps every name that it was ever asked for.
_CODECS: Final = {
    **dict.fromkeys(("utf-8", "utf8", "us-ascii", "ascii"), "utf-8"),
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    **dict.fromkeys(("iso-8859-1", "iso_8859-1", "iso8859-1", "latin1", "latin-1", "l1"), "iso8859-1"),
    **dict.fromkeys(("iso-8859-15", "iso_8859-15", "iso8859-15", "latin9", "latin-9"), "iso8859-15"),
    **dict.fromkeys(("windows-1252", "cp1252"), "cp1252"),
}
_SINGLE_BYTE = frozenset({"iso8859-1", "iso8859-15", "cp1252"})
_READ_CHARSETS = "UTF-8, UTF-16, ISO-8859-1, ISO-8859-15, windows-1252"
_BLANKS = b" \t\r\n"

_DECLARED_ENCODING = re.compile(rb"""<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_DOCTYPE_IN_PROLOG = re.compile(rb"(?:\s++|<\?(?s:.*?)\?>|<!--(?s:.*?)-->)*+<!DOCTYPE")
# The shortest start tag that can hold too many attributes is longer than this; nothing else is looked at.
_LONG_TAG = re.compile(rb"<[^<!?/][^<]{%d}" % (4 * MAX_ATTRIBUTES))
_START_TAG = re.compile(rb"""<(?:[^"'<>]++|"[^"<]*+"|'[^'<]*+')*+""")
_QUOTED = re.compile(rb""""[^"]*"|'[^']*'""")

_RULES = {
    etree.ErrorTypes.ERR_DOCUMENT_EMPTY: "it does not begin with an element",
    etree.ErrorTypes.ERR_DOCUMENT_END: "something follows the last end tag",
    etree.ErrorTypes.ERR_INVALID_CHAR: "a character that XML does not allow",
    etree.ErrorTypes.ERR_INVALID_ENCODING: "octets that are not in the encoding of the document",
    etree.ErrorTypes.ERR_UNDECLARED_ENTITY: "an entity that is not one of the five of XML",
    etree.ErrorTypes.ERR_ATTRIBUTE_REDEFINED: "an attribute stands twice in one start tag",
    etree.ErrorTypes.ERR_GT_REQUIRED: "a start tag is not closed",
    etree.ErrorTypes.ERR_TAG_NAME_MISMATCH: "an end tag does not match its start tag",
    etree.ErrorTypes.ERR_TAG_NOT_FINISHED: "the document ends before its last end tag",
    etree.ErrorTypes.ERR_NAME_TOO_LONG: "a name is too long",
    etree.ErrorTypes.NS_ERR_UNDEFINED_NAMESPACE: "a namespace prefix is not declared",
    etree.ErrorTypes.ERR_RESOURCE_LIMIT: (
        "elements are nested deeper than 256 levels, or a text is longer than 10 million characters"
        " (a large document travels as its own MTOM part)"
    ),
}


class XmlError(ValueError):
    """The octets are not XML that this software reads. The message says which rule is broken and where, and quotes nothing."""


#: Octets that a thread reads until it forgets the names of elements and attributes. lxml keeps every name that a thread has ever
#: read, for as long as the thread lives; a message may hold any number of new ones, twice its size in memory.
_FORGET_AFTER: Final = 1 << 20
_THREAD_DICT: Final = ctypes.pythonapi.PyThreadState_GetDict
# What it returns is borrowed: ctypes would take a reference that it is not given.
_THREAD_DICT.restype = ctypes.c_void_p
#: Where lxml keeps the names of a thread.
_NAMES: Final = "_ParserDictionaryContext"

#: libxml2 makes its table of built-in types when the first schema is compiled. Two threads that do so at once leave each other a
#: broken one: schemas that are refused, or that never come to an end of a document.
_compiling: Final = threading.Lock()


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )


class _OfThisThread(threading.local):
    """What a thread keeps for itself: a parser and a schema hold the errors of their last use, so threads cannot share them."""

    def __init__(self) -> None:
        self.parser = _parser()
        self._read = 0
        self.schemas: dict[str, etree.XMLSchema] = {}
        # Written so that libxml2 stops at that element and collects none.
        self.is_large = etree.XPath(f"boolean(descendant::*[{_MAX_TREE_ELEMENTS}])")

    def has_read(self, octets: int) -> None:
        """From time to time the names that were read are forgotten; trees that exist keep theirs."""
        self._read += octets
        if self._read > _FORGET_AFTER:
            self._read = 0
            of_thread: dict[str, object] = ctypes.cast(_THREAD_DICT(), ctypes.py_object).value
            of_thread.pop(_NAMES, None)
            self.parser = _parser()

    def schema(self, name: str) -> etree.XMLSchema:
        compiled = self.schemas.get(name)
        if compiled is None:
            with _compiling:
                compiled = self.schemas[name] = etree.XMLSchema(etree.parse(str(schema_path(name))))
        return compiled


_mine = _OfThisThread()


def parse(data: bytes) -> etree._Element:
    """The root element of a document that came from outside, without comments and processing instructions.

    A document type declaration is refused whatever it says, so there are no entities to expand and nothing to fetch.

    Errors: XmlError.
    """
    text = _as_utf8(data)
    if b"<!DOCTYPE" in text and _DOCTYPE_IN_PROLOG.match(text):
        raise XmlError("a document type declaration (DOCTYPE) is not allowed")
    _refuse_attribute_flood(text)
    try:
        return etree.fromstring(text, _mine.parser)
    except etree.XMLSyntaxError as error:
        line, column = error.position
        rule = _RULES.get(error.code, "a rule of XML is broken")  # type: ignore[attr-defined]
        raise XmlError(f"not well-formed XML at line {line}, column {column}: {rule}") from None
    finally:
        _mine.has_read(len(text))


class CharsetError(XmlError):
    """A charset that this software does not read."""


def in_charset(data: bytes, charset: str | None) -> bytes:
    """The document, such that `parse` reads it in the charset that its Content-Type gives, whatever its declaration says.

    Spec: RFC 7303 sections 3.1 and 3.2.
    Errors: CharsetError; XmlError for octets that are not in that charset.
    """
    if not charset or data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data
    encoding = _CODECS.get(charset.strip(" '").lower())
    if encoding is None:
        raise CharsetError("the charset of the Content-Type is not one of " + _READ_CHARSETS)
    if encoding == "utf-8":
        declared = _DECLARED_ENCODING.match(data.lstrip(_BLANKS))
        return data if declared is None or declared[1].lower() == b"utf-8" else codecs.BOM_UTF8 + data
    if encoding == "utf-16":
        # Without a byte order mark the first octet is the higher one (RFC 2781 4.3), but for those who forget both.
        encoding = "utf-16-le" if data.startswith(b"<\0") else "utf-16-be"
    return codecs.BOM_UTF8 + _recoded(data, encoding)


def _as_utf8(data: bytes) -> bytes:
    """The document in UTF-8, without byte order mark. The parser is told to read UTF-8 whatever the declaration says."""
    if data.startswith(codecs.BOM_UTF8):
        return data[3:].lstrip(_BLANKS)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _recoded(data, "utf-16")
    if data.startswith(b"<\0"):
        return _recoded(data, "utf-16-le")
    if data.startswith(b"\0<"):
        return _recoded(data, "utf-16-be")
    data = data.lstrip(_BLANKS)
    declared = _DECLARED_ENCODING.match(data)
    if declared is None:
        return data
    encoding = _CODECS.get(declared[1].decode("ascii").lower(), "unknown")
    if encoding in ("utf-8", "utf-16", "utf-16-le", "utf-16-be"):
        return data
    if encoding in _SINGLE_BYTE:
        return _recoded(data, encoding)
    raise XmlError("the declared encoding is not one of " + _READ_CHARSETS)


def _recoded(data: bytes, encoding: str) -> bytes:
    try:
        return data.decode(encoding).encode("utf-8")
    except UnicodeError:
        raise XmlError("not well-formed XML: octets that are not in the encoding of the document") from None


def _refuse_attribute_flood(text: bytes) -> None:
    """Many attributes in one start tag cost time in their square wherever they are read (50 000 of them ten seconds)."""
    if text.count(b"=") <= MAX_ATTRIBUTES or _LONG_TAG.search(text) is None:
        return
    for piece in _LONG_TAG.finditer(text):
        tag = _START_TAG.match(text, piece.start())
        if tag is not None and _QUOTED.sub(b"", tag[0]).count(b"=") > MAX_ATTRIBUTES:
            raise XmlError(f"a start tag has more than {MAX_ATTRIBUTES} attributes")


def schema_errors(element: etree._Element, schema: str) -> list[str]:
    """What is wrong with an element by a schema of this project, in words; empty when it is valid.

    `schema` is the name of a file in `schemas/`, for instance `xdsb.xsd`. Take `xop:Include` elements out first: base64
    text stands in their place in the schema. Each message names the element, the nearest object with an id, the rule and
    what was received, in at most 200 characters; after 100 messages one says how many more there are.

    Errors: ValueError or FileNotFoundError when there is no such schema.
    """
    return list(dict.fromkeys(text for text, _ in schema_faults(element, schema)))


def schema_faults(element: etree._Element, schema: str) -> list[tuple[str, etree._Element | None]]:
    """The same, each with the element that it is about; None where that is not known, as in very large trees."""
    compiled = _mine.schema(schema)
    if _mine.is_large(element):
        entries = _stream_errors(element, compiled)
    else:
        entries = [] if compiled.validate(element) else list(compiled.error_log)  # type: ignore[call-overload]
    faults = list(dict.fromkeys((_in_words(element, entry), _at(element, entry)) for entry in entries[:MAX_REPORTED_ERRORS]))
    if len(entries) > MAX_REPORTED_ERRORS:
        at_least = "at least " if len(entries) >= _ENOUGH_ERRORS else ""
        faults.append((f"and {at_least}{len(entries) - MAX_REPORTED_ERRORS} more errors", None))
    return faults


def _at(root: etree._Element, entry: etree._LogEntry) -> etree._Element | None:
    return None if entry.path is None else list(_along(root, entry.path))[-1]


class _UntilEnough(io.BytesIO):
    """A document that ends when so many errors were found in it that more would only fill the memory."""

    found: Callable[[], int] = staticmethod(lambda: 0)

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size) if self.found() < _ENOUGH_ERRORS else b""


def _stream_errors(element: etree._Element, schema: etree.XMLSchema) -> list[etree._LogEntry]:
    """Validate while parsing again: linear in the number of errors, but without their places; the first of very many."""
    octets = _UntilEnough(etree.tostring(element, with_tail=False))
    events = etree.iterparse(octets, events=(), schema=schema)
    octets.found = lambda: len(events.error_log)
    try:
        for _ in events:
            pass
    except etree.XMLSyntaxError:
        # Raised for the first error; the log has them all, and warnings about namespaces among them.
        found = [entry for entry in events.error_log if entry.domain == etree.ErrorDomains.SCHEMASV]
        if not found:
            raise
        return found
    finally:
        octets.found = _UntilEnough.found
    return []


_EXPANDED_NAME = re.compile(r"\{([^{}]*)\}")
_CHATTER = re.compile(r"^Element '([^']*)'(?:, attribute '([^']*)')?: (.*)$", re.DOTALL)
_TOO_LONG = re.compile(
    # Of an element it does not quote the value, of an attribute it does.
    r"^\[facet 'maxLength'\] The value (?:'.*' )?has a length of '(\d+)'; this exceeds the allowed maximum length of '(\d+)'\.$",
    re.DOTALL,
)
_STEP = re.compile(r"(?:\*|([^\[\]/]+))(?:\[(\d+)\])?")


def _in_words(root: etree._Element, entry: etree._LogEntry) -> str:
    """One error of libxml2 as `element@attribute (of object id, line n): rule and what was received`."""
    text = _EXPANDED_NAME.sub(_prefix, entry.message)
    parts = _CHATTER.match(text)
    if parts is None:
        return _shortened(text)
    name, attribute, rule = parts[1], parts[2], parts[3].strip()
    way = [root] if entry.path is None else list(_along(root, entry.path))
    context = [] if entry.path is None else [f"line {entry.line}"]
    owner = next((element.get("id") for element in reversed(way) if element.get("id")), None)
    if owner and entry.path is not None:
        context.insert(0, f"of {owner[:64]}")
    too_long = _TOO_LONG.match(rule)
    if too_long is not None:
        rule = f"{too_long[1]} characters, at most {too_long[2]} are allowed"
        received = way[-1].get(attribute) if attribute else way[-1].text
        if received and entry.path is not None:
            rule += f"; it begins with '{received[:32]}'"
    place = f"{name}@{attribute}" if attribute else name
    if context:
        place += f" ({', '.join(context)})"
    return _shortened(f"{place}: {rule}")


def _prefix(match: re.Match[str]) -> str:
    prefix = PREFIXES.get(match[1])
    return f"{prefix}:" if prefix else match[0]


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_ERROR_LENGTH else text[: MAX_ERROR_LENGTH - 1] + "…"


def _along(root: etree._Element, path: str) -> Iterator[etree._Element]:
    """The elements that libxml2's path (`/a:b/*[2]/c[1]`) goes through; its first step is `root` itself."""
    here = root
    yield here
    for step in path.split("/")[2:]:
        parts = _STEP.fullmatch(step)
        if parts is None:
            return
        children: Iterator[etree._Element] = (child for child in here if parts[1] is None or _prefixed_name(child) == parts[1])
        target = next((child for number, child in enumerate(children, 1) if number == int(parts[2] or 1)), None)
        if target is None:
            return
        here = target
        yield here


def _prefixed_name(element: etree._Element) -> str:
    local = element.tag.rpartition("}")[2]
    return f"{element.prefix}:{local}" if element.prefix else local
