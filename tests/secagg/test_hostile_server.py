"""A server that lies about what is in the sum, or shows it to two parties in two ways."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import (
    AuthenticationError,
    ContextMismatchError,
    DecodeError,
    QuorumError,
    ReplayError,
)
from privfed.he import rlwe
from privfed.he.packing import MODULUS
from privfed.secagg import wire
from tests.secagg.parties import Round, parameters, updates

Change = Callable[[Any], None]
SHAPES: dict[str, tuple[int, ...]] = {"w": (7, 5), "b": (5,)}


def server(
    parties: Round, uploads: list[bytes], round_id: int = 1, change: Change | None = None
) -> bytes:
    """A server that adds `uploads`, changes its sums, and writes a total without checks."""
    aggregator = secagg.Aggregator(parties.params, round_id)
    for upload in uploads:
        aggregator.add(upload)
    if change:
        change(aggregator._whole[0])
    return b"".join(aggregator._sum_messages(wire.Kind.TOTAL))


@pytest.fixture
def parties() -> Round:
    return Round.of(parameters(4, SHAPES))


@pytest.fixture
def uploads(parties: Round) -> list[bytes]:
    return parties.uploads(updates(4, SHAPES), [10, 20, 30, 40])


def test_one_client_as_the_total(parties: Round, uploads: list[bytes]) -> None:
    with pytest.raises(QuorumError):
        parties.decryptor.decrypt(server(parties, uploads[:1]), 1)


def test_one_client_as_the_total_under_the_names_of_all(
    parties: Round, uploads: list[bytes]
) -> None:
    """The others' headers are genuine, only their payloads are left out."""

    def leave_out(total: Any) -> None:
        lone = secagg.Aggregator(parties.params, 1)
        lone.add(uploads[0])
        total.accumulator = lone._whole[0].accumulator

    with pytest.raises(AuthenticationError, match=r"does not decrypt$"):
        parties.decryptor.decrypt(server(parties, uploads, change=leave_out), 1)


def test_one_client_twice(parties: Round, uploads: list[bytes]) -> None:
    with pytest.raises(ReplayError):
        secagg.Aggregator(parties.params, 1).add(uploads[0] + uploads[0])

    def repeat(total: Any) -> None:
        entries = dict(total.entries)
        entries[99] = entries[0]
        total.entries = entries

    with pytest.raises(ReplayError):
        parties.decryptor.decrypt(server(parties, uploads[:2], change=repeat), 1)


@pytest.mark.parametrize("factor", [2, 3, -1])
def test_a_client_counted_with_another_factor(
    parties: Round, uploads: list[bytes], factor: int
) -> None:
    def scale(total: Any) -> None:
        lone = secagg.Aggregator(parties.params, 1)
        lone.add(uploads[0])
        accumulator: Any = lone._whole[0].accumulator
        c0 = accumulator._c0
        for _ in range((factor - 1) % 7 if factor > 0 else 0):
            total.accumulator._c0 += c0
        if factor < 0:
            total.accumulator._c0 += np.uint64(2) * (np.uint64(MODULUS) - c0)

    with pytest.raises(AuthenticationError, match=r"does not decrypt$"):
        parties.decryptor.decrypt(server(parties, uploads, change=scale), 1)


def test_a_set_and_then_the_set_without_one(parties: Round, uploads: list[bytes]) -> None:
    parties.decryptor.decrypt(server(parties, uploads), 1)
    with pytest.raises(ReplayError):
        parties.decryptor.decrypt(server(parties, uploads[:3]), 1)


def test_two_holders_shown_two_sets_notice_in_the_next_round() -> None:
    parties = Round.of(parameters(4, SHAPES, adversary="lying-server"))
    uploads = parties.uploads(updates(4, SHAPES), [10, 20, 30, 40])
    other = secagg.Decryptor(parties.params, parties.key, "memory")
    mine = parties.decryptor.decrypt(server(parties, uploads), 1)
    theirs = other.decrypt(server(parties, uploads[:2]), 1)
    assert mine.transcript != theirs.transcript
    sent = updates(4, SHAPES, seed=1)
    # Parties 0 and 1 saw one total, 2 and 3 the other: their messages do not add.
    first = parties.uploads(sent[:2], [1, 1], 2, previous=mine.transcript)
    rest = [
        encryptor.encrypt(update, weight=1, round_id=2, previous=theirs.transcript)
        for encryptor, update in zip(parties.encryptors[2:], sent[2:], strict=True)
    ]
    with pytest.raises(ContextMismatchError, match="history"):
        server(parties, [*first, *rest], 2)
    with pytest.raises(ContextMismatchError, match="history"):
        other.decrypt(server(parties, first, 2), 2)


