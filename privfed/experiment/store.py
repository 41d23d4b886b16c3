"""Finished runs on disk, so that an interrupted benchmark goes on where it stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from privfed.errors import ConfigError
from privfed.experiment.results import PrivacyCost, Run
from psi.storage import whole_file


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
                f"cannot write to {directory} ({reason}): choose another folder with --out"
            ) from None

    def load(self, key: dict[str, Any]) -> Run | None:
        """Return the finished run of `key`; None if there is none, or its file is damaged."""
        try:
            digest, _, text = self._path(key).read_bytes().decode().partition("\n")
        except (OSError, UnicodeDecodeError):
            return None
        if digest != _sha256(text):
            return None
        stored = json.loads(text)
        if stored["key"] != _canonical(key):
            return None
        run = stored["run"]
        if run["privacy"] is not None:
            privacy = run["privacy"]
            privacy["sampling_rate"] = tuple(privacy["sampling_rate"])
            privacy["steps"] = tuple(privacy["steps"])
            run["privacy"] = PrivacyCost(**privacy)
        return Run(**run)

    def save(self, key: dict[str, Any], run: Run) -> None:
        """Write a finished run; a reader sees it whole or not at all."""
        text = json.dumps({"key": _canonical(key), "run": dataclasses.asdict(run)})
        with whole_file(self._path(key), replace=True, refusal=ConfigError) as file:
            file.write(f"{_sha256(text)}\n{text}".encode())

    def _path(self, key: dict[str, Any]) -> Path:
        digest = _sha256(json.dumps(_canonical(key), sort_keys=True))
        return self._runs / f"{key['split']}-{key['arm']}-seed{key['seed']}-{digest[:12]}.run"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(key: dict[str, Any]) -> Any:
    return json.loads(json.dumps(key, sort_keys=True))
