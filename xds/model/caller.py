"""Who asks: the caller that reaches every transaction, and what an access decision is about.

Spec: ITI TF-1 9 (node authentication), ITI TF-2 3.40 (XUA).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Caller:
    """The partner of one transaction.

    `address` is the network address, `node` the identity that its certificate (or AE title, or MSH-3/MSH-4) proves or claims,
    `user` the human or service of a verified assertion.
    """

    address: str
    node: str | None = None
    user: str | None = None
    roles: tuple[str, ...] = ()
    purpose_of_use: str | None = None
    reply_to: str | None = None


#: The affinity domain acting on its own behalf: jobs, demo content, the command line on its own data.
SYSTEM = Caller(address="127.0.0.1", node="urn:system", user=None)


class Action(StrEnum):
    """What a caller wants to do with what it names."""

    QUERY = "query"
    RETRIEVE = "retrieve"
    IDENTITY = "identity"
    REMOVE = "remove"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Resource:
    """What an access decision is about: something of one patient.

    `patient_id` is the affinity domain's identifier as CX. Document attributes are empty where there is no document.
    """

    patient_id: str
    unique_id: str | None = None
    confidentiality: tuple[str, ...] = ()
    class_code: str | None = None
