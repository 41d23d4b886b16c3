"""The command in this process, as the console script calls it, and one finished benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from privfed.cli import benchmark_progress, main
from tests.cli.command import Command, Done

torch.set_num_threads(1)


@pytest.fixture
def privfed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    # However busy the machine is: what a test says of standard error depends on no clock.
    monkeypatch.setattr(benchmark_progress, "LINE_SECONDS", 1e6)

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["privfed", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        status = end.value.code or 0
        assert isinstance(status, int)
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a small benchmark on the surrogate, by the command."""
    out = tmp_path_factory.mktemp("finished")
    arms = "guest,federated,federated-he"
    arguments = ["benchmark", "--quick", "--rounds", "3", "--arms", arms, "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["privfed", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
    assert not end.value.code
    return out
