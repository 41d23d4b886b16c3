"""The traps that others met in Flower (design/ecosystem.md), each as a test."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import (
    Context,
    Message,
    MessageType,
)
from flwr.clientapp.mod import LocalDpMod, fixedclipping_mod

from privfed.errors import PeerError, PrivFedError, QuorumError
from privfed.integrations import simulated_keys
from privfed.integrations.flower import EncryptedMod, EncryptedStrategy
from privfed.integrations.flower.records import arrays_of, record_of
from privfed.integrations.messages import Greet
from tests.integrations.grid import kill
from tests.integrations.jobs import (
    START,
    Job,
    ask_of,
    close,
    quiet_average,
    read_wire,
    same_bits,
    unharmed,
)


def test_all_that_goes_out_are_lists(tmp_path: Path) -> None:
    """1: the HTTP grid iterates messages twice; `OneProcessGrid.send_and_receive` checks it."""
    job = Job(tmp_path / "keys", 3)
    job.run(2)
    close(job, [0, 1, 2])
    strategy = EncryptedStrategy(quiet_average(), patience_seconds=0)
    asked: list[Any] = []
    job.grid.new_run(99)
    real = job.grid.send_and_receive

    def watched(messages: Any, *, timeout: float | None = None) -> Any:
        asked.append(messages)
        return real(messages, timeout=timeout)

    job.grid.send_and_receive = watched  # type: ignore[method-assign]
    strategy.start(job.grid, record_of(START), num_rounds=1)
    assert asked
    assert all(isinstance(messages, list) for messages in asked)


def test_the_first_question_comes_as_training_which_each_application_has(tmp_path: Path) -> None:
    """2: a mod is not called for an action without a registered function."""
    job = Job(tmp_path / "keys", 3)
    kinds: list[tuple[str, bool]] = []

    def watch(node: int, message: Message) -> Message:
        kinds.append((message.metadata.message_type, isinstance(ask_of(message), Greet)))
        return message

    job.grid.to_node = watch
    job.run(1)
    assert kinds[:3] == [(MessageType.TRAIN, True)] * 3
    assert all(len(site.trained) == 1 for site in job.sites)  # no application saw it


def test_a_run_in_which_nothing_opens_is_no_success(tmp_path: Path, told: list[str]) -> None:
    """3, 4: Flower goes on with the old model where a round gives nothing."""
    job = Job(tmp_path / "keys", 3)
    job.sites[1].before = lambda purpose: kill()
    with pytest.raises(QuorumError, match="the round needs 3"):
        job.run(1)
    party = job.params.roster[1].id
    assert any(f"party {party}) did not send" in line for line in told)
    with pytest.raises(QuorumError, match="did not say hello"):
        job.run(1)


def test_a_killed_client_ends_a_run_that_needs_it(tmp_path: Path) -> None:
    """4: the next round says who is gone."""
    job = Job(tmp_path / "keys", 3)
    job.sites[2].before = lambda purpose: kill() if job.sites[2].trained else None
    with pytest.raises(QuorumError, match=f"gone: {job.params.roster[2].id}"):
        job.run(3)
    assert same_bits(job.model(0), job.model(1))


def test_settings_of_who_submits_a_run_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """6: keys, passphrases and what is revealed are the party's own affair."""
    simulated_keys(tmp_path / "evil", START, parties=3, max_weight=16)
    job = Job(tmp_path / "keys", 3)
    config = {
        "privfed-keys": str(tmp_path / "evil" / "0"),
        "privfed-reveal": "loss,accuracy",
        "privfed-passphrase-file": "/nowhere",
    }
    result = job.run(1, config=config)
    close(job, [0, 1, 2])
    assert not result.train_metrics_clientapp
    assert not result.evaluate_metrics_clientapp
    for node in job.grid.contexts:
        del job.grid.contexts[node].node_config["privfed-keys"]
    with pytest.raises(PeerError, match="its keys, settings or arrays do not fit"):
        job.run(1, config=config)
    monkeypatch.setenv("PRIVFED_KEYS", str(tmp_path / "keys"))  # as in a simulation
    for place, node in enumerate(job.grid.contexts):
        job.grid.contexts[node].node_config["partition-id"] = place
    job.run(1, config=config)
    close(job, [0, 1, 2])


def test_each_message_may_be_another_process(tmp_path: Path) -> None:
    """7: a mod holds nothing; what a party keeps is in its folder, closed to others."""
    job = Job(tmp_path / "keys", 3)
    mods = [EncryptedMod() for _ in range(3)]
    before = [dict(vars(mod)) for mod in mods]
    for place, mod in enumerate(mods):
        job.grid.apps[100 + place] = job.sites[place].app([mod])
    job.run(2)
    assert [dict(vars(mod)) for mod in mods] == before
    assert all(not context.state for context in job.grid.contexts.values())
    kept = [file for file in (tmp_path / "keys" / "0").rglob("*") if file.is_file()]
    assert any(file.parent.name == "embedded" for file in kept)
    for file in kept:
        if file.parent.name == "embedded" or file.name.startswith("rounds"):
            assert file.stat().st_mode & 0o077 == 0
    for folder in (tmp_path / "keys" / "0").rglob("embedded"):
        assert folder.stat().st_mode & 0o077 == 0


