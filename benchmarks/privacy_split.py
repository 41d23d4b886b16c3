"""What benchmarks.privacy_accuracy trains on: a seed's split, its units of privacy, its model."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from privfed.cli.alignment import PSIAligner
from privfed.data import Dataset, Split, split_parties
from privfed.dp import Placement
from privfed.experiment.common_ids import find_common_ids
from privfed.experiment.exposure import expose
from privfed.training import paper_network
from privfed.training.clipping import RowLosses, cross_entropy_by_row
from privfed.training.losses import softmax_by_row

Rows = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class PartitionedRows:
    """Who has which rows with one seed, and what is trained on them.

    Attributes:
        seed: Seed of the split and the initial weights.
        rows: Features (n, d) and labels (n,) of each party's training.
        test: Those of all parties' test rows together.
        placements: For each unit its training rows at each party.
        privacy_unit: What the unit is.
        build: Makes the model.
        row_losses: The model's loss, row by row.
    """

    seed: int
    rows: tuple[Rows, ...]
    test: Rows
    placements: tuple[Placement, ...]
    privacy_unit: str
    build: Callable[[], nn.Module]
    row_losses: RowLosses


@functools.cache
def partition(dataset: Dataset, split: Split, parties: int, seed: int) -> PartitionedRows:
    """Split the rows, and find by private set intersection where each unit's rows lie."""
    held = split_parties(dataset, split, parties=parties, seed=seed, align=PSIAligner())
    unit = "one row"
    placements = tuple(tuple(int(i == p) for i in range(parties)) for p in range(parties))
    # Where no ID repeats and no row is partitioned twice, there is nothing to intersect.
    if dataset.ids is not None and (
        split != "disjoint" or len(np.unique(dataset.ids)) < len(dataset)
    ):
        common = find_common_ids(dataset, [party.rows for party in held], PSIAligner())
        placements = expose(held, common, split=split, seed=seed).placements
        unit = "all rows of one ID at all parties"

    def rows(which: np.ndarray) -> Rows:
        return torch.tensor(dataset.features[which]), torch.tensor(dataset.labels[which])

    inputs, classes = dataset.encoder.num_features, len(dataset.class_names)
    network = paper_network if dataset.kind == "dresses" else nn.Linear
    packaged = dataset.kind in ("digits", "breast-cancer")
    build = functools.partial(network, inputs, classes)
    return PartitionedRows(
        seed=seed,
        rows=tuple(rows(party.train) for party in held),
        test=rows(np.concatenate([party.test for party in held])),
        placements=placements,
        privacy_unit=unit,
        build=build,
        row_losses=softmax_by_row if packaged else cross_entropy_by_row,
    )