def test_an_old_round(parties: Round, uploads: list[bytes]) -> None:
    old = server(parties, uploads)
    parties.decryptor.decrypt(old, 1)
    with pytest.raises(ContextMismatchError, match="another round"):
        parties.decryptor.decrypt(old, 2)
    renamed = bytearray(old)
    renamed[56:64] = (2).to_bytes(8, "little")
    with pytest.raises(AuthenticationError, match="signature"):
        parties.decryptor.decrypt(bytes(renamed), 2)


def test_seeds_of_another_client(parties: Round, uploads: list[bytes]) -> None:
    def swap(total: Any) -> None:
        (first, seeds), (second, others) = total.entries[0], total.entries[1]
        total.entries = {**total.entries, 0: (first, others), 1: (second, seeds)}

    with pytest.raises(AuthenticationError, match="signature"):
        parties.decryptor.decrypt(server(parties, uploads, change=swap), 1)


def added(coefficient: int, amount: int) -> Change:
    """A change of the encrypted sum that decrypts to exactly `amount` more."""

    def change(total: Any) -> None:
        c0 = total.accumulator._c0
        plain_bits = parameters(4, SHAPES).packing.plain_bits
        step = np.zeros(len(c0), np.uint64)
        step[coefficient] = rlwe.scale_up(np.full(1, amount, np.uint64), plain_bits)[0]
        total.accumulator._c0 += step

    return change


@pytest.mark.parametrize("coefficient", [0, 1, 7, -1])
@pytest.mark.parametrize("amount", [1, 2**14, 2**20 + 1])
def test_an_encrypted_number_added_to_the_sum(
    parties: Round, uploads: list[bytes], coefficient: int, amount: int
) -> None:
    """BFV is malleable; the tags are not: a weight, a value or a tag that moves is noticed."""
    with pytest.raises(AuthenticationError, match=r"does not decrypt$"):
        parties.decryptor.decrypt(server(parties, uploads, change=added(coefficient, amount)), 1)


def test_failures_are_uniform_and_retire_the_key(parties: Round) -> None:
    """Noise, a value or a weight that is wrong: the message is the same, and the third ends it."""

    def noise(total: Any) -> None:
        half_a_step = MODULUS >> (parties.params.packing.plain_bits + 1)
        total.accumulator._c0 += np.full(1, half_a_step, np.uint64)

    said = set()
    for round_id, change in enumerate([noise, added(3, 1), added(0, 2**14)], 1):
        uploads = parties.uploads(updates(4, SHAPES), [1, 2, 3, 4], round_id)
        with pytest.raises(AuthenticationError) as caught:
            parties.decryptor.decrypt(server(parties, uploads, round_id, change), round_id)
        said.add((str(caught.value), caught.value.__cause__, caught.value.__context__))
    assert said == {("the total does not decrypt", None, None)}
    uploads = parties.uploads(updates(4, SHAPES), [1, 2, 3, 4], 9)
    with pytest.raises(AuthenticationError, match="retired"):
        parties.decryptor.decrypt(parties.total(uploads, 9), 9)


def test_a_failed_round_is_used_up(parties: Round, uploads: list[bytes]) -> None:
    honest = server(parties, uploads)
    broken = bytearray(honest)
    broken[-5] ^= 0xFF
    with pytest.raises(AuthenticationError):
        parties.decryptor.decrypt(bytes(broken), 1)
    with pytest.raises(ReplayError):
        parties.decryptor.decrypt(honest, 1)


def test_what_is_wrong_before_decryption_costs_no_round(
    parties: Round, uploads: list[bytes]
) -> None:
    honest = server(parties, uploads)
    for bad in (honest[:-1], honest + b"\0", b"", honest[:300], uploads[0]):
        with pytest.raises(DecodeError):
            parties.decryptor.decrypt(bad, 1)
    parties.decryptor.decrypt(honest, 1)


@pytest.mark.parametrize("scheme", ["packed", "slots"])
def test_summed_totals_under_masks_hide_a_lone_client(scheme: str) -> None:
    """Masks turn any incomplete sum of c0 into noise, if no linear hash refuses it before."""
    params = parameters(
        3, SHAPES, scheme=scheme, download="summed" if scheme == "packed" else None,
        adversary=None,
    )  # fmt: skip
    assert params.masks
    parties = Round.of(params)
    uploads = parties.uploads(updates(3, SHAPES), [1, 2, 3])
    names = secagg.Aggregator(params, 1)
    for upload in uploads:
        names.add(upload)
    lone = secagg.Aggregator(params, 1)
    lone.add(uploads[0])
    names._whole[0].accumulator = lone._waiting[0, 1, 2][0].accumulator
    total = b"".join(names._sum_messages(wire.Kind.TOTAL))
    said = "does not decrypt" if scheme == "packed" else "not the sum of what its senders signed"
    with pytest.raises(AuthenticationError, match=said):
        parties.decryptor.decrypt(total, 1)
