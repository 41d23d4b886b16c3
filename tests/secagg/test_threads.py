"""Many threads on one object: none spoils a round, answers too often, or leaves a lock behind."""

import gc
import itertools
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from privfed import secagg
from privfed.dp import PrivacyBudget
from privfed.errors import ConfigError, DecodeError, PrivFedError, ReplayError
from privfed.he.seal import cached_key
from privfed.secagg import wire
from privfed.secagg.schemes import batched
from tests.secagg.parties import Round, expected_mean, identities, parameters, updates

T = TypeVar("T")
INNER = secagg.generate_identity()
SHAPES: dict[str, tuple[int, ...]] = {"w": (2, 2)}


def together(count: int, act: Callable[[int], T]) -> list[T]:
    """Run `act` with each number in a thread of its own, all at once; return what they gave."""
    start = threading.Barrier(count)

    def run(number: int) -> T:
        start.wait()
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.fixture(autouse=True)
def switching() -> Iterator[None]:
    """Threads change places as often as the interpreter lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.deep(normal=60, stated=1_000)
def test_eight_threads_add(count: int) -> None:
    params = parameters(8, SHAPES, max_weight=None)
    parties, sent = Round.of(params), updates(8, SHAPES)
    wanted = expected_mean(params, sent)["w"]
    with ThreadPoolExecutor(8) as pool:
        for round_id in range(1, count + 1):
            server = secagg.Aggregator(params, round_id)
            uploads = parties.uploads(sent, round_id=round_id)
            list(pool.map(server.add, uploads))
            totals = set(pool.map(lambda _, server=server: server.total(), range(8)))
            [total] = totals  # whoever asks gets the same one
            assert np.array_equal(parties.decryptor.decrypt(total, round_id).mean["w"], wanted)


def test_one_upload_handed_in_by_eight_threads_is_added_once() -> None:
    params = parameters(2, SHAPES, max_weight=None, aggregators=(INNER.public,))
    uploads = Round.of(params).uploads(updates(2, SHAPES))
    server = secagg.Aggregator(params, 1, identity=INNER)
    alone = secagg.Aggregator(params, 1, identity=INNER)
    alone.add(uploads[0])

    def add(_: object) -> str:
        try:
            server.add(uploads[0])
        except ReplayError:
            return "refused"
        return "added"

    assert Counter(together(8, add)) == {"added": 1, "refused": 7}
    assert server.partial() == alone.partial()


def test_twelve_threads_with_garbage_get_three_answers_in_all(tmp_path: Path) -> None:
    """Totals that all parties signed, with another sum; counts on disk never go back."""
    params = parameters(2, SHAPES, max_weight=None)
    key = secagg.generate_keys(params)
    pair = [secagg.Party(params, key, each, "memory") for each in identities(2)]
    party = secagg.Party(params, key, identities(1)[0], tmp_path / "state")
    total = secagg.simulation.serve(
        params, 1, [each.encrypt(updates(1, SHAPES)[0]) for each in pair]
    ).total()
    party.open(total, round_id=1)
    altered = {}
    for round_id in range(2, 50):
        sent = [each.encrypt(updates(1, SHAPES)[0]) for each in pair]
        wrong = bytearray(secagg.simulation.serve(params, round_id, sent).total())
        # Some words whole: a few low bits may be noise, which changes no sum.
        wrong[-40:-10] = bytes(byte ^ 0xFF for byte in wrong[-40:-10])
        altered[round_id] = bytes(wrong)
    path, running, samples = tmp_path / "state" / "rounds.json", threading.Event(), []
    running.set()

    def watch() -> None:
        while running.is_set():
            samples.append(json.loads(path.read_text()))

    watching = threading.Thread(target=watch)
    watching.start()
    answers: list[str] = []

    def garbage(number: int) -> None:
        for place, round_id in enumerate(sorted(altered)):
            for wrong in (altered[round_id], altered[round_id][:-1], os.urandom(300)):
                try:
                    party.open(wrong, round_id=round_id + (number + place) % 2)
                except PrivFedError as error:
                    answers.append(str(error))

    try:
        together(12, garbage)
    finally:
        running.clear()
        watching.join()
    told = Counter(answers)
    assert told["the total does not decrypt"] == 3
    retired = "3 totals did not decrypt, here or at other parties: the key is retired, rotate it"
    assert told[retired] > 100
    assert len(answers) == 12 * 3 * len(altered)
    samples.append(json.loads(path.read_text()))
    for before, after in itertools.pairwise(samples):
        for name in ("opened", "sent"):
            assert before[name] <= after[name]
        assert before["failed"] == after["failed"][: len(before["failed"])]
        assert after["transcript"] == before["transcript"] != ""
    assert len(samples[-1]["failed"]) == 3
    assert party.opened().transcript.hex() == samples[-1]["transcript"]


def test_threads_with_one_party_use_no_round_twice(tmp_path: Path) -> None:
    params = parameters(3, SHAPES, max_weight=None, adversary="lying-server+1")
    key, update = secagg.generate_keys(params), updates(1, SHAPES)[0]
    party = secagg.Party(params, key, identities(1)[0], tmp_path / "state")
    others = [secagg.Party(params, key, each, "memory") for each in identities(3)[1:]]
    party.enter_epoch([each.start_epoch() for each in (party, *others)])

    def encrypt(number: int) -> list[bytes]:
        if number % 3 == 0:
            party.announce()
        elif number % 3 == 1:
            party.prepare(2)
        return [party.encrypt(update) for _ in range(10)]

    uploads = [upload for each in together(8, encrypt) for upload in each]
    prefixes = [wire.Prefix.read(memoryview(upload)) for upload in uploads]
    assert sorted(prefix.round_id for prefix in prefixes) == list(range(1, 81))
    start = wire.PREFIX_BYTES + wire.ENTRY_BYTES
    assert len({upload[start : start + 64] for upload in uploads}) == 80  # no zero is used twice


def test_threads_that_open_one_total_get_one_result(tmp_path: Path) -> None:
    params = parameters(2, SHAPES, max_weight=None)
    key, sent = secagg.generate_keys(params), updates(2, SHAPES)
    parties = [secagg.Party(params, key, each, tmp_path / each.public.id) for each in identities(2)]
    for round_id in range(1, 6):
        uploads = [each.encrypt(update) for each, update in zip(parties, sent, strict=True)]
        total = secagg.simulation.serve(params, round_id, uploads).total()

        def opened(number: int, total: bytes = total) -> secagg.MeanResult:
            return parties[number % 2].open(total)

        results = together(8, opened)
        assert len({each.transcript for each in results}) == 1
        wanted = expected_mean(params, sent)["w"]
        assert all(np.array_equal(each.mean["w"], wanted) for each in results)


MANY_THREADS = """
import os, resource, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from tests.secagg.parties import Round, parameters, updates
from privfed import secagg
params = parameters(2, {"w": (2,)}, max_weight=None, scheme=SCHEME)
parties, sent = Round.of(params), updates(2, {"w": (2,)})
parties.run(sent, round_id=0)
before, failed = len(os.listdir("/proc/self/fd")), []

