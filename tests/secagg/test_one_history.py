"""Parties that train on one model, and those whom a server shows several (Pasquini et al. 2022).

"Eluding Secure Aggregation in Federated Learning via Model Inconsistency" (CCS 2022): whoever is
given a model whose units are dead has no gradient, and a sum over such parties and one other is
that other's update. Here the server has the help of one party, who opens sums that no holder
would, and who sends two updates in one round, so that two parties open two means.
"""

import hmac
from pathlib import Path

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import AuthenticationError, ContextMismatchError, ReplayError
from privfed.he import planes
from privfed.secagg import wire
from privfed.secagg.masks import Masks
from privfed.secagg.parts import Parts
from tests.secagg.colluders import opened, sent, twice
from tests.secagg.parties import Arrays, Round, identities, parameters, updates

INPUTS, UNITS, ROWS, RATE = 24, 16, 64, 8
SHAPES: dict[str, tuple[int, ...]] = {"w1": (UNITS, INPUTS), "b1": (UNITS,), "w2": (UNITS,)}
VICTIM, OTHER, HELPER = range(3)
Model = dict[str, np.ndarray]


def first_model() -> Model:
    rng = np.random.default_rng(5)
    return {name: rng.uniform(0, 0.1, shape) for name, shape in SHAPES.items()}


