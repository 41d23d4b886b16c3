"""Blinds: what is put on comes off, each point has its own, and none is shown or kept."""

import pickle
import secrets
from itertools import pairwise

import numpy as np
import pytest

from psi.errors import InvalidPointError
from psi.group import ristretto255
from psi.group.blinds import Blinds
from psi.group.ristretto255 import ORDER, Scalar, hash_to_group, multiply

POINTS = hash_to_group([b"%d" % number for number in range(100)], b"some tag")


@pytest.mark.parametrize("fast_from", [1, 1 << 13])
@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_what_is_put_on_comes_off(
    monkeypatch: pytest.MonkeyPatch, count: int, fast_from: int
) -> None:
    monkeypatch.setattr(ristretto255, "FAST_FROM", fast_from)
    some, key = Blinds(count), Scalar.random()
    blinded = some.put_on(POINTS[:count])
    assert np.array_equal(some.take_off(blinded), POINTS[:count])
    # It commutes with a key's multiplication: that is what it is for.
    assert np.array_equal(some.take_off(multiply(key, blinded)), multiply(key, POINTS[:count]))


def test_each_point_has_its_own() -> None:
    same = np.repeat(POINTS[:1], 100, axis=0)
    assert len({row.tobytes() for row in Blinds(100).put_on(same)}) == 100


def test_scalars_are_spread_over_the_whole_group() -> None:
    numbers = sorted(int.from_bytes(row.tobytes(), "little") for row in Blinds(4000)._scalars)  # noqa: SLF001  (they are secret)
    assert numbers[0] > 0
    assert numbers[-1] < ORDER
    # A gap of a fiftieth of the group among 4,000 has probability 50 * (49/50)^4000 < 10^-33.
    assert max(b - a for a, b in pairwise([0, *numbers, ORDER])) < ORDER / 50


def test_zero_is_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_bytes", lambda count: bytes(count))
    some = Blinds(3)
    assert np.array_equal(some.take_off(some.put_on(POINTS[:3])), POINTS[:3])


def test_what_is_no_point_is_refused() -> None:
    wrong = POINTS[:3].copy()
    wrong[1] = 0
    for step in (Blinds(3).put_on, Blinds(3).take_off):
        with pytest.raises(InvalidPointError, match="point 1 "):
            step(wrong)


def test_secrets_are_neither_shown_nor_pickled() -> None:
    some = Blinds(3)
    assert repr(some) == "Blinds(3)"
    with pytest.raises(TypeError):
        pickle.dumps(some)
