"""XML from outside: what is read, what is refused, and how schema errors are put into words.

Spec: ITI TF-2 Appendix V.3; SOAP 1.2 part 1 section 5 (no document type declaration); WS-I Basic Profile 2.0.
"""

from __future__ import annotations

import codecs
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from lxml import etree

from xds.wire.xml import (
    MAX_ATTRIBUTES,
    MAX_ERROR_LENGTH,
    MAX_REPORTED_ERRORS,
    RIM,
    XmlError,
    in_charset,
    parse,
    schema_errors,
)

OBJECTS = f'<rim:RegistryObjectList xmlns:rim="{RIM}">%s</rim:RegistryObjectList>'


def _objects(inner: str) -> bytes:
    return (OBJECTS % inner).encode()


# --- document type declarations ---

BILLION_LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY l0 "ha">'
    + b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
    + b']><a b="&l9;">&l9;</a>'
)


@pytest.mark.parametrize(
    "document",
    [
        BILLION_LAUGHS,
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><a/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b'<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p">%p;]><a/>',
        b'<?xml version="1.0"?>\n<!-- <a> --><?pi <b>?>\n<!DOCTYPE a><a/>',
        b"\xef\xbb\xbf<!DOCTYPE a><a/>",
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><a/>'.encode("utf-16"),
        "<!DOCTYPE a><a/>".encode("utf-16-be"),
    ],
)
def test_a_document_type_declaration_is_refused(document: bytes) -> None:
    with pytest.raises(XmlError, match="DOCTYPE"):
        parse(document)


