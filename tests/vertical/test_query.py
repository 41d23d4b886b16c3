"""Queries against plain integers, the halves that ask them, and the count of what was answered."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privfed.errors import BudgetExceededError, ConfigError, ContextMismatchError, DecodeError
from privfed.he.ring import PLAIN_MODULUS
from privfed.vertical.answered import Answered
from privfed.vertical.encoding import BlockEncoder
from privfed.vertical.halves import Half
from privfed.vertical.query import GuestQuery, HostQuery, query_numbers
from privfed.vertical.rows import Role
from privfed.vertical.whitening import Whitening
from psi.errors import ProtocolError, StateError
from tests.vertical.halves import Family, Floats, Pair, converse, tables, whole

MODEL = b"m" * 32
Opened = Literal["score", "class"]


def trained(coefficients: str, family: Family = "logistic") -> Pair:
    pair = Pair(tables(family, rows=200), coefficients=coefficients, iterations=3)
    converse(pair.guest, pair.host)
    return pair


def queries(
    pair: Pair, opened: Opened = "score", model: bytes = MODEL
) -> tuple[GuestQuery, HostQuery]:
    plan = pair.plan
    if plan.coefficients == "own":
        numbers = [
            query_numbers(plan, opened=s.opened, shares=None) for s in (pair.guest, pair.host)
        ]
    else:
        numbers = [
            query_numbers(plan, opened=None, shares=s.shares) for s in (pair.guest, pair.host)
        ]
    return (
        GuestQuery(plan, model, numbers[0], pair.blocks[0], opened),
        HostQuery(plan, MODEL, numbers[1], pair.blocks[1], opened),
    )


def exact_scores(pair: Pair) -> Floats:
    """Scores in units of the plan's 2^drop, by plain integers."""
    plan = pair.plan
    if plan.coefficients == "own":
        opened = np.concatenate([pair.guest.opened, pair.host.opened]) << plan.rounding
        return pair.integer_rows @ opened
    return pair.integer_rows @ (whole(pair.guest.state, pair.host.state) >> plan.drop)


@pytest.mark.parametrize("coefficients", ["own", "shared"])
@pytest.mark.parametrize("family", ["logistic", "linear", "poisson"])
def test_a_score_opens_rounded_and_exactly_so(coefficients: str, family: Family) -> None:
    pair = trained(coefficients, family)
    guest, host = queries(pair)
    converse(guest, host)
    plan, whole_scores = pair.plan, exact_scores(pair)
    grid = np.floor((whole_scores + (1 << plan.score_drop - 1)) / (1 << plan.score_drop))
    most = 1 << plan.score_bits - 1
    np.testing.assert_array_equal(
        np.rint(guest.scores / plan.score_unit), np.clip(grid, -most, most - 1)
    )
    assert len(np.unique(grid)) > 3
    assert not hasattr(host, "scores")


@pytest.mark.parametrize("coefficients", ["own", "shared"])
def test_a_class_opens_and_nothing_else(coefficients: str) -> None:
    pair = trained(coefficients)
    guest, host = queries(pair, "class")
    converse(guest, host)
    np.testing.assert_array_equal(guest.scores, exact_scores(pair) > 0)


def test_many_rows_go_in_chunks() -> None:
    pair = trained("own")
    blocks = [np.tile(block, (23, 1)) for block in pair.blocks]
    numbers = [
        query_numbers(pair.plan, opened=s.opened, shares=None) for s in (pair.guest, pair.host)
    ]
    guest = GuestQuery(pair.plan, MODEL, numbers[0], blocks[0])
    host = HostQuery(pair.plan, MODEL, numbers[1], blocks[1])
    sent = converse(guest, host)
    assert len(sent) == 3 + 2 * 3 + 1
    np.testing.assert_array_equal(guest.scores.reshape(23, -1), [guest.scores[:200]] * 23)


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("fault", ["changed", "cut", "longer"])
def test_a_touched_message_ends_a_query(number: int, fault: str) -> None:
    guest, host = queries(trained("own"))

    def watch(at: int, message: bytes) -> bytes:
        if at != number:
            return message
        return {
            "changed": message[:-40] + bytes([message[-40] ^ 1]) + message[-39:],
            "cut": message[:-1],
            "longer": message + b"\0",
        }[fault]

    with pytest.raises((ProtocolError, DecodeError, ContextMismatchError)):
        converse(guest, host, watch)
    with pytest.raises(StateError):
        _ = guest.scores


def test_halves_of_two_models_do_not_meet() -> None:
    pair = trained("own")
    guest, host = queries(pair, model=b"o" * 32)
    with pytest.raises(ContextMismatchError, match="another model"):
        converse(guest, host)
    guest, _ = queries(pair, "class")
    _, host = queries(pair, "score")
    with pytest.raises(ContextMismatchError, match="asks for classes"):
        converse(guest, host)


