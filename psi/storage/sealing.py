"""Files that only the holder of a secret can read or make, each for one purpose.

HKDF-SHA256 (RFC 5869) makes a key of the secret and 32 fresh random bytes; ChaCha20-Poly1305
(RFC 8439) hides and authenticates, and binds what the file is for. So a key seals once.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["OVERHEAD_BYTES", "open_sealed", "seal_for"]

_SALT_BYTES, _TAG_BYTES = 32, 16
_ONCE = bytes(12)  # a nonce; the key is of one message
OVERHEAD_BYTES = _SALT_BYTES + _TAG_BYTES


def seal_for(secret: bytes, purpose: bytes, content: bytes) -> bytes:
    """Return content that only `open_sealed` with the same secret and purpose gives back.

    Args:
        secret: At least 32 bytes that nobody else knows.
        purpose: What the content is for, in all that it is bound to.
        content: At most 2^31 - 1 bytes.
    """
    salt = os.urandom(_SALT_BYTES)
    return salt + ChaCha20Poly1305(_key(secret, salt)).encrypt(_ONCE, content, purpose)


def open_sealed(secret: bytes, purpose: bytes, data: bytes) -> bytes:
    """Return what `seal_for` was given.

    Raises:
        ValueError: It was made with another secret or for another purpose, or was changed.
    """
    salt, sealed = data[:_SALT_BYTES], data[_SALT_BYTES:]
    try:
        return ChaCha20Poly1305(_key(secret, salt)).decrypt(_ONCE, sealed, purpose)
    except (InvalidTag, ValueError):
        raise ValueError("these bytes were not sealed for this, or changed") from None


def _key(secret: bytes, salt: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=salt, info=b"psi sealed 1").derive(secret)
