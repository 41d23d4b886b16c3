"""A training's page says who trained what, what nobody saw, and what the ε is."""

from __future__ import annotations

import html
import re
import stat
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from privfed.errors import ConfigError
from privfed.partner.results import OverlapCounts, OwnFile, TrainingResults
from privfed.report.training import render_training, write_training
from privfed.report.training_words import nobody_saw, onlookers
from tests.report.training_samples import PRIVACY, PRIVATE, SHAPES, history, training


def text(results: TrainingResults) -> str:
    """What a reader sees, in one line."""
    page = render_training(results)
    page = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page))).replace("\xa0", " ")


def test_the_headline_of_two_companies() -> None:
    said = text(training())
    assert "guest trained a model with host" in said
    assert "500 rounds of encrypted averages on this company’s 324 training rows" in said
    assert "Of two parties each can compute the other’s update from the sum" in said
    assert "No differential privacy. Who sees the model may learn of rows" in said
    assert "exact: no ε counts them" in said
    assert "always the commonest class: 59.8 %" in said
    assert "87.5 % of 40 are right" in said
    assert "privfed predict new-rows.csv --model model.npz Made" in said
    assert "docs/threat-model.md" in said


def test_a_private_page_has_every_term_of_its_epsilon() -> None:
    said = text(PRIVATE)
    assert "No differential privacy" not in said
    for term in (
        PRIVATE.statement[0], PRIVACY.privacy_unit, PRIVACY.adjacency, PRIVACY.sampling,
        PRIVACY.accountant, "1e-05", "63, for 60 finished",
    ):  # fmt: skip
        assert term in said
    assert "--code our_models:convolved" in said
    assert "could compute" not in said
    assert "own test row" not in said


@pytest.mark.parametrize("name", SHAPES)
def test_pages_are_whole_and_repeat_to_the_byte(name: str) -> None:
    page = render_training(SHAPES[name])
    assert page == render_training(SHAPES[name])
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]+"|http-equiv', "", page)
    pictures = re.findall(r"<svg class=\"picture\".*?</svg>", page, re.DOTALL)
    for each in pictures:
        ET.fromstring(each)  # noqa: S314 - our own
    known = len(SHAPES[name].history)
    assert len(pictures) == (3 if known >= 20 else 2 if known else 0)
    assert not re.search(r"\bNone\b(?! was asked for)|\bnan\b", text(SHAPES[name]))


def test_nothing_that_a_partner_names_is_markup() -> None:
    evil = "<script>alert(1)</script>"
    page = render_training(
        training(
            job=evil, parties=("a", evil), server=evil, model=evil, adversary="lying-server",
            statement=(evil,), files=(OwnFile(evil, evil, "0" * 64),), provenance={evil: evil},
        )
    )  # fmt: skip
    assert evil not in page
    assert page.count("<script>") == 1


def sees(**changes: Any) -> dict[str, str]:
    return dict(onlookers(training(**changes)))


THREE = {"parties": ("a", "b", "c"), "server": "a", "overlap": None}


def test_what_each_onlooker_sees_follows_the_plan() -> None:
    assert "and no weight" in sees()["The server"]
    assert "sees what “another party” sees" in sees()["The server"]
    assert "and no weight" not in sees(weighted=False)["The server"]
    assert "neither rows nor the key" in sees(server_party=None)["The server"]
    trusted = sees(server_party=None, adversary="honest-server")["The server"]
    assert "while it keeps to the protocol" in trusted
    assert "how many rows the other counts" in sees()["Another party"]
    assert "how many rows" not in sees(weighted=False)["Another party"]
    assert "may tell of single rows" in sees()["Whoever gets the model"]
    masked = sees(**THREE, adversary="lying-server+2")
    assert "masks leave it sums over at least 4 parties" in masked["The server"]
    assert "with up to 2 in a group" in masked["The server with parties that help it"]
    bare = sees(**THREE, adversary="lying-server")
    assert "could open each" in bare["The server"]
    assert "nothing masks it" in bare["The server with parties that help it"]


def test_noise_and_who_is_trusted_with_what() -> None:
    local = training(method="local noise, encrypted averages", privacy=PRIVACY)
    assert "the other’s update with its noise" in nobody_saw(local)
    central = training(**THREE, method="central noise", privacy=PRIVACY)
    assert "trusted with every party’s exact sums" in nobody_saw(central)
    assert "no ε holds against it" in dict(onlookers(central))["The server"]
    assert "but the server" in text(central)
    shares = dict(onlookers(PRIVATE))
    assert "the ε for insiders counts that" in shares["Another party"]
    assert "with up to 1 of the parties" in shares["The server with parties that help it"]
    assert "ε = 0.998 allows, with δ = 1e-05" in shares["Whoever gets the model"]


def test_rounds_that_were_lost_are_told() -> None:
    assert "Not in the history: 1 round" in text(training())
    assert "Not in the history" not in text(training(rounds=5, history=history(5)))


def test_the_overlap_names_the_others() -> None:
    said = text(training(overlap=OverlapCounts((312, 168), 41)))
    assert "rows 41 were taken out" in said
    assert "host 168" in said
    assert "312" not in said
    assert "Rows that several companies have" not in text(training(overlap=None))


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = write_training(training(), tmp_path)
    assert path == tmp_path / "report.html"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="cannot be written"):
        write_training(training(), tmp_path / "absent")
