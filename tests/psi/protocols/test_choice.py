"""The protocol between two: ecdh unless both name kkrt, which says what it trusts in, unlimited."""

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
def test_auto_is_ecdh_at_all_sizes(sizes: tuple[int, int], result: str) -> None:
    held = [
        session("serve", map(str, range(sizes[0])), result=result),
        session("join", map(str, range(sizes[1])), result=result),
    ]
    assert [one.party.protocol for one in held] == ["ecdh", "ecdh"]
    if max(sizes) < LARGE:
        run(*sorted((one.party for one in held), key=lambda party: not party.speaks_first))
        assert {one.party.protocol for one in held} == {"ecdh"}


@pytest.mark.usefixtures("no_kkrt")
def test_auto_is_ecdh_for_large_tables_in_one_process() -> None:
    ids = [f"{number:028d}" for number in range(LARGE)]
    left, right = pd.DataFrame({"ID": ids}), pd.DataFrame({"ID": ids[::-1][:8000]})
    found = psi.align(left, right, on="ID")
    assert found.protocol == "ecdh"
    assert found.left_rows.tolist() == list(range(1000, 9000))
    assert found.right_rows.tolist() == list(range(7999, -1, -1))


def test_sides_that_say_auto_and_ecdh_agree() -> None:
    one, other = session("serve", protocol="auto"), session("join", protocol="ecdh")
    assert one.terms == other.terms
    run(other.party, one.party)
    with pytest.warns(TrustWarning):
        assert session("join", protocol="kkrt").terms != one.terms


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


@pytest.mark.parametrize("protocol", ["ecdh", "kkrt"])
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
    with pytest.raises(ConfigError, match="auto, ecdh or kkrt"):
        psi.align(["a"], ["a"], protocol="rot13")
    with pytest.raises(ConfigError, match="auto, ecdh or kkrt"):
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
