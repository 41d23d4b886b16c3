"""Lattices: how integers lie in a ciphertext, arithmetic mod q, and the room that talks to SEAL.

`Packing` says how many integers share a coefficient and which bits may be cut; `planes` writes
words of any width, `rlwe` adds, cuts and scales them; `seal` makes what only SEAL can, and
loads it when it is first asked to. Nothing here knows of parties, rounds or signatures.
"""

from privfed.he import planes, rlwe, seal
from privfed.he.packing import (
    MAX_BITS,
    MODULUS,
    MODULUS_BITS,
    RING_DEGREE,
    Integers,
    Packing,
    Words,
    choose,
    choose_slots,
    pack,
    unpack,
)

__all__ = [
    "MAX_BITS",
    "MODULUS",
    "MODULUS_BITS",
    "RING_DEGREE",
    "Integers",
    "Packing",
    "Words",
    "choose",
    "choose_slots",
    "pack",
    "planes",
    "rlwe",
    "seal",
    "unpack",
]
