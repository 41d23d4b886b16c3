"""Jobs of Flower in one process: applications that add what they hold to a model, on a grid."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.serverapp.strategy import FedAvg, Result
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.integrations import simulated_keys
from privfed.integrations.flower import EncryptedMod, EncryptedStrategy, trained_model
from privfed.integrations.flower.records import arrays_of, message_in, record_of
from privfed.integrations.messages import Assignment, Greet, read_ask
from privfed.secagg import Parameters
from tests.integrations.grid import OneProcessGrid

Arrays = dict[str, NDArray[Any]]

_MADE = tempfile.TemporaryDirectory(prefix="privfed-test-keys-")
_KEYS: dict[str, tuple[Path, Parameters]] = {}  # by what they are for: making them takes a while

START: Arrays = {
    "weight": np.array([[0.5, -0.25, 0.125], [1.0, -1.0, 0.75]], np.float32),
    "bias": np.array([0.25, -0.5], np.float32),
}


class Site:
    """One client: what training adds to a model, how many rows it has, and what it saw.

    Attributes:
        step: What is added in training.
        rows: How many rows it says it has.
        before: Called as a message reaches the application, with what it is for.
        trained: The models that it was given to train, in their order.
        evaluated: Those that it was given to evaluate.
        sent: What it answered to the last training.
    """

    def __init__(self, place: int, start: Mapping[str, NDArray[Any]]) -> None:
        self.rows = 3 + place
        source = np.random.default_rng(place)
        self.step = {
            name: (source.normal(size=each.shape) / 4).astype(each.dtype)
            for name, each in start.items()
            if each.dtype.kind == "f"
        }
        self.before: Callable[[str], None] = lambda purpose: None
        self.trained: list[Arrays] = []
        self.evaluated: list[Arrays] = []
        self.sent: Arrays = {}

    def train(self, message: Message, context: Context) -> Message:
        """Add the step."""
        self.before("train")
        ((name, record),) = message.content.array_records.items()
        model = arrays_of(record)
        self.trained.append(model)
        self.sent = {
            name: (each + self.step[name]).astype(each.dtype)
            if name in self.step
            else (each + 1).astype(each.dtype)
            for name, each in model.items()
        }
        metrics = MetricRecord({"num-examples": self.rows, "loss": 0.73 + self.rows})
        content = RecordDict({name: record_of(self.sent), "metrics": metrics})
        return Message(content, reply_to=message)

    def evaluate(self, message: Message, context: Context) -> Message:
        """Look at the model."""
        self.before("evaluate")
        (record,) = message.content.array_records.values()
        self.evaluated.append(arrays_of(record))
        metrics = MetricRecord({"num-examples": self.rows, "accuracy": 0.5})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    def app(self, mods: Sequence[Any]) -> ClientApp:
        """Return the application, with its mods."""
        app = ClientApp(mods=list(mods))
        app.train()(self.train)
        app.evaluate()(self.evaluate)
        return app


class Job:
    """Parties with keys, each at a node of a grid in this process.

    Args:
        folder: Where keyrings are, or are made.
        parties: How many.
        start: The initial model.
        mods: A ClientApp's.
        node: Further settings of each node.
        keys: Settings of the parameters.
    """

    def __init__(
        self,
        folder: Path,
        parties: int,
        *,
        start: Arrays = START,
        mods: Sequence[Any] | None = None,
        node: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> None:
        self.folder, self.start = folder, start
        if "plan" not in keys:
            keys = {"arrays": start, "parties": parties, "max_weight": 16} | keys
        self.params = keys_in(folder, **keys)
        self.sites = [Site(place, start) for place in range(parties)]
        self.grid = OneProcessGrid(
            [site.app([EncryptedMod()] if mods is None else mods) for site in self.sites],
            [
                {"privfed-keys": str(folder / str(place)), **(node or {})}
                for place in range(parties)
            ],
        )

    def run(
        self,
        rounds: int = 1,
        *,
        start: ArrayRecord | None = None,
        inner: FedAvg | None = None,
        config: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Result:
        """Run some rounds, in a run of their own."""
        self.grid.new_run(self.grid.run_id + 1, config)
        settings = {"patience_seconds": 0.0} | settings
        strategy = EncryptedStrategy(inner or quiet_average(), **settings)
        return strategy.start(self.grid, start or record_of(self.start), num_rounds=rounds)

    def model(self, place: int = 0) -> Arrays:
        """Return the model that a party has."""
        return trained_model(self.folder / str(place))

    def models(self, but: Sequence[int] = ()) -> Arrays:
        """Return the model of all parties but some, after a look that they have the same."""
        places = [place for place in range(len(self.sites)) if place not in but]
        first = self.model(places[0])
        for place in places[1:]:
            assert same_bits(first, self.model(place))
        return first

    def mean(self, places: Sequence[int]) -> Arrays:
        """Return the plain mean of what some clients sent last, weighted by their rows."""
        rows = np.array([self.sites[place].rows for place in places], np.float64)
        return {
            name: np.tensordot(
                rows / rows.sum(),
                np.stack([self.sites[place].sent[name].astype(np.float64) for place in places]),
                1,
            )
            for name in self.start
            if self.start[name].dtype.kind == "f"
        }


def keys_in(folder: Path, **settings: Any) -> Parameters:
    """Put a copy of keyrings into a folder: all jobs of one kind have the same keys."""
    kind = repr(settings)
    if kind not in _KEYS:
        made = Path(_MADE.name) / str(len(_KEYS))
        _KEYS[kind] = made, simulated_keys(made, **settings)
    made, params = _KEYS[kind]
    if not folder.exists():
        shutil.copytree(made, folder)
    return params


def quiet_average(**settings: Any) -> FedAvg:
    """Return FedAvg that waits for nobody."""
    return FedAvg(**({"min_available_nodes": 1, "min_train_nodes": 1} | settings))


def same_bits(one: Arrays, other: Arrays) -> bool:
    """Return whether two models are the same, bit for bit."""
    return list(one) == list(other) and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and one[name].tobytes() == other[name].tobytes()
        for name in one
    )


def unharmed(job: Job) -> None:
    """Check that no party has another model than the one it began with, or none."""
    for place in range(len(job.sites)):
        with contextlib.suppress(ConfigError):  # there is none
            assert same_bits(job.model(place), job.start)


def close(job: Job, places: Sequence[int], but: Sequence[int] = ()) -> None:
    """Check that all have the mean of what some sent, up to the error that is promised."""
    got, expected = job.models(but), job.mean(places)
    rows = sum(job.sites[place].rows for place in places)
    bound = len(places) * job.params.step * (job.params.max_weight or 1) / rows / 2
    for name, each in expected.items():
        assert np.abs(got[name] - each).max(initial=0) <= bound + 1e-6


def ask_of(message: Message) -> Greet | Assignment:
    """Return what a message asks."""
    return read_ask(message_in(message.content) or b"")


def read_wire(sent: bytes) -> Message:
    """Return a message as it arrives."""
    return message_from_proto(ProtoMessage.FromString(sent))
