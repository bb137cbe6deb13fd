"""Writing DICOM elements and Part 10 heads; DICOM dates and times as moments.

Tolerated when reading: dates as `YYYY.MM.DD` and times as `HH:MM:SS`, times cut off anywhere.

Spec: DICOM PS3.5 6.2 (DA, TM), 7.1 (elements); PS3.10 7.1 (file meta information).
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

from xds.wire.dicom import LONG_FORM

#: Identifies this software in the meta information of files it writes (a UUID-derived UID, never reused for another product).
IMPLEMENTATION_CLASS_UID: Final = "2.25.190146621957270420468226430325219236513"
IMPLEMENTATION_VERSION: Final = "XDS_1"

Value = bytes | str | int | list[bytes]


def write_element(tag: int, vr: str, value: Value = b"") -> bytes:
    """One element in explicit little endian: text in UTF-8, a sequence as the list of its items' octets.

    Spec: PS3.5 7.1.2; every length is explicit.
    """
    if isinstance(value, list):
        octets = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in value)
    elif isinstance(value, int):
        octets = struct.pack("<H" if vr == "US" else "<I", value)
    else:
        octets = value.encode() if isinstance(value, str) else value
        if len(octets) % 2:
            octets += b"\0" if vr in ("UI", "OB", "UN") else b" "
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr.encode() in LONG_FORM:
        return head + struct.pack("<HI", 0, len(octets)) + octets
    return head + struct.pack("<H", len(octets)) + octets


def write_file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str) -> bytes:
    """Preamble, prefix and File Meta Information of a Part 10 file.

    It names nobody who sent the object, so that the same object from two senders is the same file. Spec: PS3.10 7.1.
    """
    body = (
        write_element(0x00020001, "OB", b"\0\1")
        + write_element(0x00020002, "UI", sop_class_uid)
        + write_element(0x00020003, "UI", sop_instance_uid)
        + write_element(0x00020010, "UI", transfer_syntax)
        + write_element(0x00020012, "UI", IMPLEMENTATION_CLASS_UID)
        + write_element(0x00020013, "SH", IMPLEMENTATION_VERSION)
    )
    return b"\0" * 128 + b"DICM" + write_element(0x00020000, "UL", len(body)) + body


def read_moment(date: str, time: str, offset: str, default_zone: tzinfo) -> tuple[datetime, int] | None:
    """A DICOM date and time as (aware moment, number of DTM digits it is precise to); None when the date is unusable.

    `offset` is Timezone Offset From UTC (0008,0201), `±HHMM`; without it the time is one of `default_zone`.
    Spec: PS3.5 6.2 (DA, TM), PS3.3 C.12.1.1.8.
    """
    day = date.replace(".", "").strip()
    clock = time.replace(":", "").partition(".")[0].strip()
    precision = 8 + (len(clock) // 2 * 2 if clock.isdigit() else 0)
    digits = (day + clock)[:precision][:14]
    try:
        naive = datetime.strptime(digits + "000000"[: 14 - len(digits)], "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return naive.replace(tzinfo=_zone(offset) or default_zone), len(digits)


def read_dtm(date: str, time: str, offset: str, default_zone: tzinfo) -> str | None:
    """The same as a DTM in UTC. A date without a time stays the date it is. Spec: ITI TF-3 Table 4.2.3.1.7-2."""
    found = read_moment(date, time, offset, default_zone)
    if found is None:
        return None
    moment, precision = found
    if precision == 8:
        return moment.strftime("%Y%m%d")
    # An offset of half an hour turns a bare hour into minutes.
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%S")[: max(precision, 12)]


def _zone(offset: str) -> tzinfo | None:
    sign, hours, minutes = offset[:1], offset[1:3], offset[3:5]
    if sign not in ("+", "-") or not hours.isdigit() or not minutes.isdigit() or int(hours) > 14 or int(minutes) > 59:
        return None
    delta = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(delta if sign == "+" else -delta)
