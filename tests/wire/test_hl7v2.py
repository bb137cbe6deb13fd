"""HL7 v2 messages: ER7 to segments and back.

Spec: HL7 v2.5 chapter 2; ITI TF-2 Appendix C.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds.wire import hl7v2
from xds.wire.hl7v2 import Condition, Message, Separators, UnreadableError

HEAD = b"MSH|^~\\&|ADT|HOSP|PIX|REG|20260115||ADT^A01|77|P|2.3.1"
#: What a partner may write between delimiters: anything printable, line breaks and delimiters included, but no surrogates.
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=40)


def read(*segments: bytes, end: bytes = b"\r", head: bytes = HEAD) -> Message:
    return hl7v2.read(end.join((head, *segments)) + end)


class TestReading:
    @pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\r\n\r\n"])
    def test_segments_end_with_any_line_end(self, end: bytes) -> None:
        message = read(b"EVN|A01", b"PID|1||7^^^HOSP&1.2.3&ISO", end=end)
        assert [item.name for item in message.segments] == ["MSH", "EVN", "PID"]
        assert message.get("PID-3.4.2") == "1.2.3"

    def test_a_line_feed_inside_a_value(self) -> None:
        for end in (b"\n", b"\r"):
            message = read(b"OBX|1|ED|first\nsecond|N", b"OBX|2", end=end)
            assert message.get("OBX-3") == "first\nsecond"
            assert message.count("OBX") == 2

    def test_values_are_found_by_their_usual_names(self) -> None:
        message = read(b"PID|1||7^^^HOSP&1.2.3&ISO~8^^^LAB||DOE^JOHN|", b"NK1|1|A", b"NK1|2|B")
        assert message.get("MSH-1") == "|"
        assert message.get("MSH-2") == "^~\\&"
        assert (message.message_type, message.event, message.control_id, message.version) == ("ADT", "A01", "77", "2.3.1")
        assert message.get("PID-3") == message.get("PID-3.1.1") == "7"
        assert message.get("PID-3", 2) == "8"
        assert message.get("PID-3", 3) == message.get("PID-3.9") == message.get("PID-99") == message.get("ZZZ-1") == ""
        assert message.get("PID-3.4.1", 2) == "LAB"
        assert message.get("PID-5.2") == "JOHN"
        assert message.get("NK1-2", occurrence=2) == "B"
        assert message.repetitions("PID-3") == 2
        assert message.repetitions("PID-4") == 0
        assert message.count("NK1") == 2
        assert message.field("PID-3") == "7^^^HOSP&1.2.3&ISO~8^^^LAB"

    @pytest.mark.parametrize("path", ["PID", "PID-0", "pid-3", "PID-3.", "PID-3.1.1.1", ""])
    def test_a_name_that_names_nothing(self, path: str) -> None:
        with pytest.raises(ValueError, match="not the name"):
            read().get(path)

    def test_escapes(self) -> None:
        message = read(b"PID|||a\\F\\b\\S\\c\\R\\d\\T\\e\\E\\f\\X0D\\g\\.br\\h\\H\\i\\N\\\\Z1\\j")
        assert message.get("PID-3") == "a|b^c~d&e\\f\rg\nhi\\Z1\\j"

    @pytest.mark.parametrize(
        ("written", "codec", "text"),
        [
            ("L\\XC3A9\\on", "utf-8", "Léon"),
            ("L\\XC3\\\\XA9\\on", "utf-8", "Léon"),
            ("L\\XE9\\on", "utf-8", "Léon"),
            ("L\\XE9\\on", "iso8859-1", "Léon"),
            ("\\X41\\X42\\", "utf-8", "AX42\\"),
        ],
    )
    def test_octets_are_characters_of_the_message(self, written: str, codec: str, text: str) -> None:
        """`\\Xdddd\\` is a series of octets (HL7 v2.5 chapter 2.7.5); nothing of a name is lost to how they are cut."""
        assert hl7v2.unescape(written, codec=codec) == text

    @pytest.mark.parametrize("declared", ["|^~\\", "|^~", "#^~\\", "#*!?", "#*!", "|^~\\&#"])
    def test_separators_that_are_not_used_may_be_left_out(self, declared: str) -> None:
        """Figure 2-1 of HL7 v2.5: "if there are no subcomponents, this character may be omitted"; so may the escape."""
        field, component, repetition = declared[:3]
        pid = field.join(("PID", "", "", f"7{component}{component}{component}HOSP{repetition}8", "", f"DOE{component}JOHN"))
        header = field.join((f"MSH{declared}", *["A"] * 6, f"ADT{component}A01", "77", "P", "2.3.1"))
        message = hl7v2.read(f"{header}\r{pid}\r".encode())
        assert (message.get("PID-3.4"), message.get("PID-3", 2), message.get("PID-5.2")) == ("HOSP", "8", "JOHN")

    def test_other_separators(self) -> None:
        message = hl7v2.read(b"MSH#*!?%#ADT#HOSP\rPID###7***HOSP%1.2.3%ISO!8?S?9\r")
        assert message.get("PID-3.4.2") == "1.2.3"
        assert message.get("PID-3", 2) == "8*9"
        assert hl7v2.translate(message.field("PID-3"), message.separators) == "7^^^HOSP&1.2.3&ISO~8*9"
        assert hl7v2.read(hl7v2.write(message)) == message

    @pytest.mark.parametrize(
        ("declared", "codec"),
        [
            (b"", "iso8859-1"),
            (b"ASCII", "iso8859-1"),
            (b"8859/1", "iso8859-1"),
            (b"8859/15", "iso8859-15"),
            (b"UNICODE UTF-8", "utf-8"),
            (b"unicode utf-8", "utf-8"),
            (b"", "utf-8"),
        ],
    )
    def test_character_sets(self, declared: bytes, codec: str) -> None:
        message = read("PID|||1||Lefèvre^Zoé".encode(codec), head=HEAD + b"||||||" + declared)
        assert message.get("PID-5.2") == "Zoé"
        assert hl7v2.read(hl7v2.write(message)).get("PID-5") == "Lefèvre"

    def test_a_text_that_does_not_fit_its_character_set_goes_out_in_utf_8(self) -> None:
        message = read(b"PID|||1", head=HEAD + b"||||||8859/1")
        wider = Message((*message.segments, hl7v2.segment("NTE", {3: "Łódź"})), codec=message.codec)
        again = hl7v2.read(hl7v2.write(wider))
        assert again.get("MSH-18") == "UNICODE UTF-8"
        assert again.get("NTE-3") == "Łódź"

    def test_ascii_needs_no_character_set(self) -> None:
        assert b"UNICODE" not in hl7v2.write(read(b"PID|||1"))

    @pytest.mark.parametrize(
        ("data", "condition", "location"),
        [
            (b"", Condition.SEGMENT_SEQUENCE, "MSH^1"),
            (b"PID|||1", Condition.SEGMENT_SEQUENCE, "MSH^1"),
            (b"MSH", Condition.SEGMENT_SEQUENCE, "MSH^1^2"),
            (b"MSH|", Condition.SEGMENT_SEQUENCE, "MSH^1^2"),
            (b"MSH|^^^^|A", Condition.SEGMENT_SEQUENCE, "MSH^1^2"),
            (b"MSH|^|A", Condition.SEGMENT_SEQUENCE, "MSH^1^2"),
            (b"MSH&^~\\&A", Condition.SEGMENT_SEQUENCE, "MSH^1^2"),
            (b"MSHA^~\\&", Condition.SEGMENT_SEQUENCE, "MSH^1^2"),
            (b"FHS|^~\\&|A\rBHS|^~\\&|A\r" + HEAD, Condition.SEGMENT_SEQUENCE, "FHS^1"),
            (HEAD + b"\rnot a segment\r", Condition.SEGMENT_SEQUENCE, ""),
            (HEAD + b"\r" + HEAD + b"\r", Condition.SEGMENT_SEQUENCE, "MSH^2"),
            (HEAD + b"||||||ISO IR87\r", Condition.TABLE_VALUE, "MSH^1^18"),
            (HEAD + b"||||||UNICODE UTF-8\rPID|||\xff\r", Condition.DATA_TYPE, "MSH^1^18"),
            (HEAD + b"\rPID|||" + b"~" * 1000 + b"\r", Condition.DATA_TYPE, "PID^1^3"),
            (HEAD + b"\rZZZ" * 50_001, Condition.SEGMENT_SEQUENCE, ""),
        ],
    )
    def test_unreadable(self, data: bytes, condition: Condition, location: str) -> None:
        with pytest.raises(UnreadableError) as caught:
            hl7v2.read(data)
        assert caught.value.fault.condition is condition
        assert str(caught.value.fault.location or "") == location

    def test_reading_a_long_field_repetition_by_repetition_takes_linear_time(self) -> None:
        value = b"x" * 10_000
        message = hl7v2.read(HEAD + b"\rPID|||" + b"~".join([value] * 1000) + b"\r")
        started = time.process_time()
        assert all(len(message.get("PID-3.1", number)) == 10_000 for number in range(1, 1001))
        assert time.process_time() - started < 1

    def test_an_unreadable_message_can_still_be_answered_by_its_header(self) -> None:
        with pytest.raises(UnreadableError) as caught:
            hl7v2.read(HEAD + b"\r?\r")
        assert caught.value.header.control_id == "77"
        assert "line 2" in caught.value.fault.text
        assert caught.value.fault.received == "?"

    def test_a_message_without_separators_can_still_be_answered_by_its_control_id(self) -> None:
        """MSA-2 is required in every acknowledgement (HL7 v2.5 chapter 2.15.8)."""
        with pytest.raises(UnreadableError) as caught:
            hl7v2.read(HEAD.replace(b"^~\\&", b"^^"))
        assert caught.value.header.control_id == "77"


class TestRoundTrips:
    @given(TEXT)
    def test_text_survives_escaping(self, text: str) -> None:
        escaped = hl7v2.escape(text)
        assert hl7v2.unescape(escaped) == text
        assert not set(escaped) & set("|^~&\r\n\x0b\x1c")

    @given(TEXT)
    def test_a_value_survives_the_wire(self, text: str) -> None:
        message = Message((*read().segments, hl7v2.segment("PID", {3: hl7v2.escape(text) + "^^^HOSP", 5: "X"})))
        assert hl7v2.read(hl7v2.write(message)).get("PID-3") == text

    @given(st.text('ab^&~|\\#%!?"', max_size=30))
    def test_translation_keeps_every_value(self, text: str) -> None:
        other = Separators("#", "*", "!", "?", "%")
        field = text.replace("|", "").replace("#", "").replace("?", "")
        there = Message((hl7v2.segment("PID", {3: field}),), other)
        here = Message((hl7v2.segment("PID", {3: hl7v2.translate(field, other)}),))
        for repetition in range(1, 4):
            for path in ("PID-3.1.1", "PID-3.1.2", "PID-3.2.1", "PID-3.2.2"):
                assert here.get(path, repetition) == there.get(path, repetition)

    @given(st.binary(max_size=200))
    def test_any_octets_are_read_or_refused(self, data: bytes) -> None:
        for candidate in (data, HEAD + b"\r" + data, b"MSH" + data):
            try:
                message = hl7v2.read(candidate)
            except UnreadableError:
                continue
            message.get("PID-3.4.2")
            hl7v2.read(hl7v2.write(message))

    @pytest.mark.parametrize("marks", ["/^~\\&", "|/~\\&", "|-~\\/", "|^/\\-", "-^~/&"])
    def test_separators_that_stand_in_the_name_of_a_character_set(self, marks: str) -> None:
        field = marks[0]
        data = field.join((f"MSH{marks}", "A", "B", "", "", "", "", "ADT", "1", "P", "2.5\rPID", "", "", "é")).encode("iso8859-1")
        message = hl7v2.read(data)
        written = hl7v2.read(hl7v2.write(message))
        assert (written.separators, written.get("PID-3")) == (message.separators, "é")

    @pytest.mark.parametrize("marks", ["\x80^~\\&", "|^\xa7\\&"])
    def test_separators_are_ascii(self, marks: str) -> None:
        with pytest.raises(UnreadableError, match="five different separators"):
            hl7v2.read(f"MSH{marks}A".encode("iso8859-1"))

    def test_every_sample_survives(self, shared: Path) -> None:
        samples = sorted((shared / "vectors/messages").glob("ITI-*/*.hl7"))
        assert len(samples) > 80
        for sample in samples:
            message = hl7v2.read(sample.read_bytes())
            assert hl7v2.read(hl7v2.write(message)).segments[1:] == message.segments[1:], sample.name


def test_ends_of_strings_that_a_program_left_behind_are_no_text() -> None:
    message = hl7v2.read(b"MSH|^~\\&|A\0|B|C|D|20260101||ADT^A01|1|P|2.5\rPID|||1\x002^^^H\r")
    assert (message.get("MSH-3"), message.get("PID-3.1")) == ("A", "12")