def rows(place: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(place)
    return rng.uniform(0, 0.1, (ROWS, INPUTS)), rng.uniform(-1, 1, ROWS)


def trained(model: Model, place: int) -> Model:
    """One step of a network of ReLU units on a party's rows."""
    x, y = rows(place)
    hidden = np.maximum(x @ model["w1"].T + model["b1"], 0)
    wrong = RATE * (hidden @ model["w2"] - y) / ROWS
    back = np.outer(wrong, model["w2"]) * (hidden > 0)
    return {"w1": -back.T @ x, "b1": -back.sum(axis=0), "w2": -hidden.T @ wrong}


def after(model: Model, mean: Arrays) -> Model:
    return {name: model[name] + mean[name] for name in model}


class Job:
    """Two honest parties, and one that works with the server."""

    def __init__(self, folder: Path) -> None:
        self.params = parameters(
            3, SHAPES, clip_range=1.0, max_weight=None, adversary="lying-server+1"
        )
        self.key = secagg.generate_keys(self.params)
        parties = identities(3)
        self.honest = [secagg.Party(self.params, self.key, each, "memory") for each in parties[:2]]
        helper = secagg.Encryptor(self.params, self.key, parties[HELPER], folder / "helper")
        started = [*(each.start_epoch(1) for each in self.honest), helper.start_epoch(1)]
        for party in self.honest:
            party.enter_epoch(started)
        helper.enter_epoch(started)
        self.helpers = helper, twice(self.params, self.key, parties[HELPER], folder / "helper")

    def total(self, uploads: list[bytes], round_id: int) -> bytes:
        server = secagg.Aggregator(self.params, round_id)
        for upload in uploads:
            server.add(upload)
        return server.total()

    def first_round(self, *, two_means: bool) -> list[Model]:
        """The models of the honest parties after a round; two that differ, or one at both."""
        model = first_model()
        uploads = [party.encrypt(trained(model, place)) for place, party in enumerate(self.honest)]
        silent = {name: np.zeros(shape, int) for name, shape in SHAPES.items()}
        dead = silent | {"b1": np.full(UNITS, -2 * self.params.packing.limit)}
        live, deadly = (
            helper.encrypt_integers(update, round_id=1)
            for helper, update in zip(self.helpers, (silent, dead), strict=True)
        )
        means = [
            party.open(self.total([*uploads, own], 1)).mean
            for party, own in zip(self.honest, (live, deadly if two_means else live), strict=True)
        ]
        return [after(model, mean) for mean in means]

    def read(self, models: list[Model]) -> tuple[np.ndarray, list[np.ndarray]]:
        """What the helper reads of the next round's sum without its own; and what was sent."""
        steps = [trained(model, place) for place, model in enumerate(models)]
        uploads = [party.encrypt(step) for party, step in zip(self.honest, steps, strict=True)]
        # Of its own update, nothing, it sends as many copies as there are histories.
        histories = sorted({party.transcript for party in self.honest})
        nothing = {name: np.zeros(shape, int) for name, shape in SHAPES.items()}
        own = [
            helper.encrypt_integers(nothing, round_id=2, previous=history)
            for helper, history in zip(self.helpers, histories, strict=False)
        ]
        return opened(self.params, self.key, [*uploads, own[0]]), [
            sent(self.params, step) for step in steps
        ]


def masks_of_any_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault: masks that cancel between parties that name different transcripts."""

    def words(self: Masks, prefix: bytes, count: int, modulus: int) -> np.ndarray:
        start = prefix.index(b"PFSA")
        same = prefix[: start + 68] + bytes(32) + prefix[start + 100 :]
        return bound(self, same, count, modulus)

    bound = Masks.words
    monkeypatch.setattr(Masks, "words", words)


def test_a_party_that_trains_on_the_servers_model_is_read_out_of_the_sum(tmp_path: Path) -> None:
    """The fault: the model comes from the server and not from what was opened."""
    job = Job(tmp_path)
    live, _ = job.first_round(two_means=False)
    dead = live | {"b1": np.full(UNITS, -1.0)}
    read, (victim, other) = job.read([live, dead])
    assert not other.any()
    assert victim.any()
    assert np.array_equal(read, victim)


def test_parties_that_train_on_what_they_opened_are_seen_as_a_sum(tmp_path: Path) -> None:
    job = Job(tmp_path)
    read, (victim, other) = job.read(job.first_round(two_means=False))
    assert np.array_equal(read, victim + other)
    assert (other != 0).mean() > 0.8


def test_two_means_are_no_way_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A party that helps the server shows each its mean; masks that ignore it are the fault."""
    with monkeypatch.context() as planted:
        masks_of_any_history(planted)
        (tmp_path / "fault").mkdir()
        job = Job(tmp_path / "fault")
        read, (victim, other) = job.read(job.first_round(two_means=True))
        assert not other.any()
        assert victim.any()
        assert np.array_equal(read, victim)
    job = Job(tmp_path)
    read, (victim, other) = job.read(job.first_round(two_means=True))
    assert not other.any()
    assert victim.any()
    # Uniform words of more than 16 bits: one of 400 is right by chance in 1 of 160 runs, two
    # in 1 of 50,000; more than four in less than 1 of 10^13.
    assert (read == victim).sum() <= 4
    # Of noise a correlation is past six deviations in 1 of 5*10^8 runs.
    assert abs(np.corrcoef(read, victim)[0, 1]) < 6 / np.sqrt(len(read))


def test_masks_made_ahead_for_another_history_are_made_anew() -> None:
    """What was prepared and announced before the last total came stays good, seeds and all."""
    params = parameters(3, SHAPES, max_weight=None, adversary="lying-server+1")
    parties = Round.of(params)
    update = updates(3, SHAPES)
    for each in parties.encryptors[:2]:
        each.prepare(2, round_id=2)
    announced = [each.announce(2) for each in parties.encryptors[:2]]
    mean = parties.run(update, round_id=1)
    uploads = parties.uploads(update, round_id=2, previous=mean.transcript)
    assert all(each[-64:] in upload for each, upload in zip(announced, uploads, strict=False))
    assert parties.decryptor.decrypt(parties.total(uploads, 2), 2).senders == mean.senders


def test_who_was_shown_another_total_does_not_add_in_the_next_round() -> None:
    params = parameters(6, SHAPES, max_weight=None, adversary="lying-server+1")
    parties, update = Round.of(params), updates(6, SHAPES)
    other = secagg.Decryptor(params, parties.key, "memory")
    uploads = parties.uploads(update)
    one = parties.decryptor.decrypt(parties.total(uploads), 1)
    two = other.decrypt(parties.total(uploads[:3]), 1)
    assert one.transcript != two.transcript
    first, second, third = (
        encryptor.encrypt(each, round_id=2, previous=seen.transcript)
        for encryptor, each, seen in zip(
            parties.encryptors[:3], update[:3], (one, one, two), strict=True
        )
    )
    server = secagg.Aggregator(params, 2)
    server.add(first)
    server.add(second)
    with pytest.raises(ContextMismatchError, match="history"):
        server.add(third)
    # The other group saw one total all; its sum is no round of a holder that saw another.
    for encryptor, each in zip(parties.encryptors[3:], update[3:], strict=True):
        server.add(encryptor.encrypt(each, round_id=2, previous=one.transcript))
    total = server.total()
    with pytest.raises(ContextMismatchError, match="history"):
        other.decrypt(total, 2)
    assert len(parties.decryptor.decrypt(total, 2).senders) == 3


def test_a_total_of_a_round_before_is_refused() -> None:
    params = parameters(3, SHAPES, max_weight=None, adversary="lying-server+1")
    parties, update = Round.of(params), updates(3, SHAPES)
    old = parties.total(parties.uploads(update))
    mean = parties.decryptor.decrypt(old, 1)
    with pytest.raises((ReplayError, ContextMismatchError)):
        parties.decryptor.decrypt(old, 1)
    with pytest.raises(ContextMismatchError, match="another round"):
        parties.decryptor.decrypt(old, 2)
    renamed = bytearray(old)
    renamed[56:64] = (2).to_bytes(8, "little")
    renamed[68:100] = mean.transcript
    with pytest.raises(AuthenticationError, match="signature"):
        parties.decryptor.decrypt(bytes(renamed), 2)


# What a transcript is.


def flipped(params: secagg.Parameters, total: bytes) -> bytes:
    """A total, the lowest bit of whose first word of c0 is the other one: noise, and no more."""
    packing = params.packing
    (part,) = Parts(params).all
    size = planes.size_bytes(packing.coefficients(part.sealed), packing.download_bits)
    words = planes.decode(
        memoryview(total)[-size:], packing.coefficients(part.sealed), packing.download_bits
    )
    words[0] ^= np.uint64(1)
    return total[:-size] + planes.encode(words, packing.download_bits)


def transcripts(params: secagg.Parameters) -> tuple[list[bytes], list[bytes]]:
    """Transcripts of two holders of one mean, and digests of the bytes that they were shown."""
    parties, update = Round.of(params), updates(3, SHAPES)
    total = parties.total(parties.uploads(update))
    shown = [total, flipped(params, total)]
    assert shown[0] != shown[1]
    holders = [secagg.Decryptor(params, parties.key, "memory") for _ in shown]
    results = [each.decrypt(data, 1) for each, data in zip(holders, shown, strict=True)]
    for name in SHAPES:
        assert np.array_equal(results[0].mean[name], results[1].mean[name])
    return [each.transcript for each in results], [wire.digest(data) for data in shown]


def test_bits_of_noise_that_a_server_flips_part_nobody() -> None:
    params = parameters(3, SHAPES, max_weight=None, adversary="lying-server+1")
    (one, other), (first, second) = transcripts(params)
    assert first != second  # the fault: a transcript of the bytes that were shown
    assert one == other


def guessed(params: secagg.Parameters, total: bytes, guess: np.ndarray, key: bytes) -> bytes:
    """The transcript of a round, if its sums are these: the server has all else that goes in."""
    carried = 64  # bytes of seeds behind each header
    at, said = wire.PREFIX_BYTES + wire.COUNT.size, total[: wire.PREFIX_BYTES]
    for _ in params.roster:
        said += total[at : at + wire.ENTRY_BYTES]
        at += wire.ENTRY_BYTES + carried
    return hmac.digest(key, said + guess.astype("<i4").tobytes(), "sha256")


def test_a_transcript_confirms_no_guess_without_the_key() -> None:
    """The server sees it, and whatever mean it guesses, it cannot check it; the fault: no key."""
    params = parameters(3, SHAPES, max_weight=None, adversary="lying-server+1")
    parties, update = Round.of(params), updates(3, SHAPES)
    total = parties.total(parties.uploads(update))
    seen = parties.decryptor.decrypt(total, 1).transcript
    right = np.sum([sent(params, each) for each in update], axis=0)
    of_holders = parties.key.derive(b"transcript", 32)
    # With the key a guess is confirmed, so that this is the transcript; without one none is.
    assert guessed(params, total, right, of_holders) == seen
    assert guessed(params, total, right + 1, of_holders) != seen
    for known in (b"", params.fingerprint, parties.key.id, bytes(32)):
        assert guessed(params, total, right, known) != seen
