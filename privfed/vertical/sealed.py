"""A company's own files as JSON with a digest: a digit that changed on a disk is noticed."""

import hashlib

import msgspec

from psi.storage import json_bytes, json_read

__all__ = ["is_sealed", "sealed", "unsealed"]


def sealed(kind: str, content: bytes) -> bytes:
    """Return the file of what is JSON already, of a kind."""
    digest = hashlib.sha256(content).hexdigest()
    version = f"privfed vertical {kind} 1"
    return json_bytes({kind: msgspec.Raw(content), "sha256": digest, "format": version})


def unsealed(kind: str, data: bytes) -> bytes:
    """Return what `sealed` was given.

    Raises:
        ValueError: It is of another kind or version, or damaged.
    """
    content = bytes(json_read(data, dict[str, msgspec.Raw]).get(kind, b""))
    if not content or sealed(kind, content) != data:
        raise ValueError(f"this is no {kind} of a vertical model, or damaged")
    return content


def is_sealed(kind: str, data: bytes) -> bool:
    """Return whether a file says that it is of a kind; it may be damaged."""
    return data.startswith(json_bytes({kind: 0})[: len(kind) + 4])
