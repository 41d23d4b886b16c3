"""Mask keys of an epoch: how parties agree on them, and what is refused on the way."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed import secagg
from privfed.errors import (
    AuthenticationError,
    ConfigError,
    ContextMismatchError,
    DecodeError,
    QuorumError,
    ReplayError,
)
from privfed.keys import Identity
from privfed.secagg import aggregator, wire
from privfed.secagg.epochs import MESSAGE_BYTES, MOST_SKIPPED, MaskKeys
from privfed.secagg.rounds import RoundID
from privfed.secagg.state import Journal
from tests.secagg.colluders import opened, sent
from tests.secagg.crash_points import Cut, killed, refused, stepped
from tests.secagg.parties import Round, identities, parameters, state_text, updates
from tests.secagg.party_jobs import Job
from tests.secagg.totals import KeyUses

SHAPES: dict[str, tuple[int, ...]] = {"w": (7, 5), "b": (5,)}
PARAMS = parameters(3, SHAPES, max_weight=None, adversary="lying-server+1")
KEY = secagg.generate_keys(PARAMS)
PUBLIC = wire.PREFIX_BYTES + 2  # where a message's X25519 key begins


def keys_of(
    place: int, params: secagg.Parameters = PARAMS, path: Path | None = None
) -> tuple[MaskKeys, Journal]:
    identity, journal = identities(place + 1)[place], Journal(path, "test", b"")
    key_id = KEY.id if params is PARAMS else bytes(16)
    return MaskKeys(params, key_id, identity, journal), journal


def several(count: int = 3, params: secagg.Parameters = PARAMS) -> list[MaskKeys]:
    return [keys_of(place, params)[0] for place in range(count)]


def agreed(params: secagg.Parameters = PARAMS, first: int = 1) -> list[MaskKeys]:
    """The keys of all parties, in one epoch."""
    all_keys = several(len(params.roster), params)
    messages = [each.start(first) for each in all_keys]
    for each in all_keys:
        each.enter(messages)
    return all_keys


def words(keys: MaskKeys, number: int, params: secagg.Parameters = PARAMS) -> np.ndarray:
    return keys.masks(RoundID.of(params, number, None)).words(b"name", 20, 2**39)


def cancel(all_keys: list[MaskKeys], number: int) -> bool:
    total = sum((words(each, number) for each in all_keys), np.zeros(1, np.uint64))
    return not (total & np.uint64(2**39 - 1)).any()


def resigned(message: bytes, identity: Identity, at: int, new: bytes) -> bytes:
    """A message of a hostile party, changed and signed again."""
    said = message[:at] + new + message[at + len(new) : -64]
    return said + identity.sign(b"privfed/1/epoch key\x00" + said)


# What is refused.


Change = Callable[[list[bytes]], object]


def refusals() -> dict[str, tuple[Change, type[Exception], str]]:
    """What a server may hand to the first party in the place of the three messages."""
    hostile = identities(3)[2]
    other = keys_of(2)[0].start(2)
    again = keys_of(2)[0].start(1)
    elsewhere = parameters(3, SHAPES, max_weight=None, adversary="lying-server+1", job="other")

    def with_upload(messages: list[bytes]) -> list[bytes]:
        return [*messages[:2], Round.of(PARAMS).uploads(updates(1, SHAPES))[0]]  # needs SEAL

    def with_key(public: bytes) -> Change:
        return lambda m: [*m[:2], resigned(again, hostile, PUBLIC, public)]

    strange = resigned(again, secagg.generate_identity(), PUBLIC, bytes(32))
    return {
        "no list": (lambda m: m[0], ConfigError, "list of bytes"),
        "text": (lambda m: [*m[:2], "x"], ConfigError, "list of bytes"),
        "nothing": (lambda m: [], QuorumError, "has not started"),
        "one missing": (lambda m: m[:2], QuorumError, PARAMS.roster[2].id),
        "truncated": (lambda m: [*m[:2], m[2][:-1]], DecodeError, "no message"),
        "extended": (lambda m: [*m[:2], m[2] + b"\0"], DecodeError, "no message"),
        "empty": (lambda m: [*m[:2], b""], DecodeError, "truncated"),
        "an upload": (with_upload, DecodeError, "no message of an epoch"),
        "a secret": (lambda m: [*m[:2], KEY.to_bytes()], DecodeError, "secret key"),
        "twice": (lambda m: [*m, m[2]], ReplayError, "two keys"),
        "two keys": (lambda m: [*m, again], ReplayError, "two keys"),
        "another round's": (lambda m: [*m[:2], other], ContextMismatchError, "another round"),
        "another job's": (
            lambda m: [*m[:2], keys_of(2, elsewhere)[0].start(1)],
            ContextMismatchError,
            "other parameters",
        ),
        "another key's": (
            lambda m: [*m[:2], MaskKeys(PARAMS, bytes(16), hostile, keys_of(2)[1]).start(1)],
            ContextMismatchError,
            "another key",
        ),
        "a stranger's": (lambda m: [*m[:2], strange], AuthenticationError, "signature"),
        "off the roster": (
            lambda m: [*m[:2], resigned(again, hostile, PUBLIC - 2, b"\3\0")],
            AuthenticationError,
            "not on the roster",
        ),
        "in another's place": (
            lambda m: [*m[:2], resigned(again, hostile, PUBLIC - 2, b"\1\0")],
            AuthenticationError,
            "signature",
        ),
        "zero": (with_key(bytes(32)), AuthenticationError, "low order"),
        "one": (with_key(b"\1" + bytes(31)), AuthenticationError, "low order"),
    }


@pytest.mark.parametrize("name", refusals())
def test_what_a_server_may_not_hand_over(name: str) -> None:
    """After a refusal the right messages are still taken."""
    change, error, said = refusals()[name]
    all_keys = several()
    messages = [each.start(1) for each in all_keys]
    with pytest.raises(error, match=said):
        all_keys[0].enter(change(messages))  # type: ignore[arg-type]
    for each in all_keys:
        each.enter(messages)
    assert cancel(all_keys, 1)


def test_every_bit_of_a_message_counts() -> None:
    all_keys = several()
    messages = [each.start(1) for each in all_keys]
    assert {len(each) for each in messages} == {MESSAGE_BYTES}
    for bit in range(8 * MESSAGE_BYTES):
        changed = bytearray(messages[1])
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((DecodeError, ContextMismatchError, AuthenticationError)):
            all_keys[0].enter([messages[0], bytes(changed), messages[2]])
    all_keys[0].enter(messages)


def test_the_order_of_things() -> None:
    (keys, _), others = keys_of(0), several()
    for call in (lambda: keys.digest, lambda: words(keys, 1), lambda: keys.after(1)):
        with pytest.raises(ConfigError, match="no mask keys are agreed on"):
            call()
    messages = [each.start(5) for each in others[1:]]
    with pytest.raises(ConfigError, match="start_epoch"):
        keys.enter(messages)
    keys.start(5)
    keys.enter(messages)  # its own need not be among them
    with pytest.raises(ConfigError, match="start_epoch"):
        keys.enter(messages)
    with pytest.raises(ConfigError, match="before the epoch"):
        words(keys, 4)
    assert words(keys, 5 + MOST_SKIPPED).any()
    with pytest.raises(ConfigError, match="start an epoch anew"):
        words(keys, 6 + MOST_SKIPPED)
    for wrong in (-1, 2**64, "1", 1.0, True):
        with pytest.raises(ConfigError, match="round_id"):
            keys.start(wrong)  # type: ignore[arg-type]


def test_a_party_that_started_twice_sees_that_its_first_message_is_in() -> None:
    all_keys = several()
    first, *others = (each.start(1) for each in all_keys)
    second = all_keys[0].start(1)
    with pytest.raises(ReplayError, match="earlier one"):
        all_keys[0].enter([first, *others])
    for each in all_keys:
        each.enter([second, *others])
    assert cancel(all_keys, 1)


def test_an_epoch_does_not_begin_with_a_round_that_was_sent() -> None:
    keys, journal = keys_of(0)
    others = several()[1:]
    messages = [keys.start(3), *(each.start(3) for each in others)]
    journal.send(3, None)
    with pytest.raises(ReplayError, match="not after round 3"):
        keys.enter(messages)
    with pytest.raises(ReplayError, match="not after round 3"):
        keys.start(3)


def test_messages_of_other_groups_are_passed_over() -> None:
    params = parameters(6, SHAPES, max_weight=None, adversary="lying-server+1")
    assert params.groups == ((0, 1, 2), (3, 4, 5))
    all_keys = several(6, params)
    messages = [each.start(1) for each in all_keys]
    all_keys[0].enter(messages)
    all_keys[1].enter(messages[:3])
    strange = bytearray(messages[4])
    strange[-1] ^= 1
    all_keys[2].enter([*messages[:3], bytes(strange), messages[3], messages[3]])
    assert len({each.digest for each in all_keys[:3]}) == 1
    all_keys[3].enter(messages)
    assert all_keys[3].digest != all_keys[0].digest
    total = sum((words(each, 1, params) for each in all_keys[:3]), np.zeros(1, np.uint64))
    assert not (total & np.uint64(2**39 - 1)).any()


def test_without_groups_enough_parties_begin_and_the_cohort_is_of_them() -> None:
    params = parameters(5, SHAPES, max_weight=None, adversary="lying-server+1", noise_shares=True)
    all_keys = several(5, params)
    messages = [each.start(1) for each in all_keys[:4]]
    with pytest.raises(QuorumError, match="min_clients=3"):
        all_keys[0].enter(messages[:2])
    all_keys[0].enter(messages)
    assert all_keys[0].masks(RoundID.of(params, 1, (0, 1, 3))).keys.keys() == {1, 3}
    with pytest.raises(ConfigError, match="not in the epoch"):
        all_keys[0].masks(RoundID.of(params, 1, None))
    with pytest.raises(ConfigError, match="not in the round's cohort"):
        all_keys[0].masks(RoundID.of(params, 1, (1, 2, 3)))


def test_where_there_are_no_masks_there_is_no_epoch() -> None:
    encryptor = Round.of(parameters(3, SHAPES, adversary="lying-server")).encryptors[0]
    for call in (lambda: encryptor.start_epoch(1), lambda: encryptor.enter_epoch([])):
        with pytest.raises(ConfigError, match="no epoch is needed"):
            call()


# Who was shown what.


@pytest.mark.parametrize("kind", ["two keys of one party", "a replaced key"])
def test_parties_that_were_shown_other_keys_are_refused_before_the_key_is_used(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the server that keeps to the protocol, and by every holder; and their masks are noise."""
    identity = identities(3)
    parties = [secagg.Encryptor(PARAMS, KEY, each, "memory") for each in identity]
    spare = secagg.Encryptor(PARAMS, KEY, identity[2], "memory")
    one, two, three = (each.start_epoch(1) for each in parties)
    other = parties[2].start_epoch(1) if kind == "a replaced key" else spare.start_epoch(1)
    parties[0].enter_epoch([one, two, three])
    parties[1].enter_epoch([one, two, other])
    last = parties[2] if kind == "a replaced key" else spare
    last.enter_epoch([one, two, other])
    sending, update = [parties[0], parties[1], last], updates(3, SHAPES)
    uploads = [
        each.encrypt(values, round_id=1) for each, values in zip(sending, update, strict=True)
    ]
    server = secagg.Aggregator(PARAMS, 1)
    server.add(uploads[0])
    for upload in uploads[1:]:
        with pytest.raises(ContextMismatchError, match="different epochs"):
            server.add(upload)
    with monkeypatch.context() as lying:
        lying.setattr(aggregator, "check_epochs", lambda *_: None)
        server = secagg.Aggregator(PARAMS, 1)
        for upload in uploads:
            server.add(upload)
        total = server.total()
    uses, holder = KeyUses(monkeypatch), secagg.Decryptor(PARAMS, KEY, "memory")
    for stream in (total, iter([total])):
        with pytest.raises(ContextMismatchError, match="different epochs"):
            holder.decrypt(stream, 1)
    assert (uses.count, holder.failed) == (0, ())
    right = sum(sent(PARAMS, each) for each in update)
    # 40 uniform words of 18 bits: three that are right by chance in 1 of 10^12 runs.
    assert (opened(PARAMS, KEY, uploads) == right).sum() < 3


