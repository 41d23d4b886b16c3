"""How many IDs both sides have, and the sum of one side's column over them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from psi.errors import ConfigError
from psi.protocols.parameters import SessionParameters
from psi.protocols.sums import SumParameters, SumReceiver, SumSender
from psi.sessions.questions.question import Ask, Detail, Held, Outcome, OwnTable, Question, Side
from psi.tables.columns import whole_numbers

__all__ = ["SUM", "SumChoice"]


@dataclass(frozen=True)
class SumChoice:
    """What is summed.

    Attributes:
        column: The column to sum at the side that has it; None at the other side.
        minimum: As in `psi.SumParameters`.
        max_value: As in `psi.SumParameters`.
    """

    column: Annotated[str | None, Detail("the column, at the side that has it")] = None
    minimum: Annotated[int, Detail("the least number of matches; hides no value")] = (
        SumParameters.minimum
    )
    max_value: Annotated[int, Detail("the largest value in the column")] = SumParameters.max_value


def _choice(ask: Ask) -> SumChoice:
    return ask.details or SumChoice()


def _holder(ask: Ask) -> Side:
    """Return which side has the column."""
    if _choice(ask).column is not None:
        return ask.side
    return "join" if ask.side == "serve" else "serve"


def _refuse(ask: Ask) -> None:
    if ask.result == _holder(ask):
        raise ConfigError(
            "the side with the column learns the sum only together with the other: choose "
            'result="both"'
        )


def _parameters(ask: Ask, common: Mapping[str, Any]) -> SessionParameters:
    choice = _choice(ask)
    return SumParameters(**common, minimum=choice.minimum, max_value=choice.max_value)


def _options(ask: Ask, own: OwnTable) -> Mapping[str, Any]:
    column = _choice(ask).column
    if column is None:
        return {}
    first_rows = own.index.rows[own.index.starts[:-1]]
    return {"values": whole_numbers(own.table, column, first_rows) + [0] * own.dummies}


def _outcome(held: Held, table: Any, numbers: bool) -> Outcome:
    count, found = held.party.cardinality, held.party.sum
    return {"cardinality": [count], "sum": [found]}, f"the sum of {count} matching IDs"


SUM = Question(
    name="sum",
    help="that, and the sum of one side's column over them",
    parties=lambda ask: (SumReceiver, SumSender),
    outcome=_outcome,
    details=SumChoice,
    refuse=_refuse,
    receives=lambda ask: _choice(ask).column is None,
    parameters=_parameters,
    options=_options,
    fields={"column": Literal["serve", "join"]},
    agreed=lambda ask: {"column": _holder(ask)},
)
