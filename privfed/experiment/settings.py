"""What a benchmark is asked to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from privfed import defaults
from privfed.data import Dealing, Split, party_names
from privfed.errors import ConfigError
from privfed.rounding import as_given

AS_GIVEN: Split = "as-given"
PrivateModel = Literal["dress", "linear"]


@dataclass(frozen=True)
class Settings:
    """A benchmark's settings: all that a run's outcome depends on, except data and seed.

    Attributes:
        splits: Some of "overlapping", "disjoint", "deduplicated"; or "as-given" alone, where the
            table says whose its rows are.
        parties: How many, at least 2.
        names: The parties' names, where the table says whose its rows are: as many.
        dealing: Sizes or a skew of the parties of the disjoint split.
        arms: Names of arms; None for all.
        rounds: Federated rounds of one local epoch; epochs for a party that trains alone.
        private_rounds: Rounds of the private arms; few, as noise grows with their number.
        private_steps: Rounds of the private arms that release a sum of gradients in each step.
        seeds: How many seeds, from 0 up.
        epsilons: The ε of the private arms, one run each.
        delta: The δ of the private arms.
        expected_batch_size: Rows expected in the private arms' Poisson batches.
        l2_clip_norm: The private arms' bound on one row's gradient.
        private_learning_rate: The private arms' learning rate of Adam; None: the model's usual one.
        private_model: What the private arms train: "dress", as the others do, or "linear", a layer
            alone under a softmax. Noise grows with the number of weights, and what a deep network
            gains by them with that of rows.
        centred: Whether the private arms train on centred features (see `Dataset.centred`).
        reference: Whether scikit-learn's models stand beside the arms (see `references`).

    Raises:
        ConfigError: A setting is out of range; the message says what to do.
    """

    splits: Sequence[str] = ("overlapping",)
    parties: int = defaults.PARTIES
    names: Sequence[str] | None = None
    dealing: Dealing = field(default_factory=Dealing)
    arms: Sequence[str] | None = None
    rounds: int = defaults.ROUNDS
    private_rounds: int = defaults.PRIVATE_ROUNDS
    private_steps: int = defaults.STEPS_PER_PRIVATE_ROUND * defaults.PRIVATE_ROUNDS
    seeds: int = defaults.SEEDS
    epsilons: Sequence[float] = defaults.EPSILONS
    delta: float = defaults.DELTA
    expected_batch_size: int = defaults.EXPECTED_BATCH_SIZE
    l2_clip_norm: float = defaults.L2_CLIP_NORM
    private_learning_rate: float | None = None
    private_model: PrivateModel = defaults.PRIVATE_MODEL
    centred: bool = True
    reference: bool = False

    def __post_init__(self) -> None:
        if not self.splits or (self.arms is not None and not self.arms):
            raise ConfigError("nothing to run: `splits` and `arms` need a name at least, if given")
        if len(set(self.splits)) < len(self.splits):
            raise ConfigError("`splits` names a split twice: name each once")
        if len(set(self.epsilons)) < len(self.epsilons):
            raise ConfigError("`epsilons` holds a number twice: give each once")
        for split in self.splits:
            if split not in get_args(Split):
                known = ", ".join(get_args(Split))
                raise ConfigError(f"unknown split {split!r}: choose from {known}")
        least = {"parties": 2, "rounds": 1, "private_rounds": 1, "private_steps": 1, "seeds": 1}
        for name, smallest in least.items():
            if (count := getattr(self, name)) < smallest:
                raise ConfigError(f"`{name}` must be at least {smallest}, not {count}")
        self._check_parties()
        for epsilon in self.epsilons:
            if not (epsilon > 0 and math.isfinite(epsilon)):
                raise ConfigError(f"`epsilons` must hold positive numbers, not {as_given(epsilon)}")
        if not 0 < self.delta < 1:
            raise ConfigError(f"`delta` must lie between 0 and 1, not {as_given(self.delta)}")
        if self.expected_batch_size < 1:
            raise ConfigError("the expected batch size must be at least 1")
        if self.private_model not in get_args(PrivateModel):
            known = " or ".join(get_args(PrivateModel))
            raise ConfigError(f"`private_model` is {known}, not {self.private_model!r}")
        for value in (self.l2_clip_norm, self.learning_rate):
            if not (value > 0 and math.isfinite(value)):
                raise ConfigError("clip norm and learning rate must be positive numbers")

    def _check_parties(self) -> None:
        if (self.names is None) == (AS_GIVEN in self.splits):
            raise ConfigError(
                f"the split {AS_GIVEN} goes with a table that says whose its rows are, and such a "
                f"table with that split: give {AS_GIVEN} and the parties' `names`, or neither"
            )
        if self.names is not None and len(self.splits) > 1:
            raise ConfigError(f"the split {AS_GIVEN} is of parties that are not dealt: it is alone")
        if self.names is not None and len(set(self.names)) != self.parties:
            raise ConfigError(
                f"`parties` is {self.parties}, and {len(self.names)} are named: name each once"
            )
        if not self.dealing.is_plain and tuple(self.splits) != ("disjoint",):
            raise ConfigError("`sizes` and `skew` are of the disjoint split: take that one alone")
        sizes = self.dealing.sizes
        if sizes is not None and len(sizes) != self.parties:
            raise ConfigError(
                f"`sizes` gives {len(sizes)} and `parties` is {self.parties}: leave one out"
            )

    @property
    def learning_rate(self) -> float:
        """The private arms' learning rate."""
        usual = defaults.PRIVATE_LEARNING_RATE[self.private_model]
        return usual if self.private_learning_rate is None else self.private_learning_rate

    @property
    def party_names(self) -> tuple[str, ...]:
        """What the parties are called."""
        return party_names(self.parties) if self.names is None else tuple(self.names)
