"""The agent: listens, lets in who knows the secret, one client at a time, and outlives every one of them."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hardware.agent.secret import VARIABLE, read_secret
from hardware.agent.session import Session
from hardware.agent.wire import WireError, greet_client

_ROOT = str(Path(__file__).parents[2])


def serve(port: int, host: str = "127.0.0.1", secret_file: Path | None = None, secret_env: str = VARIABLE) -> None:
    """Answers clients until the process is interrupted or terminated.

    Args:
        port: 0 takes a free one; the line on standard error names it.
        host: the address to listen on; other than loopback, a warning says that nothing is encrypted.
        secret_file: holds the secret, and is private to its owner.
        secret_env: the variable that holds it where there is no file.

    Raises:
        SecretError: there is no good secret.
        OSError: the address cannot be listened on.
    """
    secret = read_secret(secret_file, secret_env)
    environment = {name: value for name, value in os.environ.items() if name != secret_env}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [_ROOT, environment.get("PYTHONPATH")]))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=8) as listener, _ended_by_signals():
        address = listener.getsockname()
        _say(f"agent: listening on {address[0]}:{address[1]}")
        if not ipaddress.ip_address(address[0]).is_loopback:
            _say("agent: warning: traffic is authenticated, not encrypted; use it in networks that you trust")
        while True:
            connection, client = listener.accept()
            with connection:
                _attend(connection, f"{client[0]}:{client[1]}", secret, environment)


def _attend(connection: socket.socket, client: str, secret: bytes, environment: dict[str, str]) -> None:
    """One client; whatever it does, the agent goes on."""
    try:
        channel = greet_client(connection, secret)
        with tempfile.TemporaryDirectory(prefix="nas-agent-") as folder:
            Session(channel, Path(folder), environment).run()
    except WireError as error:
        _say(f"agent: {client}: {error}")
    except Exception as error:
        _say(f"agent: {client}: {type(error).__name__}: {error}")


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Interruption and termination leave the loop, and end the measuring process on the way."""

    def end(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
