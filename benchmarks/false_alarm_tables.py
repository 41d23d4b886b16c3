"""Tables for benchmarks.false_alarms, with nothing in them or a planted effect; their reports.

A table has as many training and test rows for every party, one row an ID. The models are small, one
hidden layer trained on all rows at once, so that thousands of tables can be learned from: all
parties' in one array. Where labels are numbers they are linear, and each is moved along what it got
wrong to where it is as far off the rule as the mean is: the more rows a model had, the nearer it
would be, also where nothing is to be learned, and no difference of R² would be a false alarm.
Noise of a stated size on the federated model stands for private training;
no ε is claimed of it. How arms are compared, and what is said of it, is the benchmark's own code.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.experiment import Results, Run, party_names
from privfed.experiment.arms import MAJORITY, MEAN, Arm, choose_arms
from privfed.experiment.comparing import Entrant, RowAnswers, compare
from privfed.experiment.measures import MeasureName, measures_for
from privfed.experiment.summary import summarise
from privfed.report import findings

__all__ = ["NULLS", "SEEDS", "TABLES", "VERDICTS", "Report", "Split", "reports"]

NULLS = ("even", "uneven", "values")
SEEDS = (1, 3)  # of three seeds, the first is reported alone as well

_TRAIN, _TEST = 192, 100  # rows a party
_SPLIT = "disjoint"
_FEDERATED = "federated"
_NOISE = {"central-noise": 0.4, "local-noise": 0.6}  # on each weight of the federated model
_HIDDEN, _ROUNDS, _LOCAL_STEPS, _RATE = 32, 12, 5, 2.0

_Floats = NDArray[np.float64]
_Weights = tuple[
    _Floats, _Floats, _Floats
]  # (models, features, hidden), (…, 1, hidden), (…, hidden)

# How each verdict reads, and in the headline of which finding.
VERDICTS: Mapping[str, tuple[str, str]] = {
    "gain": ("gain", r"learning together gains \d"),
    "loss": ("gain", r"learning together costs \d"),
    "own gain": ("own", r" gains? (by|and) | gains?,"),
    "own loss": ("own", r" loses? (by|and) | loses?,"),
    "pooled gain": ("pooled", r"ends \d.* above "),
    "pooled loss": ("pooled", r"ends \d.* short "),
    "unseen gain": ("unseen", r"is better than"),
    "unseen loss": ("unseen", r"is worse than"),
    "cost": ("privacy", r"privacy costs \d"),
    "private gain": ("privacy", r"better than federated"),
}


@dataclass(frozen=True)
class Report:
    """What was said of one table: its verdicts, and the difference behind each of them.

    The difference of a gain or loss is that to the best party, of own rows the least of any party,
    of a cost that to the best private arm.
    """

    seeds: int
    measure: MeasureName
    verdicts: tuple[str, ...]
    differences: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Split:
    """Who trains and tests on which rows: (parties, rows, features) and (parties, rows) each.

    `slopes` is the rule behind labels that are numbers; None where they are classes, 0 and 1.
    """

    train: _Floats
    train_labels: NDArray[Any]
    test: _Floats
    test_labels: NDArray[Any]
    test_ids: NDArray[np.intp]
    slopes: _Floats | None = None


def _dealt(features: _Floats, labels: NDArray[Any], order: NDArray[np.intp]) -> Split:
    """Deal rows out in that order, as many to each party; an ID is a row's number."""
    shape = (-1, _TRAIN + _TEST)
    x, y, ids = features[order].reshape(*shape, features.shape[1]), labels[order], order
    y, ids = y.reshape(shape), ids.reshape(shape)
    return Split(x[:, :_TRAIN], y[:, :_TRAIN], x[:, _TRAIN:], y[:, _TRAIN:], ids[:, _TRAIN:])


