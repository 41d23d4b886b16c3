"""Attacks that once worked, or nearly did."""

import json
import multiprocessing
import os
import signal
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import (
    AuthenticationError,
    ConfigError,
    ContextMismatchError,
    DecodeError,
    ReplayError,
)
from privfed.he import rlwe
from privfed.he.packing import MODULUS, MODULUS_GAP, choose
from privfed.secagg import wire
from privfed.secagg.schemes.packed import Packed
from privfed.secagg.state import Journal
from tests.secagg.parties import Round, against, identities, parameters, updates
from tests.waiting import LONG_SECONDS

SHAPES: dict[str, tuple[int, ...]] = {"w": (7, 5), "b": (5,)}
CLIENTS = 3


def summed(scheme: str, **changes: Any) -> Round:
    return Round.of(
        parameters(
            CLIENTS,
            SHAPES,
            scheme=scheme,
            download="summed" if scheme == "packed" else None,
            max_weight=None,
            **changes,
        )
    )


@pytest.mark.parametrize("scheme", ["packed", "slots"])
@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("times", [-1, 2])
def test_a_total_times_a_number(
    monkeypatch: pytest.MonkeyPatch, scheme: str, masks: bool, times: int
) -> None:
    """Masks cancel in any multiple of the sum, and hashes alone would be right for it."""
    parties = summed(scheme, adversary=against(masks), bits=8)
    uploads = parties.uploads(updates(CLIENTS, SHAPES))
    aggregator = secagg.Aggregator(parties.params, 1)
    for upload in uploads:
        aggregator.add(upload)
    accumulator: Any = aggregator._whole[0].accumulator
    if scheme == "packed":
        from privfed.he import seal as room

        def scaled(words: np.ndarray) -> np.ndarray:
            return np.array([int(word) * times % MODULUS for word in words], np.uint64)

        accumulator._c0 = scaled(accumulator._c0)
        second_half = room.second_half
        monkeypatch.setattr(room, "second_half", lambda c1: scaled(second_half(c1)))
    else:
        from privfed.he.seal.files import seal

        evaluator = seal().Evaluator(accumulator._batches._context)
        for block in accumulator.totals:
            if times == 2:
                evaluator.add_inplace(block, block)
            else:
                evaluator.negate_inplace(block)
    total = aggregator.total()
    with pytest.raises(AuthenticationError, match="not the sum of what its senders signed"):
        parties.decryptor.decrypt(total, 1)


@pytest.mark.parametrize("scheme", ["packed", "slots"])
def test_a_lone_client_under_all_names_without_seeds_and_masks(scheme: str) -> None:
    parties = summed(scheme)
    uploads = parties.uploads(updates(CLIENTS, SHAPES))
    names, lone = (secagg.Aggregator(parties.params, 1) for _ in range(2))
    for upload in uploads:
        names.add(upload)
    lone.add(uploads[0])
    body = lone._whole[0].accumulator.total([lone._whole[0].entries[0][1]])
    whole = b"".join(names._sum_messages(wire.Kind.TOTAL))
    with pytest.raises(AuthenticationError, match="not the sum of what its senders signed"):
        parties.decryptor.decrypt(whole[: -len(body)] + body, 1)


