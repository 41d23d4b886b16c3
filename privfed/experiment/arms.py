"""A benchmark's arms, as data: who trains × how updates are brought together × what is private."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from privfed.dp import Noise
from privfed.errors import ConfigError
from privfed.experiment.results import ArmDescription

ALL = -1
POOLED = -2


Privacy = Literal["none", "local-dp-sgd", "local", "shares", "central"]
"""Nothing; DP-SGD at each party before it averages; or whose noise a sum of gradients holds."""

_IN_WORDS: dict[Privacy, str] = {
    "none": "none",
    "local-dp-sgd": "local DP-SGD without dropout at each party",
    "local": "all parties' clipped gradients each step, every party adds all of the noise",
    "shares": "all parties' clipped gradients each step, every party adds a share of the noise",
    "central": "all parties' clipped gradients each step, a trusted server adds the noise",
}


@dataclass(frozen=True)
class Arm:
    """One way of learning.

    Attributes:
        name: as on the command line.
        label: for people.
        trains: a party's number, `ALL` parties together, or the `POOLED` rows of all.
        aggregation: "none", "float", "reference" or a scheme of `privfed.secagg`.
        privacy: what bounds a unit's influence; private arms run once at each asked ε.
        who_sees: one sentence on who could see what.
    """

    name: str
    label: str
    trains: int
    aggregation: str
    privacy: Privacy
    who_sees: str

    @property
    def private(self) -> bool:
        """Whether it runs once at each asked ε."""
        return self.privacy != "none"

    @property
    def noise(self) -> Noise | None:
        """Whose noise a sum of gradients holds; None where no such sums are released."""
        if self.privacy == "none" or self.privacy == "local-dp-sgd":
            return None
        return self.privacy

    def describe(self, party_names: Sequence[str]) -> ArmDescription:
        """Say the arm as results.json does."""
        parties = {ALL: "all", POOLED: "all, rows pooled"}.get(self.trains)
        return ArmDescription(
            arm=self.name,
            label=self.label,
            parties=parties or party_names[self.trains],
            aggregation=self.aggregation,
            privacy=_IN_WORDS[self.privacy],
            who_sees=self.who_sees,
        )


_TOGETHER = (
    Arm(
        "overall",
        "all rows pooled",
        POOLED,
        "none",
        "none",
        "One place holds the rows of all parties in the clear.",
    ),
    Arm(
        "federated-float",
        "federated, plain",
        ALL,
        "float",
        "none",
        "The server sees each party's update in the clear, from which rows can be recovered; "
        "all parties see the model.",
    ),
    Arm(
        "federated",
        "federated, quantised",
        ALL,
        "reference",
        "none",
        "The server sees each party's quantised update in the clear, from which rows can be "
        "recovered; all parties see the model.",
    ),
    Arm(
        "federated-he",
        "federated, encrypted",
        ALL,
        "packed",
        "none",
        "The server holds no key and sees only ciphertexts, their sizes and who sent them; the "
        "parties see the mean, and of two parties each can subtract its own part and has the "
        "other's update.",
    ),
    Arm(
        "federated-he-dp",
        "federated, encrypted, private",
        ALL,
        "packed",
        "local-dp-sgd",
        "The server sees only ciphertexts; the parties see a mean of updates that already hold "
        "each party's own noise, so the stated ε bounds what anybody, the parties and whoever "
        "gets the model included, learns of one unit; the figures of its training that are shown "
        "here are exact and outside that ε.",
    ),
    Arm(
        "single-party",
        "one party alone, private",
        0,
        "none",
        "local-dp-sgd",
        "Nothing but the noisy model leaves the first party, whose rows the stated ε protects.",
    ),
    Arm(
        "local-noise",
        "gradients, local noise",
        ALL,
        "float",
        "local",
        "The server sees each party's noisy gradients; the stated ε bounds what it, and anybody, "
        "learns of one unit.",
    ),
    Arm(
        "noise-shares",
        "gradients, noise shares, encrypted",
        ALL,
        "packed",
        "shares",
        "The server sees only ciphertexts and the parties a sum that holds the noise of all, and "
        "the stated ε holds also against a party that takes its own share of it out again, which "
        "with two parties makes each share as large as all of the noise.",
    ),
    Arm(
        "central-noise",
        "gradients, central noise",
        ALL,
        "float",
        "central",
        "The server sees each party's exact gradients and is trusted with them; the stated ε "
        "bounds what anybody else learns of one unit.",
    ),
)


def all_arms(party_names: Sequence[str]) -> dict[str, Arm]:
    """Give every arm there is for these parties, by name, in the order in which they run."""
    alone = [
        Arm(
            name,
            f"{name} alone",
            number,
            "none",
            "none",
            f"Nothing leaves {name}, and nothing of the others reaches it.",
        )
        for number, name in enumerate(party_names)
    ]
    return {arm.name: arm for arm in [*alone, *_TOGETHER]}


def choose_arms(names: Sequence[str] | None, party_names: Sequence[str]) -> tuple[Arm, ...]:
    """Pick arms by name; None means all.

    Raises:
        ConfigError: a name is unknown.
    """
    known = all_arms(party_names)
    for name in names or ():
        if name not in known:
            raise ConfigError(f"unknown arm {name!r}: choose from {', '.join(known)}")
    return tuple(arm for arm in known.values() if names is None or arm.name in names)
