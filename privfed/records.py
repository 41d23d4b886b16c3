"""What files of results are made of, in a benchmark's folder and in a company's own."""

from __future__ import annotations

import datetime
import importlib.metadata
import math
import platform
import typing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import msgspec
from msgspec import Meta

from privfed import __version__
from privfed.dp import Noise, PrivacyPlan
from privfed.errors import ConfigError
from psi.storage import json_bytes, json_read, read_whole, whole_file

RESULTS_FILE = "results.json"
_MOST_BYTES = 1 << 30  # of a company's results
_MOST = 10**15  # no count, byte, second or loss here is larger
Count = Annotated[int, Meta(ge=0, le=_MOST)]
KnownNumber = Annotated[float, Meta(ge=0.0, le=float(_MOST))]
KnownShare = Annotated[float, Meta(ge=0.0, le=1.0)]
Bound = Annotated[float, Meta(ge=-float(_MOST), le=float(_MOST))]

# A null in their place is a number that was not finite when it was written; it is read as NaN.
if TYPE_CHECKING:
    Number = float
    Share = float
else:
    Number = Annotated[KnownNumber | None, Meta(extra={"null": "NaN"})]
    Share = Annotated[KnownShare | None, Meta(extra={"null": "NaN"})]

_PACKAGES = (
    "torch",
    "opacus",
    "tenseal",
    "dp-accounting",
    "numpy",
    "pandas",
    "scikit-learn",
    "cryptography",
    "rbcl",
)


class ResultsPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of such a file."""

    def __post_init__(self) -> None:
        for name in _nan_for_null(type(self)):
            if getattr(self, name) is None:
                msgspec.structs.force_setattr(self, name, math.nan)


@cache
def _nan_for_null(kind: type[ResultsPart]) -> tuple[str, ...]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return tuple(name for name, hint in hints.items() if hint in (Number, Share))


class PrivacyCost(ResultsPart, frozen=True):
    """An ε with all its terms."""

    epsilon: Number  # spent by the worst-placed unit, against anybody
    epsilon_outsider: Number  # the same against somebody who sees the models and put nothing in
    target_epsilon: Number  # asked
    delta: Number
    noise: (
        Noise  # "local": full noise per party; "shares": under encryption; "central": at the server
    )
    quorum: Count  # parties whose noise a round needs
    colluders: Count  # parties whose shares of the noise may be known or missing
    adjacency: str
    privacy_unit: str
    sampling: str
    accountant: str
    noise_multiplier: Number
    l2_clip_norm: Number
    sampling_rate: tuple[KnownNumber, ...]  # one per party
    steps: tuple[Count, ...]  # one per party
    epsilon_single_row: Number  # what a unit with one row at one party spends


def privacy_cost(plan: PrivacyPlan) -> PrivacyCost:
    """Return what a plan spends."""
    return PrivacyCost(
        epsilon=plan.epsilon,
        epsilon_outsider=plan.epsilon_outsider,
        target_epsilon=plan.target_epsilon or plan.epsilon,
        delta=plan.delta,
        noise=plan.noise,
        quorum=plan.quorum,
        colluders=plan.colluders,
        adjacency=plan.adjacency,
        privacy_unit=plan.privacy_unit,
        sampling=plan.sampling,
        accountant=plan.accountant,
        noise_multiplier=plan.noise_multiplier,
        l2_clip_norm=plan.l2_clip_norm,
        sampling_rate=plan.sampling_rates,
        steps=plan.steps,
        epsilon_single_row=plan.epsilon_single_row,
    )


class OwnResults(ResultsPart, frozen=True):
    """A company's results, a file in its own folder and for nobody else.

    Attributes:
        WHAT: What it is of, for messages.
        FILE: What it is called.
    """

    WHAT: ClassVar[str]
    FILE: ClassVar[str] = RESULTS_FILE

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return what `write` wrote.

        Raises:
            ConfigError: There is no such file, or it is of another version; names the field.
        """
        data = read_whole(path, most=_MOST_BYTES, refusal=ConfigError)
        if data is None:
            raise ConfigError(f"{path} does not exist: give the folder that a training wrote")
        try:
            return json_read(data, cls)
        except ValueError as error:
            raise ConfigError(f"{path} holds no results of {cls.WHAT}: {error}") from None

    def write(self, directory: Path) -> Path:
        """Write the file, which only its owner may read.

        Returns:
            The file's path.

        Raises:
            ConfigError: The folder cannot be written.
        """
        path = directory / self.FILE
        text = json_bytes(self, indent=1)
        with whole_file(path, replace=True, mode=0o600, parents=True, refusal=ConfigError) as file:
            file.write(text)
        return path


def made_with() -> dict[str, Any]:
    """Describe when and with which programs results are made, without person, host or folder."""
    return {
        "created_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "privfed_version": __version__,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
    }
