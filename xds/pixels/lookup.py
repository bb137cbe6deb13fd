"""Lookup tables of data sets. Runs in worker processes.

Tolerated: entries of 8 bits in words of 16; a first value without the sign that it has.

Spec: DICOM PS3.3 C.11.2.1.1 (VOI LUT), C.11.6.1.1 (presentation LUT).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom import Dataset


def looked_up(values: Any, table: Dataset) -> Any:
    """Shades 0 to 255 that a VOI LUT gives these values."""
    _, first, bits = _described(table)
    if first > 0x7FFF and values.size and values.min() < 0:
        first -= 0x10000
    entries = _entries(table)
    places = np.clip(np.rint(values).astype(np.int64) - first, 0, len(entries) - 1)
    return entries[places].astype(np.float64) * (255.0 / (2**bits - 1))


def reshaded(shades: Any, table: Dataset) -> Any:
    """Shades 0 to 255 by a presentation LUT, whose input is as wide as it has entries."""
    entries = _entries(table)
    places = np.rint(shades * ((len(entries) - 1) / 255.0)).astype(np.int64)
    return entries[places].astype(np.float64) * (255.0 / (2 ** _described(table)[2] - 1))


def _described(table: Dataset) -> tuple[int, int, int]:
    count, first, bits = (int(part) for part in table.LUTDescriptor)
    return count & 0xFFFF or 0x10000, first, min(max(bits, 1), 16)


def _entries(table: Dataset) -> Any:
    count, _, _ = _described(table)
    data = table.LUTData
    if not isinstance(data, bytes):
        return np.atleast_1d(np.asarray(data)).astype(np.int64)[:count]
    if len(data) < 2 * count:
        return np.frombuffer(data, "u1")[:count]
    return np.frombuffer(data[: 2 * count], "<u2" if table.original_encoding[1] is not False else ">u2")