# Rounds, restarts, and what is gone.


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sets(st.integers(1, 30)), min_size=3, max_size=3), st.integers(31, 40))
def test_masks_cancel_whatever_rounds_each_party_skipped(rounds: list[set[int]], last: int) -> None:
    all_keys = agreed()
    for keys, numbers in zip(all_keys, rounds, strict=True):
        for number in sorted(numbers):
            keys._journal.send(number, None, keys.after(number))
    assert cancel(all_keys, last)
    assert cancel(all_keys, last + 1)
    for keys, numbers in zip(all_keys, rounds, strict=True):
        for number in range(1, max(numbers, default=0) + 1):
            with pytest.raises(ReplayError, match="are gone"):
                words(keys, number)


def test_a_restart_between_start_and_enter_and_one_in_the_middle(tmp_path: Path) -> None:
    job = Job(tmp_path / "state", adversary="lying-server+1")
    job.round(1)
    messages = [party.start_epoch() for party in job.parties]
    for step in ("started", "entered", "sent"):
        job.parties[0].close()
        job.parties[0] = job.fresh()
        if step == "started":
            for party in job.parties:
                party.enter_epoch(messages)
            assert job.record["epoch"]["first"] == 2
        else:
            number = job.parties[0].round_id + 1
            assert all(len(each.senders) == 3 for each in job.round(number)[1])


