"""What a company takes down of its training: round by round, over restarts, and at the end."""

from __future__ import annotations

import itertools
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from privfed.errors import ConfigError, DecodeError
from privfed.partner.history import HISTORY_FILE, SHARE, TrainingHistory
from privfed.partner.plan import privacy_settings
from privfed.partner.privacy import training_privacy
from privfed.partner.results import OverlapCounts, OwnFile, TrainingResults
from privfed.partner.trainer import FinishedRound
from privfed.training import weights_sha256
from tests.partner.trainings import ROUNDS, build, plan_of, training

TRAIN = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), torch.tensor([0, 1, 1, 0])
TEST = torch.tensor([[3.0, 0.0], [-1.0, 0.0], [2.0, 5.0]]), torch.tensor([1, 1, 0])


def by_first_feature() -> nn.Linear:
    """A model that says class 1 where the first feature is above zero."""
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
        model.bias.zero_()
    return model


def ended(number: int, **changes: Any) -> FinishedRound:
    given: dict[str, Any] = {
        "rounds": number, "model": by_first_feature(), "train_seconds": 1.0,
        "exchange_seconds": 0.5, "upload_bytes": 100,
    }  # fmt: skip
    return FinishedRound(**given | changes)


def history(folder: Path, **changes: Any) -> TrainingHistory:
    given: dict[str, Any] = {"plan": plan_of(folder, 2), "train": TRAIN, "test": TEST}
    return TrainingHistory(folder, **given | changes)


def test_a_round_by_hand(tmp_path: Path) -> None:
    kept = history(tmp_path)
    kept.on_round(ended(1))
    [found] = kept.rounds
    assert (found.number, found.train_seconds, found.exchange_seconds) == (1, 1.0, 0.5)
    assert found.upload_bytes == 100
    assert found.train_accuracy == 1.0  # a tie is the first class
    assert found.test_accuracy == 1 / 3
    shares = np.log(1 / (1 + np.exp([[3, -3], [-1, 1], [2, -2]])))
    shares -= np.log(np.exp(shares).sum(axis=1, keepdims=True))
    assert found.test_loss == pytest.approx(-shares[[0, 1, 2], [1, 1, 0]].mean())


def test_the_plans_loss_judges(tmp_path: Path) -> None:
    kept = history(tmp_path, plan=plan_of(tmp_path, 2, loss="softmax"))
    kept.on_round(ended(1))
    with torch.no_grad():
        wanted = float(nn.CrossEntropyLoss()(by_first_feature()(TEST[0]), TEST[1]))
    assert kept.rounds[0].test_loss == pytest.approx(wanted)


def test_all_rounds_are_there_after_a_kill(tmp_path: Path) -> None:
    """Also where it cut a line, and where a round was finished anew."""
    first = history(tmp_path)
    for number in (1, 2, 3):
        first.on_round(ended(number, upload_bytes=number))
    path = tmp_path / HISTORY_FILE
    whole = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(whole[:-5])
    second = history(tmp_path)
    assert second.rounds == first.rounds[:2]
    assert path.read_bytes() == whole[: len(path.read_bytes())]
    for number in (2, 4):  # the last total was lost, and one round later its end
        second.on_round(ended(number, upload_bytes=10 * number))
    assert [each.upload_bytes for each in history(tmp_path).rounds] == [1, 20, 40]


def test_an_absent_test_table_and_what_is_no_number(tmp_path: Path) -> None:
    model = by_first_feature()
    with torch.no_grad():
        model.weight.fill_(torch.nan)
    kept = history(tmp_path, test=None)
    kept.on_round(ended(1, model=model))
    [found] = history(tmp_path, test=None).rounds
    assert (found.train_loss, found.test_loss, found.test_accuracy) == (None, None, None)
    assert found.train_accuracy is not None


@pytest.mark.parametrize("evaluation_seconds", [0.01, 0.2, 3.0])
def test_evaluating_takes_little_of_trainings_time(
    tmp_path: Path, evaluation_seconds: float
) -> None:
    """But for the first round of a process and the last of the plan."""
    rounds = 200
    ticks: Iterator[float] = itertools.count(0.0, evaluation_seconds)
    plan = plan_of(tmp_path, 2, rounds=rounds)
    kept = history(tmp_path, plan=plan, clock=lambda: next(ticks))
    for number in range(1, rounds + 1):
        kept.on_round(ended(number))
    evaluated = [each.number for each in kept.rounds if each.train_accuracy is not None]
    assert {1, rounds} <= set(evaluated)
    between = len(evaluated) - 2
    assert between * evaluation_seconds <= SHARE * rounds
    assert between >= min(rounds - 2, SHARE * rounds / evaluation_seconds - 3)


def test_evaluating_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    first, second = by_first_feature().eval(), nn.Dropout(0.5)
    model = nn.Sequential(first, second)
    model.training = second.training = True
    kept = history(tmp_path)
    kept.on_round(ended(1, model=model))
    assert (model.training, first.training, second.training) == (True, False, True)
    assert kept.rounds[0].train_accuracy == 1.0  # without dropout


@pytest.mark.parametrize(
    "content", [b"{}\n", b"\xff\n", b'{"format":"privfed training history 2","plan":"00"}\n']
)
def test_a_damaged_history_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / HISTORY_FILE).write_bytes(content)
    with pytest.raises(DecodeError, match=r"history\.jsonl is damaged .* remove it"):
        history(tmp_path)


