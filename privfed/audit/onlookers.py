"""One training step, and what each onlooker learns of the rows in it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from privfed import secagg
from privfed.audit.inversion import (
    FeatureReader,
    likeliest_row,
    read_as_plaintext,
    recovered,
    row_by_svd,
    rows_by_unit,
)
from privfed.data import Dataset
from privfed.dp import PrivacyPlan
from privfed.dp.randomness import NoiseSource
from privfed.dp.shares import NoiseShares
from privfed.errors import PrecisionWarning
from privfed.training import (
    AdamTrainer,
    Arrays,
    GradientClipper,
    LocalNoise,
    SecureAveraging,
    get_arrays,
    initial_model,
    log_probabilities,
    paper_network,
    set_arrays,
    share_parameters,
)
from privfed.training.averaging import subtract

Floats = NDArray[np.float64]

_RATE = 1.0  # of the one step of SGD that is attacked
_BITS = 24  # of a value in the encrypted and the control upload
_PLAIN_NAMES = 12  # columns of the tables of rows


Onlooker = Literal[
    "plaintext",
    "plaintext-epoch",
    "control",
    "encrypted",
    "second-party",
    "little-noise",
    "dp-sgd",
    "second-party-shares",
    "sum-of-shares",
]
"""Who sees what; "control" is the server of "encrypted" without the encryption."""


@dataclass(frozen=True)
class Attack:
    """One onlooker's success.

    Attributes:
        kind: Which onlooker it is, by what it sees.
        onlooker: The same in words, for people.
        encoding: Encoding of the features.
        batch_size: Rows in the step.
        rows: Rows attacked in all.
        recovered: Rows of which a plausible candidate had every attribute.
        wrong: Plausible candidates that are no row of the batch.
        attributes_right: Share of attributes right in the one best guess at each row; None where
            rows share a batch.
        attributes_blind: The same for a guess of each column's commonest value, which sees nothing.
        identified: Lone rows that were picked out of all the data set's rows as the likeliest;
            None where rows share a batch. By chance it is about one in `candidates`.
        candidates: Distinct rows to pick from.
        statement: The ε that bounds this onlooker, with all its terms; None where nothing does.
    """

    kind: Onlooker
    onlooker: str
    encoding: str
    batch_size: int
    rows: int
    recovered: int
    wrong: int
    attributes_right: float | None
    attributes_blind: float
    identified: int | None
    candidates: int
    statement: str | None = None


Said = tuple[str, tuple[str, ...], tuple[bool, ...]]


@dataclass(frozen=True)
class Beside:
    """Recovered rows beside the true ones, in words.

    Attributes:
        columns: Names of the attributes shown.
        rows: For each true row who guesses ("true" first), what, and which of it is right.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Said, ...], ...] = field(repr=False)


