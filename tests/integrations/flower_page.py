"""The app of docs/flower.md, and its edits."""

import re
from collections.abc import Iterable
from pathlib import Path

from tests.docs.snippets import BLOCKS, Block

__all__ = ["PAGE", "apply", "blocks", "write_files"]

PAGE = "docs/flower.md"


def blocks(language: str) -> list[Block]:
    """The page's blocks in a language that are run."""
    return [
        each
        for each in BLOCKS
        if (each.page, each.language) == (PAGE, language) and not each.excuse
    ]


def write_files(folder: Path, found: Iterable[Block]) -> None:
    """Write every file whose path is in the first line of its block."""
    for block in found:
        if named := re.match(r"# ([\w./]+)\n", block.text):
            path = folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)


def apply(folder: Path, diff: Block) -> tuple[list[str], list[str]]:
    """Edit the files that a block names; return the lines that came and those that went."""
    added, removed = [], []
    for part in diff.text.split("--- ")[1:]:
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
