"""Rows recovered from the gradient of a first dense layer, also by an attacker who sees less.

With a row x and δ the gradient at the outputs of the layer, a row's gradient is δ·xᵀ for the
weights and δ for the biases. At any one unit, weights divided by bias are the row itself (Phong et
al. 2018, IEEE TIFS 13(5); Geiping et al. 2020, arXiv 2003.14053, proposition 3.1). In a batch, a
unit whose ReLU is active for a single row reveals that row.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from privfed.data import CategoricalColumn, Encoder
from privfed.he import planes, rlwe
from privfed.secagg import Parameters
from privfed.secagg.parts import Parts

Floats = NDArray[np.float64]

_CLOSE = 0.02  # how far from a whole code a recovered number may lie
_SPAN = 0.005  # share of a numeric column's range within which a number counts as recovered


def rows_by_unit(weight: Floats, bias: Floats) -> Floats:
    """Divide each unit's weight gradient by its bias gradient.

    Args:
        weight: (units, d) gradient, or anything in proportion to it, such as an update by SGD.
        bias: (units,) gradient, in the same proportion.

    Returns:
        (candidates, d): one per unit whose bias gradient is not too small to divide by.
    """
    strong = np.abs(bias) > 1e-4 * max(float(np.abs(bias).max()), 1e-30)
    found: Floats = weight[strong] / bias[strong, None]
    return found


def row_by_svd(weight: Floats, bias: Floats) -> Floats:
    """Fit one row to all units at once: the best rank-one guess, for noisy gradients.

    A single unit follows the noise; the leading right singular vector of [weight | bias] uses all.

    Args:
        weight: (units, d).
        bias: (units,).

    Returns:
        (d,) the row, up to noise.
    """
    leading = np.linalg.svd(np.column_stack([weight, bias]), full_matrices=False)[2][0]
    scale = leading[-1] if abs(leading[-1]) > 1e-12 else 1e-12
    row: Floats = leading[:-1] / scale
    return row


def likeliest_row(weight: Floats, bias: Floats, table: Floats) -> int:
    """Pick the row of a table that explains a noisy gradient best: stronger than inverting it.

    With white noise on δ·x̃ᵀ and nothing known of δ, the likeliest x̃ has the longest projection
    ‖[weight | bias]·x̃‖/‖x̃‖, where x̃ is the row and a one for the bias.

    Args:
        weight: (units, d).
        bias: (units,).
        table: (n, d) rows that the attacker thinks possible.

    Returns:
        Its place in the table.
    """
    extended = np.column_stack([table, np.ones(len(table))])
    extended /= np.linalg.norm(extended, axis=1, keepdims=True)
    projected = extended @ np.column_stack([weight, bias]).T
    return int(np.linalg.norm(projected, axis=1).argmax())


class FeatureReader:
    """Reads features as attributes, as an attacker can who knows the public code table.

    Attributes:
        names: Names of the columns.

    Args:
        encoder: The public schema and encoding.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._middles = encoder.middles if encoder.centred else np.zeros(encoder.num_features)
        self.names = tuple(column.name for column in encoder.columns)
        self._places: list[list[int]] = []
        start = 0
        for column in encoder.columns:
            width = 1
            if encoder.encoding == "onehot":
                if isinstance(column, CategoricalColumn):
                    width = column.num_codes
                else:
                    width = 1 + column.optional
            self._places.append(list(range(start, start + width)))
            start += width

    def read(self, rows: Floats) -> Floats:
        """Turn features (n, d) into one number per column, (n, columns): its code or its value."""
        rows = rows + self._middles
        read = np.empty((len(rows), len(self.names)))
        for nth, (column, places) in enumerate(
            zip(self._encoder.columns, self._places, strict=True)
        ):
            part = rows[:, places]
            if not isinstance(column, CategoricalColumn):
                read[:, nth] = part[:, 0]
            elif len(places) > 1:
                read[:, nth] = part.argmax(axis=1)
            else:
                read[:, nth] = np.clip(np.rint(part[:, 0]), 0, column.num_codes - 1)
        return read

    def plausible(self, rows: Floats) -> NDArray[np.bool_]:
        """Return which candidates (n, d) look like rows at all, without knowing any row."""
        rows = rows + self._middles
        fine: NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=1))
        for column, places in zip(self._encoder.columns, self._places, strict=True):
            part = np.nan_to_num(rows[:, places], nan=1e9, posinf=1e9, neginf=-1e9)
            if not isinstance(column, CategoricalColumn):
                continue
            fine &= (np.abs(part - np.rint(part)) < _CLOSE).all(axis=1)
            if len(places) > 1:
                fine &= (np.rint(part).sum(axis=1) == 1) & (np.rint(part).min(axis=1) == 0)
            else:
                fine &= (part[:, 0] > -_CLOSE) & (part[:, 0] < column.num_codes - 1 + _CLOSE)
        return fine

    def right(self, guessed: Floats, true: Floats) -> NDArray[np.bool_]:
        """Compare what `read` gave, (n, columns) each: equal codes, numbers close enough."""
        same = np.empty(np.broadcast(guessed, true).shape, np.bool_)
        for nth, column in enumerate(self._encoder.columns):
            tolerance = 0.5
            if not isinstance(column, CategoricalColumn):
                whole = column.high - column.low if self._keeps(nth) else 1.0
                tolerance = _SPAN * (whole or 1.0)
            same[..., nth] = np.abs(guessed[..., nth] - true[..., nth]) <= tolerance
        return same

    def words(self, read: Floats) -> list[str]:
        """Put one row of what `read` returned, (columns,), into a person's words."""
        said = []
        for nth, (column, value) in enumerate(zip(self._encoder.columns, read, strict=True)):
            if isinstance(column, CategoricalColumn):
                said.append(column.meaning(int(value)))
            else:
                scale = 1.0 if self._keeps(nth) else column.high - column.low
                shift = 0.0 if self._keeps(nth) else column.low
                said.append(f"{shift + scale * value:.4g}")
        return said

    def _keeps(self, nth: int) -> bool:
        """Return whether a numeric column travels as written, not scaled to its range."""
        column = self._encoder.columns[nth]
        raw = not isinstance(column, CategoricalColumn) and column.raw_codes
        return raw and self._encoder.encoding == "codes"


