"""The protocol between two: auto takes what keeps its promise; kkrt says what it trusts in."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import psi
import psi.protocols.kkrt
from psi import ConfigError, ProtocolError, SessionParameters, TrustWarning, UnkeptLimitError
from psi.ledger import Ledger
from psi.protocols.auto import OFFERED, cheapest
from psi.protocols.choice import chosen
from psi.protocols.party import Party
from psi.sessions import PairChoice, TableSession
from psi.sessions.questions.question import Side
from psi.tables.keys import Duplicates
from tests.places import ROOT
from tests.psi.peers import run, sent

LARGE = 9000  # of these sizes auto once took kkrt


def session(
    side: Side, ids: Any = ("a", "b"), max_peer_items: int | None = None, **choices: Any
) -> TableSession[Party]:
    choice = PairChoice(side=side, **choices)
    return TableSession.prepare(list(ids), choice, max_peer_items=max_peer_items)


@pytest.fixture
def no_kkrt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Any party of kkrt ends the test."""

    def fail(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a party of kkrt")

    monkeypatch.setattr(psi.protocols.kkrt.parties._KKRTParty, "__init__", fail)  # noqa: SLF001  (of both roles)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrustWarning)
        yield


@pytest.mark.usefixtures("no_kkrt")
@pytest.mark.parametrize("result", ["both", "serve", "join"])
@pytest.mark.parametrize("sizes", [(0, 0), (3, 4), (3, LARGE), (LARGE, LARGE)])
def test_auto_is_the_cheapest_of_those_that_keep_their_promise(
    sizes: tuple[int, int], result: str
) -> None:
    held = [
        session("serve", map(str, range(sizes[0])), result=result),
        session("join", map(str, range(sizes[1])), result=result),
    ]
    assert [one.party.protocol for one in held] == ["auto", "auto"]
    receiver, sender = sorted((one.party for one in held), key=lambda one: not one.speaks_first)
    run(receiver, sender)
    number, _ = cheapest(len(receiver._items), len(sender._items))  # noqa: SLF001  (their sizes)
    assert {one.party.protocol for one in held} == {OFFERED[number].name}


@pytest.mark.usefixtures("no_kkrt")
@pytest.mark.parametrize(("size", "protocol"), [(20, "ecdh"), (LARGE, "vole")])
def test_auto_in_one_process(size: int, protocol: str) -> None:
    ids = [f"{number:028d}" for number in range(size)]
    left, right = pd.DataFrame({"ID": ids}), pd.DataFrame({"ID": ids[::-1][: size - 10]})
    found = psi.align(left, right, on="ID")
    assert found.protocol == protocol
    assert found.reason == cheapest(size, size - 10, None)[1]
    assert found.rows == (size, size - 10)
    assert found.left_rows.tolist() == list(range(10, size))
    assert found.right_rows.tolist() == list(range(size - 11, -1, -1))


def test_a_side_that_says_auto_is_no_partner_for_one_that_names_a_protocol() -> None:
    for protocol in ("ecdh", "vole"):
        assert session("serve").terms != session("join", protocol=protocol).terms


def test_a_bandwidth_goes_with_auto() -> None:
    held = session("join", bandwidth=1.5)
    assert held.party._megabits == 1.5  # noqa: SLF001  (that the speed arrived)
    for choices in ({"protocol": "ecdh"}, {"learn": "cardinality"}):
        with pytest.raises(ConfigError, match="goes with auto and an intersection: leave it out"):
            session("join", bandwidth=1.5, **choices)


def test_a_side_that_names_kkrt_alone_is_no_partner() -> None:
    choices = [("auto", "kkrt"), ("kkrt", "auto")]
    for receiver, sender in choices:
        asking, answering = chosen(receiver).parties[0], chosen(sender).parties[1]
        with pytest.raises(ProtocolError):
            answering([b"a"]).receive(sent(asking([b"a"]).start()))


@pytest.mark.parametrize("side", ["serve", "join"])
def test_kkrt_by_name_says_what_a_cheating_side_gets(side: Side) -> None:
    with pytest.warns(TrustWarning, match=r"11 of the other's IDs .* offline, past every limit"):
        held = session(side, protocol="kkrt")
    assert held.party.protocol == "kkrt"
    assert b'"protocol":"kkrt"' in held.terms.encode()


@pytest.mark.parametrize("side", ["serve", "join"])
@pytest.mark.parametrize("limit", [2, 1 << 24, 1 << 30])
def test_kkrt_takes_no_limit_on_the_other_sets_size(side: Side, limit: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrustWarning)  # refused, not only warned of
        with pytest.raises(UnkeptLimitError, match="max_peer_items either: choose ecdh"):
            session(side, protocol="kkrt", max_peer_items=limit)
    for party in chosen("kkrt").parties:
        with pytest.raises(UnkeptLimitError, match="choose ecdh"):
            party([b"a"], SessionParameters(), max_peer_items=limit)
    assert session(side, max_peer_items=limit).party._max_peer_items == limit  # noqa: SLF001  (that the limit arrived)


@pytest.mark.parametrize("role", [0, 1])
def test_kkrt_takes_no_count_of_what_is_asked(role: int, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", sessions_a_peer=1)
    party: Party = chosen("kkrt").parties[role]([b"a"])
    with pytest.raises(UnkeptLimitError, match="choose ecdh"):
        party.charge_with(lambda peer, items: ledger.charge("bob", items))


@pytest.mark.parametrize("protocol", ["ecdh", "vole", "kkrt"])
@pytest.mark.parametrize("duplicates", ["first", "all"])
def test_a_protocol_of_one_s_own_choice(protocol: str, duplicates: Duplicates) -> None:
    left, right = ["x", "y", "x", None], ["y", "x", "x", "z"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrustWarning)  # both tables are here: nobody can cheat
        found = psi.align(left, right, duplicates=duplicates, protocol=protocol)
    assert found.protocol == protocol
    pairs = list(zip(found.left_rows.tolist(), found.right_rows.tolist(), strict=True))
    every = [(0, 1), (0, 2), (1, 0), (2, 1), (2, 2)]
    assert pairs == (every if duplicates == "all" else [(0, 1), (1, 0)])


def test_no_such_protocol() -> None:
    with pytest.raises(ConfigError, match="auto, ecdh, vole or kkrt"):
        psi.align(["a"], ["a"], protocol="rot13")
    with pytest.raises(ConfigError, match="auto, ecdh, vole or kkrt"):
        session("join", protocol="rot13")
    with pytest.raises(ConfigError, match="intersection only"):
        session("join", learn="cardinality", protocol="kkrt")


DISPROVED = (
    "as many IDs as its table has bins",
    "no ID is revealed by that",
    "it learns nothing by that",
    "by the sizes of the sets",
    "hide among",
)


def test_no_page_says_what_was_disproved() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("psi/**/*.py")]
    assert len(pages) > 50
    for page in pages:
        words = " ".join(page.read_text("utf-8").split())
        assert not [said for said in DISPROVED if said in words], page.name
