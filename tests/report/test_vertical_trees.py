"""The page of trees: what was read of the host's columns stands there, and nobody's else."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest

from privfed.errors import ConfigError
from privfed.report.vertical import render_vertical
from privfed.report.vertical_trees_words import bits, references, seen, stopped
from privfed.vertical.results import UsedTable
from privfed.vertical.trees.results import TREES_FORMAT, TreesResults
from tests.report.trees_samples import AUDIT, BANK, BITS, SHAPES, SHOP, trees
from tests.report.vertical_samples import vertical


def text(results: TreesResults) -> str:
    """What a reader sees, in one line."""
    page = render_vertical(results)
    page = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page))).replace("\xa0", " ")


@pytest.mark.parametrize("name", SHAPES)
def test_results_are_read_as_they_were_written(name: str, tmp_path: Path) -> None:
    path = SHAPES[name].write(tmp_path)
    assert TreesResults.load(path) == SHAPES[name]
    assert msgspec.json.decode(path.read_bytes())["format"] == TREES_FORMAT


def test_results_of_another_model_are_refused(tmp_path: Path) -> None:
    path = vertical().write(tmp_path)
    with pytest.raises(ConfigError, match="no results of vertical training"):
        TreesResults.load(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bits": BITS[:-1]}, "bits are counted of each tree"),
        ({"losses": (0.5,)}, "a loss is of each round"),
        ({"kept_rounds": 7}, "more rounds are kept"),
        ({"most_rounds": 5}, "more rounds are kept"),
        ({"guest": msgspec.structs.replace(BANK, gain_shares=(0.1,))}, "one number a column"),
        ({"host": msgspec.structs.replace(SHOP, nodes_won=(1,))}, "one number a column"),
    ],
)
def test_results_that_contradict_themselves_are_refused(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        trees(**changes)


@pytest.mark.parametrize("name", SHAPES)
def test_pages_are_whole_and_repeat_to_the_byte(name: str) -> None:
    page = render_vertical(SHAPES[name])
    assert page == render_vertical(SHAPES[name])
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]+"|http-equiv', "", page)
    pictures = re.findall(r"<svg class=\"picture\".*?</svg>", page, re.DOTALL)
    for each in pictures:
        ET.fromstring(each)  # noqa: S314 - our own
    counts = {"both": 7, "guest": 7, "host": 1, "histograms": 7, "classes": 6, "no node won": 0}
    assert len(pictures) == counts[name]
    assert not re.search(r"\bNone\b|\bnan\b", text(SHAPES[name]))


def test_bits_are_counted_and_what_they_tell_is_said() -> None:
    said = [line.replace("\xa0", " ") for line in bits(trees())]
    assert said[0] == (
        "bank read 29,985 sides of rows, a bit each, in 39 nodes that shop won; and of 90 nodes "
        "whether shop won them. 19,994 of the sides are of trees that the model keeps."
    )
    assert "would know so much of how shop’s columns vary: returned_share 88.4 %" in said[1]
    assert "The model’s scores of the same rows alone tell 21.0 %, 17.0 % and 4.0 %." in said[1]
    host = [line.replace("\xa0", " ") for line in bits(SHAPES["host"])]
    assert host[0].startswith("bank read at most 29,985 sides")
    assert "know at most so much of how shop’s columns vary: reminders 100.0 %" in host[1]
    assert "The model’s scores" not in host[1]
    assert len(bits(SHAPES["guest"])) == 1
    assert "8,820 scores of shop’s splits opened to bank" in bits(SHAPES["histograms"])[1]
    again = bits(trees(repeated_bits=12_345))
    assert "at most 12,345 bits more of trees that were grown again" in again[1]
    assert all(line in text(trees()) for line in said)


def test_what_was_opened_is_what_is_said_to_be_seen() -> None:
    told = {message: what for message, _, what in seen(trees())}
    assert "29,985 bits" in told["masked sides"]
    assert "39 of 90" in told["result of the contest"]
    assert told["masked scores of the host’s splits"].startswith("nothing")
    opened = seen(SHAPES["histograms"])
    [scores] = [what for message, _, what in opened if message.startswith("scores of the host")]
    assert "8,820 in all" in scores
    assert not any("garbled" in message for message, _, _ in opened)
    assert "the score of any split" in text(trees())
    assert "the score of any split" not in text(SHAPES["histograms"])


def test_a_half_shows_its_own_columns_alone() -> None:
    guest, host = text(SHAPES["guest"]), text(SHAPES["host"])
    assert "overdrafts" in guest
    assert "returned_share" not in guest
    assert "returned_share" in host
    assert "overdrafts" not in host
    assert "paid_late" not in host
    assert "AUC" not in host
    assert "How much they gain, bank alone knows" in host


def test_early_stopping_and_what_is_beside_are_said() -> None:
    assert "392 of the training rows" in stopped(trees())
    assert "smallest after round 4 of 6: what was grown after it is not kept." in stopped(trees())
    assert "smallest after round 6 of 6: all are kept." in stopped(trees(kept_rounds=6))
    assert stopped(SHAPES["classes"]) == stopped(SHAPES["host"]) == ""
    assert "stopped by the same rule" in references(trees())
    assert "each class against the rest" in references(SHAPES["classes"])
    assert "30 at most, 6 grown, 4 kept" in text(trees())
    assert "low, middle, high" in text(SHAPES["classes"])
    assert "weighted, but the held-out ones" in text(SHAPES["classes"])


def test_nothing_that_a_partner_names_is_markup() -> None:
    evil = "<script>alert(1)</script>"
    page = render_vertical(
        trees(
            host=msgspec.structs.replace(SHOP, name=evil, names=(evil, "b", "c", "d")), label=evil,
            audit=(msgspec.structs.replace(AUDIT[0], name=evil),), classes=("a", evil), source=evil,
            terms=((evil, evil),), unknown=evil, files=(UsedTable(evil, None),),
            provenance={evil: evil},
        )
    )  # fmt: skip
    assert evil not in page
    assert page.count("<script>") == 1
