"""results.json of a vertical training: strict, for its owner alone, and with no row in it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest

from privfed.errors import ConfigError
from privfed.vertical.linear.results import LINEAR_FORMAT, LinearResults, SideOfLinear
from privfed.vertical.results import compare
from tests.report.vertical_samples import SHAPES, vertical


@pytest.mark.parametrize("name", SHAPES)
def test_results_are_read_as_they_were_written(name: str, tmp_path: Path) -> None:
    path = SHAPES[name].write(tmp_path / "out")
    assert LinearResults.load(path) == SHAPES[name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["format"] == LINEAR_FORMAT


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        LinearResults.load(tmp_path / "results.json")
    path = vertical().write(tmp_path)
    good = json.loads(path.read_text())
    for field, value in (
        ("format", "privfed vertical results 2"), ("penalty", -1), ("more", 1), ("plan", "x"),
        ("role", "server"), ("gains", good["gains"] + good["gains"]), ("measures", []),
        ("test_rows", 2000),
    ):  # fmt: skip
        path.write_text(json.dumps(good | {field: value}))
        with pytest.raises(ConfigError, match="no results of vertical training"):
            LinearResults.load(path)


def test_a_side_has_one_name_and_one_coefficient_a_column() -> None:
    with pytest.raises(ValueError, match="one coefficient a column"):
        vertical(host=SideOfLinear(name="shop", columns=2, coefficients=(1.0,)))


def test_three_models_are_measured_on_the_same_rows() -> None:
    draw = np.random.default_rng(2)
    own, theirs = draw.normal(size=600), draw.normal(size=600)
    labels = (draw.random(600) < 1 / (1 + np.exp(-own - theirs))).astype(float)
    measures, gains = compare("logistic", labels, own, own + theirs, own + theirs)
    assert [each.name for each in measures] == ["AUC", "accuracy"]
    assert measures[0].together == measures[0].pooled
    assert [gain.of for gain in gains] == ["together", "pooled"]
    auc = measures[0]
    assert auc.together is not None
    assert auc.alone is not None
    assert gains[0].value == pytest.approx(auc.together - auc.alone)
    assert gains[0].low > 0
    measures, gains = compare("logistic", labels, own, np.sign(own + theirs), classes_only=True)
    assert [(each.name, each.pooled) for each in measures] == [("accuracy", None)]
    assert [gain.of for gain in gains] == ["together"]
