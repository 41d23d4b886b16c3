"""Extended transfers: the chosen pad and no other, streams that never repeat, strict parsing."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from privfed.errors import ConfigError, DecodeError, ReplayError
from privfed.garbled import TransferReceiver, TransferSender, extension
from privfed.garbled.extension import request_bytes
from privfed.garbled.hashing import Blocks, TweakableHash
from tests.garbled.runs import IDENTITY, transfers

HEAD_BYTES = 8


def choices(count: int, seed: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 2, count, np.uint8)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 128, 1000])
def test_the_receiver_gets_the_pad_of_its_choice_and_no_other(count: int) -> None:
    sender, receiver = transfers()
    seen: set[bytes] = set()
    for batch in range(3):
        bits = choices(count, batch)
        request, chosen = receiver.request(bits)
        assert len(request) == request_bytes(count)
        zeros, ones = sender.pads(request, count)
        assert np.array_equal(chosen, np.where(bits[:, None] == 1, ones, zeros))
        seen |= {row.tobytes() for row in (*zeros, *ones)}
        # Each bit of the other pad differs from the chosen one as often as a coin does: at 128
        # bits a pad, less than a quarter or more than three quarters happens once in 10^8.
        apart = np.bitwise_count(zeros ^ ones).sum(axis=1)
        assert np.all((apart > 32) & (apart < 96))
    assert len(seen) == 6 * count  # no pad twice, of any choice or batch


def test_no_transfers_are_no_bits() -> None:
    sender, receiver = transfers()
    request, chosen = receiver.request(choices(0))
    zeros, ones = sender.pads(request, 0)
    assert len(chosen) == len(zeros) == len(ones) == 0
    assert len(request) == HEAD_BYTES


def test_sessions_have_other_pads() -> None:
    """What is fresh is the seeds; that the identity counts, too, shows where it differs."""
    sender, receiver = TransferSender(b"one session"), TransferReceiver(b"another")
    sender.agree(receiver.public)
    receiver.agree(sender.choices)
    request, chosen = receiver.request(choices(200))
    zeros, ones = sender.pads(request, 200)
    assert not np.any(np.all(chosen == zeros, axis=1) | np.all(chosen == ones, axis=1))


def test_each_transfer_of_each_session_is_hashed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a key nor, under it, a number serves two transfers."""
    numbers: dict[bytes, list[int]] = {}

    class Noting(TweakableHash):
        def __init__(self, key: bytes) -> None:
            super().__init__(key)
            self.numbers = numbers.setdefault(key, [])

        def __call__(self, blocks: Blocks, tweaks: NDArray[np.uint64]) -> Blocks:
            self.numbers += tweaks.tolist()
            return super().__call__(blocks, tweaks)

    monkeypatch.setattr(extension, "TweakableHash", Noting)
    for identity in (b"one session", b"another"):
        _, receiver = transfers(identity)
        for count in (5, 9, 3):
            receiver.request(choices(count))
    assert list(numbers.values()) == [list(range(17))] * 2


# -- streams never repeat: an attack on those that do ---------------------------------------------


