"""What a round between companies costs: processes on loopback, plain, encrypted, noise shares.

Run: python -m benchmarks.partner --json FILE [--data FILE --rounds 500]

Each party and the server is a process of its own, as `privfed train join` and `privfed aggregate`
are; they speak over mutual TLS. "plain" is federated averaging of float32 updates over the same
transport. Trainings of the three take turns. A round's exchange goes from the end of a party's
training to its new model, the wait for others included; times are medians over rounds and parties.

`equal_bits` says whether the weights are those that one process computes: by plain averaging, or by
the encrypted averaging that `privfed benchmark` has as federated-he. Noise is secret, so of shares
it says whether all parties have the same weights.
"""

import argparse
import contextlib
import functools
import json
import math
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import nn

from benchmarks.rows import print_table, write
from privfed.cli.alignment import PSIAligner
from privfed.data import Dataset, PartyRows, Split, load_dataset, split_parties
from privfed.defaults import (
    DELTA,
    EXPECTED_BATCH_SIZE,
    L2_CLIP_NORM,
    PRIVATE_LEARNING_RATE,
    SURROGATE,
)
from privfed.dp import PrivacyBudget
from privfed.partner import Plan, PlanParty
from privfed.partner.carriers import Carrier
from privfed.partner.channel import connected
from privfed.partner.company import Company, round_work
from privfed.partner.plan import make_plan, privacy_settings
from privfed.partner.privacy import training_privacy
from privfed.partner.server import served
from privfed.partner.standings import ToAll
from privfed.partner.trainer import FinishedRound, Trainer
from privfed.partner.work import Work
from privfed.secagg import Keyring
from privfed.secagg.adversary import default_adversary
from privfed.table import Table
from privfed.training import (
    AdamTrainer,
    Arrays,
    FloatAveraging,
    SecureAveraging,
    adam_reach,
    get_arrays,
    initial_model,
    one_thread,
    paper_network,
    share_parameters,
    train_federated,
    weights_sha256,
)
from privfed.training.local import BATCH_SIZE, LEARNING_RATE
from psi.network import TLSIdentity

Method = Literal["plain", "encrypted", "shares"]
PACKAGES = ("privfed", "torch", "numpy", "tenseal", "grpcio")


@dataclass(frozen=True)
class Row:
    """One method between so many parties; times in seconds, of one party.

    Attributes:
        parties: How many processes train.
        params: Values in an update.
        method: "plain", "encrypted" or "shares".
        round_seconds: A whole round, training included.
        exchange_seconds: The part of it from the end of training to the new model.
        upload_bytes: What a party sends in a round.
        equal_bits: See above.
        rounds: How many rounds a training had.
        trainings: How many trainings there were.
        dataset: Whose rows.
        train_rows: Those of all parties.
    """

    parties: int
    params: int
    method: Method
    round_seconds: float
    exchange_seconds: float
    upload_bytes: int
    equal_bits: bool
    rounds: int
    trainings: int
    dataset: str
    train_rows: int


def network(features: int, classes: int, width: int) -> nn.Module:
    """Return the paper's network, or one with a wider first layer."""
    if width == 0:
        return paper_network(features, classes)
    return nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, classes))


# -- plain averaging over the same transport -------------------------------------------------------


class PlainUpdates:
    """float32 updates as they are, behind the party's place and its rows; a `Carrier`."""

    def __init__(self, place: int, weight: int, start: Arrays) -> None:
        self._head = np.array([place, weight], "<i8").tobytes()
        self._start = start
        self.round_id = self.opened_round = 0

    def agree(self, to_all: ToAll, first_round: int) -> None:
        """Do nothing."""

    def prepare(self, round_id: int) -> None:
        """Do nothing."""

    def pack(self, values: Mapping[str, NDArray[Any]], round_id: int) -> bytes:
        """Return the update's bytes."""
        self.round_id = round_id
        return self._head + b"".join(each.astype("<f4").tobytes() for each in values.values())

    def unpack(self, total: bytes, round_id: int) -> Arrays:
        """Return the mean."""
        self.opened_round = round_id
        return _named(total, self._start)

    def goes_to(self, server: bytes) -> bytes:
        """Return that it may be any."""
        return b""

    def close(self) -> None:
        """Do nothing."""


