"""Errors that no other test comes across, and the second greeting: parties at different rounds."""

from pathlib import Path

import pytest

from privfed.dp import calibrate
from privfed.errors import ConfigError, ContextMismatchError, DecodeError, PrivFedError, QuorumError
from privfed.integrations import EmbeddedParty, EmbeddedServer, simulated_keys
from privfed.integrations.flower import EncryptedMod, EncryptedStrategy
from privfed.integrations.kept import Shelf, digest_of_model
from privfed.integrations.messages import Done, Greet, Present, encode
from privfed.integrations.travels import PLAN
from tests.integrations.grid import kill
from tests.integrations.jobs import START, Job, ask_of, close, quiet_average, read_wire
from tests.integrations.server_in_hand import Hand


def one_that_dies(job: Job) -> None:
    """Let the last client of three die in the second round, which others have sent by then."""
    last = job.sites[2]
    last.before = lambda purpose: kill() if purpose == "train" and len(last.trained) == 1 else None
    with pytest.raises(QuorumError, match="0 parties in whole groups"):
        job.run(3)
    job.grid.dead, last.before = set(), lambda purpose: None


def test_parties_at_different_rounds_are_greeted_twice(tmp_path: Path) -> None:
    job = Job(tmp_path / "keys", 3)
    one_that_dies(job)
    before = len(job.grid.sent)
    job.run(2)
    close(job, (0, 1, 2))
    asked = [ask_of(read_wire(data)) for _, data in job.grid.sent[before:]]
    assert [each.first_round for each in asked if isinstance(each, Greet)] == [None] * 3 + [3] * 3


def test_a_party_that_does_not_begin_with_the_round_it_was_told(tmp_path: Path) -> None:
    hand = Hand(tmp_path / "keys", 2)
    server: EmbeddedServer[int] = EmbeddedServer(START, params=hand.params)
    start = digest_of_model(START)
    early = hand.greet(0, start)
    server.hear(0, encode(Present(early)))
    server.hear(1, encode(Present(hand.greet(1, start, first=5))))
    assert not server.settle()
    server.hear(0, encode(Present(early)))  # the same again
    with pytest.raises(ContextMismatchError, match="does not begin with the round it was told"):
        server.settle()
    server.close()


def test_a_server_is_asked_in_order(tmp_path: Path) -> None:
    hand = Hand(tmp_path / "keys", 2)
    server: EmbeddedServer[int] = EmbeddedServer(START)
    with pytest.raises(DecodeError, match="left out its parameters"):
        server.hear(0, encode(Present(hand.greet(0, digest_of_model(START)))))
    with pytest.raises(ConfigError, match="nobody has said hello yet"):
        server.begin([0])
    with pytest.raises(ConfigError, match="no round has begun"):
        server.total()
    server.hear(0, encode(Present(hand.hellos[0], hand.params.to_bytes())))
    with pytest.raises(ConfigError, match="no round has begun"):
        server.add(0, encode(Done(0)), b"")
    server.close()
    with pytest.raises(ConfigError, match="a strategy runs by its start"):
        EncryptedStrategy(quiet_average()).aggregate_train(1, [])


def test_settings_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="travels is 'weights' or 'updates', not 'shares'"):
        EncryptedMod(travels="shares")
    with pytest.raises(ConfigError, match="give the model's arrays and the number of parties"):
        simulated_keys(tmp_path / "none", START)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot use"):
        Shelf(tmp_path / "file" / "below", b"")


def test_a_plan_that_is_another_or_gone(tmp_path: Path) -> None:
    def plan_of(rounds: int) -> object:
        return calibrate(
            8.0,
            1e-3,
            noise="shares",
            rows=[1] * 3,
            sampling_rates=[1.0] * 3,
            rounds=rounds,
            l2_clip_norm=1.0,
            colluders=1,
            dimension=8,
            privacy_unit="one client",
        )

    for name, rounds in (("keys", 2), ("others", 3)):
        simulated_keys(tmp_path / name, plan=plan_of(rounds))  # type: ignore[arg-type]
    keys = tmp_path / "keys" / "0"
    with pytest.raises(ConfigError, match="leave what travels to it"):
        EmbeddedParty(keys, "run", travels="updates")
    (keys / PLAN).write_bytes((tmp_path / "others" / "0" / PLAN).read_bytes())
    with pytest.raises(ContextMismatchError, match="the parameters are not those of"):
        EmbeddedParty(keys, "run")
    (keys / PLAN).unlink()
    with pytest.raises(ConfigError, match="is no plan"):
        EmbeddedParty(keys, "run")


def test_a_file_that_was_altered_is_named(tmp_path: Path) -> None:
    hand = Hand(tmp_path / "keys", 2)
    hand.greet(0, digest_of_model(START))
    (file,) = (tmp_path / "keys" / "0" / "rounds").glob("*/embedded/run")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(PrivFedError, match="is damaged or another party's"), hand.party(0) as party:
        party.greet(Greet(digest_of_model(START)))
