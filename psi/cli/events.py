"""What happens, for machines: a line of JSON for each event, added to a file.

Names, fingerprints, sizes of messages and errors in our own words; no ID and nothing of a result.
"""

import collections
import datetime
import os
import threading
import time
from pathlib import Path

from psi.cli.shared import messages
from psi.storage import json_bytes

__all__ = ["EventLog"]

_DROPPED_SECONDS = 60  # between two lines about strangers: they must not fill a disk


class EventLog:
    """Tells events to a file, which is opened for each: it may be moved away meanwhile."""

    def __init__(self, path: Path | None) -> None:
        """Begin; without a path nothing is told."""
        self._path = path
        self._lock = threading.Lock()
        self._failed = False
        self._dropped: collections.Counter[str] = collections.Counter()
        self._dropped_told = time.monotonic()

    def tell(self, event: str, **fields: object) -> None:
        """Add a line; a disk that does not take it ends nothing.

        Args:
            event: What happened.
            fields: More of it, in values that JSON has; None is left out.
        """
        if self._path is None:
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        known = {name: value for name, value in fields.items() if value is not None}
        line = json_bytes({"time": now, "event": event, **known}) + b"\n"
        try:
            with self._lock:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                descriptor = os.open(self._path, flags, 0o600)
                try:
                    os.write(descriptor, line)
                finally:
                    os.close(descriptor)
        except OSError as error:
            if not self._failed:
                messages.print(f"{self._path} takes no lines ({error.strerror}): going on without")
            self._failed = True
        else:
            self._failed = False

    def drop(self, reason: str) -> None:
        """Count a stranger who was dropped; now and then a line tells of all."""
        with self._lock:
            self._dropped[reason] += 1
            due = time.monotonic() - self._dropped_told > _DROPPED_SECONDS
        if due:
            self.tell_dropped()

    def tell_dropped(self) -> None:
        """Tell of the strangers since the last time, if there were any."""
        with self._lock:
            counts, self._dropped = dict(self._dropped), collections.Counter()
            self._dropped_told = time.monotonic()
        if counts:
            self.tell("strangers dropped", reasons=counts)
