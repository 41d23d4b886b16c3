"""A benchmark's arms, as data: who trains × how updates are combined × what is private."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NoReturn, get_args

import msgspec

from privfed.dp import Noise
from privfed.errors import ConfigError

Trains = Literal["party", "all", "pooled"]
"""One party by itself, all parties together, or one place with the rows of all."""

Aggregation = Literal["none", "float", "reference", "packed"]
"""Nothing to combine; in the clear; or by these schemes of `privfed.secagg`."""

Privacy = Literal["none", "local-dp-sgd", "local", "shares", "central"]
"""Nothing; DP-SGD at each party before it averages; or whose noise a sum of gradients holds."""

MAJORITY = "majority"
"""What stands beside every arm: always the commonest class of all training rows."""

MEAN = "mean"
"""What stands there where the label is a number: always the mean of all training labels."""

REFERENCES = ("logistic regression", "histogram boosting")
"""scikit-learn's models, which stand beside the arms if asked."""

NUMBER_REFERENCES = ("ridge regression", "histogram boosting")
"""Those where the label is a number."""

# All possible combinations, each with the aggregations that it uses. In any other, one of the three
# would be ignored.
_WAYS: dict[tuple[Trains, Privacy], tuple[Aggregation, ...]] = {
    ("party", "none"): ("none",),
    ("party", "local-dp-sgd"): ("none",),
    ("pooled", "none"): ("none",),
    ("all", "none"): ("float", "reference", "packed"),
    ("all", "local-dp-sgd"): ("float", "reference", "packed"),
    ("all", "local"): ("float",),  # of noisy vectors in the clear
    ("all", "shares"): ("reference", "packed"),  # of integers
    ("all", "central"): ("float",),  # by a server that is trusted with what it adds
}


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way of learning, as it runs and as results.json keeps it.

    The code that runs an arm and the code that reports on it decide by the typed fields here;
    `label` and `who_sees` are for people.

    Attributes:
        name: The name on the command line, such as "federated-he".
        label: The name in pictures and tables, such as "federated, encrypted".
        trains: Who trains.
        party: The party's number, from 0, where one trains by itself; else None.
        aggregation: How updates, or sums of gradients, are combined.
        privacy: What limits a unit's influence; private arms run once at each asked ε.
        who_sees: One sentence on who could see what.

    Raises:
        ConfigError: A kind is unknown, or the kinds do not go together: one would be ignored.
    """

    name: str
    label: str
    trains: Trains
    party: int | None
    aggregation: Aggregation
    privacy: Privacy
    who_sees: str

    def __post_init__(self) -> None:
        kinds = {"trains": Trains, "aggregation": Aggregation, "privacy": Privacy}
        for field, kind in kinds.items():
            if (value := getattr(self, field)) not in (known := get_args(kind)):
                self._refuse(f"unknown {field} {value!r}", known)
        if self.trains == "party":
            if type(self.party) is not int or self.party < 0:
                self._refuse(f"party={self.party!r} names nobody", ["its number, from 0"])
        elif self.party is not None:
            self._refuse(f"trains={self.trains!r} is no party={self.party!r}", ["party=None"])
        way = f"trains={self.trains!r}"
        if (used := _WAYS.get((self.trains, self.privacy))) is None:
            private = [privacy for trains, privacy in _WAYS if trains == self.trains]
            self._refuse(f"{way} does not do privacy={self.privacy!r}", private)
        if self.aggregation not in used:
            way = f"{way} with privacy={self.privacy!r}"
            self._refuse(f"{way} would ignore aggregation={self.aggregation!r}", used)

    def _refuse(self, what: str, instead: Sequence[str]) -> NoReturn:
        raise ConfigError(f"arm {self.name!r}: {what}: choose from {', '.join(instead)}")

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

    @property
    def encrypted(self) -> bool:
        """Whether the server adds updates that it cannot read."""
        return self.aggregation == "packed"


_TOGETHER = (
    Arm(
        "overall",
        "all rows pooled",
        "pooled",
        None,
        "none",
        "none",
        "One place holds the rows of all parties in the clear.",
    ),
    Arm(
        "federated-float",
        "federated, plain",
        "all",
        None,
        "float",
        "none",
        "The server sees each party's update in the clear, from which rows can be recovered; "
        "all parties see the model.",
    ),
    Arm(
        "federated",
        "federated, quantised",
        "all",
        None,
        "reference",
        "none",
        "The server sees each party's quantised update in the clear, from which rows can be "
        "recovered; all parties see the model.",
    ),
    Arm(
        "federated-he",
        "federated, encrypted",
        "all",
        None,
        "packed",
        "none",
        "The server holds no key and sees only ciphertexts, their sizes and who sent them; the "
        "parties see the mean, and of two parties each can subtract its own part and has the "
        "other's update.",
    ),
    Arm(
        "federated-he-dp",
        "federated, encrypted, private",
        "all",
        None,
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
        "party",
        0,
        "none",
        "local-dp-sgd",
        "Nothing but the noisy model leaves the first party, whose rows the stated ε protects.",
    ),
    Arm(
        "local-noise",
        "gradients, local noise",
        "all",
        None,
        "float",
        "local",
        "The server sees each party's noisy gradients; the stated ε bounds what it, and anybody, "
        "learns of one unit.",
    ),
    Arm(
        "noise-shares",
        "gradients, noise shares, encrypted",
        "all",
        None,
        "packed",
        "shares",
        "The server sees only ciphertexts and the parties a sum that holds the noise of all, and "
        "the stated ε holds also against a party that takes its own share of it out again, which "
        "with two parties makes each share as large as all of the noise.",
    ),
    Arm(
        "central-noise",
        "gradients, central noise",
        "all",
        None,
        "float",
        "central",
        "The server sees each party's exact gradients and is trusted with them; the stated ε "
        "bounds what anybody else learns of one unit.",
    ),
)


def all_arms(party_names: Sequence[str]) -> dict[str, Arm]:
    """Return all arms for these parties, by name, in the order in which they run.

    Raises:
        ConfigError: A party is called what an arm is called.
    """
    for name in (*(arm.name for arm in _TOGETHER), MAJORITY, MEAN, *REFERENCES, *NUMBER_REFERENCES):
        if name in party_names:
            raise ConfigError(f"a party is called {name!r}, and so is an arm: rename the party")
    alone = [
        Arm(
            name,
            f"{name} alone",
            "party",
            number,
            "none",
            "none",
            f"Nothing leaves {name}, and nothing of the others reaches it.",
        )
        for number, name in enumerate(party_names)
    ]
    return {arm.name: arm for arm in [*alone, *_TOGETHER]}


def stands_for_federated(arms: Sequence[Arm]) -> Arm | None:
    """Return the arm that federated learning is judged by: the reference, or the nearest."""
    order = ("reference", "packed", "float")
    plain = [arm for arm in arms if arm.trains == "all" and not arm.private]
    return min(plain, key=lambda arm: order.index(arm.aggregation), default=None)


def choose_arms(names: Sequence[str] | None, party_names: Sequence[str]) -> tuple[Arm, ...]:
    """Return the arms of these names; None means all.

    Raises:
        ConfigError: A name is unknown.
    """
    known = all_arms(party_names)
    for name in names or ():
        if name not in known:
            raise ConfigError(f"unknown arm {name!r}: choose from {', '.join(known)}")
    return tuple(arm for arm in known.values() if names is None or arm.name in names)
