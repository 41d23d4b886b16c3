"""Many mutated messages for every mode but the plain intersection, which has its own."""

from pathlib import Path
from typing import Any

import pytest
from psi_peers import Pair, attack_often

from psi import (
    CardinalityReceiver,
    CardinalitySender,
    PrivateIDReceiver,
    PrivateIDSender,
    SumParameters,
    SumReceiver,
    SumSender,
    TagStore,
    UnbalancedReceiver,
    UnbalancedSender,
)

LEFT, RIGHT = [b"a", b"b", b"c"], [b"c", b"d", b"a", b"e"]
TWO = SumParameters(minimum=2, max_value=1000)


def pairs(store: TagStore) -> dict[str, tuple[Pair, tuple[int, ...]]]:
    """A fresh receiver and sender of each mode, and which messages begin with a MAC."""
    return {
        "cardinality": (lambda: (CardinalityReceiver(LEFT), CardinalitySender(RIGHT)), (3, 4, 5)),
        "sum": (
            lambda: (SumReceiver(LEFT, TWO), SumSender(RIGHT, [1000, 200, 30, 4], TWO)),
            (3, 4, 5, 6, 7),
        ),
        "ids": (lambda: (PrivateIDReceiver(LEFT), PrivateIDSender(RIGHT)), (3, 4, 5)),
        "unbalanced": (
            lambda: (UnbalancedReceiver(LEFT), UnbalancedSender(store, peer="bob")),
            (3, 4, 5),
        ),
    }


def check(victim: Any) -> None:
    """Whatever a peer does, a result that comes is one that some honest sets could have."""
    match victim:
        case SumReceiver() | SumSender():
            assert 2 <= victim.cardinality <= 3
            assert 0 <= victim.sum <= 1000 * victim.cardinality
        case CardinalityReceiver() | CardinalitySender():
            assert 0 <= victim.cardinality <= 3
        case PrivateIDReceiver() | PrivateIDSender():
            assert len(set(victim.union_ids)) == len(victim.union_ids) <= 7
            assert set(victim.own_ids) <= set(victim.union_ids)
        case UnbalancedReceiver():
            assert {LEFT[index] for index in victim.matches} <= {b"a", b"c"}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["cardinality", "sum", "ids", "unbalanced"])
def test_thousands_of_mutated_messages(mode: str, tmp_path: Path) -> None:
    store = TagStore.create(tmp_path / "store", RIGHT, items_a_peer=10**9)
    pair, confirmed = pairs(store)[mode]
    attack_often(pair, confirmed, times=2_500, seed=6, check=check)
