"""How many IDs both sides have, and not which."""

from dataclasses import dataclass
from typing import Any

from psi.protocols.cardinality import CardinalityReceiver, CardinalitySender
from psi.protocols.noisy import NoisyCardinalityReceiver, NoisyCardinalitySender
from psi.sessions.questions.noise import (
    ALLOWED_FOR,
    NOISE_FIELDS,
    NoiseDetails,
    noise_agreed,
    noise_of,
    noise_options,
    with_interval,
)
from psi.sessions.questions.question import Ask, Held, Outcome, Parties, Question

__all__ = ["CARDINALITY", "CountChoice"]


@dataclass(frozen=True, kw_only=True)
class CountChoice(NoiseDetails):
    """How a number is asked for: exactly, or with noise."""


def _parties(ask: Ask) -> Parties:
    if noise_of(ask) is None:
        return CardinalityReceiver, CardinalitySender
    return NoisyCardinalityReceiver, NoisyCardinalitySender


def _refuse(ask: Ask) -> None:
    noise_of(ask)


def _outcome(held: Held, table: Any, numbers: bool) -> Outcome:
    count = held.party.cardinality
    if noise_of(held.choice) is None:
        return {"cardinality": [count]}, f"{count} matching IDs"
    columns, words = with_interval("cardinality", count, held.party.cardinality_within)
    return columns, f"{words} matching IDs {ALLOWED_FOR}"


CARDINALITY = Question(
    name="cardinality",
    help="how many IDs both have",
    parties=_parties,
    outcome=_outcome,
    details=CountChoice,
    refuse=_refuse,
    options=lambda ask, own: noise_options(ask),
    fields=NOISE_FIELDS,
    agreed=noise_agreed,
)
