"""Garbled circuits of two parties that follow the protocol: half gates and extended transfers.

`CircuitBuilder` and `gadgets` describe what is computed; `Garbler` and `Evaluator` compute it on
their numbers, bytes in and bytes out, with the transfers of `TransferSender` and
`TransferReceiver`, whose base is laid once a session.
"""

from privfed.garbled import gadgets
from privfed.garbled.circuit import Circuit, CircuitBuilder, Numbers, Wire, Word
from privfed.garbled.extension import TransferReceiver, TransferSender
from privfed.garbled.parties import Evaluated, Evaluator, Garbler, Lengths

__all__ = [
    "Circuit",
    "CircuitBuilder",
    "Evaluated",
    "Evaluator",
    "Garbler",
    "Lengths",
    "Numbers",
    "TransferReceiver",
    "TransferSender",
    "Wire",
    "Word",
    "gadgets",
]
