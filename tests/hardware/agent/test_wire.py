"""The wire: what one side sends is what the other receives, and nothing else gets through."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hardware.agent import wire
from hardware.agent.wire import HEADER_LIMIT, MAGIC, Channel, WireError, greet_agent, greet_client

SECRET = b"0123456789abcdef"


@contextmanager
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of one connection."""
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    """Agent and client after the handshake."""
    with sockets() as (ours, theirs):
        found: list[Channel] = []
        thread = threading.Thread(target=lambda: found.append(greet_client(ours, SECRET)))
        thread.start()
        client = greet_agent(theirs, SECRET)
        thread.join()
        yield found[0], client


def test_frames_arrive_whole_and_in_order(pair: tuple[Channel, Channel]) -> None:
    agent, client = pair
    client.send({"a": 1}, b"\x00raw", within_s=5)
    client.send({}, within_s=5)
    assert agent.receive(4, within_s=5) == ({"a": 1}, b"\x00raw")
    assert agent.receive(within_s=5) == ({}, b"")
    agent.send({"b": [2.5]}, within_s=5)
    assert client.receive(within_s=5) == ({"b": [2.5]}, b"")


def test_the_secret_never_travels_and_no_two_connections_are_alike() -> None:
    def recorded() -> bytes:
        with sockets() as (agent, client):
            agent.sendall(MAGIC + bytes(32))

            def greet() -> None:
                with pytest.raises(WireError):
                    greet_agent(client, SECRET)

            thread = threading.Thread(target=greet)
            thread.start()
            said = agent.recv(4096)
            agent.shutdown(socket.SHUT_RDWR)
            thread.join()
            return said

    one, other = recorded(), recorded()
    assert SECRET not in one and len(one) == len(MAGIC) + 64
    assert one[len(MAGIC) :] != other[len(MAGIC) :]


def test_either_side_refuses_the_other_without_the_secret() -> None:
    with sockets() as (ours, theirs):
        failures: list[str] = []

        def refused() -> None:
            with pytest.raises(WireError) as error:
                greet_client(ours, SECRET)
            failures.append(str(error.value))
            ours.close()

        thread = threading.Thread(target=refused)
        thread.start()
        with pytest.raises(WireError, match="another secret"):
            greet_agent(theirs, b"fedcba9876543210")
        thread.join()
        assert failures == ["the client does not know the secret"]


def test_a_false_agent_that_returns_the_clients_own_proof_is_refused() -> None:
    with sockets() as (false, client):
        false.sendall(MAGIC + bytes(32))

        def mirror() -> None:
            said = false.recv(4096)
            false.sendall(said[-32:])

        thread = threading.Thread(target=mirror)
        thread.start()
        with pytest.raises(WireError, match="it does not know the secret"):
            greet_agent(client, SECRET)
        thread.join()


@contextmanager
def tapped() -> Iterator[tuple[socket.socket, Channel, bytes]]:
    """The client's raw end of a connection, the agent's channel, and the key of both."""
    with sockets() as (ours, theirs):
        key = bytes(32)
        yield theirs, Channel(ours, key, "agent"), key


def frame(key: bytes) -> bytes:
    """What a client sends as its first frame."""
    with sockets() as (one, other):
        Channel(one, key, "client").send({"do": "describe"}, b"xyz", within_s=5)
        return other.recv(4096)


def test_a_frame_that_is_changed_anywhere_is_refused() -> None:
    with tapped() as (_, _, key):
        good = frame(key)
    for place in (*range(12, len(good), 7), len(good) - 1):
        with tapped() as (client, agent, key):
            client.sendall(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            with pytest.raises(WireError, match="not authentic"):
                agent.receive(100, within_s=5)


def test_a_frame_that_is_repeated_or_sent_back_is_refused() -> None:
    with tapped() as (client, agent, key):
        client.sendall(2 * frame(key))
        assert agent.receive(100, within_s=5)[1] == b"xyz"
        with pytest.raises(WireError, match="not authentic"):
            agent.receive(100, within_s=5)
    with tapped() as (client, agent, _):
        agent.send({}, within_s=5)
        client.sendall(client.recv(4096))
        with pytest.raises(WireError, match="not authentic"):
            agent.receive(100, within_s=5)


@pytest.mark.parametrize("lengths", [(HEADER_LIMIT + 1, 0), (2, 101), (2**32 - 1, 2**64 - 1)])
def test_lengths_are_refused_before_anything_is_read(lengths: tuple[int, int]) -> None:
    with tapped() as (client, agent, _):
        client.sendall(struct.pack("!IQ", *lengths))
        with pytest.raises(WireError, match="over the limit"):
            agent.receive(100, within_s=5)


@pytest.mark.parametrize("text", [b"no json", b"[1]", b"[" * 100_000, b"\xff"])
def test_headers_that_are_no_objects_are_refused(text: bytes) -> None:
    with tapped() as (client, agent, key):
        lengths = struct.pack("!IQ", len(text), 0)
        client.sendall(lengths + text + wire._tag(key, "client", 1, lengths, text, b""))
        with pytest.raises(WireError, match="a header is"):
            agent.receive(within_s=5)


def test_bytes_that_come_too_slowly_end_the_connection() -> None:
    with tapped() as (client, agent, _):
        client.sendall(struct.pack("!IQ", 2, 0) + b"{")
        with pytest.raises(WireError, match="too slow"):
            agent.receive(within_s=0.05)
