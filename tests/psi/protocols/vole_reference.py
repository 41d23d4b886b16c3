"""`vole` with one bucket in Python's integers, from its description: which tags a session has.

Nothing here is the product's but the sizes, the seeds of the transfers and D. An element of
GF(2^128) is an integer: bit i is the coefficient of x^i, in bytes the lowest first.
"""

import hashlib
from collections.abc import Sequence
from functools import reduce
from operator import xor

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.psi.plain import product

Columns = list[list[int]]

HEADER, SEAL, MAC = 40, 32, 32
PI = bytes.fromhex("243f6a8885a308d313198a2e03707344")
LOW = (1 << 64) - 1


def total_of(numbers: Sequence[int]) -> int:
    return reduce(xor, numbers, 0)


def numbers_of(data: bytes, width: int = 16) -> list[int]:
    return [int.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width)]


def aes(key: bytes, *blocks: int) -> list[int]:
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    return numbers_of(cipher.update(b"".join(block.to_bytes(16, "little") for block in blocks)))


def hashed(*blocks: int) -> list[int]:
    """The circular correlation robust hash of each."""
    spread = [((x & LOW) ^ x >> 64) | (x & LOW) << 64 for x in blocks]
    return [one ^ other for one, other in zip(aes(PI, *spread), spread, strict=True)]


def half_tree(root: int, delta: int, depth: int) -> list[list[int]]:
    """The nodes of each level of a tree, the leaves last."""
    levels = [[root, root ^ delta]]
    for _ in range(depth - 2):
        left = hashed(*levels[-1])
        pairs = zip(levels[-1], left, strict=True)
        levels.append([child for node, one in pairs for child in (one, node ^ one)])
    ends = [child for node in levels[-1] for child in (node, node ^ 1)]
    return [*levels, hashed(*ends)]


def coded(vector: list[int], seed: bytes) -> list[int]:
    """e[:m] + (B + F·B')·D·A·e[m:]."""
    m = len(vector) // 2

    def stream(name: bytes, count: int) -> bytes:
        key = hashlib.blake2s(seed, digest_size=16, person=name).digest()
        return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(count))

    some = -(-m // 4)
    taps = numbers_of(stream(b"taps", 16 * some), 4)
    words = numbers_of(stream(b"indices", 21 * 16 * some), 4)
    z: list[int] = []
    for i in range(m):
        before = [25, *(24 - bit for bit in range(24) if taps[i] >> bit & 1)]
        z.append(vector[m + i] ^ total_of([z[i - back] for back in before if back <= i]))
    z = [product(*pair) for pair in zip(z, numbers_of(stream(b"diagonal", 16 * m)), strict=True)]
    plain, factored = [0] * m, [0] * m
    for segment in range(21):
        start, end = segment * m // 21, (segment + 1) * m // 21
        added = factored if segment >= 12 else plain
        for i, word in enumerate(words[4 * some * segment :][:m]):
            added[i] ^= z[start + (word * (end - start) >> 32)]
    factors = numbers_of(stream(b"factors", 16 * m))
    scaled = [product(*pair) for pair in zip(factored, factors, strict=True)]
    return list(map(total_of, zip(vector[:m], plain, scaled, strict=True)))


class Reference:
    """One session, from what both sides said, the seeds of the transfers and D."""

    def __init__(
        self,
        messages: list[bytes],
        seeds: tuple[list[bytes], list[bytes]],
        delta: int,
        sizes: tuple[int, int, int],
    ) -> None:
        """Compute K; sizes are trees, their depth, and slots in a third of the store."""
        self.delta, (trees, depth, self.third) = delta, sizes
        bodies = [message[HEADER:-SEAL] for message in messages]
        self.identity = hashlib.sha256(b"psi session, " + messages[1][-SEAL:]).digest()
        self.transfers = depth * trees
        self._take_base(bodies[2][16:], seeds, trees + 1)
        leaves = []
        sent = numbers_of(bodies[3][: 16 * trees])
        for tree in range(trees):
            t, u = self.row(tree)
            leaves += half_tree(sent[tree] ^ t ^ (delta if u else 0), delta, depth)[-1]
        products = coded(leaves, messages[2][-SEAL:][:16])
        self.seed, table = bodies[2][:16], bodies[6][MAC:]
        self.coins = table[:32] + bodies[7][MAC:][:32]
        self.vector = [
            b ^ product(delta, entry)
            for b, entry in zip(products, numbers_of(table[32:]), strict=False)
        ]

    def _take_base(
        self, body: bytes, seeds: tuple[list[bytes], list[bytes]], elements: int
    ) -> None:
        whole = -(-self.transfers // 128)
        blocks = whole + elements + 2
        sums = numbers_of(body)
        self.columns: Columns = []
        for tree in range(32):
            pads = [int.from_bytes(seeds[side][4 * tree], "little") for side in (0, 1)]
            nodes = [sums[8 * tree + side] ^ pads[side] for side in (0, 1)]
            for _ in range(3):
                nodes = hashed(*(child for node in nodes for child in (node, node ^ 1)))
            streams = [hashed(*(node ^ counter for counter in range(blocks))) for node in nodes]
            for bit in range(4):
                chosen = [stream for number, stream in enumerate(streams) if number >> bit & 1]
                self.columns.append([total_of(column) for column in zip(*chosen, strict=True)])
            if not tree:
                self.bits = [total_of(column) for column in zip(*streams, strict=True)]

    def row(self, number: int) -> tuple[int, int]:
        """The receiver's row and bit of a transfer."""
        block, bit = divmod(number, 128)
        t = sum((column[block] >> bit & 1) << place for place, column in enumerate(self.columns))
        return t, self.bits[block] >> bit & 1

    def key(self, name: bytes, *parts: bytes) -> bytes:
        return hashlib.sha256(
            b"psi vole " + name + b", " + self.identity + b"".join(parts)
        ).digest()

    def output(self, item: bytes) -> bytes:
        """The tag of an item and all that its receipt is cut from."""
        digest = hashlib.blake2s(item, digest_size=16, key=self.key(b"items")).digest()
        bucket = bytes(4)
        places = self.key(b"store", self.seed, bucket)
        (number,) = numbers_of(digest)
        words = [one for key in (places[:16], places[16:]) for one in aes(key, number)]
        words = [half for word in words for half in (word & LOW, word >> 64)]
        entries = [self.third * at + (words[at] * self.third >> 64) for at in range(3)]
        entries += [3 * self.third + bit for bit in range(40) if words[3] >> bit & 1]
        (value,) = aes(self.key(b"values")[:16], number)
        found = total_of([self.vector[entry] for entry in entries]) ^ product(self.delta, value)
        return hashlib.blake2s(
            digest + found.to_bytes(16, "little"), key=self.key(b"outputs", bucket, self.coins)
        ).digest()
