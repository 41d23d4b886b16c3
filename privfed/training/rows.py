"""A party's rows, wherever they are kept: in one tensor, in several by name, or in a Dataset.

Rows of a Dataset are fetched when a batch has them, and never kept. What is public of rows, how
many they are and their form (types and shapes), is enough to make up rows of no one: on those the
model is tried and checked, as a refusal over somebody's rows would tell of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from privfed.errors import ConfigError

Inputs = Tensor | dict[str, Tensor]
"""What a model is given for some rows: one tensor, or one a name, rows first."""


class RowSource(Protocol):
    """Rows that are fetched one after another: a torch Dataset with a length."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Any: ...


Features = Tensor | Mapping[str, Tensor] | RowSource
"""(n, …); or such by name, as the model's one argument; or rows that are fetched."""
PublicRows = tuple[Tensor | Mapping[str, Tensor], Tensor]
"""Features and labels of rows that protect nobody."""
HALF = (torch.bfloat16, torch.float16)


def count_rows(features: Features) -> int:
    """Return n.

    Raises:
        ConfigError: These are no rows, or their columns are of several lengths.
    """
    if isinstance(features, Mapping):
        lengths = {len(column) for column in features.values()}
        if len(lengths) != 1:
            raise ConfigError(f"features by name have {sorted(lengths)} rows: give all the same")
        return lengths.pop()
    if isinstance(features, IterableDataset) or not (
        hasattr(features, "__len__") and hasattr(features, "__getitem__")
    ):
        raise ConfigError(
            f"a {type(features).__name__} has no length, or no rows by number, by which coins "
            "could draw them: give a Dataset with __len__ and __getitem__"
        )
    return len(features)


