"""Every combination of an arm's kinds runs as it says, or is refused when it is made."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from privfed.data import split_parties
from privfed.errors import ConfigError
from privfed.experiment import Arm, Job, Run, Settings, choose_arms, party_names
from privfed.experiment.partitioned import PartitionedData
from tests.experiment.mini import surrogate

TRAINS = ("party", "all", "pooled", "nobody")
AGGREGATIONS = ("none", "float", "reference", "packed", "slots", "ckks", "auto")
PRIVACIES = ("none", "local-dp-sgd", "local", "shares", "central", "much")
# Written out, so that a change of what may run is one of this table too.
RUNS = {
    ("party", "none", "none"),
    ("party", "none", "local-dp-sgd"),
    ("pooled", "none", "none"),
    *itertools.product(["all"], ["float", "reference", "packed"], ["none", "local-dp-sgd"]),
    ("all", "float", "local"),
    ("all", "reference", "shares"),
    ("all", "packed", "shares"),
    ("all", "float", "central"),
}
FLOAT32 = 2 * 4 * 5858  # bytes of both parties' updates


def arm(trains: Any, aggregation: Any, privacy: Any, party: Any = None) -> Arm:
    number = 1 if trains == "party" and party is None else party
    return Arm("an-arm", "an arm", trains, number, aggregation, privacy, "Nobody sees a thing.")


@pytest.mark.parametrize(
    "kinds", sorted(set(itertools.product(TRAINS, AGGREGATIONS, PRIVACIES)) - RUNS)
)
def test_what_would_be_ignored_is_refused(kinds: tuple[str, str, str]) -> None:
    with pytest.raises(ConfigError, match=r"arm 'an-arm': .*: choose from ") as caught:
        arm(*kinds)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        (("all", "float", "shares"), "would ignore aggregation='float': choose from reference, pa"),
        (("all", "packed", "central"), "would ignore aggregation='packed': choose from float"),
        (("party", "packed", "local-dp-sgd"), "would ignore .*: choose from none"),
        (("pooled", "none", "local-dp-sgd"), "does not do privacy='local-dp-sgd': choose from non"),
        (("all", "ckks", "none"), "unknown aggregation 'ckks': choose from none, float, reference"),
        (("all", ["packed"], "none"), "unknown aggregation"),
        (("party", "none", "none", -1), "party=-1 names nobody"),
        (("party", "none", "none", True), "party=True names nobody"),
        (("party", "none", "none", "guest"), "party='guest' names nobody"),
        (("all", "float", "none", 0), "trains='all' is no party=0: choose from party=None"),
    ],
)
def test_a_refusal_says_what_to_choose(kinds: tuple[Any, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        arm(*kinds)


def test_the_command_lines_arms_are_some_of_these() -> None:
    arms = choose_arms(None, party_names(2))
    assert {(each.trains, each.aggregation, each.privacy) for each in arms} < RUNS


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], Run]:
    """One round of each, on the surrogate's rows among two."""
    settings, data = Settings(delta=1e-4), surrogate()
    deal = PartitionedData(
        settings, data, split_parties(data, "overlapping", seed=0), exposure=None
    )
    folder: Path = tmp_path_factory.mktemp("arms")
    found = {}
    for kinds in sorted(RUNS):
        each = arm(*kinds)
        job = Job(each, "overlapping", 0, 8.0 if each.private else None, 1)
        found[kinds] = deal.run(job, folder, lambda rounds: None)
    return found


@pytest.mark.parametrize("kinds", sorted(RUNS))
def test_each_runs_as_it_says(
    runs: dict[tuple[str, str, str], Run], kinds: tuple[str, str, str]
) -> None:
    (trains, aggregation, privacy), run = kinds, runs[kinds]
    host = split_parties(surrogate(), "overlapping", seed=0)[1]
    assert (run.train_rows == len(host.train)) == (trains == "party")
    if privacy == "none":
        assert run.privacy is None
    else:
        assert run.privacy is not None
        assert run.privacy.noise == ("local" if privacy == "local-dp-sgd" else privacy)
    # Encrypt is a phase of what goes through secagg, in the clear or not.
    assert ("encrypt" in run.seconds) == (aggregation in ("reference", "packed"))
    assert (run.encryption_seconds_per_round > 0) == (aggregation == "packed")
    up = run.upload_bytes_per_round
    if aggregation == "none":
        assert up == 0
    elif aggregation == "float":
        assert up == (FLOAT32 if privacy in ("none", "local-dp-sgd") else 2 * FLOAT32)
    elif aggregation == "packed":
        assert up > runs[trains, "reference", privacy].upload_bytes_per_round > 0