def test_rounds_begin_at_one_in_each_run_and_keys_go_on(tmp_path: Path) -> None:
    """7: a party numbers its rounds by itself, over all runs of a key."""
    job = Job(tmp_path / "keys", 3)
    numbers: list[int] = []

    def watch(node: int, message: Message) -> Message:
        ask = ask_of(message)
        if node == 100 and not isinstance(ask, Greet) and ask.purpose == "train":
            numbers.append(ask.round_id)
        return message

    job.grid.to_node = watch
    for _ in range(2):
        job.run(2)
        close(job, [0, 1, 2])
    assert numbers == [1, 2, 3, 4]


def test_a_total_is_sent_once_and_its_model_kept(tmp_path: Path) -> None:
    """7: Flower sends a model to evaluate and again to train on; a total opens once."""
    job = Job(tmp_path / "keys", 3)
    job.run(3)
    totals = [ask_of(read_wire(sent)).totals for node, sent in job.grid.sent if node == 100]
    assert [each.round_id for past in totals for each in past] == [1, 2, 3]
    for site in job.sites:
        assert all(
            same_bits(seen, trained)
            for seen, trained in zip(site.evaluated[:2], site.trained[1:], strict=True)
        )
        assert same_bits(site.evaluated[2], job.model(0))


def changing(message: Message, context: Context, call_next: Any) -> Message:
    """Halve what a training's reply holds: as a mod of one's own may."""
    reply = call_next(message, context)
    for key, record in reply.content.array_records.items():
        halved = {name: (each / 2).astype(each.dtype) for name, each in arrays_of(record).items()}
        reply.content[key] = record_of(halved)
    return reply  # type: ignore[no-any-return]


def widening(message: Message, context: Context, call_next: Any) -> Message:
    """Make floats of all that a training's reply holds."""
    reply = call_next(message, context)
    for key, record in reply.content.array_records.items():
        wide = {name: each.astype(np.float32) for name, each in arrays_of(record).items()}
        reply.content[key] = record_of(wide)
    return reply  # type: ignore[no-any-return]


def touching(message: Message, context: Context, call_next: Any) -> Message:
    """Change one bit of each total that comes."""
    for record in message.content.array_records.values():
        for name, each in arrays_of(record).items():
            if each.dtype == np.uint8 and len(each):
                each = each.copy()
                each[-1] ^= 1
                record[name] = record_of({"a": each})["a"]
    return call_next(message, context)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (LocalDpMod(1.0, 1.0, 1.0, 1e-5), "LocalDpMod"),
        (fixedclipping_mod, "fixedclipping_mod"),
        (changing, "changed on its way"),
        (widening, "first in its ClientApp"),
        (touching, "another mod changed it"),
    ],
)
def test_a_mod_outside_of_the_encryption_ends_the_run(
    tmp_path: Path, told: list[str], before: Any, said: str
) -> None:
    """8: in every order in which another mod is before ours, it fails closed and says so."""
    for at, mods in enumerate(
        (
            [before, EncryptedMod()],
            [before, quiet_mod, EncryptedMod()],
            [quiet_mod, before, EncryptedMod()],
        )
    ):
        job = Job(tmp_path / str(at), 2, mods=mods)
        del told[:]
        with pytest.raises(PrivFedError) as caught:
            job.run(2)
        assert said in "\n".join([*told, str(caught.value)])
        unharmed(job)


def quiet_mod(message: Message, context: Context, call_next: Any) -> Message:
    """Change nothing."""
    return call_next(message, context)  # type: ignore[no-any-return]


def test_a_mod_inside_works_on_the_plain_arrays(tmp_path: Path) -> None:
    """8: behind ours, a mod sees what the application sees."""
    job = Job(tmp_path / "keys", 2, mods=[quiet_mod, EncryptedMod(), quiet_mod, changing])
    job.run(1)
    for site in job.sites:
        site.sent = {name: each / 2 for name, each in site.sent.items()}
    close(job, [0, 1])
    noisy = Job(tmp_path / "noisy", 2, mods=[EncryptedMod(), LocalDpMod(1.0, 0.0, 1.0, 1e-5)])
    noisy.run(1)
    moved = np.concatenate([(noisy.model()[name] - START[name]).ravel() for name in START])
    assert 0 < np.linalg.norm(moved) <= 1.01  # each client's difference was clipped to 1


def test_a_party_without_keys_or_without_a_mod_is_not_left_out_silently(
    tmp_path: Path, told: list[str]
) -> None:
    """8: all of the roster say hello, or the run does not begin."""
    job = Job(tmp_path / "keys", 3)
    del job.grid.contexts[101].node_config["privfed-keys"]
    job.grid.configs[1].clear()
    with pytest.raises(PeerError, match="node 101 refused with ConfigError"):
        job.run(1)
    assert any("this party has no keys" in line for line in told)
    plain = Job(tmp_path / "plain", 3)
    plain.grid.apps[101] = plain.sites[1].app([])
    with pytest.raises(
        QuorumError, match=r"1 of 3 parties did not say hello.*" + plain.params.roster[1].id
    ):
        plain.run(1)
    assert not any(site.trained for site in (*job.sites, *plain.sites))
