"""The figures on the pages of the intersections between two are those of the code."""

import re

import pytest

from psi import SessionParameters
from psi.keyvalue.bounds import log2_failure
from psi.protocols.auto import cheapest
from psi.protocols.messages import MessageType
from psi.protocols.parameters import MAX_PEER_ITEMS
from psi.protocols.vole import Receiver, Sender
from psi.protocols.vole.layout import MOST_ITEMS, SessionSizes, most_tested
from tests.places import DOCS
from tests.psi.peers import run

PAGE = (DOCS / "psi.md").read_text("utf-8")
VOLE = (DOCS / "psi-vole.md").read_text("utf-8")
MILLION = 10**6


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_what_an_announced_size_counts_as() -> None:
    rows = re.findall(r"^  \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    assert [number(announced) for announced, _ in rows] == [10, 100, 1000, 100_000, MILLION]
    for announced, counted in rows:
        assert most_tested(number(announced)) == number(counted)
    for announced in (1000, 2000, 10_000, 1 << 17, MILLION, MOST_ITEMS):
        assert 1.5 < most_tested(announced) / announced < 1.9
    assert f"{SessionSizes.of(MILLION, MILLION).tags:,} for a million on both sides" in PAGE
    assert SessionSizes.of(1 << 17, 1 << 17).tags == 1 << 17
    tags = SessionSizes.of(MILLION, 100).tags
    assert f"(100 IDs against\n10^6: {tags})" in VOLE
    assert most_tested(20_000_000) <= MAX_PEER_ITEMS  # "sets of 20 million go without it"
    assert f"{most_tested(1000):,} for sets of 1,000" in PAGE


def test_the_line_that_says_why() -> None:
    _, why = cheapest(MILLION, MILLION, source="assumed")
    assert why in " ".join(PAGE.replace("> ", "").split())


@pytest.mark.parametrize("log2_size", [10, 14])
def test_bytes_of_a_session(log2_size: int) -> None:
    n, cells = 1 << log2_size, []
    for output in ("both", "receiver"):
        sets = [[b"%d" % i for i in range(first, first + n)] for first in (0, n // 2)]
        parameters = SessionParameters(output=output)
        parties = Receiver(sets[0], parameters), Sender(sets[1], parameters)
        sent: dict[MessageType, int] = {}
        for message in run(*parties):
            kind = MessageType(message[5])
            sent[kind] = sent.get(kind, 0) + len(message)
        cells.append(sum(sent.values()))
        if output == "both":
            table, tags = sent[MessageType.VOLE_TABLE], sent[MessageType.VOLE_TAGS]
            claims = sent[MessageType.FINISH]
            others = [sum(sent.values()) - table - tags - claims, table, tags, claims]
    row = " | ".join(f"{cell / n:.1f}" for cell in (*cells, *others))
    assert f"| 2^{log2_size} | {row} |" in VOLE


def test_a_session_of_vole_fails_less_often_than_the_page_says() -> None:
    sizes = {int(2 ** (step / 4)) for step in range(4, 109)}
    for n in sorted(sizes | {MOST_ITEMS}):
        layout = SessionSizes.of(n, n)
        stores = layout.buckets * 2.0 ** log2_failure(layout.receiver_items)
        rooms = 2 * 2.0**-46 if layout.buckets > 1 else 0.0
        digests = (2 * n) ** 2 / 2**129
        tags = layout.buckets * layout.receiver_items * layout.sender_items / 2**128
        assert stores < 2**-43
        assert digests < 2**-72
        assert tags < 2**-73
        assert stores + rooms + digests + tags < 2**-42
