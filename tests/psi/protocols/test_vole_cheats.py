"""What sides that cheat gain of vole: what its pages admit, and no more.

Where something keeps a cheat out, the cheat works on the fault that is planted here (`fault`), and
fails on the product. Cheats on the vector OLE alone are in tests/psi/vole.
"""

import contextlib
import secrets
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import psi.protocols.transfers
import psi.vole.noise
import psi.vole.trees
from psi import KeyConfirmationError, ProtocolError, SessionParameters, SizeLimitError
from psi.kernels import blocks
from psi.keyvalue import StoreKeys, most_held, slots
from psi.protocols.elements import TAG_BYTES
from psi.protocols.party import Party
from psi.protocols.vole import Receiver, Sender, layout
from psi.protocols.vole import sender as sender_module
from psi.protocols.vole.buckets import Buckets
from psi.protocols.vole.hashing import SessionHashes, as_blocks, as_bytes
from psi.protocols.vole.layout import MOST_ITEMS, SessionSizes, most_tested
from psi.protocols.vole.receiver import _Stored
from psi.protocols.vole.sender import _Prepared
from psi.vole import VolePlan, VoleReceiver, VoleSender
from psi.vole.sizes import FEWEST_TREES
from tests.psi.fuzzing import clone, stages
from tests.psi.keyvalue.crowding import NoRelationError, fitting, related
from tests.psi.peers import run, sent
from tests.psi.vole.dealing import draw_roots_of_equal_rows, random_blocks, read_secret, unnumbered

Bytes = NDArray[np.uint8]
Blocks = NDArray[np.uint64]

ONE_SIDE = SessionParameters(output="receiver")
GUESSES = [b"%d" % number for number in range(400)]
LIST = [b"%d" % number for number in range(2048)]
FEW = 10
UNUSED = 2  # each key has one slot in each third, so what these are together is the same for all
NUMBERS = [b"+49 30 %07d" % number for number in range(3000)]
THEIRS = [NUMBERS[place] for place in np.random.default_rng(3).permutation(3000)[:1000]]


# -- a receiver that puts in more than it announces -----------------------------------------------


class CrowdedReceiver(Receiver):
    """Announces FEW items and puts in all candidates that one store holds."""

    candidates = GUESSES

    def _chosen(self, digests: Bytes, keys: StoreKeys) -> tuple[list[int], list[int]]:
        """Which candidates to test, and those of them for which the store is made."""
        chosen = fitting(keys)
        return chosen, chosen

    def _store_items(self, bucket: int) -> _Stored:
        if bucket not in self._stored:
            (digests,) = self._hashes.digests(self.candidates)
            keys = self._hashes.store(self._seed, bucket, digests, self._store)
            chosen, basis = self._chosen(digests, keys)
            made = self._hashes.store(self._seed, bucket, digests[basis], self._store)
            table = made.encode(as_bytes(self._hashes.values(digests[basis])))
            self._items = [self.candidates[number] for number in chosen]
            keys = self._hashes.store(self._seed, bucket, digests[chosen], self._store)
            own = np.arange(len(chosen))
            self._stored[bucket] = _Stored(own, digests[chosen], keys, as_blocks(table))
        return self._stored[bucket]


def test_a_receiver_tests_as_many_ids_as_its_store_has_slots_and_limits_count_them() -> None:
    counted: list[int] = []
    cheat, sender = CrowdedReceiver(GUESSES[:FEW], ONE_SIDE), Sender(GUESSES, ONE_SIDE)
    sender.charge_with(lambda peer, items: counted.append(items))
    run(cheat, sender)
    assert len(cheat.matches) == len(cheat._items) == slots(FEW) - UNUSED
    assert counted == [Sender.most_asked(0, FEW)] == [most_tested(FEW)]
    assert len(cheat.matches) <= counted[0]
    limited = Sender(GUESSES, ONE_SIDE, max_peer_items=counted[0] - 1)
    with pytest.raises(SizeLimitError, match=f"10 items and could test {counted[0]} with them"):
        run(CrowdedReceiver(GUESSES[:FEW], ONE_SIDE), limited)
    assert limited._identity == b""  # not even the session was begun


