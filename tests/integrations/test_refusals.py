"""What a server learns from a party that refuses after it trained: docs/threat-model.md says it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privfed.errors import CapacityError
from tests.integrations.jobs import START
from tests.integrations.server_in_hand import Hand

EDGE = {name: each * 0 + np.float32(8) for name, each in START.items()}  # the clip range


def whose_rows_push_up(folder: Path, **settings: Any) -> list[bool]:
    """Ask two parties, by an initial model at the edge of the range, for a sign of their update."""
    hand = Hand(folder, 2, travels="weights", **settings)
    hand.greet_all(EDGE)
    refused = []
    for place, step in ((0, 0.25), (1, -0.25)):
        try:
            hand.ask(place, "train", 1, model=EDGE, step=step)
            refused.append(False)
        except CapacityError:
            refused.append(True)
    return refused


def test_a_refusal_of_what_is_past_the_range_tells_a_sign(tmp_path: Path) -> None:
    assert whose_rows_push_up(tmp_path / "keys") == [True, False]


@pytest.mark.filterwarnings("ignore:array .* of its values are clipped:UserWarning")
def test_values_that_are_clipped_tell_none(tmp_path: Path) -> None:
    assert whose_rows_push_up(tmp_path / "keys", out_of_range="clip") == [False, False]
