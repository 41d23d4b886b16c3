"""Bytes and time of aggregation against the size of the model and the number of clients.

Run: python -m benchmarks.aggregation_plots --out docs
Writes aggregation.json and aggregation.png. What is small enough is measured as in
benchmarks.aggregation; beyond that, values come from a model and are marked so. Our bytes follow
from the parameters exactly; other bytes and all times are taken as linear in the number of
values (or of clients) from the largest measured point on.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import matplotlib as mpl

from benchmarks.aggregation import PHASES, Row, floor_row, measure
from privfed import secagg
from privfed.secagg import wire
from privfed.secagg.parts import Parts

mpl.use("Agg")

from matplotlib import pyplot

SIZES = [10**4, 10**5, 10**6, 10**7, 10**8]
CLIENTS = [2, 5, 10, 30, 100, 300, 1000]
FIXED_CLIENTS, FIXED_SIZE, BITS = 10, 10**5, 16
LARGEST_SIZE = {"packed": 10**7, "plaintext": 10**7}  # the others: 10^6
MOST_CLIENTS = {"packed": 100, "plaintext": 100}  # the others: 30
DRAWN = {
    ("packed", "seeds", True): ("packed, seeds down, masks", "C0", "o"),
    ("packed", "summed", True): ("packed, summed c1 down, masks", "C2", "s"),
    ("slots", "summed", True): ("slots, masks", "C4", "d"),
    ("nvflare", "summed", False): ("NVFlare's CKKS", "C3", "^"),
    ("plaintext", "summed", False): ("plaintext float32", "0.4", "x"),
    ("floor", "summed", False): ("floor: log2 of the number of sums", "0.7", ""),
}
FIELDS = ("upload_bytes_with_context", "download_bytes_with_context", "upload_bytes",
          "download_bytes", *(f"{phase}_seconds" for phase in PHASES))  # fmt: skip


def name(row: Row) -> tuple[str, str, bool]:
    """Return the line that a row belongs to."""
    return row.scheme, row.download_mode, row.masks


def measured(params: int, clients: int, repeats: int) -> list[Row]:
    """Return the rows of what fits at this size, and the floor."""
    by_size = {key[0] for key in DRAWN if params <= LARGEST_SIZE.get(key[0], 10**6)}
    by_clients = {key[0] for key in DRAWN if clients <= MOST_CLIENTS.get(key[0], 30)}
    wanted = by_size & by_clients - {"floor"}
    rows = measure(params, clients, BITS, repeats, wanted, say=lambda _: None) if wanted else []
    rows = [row for row in rows if name(row) in DRAWN]
    return [*rows, floor_row(params, clients, BITS)]


def our_bytes(row: Row) -> Row:
    """Return the row with the bytes that the parameters say."""
    party = secagg.generate_identity().public
    params = secagg.Parameters(
        job="benchmark",
        layout=secagg.Layout((("w", (row.params,)),)),
        clip_range=0.05,
        bits=row.bits,
        max_clients=2,
        max_weight=1024,
        scheme=row.scheme,
        adversary="honest-server",  # what it is does not change the bytes
        download=row.download_mode,
        roster=(party, secagg.generate_identity().public),
    )
    # The packing depends on the number of clients alone: their keys need not be made.
    object.__setattr__(params, "max_clients", row.clients)
    params.__dict__.pop("packing", None)
    parts = Parts(params)
    upload = sum(parts.message_bytes(part, wire.Kind.UPLOAD) for part in parts.all)
    total = sum(parts.message_bytes(part, wire.Kind.TOTAL, row.clients) for part in parts.all)
    return replace(
        row,
        upload_bytes=upload,
        upload_bytes_with_context=upload,
        download_bytes=total,
        download_bytes_with_context=total,
    )


def modelled(largest: Row, params: int, clients: int) -> Row:
    """Return what the largest measured row says of a larger one."""
    by_size, by_clients = params / largest.params, clients / largest.clients
    grown = {field: getattr(largest, field) * by_size for field in FIELDS}
    grown["aggregate_seconds"] *= by_clients
    if largest.scheme == "packed":
        grown["decrypt_prepare_seconds"] *= by_clients
        if largest.masks:  # one key stream for each peer
            grown["prepare_seconds"] *= by_clients
    row = replace(largest, params=params, clients=clients, repeats=0, **grown)
    return our_bytes(row) if largest.scheme in ("packed", "slots") else row


def sweep(points: list[tuple[int, int]], repeats: int) -> list[Row]:
    """Return every line at every (params, clients), measured (repeats > 0) or modelled."""
    rows: list[Row] = []
    for params, clients in points:
        print(f"{params} values, {clients} clients")
        here = {name(row): row for row in measured(params, clients, repeats)}
        last = {name(row): row for row in rows if row.repeats}
        for line in DRAWN:
            if line not in here and line in last:
                here[line] = modelled(last[line], params, clients)
        rows += here.values()
    return rows


def draw(by_size: list[Row], by_clients: list[Row], path: Path) -> None:
    """Draw bytes per value and seconds, against size and against clients."""
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for column, (rows, along, label) in enumerate(
        [
            (by_size, "params", f"values in an update ({FIXED_CLIENTS} clients)"),
            (by_clients, "clients", f"clients ({FIXED_SIZE:,} values)"),
        ]
    ):
        for line, (words, colour, mark) in DRAWN.items():
            points = [row for row in rows if name(row) == line]
            for axis, value in (
                (axes[0][column], relative_bytes),
                (axes[1][column], round_seconds),
            ):
                places = [getattr(row, along) for row in points]
                values = [value(row) for row in points]
                if not any(values):
                    continue
                axis.plot(places, values, color=colour, linewidth=1, label=words)
                for place, each, row in zip(places, values, points, strict=True):
                    filled = colour if row.repeats else "white"
                    axis.plot(place, each, marker=mark, color=colour, markerfacecolor=filled)
        for axis in (axes[0][column], axes[1][column]):
            axis.set(xscale="log", yscale="log", xlabel=label)
            axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("bytes up and down, as a multiple of float32's")
    axes[1][0].set_ylabel("seconds of one round: a client, the server, a key holder")
    axes[0][0].legend(fontsize=8)
    figure.suptitle(
        f"Encrypted aggregation, {BITS} bits. Filled marks: measured, offline work included; "
        "hollow: model",
        fontsize=10,
    )
    figure.savefig(path, dpi=120)


def relative_bytes(row: Row) -> float:
    """Return a round's bytes of one client over plaintext's."""
    total = row.upload_bytes_with_context + row.download_bytes_with_context
    return total / (8 * row.params)


def round_seconds(row: Row) -> float:
    """Return the compute of one client, the server and one key holder."""
    return float(sum(getattr(row, f"{phase}_seconds") for phase in PHASES))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    by_size = sweep([(size, FIXED_CLIENTS) for size in SIZES], asked.repeats)
    by_clients = sweep([(FIXED_SIZE, clients) for clients in CLIENTS], asked.repeats)
    rows = [
        asdict(row) | {"measured": bool(row.repeats) or row.scheme == "floor"}
        for row in (*by_size, *by_clients)
    ]
    (asked.out / "aggregation.json").write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    draw(by_size, by_clients, asked.out / "aggregation.png")


if __name__ == "__main__":
    main()