class PlainMean:
    """What a server that sees all updates does with them."""

    def __init__(self, start: Arrays) -> None:
        self._start = start
        self._given: dict[int, tuple[int, Arrays]] = {}

    def add(self, data: bytes) -> None:
        """Keep an update."""
        place, weight = np.frombuffer(data[:16], "<i8")
        self._given[int(place)] = int(weight), _named(data[16:], self._start)

    def total(self) -> bytes:
        """Return the mean's bytes."""
        weights, updates = zip(*(self._given[place] for place in sorted(self._given)), strict=True)
        mean = FloatAveraging(weights).average(1, updates).mean
        return b"".join(each.astype("<f4").tobytes() for each in mean.values())


def _named(data: bytes, start: Arrays) -> Arrays:
    flat = np.frombuffer(data, "<f4").astype(np.float32)
    parts = np.split(flat, np.cumsum([each.size for each in start.values()])[:-1])
    return {name: part.reshape(start[name].shape) for name, part in zip(start, parts, strict=True)}


# -- one training ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """Who trains what."""

    parties: int
    width: int
    rounds: int
    data: str | None

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The dress study's rows, or their surrogate."""
        return load_dataset("dresses", self.data or SURROGATE)

    @functools.cached_property
    def held(self) -> tuple[PartyRows, ...]:
        """Who has which of them."""
        split: Split = "overlapping" if self.parties == 2 else "disjoint"
        return split_parties(self.dataset, split, parties=self.parties, seed=0, align=PSIAligner())

    def rows(self, place: int, method: Method) -> Dataset:
        """Return a party's training rows."""
        rows = self.held[place].train
        dataset = self.dataset.centred() if method == "shares" else self.dataset
        kept = {"features": dataset.features[rows], "labels": dataset.labels[rows]}
        return Dataset(**{**_fields(dataset), **kept, "ids": None})

    @property
    def most_bytes(self) -> int:
        """The longest message of plain averaging."""
        return 4 * sum(each.numel() for each in self.build().parameters()) + 4096

    def build(self) -> nn.Module:
        """Make the model."""
        classes = len(self.dataset.class_names)
        return network(self.dataset.encoder.num_features, classes, self.width)

    def work(
        self, plan: Plan, place: int, rows: Dataset, model: nn.Module, budget: PrivacyBudget | None
    ) -> Work:
        """Return what a party does in each round."""
        return round_work(plan, place, rows, model, budget)

    def plan(self, folder: Path, method: Method, address: str) -> Plan:
        """Agree on a training."""
        members = [
            PlanParty(name=f"party-{place}", certificate=_certificate(folder / f"party-{place}"))
            for place in range(self.parties)
        ]
        counts = [len(each.train) for each in self.held]
        start = get_arrays(initial_model(self.build, 0))
        adversary: str | None = default_adversary(self.parties)
        rate, private = LEARNING_RATE, None
        if method == "shares":
            agreed = training_privacy(
                8.0,
                DELTA,
                noise="shares",
                rows=counts,
                rounds=self.rounds,
                spare_rounds=None,
                expected_batch_size=EXPECTED_BATCH_SIZE,
                l2_clip_norm=L2_CLIP_NORM,
                per_id=None,
                dimension=sum(each.size for each in start.values()),
            )
            private, rate = privacy_settings(agreed), PRIVATE_LEARNING_RATE["dress"]
            adversary = share_parameters(agreed, [each.identity for each in members]).adversary
        return make_plan(
            members,
            PlanParty(name="server", certificate=_certificate(folder / "server")),
            start=start,
            job=method,
            model="benchmarks.partner:network",
            encoder=self.dataset.encoder.to_json(),
            labels=("0", "1"),
            classes=tuple(self.dataset.class_names),
            rounds=self.rounds,
            seed=0,
            most_rows=max(counts),
            weighted=private is None,
            clip_range=adam_reach(math.ceil(max(counts) / BATCH_SIZE)),
            adversary=adversary,
            learning_rate=rate,
            address=address,
            **({} if private is None else {"privacy": private}),
        )

    def alone(self, method: Method) -> str | None:
        """Return what the weights hash to when one process computes them; None for noise."""
        if method == "shares":
            return None
        counts = [len(each.train) for each in self.held]
        model = initial_model(self.build, 0)
        averaging: FloatAveraging | SecureAveraging = FloatAveraging(counts)
        if method == "encrypted":
            averaging = SecureAveraging(
                get_arrays(model),
                self.parties,
                weights=counts,
                max_weight=2 ** math.ceil(math.log2(max(counts) + 1)),
                clip_range=adam_reach(math.ceil(max(counts) / BATCH_SIZE)),
                scheme="packed",
            )
        trainers = []
        for place in range(self.parties):
            rows = self.rows(place, method)
            features, labels = torch.from_numpy(rows.features), torch.from_numpy(rows.labels)
            trainers.append(AdamTrainer(features, labels))
        with one_thread():
            train_federated(
                model,
                trainers,
                averaging,
                rounds=self.rounds,
                seed=0,
                on_round=lambda round_id, model, seconds, exchange: None,
            )
        return weights_sha256(get_arrays(model))