class Step:
    """A step of the paper's network on chosen rows of a data set, and its first layer's gradient.

    Args:
        dataset: Whose rows are attacked.
        seed: Seed of the initial weights and of the choice of rows; protects nobody.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset, self.reader = dataset, FeatureReader(dataset.encoder)
        width, classes = dataset.features.shape[1], len(dataset.class_names)
        self.model = initial_model(lambda: paper_network(width, classes), seed).eval()
        self.features = torch.from_numpy(dataset.features.copy())
        self.labels = torch.from_numpy(dataset.labels.copy())  # a packaged set is read-only
        self.order = np.random.default_rng(seed).permutation(len(dataset))
        self.true = dataset.features.astype(np.float64)
        self._start = get_arrays(self.model)

    def update(self, rows: NDArray[np.intp]) -> Arrays:
        """Return the plaintext update of one SGD step on these rows: local minus global."""
        optimizer = torch.optim.SGD(self.model.parameters(), lr=_RATE)
        optimizer.zero_grad()
        scores = log_probabilities(self.model(self.features[rows]))
        torch.autograd.backward(functional.nll_loss(scores, self.labels[rows]))
        optimizer.step()
        return self._back()

    def epoch(self, rows: NDArray[np.intp]) -> Arrays:
        """Return the plaintext update of one local epoch of Adam on these rows."""
        AdamTrainer(self.features[rows], self.labels[rows]).train_epoch(self.model, 0)
        self.model.eval()
        return self._back()

    def _back(self) -> Arrays:
        update = subtract(get_arrays(self.model), self._start)
        set_arrays(self.model, self._start)
        return update

    def first_layer(self, flat: Floats) -> tuple[Floats, Floats]:
        """Cut the first layer's weights (units, d) and biases (units,) out of a whole update."""
        units, width = next(self.model.parameters()).shape
        return flat[: units * width].reshape(units, width), flat[units * width :][:units]

    def blind(self) -> float:
        """Return the share of attributes that taking each column's commonest value gets right."""
        read = self.reader.read(self.true)
        return float(self.reader.right(self._commonest(read), read).mean())

    def _commonest(self, read: Floats) -> Floats:
        commonest = []
        for column in read.T:
            values, counts = np.unique(column, return_counts=True)
            commonest.append(values[counts.argmax()])
        return np.array(commonest)

    def guess(self, flat: Floats) -> tuple[Floats, Floats]:
        """Return all candidates (c, d) and the one best guess (d,) at a lone row."""
        weight, bias = self.first_layer(flat)
        best = row_by_svd(weight, bias)
        return np.vstack([rows_by_unit(weight, bias), best]), best

    def attack(
        self,
        kind: Onlooker,
        onlooker: str,
        batches: Sequence[NDArray[np.intp]],
        see: Callable[[NDArray[np.intp]], Floats],
        statement: str | None = None,
    ) -> Attack:
        """Attack what `see` gives for every batch: a whole update or gradient, (d,)."""
        hits = wrong = identified = 0
        attributes = []
        for batch in batches:
            seen = see(batch)
            candidates, best = self.guess(seen)
            found, spurious = recovered(candidates, self.true[batch], self.reader)
            hits, wrong = hits + int(found.sum()), wrong + spurious
            if len(batch) == 1:
                read = self.reader.read(np.nan_to_num(best)[None])
                true = self.reader.read(self.true[batch])
                attributes.append(float(self.reader.right(read, true).mean()))
                likeliest = likeliest_row(*self.first_layer(seen), self.true)
                identified += np.array_equal(self.true[likeliest], self.true[batch[0]])
        return Attack(
            kind=kind,
            onlooker=onlooker,
            encoding=self.dataset.encoder.encoding,
            batch_size=len(batches[0]),
            rows=sum(map(len, batches)),
            recovered=hits,
            wrong=wrong,
            attributes_right=float(np.mean(attributes)) if attributes else None,
            attributes_blind=self.blind(),
            identified=identified if attributes else None,
            candidates=len(np.unique(self.true, axis=0)),
            statement=statement,
        )

    def beside(
        self, rows: Sequence[int], views: Sequence[tuple[str, Callable[[NDArray[np.intp]], Floats]]]
    ) -> Beside:
        """Put each onlooker's one best guess at lone rows beside the row."""
        shown = []
        for row in rows:
            batch = np.array([row])
            said = [self._say("true", self.true[row], row)]
            for name, see in views:
                said.append(self._say(name, np.nan_to_num(self.guess(see(batch))[1]), row))
            shown.append(tuple(said))
        return Beside(self.reader.names[:_PLAIN_NAMES], tuple(shown))

    def _say(self, who: str, guessed: Floats, row: int) -> Said:
        read, true = self.reader.read(np.stack([guessed, self.true[row]]))
        right = self.reader.right(read, true)[:_PLAIN_NAMES]
        return who, tuple(self.reader.words(read)[:_PLAIN_NAMES]), tuple(map(bool, right))


def flat(update: Mapping[str, NDArray[Any]]) -> Floats:
    """Lay an update out as one vector."""
    return np.concatenate([array.ravel() for array in update.values()]).astype(np.float64)


class NoisyStep:
    """The step as DP-SGD takes it: clipped, and with a plan's local noise.

    Args:
        step: The step.
        plan: A plan of one party with noise="local".
        randomness: Source of the noise.
    """

    def __init__(self, step: Step, plan: PrivacyPlan, randomness: NoiseSource) -> None:
        self._clipper = GradientClipper(step.model, step.features, step.labels, plan.l2_clip_norm)
        self._sums = LocalNoise(plan, [randomness], simulation=randomness.simulation)
        self._rows = len(step.labels)

    def __call__(self, batch: NDArray[np.intp]) -> Floats:
        """Return what is released of a step on these rows."""
        chosen = np.zeros(self._rows, np.bool_)
        chosen[batch] = True
        return self._sums.release(1, [self._clipper.clipped_sum(chosen)]).total


