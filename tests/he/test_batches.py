"""SEAL's own ciphertexts as bytes: what reaches its loader, and what does not."""

from typing import Any

import numpy as np
import pytest

from privfed.errors import DecodeError, LayoutError
from privfed.he import packing
from privfed.he.seal import batches as batches_room
from privfed.he.seal.batches import CKKSBatches, SlotBatches
from privfed.keys import SecretKey

Batches = SlotBatches | CKKSBatches


@pytest.fixture(params=["slots", "ckks"])
def batches(request: pytest.FixtureRequest) -> Batches:
    return SlotBatches(39) if request.param == "slots" else CKKSBatches()


@pytest.fixture
def key(batches: Batches) -> Any:
    return batches.key(SecretKey.generate(bytes(32)), b"test")


def test_sums_of_slots(batches: Batches, key: Any) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**30, (3, batches.slots))
    total, *others = [
        batches.load(memoryview(batches.encrypt(key, row)), batches.upload) for row in values
    ]
    for other in others:
        total = batches.add(total, other)
    read = batches.decrypt(key, memoryview(batches.save(total)))
    if isinstance(batches, SlotBatches):
        assert np.array_equal(read, values.sum(axis=0))
    else:
        assert np.abs(read - values.sum(axis=0)).max() < 2**-10


def test_only_what_is_built_like_seals_own_reaches_its_loader(
    batches: Batches, key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEAL's loader aborts the process on some bytes that lie about their own structure."""
    good = batches.encrypt(key, np.arange(10))
    structure = [0, 20, 33, 41, 49, 57, 65, 73, 76, 81, 89, len(good) - 66, len(good) - 81]
    monkeypatch.setattr(batches, "_loaded", lambda _: pytest.fail("reached SEAL"))
    for place in structure:
        altered = bytearray(good)
        altered[place] ^= 1
        with pytest.raises(DecodeError):
            batches.load(memoryview(bytes(altered)), batches.upload)
    for bad in (b"", good[:-1], good + b"\0"):
        with pytest.raises(DecodeError):
            batches.load(memoryview(bad), batches.upload)


def test_words_past_the_modulus_are_refused_by_seal() -> None:
    slots = SlotBatches(39)
    good = slots.encrypt(slots.key(SecretKey.generate(bytes(32)), b"test"), np.arange(10))
    bad = bytearray(good)
    bad[97:105] = packing.MODULUS.to_bytes(8, "little")
    with pytest.raises(DecodeError):
        slots.load(memoryview(bytes(bad)), slots.upload)
    bad[97:105] = (packing.MODULUS - 1).to_bytes(8, "little")
    slots.load(memoryview(bytes(bad)), slots.upload)


def test_another_keys_sum_decrypts_to_something_else(batches: Batches, key: Any) -> None:
    values = np.arange(1, 100)
    total = batches.load(memoryview(batches.encrypt(key, values)), batches.upload)
    other = batches.key(SecretKey.generate(bytes(32)), b"test")
    read = batches.decrypt(other, memoryview(batches.save(total)))
    assert not np.allclose(read[:99], values)


def test_the_words_of_a_sum_are_the_sums_of_words() -> None:
    slots = SlotBatches(39)
    key = slots.key(SecretKey.generate(bytes(32)), b"test")
    fresh = [slots.encrypt(key, np.arange(10)) for _ in range(3)]
    total: Any = None
    for each in fresh:
        loaded = slots.load(memoryview(each), slots.upload)
        total = loaded if total is None else slots.add(total, loaded)
    words = [slots.words(slots.expanded(each)).tolist() for each in fresh]
    summed = slots.words(slots.save(total))
    assert summed.tolist() == [sum(column) % packing.MODULUS for column in zip(*words, strict=True)]
    assert len(summed) == 2 * packing.RING_DEGREE
    for bad in (fresh[0], slots.save(total)[1:], b""):
        with pytest.raises(DecodeError):
            slots.words(bad)


@pytest.mark.parametrize("first", [1, 8 * packing.RING_DEGREE])
def test_words_that_lie_elsewhere_are_noticed(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """By a SEAL of another layout: what is read there does not add, or is not all that varies."""

    def elsewhere(body: bytes | memoryview) -> np.ndarray:
        words = body[-16 * packing.RING_DEGREE :][first:]
        return np.frombuffer(words[: len(words) // 8 * 8], "<u8").astype(np.uint64)

    slots = SlotBatches(39)
    good = slots.expanded(
        slots.encrypt(slots.key(SecretKey(bytes(32), bytes(32)), b""), np.ones(1))
    )
    monkeypatch.setattr(batches_room, "_words", elsewhere)
    if first > 8:  # c1 alone adds: then the bytes before it must not vary
        monkeypatch.setattr(batches_room, "_POLY_BYTES", 4 * packing.RING_DEGREE)
    with pytest.raises(LayoutError, match="install tenseal"):
        slots.words(good)