def columnwise(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """Return `inputs` with every tensor changed."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    return {name: change(column) for name, column in inputs.items()}


def wide(values: Tensor) -> Tensor:
    """Return half types as float32."""
    return values.float() if values.dtype in HALF else values


def picked(inputs: Inputs, rows: Tensor | slice) -> Inputs:
    """Return some rows of `inputs`."""
    return columnwise(inputs, lambda column: column[rows])


def put(inputs: Inputs, places: Tensor, rows: Inputs) -> None:
    """Write `rows` at `places` of `inputs`."""
    for column, values in zip(_columns(inputs), _columns(rows), strict=True):
        column[places] = values


class LabelledRows:
    """Rows that stay the same, each with its label.

    Args:
        features: See `Features`.
        labels: (n, …); None: every item of a Dataset is a pair of features and label.
        public_rows: Rows of no one in the form of these, by which the model is checked. Where
            rows lie in tensors they are made up, if None: normal numbers, and 0 or 1 for integers.

    Attributes:
        count: n, which is public.
        ids_below: What made-up integers lie below.

    Raises:
        ConfigError: Features and labels are not equally many, a Dataset comes without public rows,
            or these have another form.
    """

    def __init__(
        self, features: Features, labels: Tensor | None, public_rows: PublicRows | None = None
    ) -> None:
        self.count, self.ids_below = count_rows(features), 2
        if labels is not None and len(labels) != self.count:
            raise ConfigError(f"{self.count} rows have {len(labels)} labels: give each row one")
        self._labels = None if labels is None else torch.as_tensor(labels).detach()
        self._public = None if public_rows is None else _pair(*public_rows)
        self._memory: Inputs | None = None
        if isinstance(features, Tensor | np.ndarray | Mapping):
            if self._labels is None:
                raise ConfigError("the rows have no labels: give each row one")
            self._memory = _tensors(features)
            self._like = self._memory, self._labels
            if self._public is not None and _form(*self._public) != _form(*self._like):
                raise ConfigError(
                    f"public rows have another form ({_form(*self._public)}) than the rows "
                    f"({_form(*self._like)}): give rows of the same names, types and shapes"
                )
        elif self._public is None:
            raise ConfigError(
                "a Dataset tells nothing of its rows before one is read: give public_rows, "
                "features and labels of at least two rows of no one in the form of its own"
            )
        else:
            self._source, self._like = features, self._public
        if self._public is not None and len(self._public[1]) < 2:
            raise ConfigError("public_rows are for looking at one row beside others: give more")

    @property
    def in_memory(self) -> tuple[Inputs, Tensor] | None:
        """All features and labels; None where they are fetched."""
        return None if self._memory is None else self._like

    @property
    def example(self) -> Inputs:
        """No rows, in the form of these."""
        return picked(self._like[0], slice(0))

    @property
    def differ(self) -> bool:
        """Whether rows that are made up are not all the same."""
        tensors = (*_columns(self._like[0]), self._like[1])
        return (
            self._public is not None
            or self.ids_below > 1
            or any(column.is_floating_point() or column.is_complex() for column in tensors)
        )

    @property
    def sides(self) -> set[int]:
        """Every length in a row's shapes."""
        tensors = (*_columns(self._like[0]), self._like[1])
        return {side for column in tensors for side in column.shape[1:]}

    @property
    def values(self) -> int:
        """How many numbers a row's features have."""
        return sum(column[:1].numel() for column in _columns(self._like[0]))

    def take(self, places: NDArray[np.intp]) -> tuple[Inputs, Tensor]:
        """Return copies of the features and labels of some rows.

        Raises:
            ConfigError: A row of a Dataset cannot be read, or has not the public rows' form.
        """
        if self._memory is None:
            return self._fetch(places)
        chosen = torch.from_numpy(places)
        return picked(self._memory, chosen), self._like[1][chosen]

    def made_up(self, count: int, seed: int) -> tuple[Inputs, Tensor]:
        """Return rows of no one: seeded draws of the public rows, or of numbers."""
        draw = torch.Generator().manual_seed(seed)
        if self._public is not None:
            chosen = torch.randint(len(self._public[1]), (count,), generator=draw)
            return columnwise(self._public[0], lambda column: column[chosen]), self._public[1][
                chosen
            ]

        def drawn(like: Tensor) -> Tensor:
            shape = (count, *like.shape[1:])
            if like.is_floating_point() or like.is_complex():
                sizes = 10 ** (2 * torch.rand((count, *like.shape[1:]), generator=draw) - 1)
                return (sizes * torch.randn(shape, generator=draw)).to(like.dtype)
            return torch.randint(self.ids_below, shape, generator=draw).to(like.dtype)

        return columnwise(self._like[0], drawn), drawn(self._like[1])

    def _fetch(self, places: NDArray[np.intp]) -> tuple[Inputs, Tensor]:
        features, labels = self.example, self._like[1][:0]
        found = [self._read(int(place)) for place in places]
        if found:
            parts = zip(*(_columns(row) for row, _ in found), strict=True)
            columns = iter([torch.cat(part) for part in parts])
            features = columnwise(features, lambda _: next(columns))
            labels = torch.cat([label for _, label in found])
        return features, labels

    def _read(self, place: int) -> tuple[Inputs, Tensor]:
        """Return one row as a batch of one; an error says nothing of what is in it."""
        wanted = _form(*self._like)
        try:
            item = self._source[place]
            if self._labels is None:
                features, label = item
                label = torch.as_tensor(label)
            else:
                features, label = item, self._labels[place]
            row = _tensors(features)
            like = self._like[0]
            if isinstance(row, dict) and isinstance(like, dict) and row.keys() == like.keys():
                row = {name: row[name] for name in like}  # whatever its order
            found = columnwise(row, lambda column: column.detach()[None]), label.detach()[None]
        except Exception as error:  # whatever reading a row raises
            reason = type(error).__name__
        else:
            if _form(*found) == wanted:
                return found
            reason = f"its form is not that of the public rows ({wanted})"
        raise ConfigError(f"row {place} of the Dataset cannot be read: {reason}")


def _columns(inputs: Inputs) -> list[Tensor]:
    return [inputs] if isinstance(inputs, Tensor) else list(inputs.values())


def _tensors(features: Any) -> Inputs:
    if isinstance(features, Mapping):
        return {str(name): torch.as_tensor(column).detach() for name, column in features.items()}
    return torch.as_tensor(features).detach()


def _pair(features: Any, labels: Any) -> tuple[Inputs, Tensor]:
    if count_rows(features) != len(labels):
        raise ConfigError("public_rows are features and as many labels")
    return _tensors(features), torch.as_tensor(labels).detach()


def _form(features: Inputs, labels: Tensor) -> str:
    """Return names, types and shapes of a row."""
    named = {"features": features} if isinstance(features, Tensor) else features
    return ", ".join(
        f"{name} {str(column.dtype).removeprefix('torch.')}{list(column.shape[1:])}"
        for name, column in {**named, "labels": labels}.items()
    )
