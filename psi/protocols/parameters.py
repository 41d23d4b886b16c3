"""What all sides of a conversation about sets must choose alike."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

from psi.errors import ConfigError

__all__ = ["FINGERPRINT_BYTES", "MAX_PEER_ITEMS", "SessionParameters"]

MAX_PEER_ITEMS = 1 << 25  # what 2^24 announced ones count for in the largest protocol, and more
FINGERPRINT_BYTES = 32


@dataclass(frozen=True)
class SessionParameters:
    """What both sides must choose alike; the fingerprint is compared before any item is sent.

    Attributes:
        output: Who gets the result: "both", or only the "receiver".
        key_format: How rows become items (columns, normalisation), in the caller's own words,
            which are compared as text.
        multiplicities: Whether both sides tell how often each matched item occurs.
    """

    output: Literal["both", "receiver"] = "both"
    key_format: str = ""
    multiplicities: bool = False

    def __post_init__(self) -> None:
        if self.output not in ("both", "receiver"):
            raise ConfigError('output is "both" or "receiver"')
        if self.multiplicities and self.output != "both":
            raise ConfigError('multiplicities need the result on both sides: output="both"')

    def fingerprint(self) -> bytes:
        """Return 32 bytes that are equal exactly if all settings are."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).digest()
