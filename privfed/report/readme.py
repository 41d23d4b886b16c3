"""The picture and the table of the README, made from a results.json."""

from __future__ import annotations

import io
from collections.abc import Set
from pathlib import Path

from privfed.errors import ConfigError
from privfed.experiment.results import Results
from privfed.report import gains, privacy
from privfed.report.charts import bar_chart
from privfed.report.palette import LIGHT
from privfed.report.pictures import split_groups
from privfed.report.svg import drawing
from privfed.report.view import View
from privfed.report.words import count, percent, present
from privfed.rounding import as_given, outwards
from privfed.table import Table, markdown
from psi.storage import whole_file

_DPI = 160


def readme_table(results: Results) -> str:
    """Return all splits as a Markdown table, and what private arms gave beside them as another.

    Args:
        results: What `load_results` or an experiment gives.

    Returns:
        Lines of Markdown without a final line break.

    Raises:
        ConfigError: The results hold an arm that they do not describe.
    """
    view = View(results)
    head = ["arm"]
    for split in view.splits:
        head += [f"{split}: test accuracy", "unseen rows (95 %)"]
    lines = list(dict.fromkeys(line for split in view.splits for line in view.lines(split)))
    rows = []
    for line in lines:
        cells = [line.label]
        for split in view.splits:
            if line not in view.lines(split):
                cells += ["–", "–"]
                continue
            s = view.summary(split, line)
            cells.append(percent(s.test_accuracy_mean))
            cells.append(_with_interval(s.unseen_accuracy, s.unseen_ci95))
        rows.append(cells)
    majority = _majority_row(view)
    table = markdown(Table(head, [*rows, *majority]))
    terms = _terms(results, {line.arm for line in lines})
    rows_note = gains.other_rows(view)
    notes = [*([rows_note] if rows_note else []), *terms]
    # Each as its own paragraph under the table.
    under = [line for note in notes for line in ("", note)]
    under += _beside(results)
    return "\n".join([table, *under]).replace("\u00a0", " ")


def _beside(results: Results) -> list[str]:
    """Return the private arms' figures on data that can be learnt, with the terms of their ε."""
    if results.beside is None:
        return []
    view = View(results.beside)
    split = view.main_split or ""
    plain = view.federated(split)
    without = "" if plain is None else percent(view.summary(split, plain).test_accuracy_mean)
    said = (
        f"Private arms on {view.dataset} of {view.party_count} parties, test accuracy; without "
        f"privacy {without}:"
    )
    shown = {line.arm for line in view.lines(split, *privacy.PRIVATE)}
    costs = [r.privacy for r in results.beside.runs if r.privacy is not None and r.arm in shown]
    terms = f"ε is of the worst-placed unit: {privacy.terms_in_words(costs)}."
    return ["", said, "", markdown(privacy.trade_table(view, split)), "", terms]


def _terms(results: Results, shown: Set[str]) -> list[str]:
    """Return the terms of the table's ε, as no ε stands alone."""
    costs = [run.privacy for run in results.runs if run.privacy is not None and run.arm in shown]
    terms = dict.fromkeys(
        f"ε of the worst-placed unit ({cost.privacy_unit}) at δ = {as_given(cost.delta)}; "
        f"{cost.adjacency}; {cost.sampling}; {cost.accountant}."
        for cost in costs
    )
    return list(terms)


def _with_interval(share: float | None, interval: tuple[float, float] | None) -> str:
    if interval is None or not all(map(present, interval)):
        return percent(share)
    low, high = outwards(interval, 0, percent=True)
    return f"{percent(share)} ({low}–{high})"


def _majority_row(view: View) -> list[list[str]]:
    cells = ["majority class"]
    for split in view.splits:
        s = view.summary(split, view.federated(split) or view.lines(split)[0])
        cells += [percent(s.majority_accuracy), percent(s.unseen_majority)]
    return [cells] if view.splits else []


def readme_picture(results: Results, path: Path) -> None:
    """Draw the splits side by side as a PNG on white paper.

    Args:
        results: What `load_results` or an experiment gives.
        path: The PNG to write.

    Raises:
        ConfigError: There is nothing to draw, or the file cannot be written.
    """
    view = View(results)
    groups = split_groups(view)
    if not groups:
        raise ConfigError("the results hold no accuracy to draw; run the benchmark to its end")
    with drawing():
        seeds = count(len(view.seeds), "seed")
        heading = (
            f"Test accuracy, {view.dataset}{' (surrogate)' if view.is_surrogate else ''}, {seeds}",
            "unseen: rows that nobody trained on; dashed: the majority class on those; lines: 95 %",
        )
        figure = bar_chart(groups, LIGHT, 1.0, percent=True, text_share=0.3, heading=heading)
        buffer = io.BytesIO()
        figure.savefig(
            buffer, format="png", dpi=_DPI, facecolor="white", bbox_inches="tight", pad_inches=0.25
        )
    with whole_file(path, replace=True, refusal=ConfigError) as file:
        file.write(buffer.getvalue())
