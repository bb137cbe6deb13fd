"""ITI-10 PIX Update Notification: the PIX Manager tells a consumer which identifiers mean one person from now on.

ADT^A31, acknowledged in original mode. This software is the sender.

Spec: ITI TF-2 3.10, Appendix C.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import datetime

from xds.model.identifiers import PatientIdentifier
from xds.transactions.adt_exchange import moment, send_and_wait
from xds.wire.hl7v2_answers import Acknowledged, new_control_id
from xds.wire.hl7v2_feed import write_update_notification


def send(
    identifiers: Sequence[PatientIdentifier],
    endpoint: str,
    *,
    source: str,
    destination: str,
    message_id: str | None = None,
    occurred: datetime | None = None,
    now: datetime | None = None,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> Acknowledged:
    """Notify a consumer at `host:port` or `mllp://host:port`; `source` and `destination` are `facility|application`.

    `message_id` stays the same when the notification is sent again; `occurred` is when the identifiers changed.
    Errors: ConnectionError, TimeoutError, ValueError (address, unreadable answer).
    """
    current = moment(now)
    message = write_update_notification(
        identifiers,
        source=source,
        destination=destination,
        control_id=message_id or new_control_id(),
        occurred=occurred or current,
        now=current,
    )
    return send_and_wait(message, endpoint, timeout=timeout, tls=tls)
