"""ITI-9 as most consumers write it: answered as text, and never otherwise than by the reader of whole messages.

Spec: ITI TF-2 3.9.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.identity import AFFINITY, CALLER, CONFIGURED, HOSPITAL_A, HOSPITAL_B, INS, Refusing, Region, at
from xds.model.patient import Demographics, FeedKind
from xds.transactions import iti09_pix_query as iti09
from xds.wire import hl7v2

NOBODY = Demographics()
HEADER = r"MSH|^~\&|VIEWER|CLINIC|XDS|REGION|20260301||QBP^Q23^QBP_Q21|Q-1|P|2.5"
A = f"{HOSPITAL_A.namespace}&{HOSPITAL_A.oid}&ISO"
B = f"{HOSPITAL_B.namespace}&{HOSPITAL_B.oid}&ISO"
AFFINITY_HD = f"&{AFFINITY.oid}&ISO"

PLAIN = {
    "all domains": f"{HEADER}\rQPD|IHE PIX Query|T1|1^^^{A}\rRCP|I\r",
    "one domain": f"{HEADER}\rQPD|IHE PIX Query|T1|1^^^{A}^PI|^^^{B}\rRCP|I",
    "two domains": f"{HEADER}\rQPD|IHE PIX Query^x|T 1-2|1^^^{A}|^^^{B}~^^^{AFFINITY_HD}\rRCP|I||\r",
    "own domain": f"{HEADER}\rQPD|IHE PIX Query|T1|1^^^{A}|^^^{A}\rRCP|I\r",
    "namespace alone": f"{HEADER}\rQPD|IHE PIX Query|T1|1^^^{HOSPITAL_A.namespace}|^^^{HOSPITAL_B.namespace}\rRCP|I\r",
    "no other identifier": f"{HEADER}\rQPD|IHE PIX Query|T1|7^^^{A}|^^^{B}\rRCP|I\r",
    "unknown identifier": f"{HEADER}\rQPD|IHE PIX Query|T1|nobody^^^{A}\rRCP|I\r",
    "unknown domain": f"{HEADER}\rQPD|IHE PIX Query|T1|1^^^&1.9.9&ISO\rRCP|I\r",
    "unknown domains asked for": f"{HEADER}\rQPD|IHE PIX Query|T1|1^^^{A}|^^^{B}~^^^&1.9.9&ISO~^^^X\rRCP|I\r",
    "contradictory domain": f"{HEADER}\rQPD|IHE PIX Query|T1|1^^^{HOSPITAL_A.namespace}&{HOSPITAL_B.oid}&ISO\rRCP|I\r",
    "national identifier": f"{HEADER}\rQPD|IHE PIX Query|T1|180017512345671^^^&{INS.oid}&ISO\rRCP|I\r",
    "subsumed identifier": f"{HEADER}\rQPD|IHE PIX Query|T1|2^^^{A}\rRCP|I\r",
    "systems with OIDs": f"{HEADER.replace('VIEWER', 'V^1.2.3^ISO').replace('|P|', '|T|')}\rQPD|q|T1|1^^^{A}\rRCP|I\r",
    "structure left out": f"{HEADER.replace('^QBP_Q21', '')}||AL|NE\rQPD|q|T1|1^^^{A}\rRCP|I\r",
}
OTHER = {
    "a feed": r"MSH|^~\&|ADT|HOSP_A|XDS|XDS|20260301||ADT^A08^ADT_A01|1|P|2.5" + "\rEVN|A08\rPID|||1\r",
    "an older version": f"{HEADER.replace('2.5', '2.3.1')}\rQPD|q|T1|1^^^{A}\rRCP|I\r",
    "no processing id": f"{HEADER.replace('|P|', '||')}\rQPD|q|T1|1^^^{A}\rRCP|I\r",
    "a character set": f"{HEADER}||||||8859/1\rQPD|q|T1|1^^^{A}\rRCP|I\r",
    "an escape": f"{HEADER}\rQPD|q|T\\T\\1|1^^^{A}\rRCP|I\r",
    "no ASCII": f"{HEADER}\rQPD|q|é|1^^^{A}\rRCP|I\r",
    "other separators": f"{HEADER.replace('^~', '~^')}\rQPD|q|T1|1~~~{A}\rRCP|I\r",
    "two identifiers": f"{HEADER}\rQPD|q|T1|1^^^{A}~7^^^{A}\rRCP|I\r",
    "no tag": f"{HEADER}\rQPD|q||1^^^{A}\rRCP|I\r",
    "no identifier": f"{HEADER}\rQPD|q|T1|^^^{A}\rRCP|I\r",
    "a domain without a name": f"{HEADER}\rQPD|q|T1|1^^^{A}|X\rRCP|I\r",
    "no control id": f"{HEADER.replace('Q-1', '')}\rQPD|q|T1|1^^^{A}\rRCP|I\r",
    "deferred": f"{HEADER}\rQPD|q|T1|1^^^{A}\rRCP|D\r",
    "no RCP": f"{HEADER}\rQPD|q|T1|1^^^{A}\r",
    "a second QPD": f"{HEADER}\rQPD|q|T1|1^^^{A}\rQPD|q|T1|1^^^{A}\rRCP|I\r",
}


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    region = Region(tmp_path_factory.mktemp("plain"), domains=CONFIGURED)
    region.feed(at(HOSPITAL_A, "1"))
    region.feed(at(HOSPITAL_A, "2"), at(INS, "180017512345671"))
    region.feed(at(HOSPITAL_B, "1", "PI"), source="HOSP_B|ADT")
    region.feed(at(HOSPITAL_A, "7"), demographics=NOBODY)
    assert region.feed(at(HOSPITAL_A, "1"), kind=FeedKind.MERGE, subsumed=(at(HOSPITAL_A, "2"),)) == ()
    yield region
    region.close()


def without_time(answer: bytes) -> list[list[bytes]]:
    fields = [line.split(b"|") for line in answer.split(b"\r")]
    fields[0][6] = fields[0][9] = b""
    return fields


class TestPlainQueries:
    @pytest.mark.parametrize("name", PLAIN)
    def test_the_answer_and_its_audit_are_those_of_the_whole_message(self, region: Region, name: str) -> None:
        data = PLAIN[name].encode()
        # The second time, what was asked for is remembered.
        plainly = [iti09.respond_plainly(data, region.domain, CALLER) for _ in range(2)]
        whole = hl7v2.write(iti09.respond(hl7v2.read(data), region.domain, CALLER))
        for answer in plainly:
            assert answer is not None
            assert without_time(answer) == without_time(whole)
        first, second, third = region.audited()[-3:]
        assert first.objects == second.objects == third.objects
        assert (second.participants, second.outcome, second.event_type) == (third.participants, third.outcome, third.event_type)

    def test_somebody_is_found(self, region: Region) -> None:
        answer = iti09.respond_plainly(PLAIN["one domain"].encode(), region.domain, CALLER)
        assert answer is not None
        assert f"PID|||1^^^{B}^PI||~^^^^^^S\r".encode() in answer
        answer = iti09.respond_plainly(PLAIN["own domain"].encode(), region.domain, CALLER)
        assert answer is not None
        assert b"|NF\r" in answer

    @pytest.mark.parametrize("name", OTHER)
    def test_everything_else_is_left_to_the_whole_message(self, region: Region, name: str) -> None:
        assert iti09.respond_plainly(OTHER[name].encode(), region.domain, CALLER) is None

    def test_an_access_rule_is_asked(self, tmp_path: Path) -> None:
        refusing = Region(tmp_path, domains=CONFIGURED, access=Refusing())
        refusing.feed(at(HOSPITAL_A, "1"))
        answer = iti09.respond_plainly(PLAIN["all domains"].encode(), refusing.domain, CALLER)
        assert answer is not None
        assert b"\rMSA|AE|" in answer
        refusing.close()
