"""The MLLP server: frames, limits, dispatch.

Spec: HL7 Minimal Lower Layer Protocol; ITI TF-2 C.2.1, C.2.3.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from structlog.testing import capture_logs

from tests.identity import IDENTITY, Region
from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.server import listener
from xds.server.listener import Listener, Shared
from xds.server.mllp import MllpServer
from xds.transactions import iti08_patient_identity_feed as iti08
from xds.transactions import iti09_pix_query as iti09
from xds.transactions.mllp_client import address, send_mllp
from xds.transactions.transaction import Transaction, Wire
from xds.wire import hl7v2
from xds.wire.hl7v2 import Message
from xds.wire.hl7v2_answers import Acknowledgement, new_control_id, write_ack

PKI = Path(__file__).parent / "pki"
NOW = datetime(2026, 1, 15, tzinfo=UTC)
HEAD = "MSH|^~\\&|ADT|HOSP|PIX|REG|20260115||{type}|{control_id}|P|{version}"


def message(type_: str = "ADT^A01", control_id: str = "1", version: str = "2.3.1", rest: str = "") -> bytes:
    return (HEAD.format(type=type_, control_id=control_id, version=version) + "\r" + rest).encode()


def framed(data: bytes) -> bytes:
    return b"\x0b" + data + b"\x1c\r"


class Probe(ModuleType):
    """A transaction that accepts; it fails on demand, waits on demand, and notes who called."""

    TRANSACTION = Transaction(
        id="PROBE", name="Probe", responder="test", wire=Wire.HL7V2, triggers=("ADT^A01", "ADT^A08", "QBP^Q23")
    )

    def __init__(self) -> None:
        super().__init__("probe")
        self.callers: list[Caller] = []
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.answers_another = False

    def respond(self, request: Message, domain: Domain, caller: Caller) -> Message:
        self.callers.append(caller)
        if self.answers_another:
            request = hl7v2.read(message(control_id="another"))
        if request.event == "A08":
            self.entered.set()
            self.go_on.wait(60)
        if request.get("NTE-3") == "fail":
            raise RuntimeError("Mrs Lefevre, born 1962")
        return write_ack(request, Acknowledgement.ACCEPT, now=NOW, control_id=new_control_id())


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
def serve(probe: Probe) -> Iterator[Callable[..., int]]:
    servers = []

    def start(**options: object) -> int:
        server = MllpServer(Domain(IDENTITY, None, None, None, None, None), [probe], port=0, **options)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.stop()


class Client:
    """A connection that reads frames."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self._received = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> Message:
        while b"\x1c\r" not in self._received:
            data = self.socket.recv(65536)
            assert data, "the server closed the connection"
            self._received += data
        frame, self._received = self._received.split(b"\x1c\r", 1)
        assert frame[:1] == b"\x0b"
        return hl7v2.read(frame[1:])

    def is_closed(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()


def ask(port: int, data: bytes) -> Message:
    with closing(Client(port)) as client:
        client.send(framed(data))
        return client.answer()


class TestFrames:
    def test_a_connection_serves_many_messages(self, serve: Callable[..., int]) -> None:
        with closing(Client(serve())) as client:
            for number in range(5):
                client.send(framed(message(control_id=str(number))))
                assert client.answer().get("MSA-2") == str(number)

    def test_frames_in_one_segment_are_answered_in_order(self, serve: Callable[..., int]) -> None:
        with closing(Client(serve())) as client:
            client.send(b"".join(framed(message(control_id=str(number))) for number in range(200)))
            assert [client.answer().get("MSA-2") for _ in range(200)] == [str(number) for number in range(200)]

    def test_a_frame_may_come_octet_by_octet(self, serve: Callable[..., int]) -> None:
        with closing(Client(serve())) as client:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for octet in framed(message()):
                client.send(bytes([octet]))
            assert client.answer().get("MSA-1") == "AA"

    def test_what_stands_between_frames_is_skipped(self, serve: Callable[..., int]) -> None:
        with closing(Client(serve())) as client:
            client.send(b"hello\r\n" + framed(message(control_id="a")) + b"\r\n\r\nnoise" + framed(message(control_id="b")))
            assert [client.answer().get("MSA-2") for _ in range(2)] == ["a", "b"]

    def test_too_much_between_frames_ends_the_connection(self, serve: Callable[..., int]) -> None:
        with closing(Client(serve(max_garbage=100))) as client:
            client.send(b"GET / HTTP/1.1\r\n" * 20)
            assert client.is_closed()

    def test_a_frame_that_begins_anew(self, serve: Callable[..., int]) -> None:
        with closing(Client(serve())) as client:
            client.send(b"\x0bMSH|^~\\&|half" + framed(message(control_id="whole")))
            assert client.answer().get("MSA-2") == "whole"

    def test_a_frame_that_ends_without_carriage_return(self, serve: Callable[..., int]) -> None:
        with closing(Client(serve())) as client:
            client.send(framed(message(control_id="a"))[:-1])
            assert client.answer().get("MSA-2") == "a"
            client.send(framed(message(control_id="b"))[:-1])
            assert client.answer().get("MSA-2") == "b"

    def test_a_message_that_is_too_long_is_rejected_and_the_connection_closed(self, serve: Callable[..., int]) -> None:
        with closing(Client(serve(max_message=100_000))) as client:
            client.send(b"\x0b" + message(control_id="long") + b"NTE|||" + b"x" * 200_000)
            answer = client.answer()
            assert (answer.get("MSA-1"), answer.get("MSA-2")) == ("AR", "long")
            assert client.is_closed()

    def test_who_still_sends_what_is_too_long_reads_why_it_is_rejected(self, serve: Callable[..., int]) -> None:
        with closing(Client(serve(max_message=100_000))) as client:
            client.send(b"\x0b" + message(control_id="long") + b"NTE|||" + b"x" * 100_000)
            assert client.answer().get("MSA-1") == "AR"
            for _ in range(10):
                client.send(b"x" * 100_000)
            assert client.is_closed()

    def test_a_message_at_the_limit_is_taken(self, serve: Callable[..., int]) -> None:
        data = message(rest="NTE|||")
        data += b"x" * (100_000 - len(data) - 1)
        assert ask(serve(max_message=100_000), data).get("MSA-1") == "AA"

    def test_an_idle_connection_is_closed(self, serve: Callable[..., int]) -> None:
        with closing(Client(serve(idle_seconds=0.2))) as client:
            client.send(b"\x0bMSH|")
            assert client.is_closed()

    def test_a_message_that_comes_too_slowly_ends_the_connection(self, serve: Callable[..., int]) -> None:
        with closing(Client(serve(message_seconds=0.3))) as client:
            client.send(b"\x0bMSH|")
            began = time.monotonic()
            while not self._ends(client) and time.monotonic() - began < 60:
                time.sleep(0.02)
            assert time.monotonic() - began < 60

    def test_a_partner_who_sends_no_more_still_gets_its_answers(self, serve: Callable[..., int]) -> None:
        with closing(Client(serve())) as client:
            client.send(framed(message(control_id="a")) + framed(message(control_id="b")) + b"\x0bMSH|half")
            client.socket.shutdown(socket.SHUT_WR)
            assert [client.answer().get("MSA-2") for _ in range(2)] == ["a", "b"]
            assert client.is_closed()

    def test_frames_cut_anywhere(self, serve: Callable[..., int]) -> None:
        data = b"".join(framed(message(control_id=str(number))) for number in range(20))
        with closing(Client(serve())) as client:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(data), 97):
                client.send(data[start : start + 97])
            assert [client.answer().get("MSA-2") for _ in range(20)] == [str(number) for number in range(20)]

    def test_answers_to_frames_that_came_together_come_together(self, serve: Callable[..., int]) -> None:
        with closing(Client(serve())) as client:
            client.send(b"".join(framed(message("QBP^Q23", str(number))) for number in range(10)))
            pieces = []
            while b"".join(pieces).count(b"\x1c\r") < 10:
                pieces.append(client.socket.recv(65536))
            assert len(pieces) < 10

    def test_an_answer_that_takes_long_holds_up_none_before_it(self, serve: Callable[..., int], probe: Probe) -> None:
        with closing(Client(serve())) as client:
            probe.go_on.clear()
            slow = framed(message("ADT^A08", "slow"))
            client.send(framed(message(control_id="quick")) + slow)
            assert client.answer().get("MSA-2") == "quick"
            probe.go_on.set()
            assert client.answer().get("MSA-2") == "slow"

    def test_connections_above_the_limit_are_closed_at_once(self, serve: Callable[..., int]) -> None:
        port = serve(max_connections=2)
        held = [Client(port), Client(port)]
        for client in held:
            client.send(framed(message()))
            client.answer()
        with closing(Client(port)) as refused:
            assert refused.is_closed()
        held[0].close()
        until = time.monotonic() + 60
        while not self._is_served(port):
            assert time.monotonic() < until
        held[1].close()

    @staticmethod
    def _ends(client: Client) -> bool:
        try:
            client.send(b"x")
        except OSError:
            return True
        return False

    @staticmethod
    def _is_served(port: int) -> bool:
        with closing(Client(port)) as client:
            try:
                client.send(framed(message()))
                return client.socket.recv(1) == b"\x0b"
            except ConnectionError:
                return False
            finally:
                time.sleep(0.02)