def test_a_declaration_hidden_by_an_exotic_encoding_is_refused() -> None:
    with pytest.raises(XmlError, match="encoding is not one of"):
        parse(b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE a+AFsAXQA+-<a/>')


@pytest.mark.parametrize(
    "document", [b"<a><![CDATA[<!DOCTYPE html>]]></a>", b"<!-- <!DOCTYPE a> --><a/>", b"<a>&lt;!DOCTYPE a></a>"]
)
def test_the_word_doctype_elsewhere_is_no_declaration(document: bytes) -> None:
    assert parse(document).tag == "a"


def test_an_entity_without_declaration_is_refused_and_the_five_of_xml_are_read() -> None:
    with pytest.raises(XmlError, match="entity"):
        parse(b"<a>&secret;</a>")
    assert parse(b"<a>&lt;&gt;&amp;&apos;&quot;&#233;</a>").text == "<>&'\"é"


# --- floods ---


def test_as_many_attributes_as_allowed_are_read_and_one_more_is_not() -> None:
    def element(count: int) -> bytes:
        return b"<r>" + b"<a " + b" ".join(b'a%d="="' % number for number in range(count)) + b"/></r>"

    assert len(parse(element(MAX_ATTRIBUTES))[0].attrib) == MAX_ATTRIBUTES
    with pytest.raises(XmlError, match="256 attributes"):
        parse(element(MAX_ATTRIBUTES + 1))


@pytest.mark.parametrize("quote", [b"'", b'"'])
@pytest.mark.parametrize("form", [b"a%d=%s>%s", b"xmlns:a%d=%surn:x%s"])
def test_a_flood_of_attributes_is_refused_at_once(quote: bytes, form: bytes) -> None:
    flood = b"<a " + b"\n".join(form % (number, quote, quote) for number in range(50_000)) + b"/>"
    started = time.process_time()
    with pytest.raises(XmlError, match="attributes"):
        parse(flood)
    assert time.process_time() - started < 1


def test_long_values_and_long_texts_are_no_flood() -> None:
    document = b'<r a="' + b"x=y " * 2000 + b'"><b>' + b"k='v' " * 2000 + b"</b><c/></r>"
    assert len(parse(document)) == 2


def test_nesting_is_limited() -> None:
    assert parse(b"<a>" * 200 + b"</a>" * 200).tag == "a"
    with pytest.raises(XmlError, match="nested deeper"):
        parse(b"<a>" * 100_000 + b"</a>" * 100_000)


def test_text_over_ten_million_characters_belongs_into_its_own_part() -> None:
    with pytest.raises(XmlError, match="MTOM"):
        parse(b"<a>" + b"QUJD" * 2_600_000 + b"</a>")


def test_many_schema_errors_take_linear_time() -> None:
    message = parse(_objects('<rim:ExtrinsicObject id="d1">' + "<rim:Slot/>" * 100_000 + "</rim:ExtrinsicObject>"))
    started = time.process_time()
    errors = schema_errors(message, "rim.xsd")
    assert time.process_time() - started < 5
    assert "rim:Slot: The attribute 'name' is required but missing." in errors
    assert re.fullmatch(r"and at least \d{3,5} more errors", errors[-1])


# --- encodings ---


@pytest.mark.parametrize(
    "document",
    [
        "<a>é€</a>".encode(),
        b"\xef\xbb\xbf" + "<a>é€</a>".encode(),
        b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>' + "<a>é€</a>".encode(),
        b"\r\n \t<?xml version='1.0' encoding='UTF-8' standalone='yes'?>\n" + "<a>é€</a>".encode(),
        '<?xml version="1.0" encoding="UTF-16"?><a>é€</a>'.encode("utf-16"),
        "\ufeff<a>é€</a>".encode("utf-16-be"),
        "<a>é€</a>".encode("utf-16-le"),
        "<a>é€</a>".encode("utf-16-be"),
        '<?xml version="1.0" encoding="utf-16"?><a>é€</a>'.encode(),
        '<?xml version="1.0" encoding="ISO-8859-15"?><a>é€</a>'.encode("iso-8859-15"),
        '<?xml version="1.0" encoding="windows-1252"?><a>é€</a>'.encode("windows-1252"),
        b'<?xml version="1.0" encoding="latin1"?><a>\xe9&#8364;</a>',
        b'<?xml version="1.0" encoding="US-ASCII"?><a>&#233;&#8364;</a>',
    ],
)
def test_encodings_that_are_read(document: bytes) -> None:
    assert parse(document).text == "é€"


@pytest.mark.parametrize(
    "document",
    [
        b"<a>\xe9</a>",
        b'<?xml version="1.0" encoding="UTF-8"?><a>\xc3</a>',
        "<a>é</a>".encode("utf-16") + b"\0",
        b"\xff\xfe<\0a\0/\0>\0\0\xd8",
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b'<?xml version="1.0" encoding="EBCDIC-CP-US"?><a/>',
        "<a/>".encode("utf-32"),
    ],
)
def test_octets_outside_their_encoding_are_refused(document: bytes) -> None:
    with pytest.raises(XmlError):
        parse(document)


def test_what_is_said_twice_alike_is_not_copied() -> None:
    for document in (b"<a/>", b'<?xml version="1.0" encoding="UTF-8"?><a/>', codecs.BOM_UTF8 + b"<a/>"):
        assert in_charset(document, "UTF-8") is document
        assert in_charset(document, None) is document


def test_utf_16_without_a_byte_order_mark() -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        assert parse(in_charset("<a>é€</a>".encode(encoding), "UTF-16")).text == "é€"


def test_a_byte_order_mark_goes_before_everything() -> None:
    data = codecs.BOM_UTF8 + b' <?xml version="1.0" encoding="ISO-8859-1"?>' + "<a>é€</a>".encode()
    assert parse(in_charset(data, "windows-1252")).text == "é€"


# --- well-formedness ---

SECRET = b"Dupont"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b" \n",
        b"Dupont",
        b"{}",
        b"<a>Dupont\0</a>",
        b"\0\0\0",
        b"<a>&#0;Dupont</a>",
        b"<a>Dupont</b>",
        b"<a><Dupont></a>",
        b"<a>Dupont",
        b"<a Dupont='1'",
        b"<a Dupont='1' Dupont='2'/>",
        b"<Dupont:a/>",
        b"<a/>Dupont",
        b"<a/><Dupont/>",
        b"<a><![CDATA[Dupont</a>",
        b"<a>]]>Dupont</a>",
        b"<a b=Dupont/>",
        b"<" + b"Dupont" * 10_000 + b"/>",
    ],
)
def test_ill_formed_documents_are_refused_without_quoting_them(document: bytes) -> None:
    with pytest.raises(XmlError) as refused:
        parse(document)
    assert SECRET.decode() not in str(refused.value)
    assert len(str(refused.value)) <= MAX_ERROR_LENGTH + 50
    assert refused.value.__cause__ is None


