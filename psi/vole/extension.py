"""The vector OLE: C = A·D + B in chunks, of which each but the first grows from the one before.

The noise of a chunk (`psi.vole.noise`) is compressed by a linear code that all know
(`psi.kernels.blocks.encode`): a random-looking A for the receiver, and C = A·D + B, as the code is
linear (Boyle et al. 2019, ePrint 2019/1159). Its elements beyond those that are used are what the
next chunk's noise is made from. docs/psi-vole.md says what is assumed of the code.
"""

from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from psi.kernels import blocks as kernels
from psi.kernels.beside import beside, column
from psi.vole.base import BaseReceiver, BaseSender, BaseSizes
from psi.vole.noise import NoiseReceiver, NoiseSender, noise_bytes
from psi.vole.sizes import VoleSizes

__all__ = ["VolePlan", "VoleReceiver", "VoleSender"]

_Word = TypeVar("_Word", np.uint8, np.uint64)
Blocks = NDArray[np.uint64]


@dataclass(frozen=True)
class VolePlan:
    """How much is drawn in all; both sides derive it alike.

    Attributes:
        chunks: How many chunks there are.
        count: How many elements of each are used.
        sizes: The sizes of one chunk.
    """

    chunks: int
    count: int
    sizes: VoleSizes

    @classmethod
    def of(cls, chunks: int, count: int) -> Self:
        """Return the plan for so many chunks of so many elements.

        Raises:
            ConfigError: There are too many elements for a chunk.
        """
        sizes = VoleSizes.of(count)
        if chunks > 1:
            while sizes.outputs < count + sizes.trees + 1:
                sizes = VoleSizes.of(count + sizes.trees + 1)
        return cls(chunks, count, sizes)

    @property
    def base(self) -> BaseSizes:
        """What the base draws."""
        per_chunk = self.sizes.depth * self.sizes.trees
        return BaseSizes(self.chunks * per_chunk, self.sizes.trees + 1)

    @property
    def noise_bytes(self) -> int:
        """The length of what the sender sends for a chunk."""
        return noise_bytes(self.sizes.trees, self.sizes.depth)


class _Vole:
    """What both sides know: the plan, the names of things, which chunk is next."""

    def __init__(self, plan: VolePlan, session: bytes) -> None:
        self._plan, self._session, self._chunk = plan, session, 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._plan.chunks} chunks of {self._plan.count})"

    def _label(self) -> bytes:
        return self._session + self._chunk.to_bytes(4, "big")

    def _of_this_chunk(self, rows: NDArray[_Word]) -> NDArray[_Word]:
        depth, trees = self._plan.sizes.depth, self._plan.sizes.trees
        own = rows[self._chunk * depth * trees :][: depth * trees]
        return own.reshape(depth, trees, *rows.shape[1:])

    def _encoded(self, vectors: Blocks) -> Blocks:
        return kernels.encode(vectors, self._session[:16])


class VoleSender(_Vole):
    """The side with D and B; it can be a chunk ahead of what the receiver has proved.

    Attributes:
        delta: D, shape (1, 2).
    """

    def __init__(self, plan: VolePlan, base: BaseSender, session: bytes) -> None:
        """Begin with what the base gave.

        Args:
            plan: How much is drawn.
            base: What it gave, of the plan's sizes.
            session: 32 bytes that name the session and all that the base sent: the code is drawn
                by them, so they must be fixed by randomness of the receiver's, whom it protects.
        """
        super().__init__(plan, session)
        self.delta = base.delta
        self._rows, self._products = base.rows, base.products
        self._noise: dict[int, NoiseSender] = {}

    def noise(self) -> bytes:
        """Return the noise of the next chunk, once the chunk before is taken."""
        rows = self._of_this_chunk(self._rows)
        noise = NoiseSender(self.delta, rows, self._products, self._label())
        self._noise[self._chunk] = noise
        return noise.message

    def take(self) -> Blocks:
        """Return B of the chunk whose noise was made last, shape (count, 2)."""
        noise = self._noise[self._chunk]
        outputs = self._encoded(noise.leaves[:, None])[:, 0]
        self._noise[self._chunk] = noise.without_leaves()
        self._products = outputs[self._plan.count :][: self._plan.sizes.trees + 1]
        self._chunk += 1
        return outputs[: self._plan.count]

    def proof(self, chunk: int, check: bytes | memoryview) -> bytes:
        """Return what only this side and an honest receiver know of a chunk that was taken.

        Args:
            chunk: Its number.
            check: What the receiver sent of it.

        Raises:
            DecodeError: The check has another length.
        """
        return self._noise.pop(chunk).proof(check)


class VoleReceiver(_Vole):
    """The side with A and C."""

    def __init__(self, plan: VolePlan, base: BaseReceiver, session: bytes) -> None:
        """Begin with what the base gave; arguments are those of `VoleSender`."""
        super().__init__(plan, session)
        self._bits, self._rows = base.bits, base.rows
        self._elements, self._products = base.elements, base.products
        self._noise: NoiseReceiver | None = None

    def check(self, message: bytes | memoryview) -> tuple[bytes, bytes]:
        """Take the noise of the next chunk, once the chunk before is taken.

        Returns:
            What the sender gets; and what it must show that it knows before anything of the chunk
            is used.

        Raises:
            DecodeError: The message has another length.
        """
        bits, rows = self._of_this_chunk(self._bits), self._of_this_chunk(self._rows)
        self._noise = NoiseReceiver(
            bits, rows, self._elements, self._products, self._label(), message
        )
        return self._noise.check, self._noise.proof

    def take(self) -> tuple[Blocks, Blocks]:
        """Return A and C of the chunk, shape (count, 2) each."""
        assert self._noise is not None  # noqa: S101 - taken before
        vectors = beside(self._noise.noise, self._noise.leaves)
        self._noise = None
        outputs = self._encoded(vectors)
        del vectors
        further = outputs[self._plan.count :][: self._plan.sizes.trees + 1]
        self._elements, self._products = column(further, 0), column(further, 1)
        self._chunk += 1
        used = outputs[: self._plan.count]
        return column(used, 0), column(used, 1)
