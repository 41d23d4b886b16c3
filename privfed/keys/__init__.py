"""Who a party is, and the secret that the parties share: the keys of every protocol here.

`identity` is a party's own key pair, `certificate` ties it to the certificate of psi, `secret` is
the shared key, `signatures` is how a signature is checked. None of them knows what is encrypted.
"""

from privfed.keys.identity import Identity, PublicIdentity, generate_identity
from privfed.keys.secret import (
    ID_BYTES,
    SecretKey,
    derive,
    is_secret,
    load_secret,
    save_secret,
)
from privfed.keys.signatures import SIGNATURE_BYTES

__all__ = [
    "ID_BYTES",
    "SIGNATURE_BYTES",
    "Identity",
    "PublicIdentity",
    "SecretKey",
    "derive",
    "generate_identity",
    "is_secret",
    "load_secret",
    "save_secret",
]
