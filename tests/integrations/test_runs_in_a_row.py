"""Several runs on the same keys: from a fresh model, from a checkpoint, and who missed the last."""

from pathlib import Path

import pytest

from privfed.errors import PeerError
from privfed.integrations.flower import EncryptedMod
from privfed.integrations.flower.records import checkpoint_in
from tests.integrations.grid import kill
from tests.integrations.jobs import START, Arrays, Job, close, same_bits


@pytest.mark.parametrize(("parties", "travels"), [(2, "weights"), (3, "updates")])
def test_resumed_runs_equal_one_that_was_not_interrupted(
    tmp_path: Path, parties: int, travels: str
) -> None:
    """Bit for bit, whatever the runs before."""

    def job(name: str) -> Job:
        return Job(tmp_path / name, parties, mods=[EncryptedMod(travels=travels)])  # type: ignore[arg-type]

    whole, parts = job("whole"), job("parts")
    whole.run(4)
    parts.run(1)  # of which nothing is left
    result = parts.run(2)
    for rounds in (1, 1):
        assert checkpoint_in(result.arrays) is not None
        result = parts.run(rounds, start=result.arrays)
    assert same_bits(whole.models(), parts.models())


def test_who_missed_the_last_total_gets_it_when_the_run_resumes(tmp_path: Path) -> None:
    whole, job = Job(tmp_path / "whole", 3), Job(tmp_path / "keys", 3)
    whole.run(2)
    job.sites[2].before = lambda purpose: kill() if purpose == "evaluate" else None
    lost = job.grid.to_node
    job.grid.to_node = lambda node, message: (
        None if node == 102 and "privfed.totals" in message.content else message
    )
    result = job.run(1)
    assert same_bits(job.model(2), START)
    assert not same_bits(job.model(0), START)
    job.grid.to_node, job.sites[2].before = lost, lambda purpose: None
    job.run(1, start=result.arrays)
    assert same_bits(whole.models(), job.models())


def test_who_missed_more_than_a_checkpoint_holds_is_told(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 6)
    job.grid.dead = {103}
    job.run(1, may_miss=True)
    result = job.run(1, may_miss=True)
    job.grid.dead = set()
    with pytest.raises(PeerError, match="node 103 refused with"):
        job.run(1, start=result.arrays)


def test_who_trusts_the_server_comes_back_after_missed_runs(tmp_path: Path) -> None:
    """Whole weights: a mean alone is the model, and there are no groups to wait for."""
    job = Job(tmp_path / "keys", 3, adversary="honest-server")
    job.run(1)
    job.grid.dead = {102}
    result = job.run(2, may_miss=True)
    assert not same_bits(job.model(0), job.model(2))
    job.grid.dead = set()
    job.run(1, start=result.arrays)
    close(job, [0, 1, 2])


def test_a_fresh_model_may_have_other_values_and_kinds(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 2)
    job.run(1)
    other: Arrays = {name: (each + 1).astype("float64") for name, each in START.items()}
    job.start = other
    for site in job.sites:
        site.step = {name: each * 0 for name, each in other.items()}
    job.run(1)
    got = job.models()
    for name, each in other.items():
        assert got[name].dtype == "float64"
        assert abs(got[name] - each).max() <= 2 * job.params.step * 16 / 7 / 2 + 1e-6
