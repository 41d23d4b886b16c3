from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from privfed.errors import ConfigError
from privfed.experiment.results import Results
from privfed.report import readme_picture, readme_table, terminal_table
from tests.report.samples import sample

RESULTS = sample(rounds=20, epsilons=(1.0, 8.0), seeds=3)


def printed(results: Results, width: int) -> list[str]:
    written = io.StringIO()
    Console(file=written, width=width).print(terminal_table(results))
    return written.getvalue().splitlines()


def test_the_table_fits_a_terminal_and_shows_every_arm_and_split() -> None:
    lines = printed(RESULTS, 80)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for words in ("overlapping", "disjoint", "deduplicated", "guest alone", "46.9\u00a0kB", "±"):
        assert words in text
    wide = "\n".join(printed(RESULTS, 140))
    assert wide.count("federated, encrypted, private, ε\u00a0=\u00a08") == 3


def test_a_surrogate_and_a_single_seed_are_named() -> None:
    results = sample(rounds=20, arms=("guest",), splits=("overlapping",), seeds=1,
                     is_surrogate=True)  # fmt: skip
    text = "\n".join(printed(results, 80))
    assert "(surrogate)" in text
    assert "±" not in text


def test_markup_in_a_label_is_text() -> None:
    results = sample(rounds=2, arms=("guest",), splits=("[bold]x[/bold]",), seeds=1)
    assert "[bold]x[/bold]" in "\n".join(printed(results, 100))


def test_the_readme_table_is_markdown_with_a_row_an_arm_and_the_majority() -> None:
    *lines, blank, rows, blank_too, terms = readme_table(RESULTS).splitlines()
    assert not blank
    assert not blank_too
    assert "of other test rows than those" in rows
    assert "guest alone and host alone." in rows
    for said in ("δ = 1e-05", "zero-out", "Poisson", "PLD", "worst-placed unit"):
        assert said in terms  # no ε without its terms
    assert len(lines) == 2 + 8 + 1  # seven arms, one of them at two ε
    assert {line.count("|") for line in lines} == {8}
    assert lines[-1].startswith("| majority class | 58.0 % | 57.9 % |")


def test_the_readme_picture_is_a_png(tmp_path: Path) -> None:
    readme_picture(RESULTS, tmp_path / "picture.png")
    content = (tmp_path / "picture.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert 10_000 < len(content) < 200_000


def test_a_picture_of_nothing_or_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no accuracy to draw"):
        readme_picture(Results({}, [], [], [], [], [], []), tmp_path / "picture.png")
    with pytest.raises(ConfigError, match="cannot be written"):
        readme_picture(RESULTS, tmp_path / "nowhere" / "picture.png")