def recovered(
    candidates: Floats, true: Floats, reader: FeatureReader
) -> tuple[NDArray[np.bool_], int]:
    """Count how many rows an attacker's candidates recover.

    Args:
        candidates: (c, d) features.
        true: (n, d) the batch's rows.
        reader: A reader of these features.

    Returns:
        (n,) whether a plausible candidate has every attribute of the row, and how many distinct
        plausible candidates are no row at all.
    """
    kept = candidates[reader.plausible(candidates)]
    if not len(kept):
        return np.zeros(len(true), np.bool_), 0
    guesses = reader.read(kept)
    hits = np.asarray(
        reader.right(guesses[:, None, :], reader.read(true)[None, :, :]).all(axis=2), np.bool_
    )
    wrong = np.unique(np.rint(guesses[~np.asarray(hits.any(axis=1))]), axis=0)
    return np.asarray(hits.any(axis=0)), len(wrong)


def read_as_plaintext(parameters: Parameters, upload: bytes) -> Floats:
    """Read an upload as if it were not encrypted, as a curious server might try.

    Under the "reference" scheme this is the update, to within a quantisation step. That is the
    control: it shows that the attack works in the clear. Under "packed" it is decryption with the
    zero key.

    Args:
        parameters: The job's, which are public; without weights, an update of one part.
        upload: One party's message.

    Returns:
        (values,) what the bytes would say.
    """
    parts, packing = Parts(parameters), parameters.packing
    part = parts.all[0]
    count = packing.coefficients(part.sealed)
    payload = upload[len(upload) - parts.scheme.payload_bytes(part.sealed) :]
    if parameters.scheme == "packed":
        cut = planes.decode(payload, count, packing.upload_bits)
        words, _ = rlwe.scale_down(rlwe.uncut(cut, packing.upload_cut), packing.plain_bits)
    else:
        words = planes.decode(payload, count, packing.plain_bits)
    half = packing.radix // 2
    offset = sum(half * packing.radix**lane for lane in range(packing.lanes))
    rest = (words + np.uint64(offset % 2**64)) & np.uint64(2**packing.plain_bits - 1)
    lanes = []
    for _ in range(packing.lanes):
        lanes.append((rest % np.uint64(packing.radix)).astype(np.float64) - half)
        rest //= np.uint64(packing.radix)
    layout = parameters.layout
    steps = [parameters.step_of(name) for name, _ in layout.entries]
    sizes = [math.prod(shape) for _, shape in layout.entries]
    integers = np.concatenate(lanes)[: part.stop - part.start]
    values: Floats = integers * np.repeat(steps, sizes)[part.start : part.stop]
    return values
