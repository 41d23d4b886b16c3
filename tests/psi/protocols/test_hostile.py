"""Hostile and mistaken peers: a named error for whatever they send, and never a wrong result."""

import hashlib
import struct
import traceback

import numpy as np
import pytest

from psi import (
    DecodeError,
    InvalidPointError,
    KeyConfirmationError,
    ParameterMismatchError,
    ProtocolError,
    Receiver,
    RepeatedElementError,
    Sender,
    SessionParameters,
    SizeLimitError,
    StateError,
)
from psi.group.blinds import Blinds
from psi.group.ristretto255 import Points, Scalar, hash_to_group, multiply
from psi.protocols import conversation
from psi.protocols.party import tag_bytes
from tests.psi import peers
from tests.psi.peers import (
    BAD_POINTS,
    PAIRS,
    Change,
    copy_within,
    patch,
    seal_of,
    sent,
    swapped,
)

HEADER_BYTES, SEAL_BYTES, MAC_BYTES = 40, 32, 32
LEFT, RIGHT = [b"a", b"b", b"c"], [b"c", b"d", b"a", b"e"]


def run(receiver: Receiver, sender: Sender) -> None:
    """Carry all messages."""
    message, to_sender = receiver.start(), True
    while message is not None:
        message = (sender if to_sender else receiver).receive(message)
        to_sender = not to_sender


def reseal(messages: list[bytes], changed: bytes) -> bytes:
    """Give a changed message a valid seal, as a hostile peer can."""
    chain = messages[-1][-SEAL_BYTES:] if messages else hashlib.sha256(b"psi transcript, ecdh")
    before = chain if isinstance(chain, bytes) else chain.digest()
    content = changed[:-SEAL_BYTES]
    return content + seal_of(before, content)


def until(stop: int) -> tuple[list[bytes], Receiver | Sender]:
    """Run honestly up to message `stop`; returns the messages so far and who must take it."""
    receiver, sender = Receiver(LEFT), Sender(RIGHT)
    messages = [sent(receiver.start())]
    parties: list[Receiver | Sender] = [sender, receiver]
    while len(messages) <= stop:
        answer = parties[(len(messages) - 1) % 2].receive(sent(messages[-1]))
        assert answer is not None
        messages.append(answer)
    return messages, parties[stop % 2]


# -- hostile or mistaken peers ------------------------------------------------------------------


@pytest.mark.parametrize("stop", range(6))
def test_messages_out_of_turn(stop: int) -> None:
    messages, victim = until(stop)
    for wrong in set(range(len(messages))) - {stop}:
        _, victim = until(stop)
        with pytest.raises(StateError):
            victim.receive(messages[wrong])


@pytest.mark.parametrize(
    "parameters",
    [SessionParameters(output="receiver"), SessionParameters(key_format="ID, lower case")],
)
def test_other_parameters(parameters: SessionParameters) -> None:
    receiver, sender = Receiver(LEFT, parameters), Sender(RIGHT)
    with pytest.raises(ParameterMismatchError, match="settings"):
        sender.receive(sent(receiver.start()))


def forge(stop: int, change: Change, *, confirm: bool = True) -> Receiver | Sender:
    """Let a hostile peer, which holds the session's key, change the body of message `stop`."""
    victim: Receiver | Sender = peers.forge(PAIRS["ecdh"], stop, change, confirm=confirm)
    return victim


def test_resealing_an_unchanged_message_is_accepted() -> None:
    # Without this the tests below could pass for the wrong reason.
    for stop in range(6):
        assert forge(stop, lambda body, messages: None).done == (stop >= 4)


# After the sender's MAC in ANSWER, at once in POINTS: a point for the key, then those of items.
POINTS_AT = {2: 0, 3: 32}
TAGS = 32 + 32 * 4


@pytest.mark.parametrize("stop", [2, 3])
@pytest.mark.parametrize("name", BAD_POINTS)
@pytest.mark.parametrize("row", [0, 2])
def test_invalid_points(stop: int, name: str, row: int) -> None:
    def change(body: bytearray, messages: list[bytes]) -> None:
        start = POINTS_AT[stop] + 32 * row
        body[start : start + 32] = BAD_POINTS[name]

    with pytest.raises(InvalidPointError):
        forge(stop, change)


@pytest.mark.parametrize("stop", [2, 3])
def test_points_with_the_top_bit(stop: int) -> None:
    def change(body: bytearray, messages: list[bytes]) -> None:
        body[POINTS_AT[stop] + 32 + 31] |= 0x80

    with pytest.raises(InvalidPointError):
        forge(stop, change)


@pytest.mark.parametrize("stop", [2, 3])
def test_repeated_points(stop: int) -> None:
    def change(body: bytearray, messages: list[bytes]) -> None:
        start = POINTS_AT[stop]
        body[start + 32 : start + 64] = body[start + 64 : start + 96]

    with pytest.raises(RepeatedElementError):
        forge(stop, change)


def test_our_own_points_sent_back() -> None:
    def change(body: bytearray, messages: list[bytes]) -> None:
        body[64:96] = messages[2][HEADER_BYTES + 32 :][:32]

    with pytest.raises(RepeatedElementError, match="our own"):
        forge(3, change)


