"""ITI-44 Patient Identity Feed HL7 V3, PRPA_IN201304UV02: the source merges patients. See `iti44_patient_identity_feed_v3`.

Spec: ITI TF-2 3.44.
Errors: those of the feed.
"""

from __future__ import annotations

from xds.transactions.iti44_patient_identity_feed_v3 import feed_transaction, respond
from xds.wire.hl7v3_feed import MERGED

__all__ = ["TRANSACTION", "respond"]

TRANSACTION = feed_transaction(MERGED)
