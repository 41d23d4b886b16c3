"""Clients that die, come back, or come back without what they kept."""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privfed.errors import QuorumError
from tests.integrations.grid import kill
from tests.integrations.jobs import Job, close, quiet_average, same_bits


def alive(job: Job) -> list[int]:
    """Return the places of those whose whole group is alive."""
    dead = {node - 100 for node in job.grid.dead}
    return [place for group in job.params.groups if not dead & set(group) for place in group]


def dies(job: Job, place: int, when: str, trained: int) -> None:
    """Let a client die, asked for something, after some trainings."""
    site = job.sites[place]

    def before(purpose: str) -> None:
        if purpose == when and len(site.trained) == trained:
            kill()

    site.before = before


@pytest.mark.parametrize("when", ["train", "evaluate"])
def test_ten_clients_of_which_two_die(tmp_path: Path, told: list[str], when: str) -> None:
    """The next round runs without their groups, and its mean is the plain one over the rest."""
    job = Job(tmp_path / "keys", 10)
    for place in (5, 8):
        dies(job, place, when, 1)
    job.run(3)
    assert job.grid.dead == {105, 108}
    assert alive(job) == [0, 1, 2, 3]
    assert sum("2 nodes wait" in line or "6 nodes wait" in line for line in told) >= 1
    assert [len(job.sites[place].trained) for place in (0, 4)] == [3, 2]
    close(job, alive(job), but=[5, 8])  # who waits has the model, too


def test_who_never_said_hello_is_left_out_where_that_is_allowed(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 10)
    job.grid.dead = {105, 108}
    with pytest.raises(QuorumError, match="2 of 10 parties did not say hello"):
        job.run(1)
    job.run(2, may_miss=True)
    assert not job.sites[4].trained
    assert len(job.sites[3].trained) == 2


def test_a_client_that_comes_back_takes_part_again(tmp_path: Path) -> None:
    """Killed in two trainings of a run: its state is kept, and its group is back each time."""
    job = Job(tmp_path / "keys", 6)
    deaths: list[int] = []

    def before(purpose: str) -> None:
        if purpose == "train" and len(deaths) < 2:
            deaths.append(1)
            raise RuntimeError("gone for a while")  # after the totals were opened

    job.sites[0].before = before
    job.run(6)
    assert len(job.sites[0].trained) == 2
    assert len(job.sites[3].trained) == 6
    close(job, list(range(6)))


def test_a_client_that_comes_back_at_another_node_is_the_same_party(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 6)
    moved: list[int] = []

    def move() -> list[int]:
        nodes = list(job.grid.apps)
        if job.sites[0].trained and not moved:
            job.grid.apps[200] = job.grid.apps.pop(100)
            job.grid.contexts[200] = job.grid.contexts.pop(100)
            moved.append(200)
        return nodes if not moved else list(job.grid.apps)

    job.grid.get_node_ids = move  # type: ignore[method-assign]
    job.run(4)
    assert moved
    assert len(job.sites[0].trained) == 3
    close(job, list(range(6)))


def test_a_client_whose_state_is_lost_waits_for_another_key(
    tmp_path: Path, told: list[str]
) -> None:
    job = Job(tmp_path / "keys", 6)

    def before(purpose: str) -> None:
        if purpose == "train" and len(job.sites[0].trained) == 1:
            for state in (tmp_path / "keys" / "0").glob("rounds*"):
                shutil.rmtree(state) if state.is_dir() else state.unlink()
            raise RuntimeError("a disk is new")

    job.sites[0].before = before
    job.run(5)
    assert len(job.sites[0].trained) == 1
    assert len(job.sites[3].trained) == 5
    assert any("no longer has what it kept of this run" in line for line in told)
    assert all(same_bits(job.model(3), job.model(place)) for place in (1, 2, 4, 5))


def test_nodes_that_are_sampled_make_whole_groups_or_it_is_told(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 6)
    with pytest.raises(QuorumError, match=r"fraction_train=1\.0"):
        job.run(1, inner=quiet_average(fraction_train=0.34))  # two of six nodes
    job.run(2, inner=quiet_average(fraction_train=0.5, min_train_nodes=5))  # a group and two
    assert sum(len(site.trained) for site in job.sites) == 6
    job.models()


@settings(max_examples=5, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    sizes=st.sampled_from([(3, 3), (3, 4), (4, 3), (3, 3, 3)]),
    dying=st.sets(st.tuples(st.integers(0, 8), st.integers(1, 2)), max_size=2),
)
def test_a_mean_is_that_of_those_in_the_sum(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: tuple[int, ...],
    dying: set[tuple[int, int]],
) -> None:
    parties = sum(sizes)
    job = Job(tmp_path_factory.mktemp("job") / "keys", parties, group_sizes=sizes)
    for place, number in dying:
        if place < parties:
            dies(job, place, "train", number - 1)
    try:
        job.run(2)
    except QuorumError:
        assert not alive(job)
        return
    places = alive(job)
    if not places:  # the first round was opened, and no later one
        return
    close(job, places, but=[node - 100 for node in job.grid.dead])
