"""The schemes behind one interface; `scheme_of` picks the one that the parameters name."""

from privfed.secagg.parameters import Parameters
from privfed.secagg.schemes.base import (
    Accumulator,
    Authentic,
    Opener,
    Scheme,
    Sender,
    ZeroEncryption,
)
from privfed.secagg.schemes.packed import Packed
from privfed.secagg.schemes.reference import Reference


def scheme_of(params: Parameters) -> Scheme:
    """Return the implementation of `params.scheme`."""
    if params.scheme == "packed":
        return Packed(params.packing, params.totals, params.covers_c0)
    if params.scheme == "reference":
        return Reference(params.packing)
    from privfed.secagg.schemes.batched import CKKS, Slots  # these load SEAL, also at the server

    return Slots(params.packing) if params.scheme == "slots" else CKKS(params.packing)


__all__ = [
    "Accumulator",
    "Authentic",
    "Opener",
    "Packed",
    "Reference",
    "Scheme",
    "Sender",
    "ZeroEncryption",
    "scheme_of",
]
