"""No sentence claims what its arms lack: enumerated over sets of arms, splits and test rows."""

from __future__ import annotations

import itertools
import re
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from privfed.experiment.results import Results
from privfed.report import findings, readme_table, render_html
from privfed.report.gains import other_rows
from privfed.report.opening import answers, title, what_ran
from privfed.report.view import View
from tests.report.samples import ARMS, compared, sample

ALONE = {"guest", "host", "party-3"}
AVERAGED = {"federated-float", "federated", "federated-he"}
PRIVATE = {"federated-he-dp", "single-party", "local-noise", "noise-shares", "central-noise"}
SPLITS = ("overlapping", "disjoint", "deduplicated")
# What a sentence says, and the arms that must be there for it: one of each set.
CLAIMS = {
    "learning together (gains|costs)|a gain of": (ALONE, AVERAGED),
    "all rows in one place": ({"overall"}, AVERAGED),
    r"[Dd]ifferential privacy costs (\d|cannot)|better than federated": (
        PRIVATE,
        AVERAGED,
    ),
    r"that costs (\d|nothing)": (PRIVATE, AVERAGED),
    "Encryption adds|added by encryption": ({"federated-he"}, {"federated-float", "federated"}),
    "bit for bit": ({"federated-he"}, {"federated"}),
    "do not say what each arm made of": (ALONE, AVERAGED),
    "own test rows, ": (ALONE, AVERAGED),
    "nobody trained on, federated learning is": (AVERAGED,),
    "; without privacy": (PRIVATE, AVERAGED),
    "float32 in the clear": ({"federated-he"}, {"federated-float"}),
}


def said(results: Results) -> str:
    view = View(results)
    parts = [title(view), what_ran(view)]
    parts += [f"{x.question} {x.text}" for x in answers(view)]
    parts += [f"{x.headline} {x.text}" for x in findings(results)]
    return "\n".join(parts)


def check(arms: set[str], paired: bool, results: Results) -> None:
    text = said(results)
    for claim, needed in CLAIMS.items():
        if re.search(claim, text):
            assert all(arms & each for each in needed), (claim, arms)
    # The title is that of all reports, and the paper's part says what it would take.
    told = text.partition("\n")[2].replace("the parties alone and federated learning, all", "")
    for arm in ARMS.keys() - arms:
        assert not re.search(rf"{re.escape(ARMS[arm].label)}(?!, private)", told), (arm, arms)
    for words, needing in (("[Ff]ederated learning", AVERAGED), ("[Ll]earning together", AVERAGED)):
        assert arms & needing or not re.search(words, told), (words, arms)
    if not paired:
        assert not re.search("learning together (gains|costs)|a gain of", text)
        # Without paired figures no difference is told, of whatever arms.
        assert not re.search(r"minus |privacy costs \d|above training|short of training", text)
        if arms & ALONE and arms & AVERAGED:
            assert "is not compared" in text


@settings(max_examples=150, deadline=None)
@given(
    st.sets(st.sampled_from(sorted(ARMS)), min_size=1),
    st.lists(st.sampled_from(SPLITS), unique=True, min_size=1),
    st.booleans(),
    st.sampled_from([1, 3]),
)
def test_no_sentence_claims_what_its_arms_lack(
    arms: set[str], splits: list[str], paired: bool, seeds: int
) -> None:
    ordered = [arm for arm in ARMS if arm in arms]
    check(
        arms,
        paired,
        sample(arms=ordered, splits=splits, rounds=2, epsilons=(8.0,), seeds=seeds, paired=paired),
    )


SMALL = ("guest", "overall", "federated-float", "federated", "federated-he", "federated-he-dp")


@pytest.mark.parametrize("paired", [False, True])
def test_every_set_of_the_main_arms(paired: bool) -> None:
    for size in range(1, len(SMALL) + 1):
        for arms in itertools.combinations(SMALL, size):
            check(
                set(arms),
                paired,
                sample(
                    arms=arms, splits=("disjoint",), rounds=2, epsilons=(2.0**12,), seeds=3,
                    paired=paired,
                ),
            )  # fmt: skip


