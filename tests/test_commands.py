"""Both commands from outside: by module and by script, their version, completion in a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import privfed
import psi

BIN = Path(sys.executable).parent
VERSIONS = {"privfed": privfed.__version__, "psi": psi.__version__}
COMMANDS = {"privfed": ["benchmark", "keys"], "psi": ["join", "serve"]}


def said(*call: str | Path, **more: str) -> str:
    return subprocess.run(
        call, capture_output=True, text=True, check=True, env=os.environ | more
    ).stdout


@pytest.mark.parametrize("name", VERSIONS)
def test_script_and_module_are_one_command(name: str) -> None:
    for call in ([BIN / name], [sys.executable, "-m", name]):
        assert said(*call, "--version") == f"{VERSIONS[name]}\n"
        shown = said(*call, "--help")
        assert f"Usage: {name} " in shown
        assert all(command in shown for command in COMMANDS[name])


@pytest.mark.parametrize("name", VERSIONS)
def test_a_module_fails_as_the_script_does(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", name, "nothing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "No such command 'nothing'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_shell_completes_commands_by_what_is_installed(name: str, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    said("bash", "-c", f"{name} --install-completion; true", **home)
    assert "source" in (tmp_path / ".bashrc").read_text()
    shown = said("bash", "-c", f"{name} --show-completion; true", **home)
    assert f"complete -o default -F _{name}_completion {name}" in shown
    for command in COMMANDS[name]:
        begun = f"{name} {command[:2]}"
        asked = f"{shown}\nCOMP_WORDS=({begun}); COMP_CWORD=1; _{name}_completion {name}"
        assert said("bash", "-c", asked + '; echo "${COMPREPLY[@]}"', **home).split() == [command]
