"""Seeded mutations of every message, half of them signed again by a legitimate, hostile party.

Refused with a named error, or accepted as what that party may claim: a contribution of its own.
Nothing crashes, hangs, or changes what others sent.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from privfed import secagg
from privfed.errors import PrivFedError
from privfed.secagg import wire
from privfed.secagg.parameters import SCHEMES
from privfed.secagg.parts import Parts
from tests.secagg.parties import Round, identities, parameters, updates

Outcomes = dict[tuple[str, str], int]
SHAPES: dict[str, tuple[int, ...]] = {"w": (3, 4), "b": (2,)}
HOSTILE = 2
INNER = secagg.generate_identity()
MODES: dict[str, dict[str, Any]] = {
    "packed": {},
    "packed summed": {"scheme": "packed", "download": "summed"},
    "packed covered": {"scheme": "packed", "download": "summed", "cover_c0": True},
    "packed opener": {"scheme": "packed", "download": "opener"},
    "slots": {},
    "ckks": {},
    "reference": {},
}
# How often each mode's messages are mutated: some take SEAL's time.
NORMAL = {"packed": 2_000, "reference": 1_500, "packed summed": 1_500, "packed covered": 1_500,
          "packed opener": 1_500}  # fmt: skip
DEEP = [
    pytest.param(mode, marks=pytest.mark.deep(normal=NORMAL.get(mode, 400), stated=100_000))
    for mode in MODES
]


def test_every_scheme_is_mutated() -> None:
    assert {MODES[mode].get("scheme", mode) for mode in MODES} == set(SCHEMES)


def spliced(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """One to four mutations: bits, bytes, runs, numbers, cuts, insertions, pieces of another."""
    mutated = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(mutated)) if mutated else 0
        # Half of the time near the front, where all that is interpreted lies.
        at = at if rng.random() < 0.5 else at % 300
        size = rng.choice([1, 2, 4, 8, 32, 64, 200])
        kind = rng.randrange(8)
        if kind == 0 and at < len(mutated):
            mutated[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            mutated[at : at + size] = rng.randbytes(len(mutated[at : at + size]))
        elif kind == 2:
            run = len(mutated[at : at + size])
            mutated[at : at + size] = bytes([rng.choice([0, 0x7F, 0x80, 0xFF])]) * run
        elif kind == 3:
            del mutated[at : at + size]
        elif kind == 4:
            mutated[at:at] = rng.randbytes(size)
        elif kind == 5:
            mutated[at : at + size] = other[at : at + size]
        elif kind == 6:
            del mutated[at:]
        else:
            mutated += rng.choice([b"\0" * size, rng.randbytes(size), bytes(other)])
    return bytes(mutated)


def signed_again(params: secagg.Parameters, data: bytes) -> bytes:
    """What the hostile party makes of a mutated upload: hashes and signature in order."""
    head = wire.PREFIX_BYTES + Parts(params).entry_bytes(wire.Kind.UPLOAD)
    if len(data) < head:
        return data
    try:
        prefix = wire.Prefix.read(memoryview(data))
    except PrivFedError:
        return data
    before = wire.Entry.read(data[wire.PREFIX_BYTES : head])
    seeds = 64 if params.scheme == "packed" else 0
    body = data[head : head + seeds], data[head + seeds :]
    entry = before.over(*body).signed(identities(HOSTILE + 1)[HOSTILE], prefix)
    return data[: wire.PREFIX_BYTES] + entry.to_bytes() + body[0] + body[1]


class Target:
    """One round with two honest uploads, and a third that is about to be mutated."""

    def __init__(self, mode: str) -> None:
        settings = {"scheme": mode, "aggregators": (INNER.public,)} | MODES[mode]
        self.params = parameters(3, SHAPES, **settings)
        self.parties = Round.of(self.params)
        sent = updates(3, SHAPES)
        self.announcements = [each.announce(1) for each in self.parties.encryptors]
        self.uploads = self.parties.uploads(sent, [1, 2, 3])
        self.others = self.parties.uploads(sent, [1, 2, 3], 2)
        leaf = secagg.Aggregator(self.params, 1, identity=INNER)
        leaf.add(self.uploads[0])
        self.partial = leaf.partial()
        self.total = self.parties.total(self.uploads)
        self.honest = self._decrypt(self.total).mean
        self.result = self._result() if self.params.download_mode == "opener" else self.total

    def _decrypt(self, total: bytes) -> secagg.MeanResult:
        return secagg.Decryptor(self.params, self.parties.key, "memory").decrypt(total, 1)

    def _result(self) -> bytes:
        opener = secagg.Decryptor(self.params, self.parties.key, "memory")
        opener.decrypt(self.total, 1)
        return opener.result(identities(1)[0])

    def upload(self, data: bytes, hostile: bool) -> str:
        aggregator = secagg.Aggregator(self.params, 1, identity=INNER)
        aggregator.add(self.uploads[0])
        aggregator.add(self.uploads[1])
        before = aggregator.partial()
        try:
            aggregator.add(data)
        except PrivFedError:
            assert aggregator.partial() == before
            return "refused"
        assert hostile
        assert data != self.uploads[HOSTILE]
        assert aggregator.senders == tuple(party.id for party in self.params.roster)
        try:
            self._decrypt(aggregator.total())
        except PrivFedError:
            return "accepted, does not decrypt"
        return "accepted"

    def partial_sum(self, data: bytes) -> str:
        aggregator = secagg.Aggregator(self.params, 1)
        try:
            aggregator.add_partial(data)
            aggregator.add(self.uploads[1])
            result = self._decrypt(aggregator.total())
        except PrivFedError:
            return "refused"
        # Low bits are noise: a change there changes no sum.
        expected = self._decrypt(self.parties.total(self.uploads[:2])).mean
        assert all(np.array_equal(result.mean[name], expected[name]) for name in expected)
        return "noise"

    def total_sum(self, data: bytes) -> str:
        try:
            result = self._decrypt(data)
        except PrivFedError:
            return "refused"
        if self.params.scheme != "ckks":  # approximate: no tag, see docs/limitations.md
            for name, mean in self.honest.items():
                assert np.array_equal(result.mean[name], mean)
        return "noise"

    def passed_on(self, data: bytes) -> str:
        server = secagg.Aggregator(self.params, 1)
        for upload in self.uploads:
            server.add(upload)
        server.total()
        for read in (self._decrypt, server.add_result):
            with pytest.raises(PrivFedError):
                read(data)
        return "refused"

    def announcement(self, data: bytes) -> str:
        try:
            secagg.Decryptor(self.params, self.parties.key, "memory").prepare([data], 1)
        except PrivFedError:
            return "refused"
        raise AssertionError("an altered announcement was accepted")

    def parameters(self, data: bytes) -> str:
        try:
            changed = secagg.Parameters.from_bytes(data)
        except PrivFedError:
            return "refused"
        assert changed.fingerprint != self.params.fingerprint
        return "other parameters"


def fuzz(mode: str, count: int, seed: int) -> Outcomes:
    rng = random.Random(seed)  # noqa: S311  (mutations are to be the same in every run)
    target = Target(mode)
    outcomes: Outcomes = {}
    for number in range(count):
        hostile = number % 2 == 1
        if hostile:
            mutated = spliced(rng, target.uploads[HOSTILE], target.others[rng.randrange(3)])
            mutated = signed_again(target.params, mutated)
            if mutated == target.uploads[HOSTILE]:
                continue
            outcome = "re-signed upload", target.upload(mutated, hostile=True)
        else:
            kinds: list[tuple[str, bytes, bytes, Callable[..., str]]] = [
                ("upload", target.uploads[HOSTILE], target.others[2], target.upload),
                ("upload", target.uploads[HOSTILE], target.uploads[0], target.upload),
                ("partial", target.partial, target.others[0], target.partial_sum),
                ("total", target.total, target.partial, target.total_sum),
                ("announcement", target.announcements[0], target.total, target.announcement),
                ("parameters", target.params.to_bytes(), b'{"a":[1e999]}', target.parameters),
            ]
            if target.params.download_mode == "opener":
                kinds += [("result", target.result, target.total, target.passed_on)] * 3
            kind, message, other, try_it = rng.choice(kinds)
            mutated = spliced(rng, message, other)
            if mutated == message:
                continue
            more = {"hostile": False} if kind == "upload" else {}
            outcome = kind, try_it(mutated, **more)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes


def check(outcomes: Outcomes) -> None:
    assert outcomes[("upload", "refused")] > 100 or sum(outcomes.values()) < 1000
    assert ("upload", "accepted") not in outcomes
    accepted = sum(
        number
        for (kind, outcome), number in outcomes.items()
        if kind == "re-signed upload" and outcome.startswith("accepted")
    )
    assert accepted > 0  # the hostile half does reach the sum: its own claim, and no other


@pytest.mark.parametrize("mode", DEEP)
def test_mutations(mode: str, count: int) -> None:
    check(fuzz(mode, count, seed=1))


def cuts_flips_and_tails(rng: random.Random, message: bytes, count: int) -> Iterator[bytes]:
    """Yield what is the message but for a bit, an end, or something more."""
    for _ in range(count):
        flipped = bytearray(message)
        flipped[rng.randrange(len(message))] ^= 1 << rng.randrange(8)
        yield bytes(flipped)
        yield message[: rng.randrange(len(message))]
        yield message + rng.randbytes(rng.choice([1, 64, 300]))
    yield message + message
    yield b""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_kind_of_message_with_a_bit_an_end_or_a_tail_changed(scheme: str) -> None:
    """What a sender signed is never accepted changed; a sum's own words are for the tags."""
    rng = random.Random(3)  # noqa: S311  (mutations are to be the same in every run)
    target, count = Target(scheme), 12 if scheme in ("slots", "ckks") else 60
    upload, head = target.uploads[HOSTILE], wire.PREFIX_BYTES + wire.COUNT.size
    for wrong in cuts_flips_and_tails(rng, upload, count):
        assert target.upload(wrong, hostile=False) == "refused"
    for wrong in cuts_flips_and_tails(rng, target.announcements[0], count):
        assert target.announcement(wrong) == "refused"
    for message, try_it, senders in (
        (target.partial, target.partial_sum, 1),
        (target.total, target.total_sum, 3),
    ):
        seeds = 64 if scheme == "packed" else 0
        kind = wire.Prefix.read(memoryview(message)).kind
        signed = head + senders * (Parts(target.params).entry_bytes(kind) + seeds)
        for wrong in cuts_flips_and_tails(rng, message, count):
            outcome = try_it(wrong)
            hashed = scheme == "slots" and kind == wire.Kind.TOTAL  # to the last bit
            if hashed or wrong[:signed] != message[:signed] or len(wrong) != len(message):
                assert outcome == "refused"


@pytest.mark.parametrize("kind", ["upload", "partial", "total", "announcement"])
def test_no_kind_of_message_passes_for_another(kind: str) -> None:
    target = Target("packed")
    messages = {
        "upload": target.uploads[HOSTILE], "partial": target.partial, "total": target.total,
        "announcement": target.announcements[0],
    }  # fmt: skip
    for other, message in messages.items():
        if other == kind:
            continue
        renamed = bytearray(message)
        renamed[5] = wire.Kind[kind.upper()]
        for wrong in (message, bytes(renamed)):
            try_it = {
                "upload": lambda data: target.upload(data, hostile=False),
                "partial": target.partial_sum, "total": target.total_sum,
                "announcement": target.announcement,
            }[kind]  # fmt: skip
            assert try_it(wrong) == "refused"