@contextmanager
def _wide_ranges() -> Iterator[None]:
    """Say nothing of a range that any update fits: at so many bits the smallest ones are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrecisionWarning)
        yield


class Upload:
    """The step's update as the server of a job of two gets it, read as if it were plaintext.

    Args:
        step: The step.
        scheme: "packed", or "reference" for the control in the clear.
    """

    def __init__(self, step: Step, scheme: str) -> None:
        self._step, self._round = step, 0
        self._job = secagg.simulate(
            2,
            lambda roster: secagg.Parameters(
                job="privfed audit",
                layout=secagg.Layout.of(get_arrays(step.model)),
                clip_range=64.0,
                bits=_BITS,
                max_clients=2,
                max_weight=None,
                scheme=scheme,
                adversary="honest-server" if scheme == "reference" else None,
                roster=roster,
                out_of_range="clip",
            ),
        )

    def __call__(self, batch: NDArray[np.intp]) -> Floats:
        """Return what the server reads of a step on these rows."""
        return self.read(self._step.update(batch))

    def read(self, update: Arrays) -> Floats:
        """Send one update, and return what the server reads of it."""
        self._round += 1
        with _wide_ranges():
            upload = self._job.encryptors[0].encrypt(update, round_id=self._round)
        params = self._job.params
        arrays = params.layout.unflatten(read_as_plaintext(params, upload))
        return flat({name: arrays[name] for name in update})


class SecondParty:
    """One of two parties, which subtracts its own part of an encrypted mean without noise.

    Args:
        step: The other party's step; this one's update is zero or anything else that it knows.
    """

    def __init__(self, step: Step) -> None:
        self._step, self._round = step, 0
        self._averaging = SecureAveraging(
            get_arrays(step.model),
            2,
            weights=None,
            max_weight=None,
            clip_range=64.0,
            scheme="packed",
            bits=_BITS,
            out_of_range="clip",
            job="privfed audit",
        )

    def __call__(self, batch: NDArray[np.intp]) -> Floats:
        """Return the other's update as this party computes it."""
        own, other = self._step.update(self._step.order[-8:]), self._step.update(batch)
        self._round += 1
        with _wide_ranges():
            mean = self._averaging.average(self._round, [own, other]).mean
        return 2 * flat({name: mean[name] for name in own}) - flat(own)


class SecondPartyUnderShares:
    """One of two parties under noise shares, which subtracts its own sum and its own share.

    Args:
        step: The other party's step.
        plan: A plan of two parties with noise="shares".
        randomness: One source per party.
        insider: Whether it subtracts its own part; an outsider sees the sum.
    """

    def __init__(
        self,
        step: Step,
        plan: PrivacyPlan,
        randomness: Sequence[NoiseSource],
        *,
        insider: bool = True,
    ) -> None:
        self._insider, self._randomness, self._rows = insider, randomness, len(step.labels)
        self._clipper = GradientClipper(step.model, step.features, step.labels, plan.l2_clip_norm)
        self._shares = NoiseShares(plan, simulation=randomness[0].simulation)
        self._job = secagg.simulate(2, lambda roster: share_parameters(plan, roster))
        self._round = 0

    def __call__(self, batch: NDArray[np.intp]) -> Floats:
        """Return what it knows of the other's clipped sum after one round."""
        self._round += 1
        empty, chosen = np.zeros((2, self._rows), np.bool_)
        chosen[batch] = True
        drawn = []
        for mask, source in zip((empty, chosen), self._randomness, strict=True):
            clipped = self._clipper.clipped_sum(mask)
            drawn.append(self._shares.draw(clipped.flat, clipped.l2_sensitivity, source))
        sent = [{"sum": integers} for integers in drawn]
        sums = self._job.add_integers(sent, round_id=self._round)[0].sums["sum"]
        return self._shares.decode(sums - drawn[0] if self._insider else sums)


def network_dimension(model: nn.Module) -> int:
    """Count the values of a model's update."""
    return sum(parameter.numel() for parameter in model.parameters())