def run(round_id):
    try:
        parties.run(sent, round_id=round_id)
    except BaseException as error:
        failed.append(error)

for round_id in range(1, 1 + ROUNDS):
    thread = threading.Thread(target=run, args=(round_id,))
    thread.start()
    thread.join()
print(len(os.listdir("/proc/self/fd")) - before, len(failed))
"""


@pytest.mark.parametrize("scheme", ["packed", "slots"])
@pytest.mark.deep(normal=300, stated=2_000)  # no more files than 256 may be open
def test_rounds_with_a_thread_each_leave_no_file_open(scheme: str, count: int) -> None:
    pytest.importorskip("tenseal")  # which the process meets before it can say which extra it lacks
    code = MANY_THREADS.replace("SCHEME", repr(scheme)).replace("ROUNDS", str(count))
    folders = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": folders},
    )  # fmt: skip
    assert done.stdout.split() == ["0", "0"]


@pytest.mark.parametrize("kind", ["packed", "slots"])
def test_a_key_that_dies_while_an_equal_one_is_used(kind: str) -> None:
    """Both stand for one entry of the cache, which goes with the first, here within a look-up."""
    data = secagg.SecretKey(bytes(range(32)), bytes(32)).to_bytes()
    batches = batched._slot_batches(30)
    first = [secagg.SecretKey.from_bytes(data)]

    class Equal(secagg.SecretKey):
        __slots__ = ()
        __hash__ = secagg.SecretKey.__hash__

        def __eq__(self, other: object) -> bool:
            first.clear()
            return super().__eq__(other)

    def drawn(key: secagg.SecretKey) -> object:
        return cached_key(key) if kind == "packed" else batches.key(key, b"slots")

    drawn(first[0])
    assert drawn(Equal.from_bytes(data)) is not None
    assert not first


# What is refused leaves nothing behind.


def negated(scheme: Any, body: bytes, blocks: int) -> bytes:
    """A sum whose second polynomials are the negatives of those in `body`."""
    batches = scheme.batches
    from privfed.he.seal.files import saved, seal

    pieces = []
    for block in range(blocks):
        piece = body[block * batches.sum.size : (block + 1) * batches.sum.size]
        loaded = batches.load(memoryview(piece), batches.sum)
        seal().Evaluator(batches._context).negate_inplace(loaded)
        pieces.append(saved(loaded))
    return b"".join(pieces)


@pytest.mark.parametrize("scheme", ["slots", "ckks"])
def test_a_block_that_seal_refuses_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """In the second part: the first one is not added either, and its sender may send again."""
    monkeypatch.setattr(batched, "_BLOCKS_PER_PART", 1)
    shapes = {"w": (120, 100)}
    params = parameters(3, shapes, scheme=scheme, max_weight=None, aggregators=(INNER.public,))
    parties, sent = Round.of(params), updates(3, shapes)
    uploads = parties.uploads(sent)
    leaves = [secagg.Aggregator(params, 1, identity=INNER) for _ in range(2)]
    for leaf, upload in zip(leaves, uploads, strict=False):
        leaf.add(upload)
    first, second = (leaf.partial() for leaf in leaves)
    parts = parties.encryptors[0]._parts
    scheme_of_parts: Any = parts.scheme
    sizes = [parts.message_bytes(part, wire.Kind.PARTIAL) for part in parts.all]
    assert len(sizes) > 1
    # A hostile aggregator's: the second party's entries, with what cancels the first's block.
    start, stop = sizes[0], sizes[0] + sizes[1]
    head = start + wire.PREFIX_BYTES + wire.COUNT.size + parts.entry_bytes(wire.Kind.PARTIAL)
    blocks, end = scheme_of_parts._blocks(parts.all[1].sealed), stop - wire.PARTIAL_END_BYTES
    changed = second[start:head] + negated(parts.scheme, first[head:end], blocks)
    signed = changed + wire.signed_partial(changed, 0, INNER)
    crafted = second[:start] + signed + second[stop:]
    server = secagg.Aggregator(params, 1, identity=INNER)
    server.add(uploads[0])
    with pytest.raises(DecodeError, match="does not add up"):
        server.add_partial(crafted)
    assert server.partial() == first
    assert server.senders == (params.roster[0].id,)
    for upload in uploads[1:]:
        server.add(upload)
    mean = parties.decryptor.decrypt(server.total(), 1).mean["w"]
    assert np.abs(mean - expected_mean(params, sent)["w"]).max() < 1e-5


# A kept traceback holds no lock.


def fails(act: Callable[[], object]) -> PrivFedError:
    """Run `act`; return its exception with all that it holds."""
    with pytest.raises(PrivFedError) as caught:
        act()
    return caught.value


def test_a_kept_traceback_holds_no_lock(tmp_path: Path) -> None:
    params = parameters(2, SHAPES, max_weight=None)
    key, mine, other = secagg.generate_keys(params), *identities(2)
    state, update = tmp_path / "state", updates(1, SHAPES)[0]
    stranger = secagg.generate_identity()
    wrong_key = secagg.generate_keys(parameters(2, SHAPES))

    def used() -> None:
        with secagg.Party(params, key, mine, state) as party:
            party.encrypt(update)
            party.encrypt(update, round_id=1)

    secagg.Party(params, key, mine, state).close()
    kept = [
        fails(lambda: secagg.Party(params, key, other, state)),
        fails(lambda: secagg.Party(params, key, stranger, state)),
        fails(lambda: secagg.Party(params, wrong_key, mine, state)),
        fails(lambda: secagg.Party(params, key, mine.public, state)),  # type: ignore[arg-type]
        fails(used),
        fails(lambda: secagg.Encryptor(params, key, mine, state / "rounds.json")),
        fails(lambda: secagg.Decryptor(params, key, state / "rounds.json")),
    ]
    good = (state / "rounds.json").read_text()
    for text in ("", "{", good.replace("party:", "")):
        (state / "rounds.json").write_text(text)
        kept.append(fails(lambda: secagg.Party(params, key, mine, state)))
    (state / "rounds.json").write_text(good)
    secagg.Party(params, key, mine, state).close()
    assert all(error.__traceback__ for error in kept)


def test_a_kept_traceback_holds_no_lock_of_a_budget(tmp_path: Path) -> None:
    path = tmp_path / "budget"

    def budget(epsilon: float = 1.0) -> PrivacyBudget:
        return PrivacyBudget(epsilon, 1e-5, privacy_unit="row", path=path)

    del (made := [budget()])[0]
    gc.collect()
    kept = [fails(lambda: budget(2.0))]
    good = path.read_text()
    for text in ("", "[" * 100_000, good.replace('"version": 2', '"version": 3')):
        path.write_text(text)
        kept.append(fails(budget))
    path.write_text(good)
    assert not made
    assert budget().spent_epsilon == 0
    assert all(error.__traceback__ for error in kept)


def test_a_kept_traceback_holds_no_lock_of_a_keyring(tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    ring = secagg.Keyring.create(folder, unlocked=True)
    pair = (ring.identity.public, identities(1)[0].public)
    params = parameters(2, SHAPES, roster=pair)
    kept = [
        fails(lambda: secagg.Keyring.create(folder, unlocked=True)),
        fails(lambda: ring.make(parameters(2, SHAPES))),
        fails(ring.rotate),
        fails(lambda: ring.revoke("nobody")),
    ]
    ring.make(params)
    good = (folder / "keyring.json").read_bytes()
    for wrong in (b"\xff\xfe\x00", b"[" * 100_000, b"{}"):
        (folder / "keyring.json").write_bytes(wrong)
        kept += [fails(lambda: secagg.Keyring(folder)), fails(ring.rotate)]
    (folder / "keyring.json").write_bytes(good)
    kept.append(fails(lambda: ring.revoke(pair[1].id)))
    ring.rotate()
    assert all(re.search("keyring|roster|parties|there|hold", str(error)) for error in kept)


def test_a_budget_in_use_is_told(tmp_path: Path) -> None:
    path = tmp_path / "budget"
    held = PrivacyBudget(1.0, 1e-5, privacy_unit="row", path=path)
    with pytest.raises(ConfigError, match="in use"):
        PrivacyBudget(1.0, 1e-5, privacy_unit="row", path=path)
    assert held.spent_epsilon == 0
