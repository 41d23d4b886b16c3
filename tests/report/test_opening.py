"""The first screen: three answers and a picture that follow from the numbers, and few words."""

from __future__ import annotations

import re
from html import unescape

import pytest
from msgspec import structs

from privfed.experiment.results import PartiesRecord, Results
from privfed.report import findings, render_html
from privfed.report.differences import blocks, opening_picture
from privfed.report.opening import answers
from privfed.report.view import View
from tests.report.samples import ARMS, LEVELS, compared, sample

MOST_WORDS = 900  # that a reader meets before all figures
TERMS = ("1e-05", "all rows of one ID", "zero-out of one unit", "Poisson")
EVERYWHERE = {split: {"alone": (0.6, 0.62, 0.6), "all": (0.9, 0.91, 0.9)} for split in LEVELS}


def three(results: Results) -> list[str]:
    return [told.text for told in answers(View(results))]


def visible_words(page: str) -> int:
    """Count what stands before all figures, outside pictures and folds."""
    before = page[page.index("<main>") : page.index('<section id="figures">')]
    for hidden in ("svg", "details", "style", "script"):
        before = re.sub(rf"<{hidden}\b.*?</{hidden}>", " ", before, flags=re.DOTALL)
    return len(unescape(re.sub("<[^>]*>", " ", before)).split())


def with_beside(results: Results) -> Results:
    """The private arms on ten parties' digits, which they tell well at the ε of 2^12 and above."""
    names = tuple(f"party-{n}" for n in range(1, 11))
    digits = sample(
        arms=("federated", "local-noise", "noise-shares", "central-noise"), dataset="digits",
        splits=("disjoint",), rounds=60, epsilons=(1.0, 2.0**12), seeds=3,
    )  # fmt: skip
    parties = PartiesRecord(names, ("0", "1"), None, None, None, [])
    return structs.replace(results, beside=structs.replace(digits, parties=parties))


@pytest.mark.parametrize(
    "results",
    [
        with_beside(sample(arms=tuple(ARMS), rounds=500, seeds=5)),
        sample(arms=tuple(ARMS), rounds=60, seeds=1, is_surrogate=True),
        sample(arms=tuple(ARMS), rounds=60, seeds=3, paired=False),
        sample(arms=tuple(ARMS), rounds=60, seeds=3, levels=EVERYWHERE),
        sample(arms=tuple(ARMS), rounds=60, seeds=2, dataset="digits", splits=("disjoint",)),
    ],
)
def test_there_are_few_words_before_all_figures(results: Results) -> None:
    assert 150 < visible_words(render_html(results)) <= MOST_WORDS


def test_three_answers_and_one_picture_come_first() -> None:
    page = render_html(sample(rounds=30))
    first = page[page.index("<header>") : page.index("</header>")]
    questions = re.findall("<dt>([^<]*)</dt>", first)
    assert questions == ["What you gain", "What it costs", "What is protected"]
    assert first.count("<svg") - first.count('class="swatch"') == 1
    assert answers(View(sample(arms=()))) == []


def test_the_answers_follow_from_the_numbers() -> None:
    gained, costs, _ = three(sample(rounds=30))
    assert re.search(r"gains \d.* where most rows are at both parties", gained)
    assert "nothing that can be told from chance on the disjoint and deduplicated" in gained
    assert "not surely better than always naming the commonest class" in gained
    assert "changes no bit of the model" in costs
    everywhere = three(sample(rounds=30, levels=EVERYWHERE))[0]
    assert "so does it on the disjoint and deduplicated splits" in everywhere
    assert "it is better than always naming" in everywhere
    flat = {split: {"alone": (0.55, 0.9, 0.5), "all": (0.55, 0.9, 0.5)} for split in LEVELS}
    nothing = three(sample(rounds=30, levels=flat))[0]
    assert "gains nothing over the best party alone that can be told from chance" in nothing
    assert "nor does it on the disjoint and deduplicated splits" in nothing
    broken = three(sample(rounds=30, unequal=True))[1]
    assert "something is broken" in broken
    alone = sample(arms=("guest", "federated"), rounds=3)
    assert "over guest alone" in three(alone)[0]
    assert three(alone)[1].startswith("Nothing was encrypted here")
    assert three(alone)[2].startswith("What the model tells of a row is not bounded")
    assert "nothing was averaged" in three(sample(arms=("guest",), rounds=3))[0]
    assert "do not hold" in three(sample(rounds=3, paired=False))[0]


def test_an_epsilon_of_the_first_screen_has_its_terms() -> None:
    own = sample(arms=tuple(ARMS), rounds=60, epsilons=(0.5, 1.0, 8.0))
    for results in (own, with_beside(own)):
        said = three(results)[2]
        assert "ε\u00a0=\u00a01 (" in said
        assert [term for term in TERMS if term not in said] == []
        assert "gradients, noise shares, encrypted" in said
    assert "on digits, 10\u00a0parties" in three(with_beside(own))[2]


def test_privacy_beside_is_told_first_and_own_data_in_a_line() -> None:
    results = with_beside(sample(arms=tuple(ARMS), rounds=60))
    private = [each for each in findings(results) if each.name == "privacy"]
    assert [re.match("On (\\w+):", each.headline)[1] for each in private] == [  # type: ignore[index]
        "digits",
        "dresses",
    ]
    assert "at ε\u00a0=\u00a01 and 4096" in private[0].text
    assert "ε" not in private[1].text
    page = render_html(results)
    ids = re.findall(' id="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    assert any(each.startswith("fig-trade-beside-s0") for each in ids)


def test_the_picture_shows_each_difference_that_verdicts_go_by() -> None:
    results = sample(rounds=30)
    shown = blocks(View(results))
    assert [block.heading.partition(":")[0] for block in shown] == [
        "Overlapping", "Disjoint", "Deduplicated",
    ]  # fmt: skip
    assert [row.beside for row in shown[0].rows] == [
        "over best party alone", "over majority class, unseen rows",
        "over guest alone, its own rows", "over host alone, its own rows",
    ]  # fmt: skip
    drawn = opening_picture(View(results))
    assert drawn is not None
    assert shown[0].rows[0].interval is not None
    assert shown[0].rows[0].interval[0] > 0  # as the first answer says
    assert opening_picture(View(sample(rounds=30, paired=False))) is None


def test_accuracies_of_one_party_are_drawn_on_the_rows_of_all() -> None:
    results = sample(arms=("guest", "host", "federated"), splits=("overlapping", "disjoint"))
    runs = [
        structs.replace(run, test_accuracy=0.75) if run.arm == "host" else run
        for run in results.runs
    ]
    moved = structs.replace(results, runs=runs, comparisons=compared(runs))
    drawn = re.search(r"([\d.]+)\u00a0% host alone", unescape(render_html(moved)))
    assert drawn is not None
    assert float(drawn[1]) == pytest.approx(75, abs=0.3)  # of 174 rows in each seed
    assert "other rows" in unescape(render_html(sample(rounds=3, paired=False)))


def test_protection_is_never_an_empty_sentence() -> None:
    results = sample(arms=("noise-shares",), rounds=20, epsilons=(1.0,))
    runs = [structs.replace(run, privacy=None) for run in results.runs]
    assert three(structs.replace(results, runs=runs))[2] == "What ε was spent is not recorded."