def test_each_claim_can_be_made() -> None:
    """Or the test above would pass on a report that says nothing."""
    texts = [
        said(sample(arms=tuple(ARMS), rounds=2, epsilons=(epsilon,), paired=paired))
        for epsilon in (1.0, 2.0**12)
        for paired in (False, True)
    ]
    for claim in CLAIMS:
        assert any(re.search(claim, text) for text in texts), claim


def test_what_privacy_costs_is_not_said_without_an_arm_that_has_none() -> None:
    results = sample(arms=("noise-shares", "local-noise"), rounds=2, epsilons=(2.0**12,), seeds=3)
    found = next(x for x in findings(results) if x.name == "privacy")
    assert found.headline == (
        "What differential privacy costs is not said: no arm without it is known to have been "
        "tested on the same rows."
    )
    assert "costs no accuracy" not in said(results)


def test_the_best_private_model_counts_whatever_its_kind() -> None:
    """That no model beats the majority class is said of all of them, not of those that average."""
    results = sample(
        arms=("federated", "federated-he-dp", "noise-shares"), rounds=2, epsilons=(1.0,), seeds=3
    )
    runs = [
        structs.replace(run, test_accuracy=0.89) if run.arm == "noise-shares" else run
        for run in results.runs
    ]
    summaries = [
        structs.replace(s, test_accuracy_mean=0.89, test_accuracy_ci95=(0.88, 0.90))
        if s.arm == "noise-shares"
        else s
        for s in results.summaries
    ]
    better = structs.replace(results, runs=runs, summaries=summaries, comparisons=compared(runs))
    assert "no model here is surely better" in said(results)
    assert "no model here is surely better" not in said(better)


def test_arms_are_compared_by_paired_figures_alone() -> None:
    """Whatever the accuracies of runs and summaries are: those of one party are of its own rows."""
    results = sample(arms=("guest", "host", "federated"), splits=("disjoint",), rounds=2)
    runs = [structs.replace(run, test_accuracy=0.01 * run.seed) for run in results.runs]
    summaries = [structs.replace(s, test_accuracy_mean=0.0) for s in results.summaries]
    changed = structs.replace(results, runs=runs, summaries=summaries)
    names = ("gain", "own", "pooled")
    ours, theirs = (
        [(x.headline, x.text) for x in findings(each) if x.name in names]
        for each in (results, changed)
    )
    assert ours == theirs
    without = structs.replace(results, measures=[], comparisons=[])
    assert "is not compared: these results do not say" in findings(without)[0].headline
    assert "learning together gains" not in said(without)


def test_arms_on_other_rows_are_named_wherever_figures_stand_side_by_side() -> None:
    for paired, then in (
        (False, "not compared: guest alone and host alone."),
        (True, "same rows."),
    ):
        results = sample(rounds=2, epsilons=(1.0,), seeds=1, paired=paired)
        note = other_rows(View(results))
        assert note is not None
        assert "guest alone and host alone." in note
        assert note.endswith(then)
        assert note in readme_table(results)
        # The paper and all figures; pictures of splits and privacy are of the same rows.
        assert unescape(render_html(results)).count(note) == 2
    results = sample(rounds=2, epsilons=(1.0,), seeds=1, arms=("federated", "single-party"))
    alone = "those of “federated, quantised”: one party alone, private, ε\u00a0=\u00a01."
    assert unescape(render_html(results)).count(alone) == 1  # where that arm's own rows are shown
    assert other_rows(View(sample(rounds=2, seeds=1, arms=("overall", "federated")))) is None


def test_a_pooled_arm_that_cannot_be_told_apart_is_not_above_or_short() -> None:
    results = sample(arms=("overall", "federated"), splits=("disjoint",), rounds=2, seeds=5)
    assert "cannot be told apart" in said(results)
    runs = [
        structs.replace(run, test_accuracy=0.9) if run.arm == "overall" else run
        for run in results.runs
    ]
    better = structs.replace(results, runs=runs, comparisons=compared(runs))
    assert "short of training on all rows" in said(better)
