"""The SOP classes of the DICOM services that are provided here, and what counts as a storage class.

Spec: DICOM PS3.4 B.5 (storage), C.6 (query/retrieve), J (storage commitment), F.7 (performed procedure step), R (availability);
PS3.6 A.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from pydicom.uid import UID

from xds.wire.dicom import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from xds.wire.dicom_study import is_uid

VERIFICATION: Final = "1.2.840.10008.1.1"
STORAGE_COMMITMENT: Final = "1.2.840.10008.1.20.1"
#: The one instance of Storage Commitment Push Model. Spec: PS3.4 J.3.5.
STORAGE_COMMITMENT_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
PERFORMED_PROCEDURE_STEP: Final = "1.2.840.10008.3.1.2.3.3"
AVAILABILITY_NOTIFICATION: Final = "1.2.840.10008.5.1.4.33"

PATIENT_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.1.1"
PATIENT_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.1.2"
PATIENT_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"

PATIENT_ROOTS: Final = frozenset({PATIENT_ROOT_FIND, PATIENT_ROOT_MOVE, PATIENT_ROOT_GET})
QUERY_RETRIEVE: Final = PATIENT_ROOTS | {STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET}
SERVICES: Final = QUERY_RETRIEVE | {VERIFICATION, STORAGE_COMMITMENT, PERFORMED_PROCEDURE_STEP, AVAILABILITY_NOTIFICATION}

_STANDARD: Final = "1.2.840.10008."


@lru_cache(4096)
def is_storage_class(uid: str) -> bool:
    """Whether objects of this SOP class are stored: every one of the standard, and what the standard does not know."""
    if not is_uid(uid) or uid in SERVICES:
        return False
    name = UID(uid).name
    if not uid.startswith(_STANDARD) or name == uid:
        return True
    return "Storage" in name and "Commitment" not in name and UID(uid).type == "SOP Class"


def service_syntax(proposed: Sequence[str]) -> str | None:
    """The transfer syntax for messages without pixels; None when none of them can be read."""
    return next((syntax for syntax in (EXPLICIT_LITTLE, IMPLICIT_LITTLE) if syntax in proposed), None)