class RelatedReceiver(CrowdedReceiver):
    """Takes four candidates at a time of which the rows and the values add up to zero."""

    candidates = LIST
    relations = 3

    def _chosen(self, digests: Bytes, keys: StoreKeys) -> tuple[list[int], list[int]]:
        values = as_bytes(self._hashes.values(digests))[:, :3]
        return related(keys, values, slots(FEW) - UNUSED, self.relations)


def test_a_receiver_with_a_long_list_tests_more_than_slots_and_limits_count_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With values of 24 bits where there are 128, a list of 2048 does for one of 2^58."""
    values = SessionHashes.values
    narrow = np.array([0xFFFFFF, 0], np.uint64)
    monkeypatch.setattr(
        SessionHashes, "values", lambda self, digests: values(self, digests) & narrow
    )
    for _ in range(20):  # so that luck alone fails it once in 6^20 runs
        cheat = RelatedReceiver(GUESSES[:FEW], ONE_SIDE)
        sender = Sender(LIST, ONE_SIDE)
        with contextlib.suppress(NoRelationError):
            run(cheat, sender)
            break
    assert len(cheat.matches) == slots(FEW) - UNUSED + RelatedReceiver.relations
    assert slots(FEW) < len(cheat.matches) <= most_tested(FEW)


@pytest.mark.parametrize(
    ("announced", "slots_in_all", "tested"),
    [(0, 49, 69), (1, 55, 78), (10, 76, 106), (100, 214, 291), (1000, 1405, 1848)],
)
def test_how_many_ids_an_announced_size_can_stand_for(
    announced: int, slots_in_all: int, tested: int
) -> None:
    assert slots(announced) == slots_in_all
    assert most_tested(announced) == tested == most_held(slots_in_all)


@pytest.mark.parametrize("announced", [10**4, 1 << 17, (1 << 17) + 1, 1 << 20, 1 << 24, 1 << 27])
def test_large_sets_stand_for_less_than_twice_their_size(announced: int) -> None:
    sizes = SessionSizes.of(announced, 0)
    assert most_tested(announced) == sizes.buckets * most_held(sizes.store.slots)
    assert announced < most_tested(announced) < 1.63 * announced


@pytest.mark.parametrize(
    ("announced", "allowed", "words"),
    [
        (1 << 40, 1 << 24, f"brings {1 << 40} items"),
        (2**64 - 1, 1 << 24, f"brings {2**64 - 1} items"),
        (MOST_ITEMS + 1, 1 << 40, f"at most {MOST_ITEMS} items a side"),
    ],
)
def test_sizes_for_which_nothing_was_derived_are_refused(
    announced: int, allowed: int, words: str
) -> None:
    for liar in (Receiver, Sender):

        class Boasting(liar):  # type: ignore[misc, valid-type]
            def _own_size(self) -> int:
                return announced

        parties = (
            (Boasting([]), Sender([], max_peer_items=allowed))
            if liar is Receiver
            else (Receiver([], max_peer_items=allowed), Boasting([]))
        )
        with pytest.raises(SizeLimitError, match=words):
            run(*parties)


# -- a sender that puts in more than it announces -------------------------------------------------


class FillingSender(Sender):
    """Announces FEW items, and has another one in the place of each dummy."""

    def _take_bucket(self, bucket: int, room: int) -> tuple[Any, Bytes]:
        if self._buckets is None:
            digests = self._hashes.digests(NUMBERS)
            self._buckets = Buckets(digests, len(NUMBERS), self._layout.buckets)
            self._items = NUMBERS
            self._receipts = np.zeros(len(NUMBERS), self._receipts.dtype)
        own, held = self._buckets.take(bucket)
        return own[:room], held[:room]


def test_a_sender_tests_an_id_with_each_dummy_and_limits_count_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layout, "_BUCKET_ITEMS", 400)
    tags = SessionSizes.of(len(NUMBERS), FEW).tags
    counted: list[int] = []
    receiver, cheat = Receiver(NUMBERS), FillingSender(NUMBERS[:FEW])
    receiver.charge_with(lambda peer, items: counted.append(items))
    run(receiver, cheat)
    assert len(cheat.matches) == tags == 8 * FEW
    assert counted == [tags]
    limited = Receiver(NUMBERS, max_peer_items=tags - 1)
    with pytest.raises(SizeLimitError, match=f"10 items and could test {tags} with them"):
        run(limited, FillingSender(NUMBERS[:FEW]))


def test_a_sender_of_one_bucket_tests_what_it_announces() -> None:
    counted: list[int] = []
    receiver, sender = Receiver(NUMBERS), Sender(NUMBERS[:FEW])
    receiver.charge_with(lambda peer, items: counted.append(items))
    run(receiver, sender)
    assert counted == [FEW]


# -- the secret: what a receiver that reads it could do, and how it might -------------------------


class ReadingReceiver(Receiver):
    """Keeps what it has, and tests any ID with it, once it knows the sender's secret."""

    def _hide(self, bucket: int) -> Any:
        if bucket not in self._hidden:
            assert self._vole is not None
            self.table, take = self._store_items(bucket).table, self._vole.take

            def kept() -> tuple[Blocks, Blocks]:
                self.masks, self.products = take()
                return self.masks, self.products

            self._vole.take = kept  # type: ignore[method-assign]
        return super()._hide(bucket)

    def _compare(self) -> None:
        for (bucket, _), message in self._arrived.items():
            self.coins = self._hidden[bucket].coin, bytes(message[:32])
            rows = np.frombuffer(message[32:], np.uint8).reshape(-1, TAG_BYTES)
            self.tags = {row.tobytes() for row in rows}
        super()._compare()

    def values_of(self, items: Sequence[bytes]) -> tuple[Bytes, Blocks, Blocks]:
        """Digests; what the receiver knows of the values; and what D is multiplied with there."""
        (digests,) = self._hashes.digests(items)
        keys = self._hashes.store(self._seed, 0, digests, self._store)
        known, stored = (
            as_blocks(keys.decode(as_bytes(vector))) for vector in (self.products, self.table)
        )
        return digests, known, stored ^ self._hashes.values(digests)

    def tagged(self, digests: Bytes, values: Blocks) -> list[bool]:
        """Which of these have a tag among those that came."""
        outputs = self._hashes.outputs(0, self.coins, values, digests)
        return [row[:TAG_BYTES].tobytes() in self.tags for row in outputs]

    def has(
        self, items: Sequence[bytes], secret: Blocks, times: Callable[[Blocks, Blocks], Blocks]
    ) -> set[bytes]:
        """Those that the sender has, of any IDs, without asking it."""
        digests, known, factors = self.values_of(items)
        there = self.tagged(digests, known ^ times(secret, factors))
        return {item for item, one in zip(items, there, strict=True) if one}


