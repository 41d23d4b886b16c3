"""A benchmark whose label is a number: what it trains and measures, and what its report says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from msgspec import structs
from sklearn.metrics import mean_absolute_error, r2_score

from privfed.data import Dataset, inspect_table, load_dataset, schema_text
from privfed.errors import ConfigError, PrivacyWarning
from privfed.experiment import (
    Benchmark,
    Results,
    Settings,
    load_model,
    predict,
    prepare_benchmark,
    provenance,
)
from privfed.experiment.arms import MEAN, NUMBER_REFERENCES
from privfed.experiment.measures import measurement
from privfed.experiment.references import reference_scores
from privfed.report import findings, load_results, write_report
from privfed.report.two import two_results
from tests.experiment.mini import PlainAligner

ROWS = 150
SETTINGS = Settings(
    splits=("overlapping", "disjoint"),
    arms=("guest", "host", "overall", "federated", "federated-he", "local-noise", "noise-shares"),
    rounds=12,
    private_rounds=1,
    private_steps=2,
    seeds=2,
    epsilons=(8.0,),
    delta=1e-4,
    reference=True,
)


def frame() -> pd.DataFrame:
    drawn = np.random.default_rng(5)
    x = drawn.normal(size=(ROWS, 3))
    y = 400 + 60 * x[:, 0] - 30 * x[:, 1] + 10 * drawn.normal(size=ROWS)
    ids = [f"k{n % 140}" for n in range(ROWS)]
    return pd.DataFrame({"key": ids, **{f"x{k}": x[:, k] for k in range(3)}, "price": y.round(2)})


def dataset() -> Dataset:
    return load_dataset("table", frame(), label="price", id_column="key")


def prepared(data: Dataset) -> Benchmark:
    with pytest.warns(PrivacyWarning, match="count as public"):
        return prepare_benchmark(SETTINGS, data, align=PlainAligner())


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    out, data = tmp_path_factory.mktemp("numbers"), dataset()
    results = prepared(data).run(out, provenance(SETTINGS, data))
    write_report(results, out)
    return results, out


def test_the_file_comes_back_and_has_fields_of_its_own(ran: tuple[Results, Path]) -> None:
    results, out = ran
    again = load_results(out)
    assert again.to_json() == results.to_json()
    assert again.measures == ["R²", "MAE"]
    for run in again.runs:
        assert run.number is not None
        assert np.isnan(run.test_accuracy)
        assert (run.test_auc, run.unseen_accuracy, run.unseen_correct) == (None, None, 0)
        assert run.history.keys() >= {"train_r2", "test_r2", "test_loss"}
        assert "test_accuracy" not in run.history
    for summary in again.summaries:
        assert summary.number is not None
        assert (summary.test_accuracy_ci95, summary.unseen_ci95) == (None, None)
    assert {each.label_mean is None for each in again.parties.held} == {False}  # type: ignore[union-attr]


def test_figures_are_those_of_the_saved_models(ran: tuple[Results, Path]) -> None:
    results, out = ran
    data = dataset()
    for task, run in zip(prepared(data).tasks, results.runs, strict=True):
        assert run.number is not None
        saved = load_model(out / str(run.model))
        assert (saved.loss, saved.label_range) == ("squared", data.label_range)
        places = np.concatenate(
            [task.data.parties[p].test for p in task.data.members(task.job.arm)]
        )
        train = np.concatenate(
            [task.data.parties[p].train for p in task.data.members(task.job.arm)]
        )
        features = (data.centred() if saved.encoder.centred else data).features[places]
        said, truth = saved.answers(features), data.labels[places]
        assert run.number.test_r2 == pytest.approx(r2_score(truth, said), abs=1e-5)
        assert run.number.test_mae == pytest.approx(mean_absolute_error(truth, said), rel=1e-5)
        mean = np.full(len(truth), data.labels[train].mean())
        assert run.number.mean_mae == pytest.approx(mean_absolute_error(truth, mean), rel=1e-4)


def test_arms_are_compared_with_the_mean_and_the_references(ran: tuple[Results, Path]) -> None:
    results, _ = ran
    found = {(c.arm, c.beside, c.rows, c.measure): c for c in results.comparisons}
    for name in (MEAN, *NUMBER_REFERENCES, "guest", "overall"):
        assert ("federated", name, "all", "R²") in found
        assert ("federated", name, "all", "MAE") in found
    assert ("federated", "guest", "own", "R²") in found
    assert ("federated", MEAN, "unseen", "R²") in found
    assert not any(c.beside == "majority" for c in results.comparisons)
    told = found["federated", MEAN, "all", "R²"]
    assert told.value > 0.2  # there is much to be learnt
    assert abs(told.beside_value) < 0.1
    assert told.ci95[0] > 0
    exact = found["federated", "federated-he", "all", "R²"]
    assert (exact.difference, exact.ci95) == (0.0, (0.0, 0.0))


def test_no_sentence_is_of_classes(ran: tuple[Results, Path]) -> None:
    results, out = ran
    page = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", (out / "report.html").read_text())
    shown = re.sub(r"<[^>]+>", " ", page)
    for word in ("accuracy", "accuracies", "majority", "commonest", "AUC", "classes", "0.0 %"):
        assert word not in shown, word
    for word in ("R²", "MAE, in units of price", "mean of training labels", "Judged by R², as"):
        assert word in shown, word
    told = {each.name: each for each in findings(results)}
    assert re.search(
        r"has R² 0\.\d{3}, .*; they are off by [\d.]+ and [\d.]+ on", told["gain"].text
    )
    assert "always saying the mean" in told["unseen"].headline
    assert "ridge regression" in told["reference"].headline


def test_a_saved_model_tells_numbers_in_the_labels_units(
    ran: tuple[Results, Path], tmp_path: Path
) -> None:
    _, out = ran
    frame().drop(columns="price").to_csv(tmp_path / "new.csv", index=False)
    model = load_model(out / "models" / "overlapping-federated-seed0.npz")
    found = predict(model, tmp_path / "new.csv")
    assert found.classes == ()
    assert found.numbers is not None
    truth = frame()["price"].to_numpy()
    assert r2_score(truth, found.numbers) > 0.5
    assert abs(found.numbers.mean() - truth.mean()) < 30


def test_two_benchmarks_of_numbers_are_compared_by_r2(ran: tuple[Results, Path]) -> None:
    results, _ = ran
    two = two_results(results, results, ("a", "b"))
    assert two.measure == "R²"
    assert {pair.difference for pair in two.pairs} == {0.0}
    classes = structs.replace(results, measures=["accuracy"], comparisons=[])
    with pytest.raises(ConfigError, match="the label of a is a number and that of the other"):
        two_results(results, classes, ("a", "b"))


def test_references_learn_numbers() -> None:
    drawn = np.random.default_rng(1)
    features = drawn.normal(size=(300, 3)).astype(np.float32)
    labels = 5 + features[:, 0].astype(np.float64)
    found = reference_scores(features[:200], labels[:200], features[200:], classes=0, seed=0)
    assert tuple(found) == NUMBER_REFERENCES
    for said in found.values():
        told = measurement("R²", labels[200:], said)
        assert told is not None
        assert told.value > 0.9


def test_a_company_is_told_that_a_number_is_not_trained_yet(tmp_path: Path) -> None:
    from privfed.cli.train_plan import known_columns

    frame().to_csv(tmp_path / "own.csv", index=False)
    with pytest.raises(ConfigError, match="a training of companies takes classes, and the label"):
        known_columns(tmp_path / "own.csv", None, "price", "key", None)
    readings = inspect_table(frame(), label="price", id_column="key").columns
    (tmp_path / "schema.toml").write_text(schema_text(readings, "own.csv"))
    with pytest.raises(ConfigError, match=r"classes, and schema\.toml says"):
        known_columns(None, tmp_path / "schema.toml", None, None, None)
