"""`python -m hardware.agent`: the agent where the command line's own packages are not installed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hardware.agent.secret import VARIABLE, SecretError
from hardware.agent.server import serve


def main() -> None:
    """Serves until interrupted; exit code 2 for a wrong secret or address."""
    parser = argparse.ArgumentParser(prog="python -m hardware.agent", description="Measure exported files for others.")
    parser.add_argument("--port", type=int, default=7077)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--secret-file", type=Path, help="private file with the shared secret")
    parser.add_argument("--secret-env", default=VARIABLE, help="environment variable with the secret")
    chosen = parser.parse_args()
    try:
        serve(chosen.port, chosen.host, chosen.secret_file, chosen.secret_env)
    except (SecretError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
