"""What collaborating is worth on pairs of tables that have a name, however little it is.

    python -m benchmarks.vertical_pairs --json FILE [--runs 5 --attributes FILE --sales FILE]

A run is what `privfed vertical` does, over a connection, but that both companies are threads of one
process, which starts once. Rows held out are drawn anew in each. Dresses are UCI's where both files
are given, else the surrogate's; randhie is left out, and named, where statsmodels is absent. The
interval is that of the mean gain: Student's t, its variance corrected for runs that share rows
(Nadeau and Bengio, Inference for the Generalization Error, 2003), so that it tells of the luck in
which rows were trained on, too. Many more splits are fitted in the clear, pooled and alone: what a
pair gains is known better from them.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from queue import Queue

import numpy as np
import pandas as pd
from scipy import stats

import psi
from benchmarks.parties import processor
from benchmarks.rows import print_table
from benchmarks.vertical_job import Floats
from privfed.cli.vertical_both import BothTables
from privfed.data import Pair, load_pair
from privfed.errors import ConfigError
from privfed.report.vertical_words import gain_of
from privfed.table import Table
from privfed.vertical.encoding import BlockEncoder
from privfed.vertical.job import PartnerLine, do_job
from privfed.vertical.labels import read_labels
from privfed.vertical.linear.results import LinearResults
from privfed.vertical.linear.terms import LinearChoice
from privfed.vertical.measures import measure
from privfed.vertical.outcome import KnownHalf
from privfed.vertical.references import fit_exactly
from privfed.vertical.training import VerticalJob
from psi.network import TLSIdentity, create_identity, load_certificate


@dataclass(frozen=True)
class Row:
    """What a pair gains.

    Attributes:
        pair: Its name, with what was chosen.
        source: Where it comes from.
        family: What its label is.
        penalty: L2.
        common_rows: How many both have.
        test_rows: How many of them are held out in each run.
        guest_columns: Columns of the side with the label, encoded.
        host_columns: Those of the other.
        runs: How often it was trained.
        measure: By what.
        alone: The guest's columns alone, in the clear; means of all runs.
        together: The model that both trained.
        pooled: Both tables in the clear.
        gain: What together has over alone.
        gain_low: The lower end of its 95 % interval.
        gain_high: The upper end.
        runs_above: Runs whose own interval lies above 0.
        farthest: The largest difference of together and pooled in a run.
        accuracy_farthest: The same of accuracy; None where there are no classes.
        splits: How often rows were held out anew for the three next, of pooled over alone.
        split_gain: The mean gain.
        split_low: The lower end of its 95 % interval.
        split_high: The upper end.
    """

    pair: str
    source: str
    family: str
    penalty: float
    common_rows: int
    test_rows: int
    guest_columns: int
    host_columns: int
    runs: int
    measure: str
    alone: float
    together: float
    pooled: float
    gain: float
    gain_low: float
    gain_high: float
    runs_above: int
    farthest: float
    accuracy_farthest: float | None
    splits: int
    split_gain: float
    split_low: float
    split_high: float


def interval(gains: Sequence[float], held_out: int, trained: int) -> tuple[float, float]:
    """Return the 95 % interval of the mean of gains whose runs share rows."""
    spread = np.std(gains, ddof=1) * np.sqrt(1 / len(gains) + held_out / trained)
    half = float(stats.t.ppf(0.975, len(gains) - 1) * spread)
    middle = float(np.mean(gains))
    return middle - half, middle + half


def played(pair: Pair, penalty: float) -> LinearResults:
    """Train a pair once, by both companies."""
    choice = LinearChoice(family=pair.family, penalty=penalty)
    tables = BothTables.of_pair(pair)
    ports: Queue[int] = Queue()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        place = Path(folder)
        for name in tables.names:
            create_identity(place / name, unlocked=True)

        def play(side: int) -> KnownHalf:
            own, other = tables.names[side], tables.names[1 - side]
            line = PartnerLine(
                identity=TLSIdentity.load(place / own),
                peer_certificate=load_certificate(place / f"{other}.crt"),
                listens=bool(side),
                address=f"127.0.0.1:{0 if side else ports.get()}",
                wait_seconds=60.0,
                on_listening=ports.put,
            )
            job = VerticalJob(
                table=(tables.guest, tables.host)[side],
                name=own,
                file=tables.files[side],
                choice=choice,
                out=place / f"{own}-out",
                unfinished=place / f"{own}.json",
            )
            return do_job(job, line)

        guest, host = pool.map(play, (0, 1))
    results = guest.results_with(host, source=tables.source)
    assert isinstance(results, LinearResults)
    return results


def aligned(pair: Pair) -> tuple[pd.DataFrame, pd.DataFrame, Floats]:
    """Return the columns of both sides and the labels, of the rows that both have."""
    steps = None if pair.normalise == "exact" else pair.normalise
    ids = pair.guest[pair.guest_id], pair.host[pair.host_id]
    found = psi.align(*ids, normalise=steps, duplicates="first")
    order = np.argsort(found.left_rows)  # which is random, and the splits are to repeat
    own, theirs = found.left_rows[order], found.right_rows[order]
    labels, _ = read_labels(list(pair.guest[pair.label].iloc[own]), pair.family, pair.label)
    return (
        pair.guest.drop(columns=[pair.guest_id, pair.label]).iloc[own].reset_index(drop=True),
        pair.host.drop(columns=[pair.host_id]).iloc[theirs].reset_index(drop=True),
        labels,
    )


def in_the_clear(pair: Pair, penalty: float, one: LinearResults, splits: int) -> list[float]:
    """Return what pooled gains over alone when rows are held out again and again, as in a run."""
    guest, host, labels = aligned(pair)
    sides = (
        (guest, 0),
        (host, LinearChoice().least_rows),
    )
    gains = []
    for seed in range(splits):
        drawn = np.random.default_rng(seed).permutation(len(labels))
        tests, train = drawn[: one.test_rows], drawn[one.test_rows :]
        blocks = []
        for frame, least in sides:
            encoder = BlockEncoder.fit(frame.iloc[train].reset_index(drop=True), least_rows=least)
            blocks.append(encoder.matrix(frame))
        alone, pooled = (
            fit_exactly(matrix[train], labels[train], pair.family, penalty).scores(matrix[tests])
            for matrix in (blocks[0], np.hstack(blocks))
        )
        name = one.measures[0].name
        values = [measure(name, labels[tests], scores, pair.family) for scores in (alone, pooled)]
        assert values[0] is not None
        assert values[1] is not None
        gains.append(values[1] - values[0])
    return gains


def row(name: str, penalty: float, results: Sequence[LinearResults], split: Sequence[float]) -> Row:
    """Return what came of a pair's runs, and of its splits in the clear."""
    one = results[0]
    measured = [each.measures[0] for each in results]
    gains = [gain.value for each in results if (gain := gain_of(each)) is not None]
    assert len(gains) == len(results)
    low, high = interval(gains, one.test_rows, one.train_rows)
    split_low, split_high = interval(split, one.test_rows, one.train_rows)
    return Row(
        pair=name,
        source=one.source,
        family=one.family,
        penalty=penalty,
        common_rows=one.common_rows,
        test_rows=one.test_rows,
        guest_columns=one.guest.columns,
        host_columns=one.host.columns,
        runs=len(results),
        measure=measured[0].name,
        alone=_mean(each.alone for each in measured),
        together=_mean(each.together for each in measured),
        pooled=_mean(each.pooled for each in measured),
        gain=float(np.mean(gains)),
        gain_low=low,
        gain_high=high,
        runs_above=sum(each.gains[0].low > 0 for each in results),
        farthest=_farthest(results, 0),
        accuracy_farthest=_farthest(results, 1) if one.family == "logistic" else None,
        splits=len(split),
        split_gain=float(np.mean(split)),
        split_low=split_low,
        split_high=split_high,
    )