@pytest.mark.parametrize("guess", ["right", "wrong"])
def test_noise_under_a_mask_says_nothing_of_the_message(guess: str) -> None:
    """A party that taps a masked upload reads m + mask and the noise, and has a guess of m.

    Rounding m and the mask apart would leave floor(a + b) - floor(a) - floor(b) in the noise.
    """
    packing = choose(32, 1024)  # the least is cut here
    scheme, count = Packed(packing, "seeds"), 4096 * 16
    key = secagg.SecretKey(bytes(range(32)), bytes(32))
    rng = np.random.default_rng(5)
    sent, other = rng.integers(-packing.limit, packing.limit, (2, count))
    plain = np.uint64(2**packing.plain_bits - 1)
    mask = rng.integers(0, plain, count, np.uint64, endpoint=True)
    sender = scheme.sender(key)
    zero = sender.prepare(count)
    zero.keep(mask)
    seeds = zero.seeds
    total: Any = scheme.accumulator(count)
    total.plus(scheme.payload(memoryview(sender.seal(zero, sent)), count))
    phase = rlwe.reduce(total._c0 + scheme.opener(key).keystream([seeds], count))
    hidden, _ = rlwe.scale_down(phase, packing.plain_bits)
    assert np.array_equal(hidden, (sent.view(np.uint64) + mask) & plain)
    noise = (phase - rlwe.scale_up(hidden, packing.plain_bits)).view(np.int64)
    guessed = (sent if guess == "right" else other).view(np.uint64) & plain

    def fraction(messages: np.ndarray) -> np.ndarray:
        exact = [int(word) * MODULUS_GAP % 2**packing.plain_bits for word in messages]
        return np.asarray(np.array(exact) / 2**packing.plain_bits)

    carry = fraction(hidden) < fraction(guessed)
    usable = np.abs(noise) < 2**20  # not where the phase wraps
    deviation = np.corrcoef(carry[usable], noise[usable])[0, 1] * np.sqrt(count)
    assert abs(deviation) < 6  # standard deviations; 22 for a right guess where rounded apart


def _decrypts(decryptor: secagg.Decryptor, total: bytes, answer: Connection) -> None:
    try:
        answer.send(decryptor.decrypt(total, 1).senders)
    except ReplayError:
        answer.send("refused")


def test_a_fork_decrypts_no_second_total(tmp_path: Path) -> None:
    """The lock on the state file is shared with a fork; what it remembers is not."""
    parties = Round.of(parameters(CLIENTS, SHAPES))
    uploads = parties.uploads(updates(CLIENTS, SHAPES), [1, 2, 3])
    less = parties.total(uploads[:2])
    decryptor = secagg.Decryptor(parties.params, parties.key, tmp_path / "state")
    decryptor.decrypt(parties.total(uploads), 1)
    for each in (decryptor, secagg.Decryptor(parties.params, parties.key, "memory")):
        here, there = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(
            target=_decrypts, args=(each, less, there)
        )
        child.start()
        child.join()
        assert here.recv() == "refused"


def test_a_fork_is_refused_while_another_thread_is_at_work(tmp_path: Path) -> None:
    """The lock of a thread that the fork does not have is never let go there."""
    params = parameters(CLIENTS, SHAPES)
    journal = Journal(tmp_path / "state", "party", b"")
    encryptor = secagg.Encryptor(params, secagg.generate_keys(params), identities(1)[0], journal)
    begun, end = threading.Event(), threading.Event()

    def work() -> None:
        with journal.alone():
            begun.set()
            end.wait()

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(LONG_SECONDS)  # ends one that waits
        try:
            encryptor.prepare()
        except ReplayError:
            os._exit(7)
        os._exit(0)
    end.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_program_that_goes_elsewhere_keeps_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = parameters(2, SHAPES, max_weight=None)
    key = secagg.generate_keys(params)
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    ring = secagg.Keyring.create(Path("ring"), unlocked=True)
    with (
        secagg.Party(params, key, identities(2)[0], Path("state")) as one,
        secagg.Party(params, key, identities(2)[1], "memory") as other,
    ):
        monkeypatch.chdir(tmp_path / "there")
        server = secagg.Aggregator(params, round_id=1)
        for party, update in zip((one, other), updates(2, SHAPES), strict=True):
            server.add(party.encrypt(update))
        opened = one.open(server.total())
    made = ring.certify()
    assert not list((tmp_path / "there").iterdir())
    monkeypatch.chdir(tmp_path / "here")
    assert secagg.Keyring(Path("ring")).certificate == made
    with secagg.Party(params, key, identities(2)[0], Path("state")) as again:
        assert again.opened(1).transcript == opened.transcript


