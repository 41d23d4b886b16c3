"""Rows in tensors, by name and from Datasets; public ones and those that are made up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from privfed.dp import PrivacyPlan, SecretRandomness
from privfed.errors import ConfigError
from privfed.training import GradientClipper, RecordGradients
from privfed.training.rows import LabelledRows
from tests.training.models import ROWS, Fetched, Residual, draw, ids

PUBLIC = torch.randn(8, 6), torch.arange(8) % 2
LABELS = ids(below=2)


def plan(rows: int) -> PrivacyPlan:
    return PrivacyPlan(
        noise="central",
        rounds=1,
        rows=(rows,),
        sampling_rates=(1e-4,),
        steps_per_round=(1,),
        l2_clip_norm=1.0,
        noise_multiplier=1.0,
        delta=1e-7,
        privacy_unit="one row",
        placements=((1,),),
        quorum=1,
    )


def test_a_batch_of_a_dataset_reads_its_own_rows_and_no_others() -> None:
    """A million rows that nobody holds; each is read when a batch has it."""
    source = Fetched(10**6)
    party = RecordGradients(
        Residual(), source, None, plan(10**6), 0, SecretRandomness(), public_rows=PUBLIC
    )
    assert source.asked == []
    batch = np.zeros(10**6, bool)
    batch[[3, 77, 999_999]] = True
    party._clipper.clipped_sum(batch)  # noqa: SLF001  (with a batch that coins would not draw)
    assert source.asked == [3, 77, 999_999]


@pytest.mark.parametrize("model", [Residual, lambda: nn.Sequential(nn.Linear(6, 2))])
def test_a_dataset_is_the_same_as_its_rows_in_memory(model: Any) -> None:
    torch.manual_seed(0)
    net, source = model(), Fetched()
    x = torch.stack([source[place][0] for place in range(ROWS)])
    y = torch.arange(ROWS) % 2
    for batch in (np.arange(ROWS) % 3 > 0, np.zeros(ROWS, bool)):
        kept: list[tuple[Any, Any]] = [(x, y), (source, None), ([*x], y)]
        sums = [
            GradientClipper(net, features, labels, 1.0, public_rows=PUBLIC).clipped_sum(batch).flat
            for features, labels in kept
        ]
        assert all(np.array_equal(each, sums[0]) for each in sums)


def test_a_label_of_a_dataset_that_is_no_class_adds_exactly_nothing() -> None:
    class Wrong(Fetched):
        def __getitem__(self, place: int) -> tuple[Tensor, int]:
            x, y = super().__getitem__(place)
            return x, 7 if place == 4 else y

    batch = np.ones(ROWS, bool)
    for model in (nn.Sequential(nn.Linear(6, 2)), Residual()):
        wrong = GradientClipper(model, Wrong(), None, 1.0, public_rows=PUBLIC)
        right = GradientClipper(model, Fetched(), None, 1.0, public_rows=PUBLIC)
        assert np.array_equal(
            wrong.clipped_sum(batch).flat, right.clipped_sum(np.arange(ROWS) != 4).flat
        )


class Named(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, place: int) -> Any:
        return {"b": np.full(2, place, np.float32), "a": place}


def test_a_datasets_rows_may_have_names_in_any_order() -> None:
    public = {"a": torch.zeros(2).long(), "b": torch.zeros(2, 2)}, torch.zeros(2).long()
    features, labels = LabelledRows(Named(), torch.tensor([4, 5, 6]), public).take(np.array([2, 0]))
    assert isinstance(features, dict)
    assert list(features) == ["a", "b"]
    assert features["a"].tolist() == [2, 0]
    assert features["b"].tolist() == [[2, 2], [0, 0]]
    assert labels.tolist() == [6, 4]


class Secretive(Fetched):
    def __init__(self, item: Any) -> None:
        super().__init__()
        self.item = item

    def __getitem__(self, place: int) -> Any:
        if isinstance(self.item, Exception):
            raise self.item
        return self.item


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (OSError("Alice's file"), "row 5 of the Dataset cannot be read: OSError"),
        (IndexError("Alice"), "row 5 of the Dataset cannot be read: IndexError"),
        (
            (torch.zeros(7), 1),
            r"row 5 .* form is not .*\(features float32\[6\], labels int64\[\]\)",
        ),
        ((torch.zeros(6).double(), 1), "row 5 .* form is not that of the public rows"),
        ((torch.zeros(6), 1.5), "row 5 .* form is not that of the public rows"),
        (({"a": torch.zeros(6)}, 1), "row 5 .* form is not that of the public rows"),
        (torch.zeros(6), "row 5 .*ValueError"),
        (("Alice", 1), "row 5 of the Dataset cannot be read: TypeError"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_and_not_shown(item: Any, says: str) -> None:
    rows = LabelledRows(Secretive(item), None, PUBLIC)
    with pytest.raises(ConfigError, match=says) as caught:
        rows.take(np.array([5]))
    assert "Alice" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_dataset_shorter_than_it_says_is_named() -> None:
    class Short(Fetched):
        def __len__(self) -> int:
            return ROWS + 1

    with pytest.raises(ConfigError, match=f"row {ROWS} of the Dataset cannot be read: IndexError"):
        LabelledRows(Short(), None, PUBLIC).take(np.array([1, ROWS]))
    with pytest.raises(ConfigError, match=f"counts {ROWS} training rows at party 0, which has 25"):
        RecordGradients(Residual(), Short(), None, plan(ROWS), 0, SecretRandomness())


class Endless(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())


@pytest.mark.parametrize(
    ("features", "labels", "public", "says"),
    [
        (draw(6), LABELS[1:], None, "24 rows have 23 labels"),
        (draw(6), None, None, "no labels"),
        ({"a": draw(6), "b": draw(6)[1:]}, LABELS, None, r"\[23, 24\] rows"),
        ({}, LABELS, None, r"\[\] rows"),
        (Endless(), None, PUBLIC, "Endless has no length"),
        (iter([]), None, PUBLIC, "has no length, or no rows by number"),
        (Fetched(), None, None, "give public_rows"),
        (draw(6), LABELS, (PUBLIC[0][:1], PUBLIC[1][:1]), "give more"),
        (draw(6), LABELS, (PUBLIC[0], PUBLIC[1][:1]), "as many labels"),
        (draw(7), LABELS, PUBLIC, r"another form \(features float32\[6\].*float32\[7\]"),
        ({"a": draw(6)}, LABELS, PUBLIC, r"another form .*a float32\[6\]"),
    ],
)
def test_what_are_no_rows_is_told(features: Any, labels: Any, public: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        LabelledRows(features, labels, public)


def test_made_up_rows_are_repeatable_and_of_the_form() -> None:
    features = {
        "x": draw(3).double(),
        "id": ids(4, below=9),
        "on": draw() > 0,
        "z": draw().to(torch.complex64),
    }
    rows = LabelledRows(features, LABELS)
    made, labels = rows.made_up(50, 3)
    assert isinstance(made, dict)
    again: Any = rows.made_up(50, 3)[0]
    for name, column in made.items():
        assert column.dtype == features[name].dtype
        assert column.shape == (50, *features[name].shape[1:])
        assert torch.equal(column, again[name])
        assert any(not torch.equal(column[0], other) for other in column)
    assert set(labels.tolist()) == {0, 1}
    assert rows.differ


class Lengths(nn.Module):
    """Takes no numbers but its own: what is made up won't do."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = nn.Embedding(20, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        if torch._C._functorch.is_batchedtensor(x) or not bool((x >= 10).all()):  # noqa: SLF001
            raise ValueError("no such ids")
        scores: Tensor = self.last(self.table(x).mean(dim=1))
        return scores


