"""What zeep does with each operation of the PIX Manager and the Patient Demographics Supplier.

Spec: ITI TF-2 3.44, 3.45, 3.47. zeep cannot write the text of mixed types: semanticsText is left out, which nothing here needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.flows.conftest import AUTHORITY

if TYPE_CHECKING:
    from tests.flows.test_zeep import Clients

PIX, PDQ = "/services/pix-manager", "/services/pdq-supplier"
HOSPITAL = "2.999.71"
SYSTEM = "2.16.840.1.113883.1.6"


def message(interaction: str, act: dict[str, Any], acknowledgement: list[Any] | None = None) -> dict[str, Any]:
    """The parts of a message with that control act."""

    def device(kind: str, root: str) -> dict[str, Any]:
        return {"typeCode": kind, "device": {"classCode": "DEV", "determinerCode": "INSTANCE", "id": [{"root": root}]}}

    parts = {
        "ITSVersion": "XML_1.0",
        "id": {"root": str(uuid4())},
        "creationTime": {"value": "20260115100000"},
        "interactionId": {"root": SYSTEM, "extension": interaction},
        "processingCode": {"code": "P"},
        "processingModeCode": {"code": "T"},
        "acceptAckCode": {"code": "AL"},
        "receiver": [device("RCV", "2.999.1")],
        "sender": device("SND", "2.999.2"),
        "controlActProcess": {"classCode": "CACT", "moodCode": "EVN"} | act,
    }
    return parts | ({"acknowledgement": acknowledgement} if acknowledgement else {})


def patient(value: str, family: str, *, prior: str | None = None) -> dict[str, Any]:
    """A control act that tells of a patient."""
    event: dict[str, Any] = {
        "classCode": "REG",
        "moodCode": "EVN",
        "id": [{"nullFlavor": "NA"}],
        "statusCode": {"code": "active"},
        "subject1": {
            "typeCode": "SBJ",
            "patient": {
                "classCode": "PAT",
                "id": [{"root": HOSPITAL, "extension": value}],
                "statusCode": {"code": "active"},
                "patientPerson": {
                    "classCode": "PSN",
                    "determinerCode": "INSTANCE",
                    "name": [{"use": ["L"], "_value_1": [{"given": "Zoé"}, {"family": family}]}],
                    "administrativeGenderCode": {"code": "F"},
                    "birthTime": {"value": "19620314"},
                },
            },
        },
        "custodian": {"typeCode": "CST", "assignedEntity": {"classCode": "ASSIGNED", "id": [{"root": HOSPITAL}]}},
    }
    if prior:
        role = {"classCode": "PAT", "id": [{"root": HOSPITAL, "extension": prior}]}
        old = {"classCode": "REG", "moodCode": "EVN", "statusCode": {"code": "obsolete"}}
        event["replacementOf"] = [
            {
                "typeCode": "RPLC",
                "priorRegistration": old | {"subject1": {"typeCode": "SBJ", "priorRegisteredRole": role}},
            }
        ]
    return {"subject": [{"typeCode": "SUBJ", "registrationEvent": event}]}


def kind_of(answer: Any) -> str:
    """acknowledgement/typeCode."""
    return str(answer.acknowledgement[0].typeCode.code)


def feed(clients: Clients, operation: str) -> None:
    """ITI-44, add and revise: a patient is told of, and one without an identifier is refused."""
    interaction = operation.removeprefix("PIXManager_")
    value = f"Z{uuid4().hex[:8]}"
    answer = clients.call(PIX, operation, **message(interaction, patient(value, "Zeep")))
    assert (kind_of(answer), answer.acknowledgement[0].acknowledgementDetail) == ("CA", [])
    assert identifiers_of(clients, value)

    act = patient(value, "Zeep")
    act["subject"][0]["registrationEvent"]["subject1"]["patient"]["id"] = []
    answer = clients.call(PIX, operation, **message(interaction, act))
    assert (kind_of(answer), answer.acknowledgement[0].acknowledgementDetail[0].code.code) == ("CE", "SYN101")


def merge(clients: Clients, operation: str) -> None:
    """ITI-44, merge: the prior identifier is answered for the surviving one."""
    old, new = f"Z{uuid4().hex[:8]}", f"Z{uuid4().hex[:8]}"
    for value in (old, new):
        interaction = "PRPA_IN201301UV02"
        answer = clients.call(PIX, f"PIXManager_{interaction}", **message(interaction, patient(value, f"Zeep {value}")))
        assert kind_of(answer) == "CA"
    answer = clients.call(PIX, operation, **message("PRPA_IN201304UV02", patient(new, f"Zeep {new}", prior=old)))
    assert kind_of(answer) == "CA"
    assert identifiers_of(clients, new)
    # Who was subsumed is not known any more.
    assert cross_reference(clients, old, AUTHORITY).controlActProcess.queryAck.queryResponseCode.code == "AE"
    answer = clients.call(PIX, operation, **message("PRPA_IN201304UV02", patient(new, f"Zeep {new}", prior=old)))
    assert (kind_of(answer), answer.acknowledgement[0].acknowledgementDetail[0].code.code) == ("CE", "204")


def cross_reference(clients: Clients, value: str, domain: str) -> Any:
    parameters = {
        "dataSource": [{"value": [{"root": domain}]}],
        "patientIdentifier": [{"value": [{"root": HOSPITAL, "extension": value}]}],
    }
    query = {
        "queryId": {"root": str(uuid4())},
        "statusCode": {"code": "new"},
        "responsePriorityCode": {"code": "I"},
        "parameterList": parameters,
    }
    interaction = "PRPA_IN201309UV02"
    return clients.call(PIX, f"PIXManager_{interaction}", **message(interaction, {"queryByParameter": query}))


def identifiers_of(clients: Clients, value: str) -> list[str]:
    """The affinity domain's identifiers of a patient of the hospital."""
    answer = cross_reference(clients, value, AUTHORITY)
    assert answer.controlActProcess.queryAck.queryResponseCode.code == "OK"
    (subject,) = answer.controlActProcess.subject
    return [item.extension for item in subject.registrationEvent.subject1.patient.id]


