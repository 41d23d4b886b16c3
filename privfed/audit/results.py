"""What an audit leaves behind: audit.json, documented field by field in docs/audit.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privfed.audit.checks import Checked, LowerBound
from privfed.audit.membership import Membership
from privfed.audit.onlookers import Attack, Beside
from privfed.errors import ConfigError
from psi.storage import json_bytes, json_read, whole_file

SCHEMA_VERSION = 2

Advance = Callable[[str, int], None]
"""Called with what is being done and how much work was done since the last call."""

SOUND = "nothing"
"""What is planted in the unchanged product."""

NOTICED = 0.9
"""Share of a fault's runs that the check meant for it must flag."""

LIMITS = (
    "Failing an attack is not an ε: a better one may succeed. What bounds every attack is the "
    "plan's proof, and that holds for code that does what the plan says.",
    "The one-run audit gives a lower bound at one confidence. It says nothing about an ε above its "
    "ceiling, cannot see noise that is repeated or predictable, and misses noise that is a little "
    "too small.",
    "The checks of the noise know the true sums, which no party does; they look at size and at "
    "likeness of rounds. Noise that somebody can predict, as from a weak seed, passes them.",
    "The checks run the project's own pieces on rows made for it. They do not see a program that "
    "puts these pieces together in another way, nor what the parties compute beside them.",
    "The longest row is looked for among the canaries, whose gradients are the longest. A row with "
    "a gradient in another direction is bounded by the same code, and not looked at.",
    "Timing, traffic, and the number of rows, which counts as public, are outside all of this.",
)


@dataclass(frozen=True)
class Distinguishing:
    """Which of two known updates was sent? Guessed from the bytes.

    Attributes:
        scheme: A scheme of `privfed.secagg`; "reference" is the control in the clear.
        trials: Fair coins.
        right: Right guesses.
        p_value: Chance of so many right guesses or more by luck.
    """

    scheme: str
    trials: int
    right: int
    p_value: float


@dataclass(frozen=True)
class CheckDescription:
    """What a check measures, when it flags, and what it cannot see, in words.

    `false_alarm_rate` is 0 where chance plays no part.
    """

    name: str
    statistic: str
    threshold: str
    blind: str
    false_alarm_rate: float


@dataclass(frozen=True)
class Detection:
    """How often each check flagged runs with one planted fault, or sound ones.

    Attributes:
        planted: The fault's name; "nothing" for sound runs.
        words: What is broken.
        meant: The check meant for it; None for sound runs.
        runs: How many.
        flagged: Runs flagged, by check.
    """

    planted: str
    words: str
    meant: str | None
    runs: int
    flagged: dict[str, int]


@dataclass(frozen=True)
class Verdict:
    """One thing that an audit must find, and whether it did."""

    name: str
    held: bool
    words: str


@dataclass(frozen=True)
class AuditResults:
    """The whole file.

    Attributes:
        provenance: Versions, command, data and their hash, machine.
        simulation: Whether noise came from a seed, which protects nobody.
        quick: Whether fewer models were trained.
        attacks: What each onlooker of one training step learned of its rows.
        beside: Recovered rows beside the true ones.
        distinguishing: The game of two updates, under encryption and as a control in the clear.
        membership: LiRA on models without and with noise.
        bounds: The one-run lower bound on ε by what was planted; "nothing" is the product itself.
        checked: What each check said of the product itself, by whose noise it is.
        checks: What the checks are.
        detections: Planted faults and sound runs.
        verdicts: What held.
        limits: What all of this cannot see.
        seconds: Seconds of each part on the wall clock.
    """

    provenance: dict[str, Any]
    simulation: bool
    quick: bool
    attacks: list[Attack]
    beside: Beside
    distinguishing: list[Distinguishing]
    membership: list[Membership]
    bounds: dict[str, LowerBound]
    checked: dict[str, dict[str, Checked]]
    checks: list[CheckDescription]
    detections: list[Detection]
    verdicts: list[Verdict]
    seconds: dict[str, float]
    limits: tuple[str, ...] = LIMITS
    schema_version: int = SCHEMA_VERSION

    @property
    def held(self) -> bool:
        """Whether every verdict holds."""
        return all(verdict.held for verdict in self.verdicts)

    def to_json(self) -> str:
        """Return the results as JSON, read once by its own types.

        Raises:
            ValueError: A number is not finite, which JSON cannot carry, or out of its range.
        """
        text = json_bytes(self, indent=1)
        json_read(text, AuditResults)
        return text.decode()

    def write(self, path: Path) -> None:
        """Write atomically: a reader sees the old file or the new one.

        Raises:
            ConfigError: The folder cannot be written.
        """
        text = self.to_json().encode()
        rows_in_the_clear = 0o600
        with whole_file(
            path, replace=True, parents=True, mode=rows_in_the_clear, refusal=ConfigError
        ) as file:
            file.write(text)
