"""Sums over an intersection: right sums, a minimum that holds, and hostile peers refused."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psi import (
    ConfigError,
    DecodeError,
    InvalidPointError,
    KeyConfirmationError,
    MinimumError,
    ParameterMismatchError,
    RepeatedElementError,
    SizeLimitError,
    StateError,
    SumParameters,
    SumReceiver,
    SumSender,
)
from psi.group.elgamal import encrypt, logarithm, total
from psi.group.ristretto255 import (
    Points,
    Scalar,
    add,
    check_points,
    multiply,
    multiply_base,
    subtract,
)
from psi.tables.columns import whole_numbers
from tests.psi.peers import (
    BAD_POINTS,
    HEADER_BYTES,
    KEY_PROOF_BYTES,
    MAC_BYTES,
    copy_within,
    forge,
    patch,
    run,
    sent,
)

LEFT, RIGHT = [b"a", b"b", b"c"], [b"c", b"d", b"a", b"e"]
VALUES = [1000, 200, 30, 4]
TWO = SumParameters(minimum=2, max_value=1000)
CONFIRMED = (3, 4, 5, 6, 7)
MANY = [bytes([value]) for value in range(100)]


def pair() -> tuple[SumReceiver, SumSender]:
    return SumReceiver(LEFT, TWO), SumSender(RIGHT, VALUES, TWO)


items = st.lists(st.binary(max_size=1), unique=True, max_size=12)


@given(items, items, st.data())
@settings(max_examples=40, deadline=None)
def test_the_sum_is_that_of_python(
    left: list[bytes], right: list[bytes], data: st.DataObject
) -> None:
    sizes = st.lists(st.integers(0, 9), min_size=len(right), max_size=len(right))
    values = data.draw(sizes)
    parameters = SumParameters(minimum=data.draw(st.integers(1, 3)), max_value=9)
    receiver, sender = SumReceiver(left, parameters), SumSender(right, values, parameters)
    shared = set(left) & set(right)
    if len(shared) < parameters.minimum:
        with pytest.raises(MinimumError):
            run(receiver, sender)
        for party in (receiver, sender):
            with pytest.raises(StateError):
                _ = party.sum
        return
    run(receiver, sender)
    expected = sum(value for item, value in zip(right, values, strict=True) if item in shared)
    assert receiver.sum == sender.sum == expected
    assert receiver.cardinality == sender.cardinality == len(shared)


@pytest.mark.parametrize(
    ("left", "right", "value"),
    [(MANY, MANY, 7), (MANY, MANY, 0), (MANY[:10], MANY, (1 << 20) - 1), (MANY, MANY[90:], 1)],
)
def test_adversarial_sizes(left: list[bytes], right: list[bytes], value: int) -> None:
    receiver, sender = SumReceiver(left), SumSender(right, [value] * len(right))
    run(receiver, sender)
    assert receiver.sum == sender.sum == value * len(set(left) & set(right))


def test_only_the_receiver_learns_if_so_agreed() -> None:
    parameters = SumParameters(output="receiver", minimum=2, max_value=1000)
    receiver, sender = SumReceiver(LEFT, parameters), SumSender(RIGHT, VALUES, parameters)
    messages = run(receiver, sender)
    assert (receiver.sum, receiver.cardinality) == (1030, 2)
    for name in ("sum", "cardinality"):
        with pytest.raises(StateError, match="receiver only"):
            getattr(sender, name)
    # Neither announces the number of matches to the sender.
    assert [message[24:32] for message in messages[4:]] == [bytes(8)] * 4


def test_the_minimum_is_refused_before_the_sum_is_asked_for() -> None:
    parameters = SumParameters(minimum=3, max_value=1000)
    receiver, sender = SumReceiver(LEFT, parameters), SumSender(RIGHT, VALUES, parameters)
    points = receiver.receive(sent(sender.receive(sent(receiver.start()))))
    with pytest.raises(MinimumError, match="fewer than 3 matches"):
        receiver.receive(sent(sender.receive(sent(points))))
    assert receiver._mask is None


def test_a_receiver_that_learns_alone_keeps_a_wrong_opening_to_itself() -> None:
    class Shifting(SumSender):
        def _shifted(self, mask: Points) -> Points:
            return multiply_base([Scalar.random()])

    parameters = SumParameters(output="receiver", minimum=2, max_value=1000)
    for left in (LEFT, [*LEFT[:2], b"x"]):  # two matches, and one
        receiver = SumReceiver(left, parameters)
        run(receiver, Shifting(RIGHT, VALUES, parameters))
        error = DecodeError if left is LEFT else MinimumError
        for name in ("sum", "cardinality"):
            with pytest.raises(error):
                getattr(receiver, name)


def test_sets_that_cannot_have_the_minimum_send_no_points() -> None:
    parameters = SumParameters(minimum=4)
    with pytest.raises(MinimumError):
        SumSender(RIGHT, VALUES, parameters).receive(sent(SumReceiver(LEFT, parameters).start()))


def test_a_sender_refuses_a_request_under_the_minimum() -> None:
    class Curious(SumReceiver):
        def _refuse_few(self, matches: int) -> None:
            return

    parameters = SumParameters(minimum=3, max_value=1000)
    with pytest.raises(MinimumError):
        run(Curious(LEFT, parameters), SumSender(RIGHT, VALUES, parameters))


def test_sums_too_large_to_be_found_are_refused_at_once() -> None:
    parameters = SumParameters(minimum=1, max_value=1 << 39)
    sender = SumSender(RIGHT, VALUES, parameters)
    with pytest.raises(SizeLimitError, match="lower max_value"):
        sender.receive(sent(SumReceiver(LEFT, parameters).start()))


def test_other_terms() -> None:
    with pytest.raises(ParameterMismatchError):
        SumSender(RIGHT, VALUES).receive(sent(SumReceiver(LEFT, TWO).start()))


@pytest.mark.parametrize("values", [[1, 2, 3], [1, 2, 3, -1], [1, 2, 3, 1001], [1, 2, 3, 0.5]])
def test_values_that_are_none(values: list[int]) -> None:
    with pytest.raises(ConfigError, match="value"):
        SumSender(RIGHT, values, TWO)


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", "-1", "0.5", "1e99999999", None, True])
def test_a_column_of_something_else(value: object) -> None:
    assert whole_numbers({"n": [value, "3", 4, 5.0]}, "n", np.array([1, 2, 3])) == [3, 4, 5]
    with pytest.raises(ConfigError, match="row 0: a sum takes whole numbers"):
        whole_numbers({"n": [value, "3"]}, "n", np.array([0, 1]))


@pytest.mark.parametrize("options", [{"minimum": 0}, {"max_value": 0}, {"max_value": 1 << 41}])
def test_settings_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SumParameters(**options)


def test_secrets_are_forgotten_and_not_pickled() -> None:
    receiver, sender = pair()
    run(receiver, sender)
    assert (receiver._mask, sender._value_key, sender._key) == (None, None, None)
    assert "1000" not in repr(sender)
    with pytest.raises(TypeError):
        pickle.dumps(sender)


# -- the encryption -----------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**32), max_size=5))
@settings(max_examples=20, deadline=None)
def test_ciphertexts_add(values: list[int]) -> None:
    key = Scalar.random()
    ciphers = encrypt(key, values)
    assert ciphers.shape == (len(values), 64)
    assert len({row.tobytes() for row in ciphers.reshape(-1, 32)}) == 2 * len(values)
    hiding, hidden = total(ciphers[:, :32]), total(ciphers[:, 32:])
    plain = subtract(hidden, multiply(key, hiding)) if values else hidden
    expected = Scalar((sum(values)).to_bytes(32, "little")) if any(values) else None
    assert plain.tobytes() == (multiply_base([expected]).tobytes() if expected else bytes(32))


@pytest.mark.parametrize("limit", [0, 1, 2, 99, 100, 101, 10**6])
def test_every_kind_of_logarithm_is_found(limit: int) -> None:
    for number in {0, 1, limit // 2, limit - 1, limit} - {-1}:
        if number > limit:
            continue
        point = (
            multiply_base([Scalar(number.to_bytes(32, "little"))])
            if number
            else np.zeros((1, 32), np.uint8)
        )
        assert logarithm(point, limit) == number
    beyond = multiply_base([Scalar((limit + 1).to_bytes(32, "little"))])
    assert logarithm(beyond, limit) is None
    assert logarithm(multiply_base([Scalar.random()]), limit) is None


def test_scalar_arithmetic_agrees_with_the_group() -> None:
    one, other = Scalar.random(), Scalar.random()
    base = multiply_base([one])
    assert np.array_equal(multiply_base([one * other]), multiply(other, base))
    assert np.array_equal(multiply_base([one + other]), add(base, multiply_base([other])))
    assert np.array_equal(multiply(other.inverse(), multiply(other, base)), base)
    assert np.array_equal(subtract(add(base, base), base), base)


@pytest.mark.parametrize("name", BAD_POINTS)
def test_checking_refuses_what_multiplying_refuses(name: str) -> None:
    points = np.vstack(
        [multiply_base([Scalar.random()]), np.frombuffer(BAD_POINTS[name], np.uint8)]
    )
    for refuse in (lambda: check_points(points), lambda: multiply(Scalar.random(), points)):
        with pytest.raises(InvalidPointError, match="point 1"):
            refuse()


# -- hostile peers ------------------------------------------------------------------------------


TAGS = MAC_BYTES + 32 * 5 + KEY_PROOF_BYTES
WIDTH = 6
KEY = TAGS + WIDTH * 4
CIPHERS = KEY + 32


@pytest.mark.parametrize("name", BAD_POINTS)
@pytest.mark.parametrize(
    ("stop", "start"), [(2, 0), (2, 64), (3, 32), (3, 96), (4, MAC_BYTES), (5, MAC_BYTES)]
)
def test_invalid_points(name: str, stop: int, start: int) -> None:
    with pytest.raises(InvalidPointError):
        forge(pair, stop, patch(start, BAD_POINTS[name]), confirm=stop > 3)


@pytest.mark.parametrize("name", BAD_POINTS)
@pytest.mark.parametrize("place", [-1, *range(8)])
def test_invalid_values_are_refused_whether_they_match_or_not(name: str, place: int) -> None:
    # Otherwise a refusal would say that the item of this value matches.
    with pytest.raises(InvalidPointError):
        forge(pair, 3, patch(CIPHERS + 32 * place, BAD_POINTS[name]), confirm=True)


@pytest.mark.parametrize(("stop", "start"), [(2, 0), (3, 32)])
def test_repeated_points(stop: int, start: int) -> None:
    with pytest.raises(RepeatedElementError):
        forge(pair, stop, copy_within(start + 32, start + 64))


def test_repeated_values() -> None:
    with pytest.raises(RepeatedElementError, match="value"):
        forge(pair, 3, copy_within(CIPHERS, CIPHERS + 64, 64), confirm=True)


def test_our_own_points_sent_back() -> None:
    def change(body: bytearray, messages: list[bytes]) -> None:
        body[64:96] = messages[2][HEADER_BYTES + 32 :][:32]

    with pytest.raises(RepeatedElementError, match="our own"):
        forge(pair, 3, change)


def test_a_single_value_is_not_opened() -> None:
    def change(body: bytearray, messages: list[bytes]) -> None:
        body[MAC_BYTES:] = messages[3][HEADER_BYTES + CIPHERS :][:32]

    with pytest.raises(RepeatedElementError, match="single value"):
        forge(pair, 4, change, confirm=True)


def test_values_beyond_the_agreed_are_no_sum() -> None:
    sender = SumSender(RIGHT, VALUES, TWO)
    sender._values = [1 << 60, 0, 1 << 61, 0]  # which of them match would be in the sum
    with pytest.raises(DecodeError, match="not as agreed"):
        run(SumReceiver(LEFT, TWO), sender)


def test_another_key_is_no_sum() -> None:
    other = multiply_base([Scalar.random()]).tobytes()
    with pytest.raises(DecodeError, match="not as agreed"):
        forge(pair, 5, patch(MAC_BYTES, other), confirm=True)


def test_a_sum_that_cannot_be() -> None:
    with pytest.raises(DecodeError, match="cannot have"):
        forge(pair, 6, patch(MAC_BYTES, (2001).to_bytes(8, "big")), confirm=True)


@pytest.mark.parametrize("stop", [4, 5, 6, 7])
def test_unconfirmed_content(stop: int) -> None:
    with pytest.raises(KeyConfirmationError):
        forge(pair, stop, patch(0, bytes(MAC_BYTES)))
