"""What holds for all tests of encrypted aggregation in an engine."""

import logging
import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_power_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave disks alone: here nothing depends on them, and jobs take half the time."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What operators read, at the server and at the parties."""
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    kept, log = Kept(), logging.getLogger("flwr")
    log.addHandler(kept)
    yield lines
    log.removeHandler(kept)
