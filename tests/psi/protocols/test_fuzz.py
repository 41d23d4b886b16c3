"""Mutated messages, half by outsiders and half by the authenticated peer, for every protocol.

Whatever arrives, a side raises a ProtocolError or goes on; and if the session ends well, its
result is right. Only what a peer may do to its own input is left: one that seals a changed point
drops an item, and one that confirms changed tags says which of *our* items match.

2,000 messages a protocol; in `make deep` a hundred thousand by all protocols together.
"""

import random
from collections import Counter
from typing import Any

import pytest

from psi import (
    CardinalityReceiver,
    CardinalitySender,
    NoisyCardinalityReceiver,
    NoisyCardinalitySender,
    NoisySumReceiver,
    NoisySumSender,
    PrivateIDReceiver,
    PrivateIDSender,
    SumReceiver,
    SumSender,
)
from tests.psi.fuzzing import SETS, Stage, forged, rounds, stages
from tests.psi.peers import LEFT, PAIRS, RIGHT

SHARED = {b"a", b"c"}
COSTLY = dict.fromkeys(("vole", "vole, counted", "vole, in parts"), 3)  # messages at the beginning
UNCONFIRMED = dict.fromkeys(COSTLY, 5)  # messages before a key is common
DEEP = pytest.mark.deep(normal=2_000, stated=-(-100_000 // (len(PAIRS) + 1)))
KINDS = ("outsider", "outsider", "sealing", "confirming")


def check(stage: Stage, message: bytes, kind: str, victim: Any) -> None:
    """What a session that ended well after an attack may say."""
    honest = kind == "outsider" or message == stage.message
    match victim:
        case NoisySumReceiver() | NoisySumSender():
            count, total = victim._peer  # noqa: SLF001  (their largest noise)
            assert not honest or abs(victim.cardinality - 2) <= count.bound
            assert not honest or abs(victim.sum - 1030) <= total.bound
        case NoisyCardinalityReceiver() | NoisyCardinalitySender():
            (count,) = victim._peer  # noqa: SLF001
            assert not honest or abs(victim.cardinality - 2) <= count.bound
        case SumReceiver() | SumSender():
            assert 2 <= victim.cardinality <= 3
            assert 0 <= victim.sum <= 1000 * victim.cardinality
            assert not honest or (victim.cardinality, victim.sum) == (2, 1030)
        case CardinalityReceiver() | CardinalitySender():
            assert victim.cardinality <= (3 if kind == "confirming" else 2)
            assert not honest or victim.cardinality == 2
        case PrivateIDReceiver() | PrivateIDSender():
            assert len(set(victim.union_ids)) == len(victim.union_ids) <= 7
            assert set(victim.own_ids) <= set(victim.union_ids)
            assert not honest or len(victim.union_ids) == 5
        case _ if victim._found is not None:  # noqa: SLF001  (how far the victim came)
            check_matches(victim, honest=honest, lies=kind == "confirming")


def check_matches(victim: Any, *, honest: bool, lies: bool) -> None:
    own = LEFT if victim.speaks_first else RIGHT
    found = [own[index] for index in victim.matches]
    assert len(set(found)) == len(found)
    if honest:
        assert set(found) == SHARED
    # Nobody can make up a tag of vole or of a store; in ecdh both sides can tag all points.
    elif not lies or (victim.speaks_first and victim.protocol != "ecdh"):
        assert set(found) <= SHARED
    if victim.peer_counts is not None:
        assert len(victim.peer_counts) == len(found)
        assert min(victim.peer_counts, default=1) > 0


def places(name: str) -> list[Stage]:
    """The messages to attack; those that cost transfers not as often as the others."""
    every, costly = stages(name), COSTLY.get(name, 0)
    return every[:costly] + every[costly:] * 8 if costly else every


@pytest.mark.parametrize("name", PAIRS)
def test_the_harness_lets_unchanged_messages_through(name: str) -> None:
    # Otherwise everything below could pass because everything is refused.
    confirmed = 0
    for stage in stages(name):
        message = stage.message
        if stage.confirmed:
            message, confirmed = stage.confirm(message), confirmed + 1
        assert stage.seal(message) == stage.message
        victim = stage.finish(message)
        assert victim is not None
        check(stage, message, "outsider", victim)
    assert confirmed == len(stages(name)) - UNCONFIRMED.get(name, 3)


@DEEP
@pytest.mark.parametrize("name", PAIRS)
def test_mutated_messages(name: str, count: int) -> None:
    draw = random.Random(name)  # noqa: S311 - reproducible attacks
    ends: Counter[tuple[str, bool]] = Counter()
    for _ in range(count):
        stage, kind = draw.choice(places(name)), draw.choice(KINDS)
        message = forged(draw, stage, kind)
        victim = stage.finish(message)
        ends[kind, victim is not None] += 1
        if victim is not None:
            check(stage, message, kind, victim)
    check_ends(ends, count)


def test_the_harness_lets_three_through() -> None:
    assert len(rounds()) == 6 + 4 + 2 + 2
    for one in rounds():
        message = one.confirm(one.message) if one.confirmed else one.message
        assert one.seal(message) == one.message
        parties = one.finish(message)
        assert parties is not None
        for party, own in zip(parties, SETS, strict=True):
            assert {own[index] for index in party.matches} == {b"b", b"c"}


@DEEP
def test_mutated_messages_among_three(count: int) -> None:
    draw = random.Random("kmprt")  # noqa: S311
    ends: Counter[tuple[str, bool]] = Counter()
    for _ in range(count):
        one, kind = draw.choice(rounds()), draw.choice(KINDS)
        message = forged(draw, one, kind)
        parties = one.finish(message)
        ends[kind, parties is not None] += 1
        for party, own in zip(parties or (), SETS, strict=parties is not None):
            found = [own[index] for index in party.matches]
            assert len(set(found)) == len(found)
            # A hostile table can only lose items: to keep one it has to know its share.
            assert set(found) <= {b"b", b"c"}
            assert len(found) == 2 or (kind != "outsider" and message != one.message)
    check_ends(ends, count)


def check_ends(ends: Counter[tuple[str, bool]], count: int) -> None:
    """Most attacks are refused, and not all: some change nothing, some what a peer may choose."""
    print(dict(ends))
    assert sum(ends.values()) == count
    assert ends["outsider", True] < ends["outsider", False] / 20
    assert ends["confirming", True]