def _mean(values: Iterator[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known))


def _farthest(results: Sequence[LinearResults], measure: int) -> float:
    found = [each.measures[measure] for each in results]
    return max(abs((one.together or 0) - (one.pooled or 0)) for one in found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="at least 2")
    parser.add_argument("--splits", type=int, default=100, help="in the clear, at least 2")
    parser.add_argument("--pairs", help="some of them, as they are named in the table")
    parser.add_argument("--attributes", type=Path, help="UCI's “Attribute DataSet”")
    parser.add_argument("--sales", type=Path, help="UCI's “Dress Sales”")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    dresses = partial(load_pair, "dresses", attributes=options.attributes, sales=options.sales)
    # What was chosen before anything was run: L2 is stronger where rows are few.
    pairs: dict[str, tuple[Callable[[], Pair], float]] = {
        "bank and shop": (load_pair, 0.001),
        "bank and shop, worth 0": (partial(load_pair, worth=0.0), 0.001),
        "breast cancer": (partial(load_pair, "breast-cancer"), 0.03),
        "dresses, first day": (partial(dresses, days=1), 0.01),
        "dresses, five days": (partial(dresses, days=5), 0.01),
        "randhie": (partial(load_pair, "randhie"), 0.001),
    }
    rows, absent = [], []
    for name in options.pairs.split(";") if options.pairs else pairs:
        load, penalty = pairs[name]
        try:
            pair = load()
        except ConfigError as error:
            absent.append(f"{name}: {error}")
            continue
        results = [played(pair, penalty) for _ in range(options.runs)]
        split = in_the_clear(pair, penalty, results[0], options.splits)
        rows.append(row(name, penalty, results, split))
    print_table(table(rows))
    for line in absent:
        print(line)
    if options.json:
        machine = {"processor": processor(), "cores": os.cpu_count(), "absent": absent}
        document = {"rows": [asdict(each) for each in rows], **machine}
        options.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def table(rows: Sequence[Row]) -> Table:
    """Return what is printed."""
    cells = [
        [
            each.pair,
            each.measure,
            *(f"{value:.4f}" for value in (each.alone, each.together, each.pooled, each.gain)),
            f"{each.gain_low:+.4f} to {each.gain_high:+.4f}",
            f"{each.runs_above} of {each.runs}",
            f"{each.farthest:.4f}",
            f"{each.split_gain:.4f} ({each.split_low:+.4f} to {each.split_high:+.4f})",
        ]
        for each in rows
    ]
    head = (
        *("pair", "by", "alone", "together", "pooled", "gain", "95 %", "runs above 0"),
        *("off pooled by up to", "pooled gain by splits"),
    )
    return Table(head, cells)


if __name__ == "__main__":
    main()