def test_only_a_logistic_model_has_classes() -> None:
    with pytest.raises(ConfigError, match="classes"):
        queries(trained("own", "linear"), "class")


def test_a_host_counts_before_it_answers(tmp_path: Path) -> None:
    pair = trained("own")
    path, model = tmp_path / "answered.json", MODEL.hex()
    for expected in (200, 400):
        guest, host = queries(pair)
        host.charge_with(Answered(path, model, 500).charge)
        converse(guest, host)
        assert Answered(path, model, 500).rows == expected
    guest, host = queries(pair)
    host.charge_with(Answered(path, model, 500).charge)
    sent: list[bytes] = []

    def keep(at: int, message: bytes) -> bytes:
        sent.append(message)
        return message

    with pytest.raises(BudgetExceededError, match="answered 400 rows and may answer 500"):
        converse(guest, host, keep)
    assert len(sent) == 1
    assert Answered(path, model, 500).rows == 400
    with pytest.raises(ConfigError, match="another model"):
        Answered(path, "0" * 64, 500).charge(1)
    path.write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        Answered(path, model, 500).charge(1)


# -- halves --------------------------------------------------------------------------------------


def half_of(pair: Pair, role: Role) -> tuple[Half, pd.DataFrame]:
    """A half whose table has the pair's columns as text."""
    guest = role == "guest"
    block = pair.data.guest if guest else pair.data.host
    names = [f"c{number}" for number in range(block.shape[1])]
    frame = pd.DataFrame(block, columns=names).map(repr)
    side = pair.guest if guest else pair.host
    own = pair.plan.coefficients == "own"
    encoder = BlockEncoder.fit(frame)
    half = Half(
        role=role, plan=pair.plan, model=side.model.hex(), answers="score",
        encoder=encoder.to_fields(), whitening=Whitening(pair.whitenings[not guest]).to_fields(),
        id_columns=("id",), normalise=None, label="y" if guest else None, classes=(), middle=0.0,
        unit=1.0, coefficients=tuple(side.opened.tolist()) if own else None,
        shares=None if own else tuple(side.shares.tolist()),
    )  # fmt: skip
    return half, frame


@pytest.mark.parametrize("coefficients", ["own", "shared"])
def test_saved_halves_answer_as_the_sessions_did(coefficients: str, tmp_path: Path) -> None:
    pair = trained(coefficients)
    sides = []
    for role in ("guest", "host"):
        half, frame = half_of(pair, role)
        half.save(tmp_path / f"{role}.json")
        assert (tmp_path / f"{role}.json").stat().st_mode & 0o777 == 0o600
        sides.append(Half.load(tmp_path / f"{role}.json").query(frame))
    converse(sides[0], sides[1])
    guest, host = queries(pair)
    converse(guest, host)
    assert isinstance(sides[0], GuestQuery)
    np.testing.assert_allclose(sides[0].scores, guest.scores, atol=pair.plan.score_unit)


def test_a_half_shows_no_number() -> None:
    half, _ = half_of(trained("shared"), "host")
    assert repr(half) == f"Half(host, {half.model[:8]})"


@given(st.data())
def test_a_damaged_half_is_refused_or_equal(data: st.DataObject) -> None:
    text = SAVED
    at = data.draw(st.integers(0, len(text) - 1))
    what = data.draw(st.sampled_from(["cut", "byte", "twice"]))
    damaged = {
        "cut": text[:at],
        "byte": text[:at] + bytes([text[at] ^ data.draw(st.integers(1, 255))]) + text[at + 1 :],
        "twice": text[:at] + text[at:] * 2,
    }[what]
    DAMAGED.write_bytes(damaged)
    try:
        half = Half.load(DAMAGED)
    except DecodeError:
        return
    # A digit, or a letter of a name, may be another one: what is read is within its bounds.
    assert half.plan.lanes == len(half.shares or ())
    assert all(share < PLAIN_MODULUS for share in half.shares or ())


@pytest.fixture(autouse=True, scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> None:
    global SAVED, DAMAGED
    folder = tmp_path_factory.mktemp("halves")
    half, _ = half_of(trained("shared"), "host")
    half.save(folder / "half.json")
    SAVED = (folder / "half.json").read_bytes()
    DAMAGED = folder / "damaged.json"
    DAMAGED.write_bytes(b"")
    DAMAGED.chmod(0o600)


SAVED: bytes
DAMAGED: Path


@pytest.mark.parametrize(
    "change",
    [
        {"role": "guest"}, {"shares": (1,)}, {"coefficients": (1, 2)}, {"unit": 0.0},
        {"id_columns": ()}, {"label": "y"}, {"format": "privfed vertical half 2"}, {"more": 1},
    ],
)  # fmt: skip
def test_a_half_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    fields = msgspec.json.decode(SAVED) | change
    DAMAGED.write_bytes(msgspec.json.encode(fields))
    with pytest.raises(DecodeError, match="no half"):
        Half.load(DAMAGED)
