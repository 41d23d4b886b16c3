"""Both sides of a vector OLE in one test, which deals the transfers and plays a hostile side."""

import secrets
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

import psi.vole.base
import psi.vole.sizes
from psi.kernels import blocks
from psi.vole import BaseReceiver, BaseSender, VolePlan, VoleReceiver, VoleSender
from psi.vole.base import BaseSizes
from psi.vole.noise import NoiseReceiver
from psi.vole.sizes import VoleSizes
from psi.vole.trees import sums_shape

Blocks = NDArray[np.uint64]
Bits = NDArray[np.uint8]

SESSION = bytes(range(32))
TRANSFERS, TREES, LEVELS = 128, 32, 4
ONE_BLOCK = np.array([[1, 0]], np.uint64)


def random_blocks(*shape: int) -> Blocks:
    drawn = secrets.token_bytes(16 * int(np.prod(shape)))
    return np.frombuffer(drawn, np.uint64).reshape(*shape, 2)


def few_trees(trees: int, depth: int) -> VoleSizes:
    """Sizes that are refused as insecure: what is tried with them is whether values are right."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psi.vole.sizes, "FEWEST_TREES", 1)
        return VoleSizes(trees, depth)


def random_bits(*shape: int) -> Bits:
    drawn = np.frombuffer(secrets.token_bytes(int(np.prod(shape))), np.uint8)
    return (drawn & np.uint8(1)).reshape(shape)


def bits_of(block: Blocks) -> Bits:
    """The 128 bits of a block, the lowest first."""
    return np.unpackbits(block.view(np.uint8).reshape(-1), bitorder="little")


def inverse(element: Blocks) -> Blocks:
    """The inverse of a field element: its power of 2^128 - 2."""
    power, product = element, ONE_BLOCK
    for _ in range(127):
        power = blocks.multiply(power, power)
        product = blocks.multiply(product, power)
    return product


@dataclass
class Transfers:
    """128 transfers: both seeds of each, and the sender's choices, which say D."""

    seeds: tuple[list[bytes], list[bytes]]
    choices: Bits

    @classmethod
    def deal(cls, delta: Bits | None = None) -> "Transfers":
        """Draw transfers, with these bits of D, the lowest first, if there are any."""
        secret = random_bits(TRANSFERS) if delta is None else delta
        zero, one = ([secrets.token_bytes(16) for _ in range(TRANSFERS)] for _ in range(2))
        return cls((zero, one), 1 - secret.reshape(TREES, LEVELS)[:, ::-1].reshape(-1))

    def receiver(self, sizes: BaseSizes) -> BaseReceiver:
        return BaseReceiver(self.seeds, sizes, SESSION)

    def sender(self, sizes: BaseSizes, message: bytes) -> BaseSender:
        chosen = [self.seeds[choice][at] for at, choice in enumerate(self.choices.tolist())]
        return BaseSender(chosen, self.choices, sizes, SESSION, message)


def dealt(plan: VolePlan) -> tuple[VoleReceiver, VoleSender]:
    """Both sides after an honest base."""
    transfers = Transfers.deal()
    receiver = transfers.receiver(plan.base)
    sender = transfers.sender(plan.base, receiver.message)
    return VoleReceiver(plan, receiver, SESSION), VoleSender(plan, sender, SESSION)


def draw_roots_of_equal_rows(patch: pytest.MonkeyPatch, first: int, second: int) -> None:
    """Let receivers draw their base so that these two rows of their transfers are the same.

    A tree has four bits of each row: 2^4 tries find a root with which they are alike.
    """
    roots = b"".join(_alike(first, second) for _ in range(TREES))
    drawn = SimpleNamespace(token_bytes=lambda count: roots)
    patch.setattr(psi.vole.base, "secrets", drawn)


def _alike(first: int, second: int) -> bytes:
    while True:
        root = random_blocks(1)
        (leaves,), _ = psi.vole.base._grown(root)
        columns, _ = psi.vole.base._folded(leaves, max(first, second) // 128 + 1)
        bits = np.unpackbits(columns.reshape(LEVELS, -1).view(np.uint8), axis=1, bitorder="little")
        if np.array_equal(bits[:, first], bits[:, second]):
            return bytes(root.tobytes())


def unnumbered(key: bytes, rows: Blocks) -> Blocks:
    """The fault: pads of the last level that do not depend on the tree."""
    return blocks.hash_blocks(np.frombuffer(key[:16], np.uint64) ^ rows)


def read_secret(receiver: NoiseReceiver, bits: Bits, message: bytes) -> Blocks:
    """D, if the receiver has made the first two trees' rows of the last level equal.

    The sum of the pads of their hidden sides is 0: so that of both hidden leaves is known, and with
    it that of the elements there times D.
    """
    depth, trees = bits.shape
    shape = sums_shape(trees, depth)
    sums = np.frombuffer(message, np.uint64)[: int(np.prod(shape))].reshape(shape)
    leaves, noise = (one.reshape(trees, -1, 2) for one in (receiver.leaves, receiver.noise))
    total, element = np.zeros((1, 2), np.uint64), np.zeros((1, 2), np.uint64)
    for tree in (0, 1):
        hidden = 1 - int(bits[-1, tree])
        # All leaves of that side but one are known; that one is, plus its element times D.
        total ^= sums[-2 + hidden, tree] ^ np.bitwise_xor.reduce(leaves[tree, hidden::2])
        element ^= np.bitwise_xor.reduce(noise[tree])
    return blocks.multiply(total, inverse(element))
