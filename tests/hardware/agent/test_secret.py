"""The secret: from a private file or the environment, or an error that says how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware.agent.secret import SecretError, read_secret


def test_it_is_read_from_a_private_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_text("0123456789abcdef\n")
    file.chmod(0o600)
    assert read_secret(file) == b"0123456789abcdef"
    monkeypatch.setenv("MINE", "fedcba9876543210")
    assert read_secret(None, "MINE") == b"fedcba9876543210"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_may_use_is_refused(mode: int, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("0123456789abcdef")
    file.chmod(mode)
    with pytest.raises(SecretError, match="chmod 600"):
        read_secret(file)


def test_a_missing_or_short_secret_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SecretError, match="openssl"):
        read_secret(tmp_path / "none")
    monkeypatch.delenv("NONE", raising=False)
    with pytest.raises(SecretError, match="set NONE"):
        read_secret(None, "NONE")
    monkeypatch.setenv("NONE", "short")
    with pytest.raises(SecretError, match="5 characters"):
        read_secret(None, "NONE")