def test_the_messages_of_the_epoch_in_use_change_nothing(tmp_path: Path) -> None:
    """Who was killed as it entered, and does not know that it has, enters once more."""
    job = Job(tmp_path / "state", adversary="lying-server+1")
    messages = [party.start_epoch() for party in job.parties]
    for party in job.parties:
        party.enter_epoch(messages)
    job.parties[0].close()
    job.parties[0] = job.fresh()
    before = job.record
    job.parties[0].enter_epoch(messages)
    assert job.record == before
    assert all(len(each.senders) == 3 for each in job.round(1)[1])
    before = job.record
    job.parties[0].enter_epoch(messages)  # keys of rounds before do not come back
    assert job.record == before
    for others in ([], messages[:2], messages[1:], [*messages[:2], job.parties[2].start_epoch()]):
        with pytest.raises(ConfigError, match=r"start_epoch\(\) comes first"):
            job.parties[0].enter_epoch(others)


def test_a_state_that_is_damaged_or_anothers_gives_no_mask(tmp_path: Path) -> None:
    path = tmp_path / "state"
    keys, journal = keys_of(0, path=path)
    others = several()[1:]
    keys.enter([keys.start(1), *(each.start(1) for each in others)])
    keys.start(9)
    journal.close()
    text = path.read_text()
    for name in ("epoch", "starting"):
        for change in ("", "00", "flip"):
            record = json.loads(text)
            whole = record[name]["sealed"]
            flip = f"{int(whole[:2], 16) ^ 1:02x}{whole[2:]}"
            record[name]["sealed"] = flip if change == "flip" else change
            path.write_text(state_text(record))
            read, damaged = keys_of(0, path=path)
            with pytest.raises(ConfigError, match="start an epoch anew"):
                words(read, 1) if name == "epoch" else read.enter([])
            damaged.close()
    path.write_text(text)
    other, _ = keys_of(1, path=path)
    with pytest.raises(ConfigError, match="another identity's"):
        words(other, 1)


