"""Aggregation of model updates that the server cannot read: bytes in, bytes out.

Parties share a key (`generate_keys`) and public `Parameters`. A `Party` is one company's
side: it turns updates into signed bytes and opens each round's total, once. The server's
`Aggregator` adds with the public parameters alone. `Encryptor` and `Decryptor` are the
party's two halves; `simulate` plays all of them in one process.
"""

from privfed.keys import Identity, PublicIdentity, SecretKey, generate_identity
from privfed.secagg.aggregator import Aggregator
from privfed.secagg.checks import check_params
from privfed.secagg.decryptor import Decryptor
from privfed.secagg.encryptor import Encryptor
from privfed.secagg.keyring import Keyring
from privfed.secagg.layout import Layout
from privfed.secagg.parameters import Parameters
from privfed.secagg.party import Party
from privfed.secagg.ranges import learnt, octaves, range_round
from privfed.secagg.results import IntegerResult, MeanResult
from privfed.secagg.sealing import open_key, seal_key
from privfed.secagg.simulation import RoundCost, Simulation, simulate


def generate_keys(params: Parameters) -> SecretKey:
    """Return a fresh secret key that the parties share and the server never has.

    Under `scheme="reference"` it hides nothing: updates travel in the clear.
    """
    return SecretKey.generate(check_params(params).fingerprint)


__all__ = [
    "Aggregator",
    "Decryptor",
    "Encryptor",
    "Identity",
    "IntegerResult",
    "Keyring",
    "Layout",
    "MeanResult",
    "Parameters",
    "Party",
    "PublicIdentity",
    "RoundCost",
    "SecretKey",
    "Simulation",
    "generate_identity",
    "generate_keys",
    "learnt",
    "octaves",
    "open_key",
    "range_round",
    "seal_key",
    "simulate",
]
