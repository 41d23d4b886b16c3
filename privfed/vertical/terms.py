"""What both companies choose alike on their command lines, compared before anything is sent."""

from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

from privfed.errors import ConfigError
from privfed.vertical.roles import Family, Opened
from psi.network import Terms

__all__ = ["OwnChoice", "TrainingStage", "TrainingStep", "VerticalChoice", "VerticalTerms"]

TrainingStep: TypeAlias = Literal["align", "shapes", "train", "predict"]
TrainingStage: TypeAlias = TrainingStep | Literal["written"]


class VerticalTerms(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The terms of each conversation of a vertical training; each model adds its own.

    Attributes:
        guest: Whether the label holder listens or connects: two of one role do not agree.
        resume: Whether a training that broke off goes on.
        stage: Which conversation it is; in the last one both have written their half.
        model: What is trained.
        family: What the label is.
        least_rows: On how many rows a column of the host must tell rows apart.
        predictions: How many rows the model may ever answer, test rows included.
        test_percent: Which part of the common rows is held out.
        opened: What of a held-out row the label holder gets.
    """

    guest: Literal["listens", "connects"]
    resume: bool
    stage: TrainingStage
    model: Literal["glm", "trees"]
    family: Family
    least_rows: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    predictions: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
    test_percent: Annotated[int, msgspec.Meta(ge=0, le=90)]
    opened: Opened


@dataclass(frozen=True, kw_only=True)
class OwnChoice:
    """What a company chooses for itself; the other is not told."""

    @property
    def fields(self) -> dict[str, object]:
        """All of it by name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class VerticalChoice:
    """What a company chooses; the other chooses the same. Attributes as of `VerticalTerms`."""

    model: ClassVar[Literal["glm", "trees"]]
    many_classes: ClassVar[bool] = False  # whether it tells more than two apart
    terms_type: ClassVar[type[VerticalTerms]]

    family: Family = "logistic"
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
                    "model": self.model,
                    "guest": "listens" if guest_listens else "connects",
                    "resume": resume,
                    "stage": stage,
                },
                self.terms_type,
            )
        except msgspec.ValidationError as error:
            raise ConfigError(f"these choices cannot be: {error}") from None

    @property
    def fields(self) -> dict[str, object]:
        """All of it by name."""
        return {"model": self.model, **asdict(self)}

    def check_tests(self, tests: int) -> None:
        """Check that so many held-out rows may be answered.

        Raises:
            ConfigError: They are too many.
        """
        if tests > self.predictions:
            raise ConfigError(
                f"{tests} rows are held out, and the model may answer {self.predictions} in all: "
                "allow more predictions at both companies, or hold out fewer rows"
            )