@pytest.fixture
def among() -> Iterator[Shared]:
    shared = Shared.among("127.0.0.1", 0, 2)
    yield shared
    shared.listening.close()


# Those who listen end before what they listen at.
def test_processes_share_the_connections_evenly(
    among: Shared, serve: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who is courteous is so for longer than a machine with much to do takes.
    monkeypatch.setattr(listener, "_COURTESY_SECONDS", 60)
    answered: list[int] = []
    for number in range(2):
        port = serve(listener=Listener(among, number), served=lambda *_, number=number: answered.append(number))
    with ExitStack() as held:
        for count in range(1, 6):
            client = held.enter_context(closing(Client(port)))
            client.send(framed(message()))
            client.answer()
            assert abs(answered.count(0) - answered.count(1)) <= 1, count
        assert sorted(among.engaged) == [2, 3]


class TestStopping:
    def test_what_is_being_processed_is_answered(self, serve: Callable[..., int], probe: Probe) -> None:
        server = MllpServer(Domain(IDENTITY, None, None, None, None, None), [probe], port=0)
        with closing(Client(server.start())) as client:
            client.send(framed(message("ADT^A08", "last")))
            assert probe.entered.wait(60)
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            probe.go_on.set()
            assert client.answer().get("MSA-2") == "last"
            stopping.join(60)
            assert not stopping.is_alive()
            assert client.is_closed()

    def test_idle_connections_do_not_hold_it_up(self, probe: Probe) -> None:
        server = MllpServer(Domain(IDENTITY, None, None, None, None, None), [probe], port=0)
        with closing(Client(server.start())) as client:
            client.send(framed(message()))
            client.answer()
            began = time.monotonic()
            server.stop()
            # Which is not as long as it may wait for each of them.
            assert time.monotonic() - began < 25
            assert client.is_closed()


class TestTls:
    @pytest.fixture
    def contexts(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=PKI / "ca.pem")
        server.load_cert_chain(PKI / "server.pem", PKI / "server.key")
        server.verify_mode = ssl.CERT_REQUIRED
        client = ssl.create_default_context(cafile=PKI / "ca.pem")
        client.load_cert_chain(PKI / "client.pem", PKI / "client.key")
        client.check_hostname = False
        return server, client

    def test_the_certificate_names_the_caller(
        self, serve: Callable[..., int], probe: Probe, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
    ) -> None:
        port = serve(tls=contexts[0])
        answer = send_mllp(f"mllps://127.0.0.1:{port}", hl7v2.read(message()), tls=contexts[1])
        assert answer.get("MSA-1") == "AA"
        (caller,) = probe.callers
        assert caller.node == "client.example"

    def test_without_certificate_nobody_is_served(
        self, serve: Callable[..., int], probe: Probe, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
    ) -> None:
        anonymous = ssl.create_default_context(cafile=PKI / "ca.pem")
        anonymous.check_hostname = False
        port = serve(tls=contexts[0])
        with pytest.raises(OSError):  # noqa: PT011 - which of its children depends on who notices first
            send_mllp(f"127.0.0.1:{port}", hl7v2.read(message()), tls=anonymous)
        with closing(Client(port)) as plain:
            plain.send(framed(message()))
            # A TLS alert, or the end; in any case no answer.
            assert plain.is_closed() or b"MSA" not in plain.socket.recv(65536)
        assert probe.callers == []

    def test_the_last_answer_is_encrypted_too(self, probe: Probe, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        server = MllpServer(Domain(IDENTITY, None, None, None, None, None), [probe], port=0, tls=contexts[0])
        address = f"mllps://127.0.0.1:{server.start()}"
        answers: list[Message] = []
        asking = threading.Thread(
            target=lambda: answers.append(send_mllp(address, hl7v2.read(message("ADT^A08")), tls=contexts[1]))
        )
        asking.start()
        assert probe.entered.wait(60)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        probe.go_on.set()
        asking.join(60)
        stopping.join(60)
        assert [answer.get("MSA-1") for answer in answers] == ["AA"]


class TestClient:
    @pytest.mark.parametrize("endpoint", ["", "host", "http://host:1", "mllp://host", "host:port"])
    def test_an_address_that_is_none(self, endpoint: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - urllib's own message for a wrong port
            address(endpoint)

    def test_addresses(self) -> None:
        assert address("pix.example:2575") == ("pix.example", 2575, False)
        assert address("mllp://[::1]:2575") == ("::1", 2575, False)
        assert address("mllps://pix.example:2576") == ("pix.example", 2576, True)

    def test_an_answer_to_another_message_acknowledges_nothing(self, serve: Callable[..., int], probe: Probe) -> None:
        """MSA-2 "allows the sending system to associate this response with the message" (HL7 v2.5 chapter 2.15.8.2)."""
        port = serve()
        probe.answers_another = True
        with pytest.raises(ValueError, match="another message"):
            send_mllp(f"127.0.0.1:{port}", hl7v2.read(message()))

    def test_nobody_answers_in_time(self, serve: Callable[..., int], probe: Probe) -> None:
        port = serve()
        with pytest.raises(TimeoutError):
            send_mllp(f"127.0.0.1:{port}", hl7v2.read(message("ADT^A08")), timeout=0.3)
        probe.go_on.set()


class TestDispatch:
    @pytest.mark.parametrize(
        ("data", "code", "location", "condition"),
        [
            (message("MDM^T01"), "AR", "MSH^1^9^1^1", "200"),
            (message("ADT^A02"), "AR", "MSH^1^9^1^2", "201"),
            (message(version="3.1415926"), "AR", "MSH^1^12", "203"),
            (message().replace(b"|P|", b"|Q|"), "AR", "MSH^1^11", "202"),
            (message(control_id=""), "AR", "MSH^1^10", "101"),
            (b"", "AR", "MSH^1", "100"),
            (b"hello", "AR", "MSH^1", "100"),
            (message(version="2.3.1||||||ISO IR87"), "AR", "MSH^1^18", "103"),
            (message(rest="NTE|||fail"), "AE", "", "207"),
        ],
    )
    def test_what_cannot_be_processed(
        self, serve: Callable[..., int], data: bytes, code: str, location: str, condition: str
    ) -> None:
        with capture_logs():
            answer = ask(serve(), data)
        assert answer.get("MSA-1") == code
        assert hl7v2.translate(answer.field("ERR-2"), answer.separators) == location
        assert answer.get("ERR-3") == condition
        assert answer.get("ERR-4") == "E"

    def test_a_failure_of_ours_tells_nothing(self, serve: Callable[..., int]) -> None:
        with capture_logs() as logs:
            answer = ask(serve(), message(control_id="9", rest="NTE|||fail"))
        assert answer.get("MSA-2") == "9"
        assert b"Lefevre" not in hl7v2.write(answer)
        (entry,) = logs
        assert entry["event"] == "mllp.failed"
        assert entry["reference"] in answer.get("ERR-7")
        assert "Lefevre" not in str(entry)

    def test_answers_are_counted_by_transaction_and_outcome(self, probe: Probe) -> None:
        told: list[tuple[str, str]] = []

        def served(transaction: str, outcome: str, seconds: float) -> None:
            assert seconds >= 0
            told.append((transaction, outcome))

        server = MllpServer(Domain(IDENTITY, None, None, None, None, None), [probe], port=0, served=served)
        try:
            with closing(Client(server.start())) as client:
                for each in (message("ADT^A01"), message("ADT^A99"), message("ADT^A01", version="9"), b"no message"):
                    client.send(framed(each))
                    client.answer()
        finally:
            server.stop()
        assert told == [("PROBE", "ok"), ("mllp", "fault"), ("PROBE", "fault"), ("mllp", "fault")]

    def test_every_fault_of_the_header_is_told(self, serve: Callable[..., int]) -> None:
        answer = ask(serve(), message("MDM^T01", version="9").replace(b"|P|", b"||"))
        assert [answer.get("ERR-3", occurrence=number) for number in range(1, 4)] == ["200", "202", "203"]

    def test_the_answer_goes_back_to_the_sender(self, serve: Callable[..., int]) -> None:
        answer = ask(serve(), message(control_id="42"))
        fields = [answer.get(f"MSH-{number}") for number in (3, 4, 5, 6)]
        assert fields == ["PIX", "REG", "ADT", "HOSP"]
        assert answer.field("MSH-9") == "ACK^A01^ACK"
        assert (answer.get("MSH-11"), answer.version) == ("P", "2.3.1")
        assert answer.get("MSH-10") not in ("", "42")

    def test_the_caller_is_the_sending_system(self, serve: Callable[..., int], probe: Probe) -> None:
        ask(serve(), message())
        assert probe.callers == [Caller(address="127.0.0.1", node="HOSP|ADT")]


class Beginning(Probe):
    """A transaction whose messages are begun together; the answers are waited for in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def begin(self, request: Message, domain: Domain, caller: Caller) -> Callable[[], Message]:
        self.order.append(f"begin {request.control_id}")
        if request.get("NTE-3") == "cannot begin":
            raise RuntimeError("Mrs Lefevre, born 1962")

        def finish() -> Message:
            self.order.append(f"finish {request.control_id}")
            return self.respond(request, domain, caller)

        return finish


class TestMessagesBegunTogether:
    @pytest.fixture
    def probe(self) -> Beginning:
        return Beginning()

    def test_those_that_came_together_are_begun_before_the_first_is_waited_for(
        self, serve: Callable[..., int], probe: Beginning
    ) -> None:
        with closing(Client(serve())) as client:
            client.send(b"".join(framed(message(control_id=str(number))) for number in range(40)))
            assert [client.answer().get("MSA-2") for _ in range(40)] == [str(number) for number in range(40)]
        assert [item for item in probe.order if item.startswith("finish")] == [f"finish {number}" for number in range(40)]
        assert probe.order.index("finish 0") > probe.order.index("begin 1")
        # Not all of them: whoever sends much would keep the others waiting.
        assert probe.order.index("finish 0") < probe.order.index("begin 39")

    def test_what_cannot_be_begun_is_answered_in_its_place(self, serve: Callable[..., int], probe: Beginning) -> None:
        texts = ("", "NTE|1||cannot begin\r", "NTE|1||fail\r", "")
        with closing(Client(serve())) as client:
            frames = [framed(message(control_id=str(number), rest=text)) for number, text in enumerate(texts)]
            client.send(b"".join((*frames, framed(b"no message"), framed(message("ADT^Q23", "9")))))
            answers = [client.answer() for _ in range(6)]
        assert [item.get("MSA-1") for item in answers] == ["AA", "AE", "AE", "AA", "AR", "AR"]
        assert [item.get("MSA-2") for item in answers[:4]] == ["0", "1", "2", "3"]

    def test_what_was_begun_is_answered_before_the_connection_ends(self, serve: Callable[..., int], probe: Beginning) -> None:
        with closing(Client(serve(max_message=1000))) as client:
            client.send(framed(message(control_id="1")) + framed(message(control_id="2")) + framed(b"MSH|^~\\&|" + b"x" * 2000))
            assert [client.answer().get("MSA-1") for _ in range(3)] == ["AA", "AA", "AR"]
            assert client.is_closed()


def test_feeds_and_queries_that_came_together_are_done_in_their_order(tmp_path: Path) -> None:
    region = Region(tmp_path)
    server = MllpServer(region.domain, [iti08, iti09], port=0)
    head = r"MSH|^~\&|ADT|HOSP_A|XDS|XDS|20260301||{}|{}|P|{}" + "\r"

    def feed(event: str, number: int, rest: str) -> bytes:
        return framed((head.format(f"ADT^{event}", number, "2.3.1") + f"EVN|{event}\r{rest}\r").encode())

    def query(number: int, value: str) -> bytes:
        asked = f"QPD|IHE PIX Query|T{number}|{value}^^^HOSP_A|^^^&{IDENTITY.assigning_authority}&ISO\rRCP|I\r"
        return framed((head.format("QBP^Q23^QBP_Q21", number, "2.5") + asked).encode())

    with closing(Client(server.start())) as client:
        client.send(
            query(0, "1")
            + feed("A01", 1, "PID|||1^^^HOSP_A||DUPONT^LUC||19700203|M")
            + feed("A01", 2, "PID|||2^^^HOSP_A||MARTIN^ANNE||19800203|F")
            + query(3, "1")
            + feed("A40", 4, "PID|||1^^^HOSP_A||DUPONT^LUC\rMRG|2^^^HOSP_A")
            + query(5, "2")
            + feed("A40", 6, "PID|||9^^^HOSP_A||DUPONT^LUC\rMRG|9^^^HOSP_A")
            + feed("A01", 7, "PID|||3^^^HOSP_A||PETIT^EVE||19900203|F")
            + query(8, "3")
        )
        answers = [client.answer() for _ in range(9)]
    server.stop()
    region.close()
    assert [item.get("MSA-2") for item in answers] == [str(number) for number in range(9)]
    # The first query knows nobody, the fifth asks for who was subsumed, the merge of somebody with herself is refused.
    assert [item.get("MSA-1") for item in answers] == ["AE", "AA", "AA", "AA", "AA", "AE", "AE", "AA", "AA"]