def pix_query(clients: Clients, operation: str) -> None:
    """ITI-45: found, and unknown."""
    value = f"Z{uuid4().hex[:8]}"
    interaction = "PRPA_IN201301UV02"
    clients.call(PIX, f"PIXManager_{interaction}", **message(interaction, patient(value, "Zeep")))
    assert len(identifiers_of(clients, value)) == 1
    answer = cross_reference(clients, "NOBODY", "2.999.404")
    assert (kind_of(answer), answer.controlActProcess.queryAck.queryResponseCode.code) == ("AE", "AE")
    assert [item.code.code for item in answer.acknowledgement[0].acknowledgementDetail] == ["204", "204"]


def search(clients: Clients, family: str, limit: int | None = None) -> tuple[Any, str]:
    """A demographics query by family name; its answer and its queryId."""
    query_id = str(uuid4())
    query: dict[str, Any] = {
        "queryId": {"root": query_id},
        "statusCode": {"code": "new"},
        "responseModalityCode": {"code": "R"},
        "responsePriorityCode": {"code": "I"},
        "parameterList": {"livingSubjectName": [{"value": [{"_value_1": [{"family": family}]}]}]},
    }
    if limit:
        query |= {"initialQuantity": {"value": limit}, "initialQuantityCode": {"code": "RD"}}
    interaction = "PRPA_IN201305UV02"
    answer = clients.call(PDQ, f"PDSupplier_{interaction}", **message(interaction, {"queryByParameter": query}))
    return answer, query_id


def register(clients: Clients, family: str, number: int) -> None:
    for _ in range(number):
        interaction = "PRPA_IN201301UV02"
        act = patient(f"Z{uuid4().hex[:8]}", family)
        # Newborns of one name on one day would be one person to the PIX Manager.
        person = act["subject"][0]["registrationEvent"]["subject1"]["patient"]["patientPerson"]
        person["birthTime"] = {"value": f"{1930 + uuid4().int % 60}{1 + uuid4().int % 12:02}{1 + uuid4().int % 28:02}"}
        person["name"] = [{"_value_1": [{"given": f"Given{uuid4().hex[:10]}"}, {"family": family}]}]
        clients.call(PIX, f"PIXManager_{interaction}", **message(interaction, act))


