"""What both companies choose alike on their command lines, compared before anything is sent."""

from dataclasses import asdict, dataclass
from typing import Annotated, Literal, TypeAlias

import msgspec

from privfed.errors import ConfigError
from privfed.vertical.linear.plan import Coefficients, VerticalPlan
from privfed.vertical.linear.shapes import BlockShape
from privfed.vertical.roles import Family, Opened
from psi.network import Terms

__all__ = ["TrainingStage", "TrainingStep", "VerticalChoice", "VerticalTerms"]

TrainingStep: TypeAlias = Literal["align", "shapes", "train", "predict"]
TrainingStage: TypeAlias = TrainingStep | Literal["written"]

_MOST_AT_ONCE = 250_000  # rows in an iteration: more take turns, so that a message fits memory


class VerticalTerms(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The terms of each conversation of a vertical training.

    Attributes:
        guest: Whether the label holder listens or connects: two of one role do not agree.
        resume: Whether a training that broke off goes on.
        stage: Which conversation it is; in the last one both have written their half.
        family: See `VerticalPlan`.
        penalty: See there.
        iterations: See there.
        coefficients: See there.
        least_rows: See there.
        predictions: See there.
        test_percent: Which part of the common rows is held out.
        opened: What of a held-out row the label holder gets.
    """

    guest: Literal["listens", "connects"]
    resume: bool
    stage: TrainingStage
    family: Family
    penalty: Annotated[float, msgspec.Meta(ge=0, le=1)]
    iterations: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    coefficients: Coefficients
    least_rows: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    predictions: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
    test_percent: Annotated[int, msgspec.Meta(ge=0, le=90)]
    opened: Opened


@dataclass(frozen=True, kw_only=True)
class VerticalChoice:
    """What a company chooses; the other chooses the same. Attributes as of `VerticalTerms`."""

    family: Family = "logistic"
    penalty: float = 0.001
    iterations: int = 20
    coefficients: Coefficients = "own"
    least_rows: int = 10
    predictions: int = 100_000
    test_percent: int = 25
    opened: Opened = "score"

    def terms(
        self, stage: TrainingStage, *, guest_listens: bool, resume: bool = False
    ) -> VerticalTerms:
        """Return the terms of a conversation; arguments as of `VerticalTerms`.

        Raises:
            ConfigError: A choice is out of its range.
        """
        try:
            return msgspec.convert(
                {
                    **asdict(self),
                    "guest": "listens" if guest_listens else "connects",
                    "resume": resume,
                    "stage": stage,
                },
                VerticalTerms,
            )
        except msgspec.ValidationError as error:
            raise ConfigError(f"these choices cannot be: {error}") from None

    def plan(self, guest: BlockShape, host: BlockShape) -> VerticalPlan:
        """Return the plan of both shapes.

        Raises:
            CapacityError: It does not fit the ring.
            ConfigError: A choice is out of its range.
        """
        return VerticalPlan(
            family=self.family,
            rows=guest.rows,
            guest_columns=guest.columns,
            host_columns=host.columns,
            guest_names=guest.names,
            host_names=host.names,
            penalty=self.penalty,
            iterations=self.iterations,
            batches=-(-guest.rows // _MOST_AT_ONCE),
            coefficients=self.coefficients,
            least_rows=self.least_rows,
            predictions=self.predictions,
        )
