"""A local patient identifier that changes its place in the affinity domain. Spec: ITI TF-2 3.64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from xds.model.identifiers import PatientIdentifier
from xds.model.metadata import Code

#: EventTypeCode of the audit trail.
XAD_PID_LINK_CHANGE: Final = Code("ITI-64", "IHE Transactions", "Notify XAD-PID Link Change")


@dataclass(frozen=True, slots=True)
class LinkChange:
    """What a PIX Manager tells the Document Registry: `local` belongs to `new` now, and no more to `previous`.

    `subsumed` is the local identifier that a merge replaced by `local`; without a change of link, `previous` is `new`.
    `source_id` is the OID of the PIX Manager's system, `source` and `destination` are `facility|application`.
    """

    local: PatientIdentifier
    new: PatientIdentifier
    previous: PatientIdentifier
    source_id: str
    source: str
    message_id: str
    subsumed: PatientIdentifier | None = None
    destination: str = ""

    @property
    def moves(self) -> bool:
        """True when documents change from one patient of the affinity domain to another."""
        return self.new.key != self.previous.key
