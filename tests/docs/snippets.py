"""The fenced blocks of the pages, and how their commands are run."""

import itertools
import os
import re
import shutil
import socket
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.places import DOCS, ROOT
from tests.terminal import at_terminal

__all__ = ["BLOCKS", "PAGES", "Block", "run_console"]

PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
_FENCE = re.compile(r"^```(.*)$\n((?s:.*?))^```$", re.MULTILINE)
_EXCUSE = re.compile(r"<!-- (not run: |run by )(.*) -->")
_PROMPT = re.compile(r"(\w+)\$ +(.*)")
_ADDRESS = re.compile(r"\b(\w+\.example):\d+")
_WAITS = {"serve", "together", "answer", "aggregate"}  # for others, who come later in the block
_SENT = ("*.crt", "plan.toml")  # each gives its own to the others


@dataclass(frozen=True)
class Block:
    """A fenced block, and what its page says of why it is not run here."""

    page: str
    line: int
    language: str
    text: str
    excuse: str  # what stands after "not run: "
    elsewhere: str  # the test that runs it

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.language in ("console", "python") and not self.excuse and not self.elsewhere

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Whose prompt, or nobody's, and the command, on one line."""
        whole = re.sub(r"\\\n\s*", "", self.text).splitlines()
        prompts = [(_PROMPT.fullmatch(line), line) for line in whole if line.strip()]
        return [(found[1], found[2]) if found else ("", line) for found, line in prompts]


def _blocks(path: Path) -> list[Block]:
    text, found = path.read_text("utf-8"), []
    for fence in _FENCE.finditer(text):
        before = text[: fence.start()].splitlines()
        said = _EXCUSE.fullmatch(before[-1]) if before else None
        kind, reason = (said[1], said[2].strip()) if said else ("", "")
        found.append(
            Block(
                page=path.relative_to(ROOT).as_posix(),
                line=len(before) + 1,
                language=fence[1],
                text=fence[2],
                excuse=reason if kind == "not run: " else "",
                elsewhere=reason if kind == "run by " else "",
            )
        )
    return found


BLOCKS = [block for page in PAGES for block in _blocks(page)]


def with_local_addresses(text: str, ports: dict[str, int]) -> str:
    """The text with hosts of the pages as ports of this machine."""

    def local(found: re.Match[str]) -> str:
        if found[1] not in ports:
            with socket.create_server(("127.0.0.1", 0)) as free:
                ports[found[1]] = free.getsockname()[1]
        return f"127.0.0.1:{ports[found[1]]}"

    return _ADDRESS.sub(local, text)


def run_console(block: Block, folder: Path, files: dict[str, str]) -> None:
    """Run a block as it is printed but for addresses; a party's commands in a folder of its name.

    Args:
        block: Its commands; those that wait for another side run beside those that follow.
        folder: Where to work; what stands in a party's folder there is its own.
        files: Texts that the page shows and each party has, by name.
    """
    ports: dict[str, int] = {}
    commands = [(who, with_local_addresses(command, ports)) for who, command in block.commands]
    parties = {folder / who for who, _ in commands}
    for place in parties:
        place.mkdir(exist_ok=True)
        for name, text in files.items():
            (place / name).write_text(with_local_addresses(text, ports))
    running: list[Future[None]] = []
    with ThreadPoolExecutor(len(commands)) as beside:
        for who, command in commands:
            if command.split()[1] == "predict":  # with what those before it leave
                for ended in running:
                    ended.result()
            port = ports.get(f"{who or 'alice'}.example")
            ended = beside.submit(_run, folder / who, command, port)
            if waits(command):
                running.append(ended)
                continue
            ended.result()
            for file in itertools.chain(*((folder / who).glob(each) for each in _SENT)):
                for other in parties - {folder / who}:
                    shutil.copy(file, other)
        for ended in running:
            ended.result()


def waits(command: str) -> bool:
    """Whether a command waits for others, who come later in the block."""
    words = command.split()
    return bool(_WAITS & set(words[1:3])) or words[1:3] == ["train", "join"]


def _run(place: Path, command: str, port: int | None) -> None:
    """Run a command at a terminal, where its passphrase is typed if it asks for one."""
    if port is not None and waits(command) and "join" not in command.split()[1:3]:
        command = f"{command} --listen 127.0.0.1:{port}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = at_terminal(
        ["sh", "-ec", command],
        itertools.repeat(f"{place.name}'s words"),
        folder=place,
        environment=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
    )
    assert done.status == 0, f"{command}: {done.status}\n{done.text}"
