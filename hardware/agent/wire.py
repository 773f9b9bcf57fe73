"""The wire between a measuring agent and its client: a mutual proof of the shared secret, then authenticated frames.

    agent  -> client   MAGIC, 32 random bytes
    client -> agent    MAGIC, 32 random bytes, tag("client")
    agent  -> client   tag("agent")

The key of a connection is HMAC-SHA256(secret, MAGIC, both sides' random bytes), and a tag is the HMAC-SHA256 of the
sender's role, the number of its message and the message under that key. So the secret never travels, a recorded
connection cannot be played again, and no message can be changed, repeated, dropped or sent back to its sender. Nothing
is encrypted: who listens sees the models.

A frame is the lengths of a JSON header (4 bytes) and of raw bytes (8 bytes), these two, and their tag (32 bytes).
Lengths are checked before anything of that length is read.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

MAGIC = b"nas-agent/1\n"
HEADER_LIMIT = 2**20
HANDSHAKE_S = 5.0
"""How long a client may take to prove itself; meanwhile nobody else is served."""
GREETING_S = 30.0
"""How long a client waits for its turn, and for the agent's proof."""

_NONCE, _TAG = 32, 32
_LENGTHS = struct.Struct("!IQ")

Role = Literal["agent", "client"]
Header = dict[str, Any]

LEAVE: Header = {"do": "leave"}
"""The last request of a client."""


class WireError(Exception):
    """The other side is not who it should be, does not speak as it should, or is gone."""


class Channel:
    """A connection whose both sides have proved that they know the secret."""

    def __init__(self, connection: socket.socket, key: bytes, role: Role) -> None:
        """Of one side of a connection; the proofs were message 0 of both."""
        self._connection, self._key, self._role = connection, key, role
        self._other: Role = "client" if role == "agent" else "agent"
        self._sent, self._received = 1, 1

    def fileno(self) -> int:
        """The connection's, so that it can be waited for."""
        return self._connection.fileno()

    def send(self, header: Header, body: bytes = b"", *, within_s: float) -> None:
        """Sends one frame.

        Raises:
            WireError: the other side does not take it in time, or is gone.
        """
        text = json.dumps(header, allow_nan=False).encode()
        lengths = _LENGTHS.pack(len(text), len(body))
        tag = _tag(self._key, self._role, self._sent, lengths, text, body)
        self._sent += 1
        with deadline(self._connection, within_s):
            for piece in (lengths, text, body, tag):
                _send(self._connection, piece)

    def receive(self, body_limit: int = 0, *, within_s: float) -> tuple[Header, bytes]:
        """The next frame.

        Args:
            body_limit: greatest length of the raw bytes.
            within_s: seconds until the whole frame must be here.

        Raises:
            WireError: the frame is too large, late, not by the other side, or no frame.
        """
        with deadline(self._connection, within_s):
            lengths = _read(self._connection, _LENGTHS.size)
            header_length, body_length = _LENGTHS.unpack(lengths)
            if header_length > HEADER_LIMIT or body_length > body_limit:
                raise WireError(f"a frame of {header_length} and {body_length} bytes is over the limit")
            text, body = _read(self._connection, header_length), _read(self._connection, body_length)
            tag = _read(self._connection, _TAG)
        if not hmac.compare_digest(tag, _tag(self._key, self._other, self._received, lengths, text, body)):
            raise WireError("a frame is not authentic")
        self._received += 1
        return _parsed(text), body


def greet_client(connection: socket.socket, secret: bytes) -> Channel:
    """The agent's side of the handshake.

    Raises:
        WireError: the client does not know the secret, speaks another protocol, or is too slow.
    """
    with deadline(connection, HANDSHAKE_S):
        ours = secrets.token_bytes(_NONCE)
        _send(connection, MAGIC + ours)
        _read_magic(connection)
        theirs, proof = _read(connection, _NONCE), _read(connection, _TAG)
        key = _key(secret, ours, theirs)
        if not hmac.compare_digest(proof, _tag(key, "client", 0)):
            raise WireError("the client does not know the secret")
        _send(connection, _tag(key, "agent", 0))
    return Channel(connection, key, "agent")


def greet_agent(connection: socket.socket, secret: bytes) -> Channel:
    """The client's side of the handshake.

    Raises:
        WireError: one side does not know the secret of the other, or no agent speaks.
    """
    with deadline(connection, GREETING_S):
        _read_magic(connection)
        theirs, ours = _read(connection, _NONCE), secrets.token_bytes(_NONCE)
        key = _key(secret, theirs, ours)
        _send(connection, MAGIC + ours + _tag(key, "client", 0))
        try:
            proof = _read(connection, _TAG)
        except WireError as error:
            raise WireError("it has another secret") from error
    if not hmac.compare_digest(proof, _tag(key, "agent", 0)):
        raise WireError("it does not know the secret")
    return Channel(connection, key, "client")


@contextmanager
def deadline(connection: socket.socket, seconds: float) -> Iterator[None]:
    """Cuts the connection when its work is not done in time, however slowly its bytes arrive."""
    timer = threading.Timer(seconds, _cut, [connection])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(connection: socket.socket) -> None:
    """Ends both directions, which wakes whoever waits."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _key(secret: bytes, agent: bytes, client: bytes) -> bytes:
    """The key of one connection."""
    return hmac.digest(secret, MAGIC + agent + client, "sha256")


def _tag(key: bytes, role: Role, number: int, *parts: bytes) -> bytes:
    """What proves that this side sent this message as its n-th. The lengths among the parts keep them apart."""
    digest = hmac.new(key, f"{role} {number}\n".encode(), "sha256")
    for part in parts:
        digest.update(part)
    return digest.digest()


def _read_magic(connection: socket.socket) -> None:
    """The first bytes of either side.

    Raises:
        WireError: they are others.
    """
    if _read(connection, len(MAGIC)) != MAGIC:
        raise WireError("it does not speak the protocol of this version")


def _read(connection: socket.socket, count: int) -> bytes:
    """So many bytes.

    Raises:
        WireError: the connection ended before.
    """
    content = bytearray(count)
    view, done = memoryview(content), 0
    while done < count:
        try:
            read = connection.recv_into(view[done:])
        except OSError as error:
            raise WireError(f"the connection failed: {error}") from error
        if read == 0:
            raise WireError("the connection ended, or was too slow")
        done += read
    return bytes(content)


def _send(connection: socket.socket, content: bytes) -> None:
    """All of these bytes.

    Raises:
        WireError: the connection ended.
    """
    try:
        connection.sendall(content)
    except OSError as error:
        raise WireError(f"the connection failed: {error}") from error


def _parsed(text: bytes) -> Header:
    """A header.

    Raises:
        WireError: it is not a JSON object.
    """
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise WireError("a header is not an object")
    return header
