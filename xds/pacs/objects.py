"""Objects as messages bring them, and what a broken association means to who asked for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from xds.model.foreign_images import PullError, PullProblem
from xds.pacs.association import AssociationRejectedError, Received
from xds.pacs.pdus import AssociationError, SilentPeerError
from xds.wire.dicom import DicomError
from xds.wire.dicom_values import write_file_meta

#: Octets of an object that come first, by themselves: most headers are shorter.
_HEAD: Final = 16 * 1024


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong with an association, in the words of the puller. Errors: PullError."""
    try:
        yield
    except AssociationRejectedError as problem:
        raise PullError(PullProblem.REFUSED, "no DICOM association") from problem
    except SilentPeerError as problem:
        raise PullError(PullProblem.TIMEOUT, "the association broke") from problem
    except AssociationError as problem:
        raise PullError(PullProblem.UNREACHABLE, "the association broke") from problem
    except OSError as problem:
        raise PullError(PullProblem.UNREACHABLE, type(problem).__name__) from problem
    except DicomError as problem:
        raise PullError(PullProblem.BROKEN, "an answer cannot be read") from problem


def part_10(received: Received) -> Iterator[bytes]:
    """The object of a C-STORE request as a Part 10 file, while it arrives. Errors: PullError."""
    message = received.message
    yield write_file_meta(message.sop_class, message.sop_instance, received.context.transfer_syntax)
    with told():
        # Whoever looks at the header need not wait for a large fragment to be copied.
        first = next(received.data, memoryview(b""))
        yield from _copies(first[:_HEAD], first[_HEAD:])
        for piece in received.data:
            yield bytes(piece)


def _copies(*pieces: memoryview) -> Iterator[bytes]:
    return (bytes(piece) for piece in pieces if piece)
