"""The one text of a set of parameters, which their fingerprint is of."""

import json
from collections.abc import Mapping
from typing import Any

from privfed.errors import DecodeError
from privfed.keys import PublicIdentity
from privfed.secagg.layout import Layout

VERSION = 5  # 4 had one `clip_range` for all arrays
MAX_BYTES = 1 << 24
_PARTIES = ("roster", "aggregators")


def text_of(settings: Mapping[str, Any]) -> bytes:
    """Return the canonical JSON text of parameters' settings."""
    described = dict(settings)
    layout: Layout = described["layout"]
    entries = [[name, list(shape)] for name, shape in layout.entries]
    described["layout"] = [entries, list(layout.skipped)]
    for name in _PARTIES:
        described[name] = [party.to_bytes().hex() for party in described[name]]
    described["version"] = VERSION
    text = json.dumps(described, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def settings_of(data: bytes) -> dict[str, Any]:
    """Return the settings in a text, which need not be valid or canonical.

    Raises:
        DecodeError: It is too long or of another version.
        ValueError: It is no such text, in one of several ways: TypeError, KeyError and others, too.
    """
    if len(data) > MAX_BYTES:
        raise DecodeError(f"parameters of more than {MAX_BYTES} bytes")
    described: dict[str, Any] = json.loads(data)
    version = described.pop("version")
    if version != VERSION:
        raise DecodeError(
            f"parameters of version {version!r:.20}, this privfed reads {VERSION}: agree on new "
            "ones, and on a new key for them"
        )
    entries, skipped = described["layout"]
    described["layout"] = Layout(
        tuple((name, tuple(shape)) for name, shape in entries), tuple(skipped)
    )
    names = {name for name, _ in described["layout"].entries}
    if not all(name in names for name, _ in described["clip_ranges"]):
        raise ValueError  # a pattern: its search would take a stranger's time, and it is never here
    for name in _PARTIES:
        described[name] = tuple(
            PublicIdentity.from_bytes(bytes.fromhex(party)) for party in described[name]
        )
    return described