def test_every_truncation_of_a_message_is_refused() -> None:
    message = _objects('<rim:ObjectRef id="urn:uuid:1"/>')
    for length in range(len(message)):
        with pytest.raises(XmlError):
            parse(message[:length])


def test_comments_and_processing_instructions_are_dropped_and_texts_joined() -> None:
    root = parse(b"<!-- x --><?x y?><a>on<!-- x -->e<?x y?><![CDATA[ two]]><b/></a><!-- x -->")
    assert root.text == "one two"
    assert [child.tag for child in root] == ["b"]


# --- schema errors in words ---


def test_a_valid_element_has_no_errors_whatever_stands_around_it() -> None:
    inner = _objects('<rim:ObjectRef id="urn:uuid:1"/>').decode()
    envelope = parse(f"<e><other/>{inner} tail<other/></e>".encode())
    assert schema_errors(envelope[1], "rim.xsd") == []
    assert [child.tag for child in envelope] == ["other", f"{{{RIM}}}RegistryObjectList", "other"]


def test_errors_name_element_owner_line_rule_and_value_all_at_once() -> None:
    message = parse(
        _objects(
            '<rim:ExtrinsicObject id="Document01">\n<rim:Slot name="a"><rim:ValueList>'
            f"<rim:Value>{'v' * 300}</rim:Value></rim:ValueList></rim:Slot>\n"
            '<rim:Classification id="cl05" extra="1" nodeRepresentation="x"/>\n<rim:Name/></rim:ExtrinsicObject>'
            '<rim:ObjectRef id="r" createReplica="perhaps"/>'
        )
    )
    assert schema_errors(message, "rim.xsd") == [
        f"rim:Value (of Document01, line 2): 300 characters, at most 256 are allowed; it begins with '{'v' * 32}'",
        "rim:Classification@extra (of cl05, line 3): The attribute 'extra' is not allowed.",
        "rim:Classification (of cl05, line 3): The attribute 'classifiedObject' is required but missing.",
        "rim:Name (of Document01, line 4): This element is not expected. Expected is one of"
        " ( rim:Classification, rim:ExternalIdentifier, rim:ContentVersionInfo ).",
        "rim:ObjectRef@createReplica (of r, line 4): 'perhaps' is not a valid value of the atomic type 'xs:boolean'.",
    ]


def test_an_attribute_that_is_too_long_is_told_in_few_words() -> None:
    """Comments have at most 1024 characters in ebRIM's schema. What was received is not repeated as a whole."""
    comments = f'<rim:Description><rim:LocalizedString value="{"é" * 5000}"/></rim:Description>'
    message = parse(_objects(f'<rim:RegistryPackage id="a"><rim:Name/>{comments}</rim:RegistryPackage>'))
    assert schema_errors(message, "rim.xsd") == [
        f"rim:LocalizedString@value (of a, line 1): 5000 characters, at most 1024 are allowed; it begins with '{'é' * 32}'"
    ]


def test_the_prefixes_of_the_sender_do_not_matter() -> None:
    message = parse(
        f'<RegistryObjectList xmlns="{RIM}"><x:Slot xmlns:x="{RIM}"/><ObjectRef id="r"/></RegistryObjectList>'.encode()
    )
    (error,) = schema_errors(message, "rim.xsd")
    assert error.startswith("rim:Slot (line 1): This element is not expected.")
    assert len(error) == MAX_ERROR_LENGTH


def test_a_root_that_the_schema_does_not_know_is_an_error() -> None:
    (error,) = schema_errors(parse(b"<nothing/>"), "xdsb.xsd")
    assert error.startswith("nothing (line 1): No matching global declaration available")


def test_errors_beyond_the_first_hundred_are_counted() -> None:
    message = parse(_objects("".join(f'<rim:ObjectRef home="urn:{number}"/>\n' for number in range(150))))
    errors = schema_errors(message, "rim.xsd")
    assert len(errors) == MAX_REPORTED_ERRORS + 1
    assert errors[0] == "rim:ObjectRef (line 1): The attribute 'id' is required but missing."
    assert errors[-1] == "and 50 more errors"


