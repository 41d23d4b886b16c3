"""The one rule by which a signature holds, and which public keys are none.

**The rule** is RFC 8032's cofactorless equation, R = S·B − k·A, with R compared byte by byte (so a
non-canonical R fails) and S < L; and neither A nor R is of small order, nor A encoded in another
way than the canonical one. It accepts and refuses as libsodium does on the vectors of "Taming the
many EdDSAs" (ePrint 2020/1244). libcrypto checks the equation, R's bytes and S; the rest is here.
Two readers with two rules could take one upload for good and for forged.

With a verify key of small order anybody signs for its owner: S·B is R, up to one of eight points.
With a mask key of low order all secrets are zero (RFC 7748, section 6.1).
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from privfed.errors import AuthenticationError, ConfigError

__all__ = ["KEY_BYTES", "SIGNATURE_BYTES", "Verifier", "check_mask_key"]

KEY_BYTES, SIGNATURE_BYTES = 32, 64
_P = 2**255 - 19
# The y of a point of order 8; the other orders' are 1, -1 and 0 (twice).
_Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_Y = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})
# Their images in X25519's coordinate, u = (1 + y) / (1 - y), and the twist's point of order 4.
_LOW_U = frozenset((1 + y) * pow(1 - y, -1, _P) % _P for y in _SMALL_Y - {1}) | {_P - 1}


class Verifier:
    """An Ed25519 public key that a party may have, and what it signed.

    Args:
        key: 32 bytes.

    Raises:
        AuthenticationError: It is of small order, or no canonical encoding.
    """

    def __init__(self, key: bytes) -> None:
        if _number(key) >= _P or _small_order(key):
            raise AuthenticationError(
                "an Ed25519 key of small order or not canonical, for which others can sign: ask "
                "its party for an identity that privfed made"
            )
        self._key = Ed25519PublicKey.from_public_bytes(key)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check a signature by the rule.

        Raises:
            AuthenticationError: It is not this key's signature of `message`.
            ConfigError: An argument is no bytes.
        """
        try:
            self._key.verify(signature, message)
            if not _small_order(bytes(signature[:KEY_BYTES])):
                return
        except TypeError:
            raise ConfigError("a signature and what it is of are bytes") from None
        except (InvalidSignature, ValueError, BufferError):
            pass
        raise AuthenticationError("a signature does not verify")


def check_mask_key(key: bytes) -> None:
    """Refuse an X25519 public key of low order, however it is encoded.

    Raises:
        AuthenticationError: Every secret with it would be zero.
    """
    if _number(key) % _P in _LOW_U:
        raise AuthenticationError(
            "an X25519 key of low order, with which all secrets are zero: ask its party for an "
            "identity that privfed made"
        )


def _small_order(point: bytes) -> bool:
    return _number(point) % _P in _SMALL_Y


def _number(key: bytes) -> int:
    """Return a coordinate; the highest bit is a sign in Ed25519 and nothing in X25519."""
    return int.from_bytes(key, "little") & (2**255 - 1)
