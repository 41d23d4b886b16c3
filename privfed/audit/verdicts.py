"""What an audit must find, compared with what it found."""

from __future__ import annotations

from scipy import stats

from privfed.audit.checks import FALSE_ALARM
from privfed.audit.results import NOTICED, SOUND, AuditResults, Verdict
from privfed.rounding import at_least, at_most

BY_CHANCE = 1e-6
"""Most chance that luck alone makes it look as if the server learned something. It can be small: in
the clear the server guesses right every time."""


def verdicts(results: AuditResults) -> list[Verdict]:
    """Compare what was found with what must be found."""
    control, encrypted = (
        next(attack for attack in results.attacks if attack.kind == kind)
        for kind in ("control", "encrypted")
    )
    game = {each.scheme: each for each in results.distinguishing}
    by_chance = stats.binom.sf(
        (encrypted.identified or 0) - 1, encrypted.rows, 1 / encrypted.candidates
    )
    blind = (
        encrypted.recovered == 0 and by_chance >= BY_CHANCE and game["packed"].p_value >= BY_CHANCE
    )
    works = control.recovered == control.rows and game["reference"].p_value < BY_CHANCE
    flags = [
        f"{name} ({noise} noise)"
        for noise, checked in results.checked.items()
        for name, each in checked.items()
        if each.flagged
    ]
    missed = [
        each.planted
        for each in results.detections
        if each.meant and each.flagged[each.meant] < NOTICED * each.runs
    ]
    sound = next(each for each in results.detections if each.meant is None)
    by_luck = [check.name for check in results.checks if check.false_alarm_rate]
    alarms = sum(sound.flagged[name] for name in by_luck)
    # Chance of so many false alarms at the stated rate, over the checks that depend on chance.
    often = stats.binom.sf(alarms - 1, len(by_luck) * sound.runs, FALSE_ALARM)
    impossible = sum(sound.flagged.values()) - alarms
    bound = results.bounds[SOUND]
    return [
        Verdict(
            "the server gets nothing",
            bool(blind and works),
            f"Of {encrypted.rows} lone rows it recovered {encrypted.recovered} and picked "
            f"{encrypted.identified} out of {encrypted.candidates}; which of two updates was sent "
            f"it guessed {game['packed'].right} of {game['packed'].trials} times. Without "
            f"encryption the same attack recovered {control.recovered} and guessed "
            f"{game['reference'].right}.",
        ),
        Verdict(
            "no check flags the real thing",
            not flags,
            f"Flagged by: {', '.join(flags) or 'none'}. Each check flags a sound run with chance "
            f"{FALSE_ALARM:g} at most.",
        ),
        Verdict(
            "the lower bound is below the claim",
            bool(bound.epsilon <= bound.claimed_epsilon),
            f"ε ≥ {at_least(bound.epsilon)} at {bound.confidence:.0%} confidence, where the claim "
            f"for an outsider is {at_most(bound.claimed_epsilon)} and all right guesses would have "
            f"given {at_least(bound.ceiling)}; two computations agree. The claim: "
            f"{bound.statement}.",
        ),
        Verdict(
            "each planted fault is noticed",
            not missed,
            f"Not noticed in {NOTICED:.0%} of the runs: {', '.join(missed) or 'none'}.",
        ),
        Verdict(
            "sound runs are not flagged",
            bool(often >= FALSE_ALARM) and not impossible,
            f"{sum(sound.flagged.values())} flags in {sound.runs} sound runs.",
        ),
    ]