@pytest.mark.parametrize("cut", [killed, refused], ids=["kill", "full disk"])
def test_an_epoch_cut_at_any_write_is_entered_by_the_next_process(tmp_path: Path, cut: Cut) -> None:
    identity, update, rounds = identities(3), updates(3, SHAPES), iter(range(1, 1000))
    others = [secagg.Encryptor(PARAMS, KEY, each, "memory") for each in identity[1:]]

    def prepare(folder: Path) -> tuple[Callable[[], object], list[bytes]]:
        number = next(rounds)
        with secagg.Party(PARAMS, KEY, identity[0], folder) as party:
            messages = [party.start_epoch(number), *(each.start_epoch(number) for each in others)]
        for each in others:
            each.enter_epoch(messages)

        def enter() -> None:
            with secagg.Party(PARAMS, KEY, identity[0], folder) as party:
                party.enter_epoch(messages)
                party.encrypt(update[0], round_id=number)

        return enter, messages

    def check(folder: Path, messages: list[bytes]) -> None:
        record = json.loads((folder / "rounds.json").read_text())
        number = next(rounds)
        with secagg.Party(PARAMS, KEY, identity[0], folder) as party:
            if record["epoch"] is None:
                party.enter_epoch(messages)
            else:
                assert record["starting"] is None
                sent_any = record["sent"] >= 0
                assert record["epoch"]["next"] == record["epoch"]["first"] + sent_any
            own = party.encrypt(update[0], round_id=number)
        uploads = [
            own,
            *(
                each.encrypt(values, round_id=number)
                for each, values in zip(others, update[1:], strict=True)
            ),
        ]
        right = sum(sent(PARAMS, each) for each in update)
        assert np.array_equal(opened(PARAMS, KEY, uploads), right)

    stepped(cut, prepare, check, tmp_path)


def test_masks_made_ahead_of_an_epoch_are_dropped_even_if_the_disk_is_full(
    tmp_path: Path,
) -> None:
    """Else an upload would name the new keys, and lie under the old ones; it is tried again."""
    job = Job(tmp_path / "state", adversary="lying-server+1")
    job.parties[0].announce()
    messages = [party.start_epoch() for party in job.parties]
    assert refused(lambda: job.parties[0].enter_epoch(messages), 0)
    for party in job.parties:
        party.enter_epoch(messages)
    assert all(len(each.senders) == 3 for each in job.round(1)[1])
