"""How good boosted trees of two companies are, beside XGBoost on both tables in one place.

Each seed trains by the protocol, both sides in this process, and scores rows held out, from which
no bin or split is made. XGBoost has the same depth, bins, rate and number of trees, categories as
columns of their own, and its own rules for the rest. Bank and shop, the wide table and the job are
drawn anew by each seed, so that Student's t is all that an interval needs; breast cancer is one
table whose rows are held out again and again, so that the interval of its gain is corrected for
that (`benchmarks.vertical_pairs`); those of its means tell of the luck of the split alone.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.parties import interpreter, session
from benchmarks.vertical_common import Job, Row
from benchmarks.vertical_job import BINS, DEPTH, Floats, Tables, tables, wide_tables
from benchmarks.vertical_ours import hold
from benchmarks.vertical_pairs import aligned, interval
from benchmarks.vertical_trees_ours import LEAST_ROWS, TreeParty, binned
from privfed.data import CategoricalColumn, load_pair
from privfed.data.cleaning import clean
from privfed.vertical.encoding import own_schema
from privfed.vertical.measures import measure
from privfed.vertical.trees.bins import Binning
from privfed.vertical.trees.growing import TreeSettings
from privfed.vertical.trees.grown import leaves_by_tree, scores_by_leaves
from privfed.vertical.trees.splits import Splits

ENVIRONMENT = "xgboost"
TREES = 30
_WIDE = (4_000, 62)
_MOST_ROWS = 20_000  # of a job that is trained for each seed
_JUDGED = (
    *("seeds", "metric", "reference", "alone", "metric_interval", "reference_interval"),
    *("alone_interval", "gain_interval"),
)
_TEST_PERCENT = 30


@dataclass(frozen=True)
class Held:
    """One seed's rows, of which the first `tests` are held out.

    Attributes:
        guest: The guest's splits, and its codes of all rows.
        host: The host's.
        matrices: The columns of each side as XGBoost reads them.
        labels: 0 or 1.
        tests: How many.
    """

    guest: tuple[Splits, NDArray[np.uint8]]
    host: tuple[Splits, NDArray[np.uint8]]
    matrices: tuple[Floats, Floats]
    labels: Floats
    tests: int

    @classmethod
    def of(cls, drawn: Tables) -> "Held":
        """Hold out rows of a job."""
        tests = len(drawn.labels) * _TEST_PERCENT // 100
        blocks = (drawn.guest, drawn.host)
        return cls(binned(blocks[0], tests), binned(blocks[1], tests), blocks, drawn.labels, tests)

    @classmethod
    def of_pair(cls, name: str, seed: int) -> "Held":
        """Hold out rows of a pair of tables."""
        guest, host, labels = aligned(load_pair(name, seed=seed))
        order = np.random.default_rng(seed).permutation(len(labels))
        tests = len(order) * _TEST_PERCENT // 100
        frames = [frame.iloc[order].reset_index(drop=True) for frame in (guest, host)]
        sides, matrices = [], []
        for frame in frames:
            train = frame.iloc[tests:].reset_index(drop=True)
            binning = Binning.fit(train, bins=BINS, least_rows=LEAST_ROWS)
            sides.append((binning.splits, binning.codes(frame)))
            matrices.append(_matrix(frame))
        return cls(sides[0], sides[1], (matrices[0], matrices[1]), labels[order], tests)


@dataclass(frozen=True)
class Trained:
    """What one seed's training cost, and its scores of the rows held out."""

    scores: Floats
    cpu_seconds: float
    wall_seconds: float
    bytes: int


def judged(row: Row, job: Job, data: Sequence[str], seeds: int, folder: Path) -> list[Row]:
    """Return a tree's row, with how good such trees are, and rows of other data."""
    others = [quality(name, job, seeds, folder) for name in data if name != "job"]
    if "job" in data and job.rows <= _MOST_ROWS:
        found = quality("job", job, seeds, folder)
        row = replace(row, **{name: getattr(found, name) for name in _JUDGED})
    return [row, *others]


