"""results.json comes back as it was, and what is not results.json is refused in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from privfed.data.openml import DRESSES_DATA_ID
from privfed.data.packaged import PACKAGED
from privfed.errors import ConfigError
from privfed.experiment import choose_arms, party_names
from privfed.experiment.results import Results
from privfed.report import findings, load_results, render_html
from privfed.report.load import MAX_BYTES, results_from
from tests.places import DOCS
from tests.report.samples import ARMS, sample

SMALL = sample(seeds=2, rounds=40, splits=("overlapping", "disjoint"), epsilons=(1.0, 8.0))
DOCUMENT = json.dumps(json.loads(SMALL.to_json()))


def document() -> Any:
    return json.loads(DOCUMENT)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    SMALL.write(tmp_path / "results.json")
    assert load_results(tmp_path / "results.json") == SMALL
    assert load_results(tmp_path) == SMALL


def test_a_number_that_was_not_finite_comes_back_as_nan() -> None:
    run = structs.replace(SMALL.runs[0], test_loss_last=math.inf, test_auc=None)
    back = results_from(json.loads(structs.replace(SMALL, runs=[run]).to_json()))
    assert math.isnan(back.runs[0].test_loss_last)
    assert back.runs[0].test_auc is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("schema_version"), "no schema_version"),
        (lambda d: d.update(schema_version=1), "schema version 1 is not 6"),
        (lambda d: d.update(schema_version=True), "schema version True is not 6"),
        (lambda d: d.pop("runs"), "results: Object missing required field `runs`"),
        (lambda d: d.update(extra=1), "results: Object contains unknown field `extra`"),
        (
            lambda d: d["runs"][3].pop("seed"),
            r"results.runs\[3\]: Object missing required field `seed`",
        ),
        (lambda d: d["runs"][3].update(seed=1.5), r"runs\[3\].seed: Expected `int`, got"),
        (lambda d: d["runs"][3].update(seed=True), r"runs\[3\].seed: Expected `int`, got"),
        (
            lambda d: d["runs"][3].update(test_accuracy="0.5"),
            r"runs\[3\].test_accuracy: Expected `float \| null`, got `str`",
        ),
        (lambda d: d["runs"][3].update(arm=None), r"runs\[3\].arm: Expected `str`, got `null`"),
        (lambda d: d["runs"][3].update(history=[]), r"runs\[3\].history: Expected `object`"),
        (
            lambda d: d["runs"][3]["history"].update(test_loss=["x"]),
            r"runs\[3\].history.test_loss\[0\]: Expected `float \| null`",
        ),
        (lambda d: d["runs"][3].update(arm="nobody"), "'nobody'"),
        (
            lambda d: d["summaries"][0].update(test_accuracy_ci95=[0.1]),
            r"summaries\[0\].test_accuracy_ci95: Expected `array` of length 2",
        ),
        (lambda d: d["overlaps"][0].update(party_rows=[1, "2"]), r"party_rows\[1\]"),
        (
            lambda d: d["runs"][0].update(test_accuracy=1.01),
            r"runs\[0\].test_accuracy: Expected `float` <= 1.0",
        ),
        (lambda d: d["runs"][0].update(rounds=-1), r"runs\[0\].rounds: Expected `int` >= 0"),
        (
            lambda d: d["runs"][0]["history"].update(test_auc=[2]),
            r"history.test_auc\[0\]: Expected `float` <= 1.0",
        ),
        (lambda d: d.update(arms={}), "results.arms: Expected `array`, got `object`"),
        (
            lambda d: d["arms"][0].update(trains="nobody"),
            r"arms\[0\].trains: Invalid enum value 'nobody'",
        ),
        (
            lambda d: d["arms"][0].update(privacy=None),
            r"arms\[0\].privacy: Expected `str`, got `null`",
        ),
        (
            lambda d: d["arms"][0].update(aggregation="packed"),
            r"results.arms\[0\]: arm 'guest': .* would ignore aggregation='packed'",
        ),
        (lambda d: d["arms"].append(d["arms"][0]), "describe an arm twice"),
        (lambda d: d["runs"][0].update(epsilon=1), "arm 'guest' is not private and has an epsilon"),
        (lambda d: d["summaries"][-1].update(epsilon=None), "is private and its run has no epsil"),
        (
            lambda d: d["runs"][-1]["privacy"].update(noise="some"),
            r"privacy.noise: Invalid enum value 'some'",
        ),
        (
            lambda d: d["provenance"]["data"].update(kind="dress"),
            "provenance.data.kind: Invalid enum value 'dress'",
        ),
        (
            lambda d: d["provenance"]["data"].pop("is_surrogate"),
            "provenance.data: Object missing required field `is_surrogate`",
        ),
        (
            lambda d: d["provenance"].update(data=[]),
            "provenance.data: Expected `object`, got `array`",
        ),
    ],
)
def test_a_wrong_field_is_named(change: Any, words: str) -> None:
    changed = document()
    change(changed)
    with pytest.raises(ConfigError, match=words):
        results_from(changed)


# As versions 2 and 3 wrote them.
_STEPS = "all parties' clipped gradients each step, "
OLD_PARTIES = {None: "all", 0: "guest", 1: "host", 2: "party-3", 11: "party-12"}
OLD_PRIVACY = {
    "none": "none",
    "local-dp-sgd": "local DP-SGD without dropout at each party",
    "local": f"{_STEPS}every party adds all of the noise",
    "shares": f"{_STEPS}every party adds a share of the noise",
    "central": f"{_STEPS}a trusted server adds the noise",
}
OLD_SOURCES = {
    "UCI Dresses_Attribute_Sales, Attribute DataSet.csv": "dresses",
    "embedded surrogate (not real data)": "dresses",
    f"OpenML data set {DRESSES_DATA_ID}": "dresses",
    PACKAGED["digits"]: "digits",
    PACKAGED["breast-cancer"]: "breast-cancer",
    "own table, dresses.csv": "table",
    "a table of dresses": None,
}
EVERY = sample(
    arms=tuple(ARMS), seeds=1, rounds=2, epsilons=(1.0,), splits=("overlapping",), paired=False
)


def older(results: Results, version: int) -> Any:
    found = json.loads(results.to_json()) | {"schema_version": version}
    del found["measures"], found["comparisons"]
    if version == 4:
        return found
    for arm in found["arms"]:
        arm["arm"] = arm.pop("name")
        arm["parties"] = OLD_PARTIES[arm.pop("party")]
        if arm.pop("trains") == "pooled":
            arm["parties"] = "all, rows pooled"
        arm["privacy"] = OLD_PRIVACY[arm["privacy"]]
    del found["provenance"]["data"]["kind"]
    if version == 2:
        for run in found["runs"]:
            del run["test_rows_sha256"]
    return found


def test_version_4_is_read_and_nothing_is_compared() -> None:
    assert results_from(older(EVERY, 4)) == EVERY
    assert "not compared" in findings(EVERY)[0].headline


def test_version_3_is_read_as_it_was_meant() -> None:
    document = older(EVERY, 3)
    assert results_from(document) == EVERY
    # The words of the first files of version 2.
    document["arms"][7]["privacy"] = "local DP-SGD at each party"
    assert results_from(document) == EVERY
    document["arms"][2]["parties"] = "party-12"
    assert results_from(document).arms[2].party == 11


@pytest.mark.parametrize(("source", "kind"), OLD_SOURCES.items())
def test_the_kind_of_older_data_is_that_of_a_known_source(source: str, kind: str | None) -> None:
    document = older(EVERY, 3)
    document["provenance"]["data"]["source"] = source
    results = results_from(document)
    assert results.provenance["data"]["kind"] == kind
    assert ("claim" in [x.name for x in findings(results)]) == (kind == "dresses")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("privacy", "DP-SGD"),
        ("privacy", "local DP-SGD"),
        ("privacy", None),
        ("parties", "all of them"),
        ("parties", "party-2"),
        ("parties", "party-0"),
        ("parties", ["all"]),
    ],
)
def test_words_that_no_version_wrote_are_refused(field: str, value: Any) -> None:
    document = older(EVERY, 3)
    document["arms"][4][field] = value
    with pytest.raises(ConfigError, match=rf"arms\[4\].{field} is .* no earlier privfed wrote"):
        results_from(document)


@pytest.mark.parametrize("name", ["demo", "dresses"])
def test_the_stored_results_are_read_as_the_arms_of_today(name: str) -> None:
    path = DOCS / f"{name}.json"
    assert load_results(path).arms == list(choose_arms(None, party_names(2)))


def test_version_2_is_read_without_what_it_cannot_say() -> None:
    document = older(SMALL, 2)
    data = document["provenance"]["data"]
    data["source"] = "own table, /home/someone/my, tables/own.csv"
    document["provenance"]["command"] = "privfed /srv/nightly.py --token x"
    results = results_from(document)
    assert {run.test_rows_sha256 for run in results.runs} == {None}
    assert results.provenance["command"] is None
    assert results.provenance["data"]["source"] == "own table, own.csv"
    assert results.provenance["data"]["kind"] == "table"
    assert "not compared" in findings(results)[0].headline
    data["source"] = "UCI Dresses_Attribute_Sales, Attribute DataSet.csv"
    assert results_from(document).provenance["data"]["source"] == data["source"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not valid JSON"),
        (b'{"schema_version": NaN}', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "not a results file"),
    ],
)
def test_what_is_no_results_file_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        load_results(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="give the folder that `run_benchmark` or a training wrote"
    ):
        load_results(tmp_path / "nowhere")


def test_a_huge_file_is_measured_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "results.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: takes no room
    with pytest.raises(ConfigError, match="larger than"):
        load_results(tmp_path)


def _leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    paths = []
    for key, value in items:
        deeper = isinstance(value, dict | list) and value
        paths += _leaves(value, (*path, key)) if deeper else [(*path, key)]
    return paths


TINY = json.dumps(
    json.loads(
        sample(
            seeds=1, rounds=2, splits=("overlapping",), epsilons=(1.0,),
            arms=("guest", "federated", "federated-he", "federated-he-dp"),
        ).to_json()
    )
)  # fmt: skip
LEAVES = _leaves(json.loads(TINY))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(LEAVES), JSON)
@example(("runs", 3, "privacy", "epsilon"), 1.7232228890386578e-283)
@example(("runs", 3, "privacy", "epsilon"), 5e-324)
@example(("runs", 3, "privacy", "epsilon"), 1.7e308)
def test_any_changed_leaf_is_refused_or_can_be_drawn(path: tuple[Any, ...], value: Any) -> None:
    changed = json.loads(TINY)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    try:
        results = results_from(changed)
    except ConfigError:
        return
    assert isinstance(results, Results)
    assert "</html>" in render_html(results)
