"""The report decides by typed fields: whatever the prose says, it says the same of the arms."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from privfed.data import load_dataset
from privfed.experiment import Settings, provenance
from privfed.experiment.results import Results
from privfed.report import findings, readme_table, render_html, terminal_table
from privfed.report.gains import other_rows
from privfed.report.opening import answers, title, what_ran
from privfed.report.pictures import paper_lines
from privfed.report.view import View
from tests.report.samples import ARMS, sample

# Words by which an arm's part could be guessed.
MISLEADING = (
    "none", "all", "all, rows pooled", "guest", "host alone", "federated", "encrypted", "reference",
    "DP-SGD", "a share of the noise", "surrogate", "dresses", "ε = 3", "",
)  # fmt: skip
PROSE = st.lists(st.sampled_from(MISLEADING) | st.text(max_size=8), max_size=4).map(" ".join)
BUILT = {
    (paired, is_surrogate): sample(
        arms=tuple(ARMS), rounds=2, seeds=3, epsilons=(1.0, 8.0),
        splits=("overlapping", "disjoint"), paired=paired, is_surrogate=is_surrogate,
    )
    for paired in (False, True)
    for is_surrogate in (False, True)
}  # fmt: skip


def reworded(results: Results, labels: dict[str, str], prose: str) -> Results:
    arms = [structs.replace(arm, label=labels[arm.name], who_sees=prose) for arm in results.arms]
    data = results.provenance["data"] | {"dataset": prose, "source": prose}
    return structs.replace(results, arms=arms, provenance=results.provenance | {"data": data})


def decided(results: Results) -> list[object]:
    """What is decided of every arm, without a word for people."""
    view = View(results)
    return [
        view.kind, view.is_surrogate, view.is_dresses, view.id_name,
        *[dataclasses.replace(x, label="") for split in view.splits for x in view.lines(split)],
        *[(name, x.arm) for split in view.splits for name, x in paper_lines(view, split)],
        *[finding.name for finding in findings(results)],
        len(answers(view)),
    ]  # fmt: skip


def said(results: Results) -> str:
    view = View(results)
    parts = [title(view), what_ran(view), str(other_rows(view)), readme_table(results)]
    parts += [f"{x.question} {x.text}" for x in answers(view)]
    parts += [f"{x.headline} {x.text}" for x in findings(results)]
    return "\n".join(parts)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(BUILT)), st.lists(PROSE, min_size=12, max_size=12), PROSE)
def test_other_prose_changes_no_decision(
    which: tuple[bool, bool], labels: list[str], prose: str
) -> None:
    results = BUILT[which]
    other = reworded(results, dict(zip(ARMS, labels, strict=True)), prose)
    assert decided(other) == decided(results)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(BUILT)),
    st.lists(st.sampled_from(MISLEADING), min_size=12, max_size=12),
)
def test_other_labels_change_nothing_but_the_labels(
    which: tuple[bool, bool], words: list[str]
) -> None:
    results = BUILT[which]
    labels = {name: f"‹{nth} {text}›" for nth, (name, text) in enumerate(zip(ARMS, words))}  # noqa: B905
    text = said(reworded(results, labels, "dresses"))
    for name, label in labels.items():
        text = text.replace(label, ARMS[name].label)
    assert text == said(results)


def test_arms_of_one_label_stay_apart() -> None:
    results = BUILT[False, False]
    same = reworded(results, dict.fromkeys(ARMS, "an arm"), "data")
    assert decided(same) == decided(results)
    assert what_ran(View(same)) == what_ran(View(results))
    page, other = render_html(same), render_html(results)
    assert page.count("<tr>") == other.count("<tr>")
    assert page.count("<path") == other.count("<path")
    assert terminal_table(same).row_count == terminal_table(results).row_count


def test_a_table_of_ones_own_is_never_the_papers(tmp_path: Path) -> None:
    """Whatever its file is called."""
    path = tmp_path / "dresses.csv"
    path.write_text("size,sold\n" + "1,yes\n2,no\n" * 20, encoding="utf-8")
    own = load_dataset("table", str(path), label="sold")
    assert (own.kind, own.name) == ("table", "dresses")
    view = View(Results(provenance(Settings(), own), [], [], [], [], [], []))
    assert not view.is_dresses
    assert title(view) == "dresses: learning together, measured"
    assert View(Results(provenance(Settings(), load_dataset()), [], [], [], [], [], [])).is_dresses


@pytest.mark.parametrize(
    ("name", "kind"), [("dresses", "dresses"), ("digits", "digits"), ("breast-cancer",) * 2]
)
def test_data_say_what_they_are(name: str, kind: str) -> None:
    assert load_dataset(name).kind == kind
