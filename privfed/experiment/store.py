"""Finished runs on disk, so that an interrupted benchmark goes on where it stopped."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from privfed.errors import ConfigError
from privfed.experiment.model_file import in_file_name
from privfed.experiment.results import Run
from psi.storage import json_bytes, json_read, whole_file


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: dict[str, Any]
    run: Run


class RunStore:
    """One file for each finished run, named by the SHA-256 of all that the run depends on.

    Args:
        directory: The benchmark's output folder; made if absent.

    Raises:
        ConfigError: The folder cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self._runs = directory / "runs"
        try:
            self._runs.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._runs):
                pass
        except OSError as error:
            reason = error.strerror or "an error"
            raise ConfigError(
                f"cannot write to {directory} ({reason}): choose another folder as `directory`"
            ) from None

    def load(self, key: dict[str, Any]) -> Run | None:
        """Return the finished run of `key`; None if there is none, or its file is damaged."""
        try:
            digest, _, text = self._path(key).read_bytes().decode().partition("\n")
        except (OSError, UnicodeDecodeError):
            return None
        if digest != _sha256(text):
            return None
        try:
            stored = json_read(text, _Stored)
        except ValueError:
            return None
        return stored.run if json_bytes(stored.key) == json_bytes(_sorted(key)) else None

    def save(self, key: dict[str, Any], run: Run) -> None:
        """Keep a finished run; a reader sees it whole or not at all."""
        text = json_bytes(_Stored(_sorted(key), run)).decode()
        with whole_file(self._path(key), replace=True, refusal=ConfigError) as file:
            file.write(f"{_sha256(text)}\n{text}".encode())

    def _path(self, key: dict[str, Any]) -> Path:
        digest = _sha256(json_bytes(_sorted(key)).decode())
        arm = in_file_name(key["arm"])
        return self._runs / f"{key['split']}-{arm}-seed{key['seed']}-{digest[:12]}.run"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sorted(key: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(key.items()))