def quality(name: str, job: Job, seeds: int, folder: Path, trees: int = TREES) -> Row:
    """Train once a seed; return the means, with the cost of one tree."""
    source = SOURCES.get(name) or Source(partial(_drawn, job))
    seeds *= source.seeds
    held = [source.draw(seed) for seed in range(seeds)]
    trained = [_trained(one, trees) for one in held]
    scores = [[run.scores for run in trained], *_xgboost(held, folder, trees)]
    areas = [[_area(*each) for each in zip(held, model, strict=True)] for model in scores]
    means = [float(np.mean(each)) for each in areas] + [None, None]
    spans = [interval(each, 0, 1) for each in areas] + [None, None]
    first, many = held[0], seeds * trees
    train = len(first.labels) - first.tests
    shared = first.tests if source.one_table else 0
    gains = [one - alone for one, alone in zip(areas[0], areas[-1], strict=True)]
    return Row(
        task="tree",
        tool="privfed-trees",
        rows=train,
        columns=sum(len(codes) for _, codes in (first.guest, first.host)),
        iterations=DEPTH,
        slice_of=None,
        cpu_seconds=sum(run.cpu_seconds for run in trained) / many,
        bytes=round(sum(run.bytes for run in trained) / many),
        wall_seconds=sum(run.wall_seconds for run in trained) / many,
        data=name,
        seeds=seeds,
        metric=means[0],
        reference=means[1],
        alone=means[2],
        metric_interval=spans[0],
        reference_interval=spans[1],
        alone_interval=spans[2],
        gain_interval=interval(gains, shared, train) if len(areas) > 1 else None,
    )


def _trained(held: Held, trees: int) -> Trained:
    """Train by the protocol."""
    labels = held.labels[held.tests :]
    both = [
        TreeParty(rank, splits, np.ascontiguousarray(codes[:, held.tests :]), labels)
        for rank, (splits, codes) in enumerate((held.guest, held.host))
    ]
    start, wall = time.process_time(), time.perf_counter()
    guest, host = (party.side(len(held.host[0]), trees) for party in both)
    sent = hold(guest, host)
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    boosting = both[0].boosting
    views = [(splits, codes[:, : held.tests]) for splits, codes in (held.guest, held.host)]
    leaves = leaves_by_tree(boosting.best_trees, host.trees, *views)
    scores = scores_by_leaves(boosting.base, boosting.best_trees, leaves)
    return Trained(scores[:, 0], seconds, wall, sent)


def _xgboost(held: Sequence[Held], folder: Path, trees: int) -> list[list[Floats]]:
    """Return the scores by all columns, seed by seed, and by the guest's; nothing if absent."""
    if not interpreter(ENVIRONMENT).exists():
        return []
    paths = [str(folder / f"{place}.npz") for place in range(len(held))]
    for path, one in zip(paths, held, strict=True):
        np.savez(
            path,
            pooled=np.hstack(one.matrices),
            labels=one.labels,
            tests=one.tests,
            guest_columns=one.matrices[0].shape[1],
        )
    out = folder / "xgboost.json"
    same = {"depth": DEPTH, "bins": BINS, "trees": trees}
    rate = TreeSettings().learning_rate
    task = same | {"learning_rate": rate, "tables": paths, "out": str(out)}
    session(ENVIRONMENT, ENVIRONMENT, "vertical_xgboost", [task])
    found = json.loads(out.read_text(encoding="utf-8"))
    return [[np.array(both[which]) for both in found] for which in (0, 1)]


def _area(held: Held, scores: Floats) -> float:
    found = measure("AUC", held.labels[: held.tests], scores, "logistic")
    assert found is not None
    return found


def _matrix(frame: pd.DataFrame) -> Floats:
    """Return a table's numbers, NaN where missing, and a column for each category."""
    schema = own_schema(frame)
    blocks = [
        values[:, None] == np.arange(column.num_codes)
        if isinstance(column, CategoricalColumn)
        else values[:, None]
        for column, values in zip(schema.columns, clean(frame, schema).values.T, strict=True)
    ]
    return np.hstack(blocks).astype(np.float64)


def _drawn(job: Job, seed: int) -> Held:
    rows = job.rows * 100 // (100 - _TEST_PERCENT)  # so that as many train as the job has
    return Held.of(tables(rows, job.columns, seed))


@dataclass(frozen=True)
class Source:
    """Where a seed's rows come from.

    Attributes:
        draw: Returns those of a seed.
        one_table: Whether seeds share rows.
        seeds: How often it is trained for each seed asked for: more where that is little.
    """

    draw: Callable[[int], Held]
    one_table: bool = False
    seeds: int = 1


SOURCES = {
    "bank-and-shop": Source(partial(Held.of_pair, "bank-and-shop")),
    "breast-cancer": Source(partial(Held.of_pair, "breast-cancer"), one_table=True, seeds=4),
    "wide": Source(lambda seed: Held.of(wide_tables(*_WIDE, seed))),
}