def _fields(dataset: Dataset) -> dict[str, Any]:
    return {name: getattr(dataset, name) for name in dataset.__dataclass_fields__}


def _certificate(folder: Path) -> str:
    return (folder / "tls.crt").read_text()


def serve(folder: Path, job: Job, method: Method, port: int) -> None:
    """Be the server."""
    plan = job.plan(folder, method, f"localhost:{port}")
    start = get_arrays(initial_model(job.build, 0))
    identity = TLSIdentity.load(folder / "server", None)
    begin = (lambda number: PlainMean(start)) if method == "plain" else None
    most = job.most_bytes if method == "plain" else None
    began = time.process_time()
    with served(plan, plan.parameters(), identity, begin=begin, most_bytes=most) as meeting:
        meeting.finished.wait()
    told = {"server_cpu": time.process_time() - began}
    (folder / f"{method}-server.json").write_text(json.dumps(told))


def party(folder: Path, job: Job, method: Method, port: int, place: int) -> None:
    """Be a party; leaves its rounds in a file."""
    plan = job.plan(folder, method, f"localhost:{port}")
    keys, rounds = folder / f"party-{place}", list[dict[str, float]]()
    params, model = plan.parameters(), initial_model(job.build, 0)
    company = Company(plan, params, keys, None)
    rows = job.rows(place, method)
    identity = TLSIdentity.load(keys, None)
    carrier: Carrier | None = None
    if method == "plain":
        carrier = PlainUpdates(place, len(rows), get_arrays(model))

    def note(finished: FinishedRound) -> None:
        rounds.append(
            {
                "round": finished.train_seconds + finished.exchange_seconds,
                "exchange": finished.exchange_seconds,
                "upload": finished.upload_bytes,
                "download": len(company.folder.total()),
                "cpu": time.process_time(),
            }
        )

    with company.open_budget() as budget, one_thread():
        work = job.work(plan, place, rows, model, budget)
        trainer = Trainer(
            plan,
            params,
            keys,
            None,
            company.folder,
            model,
            lambda exchange, begun: (work, len(rows) if plan.weighted else None),
            note,
            carrier,
        )
        most = job.most_bytes if method == "plain" else None
        with connected(plan, params, identity, wait_seconds=600, most_bytes=most) as channel:
            arrays = trainer.run(channel)
    told = {"weights": weights_sha256(arrays), "rounds": rounds}
    (folder / f"{method}-{place}.json").write_text(json.dumps(told))


