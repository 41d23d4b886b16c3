"""Which rows both sides have."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from psi.defaults import QUESTION
from psi.protocols.choice import AUTO, PROTOCOLS, chosen
from psi.sessions.questions.question import Ask, OwnTable, Question, matching_rows

__all__ = ["INTERSECTION"]


def _options(ask: Ask, own: OwnTable) -> Mapping[str, Any]:
    options: dict[str, Any] = {"megabits": ask.bandwidth} if ask.protocol == AUTO else {}
    if ask.duplicates == "all" and ask.result == "both":
        options["counts"] = np.append(own.index.counts(), np.ones(own.dummies, int))
    return options


INTERSECTION = Question(
    name=QUESTION,
    help="the rows that both have",
    parties=lambda ask: chosen(ask.protocol).parties,
    outcome=matching_rows,
    options=_options,
    pairs=True,
    fields={"protocol": Literal[tuple(PROTOCOLS)]},
    agreed=lambda ask: {"protocol": chosen(ask.protocol).name},
)
