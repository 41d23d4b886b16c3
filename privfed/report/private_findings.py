"""What the numbers say of privacy: what it costs where it costs least, and every arm's levels."""

from __future__ import annotations

from privfed.report import gains
from privfed.report.level import levels
from privfed.report.privacy import PRIVATE, arms, terms_in_words, views
from privfed.report.view import Line, View
from privfed.report.words import (
    gap,
    gap_range,
    given,
    listing,
    measured,
    present,
)

_NBSP = "\u00a0"


def private_findings(view: View) -> list[tuple[str, str]]:
    """Say what differential privacy costs, on each of the data that private arms ran on.

    Args:
        view: The results.

    Returns:
        Headlines and texts, first of the data that can be learnt; none where no private arm ran.
    """
    found = []
    for nth, shown in enumerate(several := views(view)):
        split = shown.main_split or ""
        every = [x for x in shown.lines(split, *PRIVATE) if present(_level(shown, split, x))]
        if every:
            costs = _costs(shown, split, every)
            headline = _headline(shown, split, every, gains.least(costs))
            if len(several) > 1:
                headline = f"On {shown.dataset}: {headline[0].lower()}{headline[1:]}"
            text = _range(shown, split, every) if nth else _levels(shown, split, every, costs)
            found.append((headline, text))
    return found


def _costs(view: View, split: str, every: list[Line]) -> list[gains.Difference]:
    plain = view.federated(split)
    found = [gains.difference(view, split, plain, line) for line in every] if plain else []
    return [each for each in found if each is not None]


def _levels(view: View, split: str, every: list[Line], costs: list[gains.Difference]) -> str:
    """Return every arm's level by ε, with the terms of every ε."""
    levels = [
        f"{view.label(arm)} {', '.join(_shown(view, split, x) for x in lines if x in every)}"
        for arm, lines in arms(view, split).items()
        if any(x in every for x in lines)
    ]
    asked = list(dict.fromkeys(given(line.epsilon) for line in every))
    text = f"{_measure(view)} at ε{_NBSP}={_NBSP}{listing(asked)}: {'; '.join(levels)}; "
    text += f"{_beside(view, split, every, costs)}. "
    if least := gains.least(costs):
        whom = f" to whichever of the {len(costs)} is best" if len(costs) > 1 else ""
        interval = gap_range(least.comparison.measure, least.interval)
        text += f"Difference{whom}: {interval} (95{_NBSP}%). "
    return text + _promise(view, split, every)


def _range(view: View, split: str, every: list[Line]) -> str:
    """Return from where to where the private arms' levels lie."""
    levels = sorted((_level(view, split, x), _shown(view, split, x)) for x in every)
    text = (
        f"{_measure(view)} of {len(every)}{_NBSP}private models: {levels[0][1]} to "
        f"{levels[-1][1]}; "
    )
    return f"{text}{_beside(view, split, every, _costs(view, split, every))}."


def _beside(view: View, split: str, every: list[Line], costs: list[gains.Difference]) -> str:
    """Return the levels of what stands beside the private arms on the same rows."""
    text = f"{levels(view).usual} {_usual_level(view, split, every[0])}"
    plain = view.federated(split)
    if plain is not None and costs:
        text += f"; without privacy {_shown(view, split, plain)}"
    return text


def _measure(view: View) -> str:
    name = view.measure or "accuracy"
    return name[0].upper() + name[1:]


def _headline(view: View, split: str, every: list[Line], dearest: gains.Difference | None) -> str:
    if not any(_may_beat_usual(view, split, line) for line in every):
        usual = "the mean" if view.is_of_numbers else "the majority class"
        return f"With differential privacy, no model here is surely better than {usual}."
    if dearest is None:
        return (
            "What differential privacy costs is not said: no arm without it is known to have been "
            "tested on the same rows."
        )
    name = dearest.other.label
    size = gap(dearest.comparison.measure, dearest.comparison.difference)
    return {
        "gain": f"Differential privacy costs {size} where it costs least: {name}.",
        "none": f"What differential privacy costs cannot be told from chance: {name}.",
        "loss": f"With differential privacy, {name} is {size} better than federated learning "
        "without.",
    }[dearest.verdict]


def _may_beat_usual(view: View, split: str, line: Line) -> bool:
    """Return whether an arm is surely better than what takes no look, or that is not known."""
    found = gains.beside_usual(view, split, line)
    return found is None or gains.verdict_of(found[1]) == "gain"


def _level(view: View, split: str, line: Line) -> float:
    """Return an arm's measure on the rows of all; in an older file its own test accuracy."""
    found = gains.beside_usual(view, split, line)
    return levels(view).of(view.summary(split, line)) if found is None else found[0].value


def _shown(view: View, split: str, line: Line) -> str:
    return measured(view.measure or "accuracy", _level(view, split, line))


def _usual_level(view: View, split: str, line: Line) -> str:
    found = gains.beside_usual(view, split, line)
    if found is None:
        by = levels(view)
        return by.shown(by.of_usual(view.summary(split, line)))
    return measured(found[0].measure, found[0].beside_value)


def _promise(view: View, split: str, every: list[Line]) -> str:
    """Return the terms of every ε here."""
    costs = [cost for line in every for cost in view.costs(split, line)]
    if not costs:
        return "What ε was spent is not recorded."
    return f"ε is of the worst-placed unit: {terms_in_words(costs)}."
