"""Trainings of a small model in one process: threads, and a meeting that they call directly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from privfed.data import Dataset, NumericColumn, Schema
from privfed.data.encoding import Encoder
from privfed.dp import Noise, PrivacyBudget
from privfed.partner import Plan, PlanParty
from privfed.partner.channel import Channel
from privfed.partner.company import Company, round_work
from privfed.partner.messages import Answer, Join, Post, RoundUpdate, Stop, decode, encode
from privfed.partner.plan import make_plan, privacy_settings
from privfed.partner.privacy import training_privacy
from privfed.partner.progress import Folder
from privfed.partner.server import Meeting
from privfed.partner.trainer import Trainer
from privfed.partner.work import LocalEpochs
from privfed.secagg import Keyring
from privfed.training import Arrays, FloatAveraging, get_arrays, initial_model, set_arrays
from privfed.training.averaging import add, subtract
from privfed.training.federated import batch_seed

ROUNDS = 5
ENCODER = Encoder(Schema((NumericColumn("x", 0, 1), NumericColumn("z", 0, 1)), label_column="y"))
KINDS: dict[str, type[Any]] = {"Join": Join, "Post": Post, "Stop": Stop, "Upload": RoundUpdate}


_ONE = threading.Lock()


def build() -> nn.Module:
    return nn.Linear(2, 2)


def start_model() -> nn.Module:
    """The plan's initial model; torch's generator is one for all threads."""
    with _ONE:
        return initial_model(build, 3)


class Pull:
    """A party's training without torch's global generator: with momentum, towards its own mark."""

    def __init__(self, place: int) -> None:
        self.place, self.trained = place, 0
        self._speed: Arrays = {}

    def train_epoch(self, model: nn.Module, seed: int) -> None:
        self.trained += 1
        mark = np.random.default_rng([seed, self.place]).uniform(-1, 1)
        with torch.no_grad():
            for name, each in model.named_parameters():
                speed = self._speed.get(name, np.zeros(each.shape, np.float32))
                speed = (0.5 * speed + 0.1 * (mark - each.numpy())).astype(np.float32)
                self._speed[name] = speed
                each.add_(torch.from_numpy(speed))

    def moments(self) -> Arrays:
        return {name: each.copy() for name, each in self._speed.items()}

    def resume(self, model: nn.Module, moments: Arrays) -> None:
        self._speed = {name: each.copy() for name, each in moments.items()}


@dataclass
class Part:
    """What a party brings, without an overlap to look for."""

    work: Any
    weight: int | None

    def __call__(self, exchange: Any, begun: bool) -> tuple[Any, int | None]:
        return self.work, self.weight


def work_of(trainer: Trainer) -> Any:
    assert isinstance(trainer.settle, Part)
    return trainer.settle.work


class Pulls(LocalEpochs):
    """The same, as a round's work."""

    def __init__(self, plan: Plan, place: int) -> None:
        self.pull = Pull(place)
        super().__init__(self.pull, plan.seed, place)


@cache
def rings(folder: Path, parties: int) -> tuple[Keyring, ...]:
    return tuple(
        Keyring.create(folder / f"party-{place}", None, unlocked=True) for place in range(parties)
    )


def plan_of(folder: Path, parties: int, **changes: Any) -> Plan:
    members = [
        PlanParty(name=f"party-{place}", certificate=ring.certificate.decode())
        for place, ring in enumerate(rings(folder, parties))
    ]
    settings: dict[str, Any] = {
        "job": "test", "model": "dress", "encoder": ENCODER.to_json(), "labels": ("0", "1"),
        "classes": ("no", "yes"), "rounds": ROUNDS, "seed": 3, "most_rows": 4, "weighted": True,
        "clip_range": 2.0, "address": "localhost:1",
        "adversary": "lying-server" if parties == 2 else "lying-server+1",
    }  # fmt: skip
    server = members[0]
    if changes.get("privacy", {}).get("noise") == "central":  # no party is trusted with sums
        (ring,) = rings(folder / "server", 1)
        server = PlanParty(name="server", certificate=ring.certificate.decode())
    start = get_arrays(start_model())
    return make_plan(members, server, start=start, **settings | changes)


def expected(parties: int, rounds: int = ROUNDS) -> Arrays:
    """What plain averaging with the same weights gives, but for the encoding's grid."""
    works = [Pull(place) for place in range(parties)]
    averaging = FloatAveraging([place + 1.0 for place in range(parties)])
    model = start_model()
    now = get_arrays(model)
    for number in range(1, rounds + 1):
        updates = []
        for place, work in enumerate(works):
            set_arrays(model, now)
            work.train_epoch(model, batch_seed(3, number, place))
            updates.append(subtract(get_arrays(model), now))
        now = add(now, averaging.average(number, updates).mean)
    return now


