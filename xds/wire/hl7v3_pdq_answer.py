"""Answers to demographics queries in HL7 version 3 (PRPA_IN201306UV02).

Spec: ITI TF-2 3.47.4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from lxml import etree

from xds.model.demographics_query import INCOMPLETE, DemographicsAnswer, PatientMatch
from xds.model.identifiers import PatientIdentifier
from xds.wire.hl7v3 import Detail, DetailCode, InstanceIdentifier, attribute, child, children, code, coded, read_id
from xds.wire.hl7v3_continuation import Place, answer_id
from xds.wire.hl7v3_pdq import ANSWER
from xds.wire.hl7v3_person import authority_of, is_trait, read_demographics, read_patient_ids, registration_event, write_patient
from xds.wire.hl7v3_queries import Asked, ResultQuantities, write_answer


def _write_match(match: PatientMatch, custodian: InstanceIdentifier) -> str:
    """A patient found, with how well she meets the query. Spec: ITI TF-2 3.47.4.2.2."""
    score = 100 if match.score is None else match.score
    observation = (
        '<subjectOf1 typeCode="SBJ"><queryMatchObservation classCode="COND" moodCode="EVN">'
        f'{coded("code", "IHE_PDQ")}<value xsi:type="INT" value="{score}"/></queryMatchObservation></subjectOf1>'
    )
    patient = write_patient(
        match.identifiers, match.demographics, missing=match.missing, subject_of=observation, is_active=match.active
    )
    return registration_event(patient, custodian)


def quantities_of(answer: DemographicsAnswer, *, before: int) -> ResultQuantities:
    """What an answer tells of its size; `before` matches were not asked for again."""
    current = len(answer.matches)
    is_more = answer.next_page is not None
    remaining: int | None = 0
    if is_more:
        remaining = None if answer.total is None else max(answer.total - before - current, 0)
    return ResultQuantities(answer.total, current, remaining, is_more)


def incomplete_details(answer: DemographicsAnswer) -> tuple[Detail, ...]:
    """A warning when more patients match than are ever answered."""
    if not answer.incomplete:
        return ()
    return (Detail(DetailCode.FORMAL_CONSTRAINT, INCOMPLETE, severity="W"),)


def write_demographics_answer(
    asked: Asked,
    answer: DemographicsAnswer,
    details: Sequence[Detail] = (),
    *,
    now: datetime,
    limit: int | None,
    before: int = 0,
    query_id: InstanceIdentifier | None = None,
) -> bytes:
    """The answer: one registration for each patient found, or the faults.

    `before` counts the matches of earlier answers, `limit` is how many were asked for. A further page repeats the query, too.

    Spec: ITI TF-2 3.47.4.2, 3.47.4.3.3.
    """
    told = (*details, *incomplete_details(answer))
    if any(detail.severity == "E" for detail in told):
        return write_answer(asked, ANSWER, (), told, now=now, query_id=query_id)
    custodian = asked.transmission.receiver.device
    subjects = [_write_match(match, custodian) for match in answer.matches]
    quantities = quantities_of(answer, before=before)
    message_id = None
    if answer.next_page is not None:
        message_id = answer_id(Place(_following(answer.next_page), limit or len(answer.matches)))
    return write_answer(
        asked,
        ANSWER,
        subjects,
        told,
        now=now,
        quantities=quantities,
        query_id=query_id,
        message_id=message_id,
        query=answer.text,
    )


def _following(next_page: str) -> int:
    """The number of the first match of a page, which the pointer to it ends with."""
    return int(next_page.rpartition(".")[2])


# ------------------------------------------------------------------ reading


def read_quantities(root: etree._Element) -> ResultQuantities | None:
    """What an answer says of its size; None when it says nothing."""
    acknowledged = child(root, "controlActProcess", "queryAck")
    names = ("resultTotalQuantity", "resultCurrentQuantity", "resultRemainingQuantity")
    total, current, remaining = (_number(child(acknowledged, name)) for name in names)
    if total is None and current is None and remaining is None:
        return None
    is_more = code(acknowledged, "statusCode") == "waitContinuedQueryResponse" or bool(remaining)
    return ResultQuantities(total, current or 0, remaining, is_more)


def _number(element: etree._Element | None) -> int | None:
    text = attribute(element, "value")
    return int(text) if text.isdecimal() and len(text) < 19 else None


def read_demographics_answer(root: etree._Element) -> tuple[PatientMatch, ...]:
    """The patients that an answer brings, in its order."""
    matches: list[PatientMatch] = []
    for subject in children(root, "controlActProcess", "subject"):
        patient = child(subject, "registrationEvent", "subject1", "patient")
        if patient is not None:
            matches.append(_read_match(len(matches) + 1, patient))
    return tuple(matches)


def _read_match(number: int, patient: etree._Element) -> PatientMatch:
    found = [item for _, item in read_patient_ids(patient) if isinstance(item, PatientIdentifier)]
    demographics, _ = read_demographics(child(patient, "patientPerson"))
    score = _number(child(patient, "subjectOf1", "queryMatchObservation", "value"))
    missing = []
    for role in children(patient, "patientPerson", "asOtherIDs"):
        scope = read_id(child(role, "scopingOrganization", "id"))
        if str(scope) and not any(attribute(element, "extension") for element in children(role, "id")):
            missing.append(authority_of(scope))
    return PatientMatch(
        number,
        tuple(dict.fromkeys(item for item in found if not is_trait(item))),
        replace(demographics, national_identifiers=tuple(item for item in found if is_trait(item))),
        score,
        tuple(missing),
        active=code(patient, "statusCode") != "terminated",
    )