@pytest.mark.parametrize("stop", [2, 3, 4])
def test_wrong_counts(stop: int) -> None:
    with pytest.raises(DecodeError):
        forge(stop, lambda body, messages: bytes(body[:-10]))
    with pytest.raises(DecodeError):
        forge(stop, lambda body, messages: bytes(body) + bytes(32))


@pytest.mark.parametrize("stop", [2, 3, 4, 5])
def test_wrong_announced_counts(stop: int) -> None:
    messages, victim = until(stop)
    message = bytearray(messages[stop])
    message[HEADER_BYTES - 9] += 100
    with pytest.raises(DecodeError, match="announces"):
        victim.receive(reseal(messages[:stop], bytes(message)))


@pytest.mark.parametrize("stop", [3, 4, 5])
@pytest.mark.parametrize("place", [0, -1])
def test_unconfirmed_content(stop: int, place: int) -> None:
    # MAC or tags: whoever does not hold a·b·C cannot change either.
    def change(body: bytearray, messages: list[bytes]) -> None:
        body[place] ^= 1

    with pytest.raises(KeyConfirmationError):
        forge(stop, change, confirm=False)


def test_another_point_for_the_key_is_no_empty_result() -> None:
    other = multiply(Scalar.random(), hash_to_group([b"C"], b"tag")).tobytes()
    for stop, start in POINTS_AT.items():
        attack = peers.Attack(PAIRS["ecdh"], stop)
        body = bytearray(attack.message[HEADER_BYTES:-SEAL_BYTES])
        body[start : start + 32] = other
        with pytest.raises(KeyConfirmationError):
            attack.finish(attack.sealed(bytes(body), confirm=True))


@pytest.mark.parametrize("change", [copy_within(TAGS, TAGS + 16, 16), swapped(TAGS)])
def test_repeated_and_unsorted_tags(change: Change) -> None:
    with pytest.raises(DecodeError, match="do not ascend"):
        forge(3, change)


def test_claims_that_are_none() -> None:
    # Two IDs match: their receipts are of this length, in the order of the tags.
    width = tag_bytes(len(LEFT), len(RIGHT))
    for change in (
        patch(MAC_BYTES, bytes(width)),
        lambda body, messages: bytes(body[: MAC_BYTES + width]) + bytes(width),
    ):
        with pytest.raises(DecodeError, match="did not ask for"):
            forge(4, change)
    for change in (
        copy_within(MAC_BYTES, MAC_BYTES + width, width),
        swapped(MAC_BYTES, width),
    ):
        with pytest.raises(RepeatedElementError, match="claims a match"):
            forge(4, change)


class Lying(Sender):
    """Says that it has its matches some other number of times, or some other number of them."""

    lie = b""

    def _own_counts(self) -> bytes:
        return self.lie


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        (struct.pack(">2I", 1, 0), DecodeError),
        (struct.pack(">I", 1), DecodeError),
        (struct.pack(">3I", 1, 1, 1), DecodeError),
        (struct.pack(">2I", 2**32 - 1, 2**32 - 1), SizeLimitError),
        (struct.pack(">2I", 1, 1 << 23), SizeLimitError),  # one match would fill the memory
    ],
)
def test_hostile_multiplicities(lie: bytes, error: type[ProtocolError]) -> None:
    parameters = SessionParameters(multiplicities=True)
    sender = Lying(RIGHT, parameters, counts=np.ones(4, np.intp))
    sender.lie = lie
    receiver = Receiver(LEFT, parameters, counts=np.array([1, 2, 3]))
    with pytest.raises(error):
        run(receiver, sender)
    assert not receiver.done


def test_a_receiver_that_counts_other_matches() -> None:
    class Miscounting(Receiver):
        @property
        def _announced(self) -> int:
            return super()._announced + 1

    with pytest.raises(DecodeError):
        run(Miscounting(LEFT), Sender(RIGHT))


class Unfinished(Sender):
    """Answers with a point that is none in the last place."""

    def _evaluated(self, points: Points) -> bytes:
        return super()._evaluated(points)[:-32] + bytes(32)


def secrets_kept_by(error: BaseException | None) -> list[str]:
    """Return the names under which frames of an exception still have what blinds points."""
    kept = []
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            for name, value in frame.f_locals.items():
                # The sessions themselves are this test's own; scalars come as arrays, too.
                if isinstance(value, Blinds | Scalar) or name == "scalars":
                    kept.append(f"{frame.f_code.co_name}: {name}")
        error = error.__context__
    return kept


@pytest.mark.parametrize("fault", [True, False])
def test_an_error_keeps_no_secrets(fault: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault:
        monkeypatch.setattr(conversation, "_clear_frames", lambda error, before: None)
    with pytest.raises(InvalidPointError) as caught:
        run(Receiver(LEFT), Unfinished(RIGHT))
    assert bool(secrets_kept_by(caught.value)) is fault


def test_an_error_keeps_what_its_caller_was_handling() -> None:
    def failing(scalars: str) -> None:
        raise ValueError(scalars)

    def handling() -> None:
        try:
            failing("of the caller's own")
        except ValueError:
            run(Receiver(LEFT), Unfinished(RIGHT))

    with pytest.raises(InvalidPointError) as caught:
        handling()
    assert secrets_kept_by(caught.value) == ["failing: scalars"]