def _null(share: float, parties: int, drawn: np.random.Generator) -> list[Split]:
    """Return a table whose labels were drawn without a look at its features, dealt by each seed."""
    rows = parties * (_TRAIN + _TEST)
    features = drawn.normal(size=(rows, 6))
    labels = (drawn.random(rows) < share).astype(np.int64)
    return [_dealt(features, labels, drawn.permutation(rows)) for _ in range(max(SEEDS))]


def _parts(parties: int, drawn: np.random.Generator) -> list[Split]:
    """Make a rule in as many parts as parties; each trains on one part, all are tested on all.

    A part is four places with a label each. Who has which part is the effect, so seeds deal nothing
    anew.

    Returns:
        The same for every seed.
    """
    each = _TRAIN + _TEST
    part = drawn.integers(0, parties, (parties, each))
    part[:, :_TRAIN] = np.arange(parties)[:, None]
    place = 4 * part.ravel() + drawn.integers(0, 4, part.size)
    features = 2 * np.eye(4 * parties)[place] + drawn.normal(0, 0.3, (part.size, 4 * parties))
    return [_dealt(features, place % 2, np.arange(part.size))] * max(SEEDS)


def _rule(turned: float, parties: int, drawn: np.random.Generator) -> list[Split]:
    """Return a rule that the first party's labels show, and the others' with a share turned."""
    rows = parties * (_TRAIN + _TEST)
    features = drawn.normal(size=(rows, 60))
    split = _dealt(features, (features.sum(axis=1) > 0).astype(np.int64), np.arange(rows))
    split.train_labels[1:] ^= drawn.random(split.train_labels[1:].shape) < turned
    return [split] * max(SEEDS)


def _values(parties: int, drawn: np.random.Generator) -> list[Split]:
    """Return numbers that follow a weak rule, with skewed noise beside it, dealt by each seed."""
    rows = parties * (_TRAIN + _TEST)
    features, slopes = drawn.normal(size=(rows, 6)), np.full(6, 0.2)
    labels = features @ slopes + drawn.exponential(size=rows)
    dealt = [_dealt(features, labels, drawn.permutation(rows)) for _ in range(max(SEEDS))]
    return [replace(split, slopes=slopes) for split in dealt]


TABLES: Mapping[str, Callable[[int, np.random.Generator], list[Split]]] = {
    "even": partial(_null, 0.5),
    "uneven": partial(_null, 0.15),
    "parts": _parts,
    "noisy": partial(_rule, 0.0),
    "misled": partial(_rule, 0.75),  # of two parties' labels, all turned ones would cancel out
    "values": _values,
}


def reports(kind: str, parties: int, number: int) -> list[Report]:
    """Train all arms on a table with three seeds, and report on the first alone and on all.

    Args:
        kind: One of `TABLES`.
        parties: How many.
        number: Makes the table; no other has the same rows.

    Returns:
        One report for each of `SEEDS`.
    """
    drawn = np.random.default_rng([sorted(TABLES).index(kind), parties, number])
    names = party_names(parties)
    arms = choose_arms((*names, "overall", _FEDERATED, *_NOISE), names)
    splits = TABLES[kind](parties, drawn)
    answer = _answers if splits[0].slopes is None else _number_answers
    answers = [answer(split, arms, drawn) for split in splits]
    measures = measures_for(np.concatenate([splits[0].train_labels, splits[0].test_labels], axis=1))
    return [_report(arms, measures[:1], answers[:seeds]) for seeds in SEEDS]


