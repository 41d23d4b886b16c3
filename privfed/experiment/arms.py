"""A benchmark's arms, as data: who trains × how updates are averaged × what is private."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from privfed.errors import ConfigError
from privfed.experiment.results import ArmDescription

ALL = -1
POOLED = -2


@dataclass(frozen=True)
class Arm:
    """One way of learning.

    Attributes:
        name: as on the command line.
        label: for people.
        trains: a party's number, `ALL` parties together, or the `POOLED` rows of all.
        aggregation: "none", "float", "reference" or a scheme of `privfed.secagg`.
        private: whether every party trains with DP-SGD, once at each asked ε.
        who_sees: one sentence on who could see what.
    """

    name: str
    label: str
    trains: int
    aggregation: str
    private: bool
    who_sees: str

    def describe(self, party_names: Sequence[str]) -> ArmDescription:
        """Say the arm as results.json does."""
        parties = {ALL: "all", POOLED: "all, rows pooled"}.get(self.trains)
        return ArmDescription(
            arm=self.name,
            label=self.label,
            parties=parties or party_names[self.trains],
            aggregation=self.aggregation,
            privacy="local DP-SGD without dropout at each party" if self.private else "none",
            who_sees=self.who_sees,
        )


_TOGETHER = (
    Arm(
        "overall",
        "all rows pooled",
        POOLED,
        "none",
        False,
        "One place holds the rows of all parties in the clear.",
    ),
    Arm(
        "federated-float",
        "federated, plain",
        ALL,
        "float",
        False,
        "The server sees each party's update in the clear, from which rows can be recovered; "
        "all parties see the model.",
    ),
    Arm(
        "federated",
        "federated, quantised",
        ALL,
        "reference",
        False,
        "The server sees each party's quantised update in the clear, from which rows can be "
        "recovered; all parties see the model.",
    ),
    Arm(
        "federated-he",
        "federated, encrypted",
        ALL,
        "packed",
        False,
        "The server holds no key and sees only ciphertexts, their sizes and who sent them; the "
        "parties see the mean, and of two parties each can subtract its own part and has the "
        "other's update.",
    ),
    Arm(
        "federated-he-dp",
        "federated, encrypted, private",
        ALL,
        "packed",
        True,
        "The server sees only ciphertexts; the parties see a mean of updates that already hold "
        "each party's own noise, so the stated ε bounds what anybody, the parties and whoever "
        "gets the model included, learns of one unit; the figures of its training that are shown "
        "here are exact and outside that ε.",
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
            False,
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