def test_public_rows_are_taken_where_made_up_ones_will_not_do() -> None:
    torch.manual_seed(0)
    model, x = Lengths(), ids(5, below=10) + 10
    with pytest.raises(ConfigError, match=r"no such ids.*give public_rows"):
        GradientClipper(model, x, LABELS, 1.0)
    public = torch.randint(10, 20, (9, 5)), torch.randint(2, (9,))
    clipper = GradientClipper(model, x, LABELS, 1.0, public_rows=public)
    assert clipper.method == "opacus"
    batch, only = np.arange(ROWS) % 2 == 0, np.arange(ROWS) == 4
    rest = clipper.clipped_sum(batch & ~only).flat
    alone = clipper.clipped_sum(only).flat
    assert np.array_equal(clipper.clipped_sum(batch).flat - rest, alone)
    assert alone.any()


class Packed(nn.Module):
    """Sequences of several lengths, of which made-up ones are none."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.last = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            x["steps"], x["length"], batch_first=True, enforce_sorted=False
        )
        scores: Tensor = self.last(self.cell(packed)[1][0][0])
        return scores


def test_sequences_of_several_lengths_are_taken_row_by_row() -> None:
    torch.manual_seed(0)
    model = Packed()
    rows = {"steps": draw(5, 3), "length": ids(below=5) + 1}
    with pytest.raises(ConfigError, match=r"greater than 0.*give public_rows"):
        GradientClipper(model, rows, LABELS, 1.0)
    rows["length"][4] = 0  # and a row that the model does not take
    public = {"steps": torch.randn(9, 5, 3), "length": torch.randint(1, 6, (9,))}, LABELS[:9]
    with pytest.warns(UserWarning, match=r"'cell' \(LSTM\) has no per-row gradients in Opacus"):
        clipper = GradientClipper(model, rows, LABELS, 1.0, public_rows=public)
    assert clipper.method == "row by row"
    whole = clipper.clipped_sum(np.ones(ROWS, bool)).flat
    for row in (3, 4):
        only = np.arange(ROWS) == row
        alone = clipper.clipped_sum(only).flat
        assert np.array_equal(whole - clipper.clipped_sum(~only).flat, alone)
        assert alone.any() == (row == 3)


def test_ids_of_a_table_with_one_entry_are_made_up_as_zeros() -> None:
    """Rows of which none differs show nothing of mixing: hooks are left for rows alone."""

    class One(Lengths):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(1, 8)

        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = self.last(self.table(x).mean(dim=1))
            return scores * (1 + 0 * x.sum().item())

    with pytest.warns(UserWarning, match="all alike for Opacus's hooks: give public_rows"):
        clipper = GradientClipper(One(), torch.zeros(ROWS, 5).long(), torch.zeros(ROWS).long(), 1.0)
    assert clipper.method == "row by row"
