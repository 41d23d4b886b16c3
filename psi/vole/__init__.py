"""A vector OLE over GF(2^128): the receiver has A and C, the sender D and B, with C = A·D + B."""

from psi.vole.base import TRANSFERS, BaseReceiver, BaseSender
from psi.vole.extension import VolePlan, VoleReceiver, VoleSender
from psi.vole.noise import CHECK_BYTES

__all__ = [
    "CHECK_BYTES",
    "TRANSFERS",
    "BaseReceiver",
    "BaseSender",
    "VolePlan",
    "VoleReceiver",
    "VoleSender",
]
