"""The protocol chosen by size: both sides alike, by one rule, with hellos that fix it."""

import pandas as pd
import pytest
from psi_fuzzing import check_every_protocol_refuses, stages_of
from psi_peers import Attack, run

import psi
import psi.choice
from psi import ConfigError, ProtocolError, StateError
from psi.choice import AutoReceiver, AutoSender
from psi.twoparty import TableSession

LEFT, RIGHT = [b"a", b"b", b"c"], [b"c", b"d", b"a", b"e"]


def pair() -> tuple[AutoReceiver, AutoSender]:
    return AutoReceiver(LEFT), AutoSender(RIGHT)


@pytest.mark.parametrize(("large_from", "protocol"), [(8, "ecdh"), (7, "kkrt")])
def test_sizes_decide(large_from: int, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psi.choice, "LARGE_FROM", large_from)
    receiver, sender = pair()
    assert receiver.protocol == "auto"
    assert not receiver.done
    with pytest.raises(StateError):
        _ = receiver.matches
    run(receiver, sender)
    assert receiver.protocol == sender.protocol == protocol
    assert {LEFT[index] for index in receiver.matches} == {b"a", b"c"}
    assert [LEFT[i] for i in receiver.matches] == [RIGHT[i] for i in sender.matches]
    assert receiver.peer_counts is None


@pytest.mark.parametrize("large_from", [7, 8])
def test_what_every_protocol_refuses(large_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psi.choice, "LARGE_FROM", large_from)
    check_every_protocol_refuses(stages_of(pair), stages_of(pair))
    honest = Attack(pair, 1)
    assert len(honest.message) <= honest.victim.longest_message
    for other in ("ecdh", "kkrt"):  # a side that chose for itself is no partner
        with pytest.raises(ProtocolError):
            psi.choice.parties(other)[1](RIGHT).receive(AutoReceiver(LEFT).start())


def test_a_table_of_each_size() -> None:
    ids = [f"{number:028d}" for number in range(9000)]
    left, right = pd.DataFrame({"ID": ids}), pd.DataFrame({"ID": ids[::-1][:8000]})
    found = psi.align(left, right, on="ID")
    assert found.protocol == "kkrt"
    assert found.left_rows.tolist() == list(range(1000, 9000))
    assert found.right_rows.tolist() == list(range(7999, -1, -1))
    assert psi.align(left[:50], right, on="ID").protocol == "ecdh"


@pytest.mark.parametrize("protocol", ["ecdh", "kkrt"])
@pytest.mark.parametrize("duplicates", ["first", "all"])
def test_a_protocol_of_one_s_own_choice(protocol: str, duplicates: str) -> None:
    left, right = ["x", "y", "x", None], ["y", "x", "x", "z"]
    found = psi.align(left, right, duplicates=duplicates, protocol=protocol)
    assert found.protocol == protocol
    pairs = list(zip(found.left_rows.tolist(), found.right_rows.tolist(), strict=True))
    every = [(0, 1), (0, 2), (1, 0), (2, 1), (2, 2)]
    assert pairs == (every if duplicates == "all" else [(0, 1), (1, 0)])


def test_no_such_protocol() -> None:
    with pytest.raises(ConfigError, match="auto, ecdh or kkrt"):
        psi.align(["a"], ["a"], protocol="rot13")
    with pytest.raises(ConfigError, match="intersection only"):
        TableSession.prepare(["a"], side="join", learn="cardinality", protocol="kkrt")
    session = TableSession.prepare(["a"], side="join", protocol="kkrt")
    assert session.party.protocol == "kkrt"
    assert "--protocol kkrt" in session.terms
