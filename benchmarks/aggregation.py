"""Encrypted aggregation, ours and others', on the same updates in one interleaved run.

Run: python -m benchmarks.aggregation --params 1000000 --clients 10 --bits 16 --json FILE

Every repetition runs one round of every scheme, one after another, so that a busy machine slows
all of them; a figure is the median over repetitions. Client times are of one client, server times
of all uploads, decryption times of one key holder. A role's processor time is its whole work, of
all threads: what it does ahead and what it does once values are known. Before the first
repetition every scheme runs a round of the same size, of at most ten clients, which loads
libraries and warms caches. Where some parties open the total for all, a holder is one of the
others, and an opener has figures of its own. Every mean is compared with numpy's: where a scheme
is exact, with the mean of the quantised integers bit for bit.
"""

import argparse
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.aggregation_peers import PEERS, TUNED, Update
from benchmarks.aggregation_rounds import PHASES, ROLES, Clock, Ours, Outcome, Peer, ticks
from benchmarks.rows import print_table, write
from privfed import secagg
from privfed.table import Table

DRESS_SHAPES = {"0.weight": (128, 12), "0.bias": (128,), "1.weight": (32, 128), "1.bias": (32,),
                "2.weight": (2, 32), "2.bias": (2,)}  # fmt: skip
CLIP_RANGE = 0.05
MAX_WEIGHT = 1024
Name = tuple[str, str, bool]
"""Scheme, download mode, masks."""
_MOST_WARM = 10  # clients, enough to warm what there is


@dataclass(frozen=True)
class Row:
    """One scheme's figures; times are medians in seconds, sizes are bytes.

    Attributes:
        client_cpu_seconds: Whole work of one client, ahead and online.
        server_cpu_seconds: Whole work of the server, for all uploads.
        holder_cpu_seconds: Whole work of one key holder, ahead and online.
        wall_seconds: From known values to the mean at a holder: the online work of a client, the
            server, an opener and a holder, one after the other, without a network.
        openers: Parties that open the total for all; 0 where each opens it.
        opener_cpu_seconds: Whole work of one of them, beside its work as a client.
        opener_upload_bytes: What it sends: its update and the sums that it signs.
        opener_download_bytes: What it receives: the total.
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
    wall_seconds: float
    openers: int
    opener_cpu_seconds: float | None
    opener_upload_bytes: int | None
    opener_download_bytes: int | None
    exact: bool
    max_error: float
    repeats: int


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


def contenders(
    sent: list[Update],
    weights: list[int],
    bits: int,
    wanted: Callable[[Name], bool],
    say: Callable[[str], None] = print,
) -> dict[Name, Any]:
    """Return the schemes that run, by name."""
    ours = {
        ("packed", "seeds", False): {"scheme": "packed", "download": "seeds"},
        ("packed", "seeds", True): {"scheme": "packed", "download": "seeds"},
        ("packed", "summed", True): {"scheme": "packed", "download": "summed"},
        ("packed", "summed", False): {"scheme": "packed", "download": "summed"},
        ("packed", "opener", True): {"scheme": "packed", "download": "opener"},
        ("packed", "opener", False): {"scheme": "packed", "download": "opener"},
        ("slots", "summed", True): {"scheme": "slots"},
        ("ckks", "summed", False): {"scheme": "ckks"},
        ("reference", "seeds", False): {"scheme": "reference"},
    }
    chosen: dict[Name, Any] = {}
    for name, settings in ours.items():
        if wanted(name):
            masks = name[2] and len(sent) > 2  # of two each has the other's update, masked or not
            against = "lying-server+1" if masks else "lying-server"
            if name[0] in ("ckks", "reference"):
                against = "honest-server"
            job = simulated(sent, ticks, bits=bits, adversary=against, **settings)
            chosen[*name[:2], masks] = Ours(job, sent, weights)
    for peer in (*PEERS, *TUNED):
        name = peer.name, "summed", False
        if wanted(name):
            try:
                made = peer(CLIP_RANGE, bits, len(sent))
            except ValueError as why:
                say(str(why))
                continue
            chosen[name] = Peer(made, sent, weights)
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
    nothing: dict[str, Any] = dict.fromkeys(Clock().figures(), 0.0) | {"opener_cpu_seconds": None}
    return Row(
        scheme="floor",
        download_mode="summed",
        masks=False,
        params=params,
        clients=clients,
        bits=bits,
        upload_bytes=size,
        upload_bytes_with_context=size,
        download_bytes=size,
        download_bytes_with_context=size,
        **nothing,
        openers=0,
        opener_upload_bytes=None,
        opener_download_bytes=None,
        exact=True,
        max_error=0.0,
        repeats=0,
    )


def measure(
    params: int,
    clients: int,
    bits: int,
    repeats: int,
    wanted: Callable[[Name], bool] = lambda _: True,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Return a row for every scheme that is wanted by its name."""
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
        if not outcome.openers:
            seconds["opener_cpu_seconds"] = None
        scheme, mode, masks = name
        rows.append(
            Row(
                scheme=scheme,
                download_mode=mode,
                masks=masks,
                params=params,
                clients=clients,
                bits=bits,
                upload_bytes=outcome.upload[0],
                upload_bytes_with_context=outcome.upload[1],
                download_bytes=outcome.download[0],
                download_bytes_with_context=outcome.download[1],
                **seconds,
                openers=outcome.openers,
                opener_upload_bytes=outcome.opener_upload,
                opener_download_bytes=outcome.opener_download,
                exact=exact,
                max_error=error,
                repeats=repeats,
            )
        )
    return rows


def milliseconds(seconds: float | None) -> str:
    """Return seconds in milliseconds, as a table has them."""
    return "" if seconds is None else f"{seconds * 1e3:.2f}"


def table(rows: list[Row]) -> Table:
    """Return the rows for a terminal; sizes as multiples of float32, times in ms."""
    head = (
        *("scheme", "down", "masks", "exact", "max error", "up x", "down x"),
        *("prepare", "encrypt", "server", "dec.prep", "decrypt"),
        *(f"{role} cpu" for role in ROLES),
        "wall",
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
                *(milliseconds(getattr(row, f"{phase}_seconds")) for phase in PHASES),
                *(milliseconds(getattr(row, f"{role}_cpu_seconds")) for role in ROLES),
                milliseconds(row.wall_seconds),
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
    parser.add_argument("--tuned", action="store_true", help="and TenSEAL as nobody ships it")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    schemes = asked.schemes.split(",") if asked.schemes else None
    size = asked.params, asked.clients, asked.bits
    left_out = () if asked.tuned else [peer.name for peer in TUNED]

    def wanted(name: Name) -> bool:
        return name[0] in schemes if schemes else name[0] not in left_out

    rows = measure(*size, asked.repeats, wanted)
    if schemes is None:
        rows.append(floor_row(*size))
    print_table(table(rows))
    if asked.json:
        write(asked.json, rows, ("privfed", "tenseal", "numpy", "cryptography"))


if __name__ == "__main__":
    main()
