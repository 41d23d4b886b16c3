"""What both companies choose alike for a scorecard, compared before anything is sent."""

from dataclasses import asdict, dataclass
from typing import Annotated, Literal, TypeAlias

import msgspec

from privfed.errors import ConfigError
from privfed.vertical.roles import Role
from privfed.vertical.trees.bins import MOST_BINS
from psi.network import Terms

__all__ = ["ScorecardChoice", "ScorecardStage", "ScorecardTerms"]

ScorecardStage: TypeAlias = Literal["align", "count"]


class ScorecardTerms(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The terms of a scorecard's conversations.

    Attributes:
        guest: Whether the label holder listens or connects: two of one role do not agree.
        stage: Which conversation it is.
        receiver: Who gets the noisy counts. The other one adds the noise.
        epsilon: What they may cost one row of the other company.
        delta: The δ of that.
        bins: How many a column has at most, beside that of missing values.
        least_rows: How many common rows a bin holds at least.
        names: Whether the guest is told what columns and bins are called.
    """

    guest: Literal["listens", "connects"]
    stage: ScorecardStage
    receiver: Role
    epsilon: Annotated[float, msgspec.Meta(ge=1e-3, le=100)]
    delta: Annotated[float, msgspec.Meta(gt=0, le=0.01)]
    bins: Annotated[int, msgspec.Meta(ge=2, le=MOST_BINS)]
    least_rows: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    names: bool


@dataclass(frozen=True, kw_only=True)
class ScorecardChoice:
    """What a company chooses; the other chooses the same. Attributes as of `ScorecardTerms`.

    Raises:
        ConfigError: A choice is out of its range, or names would go to nobody.
    """

    receiver: Role = "host"
    epsilon: float = 1.0
    delta: float = 1e-6
    bins: int = 10
    least_rows: int = 20
    names: bool = False

    def __post_init__(self) -> None:
        if self.names and self.receiver == "host":
            raise ConfigError("the host knows its columns' names: they are for a guest that counts")
        self.terms("count", guest_listens=False)

    def terms(self, stage: ScorecardStage, *, guest_listens: bool) -> ScorecardTerms:
        """Return the terms of a conversation; arguments as of `ScorecardTerms`.

        Raises:
            ConfigError: A choice is out of its range.
        """
        guest = "listens" if guest_listens else "connects"
        fields = {**asdict(self), "guest": guest, "stage": stage}
        try:
            return msgspec.convert(fields, ScorecardTerms)
        except msgspec.ValidationError as error:
            raise ConfigError(f"these choices cannot be: {error}") from None
