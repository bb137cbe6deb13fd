"""HL7 v2 messages to the transactions whose triggers they name, and answers to those that belong to none.

Spec: ITI TF-2 C.2.3 (which errors are rejects).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import ModuleType
from typing import Final

import structlog

from xds.actors.domain import Domain
from xds.model.caller import Caller
from xds.ports import Clock
from xds.server import failures
from xds.store.database import turns
from xds.wire import hl7v2
from xds.wire.hl7v2 import Condition, Fault, Location, Message, Segment, UnreadableError
from xds.wire.hl7v2_answers import ALL_VERSIONS, Acknowledgement, new_control_id, write_ack
from xds.wire.hl7v2_identity import sending_system

_PROCESSING_IDS: Final = frozenset("PTD")
#: MSH-9 stands within so many octets.
_HEADER_OCTETS: Final = 512

_log = structlog.get_logger()


def _now() -> datetime:
    return datetime.now(UTC)


def trigger_of(data: bytes) -> str:
    """MSH-9 without the structure (`ADT^A01`) of a message that need not be one; empty when it has none."""
    fields = data[:_HEADER_OCTETS].split(data[3:4], 9) if len(data) > 4 else []
    parts = fields[8].split(data[4:5], 2) if len(fields) > 9 else []
    return "^".join(part.decode("iso8859-1") for part in parts[:2])


class Dispatcher:
    """Hands each message to the transaction whose trigger its MSH-9 names, and answers what belongs to none."""

    def __init__(self, domain: Domain, modules: Iterable[ModuleType], clock: Clock = _now) -> None:
        self._domain = domain
        self._clock = clock
        listed = tuple(modules)
        self._modules = {trigger: module for module in listed for trigger in module.TRANSACTION.triggers}
        # Transactions whose messages may be begun before the answers to earlier ones are there.
        self._begun = {trigger: module.begin for trigger, module in self._modules.items() if hasattr(module, "begin")}
        # Transactions that answer messages of a usual form without reading them as messages.
        self._plainly = [module.respond_plainly for module in listed if hasattr(module, "respond_plainly")]
        # Of orders and reports single messages are received, no type: another event of theirs is another kind of message.
        self._types = {
            trigger.split("^")[0] for trigger, module in self._modules.items() if not module.TRANSACTION.id.startswith("RAD-")
        }

    @turns.taken()
    def __call__(self, data: bytes, caller: Caller) -> bytes:
        """The answer to one message, both without MLLP framing.

        Errors: AR 100, 102, 103 (unreadable), AR 101 (no MSH-10), AR 200 to 203 (MSH-9, 11, 12); AE 207 for a failure of ours.
        """
        try:
            for respond in self._plainly:
                plain: bytes | None = respond(data, self._domain, caller)
                if plain is not None:
                    return plain
        except Exception as error:
            return self._failed(hl7v2.read(data), error)
        return self.begin(data, caller)()

    def transaction_of(self, trigger: str) -> str:
        """Which transaction answers messages of that trigger; `mllp` for those of none."""
        module = self._modules.get(trigger)
        return "mllp" if module is None else str(module.TRANSACTION.id)

    def may_begin(self, trigger: str) -> bool:
        """True for messages whose answers may be waited for together: what they begin is done in their order."""
        return trigger in self._begun

    def begin(self, data: bytes, caller: Caller) -> Callable[[], bytes]:
        """Begin with a message; what is returned waits for the end and gives the answer.

        It must be called in the same thread, soon, and in the order in which messages were begun.
        """
        try:
            request = hl7v2.read(data)
        except UnreadableError as error:
            _log.warning("mllp.unreadable", reason=error.fault.text)
            header = error.header or Message((Segment("MSH", ("|", "^~\\&")),))
            return self._rejected(header, (error.fault,))
        if rejected := self._rejections(request):
            return self._rejected(request, rejected)
        known = Caller(address=caller.address, node=caller.node or sending_system(request))
        trigger = f"{request.message_type}^{request.event}"
        try:
            if trigger in self._begun:
                finish: Callable[[], Message] = self._begun[trigger](request, self._domain, known)
            else:
                answer: Message = self._modules[trigger].respond(request, self._domain, known)
                return lambda: hl7v2.write(answer)
        except Exception as error:
            failed = self._failed(request, error)
            return lambda: failed

        def finished() -> bytes:
            try:
                return hl7v2.write(finish())
            except Exception as error:
                return self._failed(request, error)

        return finished

    def _rejected(self, request: Message, faults: tuple[Fault, ...]) -> Callable[[], bytes]:
        answer = hl7v2.write(self._acknowledge(request, Acknowledgement.REJECT, faults))
        return lambda: answer

    def _failed(self, request: Message, error: Exception) -> bytes:
        """The edge: whatever failed is ours, and the partner learns nothing of it but by what name to ask for it."""
        reference = failures.report("mllp.failed", error, message_type=request.message_type, trigger=request.event)
        fault = Fault(Condition.INTERNAL, f"the message could not be processed (reference {reference})")
        return hl7v2.write(self._acknowledge(request, Acknowledgement.ERROR, (fault,)))

    def _acknowledge(self, request: Message, code: Acknowledgement, faults: tuple[Fault, ...]) -> Message:
        return write_ack(request, code, faults, now=self._clock(), control_id=new_control_id())

    def _rejections(self, request: Message) -> tuple[Fault, ...]:
        message_type, event = request.message_type, request.event
        if (
            f"{message_type}^{event}" in self._modules
            and request.header(10).strip()
            and request.header(11).strip() in _PROCESSING_IDS
            and request.version in ALL_VERSIONS
        ):
            return ()
        faults = []
        if message_type not in self._types:
            place = Location("MSH", 1, 9, 1, 1)
            faults.append(Fault(Condition.UNSUPPORTED_TYPE, "this message type is not received here", place))
        elif f"{message_type}^{event}" not in self._modules:
            faults.append(Fault(Condition.UNSUPPORTED_EVENT, "this event is not received here", Location("MSH", 1, 9, 1, 2)))
        if not request.control_id.strip():
            faults.append(Fault(Condition.REQUIRED_MISSING, "MSH-10 (message control id) is required", Location("MSH", 1, 10)))
        if request.header(11).strip() not in _PROCESSING_IDS:
            faults.append(Fault(Condition.UNSUPPORTED_PROCESSING_ID, "MSH-11 must be P, T or D", Location("MSH", 1, 11)))
        if request.version not in ALL_VERSIONS:
            text = f"MSH-12 must be a version that is known here: {', '.join(sorted(ALL_VERSIONS))}"
            faults.append(Fault(Condition.UNSUPPORTED_VERSION, text, Location("MSH", 1, 12)))
        return tuple(faults)
