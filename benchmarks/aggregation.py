"""Encrypted aggregation, ours and others', on the same updates in one interleaved run.

Run: python -m benchmarks.aggregation --params 1000000 --clients 10 --bits 16 --json FILE

Every repetition runs one round of every scheme, one after another, so that a busy machine slows
all of them; a figure is the median over repetitions. Client times are of one client, server times
of all uploads, decryption times of one key holder. A role's processor time is its whole work, of
all threads: what it does ahead and what it does once values are known. Before the first
repetition every scheme runs a round of the same size, of at most ten clients, which loads
libraries and warms caches. Every mean is compared with numpy's: where a scheme is exact, with the
mean of the quantised integers bit for bit.
"""

import argparse
import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.aggregation_peers import PEERS, Update
from benchmarks.rows import print_table, write
from privfed import secagg
from privfed.table import Table

DRESS_SHAPES = {"0.weight": (128, 12), "0.bias": (128,), "1.weight": (32, 128), "1.bias": (32,),
                "2.weight": (2, 32), "2.bias": (2,)}  # fmt: skip
CLIP_RANGE = 0.05
MAX_WEIGHT = 1024
PHASES = ("prepare", "encrypt", "aggregate", "decrypt_prepare", "decrypt")
ROLES = {
    "client": ("prepare", "encrypt"),
    "server": ("aggregate",),
    "holder": ("decrypt_prepare", "decrypt"),
}
_MOST_WARM = 10  # clients, enough to warm what there is


@dataclass(frozen=True)
class Row:
    """One scheme's figures; times are medians in seconds, sizes are bytes.

    Attributes:
        client_cpu_seconds: Whole work of one client, ahead and online.
        server_cpu_seconds: Of the server, for all uploads.
        holder_cpu_seconds: Of one key holder, ahead and online.
    """

    scheme: str
    download_mode: str
    masks: bool
    params: int
    clients: int
    bits: int
    upload_bytes: int
    upload_bytes_with_context: int
    download_bytes: int
    download_bytes_with_context: int
    prepare_seconds: float
    encrypt_seconds: float
    aggregate_seconds: float
    decrypt_prepare_seconds: float
    decrypt_seconds: float
    client_cpu_seconds: float
    server_cpu_seconds: float
    holder_cpu_seconds: float
    exact: bool
    max_error: float
    repeats: int


@contextmanager
def quiet() -> Iterator[None]:
    """Keep TenSEAL's warnings, printed by C++ for every long vector, off the terminal."""
    with Path(os.devnull).open("w") as nowhere:
        kept = [os.dup(stream) for stream in (1, 2)]
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
        try:
            yield
        finally:
            for stream, saved in zip((1, 2), kept, strict=True):
                os.dup2(saved, stream)
                os.close(saved)


def ticks() -> np.ndarray:
    """Return seconds of the wall's clock, and of the processor in all threads."""
    return np.array([time.perf_counter(), time.process_time()])


class Clock:
    """Seconds by phase of one round, on the wall's clock and of the processor."""

    def __init__(self) -> None:
        self.spent = {phase: np.zeros(2) for phase in PHASES}

    @contextmanager
    def __call__(self, phase: str, share: int = 1) -> Iterator[None]:
        """Add the time inside to `phase`, divided by `share` parties."""
        start = ticks()
        yield
        self.spent[phase] += (ticks() - start) / share

    def figures(self) -> dict[str, float]:
        """Return the wall seconds of each phase and the processor seconds of each role."""
        walls = {f"{phase}_seconds": float(spent[0]) for phase, spent in self.spent.items()}
        return walls | {
            f"{role}_cpu_seconds": float(sum(self.spent[phase][1] for phase in phases))
            for role, phases in ROLES.items()
        }


@dataclass
class Outcome:
    """What one round of one scheme gave."""

    mean: Update
    upload: tuple[int, int]
    download: tuple[int, int]


def updates(params: int, clients: int) -> list[Update]:
    """Return updates of the given size, seeded: the dress network's tensors or one array."""
    shapes = DRESS_SHAPES if params == 5858 else {"w": (params,)}
    rng = np.random.default_rng(0)
    return [
        {
            name: rng.uniform(-CLIP_RANGE, CLIP_RANGE, shape).astype(np.float32)
            for name, shape in shapes.items()
        }
        for _ in range(clients)
    ]


