"""The protocol between two: auto takes what is cheapest; each by its name."""

from typing import Any

import pandas as pd
import pytest

import psi
from psi import ConfigError
from psi.protocols.auto import OFFERED, AutoReceiver, cheapest
from psi.protocols.party import Party
from psi.sessions import PairChoice, TableSession
from psi.sessions.questions.question import Side
from psi.tables.keys import Duplicates
from tests.places import ROOT
from tests.psi.peers import run

LARGE = 9000


def session(
    side: Side, ids: Any = ("a", "b"), max_peer_items: int | None = None, **choices: Any
) -> TableSession[Party]:
    choice = PairChoice(side=side, **choices)
    return TableSession.prepare(list(ids), choice, max_peer_items=max_peer_items)


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
    party = session("join", bandwidth=1.5).party
    assert isinstance(party, AutoReceiver)
    assert party._megabits == 1.5  # noqa: SLF001  (that the speed arrived)
    words = "goes with auto and an intersection: leave it out"
    with pytest.raises(ConfigError, match=words):
        session("join", bandwidth=1.5, protocol="ecdh")
    with pytest.raises(ConfigError, match=words):
        session("join", bandwidth=1.5, learn="cardinality")


@pytest.mark.parametrize("protocol", ["auto", "ecdh", "vole"])
def test_a_limit_on_the_other_sets_size_arrives(protocol: str) -> None:
    held = session("join", protocol=protocol, max_peer_items=1 << 20)
    assert held.party._max_peer_items == 1 << 20  # noqa: SLF001  (that the limit arrived)


@pytest.mark.parametrize("protocol", ["ecdh", "vole"])
@pytest.mark.parametrize("duplicates", ["first", "all"])
def test_a_protocol_of_one_s_own_choice(protocol: str, duplicates: Duplicates) -> None:
    left, right = ["x", "y", "x", None], ["y", "x", "x", "z"]
    found = psi.align(left, right, duplicates=duplicates, protocol=protocol)
    assert found.protocol == protocol
    pairs = list(zip(found.left_rows.tolist(), found.right_rows.tolist(), strict=True))
    every = [(0, 1), (0, 2), (1, 0), (2, 1), (2, 2)]
    assert pairs == (every if duplicates == "all" else [(0, 1), (1, 0)])


def test_no_such_protocol() -> None:
    with pytest.raises(ConfigError, match="auto, ecdh or vole"):
        psi.align(["a"], ["a"], protocol="rot13")
    with pytest.raises(ConfigError, match="auto, ecdh or vole"):
        session("join", protocol="rot13")
    with pytest.raises(ConfigError, match="intersection only"):
        session("join", learn="cardinality", protocol="vole")


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