class Restarting:
    """The planted fault: streams that begin anew with each batch."""

    def __init__(self, seeds: list[bytes]) -> None:
        self.seeds = seeds

    def columns(self, transfers: int) -> NDArray[np.uint8]:
        blank = bytes(-(-transfers // 8))
        made = [
            Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor().update(blank)
            for seed in self.seeds
        ]
        return np.frombuffer(b"".join(made), np.uint8).reshape(128, len(blank))


def changed_choices(first: bytes, second: bytes) -> NDArray[np.uint8] | None:
    """Return where the choices of two requests differ, if the same streams hide both."""
    one, other = (
        np.frombuffer(request, np.uint8, offset=HEAD_BYTES).reshape(128, -1)
        for request in (first, second)
    )
    columns = one ^ other
    if not np.all(columns == columns[0]):
        return None
    return np.unpackbits(columns[0], bitorder="little")


def two_requests() -> tuple[bytes, bytes]:
    _, receiver = transfers()
    return receiver.request(choices(64, 1))[0], receiver.request(choices(64, 2))[0]


def test_streams_that_restarted_would_show_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert changed_choices(*two_requests()) is None
    monkeypatch.setattr(extension, "_Streams", Restarting)
    found = changed_choices(*two_requests())
    assert found is not None
    assert np.array_equal(found, choices(64, 1) ^ choices(64, 2))


def test_a_repeated_request_is_refused() -> None:
    sender, receiver = transfers()
    first, second = receiver.request(choices(40))[0], receiver.request(choices(40))[0]
    with pytest.raises(ReplayError, match="begins at transfer 40, not at 0"):
        sender.pads(second, 40)  # one is missing
    sender.pads(first, 40)
    with pytest.raises(ReplayError, match="begins at transfer 0, not at 40"):
        sender.pads(first, 40)
    bits = choices(40)
    zeros, ones = sender.pads(second, 40)  # a refusal takes nothing from the streams
    _, third = transfers()[0], receiver.request(bits)
    again = sender.pads(third[0], 40)
    assert np.array_equal(third[1], np.where(bits[:, None] == 1, again[1], again[0]))
    assert not np.array_equal(zeros, again[0])
    assert not np.array_equal(ones, again[1])


# -- bytes of others ------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [b"", b"\0", b"\0" * 128])
@pytest.mark.parametrize("keep", [0, 1, HEAD_BYTES, None])
def test_requests_of_other_lengths_are_refused(keep: int | None, change: bytes) -> None:
    sender, receiver = transfers()
    request = receiver.request(choices(40))[0]
    mutated = request[:keep] + change
    if mutated == request:
        mutated = request[:-1]
    with pytest.raises(DecodeError, match="another length"):
        sender.pads(mutated, 40)
    assert len(sender.pads(request, 40)[0]) == 40


@pytest.mark.deep(normal=200, stated=20_000)
def test_random_requests_give_pads_or_a_named_error(count: int) -> None:
    sender, _ = transfers()
    random, done = np.random.default_rng(5), 0
    for _ in range(count):
        wanted = int(random.integers(0, 30))
        length = request_bytes(wanted) if random.integers(2) else int(random.integers(0, 700))
        head = done if random.integers(2) else int(random.integers(0, 2**63))
        request = (head.to_bytes(8, "little") + random.bytes(length))[:length]
        if length != request_bytes(wanted) or head != done:
            with pytest.raises((DecodeError, ReplayError)):
                sender.pads(request, wanted)
            continue
        zeros, ones = sender.pads(request, wanted)
        done += wanted
        assert zeros.shape == ones.shape == (wanted, 2)
    assert done > 0


@pytest.mark.parametrize("keep", [0, 1, 31, None])
def test_bases_of_other_lengths_are_refused(keep: int | None) -> None:
    sender, receiver = TransferSender(IDENTITY), TransferReceiver(IDENTITY)
    for data, agree in ((receiver.public, sender.agree), (sender.choices, receiver.agree)):
        with pytest.raises(DecodeError, match="base transfers"):
            agree(data[:keep] if keep is not None else data + data)


def test_points_that_are_none_are_refused() -> None:
    sender, receiver = TransferSender(IDENTITY), TransferReceiver(IDENTITY)
    with pytest.raises(DecodeError, match="base transfers"):
        sender.agree(b"\xff" * 32)
    with pytest.raises(DecodeError, match="base transfers"):
        receiver.agree(sender.choices[:-32] + b"\xff" * 32)


def test_the_base_is_laid_once_and_first() -> None:
    sender, receiver = TransferSender(IDENTITY), TransferReceiver(IDENTITY)
    with pytest.raises(ConfigError, match="base transfers first"):
        receiver.request(choices(1))
    with pytest.raises(ConfigError, match="base transfers first"):
        sender.pads(bytes(request_bytes(1)), 1)
    sender.agree(receiver.public)
    receiver.agree(sender.choices)
    with pytest.raises(ReplayError, match="new session"):
        sender.agree(receiver.public)
    with pytest.raises(ReplayError, match="new session"):
        receiver.agree(sender.choices)


def test_secrets_stay() -> None:
    sender, receiver = transfers()
    assert repr(sender) == "TransferSender(0 transfers)"
    receiver.request(choices(9))
    assert repr(receiver) == "TransferReceiver(9 transfers)"
    for side in (sender, receiver):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(side)
