"""`privfed keys plan` and `compare`: what parties agree on, written and read without Python."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privfed.cli.keys_files import parties_in, read_params
from privfed.cli.train_plan import groups_of
from privfed.cli.typed import above_zero, one_of
from privfed.errors import AuthenticationError, ConfigError, PrivFedError
from psi.storage import check_place, whole_file

if TYPE_CHECKING:
    from privfed.secagg import Parameters

_VALUES, _PARTIES = "Values", "Who takes part, and against whom"
_ENCRYPTION = "Encryption"

_OPTION = re.compile(
    r"`?\b(clip_ranges?|max_clients|min_clients|max_weight|group_sizes|noise_shares|out_of_range"
    r"|cover_c0|adversary(?==)|scheme(?==)|download(?==))\b(?:=('[\w+-]+'|\d+))?`?"
)
_PHRASES = {
    "set max_weight=None": "leave --max-weight out",
    "set cover_c0=True": "give --cover-c0",
}


def plan(
    parties: Annotated[
        list[Path],
        typer.Argument(
            help="Certificates of all parties, or folders with theirs.", show_default=False
        ),
    ],
    job: Annotated[
        str,
        typer.Option(help="Name of the job: keeps two jobs of the same parties apart."),
    ],
    layout: Annotated[
        Path,
        typer.Option(
            help="A file with the model's arrays, of numpy.savez, safetensors, or torch.save of a "
            "state_dict. Names and shapes are read, no values; nothing in it is run.",
        ),
    ],
    clip_range: Annotated[
        float,
        typer.Option(
            help="Largest magnitude of a value: of a weight, or of a change where updates travel. "
            "The smaller, the finer the grid.",
            callback=above_zero,
            rich_help_panel=_VALUES,
        ),
    ],
    out: Annotated[Path, typer.Option(help="File for the parameters.")],
    layout_key: Annotated[
        list[str] | None,
        typer.Option(
            help="Where in a checkpoint the state_dict lies, such as model; once a level, from "
            "the outside in."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --out.")] = False,
    bits: Annotated[
        int,
        typer.Option(
            min=6,
            max=32,
            help="Precision of a value: the grid has 2^(bits-1) - 1 steps in the range. Fewer "
            "bits are smaller messages.",
            rich_help_panel=_VALUES,
        ),
    ] = 16,
    clip_ranges: Annotated[
        list[str] | None,
        typer.Option(
            help="Another range for arrays whose values are much larger or smaller, as "
            "NAME=RANGE or PATTERN=RANGE: '*.running_var=1000'. Once for each.",
            rich_help_panel=_VALUES,
        ),
    ] = None,
    out_of_range: Annotated[
        str,
        typer.Option(
            help="refuse an update with values past the range, or clip them.",
            callback=one_of("refuse", "clip"),
            rich_help_panel=_VALUES,
        ),
    ] = "refuse",
    max_weight: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Largest weight of a party, such as its rows: the closest round number that none "
            "is above. The server does not learn weights. Without it all count the same.",
            rich_help_panel=_VALUES,
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Largest error of the mean that weights may cause, as a share of the range; 0.05 "
            "without it.",
            callback=above_zero,
            rich_help_panel=_VALUES,
        ),
    ] = None,
    adversary: Annotated[
        str | None,
        typer.Option(
            help="Against whom it holds: honest-server, lying-server, or lying-server+N with N "
            "parties that help it; lying-server+1 without it, lying-server between two.",
            rich_help_panel=_PARTIES,
        ),
    ] = None,
    max_clients: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Most parties in one round; all without it. Sums of more need more bits.",
            rich_help_panel=_PARTIES,
        ),
    ] = None,
    min_clients: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Fewest parties in one round; without it the smallest group, or as few as the "
            "adversary allows.",
            rich_help_panel=_PARTIES,
        ),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Parties in each group, in the roster's order, such as 3,4: who is missing takes "
            "the group along. As many groups as there can be without it.",
            rich_help_panel=_PARTIES,
        ),
    ] = None,
    noise_shares: Annotated[
        bool,
        typer.Option(
            "--noise-shares",
            help="Updates are integers that carry shares of noise (privfed.dp). Then there are no "
            "groups and no weights.",
            rich_help_panel=_PARTIES,
        ),
    ] = False,
    scheme: Annotated[
        str,
        typer.Option(
            help="packed is exact and smallest, and auto chooses it where TenSEAL is the known "
            "one, else slots; where there is no TenSEAL say packed. ckks and reference (in the "
            "clear) need an honest server.",
            callback=one_of("auto", "packed", "slots", "ckks", "reference"),
            rich_help_panel=_ENCRYPTION,
        ),
    ] = "auto",
    download: Annotated[
        str | None,
        typer.Option(
            help="What parties get of a sum: seeds is fewer bytes at few parties, summed less "
            "work, and with opener a few open it for all. By the number of parties without it.",
            callback=one_of("seeds", "summed", "opener"),
            rich_help_panel=_ENCRYPTION,
        ),
    ] = None,
    cover_c0: Annotated[
        bool | None,
        typer.Option(
            "--cover-c0/--no-cover-c0",
            help="Whether a server that lies gets no answer at all from the key, under summed; by "
            "the precision without it.",
            rich_help_panel=_ENCRYPTION,
        ),
    ] = None,
    aggregator: Annotated[
        list[Path] | None,
        typer.Option(
            help="Certificate of a server whose partial sums are taken, where servers make a "
            "tree. Once for each.",
            rich_help_panel=_ENCRYPTION,
        ),
    ] = None,
) -> None:
    """Write what all parties agree on, from their certificates and a model's file.

    PARTIES are the certificates (tls.crt) of all parties, this one's too, or folders with theirs.
    Their order does not matter: the roster is in that of the parties' ids.
    """
    from privfed.cli.model_files import layout_in
    from privfed.secagg import Parameters

    known, servers = parties_in(parties), parties_in(aggregator or ())
    read = [layout, *(path for path, _ in (*known.values(), *servers.values()))]
    check_place(out, replace=force, inputs=read)
    settings: dict[str, Any] = {
        "min_clients": min_clients,
        "adversary": adversary,
        "group_sizes": None if groups is None else groups_of(groups),
        "noise_shares": noise_shares,
        "aggregators": tuple(party for _, party in servers.values()),
        "out_of_range": out_of_range,
        "scheme": scheme,
        "download": download,
        "cover_c0": cover_c0,
    }
    if tolerance is not None:
        settings["tolerance"] = tolerance
    if clip_ranges:
        settings["clip_ranges"] = _ranges(clip_ranges)
    arrays = layout_in(layout, layout_key or ())
    with _in_options():
        agreed = Parameters(
            job=job,
            layout=arrays,
            clip_range=clip_range,
            bits=bits,
            max_clients=len(known) if max_clients is None else max_clients,
            max_weight=max_weight,
            roster=tuple(party for _, party in known.values()),
            **settings,
        )
        text = agreed.to_bytes()
        Parameters.from_bytes(text)  # else names of arrays are so long that nobody could
    with whole_file(out, replace=force) as file:
        file.write(text)
    _say(agreed, {party: path for party, (path, _) in known.items()})
    print(f"give {out} to the others and the server; each compares: privfed keys compare {out}")


def compare(
    params: Annotated[Path, typer.Argument(help="Parameters that another party wrote.")],
    parties: Annotated[
        list[Path] | None,
        typer.Argument(help="Certificates that this party checked.", show_default=False),
    ] = None,
    fingerprint: Annotated[
        str | None,
        typer.Option(help="What must come out: the fingerprint that another party read out."),
    ] = None,
    arrays: Annotated[
        bool, typer.Option("--arrays", help="List each array, with its shape and its range.")
    ] = False,
) -> None:
    """Say what parameters hold, and their fingerprint, which all parties compare.

    PARTIES are the certificates that this party checked, its own too: the roster must be of these.
    """
    from psi.network.certificates import plain_fingerprint

    agreed = read_params(params)
    known = parties_in(parties or ())
    if parties:
        on_it = {party.id: party for party in agreed.roster}
        if strange := sorted(on_it.keys() - known.keys()):
            raise AuthenticationError(
                f"party {strange[0]} is on the roster, and no certificate given is its: ask who "
                "wrote the parameters"
            )
        if missing := sorted(known.keys() - on_it.keys()):
            raise AuthenticationError(
                f"{known[missing[0]][0]} is of party {missing[0]}, which is not on the roster"
            )
        if wrong := [name for name, party in on_it.items() if known[name][1] != party]:
            raise AuthenticationError(
                f"party {wrong[0]} is on the roster with other keys than in {known[wrong[0]][0]}"
            )
    _say(agreed, {party: path for party, (path, _) in known.items()}, arrays=arrays)
    if fingerprint is not None:
        if plain_fingerprint(fingerprint) != agreed.fingerprint.hex():
            raise AuthenticationError(
                f"{params} is not what the other party has, whose fingerprint is another one: "
                "take its file again, over a channel that both trust"
            )
        print("the same as the other party's")


def _ranges(given: Sequence[str]) -> dict[str, float]:
    """Return ranges by the name or pattern of arrays.

    Raises:
        ConfigError: One is not understood, or a pattern is there twice.
    """
    ranges: dict[str, float] = {}
    for each in given:
        pattern, _, number = each.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = 0.0
        if not pattern or not value > 0:
            raise ConfigError(
                f"--clip-ranges {each}: give PATTERN=RANGE, such as '*.running_var=1000'"
            )
        if pattern in ranges:
            raise ConfigError(f"--clip-ranges gives {pattern} two ranges: leave one out")
        ranges[pattern] = value
    return ranges


@contextlib.contextmanager
def _in_options() -> Iterator[None]:
    """Say in options what parameters refuse."""
    try:
        yield
    except PrivFedError as error:
        message = str(error)
        for phrase, words in _PHRASES.items():
            message = message.replace(phrase, words)
        raise type(error)(_OPTION.sub(_option, message)) from None


def _option(found: re.Match[str]) -> str:
    name = "groups" if found[1] == "group_sizes" else found[1].replace("_", "-")
    value = (found[2] or "").strip("'")
    return f"--{name} {value}".rstrip()


def _say(agreed: Parameters, files: dict[str, Path], *, arrays: bool = False) -> None:
    """Print what parameters say, with whose file a party is known by."""
    layout, sizes = agreed.layout, agreed.group_sizes
    skipped = f", {len(layout.skipped)} left out" if layout.skipped else ""
    weighted = "no weights" if agreed.max_weight is None else f"weights to {agreed.max_weight:,}"
    print(f"job      {agreed.job!r}")
    print(f"parties  {len(agreed.roster)}, {agreed.quorum} to {agreed.max_clients} in a round")
    for party in agreed.roster:
        print(f"         {party.id}  {files.get(party.id, '')}".rstrip())
    for party in agreed.aggregators:
        print(f"server   {party.id}")
    print(f"against  {agreed.adversary}{trusted(agreed)}")
    if sizes:
        print(f"groups   {len(sizes)}, of {', '.join(map(str, sizes))}")
    print(f"layout   {len(layout.entries)} arrays, {layout.size:,} values{skipped}")
    print(f"values   {agreed.bits} bits within {agreed.clip_range:g}, {weighted}")
    for within, count in sorted(Counter(dict(agreed.clip_ranges).values()).items()):
        print(f"         {count} arrays within {within:g}")
    if arrays:
        for name, shape in layout.entries:
            print(f"array    {name!r} {list(shape)} within {agreed.range_of(name):g}")
        for name in layout.skipped:
            print(f"without  {name!r}")
    print(f"scheme   {agreed.scheme}, download {agreed.download_mode}")
    print(f"bytes    {_bytes_of_a_round(agreed)}")
    print(f"params   {agreed.fingerprint.hex()}")


def _bytes_of_a_round(agreed: Parameters) -> str:
    """Return in words what each party sends and gets in a round of as many as there can be."""
    from privfed.secagg.openers import SumsFormat
    from privfed.secagg.parts import Parts
    from privfed.secagg.wire import Kind

    parts, count = Parts(agreed), agreed.max_clients
    upload = sum(parts.message_bytes(part, Kind.UPLOAD) for part in parts.all)
    total = sum(parts.message_bytes(part, Kind.TOTAL, count) for part in parts.all)
    if agreed.download_mode != "opener":
        return f"{upload:,} up from each party, {total:,} down, in a round of {count}"
    sums = SumsFormat(agreed)
    own = sum(sums.message_bytes(part, 1) for part in parts.all)
    joined = sum(sums.message_bytes(part, agreed.openers) for part in parts.all)
    return (
        f"{upload:,} up from each party, {joined:,} down, in a round of {count}; the "
        f"{agreed.openers} that open it for all get {total:,} and send {own:,} more"
    )


def trusted(params: Parameters) -> str:
    """Return what an honest server is trusted not to do; nothing where it may lie."""
    if params.assumed.lies:
        return ""
    risk = "may learn the key" if params.scheme == "ckks" else "may compare rounds unnoticed"
    return f" (a server that lies {risk})"
