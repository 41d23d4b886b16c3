"""The two parties of a garbled circuit, bytes in and bytes out: secure if both follow the protocol.

The evaluator asks for the labels of its input bits (`Evaluator.request`), the garbler answers with
the garbled circuit (`Garbler.garble`), the evaluator computes and learns its own outputs, and
returns the colours of the garbler's (`Evaluator.evaluate`), who reads them (`Garbler.read`).

    garbled circuit: key of the hash (16) · seed of the garbler's input labels (16)
        · a block for each input bit of the evaluator · bits that decode its outputs · tables

The labels of the garbler's own bits are a stream, of which the evaluator gets the seed: they are
those of the bits as they are, and the others lie the offset apart. With the pads of the transfers
as the evaluator's labels of 0, a label of 1 takes one block: their difference, and the offset.

Every length follows from the circuit and is measured first. Bits that were changed on the way give
other outputs, and nothing here notices: messages go through a channel that is authenticated.
"""

import secrets
from typing import NamedTuple, Never

import numpy as np

from privfed.errors import DecodeError, ReplayError
from privfed.garbled.circuit import Bits, Circuit, Numbers, count_bits, from_bits, places, to_bits
from privfed.garbled.extension import TransferReceiver, TransferSender, request_bytes
from privfed.garbled.half_gates import TABLE_BLOCKS, colours, fastest
from privfed.garbled.hashing import BLOCK_BYTES, Blocks, key_stream

__all__ = ["Evaluated", "Evaluator", "Garbler", "Lengths"]


class Lengths(NamedTuple):
    """The lengths of a circuit's three messages.

    Attributes:
        request: `Evaluator.request`.
        garbled: What `Garbler.garble` returns.
        colours: `Evaluated.colours`.
    """

    request: int
    garbled: int
    colours: int

    @classmethod
    def of(cls, circuit: Circuit) -> "Lengths":
        """Return the lengths of a circuit's messages."""
        chosen = count_bits(circuit.evaluator_inputs)
        blocks = 2 + chosen + TABLE_BLOCKS * circuit.ands
        decoding = _packed_bytes(count_bits(circuit.evaluator_outputs))
        return cls(
            request_bytes(chosen),
            BLOCK_BYTES * blocks + decoding,
            _packed_bytes(count_bits(circuit.garbler_outputs)),
        )


class _Party:
    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit
        self._lengths = Lengths.of(circuit)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._circuit})"

    def __reduce__(self) -> Never:
        raise TypeError("a garbled circuit holds secrets and is not pickled")


class Garbler(_Party):
    """The party that garbles; one for each evaluation, as offset and labels serve once."""

    def __init__(self, circuit: Circuit, values: Numbers) -> None:
        """Take this party's numbers.

        Args:
            circuit: What is computed.
            values: A number in each lane of each of `circuit.garbler_inputs`.

        Raises:
            ConfigError: Numbers are missing, too many or too large.
        """
        super().__init__(circuit)
        self._bits: Bits | None = to_bits(circuit.garbler_inputs, values)
        self._decoding: Bits | None = None

    def garble(self, request: bytes | memoryview, transfers: TransferSender) -> bytes:
        """Return the garbled circuit.

        Args:
            request: The other side's `Evaluator.request`.
            transfers: The session's.

        Raises:
            DecodeError: The request has another length.
            ReplayError: The circuit was garbled before, or the request is not the next one.
        """
        if self._bits is None:
            raise ReplayError("this circuit was garbled before: labels serve once")
        bits, self._bits = self._bits, None
        circuit = self._circuit
        zeros, ones = transfers.pads(request, count_bits(circuit.evaluator_inputs))
        offset = _random_block()
        offset[0, 0] |= np.uint64(1)
        key, seed = secrets.token_bytes(BLOCK_BYTES), secrets.token_bytes(BLOCK_BYTES)
        labels = np.empty((circuit.size, 2), np.uint64)
        own = key_stream(seed, len(bits))
        labels[places(circuit.garbler_inputs)] = own ^ (offset & -bits.astype(np.uint64)[:, None])
        labels[places(circuit.evaluator_inputs)] = zeros
        tables: Blocks = fastest().garble_gates(circuit, labels, offset, key)
        self._decoding = colours(labels[places(circuit.garbler_outputs)])
        decoding = colours(labels[places(circuit.evaluator_outputs)])
        return b"".join(
            (key, seed, (zeros ^ ones ^ offset).tobytes(), _packed(decoding), tables.tobytes())
        )

    def read(self, returned: bytes | memoryview) -> Numbers:
        """Return this party's outputs.

        Args:
            returned: The other side's `Evaluated.colours`.

        Raises:
            DecodeError: They have another length.
            ReplayError: They were read before, or nothing was garbled.
        """
        if self._decoding is None:
            raise ReplayError("colours are read once, after the circuit was garbled")
        decoding, self._decoding = self._decoding, None
        ports = self._circuit.garbler_outputs
        return from_bits(ports, _unpacked(returned, count_bits(ports)) ^ decoding)


