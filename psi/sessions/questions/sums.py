"""How many IDs both sides have, and the sum of one side's column over them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from psi.errors import ConfigError
from psi.protocols.noisy import NoisySumReceiver, NoisySumSender
from psi.protocols.parameters import SessionParameters
from psi.protocols.sums import SumParameters, SumReceiver, SumSender
from psi.sessions.questions.noise import (
    ALLOWED_FOR,
    NOISE_FIELDS,
    NoiseDetails,
    noise_agreed,
    noise_of,
    noise_options,
    with_interval,
)
from psi.sessions.questions.question import (
    Ask,
    Detail,
    Held,
    Outcome,
    OwnTable,
    Parties,
    Question,
    Side,
)
from psi.tables.columns import whole_numbers

__all__ = ["SUM", "SumChoice"]


@dataclass(frozen=True)
class SumChoice(NoiseDetails):
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
    max_value: Annotated[int, Detail("the largest value in the column; noise grows with it")] = (
        SumParameters.max_value
    )


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
    noise_of(ask)


def _parties(ask: Ask) -> Parties:
    if noise_of(ask) is None:
        return SumReceiver, SumSender
    return NoisySumReceiver, NoisySumSender


def _parameters(ask: Ask, common: Mapping[str, Any]) -> SessionParameters:
    choice = _choice(ask)
    return SumParameters(**common, minimum=choice.minimum, max_value=choice.max_value)


def _options(ask: Ask, own: OwnTable) -> Mapping[str, Any]:
    column, options = _choice(ask).column, noise_options(ask)
    if column is not None:
        first_rows = own.index.rows[own.index.starts[:-1]]
        values = whole_numbers(own.table, column, first_rows) + [0] * own.dummies
        options["values"] = values
    return options


def _outcome(held: Held, table: Any, numbers: bool) -> Outcome:
    count, found = held.party.cardinality, held.party.sum
    if noise_of(held.choice) is not None:
        counts, count_words = with_interval("cardinality", count, held.party.cardinality_within)
        sums, sum_words = with_interval("sum", found, held.party.sum_within)
        words = f"a sum of {sum_words} over {count_words} matching IDs {ALLOWED_FOR}"
        return counts | sums, words
    return {"cardinality": [count], "sum": [found]}, f"the sum of {count} matching IDs"


SUM = Question(
    name="sum",
    help="that, and the sum of one side's column over them",
    parties=_parties,
    outcome=_outcome,
    details=SumChoice,
    refuse=_refuse,
    receives=lambda ask: _choice(ask).column is None,
    parameters=_parameters,
    options=_options,
    fields={"column": Literal["serve", "join"], **NOISE_FIELDS},
    agreed=lambda ask: {"column": _holder(ask), **noise_agreed(ask)},
)