Call = Callable[[str, bytes], bytes]


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Run acts at the same time; return what each returned or raised."""
    results: list[Any] = [None] * len(acts)

    def kept(place: int) -> None:
        try:
            results[place] = acts[place]()
        except BaseException as error:
            results[place] = error

    threads = [threading.Thread(target=kept, args=(place,)) for place in range(len(acts))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return results


@dataclass
class Training:
    """All parties of one training, each in a thread when it runs."""

    folder: Path
    parties: int
    plan: Plan
    meeting: Meeting = field(init=False)
    told: list[str] = field(default_factory=list)
    budgets: dict[int, PrivacyBudget] = field(default_factory=dict)
    homes: tuple[str, ...] | None = None  # of the parties' folders; None: by their places

    def __post_init__(self) -> None:
        self.params = self.plan.parameters()
        self.meeting = Meeting(self.plan, self.params, self.told.append, 0.1)

    def call(self, place: int) -> Call:
        def call(method: str, request: bytes) -> bytes:
            act: Any = getattr(self.meeting, method.lower())
            answer: Answer = act(place, decode(request, KINDS[method]))
            return encode(answer)

        return call

    def trainer(self, place: int, **changes: Any) -> Trainer:
        home = self.folder / (self.homes[place] if self.homes else f"party-{place}")
        if self.plan.private is not None:
            changes = self.private(place, home) | changes
        given: dict[str, Any] = {
            "plan": self.plan, "params": self.params, "keys": home, "passphrase": None,
            "folder": Folder(home / "training", self.plan.fingerprint),
            "model": start_model(), "settle": Part(Pulls(self.plan, place), place + 1),
        }  # fmt: skip
        return Trainer(**given | changes)

    def rows(self, place: int) -> Dataset:
        """As many of a party's own as the plan's privacy counts."""
        private = self.plan.private
        assert private is not None
        random = np.random.default_rng([3, place])
        features = random.uniform(0, 1, (private.rows[place], 2)).astype(np.float32)
        labels = (features[:, 0] > features[:, 1]).astype(np.int64)
        return Dataset(
            "table", "test", "test", True, "0" * 64, None, features, labels, ("no", "yes"),
            ENCODER, None,
        )  # fmt: skip

    def private(self, place: int, home: Path) -> dict[str, Any]:
        """What a party of a private training brings; another process opens its budget anew."""
        model = start_model()
        company = Company(self.plan, self.params, home, None)
        if place in self.budgets:
            self.budgets.pop(place).close()
        budget = company.open_budget().__enter__()
        assert isinstance(budget, PrivacyBudget)
        self.budgets[place] = budget
        work = round_work(self.plan, place, self.rows(place), model, budget)
        return {"folder": company.folder, "model": model, "settle": Part(work, None)}

    def channel(self, place: int, call: Call | None = None, wait_seconds: float = 30) -> Channel:
        own = call or self.call(place)
        return Channel(own, self.plan, wait_seconds=wait_seconds, tell=self.told.append)

    def run(self, acts: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run one act a party at once; return what each returned or raised."""
        return at_once(*acts)

    def all_run(self, trainers: Sequence[Trainer] | None = None) -> list[Any]:
        every = trainers or [self.trainer(place) for place in range(self.parties)]
        acts = [
            lambda each=each, place=place: each.run(self.channel(place))
            for place, each in enumerate(every)
        ]
        return self.run(acts)


def training(folder: Path, parties: int = 2, **changes: Any) -> Training:
    return Training(folder, parties, plan_of(folder, parties, **changes))


def private_training(
    folder: Path, noise: Noise, parties: int = 2, *, epsilon: float = 3.0, **changes: Any
) -> Training:
    """A training with noise, whose rounds are few and whose spare rounds are many."""
    settings: dict[str, Any] = {
        "noise": noise, "rows": (4,) * parties, "rounds": ROUNDS, "spare_rounds": 10,
        "expected_batch_size": 2, "l2_clip_norm": 1.0, "per_id": None, "dimension": 6,
    }  # fmt: skip
    settings |= changes
    private = training_privacy(epsilon, 1e-3, **settings)
    adversary = {
        "central": "honest-server", "local": "lying-server" if parties == 2 else "lying-server+1",
        "shares": "lying-server" if parties == 2 else "lying-server+1",
    }[noise]  # fmt: skip
    return training(
        folder, parties, privacy=privacy_settings(private), weighted=False, adversary=adversary,
        most_rows=max(settings["rows"]),
    )  # fmt: skip
