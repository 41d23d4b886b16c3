"""What a scheme owes whoever calls it, without parties and rounds: one suite, run by each.

One of them needs two flows, and no decryption key; it exists for this suite alone.
"""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from privfed.errors import DecodeError, ReplayError
from privfed.he import Integers, choose, choose_slots
from privfed.keys import SecretKey
from privfed.secagg.linear_hash import HashSecrets
from privfed.secagg.schemes import Authentic, Packed, Reference, Scheme, ZeroEncryption
from privfed.secagg.schemes.batched import CKKS, Slots
from tests.places import ROOT
from tests.secagg.totals import KeyUses
from tests.secagg.two_flows import REPLY_BYTES, Shares

CLIENTS, VALUES = 3, 700
NAME = b"a round and a part"
PACKING = choose(16, CLIENTS)
SCHEMES: dict[str, Callable[[], Scheme]] = {
    "reference": lambda: Reference(PACKING),
    "packed, seeds": lambda: Packed(PACKING, "seeds"),
    "packed, summed": lambda: Packed(PACKING, "summed"),
    "packed, summed, c0": lambda: Packed(PACKING, "summed", covers_c0=True),
    "slots": lambda: Slots(choose_slots(16, CLIENTS)),
    "ckks": lambda: CKKS(PACKING),
    "two flows": lambda: Shares(PACKING),
}
EXACT = [name for name in SCHEMES if name != "ckks"]
HASHED = ["packed, summed", "packed, summed, c0", "slots", "two flows"]
ONE_FLOW = [name for name in SCHEMES if name != "two flows"]
RNG = np.random.default_rng(0)
SENT = RNG.integers(-PACKING.limit, PACKING.limit, (CLIENTS, VALUES), endpoint=True)
SENT[:, :3] = [[PACKING.limit, -PACKING.limit, 0]] * CLIENTS


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> Scheme:
    return SCHEMES[request.param]()


def right(opened: Integers | None) -> bool:
    return opened is not None and np.array_equal(opened, SENT.sum(axis=0))


@dataclass
class Job:
    """Parties under one group secret, a server without one, and an opener."""

    scheme: Scheme
    secret: SecretKey = field(default_factory=lambda: SecretKey.generate(bytes(32)))

    def __post_init__(self) -> None:
        self.senders = [self.scheme.sender(self.secret) for _ in range(CLIENTS)]
        self.opener = self.scheme.opener(self.secret)
        rows = self.scheme.hashed_rows(VALUES)
        self.hashes = HashSecrets.of(self.secret, NAME, rows) if rows else None
        self.zeros: list[ZeroEncryption] = []
        self.payloads: list[bytes] = []
        self.signed: list[tuple[bytes, bytes]] = []

    def send(self, masks: Any = None) -> "Job":
        for place, sender in enumerate(self.senders):
            zero = sender.prepare(VALUES)
            if masks is not None:
                zero.keep(masks[place])
            payload = sender.seal(zero, SENT[place])
            signed = bytes([place]) + payload
            hidden = b""
            if self.hashes is not None:
                hidden = sender.hidden_hash(self.hashes, signed, zero, payload, VALUES)
            self.zeros.append(zero)
            self.payloads.append(payload)
            self.signed.append((signed, hidden))
        return self

    @property
    def seeds(self) -> list[bytes]:
        return [zero.seeds for zero in self.zeros]

    def sum(self, places: Sequence[int]) -> Any:
        accumulator = self.scheme.accumulator(VALUES)
        for place in places:
            body = memoryview(self.payloads[place])
            accumulator = accumulator.plus(self.scheme.payload(body, VALUES))
        return accumulator

    def total(self, places: Sequence[int] = range(CLIENTS)) -> memoryview:
        return memoryview(self.sum(places).total([self.seeds[place] for place in places]))

    def authentic(self, total: memoryview) -> Authentic | None:
        return self.opener.authentic(self.hashes, self.signed, total, VALUES)

    def shares(self, total: Authentic) -> list[bytes]:
        """What the keystream is made of, in as many flows as it takes."""
        request = self.opener.request(total)
        assert (request is None) == (self.scheme.flows == 1)
        if request is None:
            return self.seeds
        pairs = zip(self.senders, self.zeros, strict=True)
        return [sender.reply(zero, request, VALUES) for sender, zero in pairs]

    def open(self, total: memoryview) -> Integers | None:
        found = self.authentic(total)
        if found is None:
            return None
        return self.opener.open(found, self.opener.keystream(self.shares(found), VALUES))


def test_the_sum_of_integers_comes_out(scheme: Scheme) -> None:
    job = Job(scheme).send()
    assert right(job.open(job.total()))


@pytest.mark.parametrize("scheme", EXACT, indirect=True)
def test_masks_that_cancel_mod_t_do_not_show(scheme: Scheme) -> None:
    masks = RNG.integers(0, scheme.mask_modulus, (CLIENTS, scheme.words(VALUES)), np.uint64)
    rest = masks[1:].astype(object).sum(axis=0)
    masks[0] = (-rest % scheme.mask_modulus).astype(np.uint64)
    job = Job(scheme).send(masks)
    assert right(job.open(job.total()))