def test_a_state_file_has_one_lock_under_all_its_names(tmp_path: Path) -> None:
    params = parameters(CLIENTS, SHAPES)
    key = secagg.generate_keys(params)
    (tmp_path / "alias").symlink_to(tmp_path / "state")
    (tmp_path / "folder").symlink_to(tmp_path)
    with secagg.Decryptor(params, key, tmp_path / "state"):
        with pytest.raises(ConfigError, match="in use"):
            secagg.Decryptor(params, key, tmp_path / "folder" / "state")
        with pytest.raises(ConfigError, match="symbolic link"):
            secagg.Decryptor(params, key, tmp_path / "alias")


@pytest.mark.parametrize(
    "changes",
    [
        {"clip_range": 10**400},
        {"clip_range": 1e-320},
        {"clip_range": 1e300},
        {"tolerance": 10**400},
        {"job": ["a"]},
        {"layout": [[["w", [2.0]]], []]},
        {"layout": [[["w", [True, 3]]], []]},
        {"layout": [[[1, [3]]], []]},
        {"layout": [[["w", [10**4000] * 50]], []]},
        {"layout": [[["w", [1] * 33]], []]},
    ],
)
def test_parameters_that_would_fail_later_are_refused_when_read(changes: dict[str, Any]) -> None:
    described = json.loads(parameters(CLIENTS, SHAPES).to_bytes())
    text = json.dumps(described | changes, sort_keys=True, separators=(",", ":"))
    with pytest.raises(DecodeError):
        secagg.Parameters.from_bytes(text.encode())


def test_parameters_are_measured_before_they_are_parsed() -> None:
    with pytest.raises(DecodeError, match="more than"):
        secagg.Parameters.from_bytes(b"[" * (1 << 25))


def test_what_an_error_report_may_print_of_a_round_is_no_secret() -> None:
    """Tools that show local variables call repr: it must not tell values, weights or keystreams."""
    parties = Round.of(parameters(CLIENTS, SHAPES))
    update = parties.encryptors[0]._quantizer.check(updates(1, SHAPES)[0], 77)
    assert repr(update) == "Update()"
    parties.decryptor.prepare([parties.encryptors[0].announce(1)], 1)
    (prepared,) = parties.decryptor._prepared[1]
    assert repr(prepared) == "Prepared()"
    with pytest.raises(ConfigError):
        parties.encryptors[0].encrypt({}, round_id=1)


@pytest.fixture
def rings(tmp_path: Path) -> list[secagg.Keyring]:
    """Four parties with a key; the last one is about to be revoked, or hostile."""
    made = [secagg.Keyring.create(tmp_path / str(place), unlocked=True) for place in range(4)]
    params = parameters(
        4,
        SHAPES,
        roster=tuple(ring.identity.public for ring in made),
        adversary="lying-server+1",
        noise_shares=True,
        max_weight=None,
    )
    sealed = made[0].make(params)
    for ring in made[1:]:
        ring.accept(sealed[ring.identity.public.id], params)
    return made


def test_a_key_from_before_a_revocation_does_not_bring_the_party_back(
    rings: list[secagg.Keyring],
) -> None:
    """The third party misses two keys; the server then plays the first of them."""
    first, _, third, last = rings
    place, old = third.identity.public.id, first.params
    missed = first.rotate()[place]
    also_missed = first.rotate()[place]
    params, sealed = first.revoke(last.identity.public.id)
    taken = third.accept(sealed[place], params)
    for stale in (missed, also_missed):
        with pytest.raises(ContextMismatchError):
            third.accept(stale, old)
    assert (third.current, third.params) == (taken, params)


def test_a_missed_key_does_not_come_back_after_a_later_one(rings: list[secagg.Keyring]) -> None:
    first, _, third, _ = rings
    place = third.identity.public.id
    missed = first.rotate()[place]
    first.rotate()
    taken = third.accept(first.rotate()[place], first.params)
    with pytest.raises(ContextMismatchError, match="retired before"):
        third.accept(missed, first.params)
    assert third.current == taken