def simulated(
    sent: list[Update], clock: Callable[[], Any] = time.perf_counter, **settings: Any
) -> secagg.Simulation:
    """Return a job whose parties send such updates, with weights."""
    parties = len(sent)
    return secagg.simulate(
        parties,
        lambda roster: secagg.Parameters(
            job="benchmark",
            layout=secagg.Layout.of(sent[0]),
            clip_range=CLIP_RANGE,
            max_clients=parties,
            min_clients=parties,
            max_weight=MAX_WEIGHT,
            roster=roster,
            **settings,
        ),
        clock=clock,
    )


def rows_of(clients: int) -> list[int]:
    """Return one weight for each client, such as its number of rows."""
    return [500 + (37 * place) % 500 for place in range(clients)]


class Ours:
    """One parameter set of privfed.secagg, round after round."""

    def __init__(self, sent: list[Update], weights: list[int], **settings: Any) -> None:
        self._sent, self._weights, self._round = sent, weights, 0
        self._job = simulated(sent, ticks, **settings)

    def run(self, clock: Clock) -> Outcome:
        """Run one round; offline work is timed apart."""
        self._round += 1
        clients = len(self._sent)
        self._job.prepare(self._round)
        result, traffic = self._job.average(self._sent, round_id=self._round, weights=self._weights)
        spent: dict[str, Any] = traffic.seconds  # pairs, since `ticks` are
        clock.spent = {
            "prepare": (spent["prepare"] + spent["announce"]) / clients,
            "encrypt": spent["encrypt"] / clients,
            "aggregate": spent["aggregate"],
            "decrypt_prepare": spent["expect"],
            "decrypt": spent["decrypt"],
        }
        sizes = (traffic.upload_bytes // clients,) * 2, (traffic.download_bytes // clients,) * 2
        return Outcome({name: mean.ravel() for name, mean in result.mean.items()}, *sizes)


class Peer:
    """One of the others, round after round."""

    def __init__(self, made: Any, sent: list[Update], weights: list[int]) -> None:
        self._peer, self._sent, self._weights = made, sent, weights

    def run(self, clock: Clock) -> Outcome:
        """Run one round; the others have no offline work."""
        with quiet():
            return self._run(clock)

    def _run(self, clock: Clock) -> Outcome:
        peer, clients = self._peer, len(self._sent)
        with clock("encrypt", clients):
            uploads = [
                peer.encrypt(update, weight)
                for update, weight in zip(self._sent, self._weights, strict=True)
            ]
        with clock("aggregate"):
            total = peer.aggregate(uploads, self._weights)
        with clock("decrypt"):
            mean = peer.decrypt(total)
        return Outcome(mean, peer.size_bytes(uploads[0]), peer.size_bytes(total))


def contenders(
    sent: list[Update],
    weights: list[int],
    bits: int,
    wanted: set[str] | None,
    say: Callable[[str], None] = print,
) -> dict[tuple[str, str, bool], Any]:
    """Return the schemes that run, by (scheme, download mode, masks)."""
    ours = {
        ("packed", "seeds", False): {"scheme": "packed", "download": "seeds"},
        ("packed", "seeds", True): {"scheme": "packed", "download": "seeds"},
        ("packed", "summed", True): {"scheme": "packed", "download": "summed"},
        ("packed", "summed", False): {"scheme": "packed", "download": "summed"},
        ("slots", "summed", True): {"scheme": "slots"},
        ("ckks", "summed", False): {"scheme": "ckks"},
        ("reference", "seeds", False): {"scheme": "reference"},
    }
    chosen: dict[tuple[str, str, bool], Any] = {}
    for name, settings in ours.items():
        if wanted is None or name[0] in wanted:
            masks = name[2] and len(sent) > 2  # of two each has the other's update, masked or not
            against = "lying-server+1" if masks else "lying-server"
            if name[0] in ("ckks", "reference"):
                against = "honest-server"
            chosen[*name[:2], masks] = Ours(sent, weights, bits=bits, adversary=against, **settings)
    for peer in PEERS:
        if wanted is None or peer.name in wanted:
            try:
                made = peer(CLIP_RANGE, bits, len(sent))
            except ValueError as why:
                say(str(why))
                continue
            chosen[peer.name, "summed", False] = Peer(made, sent, weights)
    return chosen


def true_mean(sent: list[Update], weights: list[int]) -> Update:
    """Return the weighted mean in double precision, flat by layer."""
    return {
        name: np.average([update[name].ravel() for update in sent], axis=0, weights=weights)
        for name in sent[0]
    }


def quantised_mean(sent: list[Update], weights: list[int], bits: int) -> Update:
    """Return the mean that exact schemes must give, from numpy's integers."""
    limit = 2 ** (bits - 1) - 1
    step, mean = CLIP_RANGE / limit, {}
    for name in sent[0]:
        sums = np.zeros(sent[0][name].size, np.int64)
        for update, weight in zip(sent, weights, strict=True):
            scaled = update[name].ravel().astype(np.float64) * (weight / MAX_WEIGHT / step)
            sums += np.clip(np.rint(scaled), -limit, limit).astype(np.int64)
        mean[name] = (sums * (step * (MAX_WEIGHT / sum(weights)))).astype(np.float32)
        np.clip(mean[name], -np.float32(CLIP_RANGE), np.float32(CLIP_RANGE), out=mean[name])
    return mean


def floor_row(params: int, clients: int, bits: int) -> Row:
    """Return the information floor: log2 of how many sums there are, for each value."""
    sums = clients * (2**bits - 1) + 1
    size = -(-int(np.ceil(params * np.log2(float(sums)))) // 8)
    times: dict[str, Any] = dict.fromkeys(Clock().figures(), 0.0)
    return Row("floor", "summed", False, params, clients, bits, size, size, size, size,
               **times, exact=True, max_error=0.0, repeats=0)  # fmt: skip


def measure(
    params: int,
    clients: int,
    bits: int,
    repeats: int,
    wanted: set[str] | None = None,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Return a row for every scheme."""
    sent = updates(params, clients)
    weights = rows_of(clients)
    running = contenders(sent, weights, bits, wanted, say)
    few = running
    if clients > _MOST_WARM:
        few = contenders(sent[:_MOST_WARM], weights[:_MOST_WARM], bits, wanted, lambda _: None)
    for contender in few.values():
        contender.run(Clock())
    del few
    spent: dict[Any, list[dict[str, float]]] = {name: [] for name in running}
    outcomes: dict[Any, Outcome] = {}
    for repeat in range(1, repeats + 1):
        for name, contender in running.items():
            gc.collect()
            clock = Clock()
            outcomes[name] = contender.run(clock)
            spent[name].append(clock.figures())
        say(f"repetition {repeat} of {repeats}")
    truth, integers = true_mean(sent, weights), quantised_mean(sent, weights, bits)
    rows = []
    for name, outcome in outcomes.items():
        error = max(float(np.abs(outcome.mean[k] - truth[k]).max()) for k in truth)
        exact = all(np.array_equal(outcome.mean[k].astype(np.float32), integers[k]) for k in truth)
        seconds: dict[str, Any] = {
            figure: median(each[figure] for each in spent[name]) for figure in Clock().figures()
        }
        scheme, download, masks = name
        rows.append(Row(scheme, download, masks, params, clients, bits, outcome.upload[0],
                        outcome.upload[1], outcome.download[0], outcome.download[1], **seconds,
                        exact=exact, max_error=error, repeats=repeats))  # fmt: skip
    return [*rows, floor_row(params, clients, bits)] if wanted is None else rows


def table(rows: list[Row]) -> Table:
    """Return the rows for a terminal; sizes as multiples of float32, times in ms."""
    head = (
        *("scheme", "down", "masks", "exact", "max error", "up x", "down x"),
        *("prepare", "encrypt", "server", "dec.prep", "decrypt"),
        *(f"{role} cpu" for role in ROLES),
    )
    cells = []
    for row in rows:
        plain = 4 * row.params
        sizes = (row.upload_bytes_with_context, row.download_bytes_with_context)
        cells.append(
            (
                row.scheme,
                row.download_mode,
                "yes" if row.masks else "no",
                "yes" if row.exact else "no",
                f"{row.max_error:.1e}",
                *(f"{each / plain:.3f}" for each in sizes),
                *(f"{getattr(row, f'{phase}_seconds') * 1e3:.2f}" for phase in PHASES),
                *(f"{getattr(row, f'{role}_cpu_seconds') * 1e3:.2f}" for role in ROLES),
            )
        )
    return Table(head, cells, words=4)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=int, default=5858)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--bits", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--schemes", help="comma-separated; all where left out")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    wanted = set(asked.schemes.split(",")) if asked.schemes else None
    rows = measure(asked.params, asked.clients, asked.bits, asked.repeats, wanted)
    print_table(table(rows))
    if asked.json:
        write(asked.json, rows, ("privfed", "tenseal", "numpy", "cryptography"))


if __name__ == "__main__":
    main()