def _answers(split: Split, arms: tuple[Arm, ...], drawn: np.random.Generator) -> RowAnswers:
    parties, _, features = split.train.shape
    pooled = split.train.reshape(1, -1, features), split.train_labels.reshape(1, -1)
    start = _start(features, drawn)
    alone = _steps(_repeated(start, parties), split.train, split.train_labels, _ROUNDS)
    models = {
        "overall": _steps(start, *pooled, _ROUNDS),
        _FEDERATED: (federated := _federated(start, split)),
        **{name: _noisy(federated, noise, drawn) for name, noise in _NOISE.items()},
    }
    test = split.test.reshape(1, -1, features)
    commonest = int(2 * split.train_labels.sum() > split.train_labels.size)
    outputs = {Entrant(MAJORITY): np.tile(np.eye(2)[commonest], (test.shape[1], 1))}
    for arm in arms:
        if arm.party is None:
            weights = models[arm.name]
        else:
            weights = (alone[0][[arm.party]], alone[1][[arm.party]], alone[2][[arm.party]])
        scores = _forward(weights, test)[1][0]
        outputs[Entrant(arm.name, 1.0 if arm.private else None)] = np.stack([-scores, scores], 1)
    return _row_answers(split, outputs)


def _number_answers(split: Split, arms: tuple[Arm, ...], drawn: np.random.Generator) -> RowAnswers:
    """Return the answers of linear models, each as far off the rule as the mean is."""
    slopes = np.zeros(split.train.shape[2]) if split.slopes is None else split.slopes
    centred = split.train_labels - split.train_labels.mean()
    alone = [_least_squares(*own) for own in zip(split.train, centred, strict=True)]
    pooled = _least_squares(split.train.reshape(-1, len(slopes)), centred.ravel())
    federated: _Floats = np.mean(alone, axis=0)
    models: dict[str, _Floats] = {"overall": pooled, _FEDERATED: federated} | {
        name: federated + drawn.normal(0, noise, len(slopes)) for name, noise in _NOISE.items()
    }
    mean, test = float(split.train_labels.mean()), split.test.reshape(-1, len(slopes))
    outputs: dict[Entrant, NDArray[Any]] = {Entrant(MEAN): np.full(len(test), mean)}
    for arm in arms:
        wrong = (models[arm.name] if arm.party is None else alone[arm.party]) - slopes
        moved = slopes + wrong * float(np.linalg.norm(slopes) / np.linalg.norm(wrong))
        said: _Floats = mean + test @ moved
        outputs[Entrant(arm.name, 1.0 if arm.private else None)] = said
    return _row_answers(split, outputs)


def _least_squares(features: _Floats, labels: _Floats) -> _Floats:
    found: _Floats = np.asarray(np.linalg.lstsq(features, labels, rcond=None)[0], np.float64)
    return found


def _row_answers(split: Split, outputs: Mapping[Entrant, NDArray[Any]]) -> RowAnswers:
    parties, rows = split.test_ids.shape
    return RowAnswers(
        truth=split.test_labels.ravel(),
        units=split.test_ids.ravel(),
        party=np.repeat(np.arange(parties), rows),
        unseen=np.ones(parties * rows, dtype=np.bool_),
        outputs=outputs,
    )


def _start(features: int, drawn: np.random.Generator) -> _Weights:
    return (
        drawn.normal(0, 1 / np.sqrt(features), (1, features, _HIDDEN)),
        np.zeros((1, 1, _HIDDEN)),
        drawn.normal(0, 1 / np.sqrt(_HIDDEN), (1, _HIDDEN, 1)),
    )


def _repeated(weights: _Weights, models: int) -> _Weights:
    first, bias, second = (np.repeat(each, models, axis=0) for each in weights)
    return first, bias, second


def _forward(weights: _Weights, x: _Floats) -> tuple[_Floats, _Floats]:
    hidden = np.maximum(x @ weights[0] + weights[1], 0)
    return hidden, (hidden @ weights[2])[..., 0]


def _steps(weights: _Weights, x: _Floats, labels: NDArray[np.int64], rounds: int = 1) -> _Weights:
    """Train each model on its own rows by plain gradient steps on the logistic loss."""
    first, bias, second = weights
    for _ in range(rounds * _LOCAL_STEPS):
        hidden, scores = _forward((first, bias, second), x)
        error = (1 / (1 + np.exp(-scores)) - labels)[..., None] / labels.shape[1]
        back = (error @ second.swapaxes(1, 2)) * (hidden > 0)
        second = second - _RATE * (hidden.swapaxes(1, 2) @ error)
        first = first - _RATE * (x.swapaxes(1, 2) @ back)
        bias = bias - _RATE * back.sum(axis=1, keepdims=True)
    return first, bias, second


