"""Associations that reach one process of a server and belong to another: passed on with the connection that they run over.

One process listens for what PACSs send by C-MOVE, any of them may have asked for it. Whoever gets an object that he does not
expect asks the others, who listen at sockets in a directory of their own, and lets go of the association when one takes it.

Spec: DICOM PS3.4 C.4.2 (C-MOVE): nothing tells who asked before the first object is announced.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from xds.pacs.association import Association, Context, Received
from xds.wire.dimse import read_command, write_command

#: How long another process may take to say whether an association is its own: who gives up too early reads what is another's.
_SECONDS: Final = 60.0
_SUFFIX: Final = ".move"
_LENGTH: Final = struct.Struct(">I")
_TAKEN: Final = b"1"
#: Octets that the path of a socket may have.
_LONGEST_PATH: Final = 100

_log = structlog.get_logger()


class Neighbours:
    """The processes of a server that expect images. One object serves all threads."""

    def __init__(self, directory: Path, seconds: float, take: Callable[[Association, Received], bool]) -> None:
        """They find each other in the directory. `take` tells whether an object that another one got is expected here.

        `seconds` is how long those who send may keep still.
        """
        self._directory = directory
        self._seconds = seconds
        self._take = take
        self._name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}{_SUFFIX}"
        self._lock = threading.Lock()
        self._listening: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Be found from now on. Idempotent. Errors: OSError."""
        with self._lock:
            if self._listening is not None:
                return
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            listening = socket.socket(socket.AF_UNIX)
            try:
                with _Reachable(self._directory, self._name) as path:
                    listening.bind(path)
                listening.listen(64)
            except OSError:
                listening.close()
                raise
            self._listening = listening
            self._thread = threading.Thread(target=self._listen, args=(listening,), name="dicom-move-others", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Be found no more. Idempotent."""
        with self._lock:
            listening, self._listening = self._listening, None
        if listening is None or self._thread is None:
            return
        (self._directory / self._name).unlink(missing_ok=True)
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        listening.close()

    def hand_over(self, association: Association, received: Received) -> bool:
        """Give an association, whose message was read up to its data set, to who expects that object; False when nobody does."""
        state: bytes | None = None
        for place in self._directory.glob(f"*{_SUFFIX}"):
            if place.name == self._name:
                continue
            state = state or _state(association, received)
            try:
                with socket.socket(socket.AF_UNIX) as other, _Reachable(self._directory, place.name) as path:
                    other.settimeout(_SECONDS)
                    other.connect(path)
                    socket.send_fds(other, [_LENGTH.pack(len(state))], [association.connection.fileno()])
                    other.sendall(state)
                    if other.recv(1) == _TAKEN:
                        return True
            except (ConnectionRefusedError, FileNotFoundError):
                # It died without a word.
                place.unlink(missing_ok=True)
            except OSError as problem:
                _log.warning("dicom_move.not_handed_over", error=type(problem).__name__)
        return False

    def _listen(self, listening: socket.socket) -> None:
        while True:
            try:
                other, _ = listening.accept()
            except OSError:
                return
            with other:
                other.settimeout(_SECONDS)
                try:
                    self._receive(other)
                except OSError as problem:
                    _log.warning("dicom_move.not_taken_over", error=type(problem).__name__)

    def _receive(self, other: socket.socket) -> None:
        head, descriptors, _, _ = socket.recv_fds(other, _LENGTH.size, 1)
        if not descriptors:
            return
        connection, is_taken = socket.socket(fileno=descriptors[0]), False
        try:
            with other.makefile("rb") as stream:
                state = stream.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else b""
            if state.endswith(b"}"):
                is_taken = self._take(*_restored(connection, json.loads(state), self._seconds))
        finally:
            if not is_taken:
                connection.close()
        other.sendall(_TAKEN if is_taken else b"0")


class _Reachable:
    """A path to a name in a directory that is short enough for a socket, within a context."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self._descriptor = -1

    def __enter__(self) -> str:
        path = str(self._directory / self._name)
        if len(os.fsencode(path)) <= _LONGEST_PATH:
            return path
        self._descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._descriptor}/{self._name}"

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def _state(association: Association, received: Received) -> bytes:
    """Everything that another process needs to go on where this one stopped reading."""
    state = {
        **association.state(),
        "contexts": [[number, each.abstract_syntax, each.transfer_syntax] for number, each in association.contexts.items()],
        "context": received.context_id,
        "command": _text(write_command(received.message)),
        "unread": _text(association.unread()),
    }
    return json.dumps(state).encode()


def _restored(connection: socket.socket, state: dict[str, Any], seconds: float) -> tuple[Association, Received]:
    contexts = {number: Context(abstract, transfer) for number, abstract, transfer in state["contexts"]}
    association = Association(connection, state["address"], seconds, state["calling"], state["called"], contexts)
    association.resume(state["limit"], base64.b64decode(state["unread"]))
    return association, association.received(state["context"], read_command(base64.b64decode(state["command"])))


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