def test_a_history_of_another_plan_or_a_broken_line_is_refused(tmp_path: Path) -> None:
    history(tmp_path).on_round(ended(1))
    with pytest.raises(DecodeError, match="of another plan"):
        history(tmp_path, plan=plan_of(tmp_path, 2, seed=9))
    path = tmp_path / HISTORY_FILE
    path.write_bytes(path.read_bytes() + b'{"number":-1}\n')
    with pytest.raises(DecodeError, match="damaged"):
        history(tmp_path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"kept\n")
    kept = history(tmp_path)
    (tmp_path / HISTORY_FILE).unlink()
    (tmp_path / HISTORY_FILE).symlink_to("other")
    with pytest.raises(ConfigError, match="cannot write"):
        kept.on_round(ended(1))
    assert (tmp_path / "other").read_bytes() == b"kept\n"


def test_what_a_company_keeps_at_the_end(tmp_path: Path) -> None:
    plan, model = plan_of(tmp_path, 2, overlap="none"), by_first_feature()
    kept = history(tmp_path, plan=plan)
    for number in range(1, plan.rounds + 1):
        kept.on_round(ended(number))
    files = [OwnFile("training rows", "rows.csv", "0" * 64)]
    results = kept.finish(
        model, place=1, files=files, overlap=OverlapCounts((2, 4), 2),
        seen=np.array([True, False, True]), unseen=np.array([False, True, False]),
    )  # fmt: skip
    assert (results.name, results.others, results.server_party) == ("party-1", ("party-0",), 0)
    assert results.plan == plan.fingerprint.hex()
    assert results.method == "encrypted averages"
    assert (results.privacy, results.statement) == (None, ())
    assert (results.train_rows, results.test_rows) == (4, 3)
    assert results.majority_share == 2 / 3
    assert [each.number for each in results.history] == list(range(1, plan.rounds + 1))
    assert (results.seen_accuracy, results.seen_n) == (0.5, 2)
    assert (results.unseen_accuracy, results.unseen_n) == (0.0, 1)
    assert not {"machine", "command"} & results.provenance.keys()

    path = results.write(tmp_path / "out")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert TrainingResults.load(path) == results
    assert str(tmp_path) not in path.read_text()


def test_the_last_round_is_judged_though_a_kill_came_before_it(tmp_path: Path) -> None:
    kept = history(tmp_path)
    kept.on_round(ended(1))
    results = kept.finish(by_first_feature(), place=0)
    assert [each.number for each in results.history] == [1, ROUNDS]
    assert results.history[-1].test_accuracy == 1 / 3
    assert results.history[-1].train_seconds is None
    assert history(tmp_path).finish(by_first_feature(), place=0).history == results.history


@pytest.mark.parametrize(
    ("noise", "method"),
    [
        ("shares", "noise shares"),
        ("central", "central noise"),
        ("local", "local noise, encrypted averages"),
    ],
)
def test_a_private_training_says_what_it_spends(tmp_path: Path, noise: Any, method: str) -> None:
    private = training_privacy(
        2.0, 1e-5, noise=noise, rows=[4, 4], rounds=ROUNDS, spare_rounds=None,
        expected_batch_size=2, l2_clip_norm=1.0, per_id=None, dimension=6,
    )  # fmt: skip
    plan = plan_of(
        tmp_path, 2, weighted=False, privacy=privacy_settings(private),
        adversary="honest-server" if noise == "central" else "lying-server",
    )  # fmt: skip
    results = history(tmp_path, plan=plan).finish(
        by_first_feature(), place=0, statement=[private.statement()], rounds_paid=6
    )
    assert results.method == method
    assert results.privacy is not None
    assert results.privacy.epsilon == private.epsilon <= 2.0
    assert results.privacy.steps == private.steps
    assert (results.rounds_paid, results.statement) == (6, (private.statement(),))
    assert TrainingResults.load(results.write(tmp_path)) == results


def test_a_real_training_is_taken_down(tmp_path: Path) -> None:
    """Two companies in threads, by the trainer's own calls."""
    both = training(tmp_path)
    models = [build() for _ in range(2)]
    for model in models:
        model.load_state_dict(both.trainer(0).model.state_dict())
    folders = [tmp_path / f"party-{place}" / "training" for place in range(2)]
    kept = [history(each, plan=both.plan) for each in folders]
    trainers = [
        both.trainer(place, model=models[place], on_round=kept[place].on_round)
        for place in range(2)
    ]
    weights = both.all_run(trainers)
    results = [kept[place].finish(models[place], place=place) for place in range(2)]
    assert {each.weights_sha256 for each in results} == {weights_sha256(weights[0])}
    for each in results:
        assert [one.number for one in each.history] == list(range(1, ROUNDS + 1))
        assert all(one.upload_bytes and one.exchange_seconds for one in each.history)
        assert each.history[-1].train_accuracy is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"party": 0', '"party": 2'), "a place that no party has"),
        (('"party-1"', '"party-1", "x"'), "one count a party"),
        (("results 1", "results 2"), "format"),
        (('"rounds"', '"turns"'), "turns"),
    ],
)
def test_results_are_read_strictly(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    results = history(tmp_path).finish(
        by_first_feature(), place=0, overlap=OverlapCounts((1, 1), 0)
    )
    path = results.write(tmp_path)
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ConfigError, match=said):
        TrainingResults.load(path)


def test_absent_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist: give the folder that a training wrote"):
        TrainingResults.load(tmp_path / "results.json")
