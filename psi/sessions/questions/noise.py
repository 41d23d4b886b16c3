"""What a side gives with a question that can be asked with noise: the ε and δ of its own IDs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from psi.defaults import DELTA
from psi.errors import ConfigError
from psi.protocols.noise import OwnNoise
from psi.sessions.questions.question import Ask, Detail

__all__ = [
    "ALLOWED_FOR",
    "NOISE_FIELDS",
    "NoiseDetails",
    "noise_agreed",
    "noise_of",
    "noise_options",
    "with_interval",
]

NOISE_FIELDS: Mapping[str, Any] = {"epsilon": Literal["given"]}
"""Both sides ask with noise or neither does; its amount is each side's own."""

ALLOWED_FOR = "(95 % intervals, for the other side's noise alone)"


@dataclass(frozen=True, kw_only=True)
class NoiseDetails:
    """The noise that this side adds, so that the other sees no exact figure.

    Attributes:
        epsilon: As in `psi.OwnNoise`; None for exact figures.
        delta: As in `psi.OwnNoise`.
    """

    epsilon: Annotated[
        float | None,
        Detail(
            "no exact figures; the most that they may cost one ID of this side (ε), by noise that "
            "it adds; both sides give one, each its own, and the smaller the more noise"
        ),
    ] = None
    delta: Annotated[float, Detail("the chance for which that ε promises nothing")] = DELTA


def noise_of(ask: Ask) -> OwnNoise | None:
    """Return what a side demands for its own IDs, if it asks with noise.

    Raises:
        ConfigError: It is out of range, or incomplete.
    """
    given = ask.details or NoiseDetails()
    if given.epsilon is not None:
        return OwnNoise(given.epsilon, given.delta)
    if given.delta != DELTA:
        raise ConfigError("a delta goes with an epsilon: give both or neither")
    return None


def noise_options(ask: Ask) -> dict[str, Any]:
    """Return what the party takes besides."""
    noise = noise_of(ask)
    return {} if noise is None else {"noise": noise}


def noise_agreed(ask: Ask) -> dict[str, str]:
    """Return the value of the terms' field."""
    return {} if noise_of(ask) is None else {"epsilon": "given"}


def with_interval(name: str, found: int, within: int) -> tuple[dict[str, list[int]], str]:
    """Return a noisy figure and its ends as columns, and in words."""
    low, high = found - within, found + within
    columns = {name: [found], f"{name}_low": [low], f"{name}_high": [high]}
    return columns, f"about {found} ({low} to {high})"