@contextlib.contextmanager
def _started(act: Callable[..., None], *given: Any) -> Iterator[BaseProcess]:
    process = multiprocessing.get_context("spawn").Process(target=act, args=given)
    process.start()
    try:
        yield process
        process.join()
    finally:
        process.kill()


def train(job: Job, method: Method) -> list[dict[str, Any]]:
    """Train once, in processes of their own; return what each party told."""
    with tempfile.TemporaryDirectory() as name, socket.socket() as taken:
        folder = Path(name)
        for each in (*(f"party-{place}" for place in range(job.parties)), "server"):
            Keyring.create(folder / each, None, unlocked=True)
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.close()
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(_started(serve, folder, job, method, port))
            parties = [
                stack.enter_context(_started(party, folder, job, method, port, place))
                for place in range(job.parties)
            ]
            for process in parties:
                process.join()
                if process.exitcode:
                    raise SystemExit(f"a party of {method} failed")
            server.join()
        places = ("server", *range(job.parties))
        found = [json.loads((folder / f"{method}-{each}.json").read_text()) for each in places]
        return [each | found[0] for each in found[1:]]


def measure(job: Job, trainings: int, advance: Callable[[str], None]) -> list[Row]:
    """Train by all methods in turn; return a row for each."""
    told: dict[Method, list[dict[str, Any]]] = {each: [] for each in get_args(Method)}
    for _ in range(trainings):
        for method, kept in told.items():
            kept += train(job, method)
            advance(f"{job.parties} parties, {method}")
    return [_row(job, method, kept, trainings) for method, kept in told.items()]


def _row(job: Job, method: Method, told: Sequence[dict[str, Any]], trainings: int) -> Row:
    rounds = [each for party in told for each in party["rounds"]]
    alone = job.alone(method)
    weights = {party["weights"] for party in told}
    same = all(
        len({party["weights"] for party in told[at : at + job.parties]}) == 1
        for at in range(0, len(told), job.parties)
    )
    return Row(
        parties=job.parties,
        params=sum(each.numel() for each in job.build().parameters()),
        method=method,
        round_seconds=median(each["round"] for each in rounds),
        exchange_seconds=median(each["exchange"] for each in rounds),
        upload_bytes=int(median(each["upload"] for each in rounds)),
        equal_bits=same if alone is None else weights == {alone},
        rounds=job.rounds,
        trainings=trainings,
        dataset=job.dataset.name + (" (surrogate)" if job.dataset.is_surrogate else ""),
        train_rows=sum(len(each.train) for each in job.held),
    )


def table(rows: Sequence[Row]) -> Table:
    """Return the rows for a terminal and for the docs."""
    head = ("parties", "parameters", "method", "round ms", "exchange ms", "upload KB", "equal bits")
    cells = [
        (
            str(row.parties),
            f"{row.params:,}",
            row.method,
            f"{row.round_seconds * 1e3:.1f}",
            f"{row.exchange_seconds * 1e3:.1f}",
            f"{row.upload_bytes / 1e3:.1f}",
            "yes" if row.equal_bits else "no",
        )
        for row in rows
    ]
    return Table(head, cells)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parties", default="2,5", help="comma-separated")
    parser.add_argument(
        "--widths",
        default="0,6667",
        help="first layer of each model, comma-separated; 0: the paper's network",
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--trainings", type=int, default=2, help="of each method, in turn")
    parser.add_argument("--data", help="the dress study's file; its surrogate without it")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    jobs = [
        Job(parties, width, asked.rounds, asked.data)
        for width in map(int, asked.widths.split(","))
        for parties in map(int, asked.parties.split(","))
    ]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    rows: list[Row] = []
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        total = len(jobs) * asked.trainings * len(get_args(Method))
        task = bar.add_task("starting", total=total)
        for job in jobs:
            rows += measure(
                job, asked.trainings, lambda what: bar.update(task, advance=1, description=what)
            )
    print_table(table(rows))
    if asked.json:
        write(asked.json, rows, PACKAGES)


if __name__ == "__main__":
    main()
