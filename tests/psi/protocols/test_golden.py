"""Every message of every protocol, byte for byte: what two versions of psi say to each other.

The digests in tests/vectors/psi_transcripts.json are of this program's own messages under a fixed
generator. One that changes is a break of the wire: raise `psi.protocols.messages.VERSION` with it.
"""

import hashlib
import itertools
import json
import secrets
from pathlib import Path
from typing import Any

import pytest

import psi.kernels
from psi import Leader, Member, SessionParameters, TagStore, UnbalancedReceiver, padded
from tests.places import VECTORS
from tests.psi.peers import LEFT, PAIRS, RIGHT, run

GOLDEN = json.loads((VECTORS / "psi_transcripts.json").read_text("utf-8"))
SETS = [[b"a", b"b", b"c"], [b"c", b"b", b"x", b"y"], [b"b", b"z", b"c"]]


@pytest.fixture(autouse=True)
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Randomness that is the same in every run, and shuffles that draw no more of it."""
    monkeypatch.setattr(psi.kernels, "fast_available", lambda: False)
    numbers = itertools.count()
    monkeypatch.setattr(
        secrets,
        "token_bytes",
        lambda count=32: hashlib.shake_256(b"psi golden %d" % next(numbers)).digest(count),
    )
    monkeypatch.setattr(
        secrets, "randbelow", lambda most: int.from_bytes(secrets.token_bytes(16)) % most
    )


def digests(messages: list[bytes]) -> list[str]:
    return [hashlib.sha256(message).hexdigest() for message in messages]


@pytest.mark.parametrize("name", PAIRS)
def test_between_two(name: str, tmp_path: Path) -> None:
    pair: tuple[Any, Any]
    if name == "unbalanced":  # the store of PAIRS has a key that another test drew
        store = TagStore.create(tmp_path / "store", RIGHT)
        pair = UnbalancedReceiver(LEFT), store.answering("bob")
    else:
        pair = PAIRS[name]()
    assert digests(run(*pair)) == GOLDEN[name]


@pytest.mark.parametrize("output", ["both", "receiver"])
def test_among_three(output: Any) -> None:
    parameters = SessionParameters(output=output)
    sets = [SETS[0], padded(SETS[1], 6, side="sender"), SETS[2]]
    members = [Member(sets[i], parameters, number=i, parties=3) for i in (1, 2)]
    parties: list[Any] = [Leader(sets[0], parameters, parties=3), *members]
    said: list[bytes] = []
    sent = {number: one.start() for number, one in enumerate(parties)}
    while sent:
        arriving: dict[int, dict[int, bytes]] = {}
        for sender, messages in sorted(sent.items()):
            for recipient, message in sorted(messages.items()):
                said.append(message)
                arriving.setdefault(recipient, {})[sender] = message
        sent = {number: parties[number].receive(arriving[number]) for number in sorted(arriving)}
    assert digests(said) == GOLDEN[f"among three, {output}"]
