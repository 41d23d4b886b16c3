"""Every fenced block of the pages runs, or its page says why not."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.docs.scenes import CONSOLE, PYTHON, SLOW
from tests.docs.snippets import BLOCKS, Block, run_console
from tests.places import ROOT


def paired(language: str, scenes: Mapping[str, Sequence[Callable[[Path], Any]]]) -> list[Any]:
    """The blocks that run, each with its scene; as many of one as of the other on each page."""
    pages: dict[str, list[Block]] = {}
    for block in BLOCKS:
        if block.language == language and block.runs:
            pages.setdefault(block.page, []).append(block)
    assert {page: len(every) for page, every in pages.items()} == {
        page: len(every) for page, every in scenes.items()
    }
    return [
        pytest.param(block, scene, marks=[pytest.mark.slow] if scene in SLOW else [], id=block.name)
        for page in pages
        for block, scene in zip(pages[page], scenes[page], strict=True)
    ]


def test_every_block_says_what_it_is_and_why_it_is_not_run() -> None:
    assert len(BLOCKS) > 10
    for block in BLOCKS:
        assert block.language in ("console", "diff", "python", "toml"), block.name
        read = block.excuse or block.elsewhere
        if block.language == "toml" and not read:  # read by a console block of its page
            assert block.text.startswith("# parties.toml"), block.name
        elif not block.runs:
            assert len(block.excuse.split()) > 2 or block.elsewhere, block.name


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.elsewhere], ids=lambda block: block.name
)
def test_a_block_that_another_test_runs_is_read_there(block: Block) -> None:
    test = (ROOT / block.elsewhere).read_text("utf-8")
    assert Path(block.page).name in test
    assert f'"```{block.language}' in test or f'blocks("{block.language}")' in test


@pytest.mark.parametrize(("block", "scene"), paired("python", PYTHON))
def test_python(
    block: Block,
    scene: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    names = scene(tmp_path)
    exec(compile(block.text, block.name, "exec"), names)  # noqa: S102  (our own pages)
    for opened in {"party", "budget"} & names.keys():  # the pages' programs live on
        names[opened].close()


@pytest.mark.parametrize(("block", "scene"), paired("console", CONSOLE))
def test_console(block: Block, scene: Callable[[Path], None], tmp_path: Path) -> None:
    scene(tmp_path)
    shown = [
        other.text
        for other in BLOCKS
        if (other.page, other.language) == (block.page, "toml") and not other.excuse
    ]
    files = {text.split(":")[0].removeprefix("# "): text for text in shown}
    run_console(block, tmp_path, files)