def test_partial_sums_add_up(scheme: Scheme) -> None:
    job = Job(scheme).send()
    root = job.sum([0])
    leaf = job.sum([1, 2]).partial()
    root = root.plus(scheme.partial(memoryview(leaf), VALUES))
    total = root.total(job.seeds)
    assert total == bytes(job.total())
    assert right(job.open(memoryview(total)))


@pytest.mark.parametrize("values", [1, VALUES])
def test_lengths_follow_from_the_number_of_values(scheme: Scheme, values: int) -> None:
    sender = scheme.sender(SecretKey.generate(bytes(32)))
    zero = sender.prepare(values)
    payload = sender.seal(zero, np.ones(values, np.int64))
    added = scheme.accumulator(values).plus(scheme.payload(memoryview(payload), values))
    assert len(zero.seeds) == scheme.seed_bytes(values)
    assert len(payload) == scheme.payload_bytes(values)
    assert len(added.partial()) == scheme.partial_bytes(values)
    assert len(added.total([zero.seeds])) == scheme.total_bytes(values)
    rows = scheme.hashed_rows(values)
    assert bool(rows) == scheme.hashed
    if rows:
        secrets = HashSecrets.of(SecretKey.generate(bytes(32)), NAME, rows)
        words = sender.hashed_words(zero, payload, values)
        assert rows == sum(-(-len(each) // 4096) for each in words)
        assert len(sender.hidden_hash(secrets, payload, zero, payload, values)) == 16


def test_what_the_scheme_says_of_itself() -> None:
    made = {name: make() for name, make in SCHEMES.items()}
    assert [name for name, each in made.items() if each.mask_modulus] == EXACT
    assert [name for name, each in made.items() if each.hashed] == HASHED
    assert [name for name, each in made.items() if each.flows == 1] == ONE_FLOW


def test_a_zero_is_for_one_message(scheme: Scheme) -> None:
    job = Job(scheme).send()
    for sender, zero in zip(job.senders, job.zeros, strict=True):
        with pytest.raises(ReplayError):
            sender.seal(zero, SENT[0])


def test_what_was_not_checked_is_not_opened(scheme: Scheme) -> None:
    job = Job(scheme).send()
    total = job.total()
    found = job.authentic(total)
    assert found
    keystream = job.opener.keystream(job.shares(found), VALUES)
    unchecked: Any = total
    with pytest.raises(AttributeError):
        job.opener.open(unchecked, keystream)
    assert right(job.opener.open(found, keystream))


def test_the_check_alone_makes_what_is_opened() -> None:
    """Nowhere in the package but in `Opener.authentic` is an `Authentic` made."""
    makers = []
    for path in sorted((ROOT / "privfed").rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                calls = [each for each in ast.walk(function) if isinstance(each, ast.Call)]
                if any(ast.unparse(each.func).endswith("Authentic") for each in calls):
                    makers.append((path.name, function.name))
    assert makers == [("base.py", "authentic")]


@pytest.mark.parametrize("scheme", HASHED, indirect=True)
def test_another_sum_is_refused_before_anything_is_opened(
    scheme: Scheme, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, uses = Job(scheme).send(), KeyUses(monkeypatch)
    honest = job.total()
    other = bytearray(honest)
    other[-1] ^= 1
    for total in (memoryview(job.total([0, 1])), memoryview(bytes(other))):
        assert job.authentic(total) is None
    rows = scheme.hashed_rows(VALUES)
    another = HashSecrets.of(job.secret, b"another part", rows)
    for secrets in (Job(scheme).hashes, another, None):  # of another secret or part, or left out
        assert job.opener.authentic(secrets, job.signed, honest, VALUES) is None
    assert uses.count == 0
    assert right(job.open(honest))


def test_another_key_opens_nothing() -> None:
    """Where there is a decryption key, and no hash is in the way of a wrong one."""
    for name in ("packed, seeds", "ckks"):
        job, other = Job(SCHEMES[name]()).send(), Job(SCHEMES[name]())
        found = other.opener.authentic(other.hashes, job.signed, job.total(), VALUES)
        assert found
        try:
            opened = other.opener.open(found, other.opener.keystream(job.seeds, VALUES))
        except DecodeError:
            continue
        assert opened is None


@pytest.mark.parametrize("scheme", ONE_FLOW, indirect=True)
def test_in_one_flow_nobody_is_asked(scheme: Scheme) -> None:
    job = Job(scheme).send()
    found = job.authentic(job.total())
    assert found
    assert job.opener.request(found) is None
    with pytest.raises(NotImplementedError):
        job.senders[0].reply(job.zeros[0], b"", VALUES)


def test_in_two_flows_all_senders_are_needed_and_each_replies_once() -> None:
    job = Job(Shares(PACKING)).send()
    found = job.authentic(job.total())
    assert found
    replies = job.shares(found)
    assert {len(each) for each in replies} == {REPLY_BYTES}
    assert job.opener.open(found, job.opener.keystream(replies[1:], VALUES)) is None
    wanted = job.opener.open(found, job.opener.keystream(replies, VALUES))
    assert right(wanted)
    with pytest.raises(ReplayError):
        job.senders[0].reply(job.zeros[0], b"again", VALUES)
