"""What a server that lies does: it takes a total apart, changes its words and writes it again."""

from collections.abc import Callable

import numpy as np
import pytest

from privfed import secagg
from privfed.he import Words, planes
from privfed.he.packing import MODULUS, MODULUS_BITS, RING_DEGREE
from privfed.he.seal import batches, files, zeros
from privfed.secagg import wire
from privfed.secagg.parts import Parts

BLOCK = 2 * RING_DEGREE  # words of a ciphertext in slots, the last of its bytes


def changed(
    params: secagg.Parameters,
    total: bytes,
    change: Callable[[Words, Words], tuple[Words, Words]],
) -> bytes:
    """A total of one part and one block, whose c0 and c1 are what `change` makes of them.

    c0 comes in the units and bits in which it travels.
    """
    parts = Parts(params)
    (part,) = parts.all
    (count,) = wire.COUNT.unpack_from(total, wire.PREFIX_BYTES)
    size = len(total) - (
        parts.message_bytes(part, wire.Kind.TOTAL, count) - parts.scheme.total_bytes(part.sealed)
    )
    head, body = total[:-size], total[-size:]
    if params.scheme == "slots":
        words = np.frombuffer(body[-8 * BLOCK :], "<u8").astype(np.uint64)
        assert words.max() < MODULUS
        halves = change(words[:RING_DEGREE], words[RING_DEGREE:])
        return head + body[: -8 * BLOCK] + np.concatenate(halves).astype("<u8").tobytes()
    used, width = parts.scheme.words(part.sealed), c0_bits(params)
    split = planes.size_bytes(used, width)
    c0, c1 = change(
        planes.decode(body[:split], used, width),
        planes.decode(body[split:], RING_DEGREE, MODULUS_BITS),
    )
    return head + planes.encode(c0, width) + planes.encode(c1, MODULUS_BITS)


def c0_bits(params: secagg.Parameters) -> int:
    """The bits of a word of c0 in a total."""
    if params.scheme == "slots":
        return MODULUS_BITS
    return params.packing.sum_bits if params.covers_c0 else params.packing.download_bits


def times(words: Words, factor: int) -> Words:
    """Words times a number, mod q."""
    return np.array([int(word) * factor % MODULUS for word in words], np.uint64)


def ones_of_key(params: secagg.Parameters, key: secagg.SecretKey) -> list[bool]:
    """Which coefficients of the secret key are 1."""
    seed = key.derive(params.scheme.encode(), files.SEED_BYTES)
    one = np.zeros(RING_DEGREE, np.uint64)
    one[0] = 2**20
    ring = zeros._parameters()  # noqa: SLF001  (that of slots too: one ring, one prime)
    reader = zeros.KeyMultiplier(files.seeded_key(ring, seed))
    product = reader.product(zeros.from_second_half(one))
    return [bool(near) for near in np.abs(product.view(np.int64) - 2**20) < 10]


class KeyUses:
    """Counts, from when it is made, what is done with the decryption key."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for owner, name in ((zeros.KeyMultiplier, "product"), (batches.Batches, "decrypt")):
            monkeypatch.setattr(owner, name, self._counting(getattr(owner, name)))

    def _counting(self, used: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object) -> object:
            self.count += 1
            return used(*args)

        return counted
