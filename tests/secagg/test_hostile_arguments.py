"""Whatever is given for whatever argument: a named error that says what to do, or a result."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import ConfigError, PrivFedError
from tests.extras import lacking
from tests.secagg.hostile_arguments import (
    CALLS,
    encryptor,
    hostile,
    made,
    party,
    settings,
    torch_values,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    secagg.Keyring.create(Path("ring"), unlocked=True)
    (tmp_path / "there").write_bytes(b"")
    (tmp_path / "there").chmod(0o600)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", CALLS)
def test_every_argument_with_everything(name: str) -> None:
    call, honest = CALLS[name]
    raw = []
    for argument in honest():
        for what, value in (hostile() | torch_values()).items():
            if argument == "parameters" and callable(value):
                continue  # what a caller's function raises is the caller's
            try:
                call(**honest() | {argument: value})
            except PrivFedError as error:
                if "\n" in str(error) or len(str(error)) < 10:
                    raw.append(f"{name}({argument}={what}): says too little: {error}")
            except Exception as error:
                raw.append(f"{name}({argument}={what}): {type(error).__name__}: {error}")
    assert not raw, "\n".join(raw)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", CALLS)
def test_honest_arguments_reach_what_they_are_for(name: str) -> None:
    """The table above is of calls that would work, or fail for what they are given alone."""
    call, honest = CALLS[name]
    fail = {"SecretKey.load", "Identity.load", "Keyring.make", "Keyring.revoke", "Keyring.accept",
        "Party.load", "Decryptor.decrypt_sums", "Party.open_sums", "Party.opened",
        "Aggregator.add_partial", "Aggregator.add_result", "Decryptor.result",
        "Simulation.add_integers"}  # fmt: skip
    try:
        call(**honest())
    except PrivFedError as error:
        if lacking(error):
            raise
        assert name in fail
    else:
        assert name not in fail


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: secagg.Layout.of(torch_values()["a model"]), r"model\.state_dict\(\)"),
        (lambda: secagg.Layout.of({0: np.zeros(2)}), "names are text.*0"),  # type: ignore[dict-item]
        (lambda: secagg.Layout.of({"w": [0.1]}), "numpy array or a torch tensor"),
        (lambda: party().encrypt(torch_values()["a model"], weight=1), r"model\.state_dict\(\)"),
        (lambda: party().encrypt([np.zeros(2)], weight=1), "dict of arrays by name"),  # type: ignore[arg-type]
        (lambda: party().encrypt(hostile()["floats"], weight=1), "numpy array or a torch tensor"),
        (lambda: party().encrypt(torch_values()["a sparse tensor"], weight=1), "dense"),
        (lambda: party().encrypt(torch_values()["a meta tensor"], weight=1), "meta"),
        (lambda: party(True).announce(cohort=hostile()["ids"]), "Parameters.index_of"),
        (lambda: party(True).announce(cohort=hostile()["publics"]), "Parameters.index_of"),
        (lambda: encryptor().encrypt(made().update, weight=1, round_id=1, previous="ab" * 32),  # type: ignore[arg-type]
            "bytes.fromhex"),
        (lambda: party().expect(made().announced[0]), "list of bytes"),
        (lambda: party().encrypt(made().update, weight="1"), "whole number"),  # type: ignore[arg-type]
        (lambda: party().encrypt(made().update, weight=1.0), "whole number"),  # type: ignore[arg-type]
        (lambda: secagg.Party(made().params, made().key, made().me, "state"), "pathlib.Path"),  # type: ignore[arg-type]
        (lambda: secagg.Encryptor(made().params, made().key, made().me, "state"), "pathlib.Path"),  # type: ignore[arg-type]
        (lambda: secagg.Keyring("ring"), "pathlib.Path"),  # type: ignore[arg-type]
        (lambda: secagg.Party.load("ring"), "pathlib.Path"),  # type: ignore[arg-type]
        (lambda: secagg.Keyring.create("ring", unlocked=True), "pathlib.Path"),  # type: ignore[arg-type]
        (lambda: secagg.SecretKey.load("key"), "pathlib.Path"),  # type: ignore[arg-type]
        (lambda: settings(roster=[b"x" * 128]), "PublicIdentity"),
        (lambda: settings(layout={"w": (2, 2)}), r"Layout\.of"),
        (lambda: secagg.Aggregator(made().params, 1).add("text"), "bytes"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_to_do_is_said(call: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        call()