def test_a_large_valid_message_with_an_odd_namespace_is_valid() -> None:
    """libxml2 warns of namespaces that are not absolute URIs; a warning is no error."""
    references = "".join(f'<rim:ObjectRef xmlns:x="relative" id="urn:{number}"/>' for number in range(3000))
    assert schema_errors(parse(_objects(references)), "rim.xsd") == []


@pytest.mark.parametrize("name", ["", "../setup.cfg", "/etc/passwd", "..", ".", "rim.xsd\0", "..\\rim.xsd"])
def test_a_schema_is_named_by_a_plain_file_name(name: str) -> None:
    with pytest.raises(ValueError, match="plain file name"):
        schema_errors(parse(b"<a/>"), name)


def test_an_unknown_schema_is_a_fault_of_the_installation() -> None:
    with pytest.raises(FileNotFoundError):
        schema_errors(parse(b"<a/>"), "none.xsd")


def test_threads_do_not_see_each_others_errors() -> None:
    threads, rounds = 8, 60
    start = threading.Barrier(threads)
    wrong: list[str] = []

    def work(number: int) -> None:
        message = _objects(f'<rim:ObjectRef id="own{number}" odd{number}="1"/>' * (number + 1))
        expected = [f"rim:ObjectRef@odd{number} (of own{number}, line 1): The attribute 'odd{number}' is not allowed."]
        start.wait()
        for _ in range(rounds):
            if schema_errors(parse(message), "rim.xsd") != expected:
                wrong.append(f"thread {number}")
            try:
                parse(b"<a>\n" * (number + 1))
                wrong.append(f"thread {number} read what is no XML")
            except XmlError as error:
                if f"line {number + 2}," not in str(error):
                    wrong.append(f"thread {number}: {error}")

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


#: In a process of its own, because only the first schema of a process is in danger.
_TOGETHER = """
import threading
from lxml import etree
from xds.wire.xml import schema_errors
barrier = threading.Barrier(12)
wrong = []
def check():
    barrier.wait()
    try:
        if not schema_errors(etree.Element("{urn:none}other"), "lcm.xsd"):
            wrong.append("an element of nowhere is valid")
    except etree.XMLSchemaParseError as error:
        wrong.append(str(error))
threads = [threading.Thread(target=check, daemon=True) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not wrong, wrong
"""


def test_the_first_requests_of_a_server_may_come_together() -> None:
    """Schemas that threads compiled at one moment were refused in one start of five, or never ended a validation."""
    for _ in range(8):
        subprocess.run([sys.executable, "-c", _TOGETHER], check=True, timeout=60)


# --- memory ---


def test_names_that_were_read_are_forgotten() -> None:
    """A thread that is sent new names all the time does not keep them."""

    def read(first: int) -> None:
        parse(
            b"<r>"
            + b"".join(b"<a-name-that-nobody-has-ever-heard-of-%d/>" % (first + number) for number in range(50_000))
            + b"</r>"
        )

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    for number in range(4):
        read(number * 50_000)
    before = resident()
    for number in range(4, 24):
        read(number * 50_000)
    assert resident() - before < 40 << 20


def test_a_tree_keeps_its_names_when_the_thread_forgets_them() -> None:
    kept = [parse(b"<r%d xmlns:n='urn:%d'><n:a b='1'>text</n:a></r%d>" % (number, number, number)) for number in range(5)]
    for number in range(3):
        parse(b"<r>" + b"<x%d/>" % number * 200_000 + b"</r>")
    for number, root in enumerate(kept):
        assert (root.tag, root[0].tag, root[0].get("b"), root.findtext(f"{{urn:{number}}}a")) == (
            f"r{number}",
            f"{{urn:{number}}}a",
            "1",
            "text",
        )
    kept[0].append(kept[1][0])
    assert parse(etree.tostring(kept[0]))[1].tag == "{urn:1}a"


def test_a_large_message_is_read_no_further_than_to_some_errors() -> None:
    attributes = " ".join(f'a{number}="x"' for number in range(200))
    message = parse(_objects(f"<rim:ObjectRef {attributes}/>" * 2100))
    errors = schema_errors(message, "rim.xsd")
    assert len(errors) == MAX_REPORTED_ERRORS + 1
    assert errors[-1].startswith("and at least ")
