"""The app of docs/flower.md, and its edits."""

import re
from pathlib import Path

from tests.docs.snippets import BLOCKS

__all__ = ["PAGE", "apply", "blocks", "write_files"]

PAGE = "docs/flower.md"


def blocks(language: str) -> list[str]:
    """The page's blocks in a language."""
    return [each.text for each in BLOCKS if (each.page, each.language) == (PAGE, language)]


def write_files(folder: Path) -> None:
    """Write every file whose path is in the first line of its block."""
    for text in [*blocks("toml"), *blocks("python")]:
        if named := re.match(r"# ([\w./]+)\n", text):
            path = folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def apply(folder: Path, diff: str) -> tuple[list[str], list[str]]:
    """Edit the files that a block names; return the lines that came and those that went."""
    added, removed = [], []
    for part in diff.split("--- ")[1:]:
        name, _, text = part.partition("\n")
        path = folder / name
        for hunk in text.split("@@\n"):
            lines = [(line[:1], line[1:]) for line in hunk.splitlines()]
            before = "\n".join(line for mark, line in lines if mark != "+")
            after = "\n".join(line for mark, line in lines if mark != "-")
            assert path.read_text().count(before) == 1, before
            path.write_text(path.read_text().replace(before, after))
            added += [line for mark, line in lines if mark == "+"]
            removed += [line for mark, line in lines if mark == "-"]
    return added, removed
