"""The result of a round, and how a party keeps it for a later request."""

import hashlib
import io
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from privfed.errors import DecodeError
from privfed.secagg.arrays import state_dict_like
from privfed.secagg.layout import Layout
from psi.storage import json_bytes, json_read

_VERSION: Final = 3  # 2 had one largest error for all arrays
_DIGEST_BYTES = 32
_Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


@dataclass(frozen=True)
class MeanResult:
    """The mean of a round.

    Attributes:
        mean: Weighted mean of the updates, float32 arrays of the layout.
        total_weight: Sum of the weights; None where there are none.
        senders: Ids of the parties in the mean, in the roster's order.
        transcript: 32 bytes for the next round's `previous`.
        max_errors: By array, the largest error of one value that quantising and float32 can have
            caused.
    """

    mean: dict[str, npt.NDArray[np.float32]] = field(repr=False)
    total_weight: int | None
    senders: tuple[str, ...]
    transcript: bytes
    max_errors: dict[str, float] = field(repr=False)

    @property
    def max_error(self) -> float:
        """Largest of `max_errors`."""
        return max(self.max_errors.values())

    def state_dict(self, like: Any) -> dict[str, Any]:
        """Return the mean as arrays like a model's, for `model.load_state_dict`.

        Args:
            like: A model, or its state_dict, or a dict of numpy arrays. What did not travel is
                taken from it as it is: step counters, and arrays outside the layout.

        Returns:
            By name in the order of `like`, with the mean in copies of its types and devices.

        Raises:
            ConfigError: `like` lacks an array of the mean or has another shape; says the remedy.
        """
        return state_dict_like(self.mean, like)


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


class _About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a kept result is, beside its values; a mean has largest errors."""

    version: Literal[3]
    round: Annotated[int, msgspec.Meta(ge=0)]
    total: _Digest
    senders: tuple[str, ...]
    transcript: _Digest
    total_weight: Annotated[int, msgspec.Meta(ge=0)] | None = None
    max_errors: tuple[Annotated[float, msgspec.Meta(ge=0)], ...] | None = None


@dataclass(frozen=True)
class Kept:
    """A round's result as a party keeps it.

    Attributes:
        round_id: The round.
        total: Digest of the total's bytes, which covers parameters, key and round.
        result: What it gave.
    """

    round_id: int
    total: bytes
    result: MeanResult | IntegerResult

    def to_bytes(self) -> bytes:
        """Return the file that is kept: numpy's zip of the values and their description, hashed."""
        arrays = self.result.mean if isinstance(self.result, MeanResult) else self.result.sums
        about = _About(
            _VERSION,
            self.round_id,
            self.total.hex(),
            self.result.senders,
            self.result.transcript.hex(),
        )
        if isinstance(self.result, MeanResult):
            about = msgspec.structs.replace(
                about,
                total_weight=self.result.total_weight,
                max_errors=tuple(self.result.max_errors[name] for name in arrays),
            )
        flat = np.concatenate([array.reshape(-1) for array in arrays.values()])
        file = io.BytesIO()
        np.savez(file, values=flat, about=np.frombuffer(json_bytes(about), np.uint8))
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
                about = json_read(file["about"].tobytes(), _About)
                values = file["values"]
            if values.shape != (layout.size,):
                raise ValueError
            arrays, transcript = layout.unflatten(values), bytes.fromhex(about.transcript)
            result: MeanResult | IntegerResult
            if values.dtype == np.float32 and about.max_errors is not None:
                errors = dict(zip(arrays, about.max_errors, strict=True))
                result = MeanResult(arrays, about.total_weight, about.senders, transcript, errors)
            elif values.dtype == np.int64 and about.max_errors is None:
                result = IntegerResult(arrays, about.senders, transcript)
            else:
                raise ValueError
            return cls(about.round, bytes.fromhex(about.total), result)
        except (ValueError, KeyError, TypeError):
            raise DecodeError("the kept result of a round is damaged") from None
