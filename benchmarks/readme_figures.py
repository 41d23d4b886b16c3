"""The tables of figures of the README and of pages, from benchmarks/results."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import aggregation_figures
from privfed.experiment.intervals import mean_interval
from privfed.report.vertical_words import signed
from privfed.table import Table, markdown

Row = Mapping[str, Any]
RESULTS = Path(__file__).parent / "results"
_LARGE = 17  # log2 of the fewest IDs


def dropout(rows: Sequence[Row]) -> str:
    """Return what is left of a round when parties drop out, by what masks cancel over."""
    names = {
        "groups": "in groups (a server that lies, and a party)",
        "cohort": "over the cohort (the same, for noise shares)",
        "none": "none (a server that is trusted)",
    }
    cells = [
        [
            names[row["masks"]],
            f"{row['gone']} of {row['clients']}",
            f"{row['kept']:g}",
            str(row["runs"]),
            f"{1000 * row['mask_seconds']:.2f}" if row["masks"] != "none" else "–",
            f"{1000 * row['epoch_seconds']:.1f}" if row["masks"] != "none" else "–",
        ]
        for row in rows
    ]
    head = ("masks", "gone", "kept", "runs", "masks, ms a party", "epoch, ms a party")
    return markdown(Table(head, cells))


def privacy(rows: Sequence[Row]) -> str:
    """Return the accuracy of each arm at each ε, in percent with half a 95 % interval."""
    epsilons = sorted({row["epsilon"] for row in rows if row["epsilon"] is not None})
    arms = dict.fromkeys(row["arm"] for row in rows)
    found = {(row["arm"], row["epsilon"]): row for row in rows}
    cells = []
    for arm in arms:
        plain = found.get((arm, None))
        each = [found.get((arm, epsilon), plain) for epsilon in epsilons]
        cells.append([f"`{arm}`", *(_accuracy(row) for row in each)])
    first = next(row for row in rows if row["epsilon"] is not None)
    head = (
        f"{first['parties']} parties, δ = {first['delta']:g}",
        *(f"ε = {epsilon:g}" for epsilon in epsilons),
    )
    return markdown(Table(head, cells))


def centring(name: str, uncentred: Sequence[Row]) -> str:
    """Return by how many points each arm is better on the centred features of that table."""
    centred = {(row["arm"], row["epsilon"]): row for row in rows_of(name)}
    epsilons = sorted({row["epsilon"] for row in uncentred if row["epsilon"] is not None})
    found: dict[str, dict[float | None, str]] = {}
    for row in uncentred:
        other = centred[row["arm"], row["epsilon"]]
        pairs = zip(other["accuracies"], row["accuracies"], strict=True)
        gains = [100 * (one - two) for one, two in pairs]
        interval = mean_interval(gains)
        assert interval
        mean, low, high = (signed(each, 1) for each in (fmean(gains), *interval))
        cell = f"{mean} ({low} to {high})"
        found.setdefault(row["arm"], {})[row["epsilon"]] = cell
    cells = [
        [f"`{arm}`", *(each.get(epsilon) or each[None] for epsilon in epsilons)]
        for arm, each in found.items()
    ]
    return markdown(Table(("centring gains", *(f"ε = {each:g}" for each in epsilons)), cells))


def _accuracy(row: Row | None) -> str:
    if row is None:
        return "–"
    low, high = row["accuracy_ci95"]
    return f"{100 * row['accuracy_mean']:.1f} ± {50 * (high - low):.1f}"


# All others are semi-honest: spu's RR22 runs without the checks of its malicious variant.
_INTERSECTIONS = {
    "psi-vole": ("psi, `vole`", "malicious; LPN, gap DH"),
    "psi-ecdh": ("psi, `ecdh`", "malicious; one-more gap DH"),
    "spu-rr22": ("spu RR22", "semi-honest; LPN"),
    "spu-kkrt": ("spu KKRT", "semi-honest; OT extension"),
    "spu-ecdh": ("spu ECDH", "semi-honest; DDH"),
    "openmined-psi": ("openmined-psi", "semi-honest; DDH"),
}


def psi(rows: Sequence[Row]) -> str:
    """Return what each protocol assumes, its seconds by size, and its bytes per item."""
    found = {(row["tool"], row["log2_size"]): row for row in _intersections(rows)}
    sizes = sorted({size for _, size in found})
    cells = []
    for tool, words in _INTERSECTIONS.items():
        if not any(one == tool for one, _ in found):
            continue
        seconds = [_seconds(found.get((tool, size))) for size in sizes]
        last = next(found[tool, size] for size in reversed(sizes) if (tool, size) in found)
        cells.append([*words, *seconds, f"{last['bytes_per_item']:.0f}"])
    head = (
        *("processor s a party / wall s", "assumes"),
        *(f"2^{size}" for size in sizes),
        "bytes an item",
    )
    return markdown(Table(head, cells, words=2))


def large(rows: Sequence[Row]) -> str:
    """Return what intersections of large sets cost, each protocol beside the others."""
    order = list(_INTERSECTIONS)
    measured = [row for row in _intersections(rows) if row["log2_size"] >= _LARGE]
    measured.sort(key=lambda row: (row["log2_size"], order.index(row["tool"])))
    cells = [
        [
            f"2^{row['log2_size']}",
            _INTERSECTIONS[row["tool"]][0],
            f"{row['cpu_seconds_per_party']:.2f}",
            f"{row['wall_seconds']:.1f}",
            f"{row['bytes_per_item']:.0f}",
            f"{row['peak_rss_bytes'] / 2**30:.2f}",
        ]
        for row in measured
    ]
    head = (
        *("IDs a side", "protocol", "processor s a party", "wall s", "bytes an item"),
        "peak memory a party, GiB",
    )
    return markdown(Table(head, cells, words=2))


def _intersections(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["tool"] in _INTERSECTIONS]


def _seconds(row: Row | None) -> str:
    if row is None:
        return "–"
    return f"{row['cpu_seconds_per_party']:.2f} / {row['wall_seconds']:.1f}"


def partner(rows: Sequence[Row]) -> str:
    """Return what a round between companies costs, plain, encrypted and with noise shares."""
    names = {"plain": "plain averaging", "encrypted": "encrypted", "shares": "noise shares"}
    cells = [
        [
            str(row["parties"]),
            f"{row['params']:,}",
            names[row["method"]],
            f"{1000 * row['round_seconds']:.1f}",
            f"{1000 * row['exchange_seconds']:.1f}",
            f"{row['upload_bytes'] / 1000:.1f}",
            "yes" if row["equal_bits"] else "no",
        ]
        for row in rows
    ]
    head = (
        *("companies", "parameters", "method", "round, ms", "of it exchange, ms", "upload, KB"),
        "equal bits",
    )
    return markdown(Table(head, cells))


def embedding(rows: Sequence[Row]) -> str:
    """Return what a round costs where privfed is embedded, beside the engine without it."""
    engines = {
        "flower-deployment": "Flower, deployed",
        "flower-simulation": "Flower, simulated",
        "nvflare": "NVFlare, simulated",
        "command": "`privfed train`",
    }
    names = {"plain": "plain averaging", "privfed": "privfed", "secagg+": "Flower's SecAgg+"}
    plain = {
        (row["engine"], row["clients"]): row["round_seconds"]
        for row in rows
        if row["method"] == "plain"
    }
    cells = [
        [
            engines[row["engine"]],
            str(row["clients"]),
            names[row["method"]],
            f"{row['round_seconds']:.2f}",
            f"{row['round_seconds'] / plain[row['engine'], row['clients']]:.2f}x",
            f"{row['upload_bytes'] / 1e6:.2f}",
            f"{row['download_bytes'] / 1e6:.2f}",
            f"{row['cpu_seconds']:.2f}",
        ]
        for row in rows
        if row["finished"]
    ]
    head = (
        *("engine", "clients", "method", "round, s", "to plain", "up, MB", "down, MB"),
        "processor, s",
    )
    return markdown(Table(head, cells, words=3))


_PEERS = {
    "heu-ou": "sf-heu, Okamoto–Uchiyama",
    "heu-zpaillier": "sf-heu, ZPaillier",
    "phe": "phe",
}


def vertical(rows: Sequence[Row]) -> str:
    """Return what a linear model of two companies costs by tool, and how good it came out."""
    tools = {
        "privfed-glm": "privfed",
        "spu-cheetah": "spu CHEETAH",
        "spu-cheetah-t1": "spu CHEETAH, SecretFlow's default sigmoid",
        **_PEERS,
    }
    found = {row["tool"]: row for row in rows if row["task"] == "glm"}
    ours = found["privfed-glm"]
    cells = [
        [
            name,
            "whole"
            if found[tool]["slice_of"] is None
            else f"scaled from {found[tool]['slice_of']} rows",
            f"{found[tool]['cpu_seconds']:,.1f}",
            f"{found[tool]['cpu_seconds'] / ours['cpu_seconds']:,.1f}x",
            f"{found[tool]['bytes'] / 1e6:,.0f}",
            _figure(found[tool]["metric"], ".4f"),
            _figure(found[tool]["coefficient_error"], ".1e"),
        ]
        for tool, name in tools.items()
        if tool in found
    ]
    head = (
        f"{ours['rows']:,} rows, {ours['columns']} columns, {ours['iterations']} iterations",
        *("measured", "processor s", "to ours", "MB"),
        f"AUC (exact fit {ours['reference']:.4f})",
        "coefficients off by",
    )
    return markdown(Table(head, cells, words=2))


def trees(rows: Sequence[Row]) -> str:
    """Return what a histogram and a tree cost by tool."""
    tools = {"privfed-trees": "privfed", **_PEERS}
    found = {(row["task"], row["tool"]): row for row in rows if row.get("data") == "job"}
    ours = {task: found[task, "privfed-trees"] for task in ("histogram", "tree")}
    cells = [
        [
            f"one {task}",
            name,
            "whole" if row["slice_of"] is None else f"scaled from {row['slice_of']} rows",
            f"{row['cpu_seconds']:,.2f}",
            f"{row['cpu_seconds'] / ours[task]['cpu_seconds']:,.1f}x",
            f"{row['bytes'] / 1e6:,.1f}",
            "yes" if row["exact"] else "no",
        ]
        for task in ours
        for tool, name in tools.items()
        if (row := found.get((task, tool)))
    ]
    whole = ours["tree"]
    half = whole["columns"] // 2
    head = (
        f"{whole['rows']:,} rows, {half}+{whole['columns'] - half} columns",
        *("by", "measured", "processor s", "to ours", "MB", "sums exact"),
    )
    return markdown(Table(head, cells, words=3))


def tree_quality(rows: Sequence[Row]) -> str:
    """Return how good trees of two companies are, beside XGBoost."""
    names = {
        "bank-and-shop": "bank and shop",
        "breast-cancer": "breast cancer",
        "wide": "wide, made up",
        "job": "the job above",
    }

    def spread(row: Row, what: str) -> str:
        low, high = row[f"{what}_interval"]
        return f"{row[what]:.4f} ({low:.4f} to {high:.4f})"

    found = {row["data"]: row for row in rows if row.get("seeds")}
    cells = [
        [
            name,
            f"{row['rows']:,} × {row['columns']}",
            str(row["seeds"]),
            *(spread(row, what) for what in ("alone", "metric", "reference")),
            signed(row["metric"] - row["reference"]),
            " to ".join(signed(end) for end in row["gain_interval"]),
        ]
        for data, name in names.items()
        if (row := found.get(data))
    ]
    head = (
        *("tables", "rows that train × columns", "seeds", "XGBoost, guest alone", "privfed"),
        *("XGBoost, both in one place", "privfed to it", "gain of privfed over alone"),
    )
    return markdown(Table(head, cells))


def pairs(rows: Sequence[Row]) -> str:
    """Return what collaborating gains on pairs of tables that have a name."""

    def gain(row: Row, *ends: str) -> str:
        mean, low, high = (signed(row[end]) for end in ends)
        return f"{mean} ({low} to {high})"

    cells = [
        [
            row["pair"],
            f"{row['common_rows']:,} × ({row['guest_columns']}+{row['host_columns']})",
            row["measure"],
            *(f"{row[model]:.3f}" for model in ("alone", "together", "pooled")),
            gain(row, "gain", "gain_low", "gain_high"),
            f"{row['runs_above']} of {row['runs']}",
            gain(row, "split_gain", "split_low", "split_high"),
        ]
        for row in rows
    ]
    head = (
        *("tables", "common rows × columns", "by", "alone", "together", "pooled"),
        *("gain, together (95 %)", "runs that show one"),
        f"gain, pooled, {rows[0]['splits']} splits (95 %)",
    )
    return markdown(Table(head, cells, words=3))


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


TABLES: dict[str, tuple[str, Callable[[Sequence[Row]], str]]] = {
    **aggregation_figures.TABLES,
    "dropout": ("dropout.json", dropout),
    "embedding": ("embedding.json", embedding),
    "large": ("psi.json", large),
    "pairs": ("vertical-pairs.json", pairs),
    "partner": ("partner.json", partner),
    "privacy": ("privacy-digits.json", privacy),
    "breast cancer": ("privacy-breast-cancer.json", privacy),
    "centring": ("privacy-breast-cancer-uncentred.json", partial(centring, "breast cancer")),
    "flights": ("privacy-flights.json", privacy),
    "psi": ("psi.json", psi),
    "tree quality": ("vertical.json", tree_quality),
    "trees": ("vertical.json", trees),
    "vertical": ("vertical.json", vertical),
}


def rows_of(name: str) -> Sequence[Row]:
    """Return the rows that one of the tables is made of."""
    file, _ = TABLES[name]
    rows: Sequence[Row] = json.loads((RESULTS / file).read_text(encoding="utf-8"))["rows"]
    return rows


def figures(name: str) -> str:
    """Return one of the tables from its committed file."""
    return TABLES[name][1](rows_of(name))
