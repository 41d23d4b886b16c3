"""The report's colours, in one place for the page, its pictures and the README's PNG.

Hues follow Okabe and Ito, "Color Universal Design" (2008), darkened on paper and lightened on
black so that a line keeps a contrast of at least 3:1 and text one of at least 4.5:1 (WCAG 2.2,
1.4.3 and 1.4.11); a test computes both. Pictures never rely on colour alone: bars carry their
names, lines their dashes.
"""

from __future__ import annotations

from collections.abc import Mapping

# name: (on light, on dark)
_COLOURS = {
    "paper": ("#fdfdfb", "#15181b"),
    "panel": ("#f3f4f0", "#1d2125"),
    "ink": ("#1a1e22", "#e7e7e2"),
    "muted": ("#58616b", "#a9b0b8"),
    "rule": ("#dcdfd9", "#343a41"),
    "accent": ("#0b5c96", "#7cc0f5"),
    "notice": ("#fbf0d9", "#3a2f17"),
    "notice-ink": ("#5f3f00", "#f3d79b"),
    "quiet": ("#8b949e", "#7d8791"),
    "guest": ("#0072b2", "#5ab4f0"),
    "host": ("#c4500a", "#f58a4b"),
    "overall": ("#5a5f66", "#c3c8ce"),
    "float": ("#5e5300", "#eee48f"),
    "federated": ("#0a8560", "#2fbf8f"),
    "encrypted": ("#0a3d2e", "#c9f7e4"),
    "private-1": ("#c06fb4", "#f0bde8"),
    "private-2": ("#a5479b", "#d993d0"),
    "private-3": ("#7d2a78", "#c070b8"),
    "private-4": ("#531650", "#a860a2"),
    "extra-1": ("#8a5a2b", "#d3a06a"),
    "extra-2": ("#4b5fc4", "#98a6f5"),
    "extra-3": ("#b0304f", "#f2849c"),
    "extra-4": ("#287f8c", "#6fd0dd"),
}

LIGHT: Mapping[str, str] = {name: pair[0] for name, pair in _COLOURS.items()}
DARK: Mapping[str, str] = {name: pair[1] for name, pair in _COLOURS.items()}

# Placeholder colours to draw with; `svg.inline` replaces each by a CSS variable.
SENTINEL: Mapping[str, str] = {name: f"#01fe{i:02x}" for i, name in enumerate(_COLOURS)}

PHASES: Mapping[str, str] = {
    "prepare": "encrypted",
    "train": "guest",
    "noise": "private-1",
    "encrypt": "federated",
    "aggregate": "host",
    "decrypt": "private-2",
    "evaluate": "quiet",
}


def css_variables(palette: Mapping[str, str]) -> str:
    """Return the palette as CSS declarations."""
    return "".join(f"--{name}:{value};" for name, value in palette.items())
