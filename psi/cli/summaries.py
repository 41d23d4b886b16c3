"""What was held, as a file for programs: `--json`."""

from pathlib import Path

from psi.storage import json_bytes, whole_file

__all__ = ["write_summary"]


def write_summary(
    path: Path | None,
    *,
    protocol: str,
    reason: str,
    rows: int | list[int],
    matched: int | None,
    sent: int,
    received: int,
    replace: bool,
) -> None:
    """Write what was held, if there is a file for it.

    Args:
        path: Where it goes.
        protocol: The protocol that ran.
        reason: Why it was chosen; empty if somebody named it.
        rows: How many rows this side brought; of two tables in one place, how many each has.
        matched: How many of them matched; None if this side does not know, or learnt another thing.
        sent: Bytes that this side sent.
        received: Bytes that it received.
        replace: Whether a file that is there is replaced.

    Raises:
        ConfigError: It cannot be written.
    """
    if path is None:
        return
    content = {
        "protocol": protocol,
        "reason": reason,
        "rows": rows,
        "matched": matched,
        "bytes_sent": sent,
        "bytes_received": received,
    }
    with whole_file(path, replace=replace) as file:
        file.write(json_bytes(content, indent=1) + b"\n")