def demographics(clients: Clients, operation: str) -> None:
    """ITI-47: found, and not found."""
    family = f"Zeep{uuid4().hex[:8]}"
    register(clients, family, 1)
    answer, _ = search(clients, family)
    assert (kind_of(answer), answer.controlActProcess.queryAck.queryResponseCode.code) == ("AA", "OK")
    (subject,) = answer.controlActProcess.subject
    found = subject.registrationEvent.subject1.patient
    parts = found.patientPerson.name[0]._value_1
    assert [part["family"]._value_1 for part in parts if "family" in part] == [family]
    answer, _ = search(clients, "Nobody" + uuid4().hex[:8])
    assert (kind_of(answer), answer.controlActProcess.queryAck.queryResponseCode.code) == ("AA", "NF")


def continuation(clients: Clients, operation: str, query_id: str, target: Any, **more: Any) -> Any:
    known = {"root": target.root, "extension": target.extension}
    acknowledgement = [{"typeCode": {"code": "AA"}, "targetMessage": {"id": known}}]
    act = {"queryContinuation": {"queryId": {"root": query_id}} | more}
    return clients.call(PDQ, operation, **message("QUQI_IN000003UV01", act, acknowledgement))


def further_matches(clients: Clients, operation: str) -> None:
    """ITI-47: three patients, two and then one of them."""
    family = f"Zeep{uuid4().hex[:8]}"
    register(clients, family, 3)
    first, query_id = search(clients, family, 2)
    known = first.controlActProcess.queryAck
    quantities = (known.resultTotalQuantity.value, known.resultCurrentQuantity.value, known.resultRemainingQuantity.value)
    assert quantities == (3, 2, 1)
    waiting = {"statusCode": {"code": "waitContinuedQueryResponse"}}
    second = continuation(clients, operation, query_id, first.id, **waiting)
    assert second.controlActProcess.queryAck.resultRemainingQuantity.value == 0
    found = [
        subject.registrationEvent.subject1.patient.id[0].extension
        for answer in (first, second)
        for subject in answer.controlActProcess.subject
    ]
    assert len(found) == len(set(found)) == 3
    unknown = continuation(clients, operation, str(uuid4()), first.id, **waiting)
    assert (kind_of(unknown), unknown.acknowledgement[0].acknowledgementDetail[0].code.code) == ("AE", "204")


def cancel(clients: Clients, operation: str) -> None:
    """ITI-47: a cancelled query is not continued."""
    family = f"Zeep{uuid4().hex[:8]}"
    register(clients, family, 3)
    first, query_id = search(clients, family, 1)
    ended = {"continuationQuantity": {"value": 0}, "statusCode": {"code": "aborted"}}
    for _ in range(2):
        assert kind_of(continuation(clients, operation, query_id, first.id, **ended)) == "CA"
    waiting = {"statusCode": {"code": "waitContinuedQueryResponse"}}
    answer = continuation(clients, operation.replace("Cancel", "Continue"), query_id, first.id, **waiting)
    assert (kind_of(answer), answer.acknowledgement[0].acknowledgementDetail[0].code.code) == ("AE", "204")


OPERATIONS: dict[str, Callable[[Any, str], None]] = {
    "PIXManager_PRPA_IN201301UV02": feed,
    "PIXManager_PRPA_IN201302UV02": feed,
    "PIXManager_PRPA_IN201304UV02": merge,
    "PIXManager_PRPA_IN201309UV02": pix_query,
    "PDSupplier_PRPA_IN201305UV02": demographics,
    "PDSupplier_PRPA_IN201305UV02_Continue": further_matches,
    "PDSupplier_PRPA_IN201305UV02_Cancel": cancel,
}