def _federated(weights: _Weights, split: Split) -> _Weights:
    for _ in range(_ROUNDS):
        local = _steps(_repeated(weights, len(split.train)), split.train, split.train_labels)
        first, bias, second = (each.mean(axis=0, keepdims=True) for each in local)
        weights = first, bias, second
    return weights


def _noisy(weights: _Weights, noise: float, drawn: np.random.Generator) -> _Weights:
    first, bias, second = (each + drawn.normal(0, noise, each.shape) for each in weights)
    return first, bias, second


def _report(
    arms: tuple[Arm, ...], measures: tuple[MeasureName, ...], answers: list[RowAnswers]
) -> Report:
    runs = [_run(arm, seed, each) for seed, each in enumerate(answers) for arm in arms]
    comparisons = compare(_SPLIT, arms, measures, answers)
    results = Results({}, list(arms), [], runs, summarise(runs), list(measures), comparisons)
    headlines = {finding.name: finding.headline for finding in findings(results)}
    parties = {arm.name for arm in arms if arm.trains == "party"}
    beside: dict[str, list[float]] = {"all": [], "own": [], "private": []}
    for each in comparisons:
        if each.arm == _FEDERATED and each.beside in parties:
            beside[each.rows].append(each.difference)
        elif each.arm == _FEDERATED and each.beside_epsilon is not None:
            beside["private"].append(each.difference)
    verdicts = tuple(
        verdict
        for verdict, (name, words) in VERDICTS.items()
        if re.search(words, headlines.get(name, ""))
    )
    gained = min(beside["all"])
    differences = {"own gain": min(beside["own"]), "cost": min(beside["private"])}
    return Report(
        len(answers), measures[0], verdicts, {"gain": gained, "loss": gained, **differences}
    )


def _run(arm: Arm, seed: int, answers: RowAnswers) -> Run:
    """Return a run's record; what was not measured here is not a number."""
    epsilon = 1.0 if arm.private else None
    mine = (
        np.ones(len(answers.truth), np.bool_) if arm.party is None else answers.party == arm.party
    )
    unknown, truth = float("nan"), answers.truth[mine]
    said = answers.outputs[Entrant(arm.name, epsilon)][mine]
    if numbers := said.ndim == 1:
        right = usual = np.full(len(truth), unknown)
    else:
        right = said.argmax(axis=1) == truth
        usual = answers.outputs[Entrant(MAJORITY)].argmax(axis=1)[mine] == truth
    return Run(
        arm=arm.name,
        split=_SPLIT,
        seed=seed,
        epsilon=epsilon,
        rounds=_ROUNDS,
        train_rows=_TRAIN,
        test_rows=len(right),
        test_rows_sha256=None,
        train_loss_first=unknown,
        train_loss_last=unknown,
        train_accuracy_first=unknown,
        train_accuracy_last=unknown,
        test_loss_last=unknown,
        test_accuracy=float(right.mean()),
        test_auc=None,
        seen_accuracy=None,
        seen_n=0,
        unseen_accuracy=None if numbers else float(right.mean()),
        unseen_n=len(right),
        unseen_correct=0 if numbers else int(right.sum()),
        unseen_majority_correct=0 if numbers else int(usual.sum()),
        majority_accuracy=float(usual.mean()),
        weights_sha256="",
        upload_bytes_per_round=unknown,
        download_bytes_per_round=unknown,
        encryption_seconds_per_round=unknown,
        wall_seconds=unknown,
        seconds={},
        history={},
        privacy=None,
        model=None,
    )
