"""Aggregation of model updates that the server cannot read: bytes in, bytes out.

Parties share a key (``generate_keys``) and public ``Parameters``; each one's ``Encryptor`` turns
an update into signed bytes, the server's ``Aggregator`` adds them with the public parameters
alone, and each party's ``Decryptor`` opens the sum of a round, once.
"""

from privfed.he.keys import SecretKey
from privfed.secagg.aggregator import Aggregator
from privfed.secagg.decryptor import Decryptor, IntegerResult, Result
from privfed.secagg.encryptor import Encryptor
from privfed.secagg.identity import Identity, PublicIdentity, generate_identity
from privfed.secagg.keyring import Keyring
from privfed.secagg.layout import Layout
from privfed.secagg.parameters import Parameters
from privfed.secagg.sealing import open_key, seal_key


def generate_keys(params: Parameters) -> SecretKey:
    """Return a fresh secret key that the parties share and the server never has.

    Under ``scheme="reference"`` it hides nothing: updates travel in the clear.
    """
    return SecretKey.generate(params.fingerprint)


__all__ = [
    "Aggregator",
    "Decryptor",
    "Encryptor",
    "Identity",
    "IntegerResult",
    "Keyring",
    "Layout",
    "Parameters",
    "PublicIdentity",
    "Result",
    "SecretKey",
    "generate_identity",
    "generate_keys",
    "open_key",
    "seal_key",
]
