"""The result of a round, and how a party keeps it for a later request."""

import hashlib
import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from privfed.errors import DecodeError
from privfed.secagg.layout import Layout

_VERSION = 1
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class MeanResult:
    """The mean of a round.

    Attributes:
        mean: Weighted mean of the updates, float32 arrays of the layout.
        total_weight: Sum of the weights; None where there are none.
        senders: Ids of the parties in the mean, in the roster's order.
        transcript: 32 bytes for the next round's `previous`.
        max_error: Largest error of one value of the mean that quantising can have caused.
    """

    mean: dict[str, npt.NDArray[np.float32]] = field(repr=False)
    total_weight: int | None
    senders: tuple[str, ...]
    transcript: bytes
    max_error: float


@dataclass(frozen=True)
class IntegerResult:
    """The integer sums of a round.

    Attributes:
        sums: int64 arrays of the layout.
        senders: Ids of the parties in the sums, in the roster's order.
        transcript: 32 bytes for the next round's `previous`.
    """

    sums: dict[str, npt.NDArray[np.int64]] = field(repr=False)
    senders: tuple[str, ...]
    transcript: bytes


@dataclass(frozen=True)
class Kept:
    """A round's result as a party keeps it.

    Attributes:
        round_id: The round.
        result: What it gave.
    """

    round_id: int
    result: MeanResult | IntegerResult

    def to_bytes(self) -> bytes:
        """Return the file that is kept: numpy's zip of the values and their description, hashed."""
        arrays = self.result.mean if isinstance(self.result, MeanResult) else self.result.sums
        about: dict[str, Any] = {
            "version": _VERSION,
            "round": self.round_id,
            "senders": self.result.senders,
            "transcript": self.result.transcript.hex(),
        }
        if isinstance(self.result, MeanResult):
            about |= {
                "total_weight": self.result.total_weight,
                "max_error": self.result.max_error,
            }
        flat = np.concatenate([array.reshape(-1) for array in arrays.values()])
        file = io.BytesIO()
        np.savez(file, values=flat, about=np.frombuffer(json.dumps(about).encode(), np.uint8))
        data = file.getvalue()
        return hashlib.sha256(data).digest() + data

    @classmethod
    def from_bytes(cls, data: bytes, layout: Layout) -> "Kept":
        """Return the result that `to_bytes` wrote.

        Raises:
            DecodeError: It is something else, or was damaged.
        """  # noqa: DOC501 - its ValueErrors are caught
        digest, data = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        try:
            if hashlib.sha256(data).digest() != digest:
                raise ValueError
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                about = json.loads(file["about"].tobytes())
                values = file["values"]
            if about["version"] != _VERSION or values.shape != (layout.size,):
                raise ValueError
            arrays, senders = layout.unflatten(values), tuple(about["senders"])
            transcript = bytes.fromhex(about["transcript"])
            result: MeanResult | IntegerResult
            if values.dtype == np.float32:
                weight, error = about["total_weight"], about["max_error"]
                result = MeanResult(arrays, weight, senders, transcript, error)
            elif values.dtype == np.int64:
                result = IntegerResult(arrays, senders, transcript)
            else:
                raise ValueError
            return cls(about["round"], result)
        except (ValueError, KeyError, TypeError):
            raise DecodeError("the kept result of a round is damaged") from None