@pytest.mark.parametrize(
    "changes",
    [
        {"adversary": "lying-server", "min_clients": None},
        {"adversary": "honest-server", "group_sizes": None, "min_clients": None},
        {"max_clients": 3},
        {"clip_range": 0.1},
    ],
)
def test_one_party_does_not_weaken_the_parameters_of_another(
    rings: list[secagg.Keyring], changes: dict[str, Any]
) -> None:
    _, second, third, last = rings
    weaker = replace(last.params, **changes)
    sealed = last.make(weaker)[third.identity.public.id]
    with pytest.raises(ContextMismatchError, match="differ from those in use"):
        third.accept(sealed, weaker)
    assert third.params == second.params
    third.accept(sealed, weaker, changed=True)
    assert third.params == weaker


def test_a_folder_that_others_may_write_to_is_no_keyring(tmp_path: Path) -> None:
    """Whoever writes params.json there says whom the party trusts."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="chmod 700"):
        secagg.Keyring.create(folder, unlocked=True)
    folder.chmod(0o700)
    secagg.Keyring.create(folder, unlocked=True)
    folder.chmod(0o770)
    with pytest.raises(ConfigError, match="chmod 700"):
        secagg.Keyring(folder)


@pytest.mark.parametrize("seed", [bytes(64), b"\xff" * 64, b"\x01" + bytes(63)])
def test_a_hostile_party_chooses_its_seeds(seed: bytes) -> None:
    """SEAL takes any 64 bytes; what was encrypted under other seeds does not decrypt."""
    parties = Round.of(parameters(CLIENTS, SHAPES, max_weight=None))
    uploads = parties.uploads(updates(CLIENTS, SHAPES))
    head = wire.PREFIX_BYTES + wire.ENTRY_BYTES
    hostile = parties.encryptors[2]
    prefix, payload = wire.Prefix.read(memoryview(uploads[2])), uploads[2][head + len(seed) :]
    entry = wire.Entry(2, ()).over(seed, payload).signed(hostile._identity, prefix)
    uploads[2] = uploads[2][: wire.PREFIX_BYTES] + entry.to_bytes() + seed + payload
    with pytest.raises(AuthenticationError, match="does not decrypt"):
        parties.decryptor.decrypt(parties.total(uploads), 1)


def test_values_that_change_after_they_were_checked_do_not_pass_as_a_sum() -> None:
    """`encrypt_blocks` reads the arrays as it goes: NaN by then fails the round, no more."""
    parties = Round.of(parameters(CLIENTS, SHAPES, max_weight=None))
    sent = updates(CLIENTS, SHAPES)
    uploads = parties.uploads(sent[:2])
    blocks = parties.encryptors[2].encrypt_blocks(sent[2], round_id=1)
    sent[2]["w"][0, 0] = np.nan
    with np.errstate(invalid="ignore"):
        uploads.append(b"".join(blocks))
    with pytest.raises(AuthenticationError, match="does not decrypt"):
        parties.decryptor.decrypt(parties.total(uploads), 1)


def test_a_hostile_first_upload_cannot_shut_the_others_out() -> None:
    """A server that knows the round's key and history takes no other from whoever is first."""
    params = parameters(3)
    honest, other = Round.of(params), Round.of(params)  # the same roster, another key
    sent = updates(3, SHAPES)
    hostile = other.encryptors[0].encrypt(sent[0], weight=1024, round_id=1)
    forked = honest.encryptors[0].encrypt(sent[0], weight=1024, round_id=1, previous=b"h" * 32)
    uploads = [
        encryptor.encrypt(update, weight=1024, round_id=1)
        for encryptor, update in zip(honest.encryptors[1:], sent[1:], strict=True)
    ]
    shut = secagg.Aggregator(params, 1)
    shut.add(hostile)
    with pytest.raises(ContextMismatchError):
        shut.add(uploads[0])
    told = secagg.Aggregator(params, 1, key_id=honest.key.id, previous=b"")
    for bad in (hostile, forked):
        with pytest.raises(ContextMismatchError):
            told.add(bad)
    for upload in uploads:
        told.add(upload)
    assert len(honest.decryptor.decrypt(told.total(), 1).senders) == 2


@pytest.mark.parametrize("wrong", [{"key_id": b"short"}, {"previous": b"short"}])
def test_what_a_server_is_told_has_its_length(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="bytes"):
        secagg.Aggregator(parameters(3), 1, **wrong)
