"""The ceremony of docs/threat-model.md, from nothing to the first round, as it is printed there."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import DecodeError, ReplayError
from tests.places import DOCS
from tests.terminal import at_terminal

PAGE = DOCS / "threat-model.md"


def test_the_printed_commands_lead_two_companies_to_their_first_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PAGE.read_text().split("**From nothing to the first round**")[1]
    text = text.split("**One fingerprint.**")[0]
    update = {"weight": np.full((2, 12), 0.5), "bias": np.zeros(2)}
    np.savez(tmp_path / "model.npz", **update)  # type: ignore[arg-type]
    blocks = re.findall("```console\n(.*?)```", text, re.DOTALL)
    commands = [line.split("$ ", 1)[1] for block in blocks for line in block.splitlines()]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # python and privfed
    prompts = [*["alice's"] * 2, *["bob's"] * 2, "alice's", "bob's", "bob's"]  # two are new
    status, said, asked = at_terminal(
        ["/bin/sh", "-ec", "\n".join(commands)],
        prompts,
        folder=tmp_path,
        environment=os.environ | {"PATH": path, "PYTHONPATH": str(PAGE.parents[1])},
    )
    assert (status, asked) == (0, len(prompts)), said

    agreed = secagg.Parameters.from_bytes((tmp_path / "params.json").read_bytes())
    assert agreed.layout == secagg.Layout.of(update)
    assert said.count(agreed.fingerprint.hex()) == 3  # of plan, of compare, and of show
    server = secagg.Aggregator(agreed, round_id=1)
    with (
        secagg.Party.load(tmp_path / "alice", "alice's") as alice,
        secagg.Party.load(tmp_path / "bob", "bob's") as bob,
    ):
        with pytest.raises(ReplayError, match="no round's result is kept"):
            alice.opened()
        for party in (alice, bob):
            server.add(party.encrypt(update, weight=100))
        total = server.total()
        for party in (alice, bob):
            np.testing.assert_allclose(party.open(total).mean["weight"], 0.5, atol=1e-4)
            with pytest.raises(ReplayError, match="round 2's result is not kept; round 1's is"):
                party.opened(2)


@pytest.mark.parametrize("given", ["alice.crt", None])
def test_a_certificate_that_is_a_name_is_refused_by_name(given: Any) -> None:
    with pytest.raises(DecodeError, match="read_bytes"):
        secagg.PublicIdentity.from_certificate(given)
