"""The secret that an agent and its clients share: from a private file or the environment, never the command line."""

from __future__ import annotations

import os
import stat
from pathlib import Path

VARIABLE = "NAS_AGENT_SECRET"
"""The environment variable that is read where no file is named."""

_LEAST = 16
_MEND = "make one with: (umask 077; openssl rand -hex 32 > agent.secret)"


class SecretError(ValueError):
    """There is no secret, or it is none. The message holds the mend."""


def read_secret(file: Path | None, variable: str = VARIABLE) -> bytes:
    """The secret in a file that its owner alone can read; without a file, in an environment variable.

    Raises:
        SecretError: it is missing, too short, or open to others.
    """
    secret = _environment(variable) if file is None else _file(file.expanduser())
    if len(secret) < _LEAST:
        raise SecretError(f"the secret has {len(secret)} characters, fewer than {_LEAST}; {_MEND}")
    return secret


def _environment(variable: str) -> bytes:
    """The value of a variable."""
    if variable not in os.environ:
        raise SecretError(f"no secret: name a file, or set {variable}; {_MEND}")
    return os.environ[variable].strip().encode()


def _file(path: Path) -> bytes:
    """The content of a private file; what is checked is the file that is read."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise SecretError(f"others may use the secret in {path} (mode {mode:o}); mend: chmod 600 {path}")
            return file.read(4096).strip()
    except OSError as error:
        raise SecretError(f"the secret cannot be read: {error}; {_MEND}") from error
