"""The tables of aggregation: of the README, whole work beside peers; of docs/scale.md, growth."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from privfed.table import Table, markdown

Row = Mapping[str, Any]
NAMES = {
    ("packed", "seeds", True): "privfed, seeds",
    ("packed", "summed", True): "privfed, summed",
    ("packed", "opener", True): "privfed, opener",
    ("packed", "seeds", False): "privfed, seeds, no masks",
    ("nvflare", "summed", False): "NVFlare's CKKS",
    ("tenseal-ckks", "summed", False): "TenSEAL CKKS",
    ("bfv", "summed", False): "TenSEAL BFV",
    ("bfv-one-prime", "summed", False): "TenSEAL BFV, one prime",
    ("plaintext", "summed", False): "float32 in the clear",
    ("floor", "summed", False): "information floor",
}
MODES = ("seeds", "summed", "opener")
FIXED_SIZE, FIXED_CLIENTS = 10**5, 10  # of the two sweeps of docs/scale.md


def named(rows: Sequence[Row]) -> dict[tuple[str, str, bool], Row]:
    """Return the rows by scheme, download mode and masks."""
    return {(row["scheme"], row["download_mode"], row["masks"]): row for row in rows}


def aggregation(rows: Sequence[Row]) -> str:
    """Return the table of a round of a million values from ten clients, schemes beside peers."""
    found, cells = named(rows), []
    for key, name in NAMES.items():
        row = found[key]
        exact = "yes" if row["exact"] else "no"
        if key[0] == "floor":
            cells.append([name, _times(row, "upload"), _times(row, "download"), *"––––", exact])
            continue
        cells.append(
            [
                name,
                _times(row, "upload"),
                _times(row, "download"),
                *(_ms(row[f"{role}_cpu_seconds"]) for role in ("client", "server", "holder")),
                _ms(row["wall_seconds"]),
                exact,
            ]
        )
        if row["openers"]:
            cells.append(
                [
                    f"– one of the {row['openers']} who open",
                    _times(row, "opener_upload"),
                    _times(row, "opener_download"),
                    *(_ms(row["client_cpu_seconds"]), "–", _ms(row["opener_cpu_seconds"])),
                    *("–", exact),
                ]
            )
    head = (
        *("a million values, ten clients", "up", "down", "client, ms", "server, ms"),
        *("holder, ms", "wall, ms", "exact"),
    )
    return markdown(Table(head, cells))


def by_size(rows: Sequence[Row]) -> str:
    """Return what a round costs as updates grow."""
    grown = [row for row in rows if row["clients"] == FIXED_CLIENTS]
    return _growth(grown, "params", f"values, {FIXED_CLIENTS} clients")


def by_clients(rows: Sequence[Row]) -> str:
    """Return what a round costs as clients join."""
    grown = [row for row in rows if row["params"] == FIXED_SIZE]
    return _growth(grown, "clients", f"clients, {FIXED_SIZE:,} values")


def _growth(rows: Sequence[Row], along: str, head: str) -> str:
    cells = [
        [
            f"{row[along]:,}",
            row["download_mode"],
            _times(row, "upload"),
            _times(row, "download"),
            _times(row, "opener_download") if row["openers"] else "–",
            *(_ms(row[f"{role}_cpu_seconds"]) for role in ("client", "server", "holder", "opener")),
        ]
        for row in rows
        if row["scheme"] == "packed"
    ]
    columns = (
        *(head, "mode", "up", "down", "opener down", "client, ms", "server, ms"),
        *("holder, ms", "opener, ms"),
    )
    return markdown(Table(columns, cells, words=2))


def kept(rows: Sequence[Row]) -> str:
    """Return the share of sampled parties that a round keeps, by group and by how many drop out."""
    rates = sorted({row["gone"] for row in rows})
    found = {(row["group"], row["gone"]): row for row in rows}
    cells = [
        [str(group), *(_share(found[group, gone]) for gone in rates)]
        for group in sorted({row["group"] for row in rows})
    ]
    for parties in (10, 100):
        cells.append(
            [
                f"none: rounds over {parties} that all finish",
                *(_percent((1 - gone) ** parties) for gone in rates),
            ]
        )
    head = ("parties in a group", *(f"{gone:.0%} gone" for gone in rates))
    return markdown(Table(head, cells))


def _share(row: Row) -> str:
    return f"{_percent(row['kept'])} ({_percent((1 - row['gone']) ** row['group'])})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _times(row: Row, what: str) -> str:
    """Return bytes as a multiple of float32's."""
    return f"{row[f'{what}_bytes'] / (4 * row['params']):.2f}x"


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    digits = 0 if seconds >= 1 else 1 if seconds >= 0.01 else 2
    return f"{1000 * seconds:,.{digits}f}"


TABLES: dict[str, tuple[str, Callable[[Sequence[Row]], str]]] = {
    "aggregation": ("aggregation-1m.json", aggregation),
    "scale size": ("scale.json", by_size),
    "scale clients": ("scale.json", by_clients),
    "scale groups": ("scale-groups.json", kept),
}