class DrawingReceiver(ReadingReceiver):
    """Draws its base until two transfers have equal rows, and reads the secret from two trees."""

    secret: Blocks

    def _checked(self, bucket: int, message: memoryview) -> bytes:
        check = super()._checked(bucket, message)
        assert self._vole is not None
        assert self._vole._noise is not None
        bits = self._vole._of_this_chunk(self._vole._bits)
        self.secret = read_secret(self._vole._noise, bits, bytes(message[:-32]))
        return check


@pytest.mark.parametrize("fault", [True, False])
def test_a_receiver_that_draws_its_base_as_it_likes_reads_no_secret(
    fault: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault gave away the whole set to one that announced thirty IDs, and nobody noticed."""
    sizes = VolePlan.of(1, slots(30)).sizes
    assert sizes.trees == FEWEST_TREES
    first = (sizes.depth - 1) * sizes.trees
    draw_roots_of_equal_rows(monkeypatch, first, first + 1)
    if fault:
        monkeypatch.setattr(psi.vole.trees, "_pads", unnumbered)
    cheat, sender = DrawingReceiver(NUMBERS[:30], ONE_SIDE), Sender(THEIRS, ONE_SIDE)
    run(cheat, sender)
    found = cheat.has(NUMBERS, cheat.secret, blocks.multiply)
    ideal = set(NUMBERS[:30]) & set(THEIRS)
    assert found == (set(THEIRS) if fault else ideal)


def bitwise(a: Blocks, b: Blocks) -> Blocks:
    """The fault: a product in which each bit of the secret meets one bit, as in kkrt."""
    return a & b


def deal_bitwise(patch: pytest.MonkeyPatch) -> None:
    """Let chunks be dealt with C = (A & D) + B, which is honest but for its product."""
    dealt: list[tuple[Blocks, Blocks, Blocks]] = []

    def take_b(self: VoleSender) -> Blocks:
        a, b = random_blocks(self._plan.count), random_blocks(self._plan.count)
        dealt.append((a, a & self.delta ^ b, b))
        return b

    patch.setattr(VoleSender, "take", take_b)
    patch.setattr(VoleReceiver, "take", lambda self: dealt[-1][:2])
    patch.setattr(sender_module, "blocks", SimpleNamespace(multiply=bitwise))


class MaskingReceiver(ReadingReceiver):
    """Puts in values that are wrong in eight bits, of IDs that it knows the sender to have.

    What the sender adds is its secret times these bits: with a product bit by bit 2^8 tries find
    eight bits of it by the tag. This is what read kkrt.
    """

    def _store_items(self, bucket: int) -> _Stored:
        if bucket not in self._stored:
            own, digests = self._take_bucket(bucket, self._layout.receiver_items)
            keys = self._hashes.store(self._seed, bucket, digests, self._store)
            values = as_bytes(self._hashes.values(digests)).copy()
            known = own < 16
            values[known, own[known]] ^= 0xFF
            table = as_blocks(keys.encode(values))
            self._stored[bucket] = _Stored(own, digests, keys, table)
        return self._stored[bucket]

    def secret(self) -> Blocks | None:
        """The sender's secret, a byte for each of 16 known IDs, or None."""
        digests, known, _ = self.values_of(self._items[:16])
        secret = np.zeros(16, np.uint8)
        for byte in range(16):
            guesses = np.zeros((256, 16), np.uint8)
            guesses[:, byte] = np.arange(256)
            tried = known[byte] ^ as_blocks(guesses)
            fits = np.flatnonzero(self.tagged(np.tile(digests[byte], (256, 1)), tried))
            if len(fits) != 1:
                return None
            secret[byte] = fits[0]
        return as_blocks(secret[None])


@pytest.mark.parametrize("fault", [True, False])
def test_wrong_values_do_not_read_the_secret_by_bytes(
    fault: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault:
        deal_bitwise(monkeypatch)
        honest = Receiver(THEIRS[:30]), Sender(THEIRS)
        run(*honest)
        assert len(honest[0].matches) == 30
    cheat, sender = MaskingReceiver(THEIRS[:30], ONE_SIDE), Sender(THEIRS, ONE_SIDE)
    run(cheat, sender)
    # Those that were put in right; with the fault a byte of the secret may be 0, and its ID right.
    right = set(range(16, 30))
    assert set(cheat.matches.tolist()) >= right if fault else set(cheat.matches.tolist()) == right
    secret = cheat.secret()
    assert (secret is not None) is fault
    if secret is not None:
        assert cheat.has(NUMBERS, secret, bitwise) == set(THEIRS)


def test_a_guess_at_the_check_gives_no_proof() -> None:
    class Guessing(Receiver):
        def _checked(self, bucket: int, message: memoryview) -> bytes:
            check = super()._checked(bucket, message)
            return bytes([check[0] ^ 1]) + check[1:]

    with pytest.raises(KeyConfirmationError):
        run(Guessing(THEIRS[:30]), Sender(THEIRS))


# -- a sender that cheats -------------------------------------------------------------------------


def forgetful(
    self: SessionHashes, bucket: int, coins: tuple[bytes, bytes], values: Blocks, digests: Bytes
) -> Bytes:
    """The fault: outputs that depend on an item by its value alone."""
    inputs = np.hstack([np.zeros_like(values), values]).view(np.uint8)
    return psi.kernels.hash_rows(inputs, self._key(b"outputs", *coins))


class Sparse(StoreKeys):
    """Has no dense bits where there are 40, so that all rows can be tried."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.dense[:] = 0


class LightSender(Sender):
    """Has a secret of zeros, no items, and a tag for each row of the receiver's store.

    With that secret a value is the sum of the row's entries of C, which it knows, whatever item has
    that row. This is what told the occupied bins of kkrt.
    """

    ROWS = 6**3

    def _prepare(self, bucket: int, part: int) -> _Prepared:
        if (bucket, part) not in self._prepared:
            self._take_vector(bucket)
            own = np.arange(self.ROWS)
            digests = np.zeros((self.ROWS, 16), np.uint8)
            keys = self._hashes.store(self._seed, bucket, digests, self._store)
            keys.places = self.rows().astype(np.uint32)
            found = as_blocks(keys.decode(as_bytes(self._vectors.pop(bucket))))
            places = np.random.default_rng(1).permutation(own)
            self._prepared[bucket, part] = _Prepared(own, places, digests, keys, found)
        return self._prepared[bucket, part]

    def rows(self) -> NDArray[np.intp]:
        third = self._store.third
        assert third**3 == self.ROWS
        places = np.stack(np.unravel_index(np.arange(self.ROWS), (third,) * 3), axis=1)
        return places + third * np.arange(3)

    def may_have(self, candidates: list[bytes]) -> set[bytes]:
        """Those whose row is one that is taken."""
        (digests,) = self._hashes.digests(candidates)
        taken = {tuple(row) for row in self.rows()[self.matches].tolist()}
        keys = self._hashes.store(self._seed, 0, digests, self._store)
        return {
            item
            for item, row in zip(candidates, keys.places.tolist(), strict=True)
            if tuple(row) in taken
        }


def chosen_first(chosen: list[bytes]) -> Callable[[int], bytes]:
    """A source of random bytes that is not random at first."""
    return lambda count: chosen.pop() if chosen else secrets.token_bytes(count)


@pytest.mark.parametrize("fault", [True, False])
def test_a_secret_of_zeros_tells_no_rows(fault: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psi.protocols.vole.hashing, "StoreKeys", Sparse)
    drawn = SimpleNamespace(token_bytes=chosen_first([b"\xff" * 16]))
    monkeypatch.setattr(psi.protocols.transfers, "secrets", drawn)
    if fault:
        monkeypatch.setattr(SessionHashes, "outputs", forgetful)
    anything = [b"%d" % number for number in range(LightSender.ROWS)]
    for _ in range(20):  # without dense bits three rows depend on each other now and then
        receiver, cheat = Receiver(NUMBERS[:3]), LightSender(anything)
        with contextlib.suppress(ProtocolError):
            run(receiver, cheat)
            break
        drawn.token_bytes = chosen_first([b"\xff" * 16])
    assert len(receiver.matches) == len(cheat.matches) == (3 if fault else 0)
    found = cheat.may_have(NUMBERS)
    assert found >= set(NUMBERS[:3]) if fault else not found
    assert len(found) < 150  # of three thousand


class TamperingSender(Sender):
    """Sends a wrong sum of one side of a tree's last level, which may not be used."""

    side = 0

    @property
    def tree(self) -> int:
        """The first of those whose leaves the code spreads over most outputs."""
        return self._plan.sizes.trees // 2

    def _make_noise(self, bucket: int) -> None:
        made = bucket in self._noises
        super()._make_noise(bucket)
        if made or bucket not in self._noises:
            return
        assert self._vole is not None
        sizes, noise = self._plan.sizes, bytearray(self._noises[bucket])
        noise[16 * (sizes.trees * (sizes.depth - 1 + self.side) + self.tree)] ^= 1
        self._noises[bucket] = bytes(noise)
        # It knows what it sent, and proves that.
        sent_noise = self._vole._noise[bucket]
        sent_noise._hash = psi.vole.noise._hash_for(
            self._vole._label(), bytes(noise[:-32]), len(sent_noise.leaves)
        )


class Trusting(Receiver):
    """The fault: goes on whatever the sender proves; its own MACs are what that one expects."""

    def _on_tags(self, data: bytes) -> bytes:
        if self._due(self._bucket):
            self._proof = self.peer.proofs.pop()
        return super()._on_tags(data)

    peer: Any


class Telling(TamperingSender):
    """Says what it proved, as one would whose proof is not looked at."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.proofs: list[bytes] = []

    def _confirm_with(self, proof: bytes) -> None:
        self.proofs.append(proof)
        super()._confirm_with(proof)


@pytest.mark.parametrize("fault", [True, False])
def test_a_wrong_sum_tells_a_bit_of_a_path_only_to_whom_failure_does_not_stop(fault: bool) -> None:
    seen = set()
    for _ in range(60):  # one bit's value in 60 tries: once in 2^59 runs
        receiver = (Trusting if fault else Receiver)(THEIRS[:30])
        sender = Telling(THEIRS)
        if isinstance(receiver, Trusting):
            receiver.peer = sender
        noise = sender.receive(sent(receiver.receive(sent(sender.receive(sent(receiver.start()))))))
        assert receiver._vole is not None
        used = receiver._vole._of_this_chunk(receiver._vole._bits)[-1, sender.tree] == sender.side
        seen.add(bool(used))
        try:
            finish(receiver, sender, sent(noise))
        except KeyConfirmationError:
            assert used
            assert not fault
        else:
            assert fault or not used
            assert len(sender.matches) == (0 if used else 30)
        if len(seen) == 2:
            break
    assert seen == {False, True}


def test_a_sender_that_chooses_its_hello_chooses_no_code_by_it() -> None:
    """It speaks after the receiver, and would look for a seed of a weak code, whose A it sees."""
    hello = stages("vole")[1]
    seeds = set()
    for _ in range(3):  # the same hellos, and so the same identity
        receiver = clone(hello.victim)
        base = receiver.receive(hello.message)
        assert receiver._vole._session == base[-32:] != receiver._identity
        seeds.add(receiver._vole._session)
    assert len(seeds) == 3


def finish(receiver: Party, sender: Party, message: bytes | None) -> None:
    """Carry on with the receiver as the next to take one."""
    parties = [receiver, sender]
    while message is not None:
        message = parties[0].receive(message)
        parties.reverse()


# -- a side in the middle of its own sessions -----------------------------------------------------


def test_a_sender_s_own_tags_are_of_no_use_in_another_session() -> None:
    # Tags of one session, sent in another by who holds its key, match nothing.
    class Keeping(Sender):
        kept: memoryview | None = None

        def _tags(self, bucket: int, part: int) -> tuple[bytes, memoryview]:
            coin, made = super()._tags(bucket, part)
            before, Keeping.kept = Keeping.kept, made
            return coin, made if before is None else before

    first = Receiver(THEIRS[:30], ONE_SIDE)
    run(first, Keeping(THEIRS, ONE_SIDE))
    second = Receiver(THEIRS[:30], ONE_SIDE)
    run(second, Keeping(THEIRS, ONE_SIDE))
    assert (len(first.matches), len(second.matches)) == (30, 0)
