"""Both palettes can be read: WCAG 2.2, 1.4.3 for text and 1.4.11 for lines and bars."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from privfed.experiment.results import EXCHANGE
from privfed.report.palette import DARK, LIGHT, PHASES, SENTINEL

TEXT = [
    ("ink", "paper"), ("muted", "paper"), ("accent", "paper"), ("ink", "panel"),
    ("notice-ink", "notice"),
]  # fmt: skip
GROUNDS = {"paper", "panel", "rule", "notice"}


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2.2 of two colours written #rrggbb."""
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_contrast_of_known_pairs() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # WebAIM's example


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_shapes_stand_out(palette: Mapping[str, str]) -> None:
    for text, ground in TEXT:
        assert contrast(palette[text], palette[ground]) >= 4.5, (text, ground)
    for name in palette.keys() - GROUNDS:
        assert contrast(palette[name], palette["paper"]) >= 3, name


def test_sentinels_can_be_told_apart() -> None:
    assert len(set(SENTINEL.values())) == len(SENTINEL) == len(LIGHT) == len(DARK)


def test_every_phase_has_a_colour_of_its_own() -> None:
    assert PHASES.keys() == {"train", "noise", "evaluate", *EXCHANGE}
    assert len(set(PHASES.values())) == len(PHASES)
    assert set(PHASES.values()) <= LIGHT.keys()
