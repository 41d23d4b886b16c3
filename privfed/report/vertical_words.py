"""A vertical training in words: what came of it, and what each side saw."""

from __future__ import annotations

from collections.abc import Sequence

from privfed.report.words import decimal
from privfed.rounding import outwards
from privfed.table import Table
from privfed.vertical.results import Gain, VerticalResults

INTERVAL_OF_95 = "95\u00a0% interval "

SECURITY = (
    "Semi-honest: both companies follow the protocol. One that deviates from it could learn more, "
    "and nothing here would notice."
)


def who_trained(results: VerticalResults) -> str:
    """Return who trained with whom."""
    return f"{results.guest.name} and {results.host.name} trained one model"


def gain_of(results: VerticalResults, of: str = "together") -> Gain | None:
    """Return what a model gains over the label holder alone; None where it is not known."""
    return next((gain for gain in results.gains if gain.of == of), None)


def verdict(results: VerticalResults) -> str:
    """Return in a sentence whether collaborating gains anything."""
    gain = gain_of(results)
    if gain is None:
        if results.role == "host":
            return f"What collaborating gains, {results.guest.name} alone knows."
        return "What collaborating gains cannot be told from these held-out rows."
    name, size = results.measures[0].name, decimal(abs(gain.value))
    if gain.low > 0:
        return f"Collaborating gains {size} {name} ({interval_of(gain)})."
    if gain.high < 0:
        return f"Collaborating loses {size} {name} ({interval_of(gain)})."
    return f"No gain can be seen: {signed(gain.value)} {name} ({interval_of(gain)})."


_PLAIN = {
    "AUC": "Shown two held-out rows, one of each class, {who} alone tells which is which {alone} "
    "times of 100; both together {together} times. A coin does 50 times.",
    "accuracy": "Of 100 held-out rows {who} alone names the class of {alone} rightly; both "
    "together of {together}.",
    "R²": "Of how much the labels of held-out rows vary, {who} alone explains {alone} %; both "
    "together {together} %.",
    "D²": "Of how much the counts of held-out rows deviate from one mean for all, {who} alone "
    "explains {alone} %; both together {together} %.",
}


def in_plain_words(results: VerticalResults) -> str:
    """Return the first measure of both models as one would say it; "" where it is not known."""
    if gain_of(results) is None:
        return ""
    first = results.measures[0]
    alone, together = (
        "–" if value is None else f"{100 * value:.0f}".replace("-", "−")
        for value in (first.alone, first.together)
    )
    return _PLAIN[first.name].format(who=results.guest.name, alone=alone, together=together)


def interval_of(gain: Gain) -> str:
    """Return the interval of a gain in words, rounded outwards."""
    low, high = map(_with_sign, outwards((gain.low, gain.high), 3))
    return f"{INTERVAL_OF_95}{low} to {high}"


def how_sure(results: VerticalResults) -> str:
    """Return what the interval stands for."""
    gain = gain_of(results)
    if gain is None:
        return ""
    return (
        f"The interval is a paired bootstrap of {results.test_rows:,} held-out rows, "
        f"{gain.resamples:,} samples with a fixed seed. It tells of the luck in which rows were "
        "held out, not in which were trained on. Without any gain it lies above 0 in about one "
        "run of forty."
    )


def signed(value: float, digits: int = 3) -> str:
    """Return a number with its sign; 0 has none."""
    return _with_sign(f"{value:.{digits}f}")


def _with_sign(number: str) -> str:
    if not number.strip("-0."):
        return number.lstrip("-")
    return number.replace("-", "−") if number.startswith("-") else f"+{number}"


def seen_table(messages: Sequence[tuple[str, str, str]]) -> Table:
    """Return what each message told, as a table."""
    return Table(("Message", "Who gets it", "What it tells"), messages, 3)


def never_seen(
    results: VerticalResults, *, rows: str, labels: str, owns: str
) -> list[tuple[str, str]]:
    """Return what each side did not see.

    Args:
        results: The results.
        rows: What the guest did not see of the host's rows.
        labels: What the host did not see beside labels.
        owns: What of the model whoever is shown the page sees.
    """
    guest, host = results.guest.name, results.host.name
    return [
        (f"{guest} did not see", f"{host}’s columns, their names, nor {rows}; who of {host}’s is "
         "not common to both."),
        (f"{host} did not see", f"{guest}’s columns, their names, nor any label; {labels}; who of "
         f"{guest}’s is not common to both."),
        ("Nobody else saw", "anything: there is no third party. The network sees that both talk, "
         "when and how much."),
        ("Whoever is shown this page sees", f"exact measures on rows of your own, and {owns}: keep "
         "it where the rows are kept."),
    ]  # fmt: skip


def scores_opened(results: VerticalResults) -> tuple[str, str, str]:
    """Return what is told of rows that were held out, and to whom."""
    what = (
        "the class alone"
        if results.scores_opened == "classes"
        else "a score, rounded before it is opened"
    )
    return (
        f"scores of {results.test_rows:,} test rows",
        results.guest.name,
        f"{what}. It depends on {results.host.name}’s columns: many scores tell more of them",
    )
