"""Envelopes, addressing headers and faults. Spec: ITI TF-2 Appendix V; SOAP 1.2 part 1; WS-Addressing 1.0 SOAP binding."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from xds.wire.soap import (
    ANONYMOUS,
    WSSE,
    Addressing,
    SoapFault,
    action_not_supported,
    message_id_of,
    read_envelope,
    read_fault,
    require_anonymous,
    write_envelope,
    write_fault,
)
from xds.wire.xml import SOAP12, WSA, XmlError, parse

NS = {"s": SOAP12, "wsa": WSA}
ACTION = '<a:Action s:mustUnderstand="1">urn:x</a:Action>'


def envelope(headers: str = ACTION, body: str = "<x/>", *, after: str = "", soap: str = SOAP12) -> etree._Element:
    content = f"<s:Header>{headers}</s:Header><s:Body>{body}</s:Body>{after}"
    return parse(f'<s:Envelope xmlns:s="{soap}" xmlns:a="{WSA}">{content}</s:Envelope>'.encode())


def refusal(root: etree._Element) -> SoapFault:
    with pytest.raises(SoapFault) as caught:
        read_envelope(root)
    return caught.value


def test_reads_every_addressing_header() -> None:
    headers = (
        f"<a:RelatesTo>urn:uuid:2</a:RelatesTo><a:To> http://here </a:To><a:MessageID>\n urn:uuid:1 </a:MessageID>{ACTION}"
        f"<a:ReplyTo><a:Address> {ANONYMOUS} </a:Address><a:ReferenceParameters/></a:ReplyTo>"
        "<a:FaultTo><a:Address>http://faults</a:Address></a:FaultTo><a:From><a:Address>urn:me</a:Address></a:From>"
    )
    addressing, body, blocks = read_envelope(envelope(headers))
    assert addressing == Addressing("urn:x", "urn:uuid:1", "http://here", ANONYMOUS, "http://faults", "urn:uuid:2")
    assert body.tag == "x"
    assert len(blocks) == 7


def test_only_action_is_required() -> None:
    assert read_envelope(envelope()).addressing == Addressing("urn:x")


def test_white_space_around_body_and_header_is_nothing() -> None:
    assert read_envelope(envelope(f"\n {ACTION}\n ", "\n <x/>\n ")).body.tag == "x"


def test_written_envelopes_are_read_back() -> None:
    addressing = Addressing("urn:x?a&b", "urn:uuid:1", "http://to/<>", ANONYMOUS, ANONYMOUS, "urn:uuid:0")
    data = b"".join(write_envelope([b'<x xmlns="urn:y">', b"</x>"], addressing))
    found = read_envelope(parse(data))
    assert found.addressing == addressing
    assert found.body.tag == "{urn:y}x"
    action = parse(data).find("s:Header/wsa:Action", NS)
    assert action.get(f"{{{SOAP12}}}mustUnderstand") == "true"


# ------------------------------------------------------------------ version and structure


@pytest.mark.parametrize("namespace", ["http://schemas.xmlsoap.org/soap/envelope/", "urn:other"])
def test_other_versions_are_a_version_mismatch(namespace: str) -> None:
    """SOAP 1.2 part 1 5.4.7: the answer says in an Upgrade header which version is understood."""
    fault = refusal(envelope(soap=namespace))
    assert (fault.code, fault.http_status) == ("VersionMismatch", 415)
    supported = parse(write_fault(fault)).find("s:Header/s:Upgrade/s:SupportedEnvelope", NS)
    prefix, local = supported.get("qname").split(":")
    assert (supported.nsmap[prefix], local) == (SOAP12, "Envelope")


def test_what_is_no_envelope_is_the_senders_fault() -> None:
    fault = refusal(parse(b"<AdhocQueryRequest/>"))
    assert (fault.code, fault.http_status) == ("Sender", 400)


@pytest.mark.parametrize(
    ("body", "after"), [("", ""), (" ", ""), ("<x/><y/>", ""), ("text", ""), ("<x/>", "<s:Body/>"), ("<x/>", "<more/>")]
)
def test_one_body_with_one_element(body: str, after: str) -> None:
    assert refusal(envelope(body=body, after=after)).code == "Sender"


def test_header_and_body_in_the_wrong_order() -> None:
    root = parse(f'<s:Envelope xmlns:s="{SOAP12}"><s:Body><x/></s:Body><s:Header/></s:Envelope>'.encode())
    assert refusal(root).code == "Sender"


def test_an_envelope_without_header_lacks_its_action() -> None:
    root = parse(f'<s:Envelope xmlns:s="{SOAP12}"><s:Body><x/></s:Body></s:Envelope>'.encode())
    assert refusal(root).subcode == (WSA, "MessageAddressingHeaderRequired")


# ------------------------------------------------------------------ mustUnderstand


@pytest.mark.parametrize("value", ["1", "true", " true "])
@pytest.mark.parametrize("role", [None, "", f"{SOAP12}/role/next", f"{SOAP12}/role/ultimateReceiver"])
def test_unknown_headers_that_must_be_understood(value: str, role: str | None) -> None:
    """SOAP 1.2 part 1 5.4.8: a NotUnderstood block names each of them."""
    at = f' s:role="{role}"' if role is not None else ""
    strange = f'<t:Lock xmlns:t="urn:t" s:mustUnderstand="{value}"{at}/><None s:mustUnderstand="{value}"{at}/>'
    fault = refusal(envelope(ACTION + strange + strange))
    assert (fault.code, fault.http_status) == ("MustUnderstand", 500)
    assert fault.not_understood == ("{urn:t}Lock", "None")
    named = parse(write_fault(fault)).findall("s:Header/s:NotUnderstood", NS)
    names = [block.get("qname").rpartition(":") for block in named]
    assert [(block.nsmap.get(prefix or None), local) for block, (prefix, _, local) in zip(named, names, strict=True)] == [
        ("urn:t", "Lock"),
        (None, "None"),
    ]


@pytest.mark.parametrize(
    "header",
    [
        '<t:Lock xmlns:t="urn:t"/>',
        '<t:Lock xmlns:t="urn:t" s:mustUnderstand="0"/>',
        '<t:Lock xmlns:t="urn:t" s:mustUnderstand="false"/>',
        f'<t:Lock xmlns:t="urn:t" s:mustUnderstand="1" s:role="{SOAP12}/role/none"/>',
        '<t:Lock xmlns:t="urn:t" s:mustUnderstand="1" s:role="urn:somebody:else"/>',
        f'<w:Security xmlns:w="{WSSE}" s:mustUnderstand="1"><w:Anything/></w:Security>',
        '<a:To s:mustUnderstand="true">http://here</a:To>',
    ],
)
def test_headers_that_do_not_matter(header: str) -> None:
    assert read_envelope(envelope(ACTION + header)).addressing.action == "urn:x"


def test_must_understand_is_a_boolean() -> None:
    assert refusal(envelope(ACTION + '<t:Lock xmlns:t="urn:t" s:mustUnderstand="yes"/>')).code == "Sender"


def test_the_header_of_another_node_is_not_our_addressing() -> None:
    other = '<a:Action s:role="urn:somebody:else">urn:other</a:Action>'
    assert read_envelope(envelope(other + ACTION)).addressing.action == "urn:x"


# ------------------------------------------------------------------ addressing faults


@pytest.mark.parametrize("headers", ["", "<a:Action/>", "<a:Action>  </a:Action>", "<a:MessageID>urn:uuid:1</a:MessageID>"])
def test_missing_action(headers: str) -> None:
    fault = refusal(envelope(headers))
    assert (fault.code, fault.subcode, fault.http_status) == ("Sender", (WSA, "MessageAddressingHeaderRequired"), 400)
    problem = parse(write_fault(fault)).find("s:Body/s:Fault/s:Detail/wsa:ProblemHeaderQName", NS)
    prefix, local = problem.text.split(":")
    assert (problem.nsmap[prefix], local) == (WSA, "Action")


@pytest.mark.parametrize("name", ["Action", "MessageID", "To", "ReplyTo", "FaultTo", "From"])
def test_headers_that_stand_twice(name: str) -> None:
    twice = f"<a:{name}><a:Address>urn:x</a:Address></a:{name}>" * 2
    fault = refusal(envelope((ACTION if name != "Action" else "") + twice))
    assert (fault.subcode, fault.subsubcode) == ((WSA, "InvalidAddressingHeader"), (WSA, "InvalidCardinality"))
    assert f"wsa:{name}" in fault.detail


def test_a_message_may_relate_to_several() -> None:
    two = "<a:RelatesTo>urn:uuid:1</a:RelatesTo><a:RelatesTo RelationshipType='urn:y'>urn:uuid:2</a:RelatesTo>"
    assert read_envelope(envelope(ACTION + two)).addressing.relates_to == "urn:uuid:1"


def test_an_endpoint_reference_has_an_address() -> None:
    fault = refusal(envelope(ACTION + "<a:ReplyTo/>"))
    assert (fault.subcode, fault.subsubcode) == ((WSA, "InvalidAddressingHeader"), (WSA, "MissingAddressInEPR"))


@pytest.mark.parametrize("name", ["ReplyTo", "FaultTo"])
@pytest.mark.parametrize("address", ["http://elsewhere/callback", f"{WSA}/none"])
def test_only_anonymous_addresses(name: str, address: str) -> None:
    header = f"<a:{name}><a:Address>{address}</a:Address></a:{name}>"
    addressing = read_envelope(envelope(ACTION + header)).addressing
    with pytest.raises(SoapFault) as caught:
        require_anonymous(addressing)
    assert caught.value.subsubcode == (WSA, "OnlyAnonymousAddressSupported")
    assert caught.value.http_status == 400


def test_anonymous_and_absent_addresses_are_welcome() -> None:
    require_anonymous(Addressing("urn:x"))
    require_anonymous(Addressing("urn:x", reply_to=ANONYMOUS, fault_to=ANONYMOUS))


def test_an_unsupported_action_is_repeated_harmlessly_and_not_at_length() -> None:
    fault = action_not_supported("<script>&" + "x" * 5000)
    root = parse(write_fault(fault))
    told = root.find("s:Body/s:Fault/s:Detail/wsa:ProblemAction/wsa:Action", NS)
    assert told.text.startswith("<script>&xxx")
    assert len(told.text) == 256


# ------------------------------------------------------------------ faults


def test_the_shape_of_a_fault() -> None:
    """SOAP 1.2 part 1 5.4; the order and nesting of the elements is fixed."""
    fault = SoapFault("Sender", "a <b> & c", subcode=(WSA, "InvalidAddressingHeader"), subsubcode=(WSA, "InvalidAddress"))
    root = parse(write_fault(fault, message_id="urn:uuid:1", relates_to="urn:uuid:0&"))
    assert [etree.QName(child).localname for child in root] == ["Header", "Body"]
    assert root.findtext("s:Header/wsa:Action", namespaces=NS) == f"{WSA}/fault"
    assert root.findtext("s:Header/wsa:MessageID", namespaces=NS) == "urn:uuid:1"
    assert root.findtext("s:Header/wsa:RelatesTo", namespaces=NS) == "urn:uuid:0&"
    body = root.find("s:Body", NS)
    assert [child.tag for child in body] == [f"{{{SOAP12}}}Fault"]
    assert [etree.QName(child).localname for child in body[0]] == ["Code", "Reason"]
    code = body[0][0]
    assert [etree.QName(child).localname for child in code] == ["Value", "Subcode"]
    assert code[0].text == "s:Sender"
    assert body[0].findtext("s:Reason/s:Text", namespaces=NS) == "a <b> & c"
    assert body[0].find("s:Reason/s:Text", NS).get("{http://www.w3.org/XML/1998/namespace}lang") == "en"


@pytest.mark.parametrize(
    ("fault", "action", "status"),
    [
        (SoapFault("Sender", "x"), "soap/fault", 400),
        (SoapFault("Receiver", "x"), "soap/fault", 500),
        (SoapFault("MustUnderstand", "x"), "soap/fault", 500),
        (SoapFault("VersionMismatch", "x"), "soap/fault", 415),
        (SoapFault("Sender", "x", http_status=413), "soap/fault", 413),
        (SoapFault("Sender", "x", subcode=(WSSE, "InvalidSecurity")), "soap/fault", 400),
        (SoapFault("Receiver", "x", subcode=(WSA, "EndpointUnavailable")), "fault", 500),
    ],
)
def test_action_and_status_of_a_fault(fault: SoapFault, action: str, status: int) -> None:
    root = parse(write_fault(fault))
    assert root.findtext("s:Header/wsa:Action", namespaces=NS) == f"{WSA}/{action}"
    assert fault.http_status == status


def test_written_faults_are_read_back() -> None:
    fault = SoapFault(
        "Sender", "why", subcode=("urn:a", "A"), subsubcode=("urn:b&", "B"), detail="<wsa:ProblemIRI>urn:x</wsa:ProblemIRI>"
    )
    found = read_fault(parse(write_fault(fault)), 400)
    assert found is not None
    assert (found.code, found.reason, found.subcode, found.subsubcode, found.http_status) == (
        "Sender",
        "why",
        ("urn:a", "A"),
        ("urn:b&", "B"),
        400,
    )
    assert "urn:x" in found.detail


def test_faults_of_others() -> None:
    """Their prefixes, languages and omissions; the English text is preferred."""
    text = (
        f'<e:Envelope xmlns:e="{SOAP12}"><e:Body><e:Fault><e:Code><e:Value xmlns:q="{SOAP12}">q:Receiver</e:Value></e:Code>'
        '<e:Reason><e:Text xml:lang="fr">pourquoi</e:Text><e:Text xml:lang="en-GB"> why </e:Text></e:Reason>'
        "</e:Fault></e:Body></e:Envelope>"
    )
    found = read_fault(parse(text.encode()))
    assert found is not None
    assert (found.code, found.reason, found.subcode) == ("Receiver", "why", None)
    bare = read_fault(parse(f'<e:Envelope xmlns:e="{SOAP12}"><e:Body><e:Fault/></e:Body></e:Envelope>'.encode()))
    assert bare is not None
    assert (bare.code, bare.reason) == ("Receiver", "no reason given")
    assert read_fault(envelope()) is None


def test_the_message_id_of_a_broken_message() -> None:
    root = envelope("<a:MessageID>urn:uuid:1</a:MessageID>", "")
    assert refusal(root)
    assert message_id_of(root) == "urn:uuid:1"
    assert message_id_of(parse(b"<x/>")) is None


@pytest.mark.parametrize("name", ["derived-billion-laughs.xml", "derived-xxe.xml"])
def test_document_type_declarations_are_refused(shared: Path, name: str) -> None:
    with pytest.raises(XmlError, match="DOCTYPE"):
        parse((shared / "vectors/messages/SOAP-attacks" / name).read_bytes())