class Evaluated(NamedTuple):
    """What evaluating a circuit gives.

    Attributes:
        values: This party's outputs.
        colours: For the garbling party, to read its outputs.
    """

    values: Numbers
    colours: bytes


class Evaluator(_Party):
    """The party that evaluates.

    Attributes:
        request: What the garbling party needs; requests of a session are answered in order.
    """

    def __init__(self, circuit: Circuit, values: Numbers, transfers: TransferReceiver) -> None:
        """Take this party's numbers, and begin the transfers of their labels.

        Args:
            circuit: What is computed.
            values: A number in each lane of each of `circuit.evaluator_inputs`.
            transfers: The session's.

        Raises:
            ConfigError: Numbers are missing, too many or too large.
        """
        super().__init__(circuit)
        self._bits = to_bits(circuit.evaluator_inputs, values)
        pads: Blocks
        self.request, pads = transfers.request(self._bits)
        self._pads: Blocks | None = pads

    def evaluate(self, garbled: bytes | memoryview) -> Evaluated:
        """Compute the circuit.

        Args:
            garbled: What `Garbler.garble` returned at the other side.

        Returns:
            This party's outputs, and what the other side needs for its own.

        Raises:
            DecodeError: It has another length.
            ReplayError: The circuit was evaluated before.
        """
        if self._pads is None:
            raise ReplayError("this circuit was evaluated before")
        pads, self._pads = self._pads, None
        circuit = self._circuit
        if len(garbled) != self._lengths.garbled:
            raise DecodeError("a garbled circuit of another length")
        rest = memoryview(garbled).cast("B")

        def taken(length: int) -> memoryview:
            nonlocal rest
            part, rest = rest[:length], rest[length:]
            return part

        key, seed = bytes(taken(BLOCK_BYTES)), bytes(taken(BLOCK_BYTES))
        differences = _blocks(taken(BLOCK_BYTES * len(self._bits)))
        outputs = count_bits(circuit.evaluator_outputs)
        decoding = _unpacked(taken(_packed_bytes(outputs)), outputs)
        labels = np.empty((circuit.size, 2), np.uint64)
        labels[places(circuit.garbler_inputs)] = key_stream(
            seed, count_bits(circuit.garbler_inputs)
        )
        chosen = differences & -self._bits.astype(np.uint64)[:, None]
        labels[places(circuit.evaluator_inputs)] = pads ^ chosen
        fastest().evaluate_gates(circuit, labels, _blocks(rest), key)
        own = colours(labels[places(circuit.evaluator_outputs)]) ^ decoding
        returned = colours(labels[places(circuit.garbler_outputs)])
        return Evaluated(from_bits(circuit.evaluator_outputs, own), _packed(returned))


def _blocks(data: memoryview) -> Blocks:
    # Copied, as what is before need not end at a word.
    return np.frombuffer(bytes(data), np.uint64).reshape(-1, 2)


def _packed_bytes(bits: int) -> int:
    return -(-bits // 8)


def _packed(bits: Bits) -> bytes:
    return np.packbits(bits, bitorder="little").tobytes()


def _unpacked(data: bytes | memoryview, bits: int) -> Bits:
    if len(data) != _packed_bytes(bits):
        raise DecodeError("the bits of another number of outputs")
    return np.unpackbits(np.frombuffer(data, np.uint8), count=bits, bitorder="little")


def _random_block() -> Blocks:
    return np.frombuffer(secrets.token_bytes(BLOCK_BYTES), np.uint64).reshape(1, 2).copy()
